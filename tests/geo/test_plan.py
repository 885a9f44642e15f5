import json
from pathlib import Path

import geopandas as gpd
import pytest
from shapely import MultiPolygon, box

from headwater.core.errors import InputError
from headwater.geo.grid import neighbors
from headwater.geo.plan import cell_paths, check_grid, plan_basin, read_plan, write_plan


@pytest.fixture
def polygons(tmp_path):
    path = tmp_path / "basins.gpkg"
    gpd.GeoDataFrame({"HYBAS_ID": [42]}, geometry=[box(11.85, 8.05, 12.02, 8.12)], crs=4326).to_file(path, layer="b")
    return [path]


def test_a_plan_is_read_back_and_is_the_one_made_in_memory(polygons, tmp_path):
    out = tmp_path / "plan.json"
    write_plan(polygons, "42", out, cell_degrees=0.1, margin_px=64)
    plan = read_plan(out)
    assert plan == plan_basin(polygons, "42", cell_degrees=0.1, margin_px=64)
    assert [cell.name for cell in plan.cells] == [
        "N08.1E011.8", "N08.1E011.9", "N08.1E012.0", "N08.0E011.8", "N08.0E011.9", "N08.0E012.0",
    ]  # fmt: skip
    assert plan.bounds == (11.8, 8.0, 12.1, 8.2)
    assert plan.cell("N08.0E012.0").bounds == (12.0, 8.0, 12.1, 8.1)


def test_the_same_plan_is_the_same_bytes(polygons, tmp_path):
    for name in ("a", "b"):
        write_plan(polygons, "42", tmp_path / name, cell_degrees=0.1, margin_px=64)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("south", [-17.0, 66.0])
def test_a_basin_on_both_sides_of_the_antimeridian_has_cells_on_both(tmp_path, south):
    # Fiji and Chukotka, cut at 180 as HydroBASINS are.
    polygon = MultiPolygon([box(179.9, south, 180, south + 0.1), box(-180, south, -179.9, south + 0.1)])
    path = tmp_path / "basins.gpkg"
    gpd.GeoDataFrame({"HYBAS_ID": [42]}, geometry=[polygon], crs=4326).to_file(path, layer="b")
    write_plan([path], "42", tmp_path / "plan.json", cell_degrees=0.1, margin_px=64)
    plan = read_plan(tmp_path / "plan.json")
    west, east = plan.cells
    assert (west.bounds[0], east.bounds[2]) == (-180, 180)
    assert neighbors(west, plan.cells) == [west, east]
    assert plan.bounds == (-180, south, 180, south + 0.1)


def test_a_basin_that_was_started_on_another_grid_is_refused(polygons, tmp_path):
    out = tmp_path / "plan.json"
    check_grid(out, cell_degrees=1, margin_px=2)
    write_plan(polygons, "42", out, cell_degrees=0.1, margin_px=64)
    check_grid(out, cell_degrees=0.1, margin_px=64)
    with pytest.raises(InputError, match=r"grid\.cell_degrees 0\.1, .* sets 0\.05.* Set grid"):
        check_grid(out, cell_degrees=0.05, margin_px=64)
    with pytest.raises(InputError, match=r"grid\.margin_px 64"):
        check_grid(out, cell_degrees=0.1, margin_px=32)
    out.write_text("[]")
    with pytest.raises(InputError, match="not a plan"):
        check_grid(out, cell_degrees=0.1, margin_px=64)


def test_other_files_than_plans_are_refused(polygons, tmp_path):
    out = tmp_path / "plan.json"
    with pytest.raises(InputError, match="not in"):
        write_plan(polygons, "43", out, cell_degrees=0.1, margin_px=64)
    with pytest.raises(InputError, match="not even"):
        write_plan(polygons, "42", out, cell_degrees=0.1, margin_px=3)
    assert not out.exists()
    out.write_text(json.dumps({"cells": []}))
    with pytest.raises(InputError, match="not a plan"):
        read_plan(out)
    write_plan(polygons, "42", out, cell_degrees=0.1, margin_px=0)
    with pytest.raises(InputError, match="not in the plan"):
        read_plan(out).cell("N01E001")


def test_a_pattern_becomes_one_path_per_cell(polygons, tmp_path):
    out = tmp_path / "plan.json"
    write_plan(polygons, "42", out, cell_degrees=0.1, margin_px=64)
    found = cell_paths([Path("first.tif"), Path("my cells/{cell}/a.tif")], out)
    assert found[0] == Path("first.tif")
    assert [path.parent.name for path in found[1:]] == [cell.name for cell in read_plan(out).cells]
    assert cell_paths([Path("a.tif")], None) == [Path("a.tif")]
    with pytest.raises(InputError, match="no plan"):
        cell_paths([Path("{cell}.tif")], None)


def test_a_basin_of_more_cells_than_can_be_listed_is_refused_at_once(tmp_path):
    path = tmp_path / "world.gpkg"
    gpd.GeoDataFrame({"HYBAS_ID": [42]}, geometry=[box(-180, -90, 180, 90)], crs=4326).to_file(path, layer="b")
    with pytest.raises(InputError, match=r"25920000 cells of 0.05 degrees or more"):
        write_plan([path], "42", tmp_path / "plan.json", cell_degrees=0.05, margin_px=64)
    assert not (tmp_path / "plan.json").exists()
