import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import LineString

from headwater.cli import main
from headwater.core.errors import InputError
from headwater.evaluate.line_scores import evaluate_lines

METER = 1 / 111_194.9


def line(*points):
    return LineString(np.array(points) * METER + (20, 0))


@pytest.fixture
def place(tmp_path):
    truth = gpd.GeoDataFrame(
        {"StreamOrde": [2, 1]}, geometry=[line((0, 0), (2000, 0)), line((1000, 1000), (1000, 0))], crs=4326
    )
    truth.to_file(tmp_path / "truth.gpkg", layer="NHDFlowline_Network")
    network = gpd.GeoDataFrame(
        {
            "stream_id": [1, 2, 3],
            "target_stream_id": [-1, 1, -1],
            "from_tdx": [True, False, False],
            "strahler_order": [2, 1, 1],
            "basin_id": ["7020000010"] * 3,
            "length_m": [2000.0, 1000.0, 500.0],
        },
        geometry=[line((0, 5), (2000, 5)), line((1000, 1000), (1000, 5)), line((0, 3000), (500, 3000))],
        crs=4326,
    )
    network.to_parquet(tmp_path / "waterways.parquet")
    gpd.GeoDataFrame({"FCODE": [46006, 46003]}, geometry=truth.geometry, crs=4326).to_file(
        tmp_path / "nhd.gpkg", layer="NHDFlowline"
    )
    return tmp_path


def test_every_table_is_written(place, capsys):
    out = place / "out"
    code = main(
        ["evaluate", "lines", "--network", str(place / "waterways.parquet"), "--truth", str(place / "truth.gpkg"),
         "--nhd", str(place / "nhd.gpkg"), "--out", str(out)]
    )  # fmt: skip
    assert code == 0
    scores = pd.read_csv(out / "lines.csv", dtype={"strahler_order": str}).set_index(["strahler_order", "distance_m"])
    assert len(scores) == 9
    assert scores.loc[("all", 20.0), "completeness"] == pytest.approx(1, abs=0.001)
    assert scores.loc[("1", 20.0), "correctness"] == pytest.approx(1000 / 1500, abs=0.01)
    assert scores.loc[("2", 60.0), "quality"] == pytest.approx(1, abs=0.001)
    by_order = pd.read_csv(out / "length_by_order.csv", index_col=0)
    assert by_order.loc["1"].tolist() == [0, 1.5]
    assert by_order.loc["all"].tolist() == [2, 1.5]
    by_basin = pd.read_csv(out / "length_by_basin.csv", index_col=0)
    assert by_basin.loc["7020000010"].tolist() == [2, 1.5]
    by_type = pd.read_csv(out / "length_by_type.csv", index_col=0)
    assert set(by_type.index) == {"perennial stream", "intermittent stream", "unknown", "all"}
    assert by_type.loc["unknown", "New (km)"] == 0.5
    assert json.loads((out / "connected.json").read_text()) == pytest.approx(
        {"all": 3000 / 3500, "backbone": 1, "new": 1000 / 1500}, abs=1e-6
    )
    assert "85.71% of all length" in capsys.readouterr().out


def test_lines_alone_are_scored_without_orders(place):
    plain = gpd.read_parquet(place / "waterways.parquet")[["geometry"]]
    plain.to_file(place / "plain.gpkg", layer="a")
    table = evaluate_lines([place / "plain.gpkg"], place / "truth.gpkg", place / "out", pixels=[2])
    assert table["correctness"].isna().tolist() == [False, True, True]
    assert {path.name for path in (place / "out").iterdir()} == {"lines.csv", "lines.md"}


@pytest.mark.parametrize("order", [np.nan, None, -9, "none"])
def test_lines_without_an_order_count_among_all_alone(place, order):
    truth = gpd.read_file(place / "truth.gpkg")
    whole = evaluate_lines([place / "waterways.parquet"], place / "truth.gpkg", place / "whole", pixels=[2])
    truth["StreamOrde"] = truth["StreamOrde"].astype(object)
    truth.loc[0, "StreamOrde"] = order
    truth.to_file(place / "some.gpkg", layer="a")
    table = evaluate_lines([place / "waterways.parquet"], place / "some.gpkg", place / "out", pixels=[2])
    assert table["strahler_order"].tolist() == whole["strahler_order"].tolist()
    pd.testing.assert_frame_equal(table[:1], whole[:1])
    assert table["true_length_m"][1:].sum() < whole["true_length_m"][1:].sum()


def test_lengths_are_measured_where_they_are_missing(place):
    table = gpd.read_parquet(place / "waterways.parquet").drop(columns="length_m")
    table.to_parquet(place / "waterways.parquet")
    evaluate_lines([place / "waterways.parquet"] * 2, place / "truth.gpkg", place / "out")
    by_order = pd.read_csv(place / "out/length_by_order.csv", index_col=0)
    assert by_order.loc["all"].to_numpy() == pytest.approx([4, 3], rel=0.01)


def test_files_of_several_layers_ask_for_one(place):
    gpd.read_file(place / "truth.gpkg").iloc[:1].to_file(place / "truth.gpkg", layer="other")
    with pytest.raises(InputError, match="2 layers: NHDFlowline_Network, other"):
        evaluate_lines([place / "waterways.parquet"], place / "truth.gpkg", place / "out")
    table = evaluate_lines(
        [place / "waterways.parquet"], place / "truth.gpkg", place / "out", truth_layer="other", pixels=[1]
    )
    assert table["true_length_m"].iloc[0] == pytest.approx(2000, rel=0.01)
    with pytest.raises(InputError, match="cannot be read as lines"):
        evaluate_lines([place / "waterways.parquet"], place / "truth.gpkg", place / "out", truth_layer="none")
    with pytest.raises(InputError, match="must be above 0"):
        evaluate_lines([place / "waterways.parquet"], place / "truth.gpkg", place / "out", pixels=[0])


def test_truth_of_another_place_or_of_none_is_refused_but_an_empty_network_is_scored(place):
    truth = gpd.read_file(place / "truth.gpkg")
    truth.set_geometry(truth.translate(1)).to_parquet(place / "far.parquet")
    truth.iloc[:0].to_parquet(place / "empty.parquet")
    with pytest.raises(InputError, match="different places"):
        evaluate_lines([place / "waterways.parquet"], place / "far.parquet", place / "out")
    with pytest.raises(InputError, match="contains no line"):
        evaluate_lines([place / "waterways.parquet"], place / "empty.parquet", place / "out")
    gpd.read_parquet(place / "waterways.parquet").iloc[:0].to_parquet(place / "nothing.parquet")
    nhd = [place / "nhd.gpkg"]
    table = evaluate_lines([place / "nothing.parquet"], place / "truth.gpkg", place / "out", pixels=[1], nhd=nhd)
    assert table.loc[0, ["completeness", "quality"]].tolist() == [0, 0]


@pytest.mark.real
def test_real_lengths_by_order(shared_data, tmp_path):
    source = shared_data / "nhdplus-new-hope/new_hope.gpkg"
    lines = gpd.read_file(source, layer="NHDFlowline_Network")[["StreamOrde", "geometry"]].to_crs(4326)
    # Ten meters to the north: within a pixel of themselves.
    shifted = lines.set_geometry(lines.translate(0, 10 * METER)).rename(columns={"StreamOrde": "strahler_order"})
    shifted.to_parquet(tmp_path / "network.parquet")
    table = evaluate_lines(
        [tmp_path / "network.parquet"], source, tmp_path / "out", truth_layer="NHDFlowline_Network", pixels=[0.25, 1]
    ).set_index(["distance_m", "strahler_order"])
    km = table.loc[20.0, "true_length_m"].div(1000).round(1).to_dict()
    assert km == {"all": 577.1, "1": 301.0, "2": 106.1, "3": 85.4, "4": 80.0, "5": 4.5}
    assert (table.loc[20.0, ["completeness", "correctness", "quality"]] > 0.999).to_numpy().all()
    # Within five meters are only the parts that run north.
    assert 0.3 < table.loc[(5.0, "all"), "completeness"] < 0.6
