"""Reading and writing by rows: the same result as at once, in bounded memory."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import RasterGrid

GRID = RasterGrid(west=12.0, north=8.0, dx=0.001, dy=0.0009, width=700, height=1300)


def strips_of(data, mask, heights):
    row = 0
    for height in heights:
        yield row, data[:, row : row + height], mask[row : row + height]
        row += height


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (1, *GRID.shape), dtype=np.uint8)
    mask = rng.random(GRID.shape) < 0.9
    mask[300:700] = False
    return data, mask


def test_writing_by_rows_gives_the_same_bytes(tmp_path, pixels):
    data, mask = pixels
    named = {"tags": {"unit": "one"}, "bands": raster.PROBABILITY}
    raster.write_cog(tmp_path / "whole.tif", data, transform=GRID.transform, mask=mask, **named)
    for number, heights in enumerate(([1300], [1, 511, 512, 276], [130] * 10)):
        path = tmp_path / f"bands{number}.tif"
        with raster.cog_writer(path, grid=GRID, dtype="uint8", **named) as write:
            for row, values, valid in strips_of(data, mask, heights):
                write(row, values, valid)
        assert path.read_bytes() == (tmp_path / "whole.tif").read_bytes()
        assert cog_validate(path)[0]
    assert {path.suffix for path in tmp_path.iterdir()} == {".tif"}
    assert len(list(tmp_path.iterdir())) == 4


def test_rows_that_are_not_written_are_masked(tmp_path, pixels):
    data, mask = pixels
    with raster.cog_writer(tmp_path / "half.tif", grid=GRID, dtype="uint8") as write:
        write(100, data[:, 100:200], mask[100:200])
    values, valid, _, _ = raster.read_raster(tmp_path / "half.tif")
    np.testing.assert_array_equal(valid[100:200], mask[100:200])
    assert not valid[:100].any()
    assert not valid[200:].any()
    np.testing.assert_array_equal(values[0, 100:200], data[0, 100:200])


def test_no_file_remains_if_the_block_fails(tmp_path, pixels):
    data, mask = pixels
    with (
        pytest.raises(ZeroDivisionError),
        raster.cog_writer(tmp_path / "none.tif", grid=GRID, dtype="uint8") as write,
    ):
        write(0, data, mask)
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_rows_equal_those_read_at_once(tmp_path):
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, (5, *GRID.shape), dtype=np.uint8)
    raster.write_cog(tmp_path / "five.tif", data, transform=GRID.transform, nodata=0)
    with raster.row_reader(tmp_path / "five.tif", bands=4) as read:
        for first, end in ((0, 100), (100, 1000), (1000, 1300)):
            np.testing.assert_array_equal(read(first, end), data[:4, first:end])


@pytest.mark.parametrize("nodata", [None, -9999.0, np.nan])
def test_warped_rows_equal_those_read_at_once(tmp_path, nodata):
    rng = np.random.default_rng(2)
    heights = rng.normal(300, 50, (1, 400, 260)).astype(np.float32)
    heights[0, 50:60, 70:90] = np.nan if nodata is None else nodata
    coarse = RasterGrid(west=11.999, north=8.001, dx=0.003, dy=0.003, width=260, height=400)
    raster.write_cog(tmp_path / "e.tif", heights, transform=coarse.transform, nodata=nodata)
    values, known = raster.read_window(tmp_path / "e.tif", GRID)
    expected = np.where(known, values, np.nan)
    with raster.warped_row_reader(tmp_path / "e.tif", GRID) as read:
        rows = np.concatenate([read(first, first + 130) for first in range(0, 1300, 130)])
    np.testing.assert_array_equal(np.isnan(rows), np.isnan(expected))
    assert np.isnan(rows).any()
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-3)


def test_unreadable_files_are_reported(tmp_path):
    (tmp_path / "text.tif").write_text("no raster")
    for opened in (lambda path: raster.row_reader(path, bands=1), lambda path: raster.warped_row_reader(path, GRID)):
        with pytest.raises(InputError, match="does not exist"), opened(tmp_path / "none.tif"):
            pass
        with pytest.raises(WorkError, match="could not be read"), opened(tmp_path / "text.tif"):
            pass


def test_a_truncated_raster_is_reported_when_its_end_is_read(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (1, *GRID.shape), dtype=np.uint8)
    # A user's file, without a seal.
    shape = {"height": GRID.height, "width": GRID.width, "count": 1, "dtype": "uint8"}
    layout = {"transform": GRID.transform, "crs": "EPSG:4326", "tiled": True, "compress": "deflate"}
    with rasterio.open(tmp_path / "cut.tif", "w", **shape, **layout) as dataset:
        dataset.write(data)
    content = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: len(content) * 2 // 3])
    with (
        raster.row_reader(tmp_path / "cut.tif", bands=1) as read,
        pytest.raises(WorkError, match=r"cut\.tif could not be read"),
    ):
        read(0, 1300)


PEAK = """
import resource, sys
import numpy as np
from pathlib import Path
from headwater import raster
from headwater.geo.grid import RasterGrid
rows, path = int(sys.argv[1]), Path(sys.argv[2])
grid = RasterGrid(west=0.0, north=8.0, dx=0.0001, dy=0.0001, width=4096, height=rows)
rng = np.random.default_rng(0)
with raster.cog_writer(path, grid=grid, dtype="uint8") as write:
    for row in range(0, rows, 512):
        count = min(512, rows - row)
        write(row, rng.integers(0, 256, (1, count, 4096), dtype=np.uint8), np.ones((count, 4096), bool))
with raster.row_reader(path, bands=1) as read:
    for row in range(0, rows, 512):
        read(row, min(rows, row + 512))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path):
    def peak_mb(rows):
        command = [sys.executable, "-c", PEAK, str(rows), str(tmp_path / f"{rows}.tif")]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024

    # 64 and 256 MB of pixels: both fill the caches of 64 and 128 MB.
    small, large = peak_mb(2**14), peak_mb(2**16)
    assert large < small + 90
