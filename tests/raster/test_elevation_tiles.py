"""Elevation tiles: only the window, on the tile's lattice or warped, on both sides of the antimeridian."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import transform

from headwater import raster
from headwater.core.errors import InputError
from headwater.geo.grid import Cell, RasterGrid, elevation_grid
from headwater.raster.elevation_tiles import MARGIN_POSTS, read_elevation_tile
from headwater.stac.items import Asset

CELL = Cell.from_name("N08.00E011.95", 0.05)
GRID = elevation_grid(CELL, margin_px=32)
TILE = RasterGrid(11 - 0.5 / 3600, 9 + 0.5 / 3600, 1 / 3600, 1 / 3600, 3600, 3600)


def unsigned(asset, *, renew=False):
    return asset.href


def read(path, grid=GRID, **options):
    return read_elevation_tile(Asset(str(path), "dem"), grid, cell=grid.bounds, signer=unsigned, **options)


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    path = tmp_path_factory.mktemp("elevation") / "tile.tif"
    rows, columns = np.mgrid[:3600, :3600]
    raster.write_cog(path, (rows + columns / 10)[np.newaxis].astype(np.float32), transform=TILE.transform)
    return path


def test_only_the_window_around_the_grid_is_read_on_the_tiles_own_lattice(tile):
    part = read(tile)
    row, column = TILE.place_of(part.grid)
    rows, columns = np.mgrid[row : row + part.grid.height, column : column + part.grid.width]
    assert np.array_equal(part.values, (rows + columns / 10).astype(np.float32))
    assert part.valid.all()
    assert part.covered.all()
    place = part.grid.place_of(GRID)
    # It extends to the end of the tile in the east and south, and a few posts beyond the grid elsewhere.
    assert place is not None
    assert all(0 <= side <= MARGIN_POSTS + 1 for side in place)
    assert part.grid.height <= GRID.height + 2 * (MARGIN_POSTS + 1)
    assert part.grid.width <= GRID.width + 2 * (MARGIN_POSTS + 1)


def test_a_tile_outside_the_grid_is_not_read(tile):
    assert read(tile, GRID.crop(row=0, column=0, height=20, width=20)) is not None
    assert read(tile, elevation_grid(Cell.from_name("N08.00E012.05", 0.05), margin_px=32)) is None


def test_a_tile_far_from_the_cell_is_refused(tile):
    with pytest.raises(InputError, match="far from the cell"):
        read(tile, elevation_grid(Cell.from_name("N08.00E014.00", 0.05), margin_px=32))


@pytest.mark.parametrize("epsg", [32601, 32660])
@pytest.mark.parametrize("name", ["N66.00E179.95", "N66.00W180.00"])
def test_a_tile_in_utm_across_the_antimeridian_is_warped_to_either_side(tmp_path, epsg, name):
    # Chukotka: a place that zones 01 and 60 both cover.
    (x,), (y,) = transform("EPSG:4326", f"EPSG:{epsg}", [180.0], [66.025])
    west, north, size = x - 6000, y + 6000, 300
    east_m, north_m = west + (np.arange(size) + 0.5) * 40, north - (np.arange(size) + 0.5) * 40
    lon, lat = transform(f"EPSG:{epsg}", "EPSG:4326", *map(np.ravel, np.meshgrid(east_m, north_m)))
    heights = 500 + 3000 * (np.array(lon) % 360 - 180) + 2000 * (np.array(lat) - 66)
    values = heights.reshape(1, size, size).astype(np.float32)
    raster.write_cog(tmp_path / "utm.tif", values, transform=Affine(40, 0, west, 0, -40, north), crs=f"EPSG:{epsg}")
    grid = elevation_grid(Cell.from_name(name, 0.05), margin_px=32)
    part = read(tmp_path / "utm.tif", grid)
    assert part.grid == grid
    assert part.valid.sum() > 0.5 * part.valid.size
    columns = (grid.west + (np.arange(grid.width) + 0.5) * grid.dx) % 360 - 180
    rows = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    expected = 500 + 3000 * columns[np.newaxis] + 2000 * (rows[:, np.newaxis] - 66)
    inner = part.valid & np.roll(part.valid, 2, 0) & np.roll(part.valid, -2, 0)
    inner &= np.roll(part.valid, 2, 1) & np.roll(part.valid, -2, 1)
    assert np.abs(part.values - expected)[inner].max() < 1.0  # the plane rises 2 m per pixel


@pytest.mark.parametrize("tagged", [True, False])
def test_voids_of_an_integer_model_in_utm_are_not_interpolated(tmp_path, tagged):
    (x,), (y,) = transform("EPSG:4326", "EPSG:32632", [11.975], [8.025])
    values = np.full((1, 400, 400), 700, np.int16)
    values[0, 190:210] = -32768
    path = tmp_path / "utm.tif"
    nodata = -32768 if tagged else None
    raster.write_cog(path, values, transform=Affine(30, 0, x - 6000, 0, -30, y + 6000), crs="EPSG:32632", nodata=nodata)
    part = read(path)
    assert set(np.unique(part.values[part.valid])) == {700.0}
    assert part.covered[~part.valid].all()
    assert 15 * part.grid.width < (~part.valid).sum() < 25 * part.grid.width


def test_an_internal_mask_marks_missing_pixels(tmp_path):
    path = tmp_path / "masked.tif"
    mask = np.ones(GRID.shape, bool)
    mask[20:30] = False
    raster.write_cog(path, np.full((1, *GRID.shape), 9, np.float32), transform=GRID.transform, mask=mask)
    assert np.array_equal(read(path).valid, mask)


def test_a_file_without_any_crs_is_refused(tmp_path):
    path = tmp_path / "bare.tif"
    options = {"driver": "GTiff", "width": 10, "height": 10, "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", transform=GRID.transform, **options) as dataset:
        dataset.write(np.ones((1, 10, 10), np.float32))
    with pytest.raises(InputError, match="no coordinate reference system"):
        read(path)
    assert read(path, crs="EPSG:4326").valid.all()
