"""Other programs read the values, colors and units of our rasters right; ours read pixels as before."""

import numpy as np
import pytest
import rasterio
import rioxarray
from rasterio.enums import ColorInterp

from headwater import raster
from headwater.geo.grid import RasterGrid
from headwater.raster.mosaic import mosaic

GRID = RasterGrid(west=10, north=50, dx=0.001, dy=0.001, width=40, height=30)
VALUES = np.arange(1200, dtype=np.int64).reshape(30, 40) % 256


@pytest.fixture
def folder(tmp_path):
    valid = np.ones(GRID.shape, bool)
    valid[:3] = False
    pixels = VALUES.astype(np.uint8)
    raster.write_cog(
        tmp_path / "probability.tif", pixels[None], transform=GRID.transform, mask=valid, bands=raster.PROBABILITY
    )
    raster.write_cog(
        tmp_path / "composite.tif", np.stack([pixels] * 5), transform=GRID.transform, mask=valid, bands=raster.COMPOSITE
    )
    raster.write_cog(
        tmp_path / "elevation.tif", VALUES[None].astype(np.float32), transform=GRID.transform, bands=raster.ELEVATION
    )
    for name in ("probability", "composite", "elevation"):
        mosaic([tmp_path / f"{name}.tif"], tmp_path / f"{name}.vrt")
    return tmp_path


@pytest.mark.parametrize("suffix", [".tif", ".vrt"])
def test_rioxarray_reads_probability_from_0_to_1(folder, suffix):
    with rioxarray.open_rasterio(folder / f"probability{suffix}", mask_and_scale=True) as read:
        assert np.isnan(read.values[0, :3]).all()
        np.testing.assert_allclose(read.values[0, 3:], VALUES[3:] / 255, atol=1e-6)
        assert read.attrs["long_name"] == "probability"
    pixels, valid = raster.read_window(folder / f"probability{suffix}", GRID)
    assert (pixels[valid] == VALUES[3:].ravel()).all()
    assert valid.sum() == 27 * 40


@pytest.mark.parametrize("suffix", [".tif", ".vrt"])
def test_programs_see_true_color_names_and_meters(folder, suffix):
    with rasterio.open(folder / f"composite{suffix}") as dataset:
        assert dataset.colorinterp == (
            ColorInterp.nir, ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined,
        )  # fmt: skip
        assert dataset.descriptions == ("N", "R", "G", "B", "clear_views")
        assert "Clear views" in dataset.tags(5)["long_name"]
        assert dataset.scales == (1.0,) * 5
        assert (dataset.read(1) == VALUES)[3:].all()
    with rasterio.open(folder / f"elevation{suffix}") as dataset:
        assert (dataset.units, dataset.descriptions) == (("m",), ("elevation_m",))
    with rasterio.open(folder / f"probability{suffix}") as dataset:
        assert dataset.scales == (1 / 255,)


def test_a_mosaic_of_older_rasters_describes_them_too(folder):
    older = raster.Band("probability")
    raster.write_cog(folder / "old.tif", VALUES.astype(np.uint8)[None], transform=GRID.transform, bands=[older])
    mosaic([folder / "old.tif"], folder / "old.vrt")
    with rasterio.open(folder / "old.tif") as before, rasterio.open(folder / "old.vrt") as dataset:
        assert (before.scales, dataset.scales) == ((1.0,), (1 / 255,))
