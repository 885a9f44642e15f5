"""Elevations that cannot be ones, and settings that are no numbers, in the public functions and the command."""

import numpy as np
import pytest

import headwater as hw
from headwater.cli import main
from headwater.core.errors import InputError
from support.small_place import COMPOSITE_GRID, elevation_array, image_array, probability_array, tdx_tables

ELEVATION = elevation_array()


def spoiled(value):
    values = ELEVATION.values.copy()
    values[20:24, 20:24] = value
    return ELEVATION.copy(data=values)


@pytest.mark.parametrize("value", [-32768, 65535, 1e30, -np.inf])
def test_lines_are_not_made_with_what_cannot_be_an_elevation(value):
    backbone = hw.backbone_from_elevation(ELEVATION, min_area_km2=0.5)
    with pytest.raises(InputError, match="not an elevation in meters"):
        hw.vectorize(probability_array(), spoiled(value), backbone.reaches, backbone.catchments)
    with pytest.raises(InputError, match="not an elevation in meters"):
        hw.backbone_from_elevation(spoiled(value), min_area_km2=0.5)


@pytest.mark.parametrize("value", [-32768, 1e30, np.inf])
def test_channels_are_not_made_of_what_cannot_be_an_elevation(value):
    image = image_array(COMPOSITE_GRID)
    for heights in (spoiled(value), spoiled(value).chunk(y=50)):
        with pytest.raises(InputError, match="not an elevation in meters"):
            hw.channels(image.chunk(y=200), heights, recipe="relief").compute()
    # As a void that is named it is none.
    assert hw.channels(image, spoiled(value).rio.write_nodata(value), recipe="relief").isnull().any()


def test_the_command_refuses_such_an_elevation(tmp_path, paths, capsys):
    backbone = hw.backbone_from_elevation(ELEVATION, min_area_km2=0.5)
    for name, table in zip(("s", "c"), tdx_tables(backbone), strict=True):
        table.to_parquet(tmp_path / f"{name}.parquet")
    spoiled(1e30).rio.to_raster(tmp_path / "e.tif")
    files = {
        "probability": paths["probability"], "elevation": tmp_path / "e.tif", "streams": tmp_path / "s.parquet",
        "catchments": tmp_path / "c.parquet", "out": tmp_path / "out.parquet",
    }  # fmt: skip
    assert main(["vectorize", *(f"--{name}={path}" for name, path in files.items())]) == 2
    assert "not an elevation in meters" in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("settings", [{"max_cost": np.nan}, {"cost_below_floor": np.inf}, {"cost_limits": [1, 1e9]}])
def test_settings_that_are_no_numbers_are_refused(settings):
    backbone = hw.backbone_from_elevation(ELEVATION, min_area_km2=0.5)
    with pytest.raises(InputError, match=f"vectorize.{next(iter(settings))} must be"):
        hw.vectorize(probability_array(), ELEVATION, backbone.reaches, backbone.catchments, **settings)
