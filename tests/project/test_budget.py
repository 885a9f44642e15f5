import csv
import time

import geopandas as gpd
import pandas as pd
import pytest
from shapely import box

from headwater.cli import main
from headwater.core.errors import InputError
from headwater.geo.grid import Cell
from headwater.project.budget import (
    HYDROBASINS,
    PLACEHOLDER,
    Cost,
    Machine,
    basin_cost,
    cells_of_basins,
    read_land_tiles,
)
from support.places import ROOT, SHARED

REAL_INDEX = SHARED / "glo30/glo30_tile_index.parquet"


def write_index(path, tiles):
    names = [
        f"Copernicus_DSM_COG_10_{'S' if s < 0 else 'N'}{abs(s):02}_00_{'W' if w < 0 else 'E'}{abs(w):03}_00_DEM"
        for s, w in tiles
    ]
    pd.DataFrame({"tile_id": names}).to_parquet(path)
    return path


@pytest.fixture
def tiles(tmp_path):
    return write_index(tmp_path / "tiles.parquet", [(s, w) for s in range(0, 4) for w in range(20, 25)] + [(-80, 0)])


@pytest.fixture
def polygons(tmp_path):
    path = tmp_path / "basins.gpkg"
    table = gpd.GeoDataFrame({"HYBAS_ID": [1020018110, 42]}, geometry=[box(20.5, 0.5, 21.5, 1.5), box(0, 0, 1, 1)])
    table.set_crs(4326).to_file(path, layer="b")
    return path


def read_rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_basin_with_a_polygon_has_its_cells_and_the_others_divide_the_rest(tiles, polygons, capsys):
    cells = cells_of_basins(read_land_tiles(tiles), [polygons], cell_degrees=1)
    assert cells["1020018110"][0] == HYDROBASINS
    assert {cell.name for cell in cells["1020018110"][1]} == {"N00E020", "N00E021", "N01E020", "N01E021"}
    assert {origin for basin, (origin, _) in cells.items() if basin != "1020018110"} == {PLACEHOLDER}
    assert sum(len(part) for _, part in cells.values()) == 20
    assert "1 land tiles" in capsys.readouterr().err


def test_smaller_cells_fill_the_tiles(tiles):
    cells = cells_of_basins(read_land_tiles(tiles), [], cell_degrees=0.5)
    names = [cell.name for _, part in cells.values() for cell in part]
    assert len(names) == len(set(names)) == 80


def test_the_table_has_a_row_per_basin_and_a_total(tiles, tmp_path, capsys):
    out = tmp_path / "plans" / "summary.csv"
    assert main(["plan", "--all", "--tiles", str(tiles), "--out", str(out)]) == 0
    *basins, total = read_rows(out)
    assert len(basins) == 62
    assert total["basin_id"] == "all"
    for column in ("cells", "tiles"):
        assert int(total[column]) == sum(int(row[column]) for row in basins)
    assert float(total["cpu_hours"]) > 0
    assert "| one workstation |" in capsys.readouterr().out
    assert len(read_rows(out.with_name("machines.csv"))) == 3
    assert main(["plan", "--all", "--tiles", str(tiles), "--out", str(out), "--basin", "1020018110"]) == 0
    assert len(read_rows(out)) == 2


def test_an_unknown_basin_id_is_named(tiles, tmp_path, capsys):
    out = tmp_path / "summary.csv"
    arguments = ["plan", "--all", "--tiles", str(tiles), "--out", str(out), "--basin", "1020018110", "77"]
    assert main(arguments) == 2
    assert "Basin 77 is not one of the 62" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments", [["--all"], ["--basin", "1"], ["--polygons", "p"], ["--polygons", "p", "--basin", "1", "2"]]
)
def test_missing_arguments_are_reported(arguments, tmp_path, capsys):
    assert main(["plan", *arguments, "--out", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_a_file_that_is_not_a_tile_index_is_refused(tmp_path, polygons, tiles):
    with pytest.raises(InputError, match="cannot be read"):
        read_land_tiles(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(InputError, match="cannot be read"):
        read_land_tiles(tmp_path / "text.parquet")
    pd.DataFrame({"tile_id": ["N00E000"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not the name of a GLO-30 tile"):
        read_land_tiles(tmp_path / "other.parquet")
    pd.DataFrame({"name": ["a"]}).to_parquet(tmp_path / "columns.parquet")
    with pytest.raises(InputError, match="cannot be read"):
        read_land_tiles(tmp_path / "columns.parquet")


def test_costs_add_up_and_a_northern_cell_costs_less():
    both = [Cell(0, 20, 1.0), Cell(60, 20, 1.0)]
    empty = basin_cost([], margin_px=64)
    south, north, all_ = (basin_cost(part, margin_px=64) for part in (both[:1], both[1:], both))
    assert all_.cells == 2
    assert all_.sentinel2_gb == pytest.approx(south.sentinel2_gb + north.sentinel2_gb)
    assert all_.cpu_hours == pytest.approx(south.cpu_hours + north.cpu_hours - empty.cpu_hours)
    assert 0.4 < north.sentinel2_gb / south.sentinel2_gb < 0.6
    assert south.sentinel2_gb == pytest.approx(2.84, rel=0.05)
    assert (empty.cells, empty.storage_gb) == (0, 0)


def test_the_slowest_resource_sets_the_days_and_cores_predict_without_a_gpu():
    cost = Cost(sentinel2_gb=86.4, cpu_hours=48, gpu_hours=24, predict_cpu_hours=480)
    with_gpu = Machine("a", cores=2, gpus=1, download_mb_s=1).days(cost)
    assert with_gpu == {"download_days": 1, "cpu_days": 1, "gpu_days": 1, "days": 1}
    without = Machine("b", cores=2, gpus=0, download_mb_s=1).days(cost)
    assert (without["cpu_days"], without["gpu_days"], without["days"]) == (11, 0, 11)


@pytest.mark.real
@pytest.mark.skipif(not REAL_INDEX.is_file(), reason="needs the shared data")
def test_the_command_prints_the_table_of_the_documentation(tmp_path, capsys):
    start = time.process_time()
    assert main(["plan", "--all", "--tiles", str(REAL_INDEX), "--out", str(tmp_path / "summary.csv")]) == 0
    assert time.process_time() - start < 20
    documented = (ROOT / "docs/explanation/scale.md").read_text()
    assert capsys.readouterr().out.strip() in documented


def test_published_rasters_need_no_scenes_network_or_composites():
    cells = [Cell(1, 32, 1.0)]
    own, published = (basin_cost(cells, margin_px=64, published=each) for each in (False, True))
    assert (published.tiles, published.gpu_hours, published.predict_cpu_hours) == (0, 0, 0)
    assert published.sentinel2_gb < own.sentinel2_gb / 100
    assert published.dem_gb == own.dem_gb
    assert 0 < published.storage_gb < own.storage_gb / 5
    assert 0 < published.cpu_hours < own.cpu_hours
