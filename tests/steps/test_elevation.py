import numpy as np
import pytest

from headwater import raster
from headwater.errors import InputError, WorkError
from headwater.grid import elevation_grid
from headwater.steps.elevation import elevation
from steps.place import CELL, MARGIN_PX, write_dem, write_plan

WEST, SOUTH, EAST, NORTH = CELL.bounds
EVERYWHERE = (WEST - 1, SOUTH - 1, EAST + 1, NORTH + 1)


def plane(lon, lat):
    return 1000 * (lon - WEST) + 3000 * (lat - SOUTH)


def run(tmp_path, tiles, **options):
    out = tmp_path / "elevation.tif"
    elevation(write_dem(tmp_path, tiles), write_plan(tmp_path), CELL.name, out, **options)
    data, _, grid, tags = raster.read_raster(out)
    return data[0], grid, tags


def test_a_tile_at_the_same_posting_comes_through_unchanged(tmp_path):
    values, grid, tags = run(tmp_path, [("cop-dem-glo-30", *EVERYWHERE, plane)])
    assert grid == elevation_grid(CELL, margin_px=MARGIN_PX)
    lon = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    lat = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    assert np.allclose(values, plane(lon[np.newaxis], lat[:, np.newaxis]), atol=1e-3)
    assert tags["source"] == "sea 0.0000; cop-dem-glo-30 1.0000"


def test_two_tiles_join_without_a_seam_and_the_ocean_is_zero(tmp_path):
    middle = (WEST + EAST) / 2
    tiles = [
        ("cop-dem-glo-30", WEST - 1, SOUTH - 1, middle, NORTH + 1, lambda x, y: 50),
        ("cop-dem-glo-30", middle, (SOUTH + NORTH) / 2, EAST + 1, NORTH + 1, lambda x, y: 50),
    ]
    values, grid, tags = run(tmp_path, tiles)
    assert set(np.unique(values)) == {0.0, 50.0}
    assert (values[: grid.height // 2 - 2] == 50).all()
    assert (values[-grid.height // 3 :, -grid.width // 3 :] == 0).all()
    assert not tags["source"].startswith("sea 0.0000")


def test_the_second_model_fills_only_what_the_first_lacks(tmp_path):
    middle = (WEST + EAST) / 2
    tiles = [
        ("cop-dem-glo-30", WEST - 1, SOUTH - 1, middle, NORTH + 1, lambda x, y: 30),
        ("cop-dem-glo-90", *EVERYWHERE, lambda x, y: 90),
    ]
    values, grid, _ = run(tmp_path, tiles)
    assert (values[:, : grid.width // 2 - 2] == 30).all()
    assert (values[:, grid.width // 2 + 2 :] == 90).all()


def test_what_is_missing_is_sea_or_extended_or_refused(tmp_path):
    tiles = [("own", WEST - 1, SOUTH - 1, (WEST + EAST) / 2, NORTH + 1, lambda x, y: 40)]
    assert run(tmp_path, tiles)[0].min() == 0
    assert run(tmp_path, tiles, missing="extend")[0].min() == 40
    before = (tmp_path / "elevation.tif").read_bytes()
    with pytest.raises(WorkError, match="does not cover"):
        run(tmp_path, tiles, missing="refuse")
    with pytest.raises(WorkError, match=r"100\.0%"):
        run(tmp_path, [], missing="extend")
    assert (tmp_path / "elevation.tif").read_bytes() == before


def test_a_cell_without_tiles_is_sea(tmp_path):
    assert not run(tmp_path, [])[0].any()


def test_a_broken_manifest_is_refused(tmp_path):
    (tmp_path / "dem.json").write_text('{"cell": 1}')
    with pytest.raises(InputError, match="not a list"):
        elevation(tmp_path / "dem.json", write_plan(tmp_path), CELL.name, tmp_path / "e.tif")
