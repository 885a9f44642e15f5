"""One random defect of a raster of elevation: the same values, or one sentence of cause and one of remedy."""

import warnings

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform_bounds

from headwater.core.errors import HeadwaterError, InputError
from headwater.geo.grid import Cell, elevation_grid
from headwater.raster.elevation_tiles import read_elevation_tile
from headwater.raster.elevation_values import check_elevation
from headwater.stac.items import Asset
from support.raster_defects import ELEVATION_DEFECTS, Picture

GRID = elevation_grid(Cell.from_name("N08.00E011.96", 0.02), margin_px=8)
ROUNDING_M = 0.06
"""Half a decimeter of integers, and what interpolation adds."""


def picture(crs: str, hole: tuple[int, int]) -> Picture:
    """Return a plane of whole decimeters with a void of 6 pixels a side."""
    if crs == "EPSG:4326":
        shape, place = GRID.shape, GRID.transform
    else:
        west, south, east, north = transform_bounds("EPSG:4326", crs, *GRID.bounds)
        shape, place = (int((north - south) / 30) + 9, int((east - west) / 30) + 9), Affine(30, 0, west, 0, -30, north)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    void = np.zeros(shape, bool)
    void[hole[0] : hole[0] + 6, hole[1] : hole[1] + 6] = True
    return Picture((200 + rows + 2 * columns).astype(np.float32), void, place, crs)


def read(path):
    asset = Asset(str(path), "dem")
    return read_elevation_tile(asset, GRID, cell=GRID.bounds, signer=lambda asset, renew=False: asset.href)


@settings(deadline=None, max_examples=max(50, settings.default.max_examples))
@given(
    st.sampled_from(sorted(ELEVATION_DEFECTS)),
    st.sampled_from(["EPSG:4326", "EPSG:32632"]),
    st.tuples(st.integers(5, 50), st.integers(5, 50)),
)
def test_a_defect_changes_nothing_or_is_refused(tmp_path_factory, name, crs, hole):
    verdict, spoil = ELEVATION_DEFECTS[name]
    folder = tmp_path_factory.mktemp("defect")
    calm = picture(crs, hole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        calm.filled(np.nan).write(folder / "calm.tif")
        spoil(calm).write(folder / "odd.tif")
        if verdict == "refused":
            with pytest.raises(HeadwaterError) as caught:
                read(folder / "odd.tif")
            assert caught.value.cause.endswith(".")
            assert caught.value.remedy.endswith(".")
            return
        expected, found = read(folder / "calm.tif"), read(folder / "odd.tif")
    assert expected.valid.sum() < expected.valid.size
    assert np.array_equal(found.valid, expected.valid)
    assert np.abs(found.values - expected.values)[found.valid].max() < (0.6 if "integers" in name else ROUNDING_M)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("decimeters by scale", "with a scale, an offset or a unit"),
        ("feet", "with a scale, an offset or a unit"),
        ("-32768 untagged in integers", "holds -32768, the usual value of voids"),
        ("-9999 untagged", "holds -9999, which is not an elevation"),
        ("two bands", "has 2 bands"),
        ("nodata -9999", None),
        ("mask beside", None),
    ],
)
def test_where_a_raster_is_read_as_it_is_only_meters_pass(tmp_path, name, cause):
    ELEVATION_DEFECTS[name][1](picture("EPSG:4326", (9, 9))).write(tmp_path / "odd.tif")
    if cause is None:
        check_elevation(tmp_path / "odd.tif")
        return
    with pytest.raises(InputError, match=cause):
        check_elevation(tmp_path / "odd.tif")


def test_a_finer_raster_is_warped_strip_by_strip_without_seams(tmp_path, monkeypatch):
    calm = picture("EPSG:32632", (20, 20))
    calm.filled(np.nan).write(tmp_path / "a.tif")
    one = read(tmp_path / "a.tif")
    monkeypatch.setattr("headwater.raster.elevation_tiles._MAX_STRIP_PX", 600)
    many = read(tmp_path / "a.tif")
    assert np.array_equal(one.valid, many.valid)
    assert np.abs(one.values - many.values).max() < 0.03  # a hundredth of a pixel
