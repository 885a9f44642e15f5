import json

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString, box

from headwater import raster
from headwater.cli import main
from headwater.core.errors import InputError
from headwater.evaluate.basin_scores import evaluate
from headwater.geo.grid import Cell, elevation_grid

CELL = Cell(160, 239, 0.05)
WEST, SOUTH, EAST, NORTH = CELL.bounds


@pytest.fixture
def place(tmp_path):
    """A plane that falls to the south with three straight valleys; the middle one is the backbone."""
    grid = elevation_grid(CELL, margin_px=0)
    columns = (np.arange(grid.width) + 0.5) / grid.width
    rows = np.linspace(60, 0, grid.height)[:, np.newaxis]
    valleys = np.min([np.abs(columns - middle) for middle in (0.2, 0.5, 0.8)], axis=0)
    height = (rows + 200 * valleys[np.newaxis]).astype(np.float32)
    raster.write_cog(tmp_path / "elevation.tif", height[np.newaxis], transform=grid.transform)
    gpd.GeoDataFrame({"HYBAS_ID": [1]}, geometry=[box(*CELL.bounds)], crs=4326).to_file(
        tmp_path / "basin.gpkg", layer="b"
    )

    def valley(share, top=0.0):
        lon = WEST + share * (EAST - WEST)
        return LineString([(lon, NORTH - top * (NORTH - SOUTH)), (lon, SOUTH)])

    truth = gpd.GeoDataFrame(geometry=[valley(0.2), valley(0.5), valley(0.8)], crs=4326)
    truth.to_crs(32632).to_file(tmp_path / "truth.gpkg", layer="t")

    def network(*lines):
        gpd.GeoDataFrame(
            {"from_tdx": [True] + [False] * len(lines)}, geometry=[valley(0.5), *lines], crs=4326
        ).to_parquet(tmp_path / "network.parquet")
        return tmp_path

    return network, valley


def run(folder, **options):
    return evaluate(
        folder / "network.parquet", folder / "truth.gpkg", [folder / "elevation.tif"], [folder / "basin.gpkg"], "1",
        buffer_m=40, **options,
    )  # fmt: skip


def test_the_truth_itself_scores_one_and_the_backbone_does_not_count(place):
    network, valley = place
    scores = run(network(valley(0.2), valley(0.8)))
    assert scores["network"]["f1"] == pytest.approx(1)
    assert scores["network"]["true_length_m"] == pytest.approx(2 * 5530, rel=0.02)


def test_half_the_truth_is_half_the_recall_and_the_baseline_has_the_same_length(place):
    network, valley = place
    scores = run(network(valley(0.2)))
    assert scores["network"]["correctness"] == pytest.approx(1)
    assert scores["network"]["completeness"] == pytest.approx(0.5, abs=0.01)
    # The threshold moves in whole cells of upstream area, so the length is met as nearly as they allow.
    assert scores["dem_only"]["found_length_m"] == pytest.approx(scores["network"]["found_length_m"], rel=0.2)
    assert scores["dem_only"]["correctness"] > 0.9


def test_a_network_that_found_nothing_has_no_correctness(place):
    network, _ = place
    folder = network()
    run(folder, out=folder / "scores.json")
    scores = json.loads((folder / "scores.json").read_text())["network"]
    assert (scores["correctness"], scores["completeness"], scores["found_length_m"]) == (None, 0, 0)


def test_nothing_counts_outside_of_the_area(place):
    network, valley = place
    folder = network(valley(0.2))
    west = gpd.GeoDataFrame(geometry=[box(WEST, SOUTH, WEST + 0.6 * (EAST - WEST), NORTH)], crs=4326)
    west.to_crs(32632).to_file(folder / "area.gpkg")
    scores = run(folder, area=folder / "area.gpkg")
    assert scores["network"]["f1"] == pytest.approx(1)
    assert scores["network"]["true_length_m"] == pytest.approx(5530, rel=0.02)
    assert scores["dem_only"]["correctness"] > 0.9
    gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=4326).to_file(folder / "area.gpkg")
    with pytest.raises(InputError, match="Basin 1 does not meet"):
        run(folder, area=folder / "area.gpkg")


def test_more_than_the_baseline_can_flow_over_is_refused(place, monkeypatch):
    network, valley = place
    monkeypatch.setattr("headwater.evaluate.basin_scores.MAX_PX", 1000)
    with pytest.raises(InputError, match="--area"):
        run(network(valley(0.2)))


def test_a_missing_network_is_reported(place):
    network, valley = place
    folder = network(valley(0.2))
    (folder / "network.parquet").unlink()
    with pytest.raises(InputError, match=r"network\.parquet does not exist"):
        run(folder)


def test_the_scores_are_written_and_bad_truth_is_reported(place, capsys):
    network, valley = place
    folder = network(valley(0.2), LineString([(WEST, SOUTH + 0.02), (EAST, SOUTH + 0.02)]))
    code = main(
        ["evaluate", "--network", str(folder / "network.parquet"), "--truth", str(folder / "truth.gpkg"),
         "--elevation", str(folder / "elevation.tif"), "--polygons", str(folder / "basin.gpkg"), "--basin", "1",
         "--out", str(folder / "scores.json")]
    )  # fmt: skip
    assert code == 0
    assert json.loads((folder / "scores.json").read_text())["network"]["correctness"] < 0.75
    assert "dem_only" in capsys.readouterr().out
    with pytest.raises(InputError, match="must be above 0"):
        evaluate(
            folder / "network.parquet", folder / "truth.gpkg", [folder / "elevation.tif"], [folder / "basin.gpkg"],
            "1", buffer_m=-5,
        )  # fmt: skip
    (folder / "truth.gpkg").unlink()
    (folder / "basin.gpkg").rename(folder / "truth.gpkg")
    with pytest.raises(InputError, match="other shapes than lines"):
        run(folder)
    (folder / "truth.gpkg").write_text("nothing")
    with pytest.raises(InputError, match=r"truth\.gpkg cannot be read"):
        run(folder)
