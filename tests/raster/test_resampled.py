import numpy as np
import pytest
from affine import Affine

from headwater import raster
from headwater.geo.grid import RasterGrid
from headwater.raster.resampled import read_resampled

STEP = 1 / 3600
GRIDS = {
    "inside": RasterGrid(west=10.011, north=5.031, dx=STEP * 0.7, dy=STEP * 0.66, width=60, height=50),
    "over the edge": RasterGrid(west=9.995, north=5.0492, dx=STEP * 0.7, dy=STEP * 0.66, width=200, height=90),
    "aligned": RasterGrid(west=10.0 + 5 * STEP, north=5.05 - 7 * STEP, dx=STEP, dy=STEP, width=40, height=30),
    "far away": RasterGrid(west=20.0, north=5.0, dx=STEP, dy=STEP, width=4, height=3),
    "coarser": RasterGrid(west=10.0, north=5.05, dx=STEP * 2, dy=STEP * 2, width=40, height=30),
}


@pytest.fixture(scope="module", params=["plain", "mask", "nodata", "utm"])
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("resampled") / "r.tif"
    values = np.random.default_rng(0).normal(100, 20, (1, 180, 180)).astype(np.float32)
    known = np.ones((180, 180), bool)
    known[60:80, 60:90] = False
    transform = Affine(STEP, 0, 10.0, 0, -STEP, 5.05)
    options = {}
    if request.param == "mask":
        options["mask"] = known
    elif request.param == "nodata":
        values[0][~known] = -9999
        options["nodata"] = -9999
    elif request.param == "utm":
        options["crs"] = "EPSG:32632"
        transform = Affine(30, 0, 610_800, 0, -30, 558_300)
    raster.write_cog(path, values, transform=transform, **options)
    return path


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_the_result_equals_that_of_the_warper(file, name, resampling):
    grid = GRIDS[name]
    values, valid = read_resampled(file, grid, resampling=resampling)
    expected, expected_valid = raster.read_window(file, grid, resampling=resampling)
    assert values.shape == valid.shape == grid.shape
    if resampling == "nearest":
        assert np.array_equal(valid, expected_valid)
    else:
        assert not (valid & ~expected_valid).any()
        assert valid.sum() >= 0.95 * expected_valid.sum()
    # Next to missing pixels and the edge both ignore missing pixels, in different ways.
    eroded = valid.copy()
    for shift in (-2, -1, 1, 2):
        eroded &= np.roll(valid, shift, 0) & np.roll(valid, shift, 1)
    eroded[[0, 1, -2, -1]] = eroded[:, [0, 1, -2, -1]] = False
    assert np.abs(values[eroded] - expected[eroded]).max(initial=0) < 1e-3
