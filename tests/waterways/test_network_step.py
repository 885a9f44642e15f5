import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from headwater.core.errors import InputError, WorkError
from headwater.waterways.backbone.tdx import tdx_backbone, write_backbone
from headwater.waterways.network_step import check, network
from headwater.waterways.segments import segment_table, whole_reach

LINES = {1: [(0, 2), (0, 1)], 2: [(1, 2), (0, 1)], 3: [(0, 1), (0, 0)]}


@pytest.fixture
def place(tmp_path):
    streams = gpd.GeoDataFrame(
        {"LINKNO": [1, 2, 3], "DSLINKNO": [3, 3, -1], "strmOrder": [1, 1, 2]},
        geometry=[shapely.LineString(points) for points in LINES.values()],
        crs="EPSG:4326",
    )
    none = gpd.GeoDataFrame({"streamID": np.array([], np.int64)}, geometry=[], crs="EPSG:4326")
    made = tdx_backbone(streams, none, [("A", (-1, 0.5, 2, 3)), ("B", (-1, -1, 2, 0.5))])
    write_backbone(made, tmp_path / "reaches.parquet", tmp_path / "catchments.parquet")
    lines = made.reaches.set_index("link_id").geometry
    for cell, links in {"A": [1, 2], "B": [3], "C": []}.items():
        segment_table([(link, whole_reach(lines[link])) for link in links]).to_parquet(tmp_path / f"{cell}.parquet")
    return tmp_path


def run(folder, names=("A", "B", "C"), **options):
    files = [folder / f"{name}.parquet" for name in names]
    network(files, folder / "reaches.parquet", folder / "w.parquet", folder / "w.checks.json", basin_id="5", **options)


def test_files_in_files_out(place, capsys):
    run(place)
    result = json.loads((place / "w.checks.json").read_text())
    assert result["faults"] == 0
    assert result["basin_id"] == "5"
    assert result["counts"]["links"] == 3
    assert result["counts"]["links_without_catchment"] == 3
    assert result["counts"]["outlets"] == 1
    assert check(place / "w.parquet") == 0
    printed = capsys.readouterr().out
    assert "3 segments" in printed
    assert "0 violations" in printed
    first = (place / "w.parquet").read_bytes()
    run(place, ("C", "B", "A"))
    assert (place / "w.parquet").read_bytes() == first


def test_a_failed_check_stops_and_is_reported_in_the_log_and_the_checks(place, capsys):
    lines = gpd.read_parquet(place / "B.parquet")
    lines.geometry = [shapely.LineString([(0, 1.001), (0, 0)])]
    lines.to_parquet(place / "B.parquet")
    with pytest.raises(WorkError, match="fails 3 check"):
        run(place)
    assert not (place / "w.parquet").exists()
    assert "1 violation(s) of the check 'backbone length is conserved', the first at [3]" in capsys.readouterr().err
    laws = json.loads((place / "w.checks.json").read_text())["laws"]
    assert laws["joins are exact"]["faults"] == 2
    assert laws["backbone length is conserved"]["ids"] == [3]
    assert laws["lengths are geodesic"]["faults"] == 1


def test_lakes_and_other_formats_on_request(place):
    lake = gpd.GeoDataFrame(geometry=[shapely.box(0.4, 1.4, 0.6, 1.6)], crs="EPSG:4326")
    lake.to_crs(3857).to_file(place / "lakes.gpkg")
    run(place, lakes=place / "lakes.gpkg", formats=["gpkg", "fgb", "pmtiles", "published"])
    written = gpd.read_parquet(place / "w.parquet")
    assert written.loc[written["intersects_lake"], "tdx_stream_id"].tolist() == [2]
    for name in ("w.gpkg", "w.fgb"):
        assert sorted(gpd.read_file(place / name, layer="waterways")["stream_id"]) == sorted(written["stream_id"])
        assert check(place / name) == 0
    assert gpd.read_parquet(place / "w.published.parquet")["intersects_lake"].sum() == 1
    assert (place / "w.pmtiles").read_bytes().startswith(b"PMTiles")
    with pytest.raises(InputError, match=r"none.gpkg"):
        run(place, lakes=place / "none.gpkg")


def test_lengths_by_source_and_a_column_of_divergences(place):
    table = gpd.read_parquet(place / "A.parquet")
    table["divergence"] = False
    table.to_parquet(place / "A.parquet")
    run(place)
    result = json.loads((place / "w.checks.json").read_text())
    assert result["length_km"] == result["backbone_length_km"] > 0
    assert result["new_length_km"] == 0
    assert not gpd.read_parquet(place / "w.parquet")["divergence"].any()


def test_a_missing_cell_or_column_is_reported(place):
    with pytest.raises(WorkError, match="1 links have no segments, such as 3 of cell B"):
        run(place, ("A",))
    gpd.read_parquet(place / "A.parquet").drop(columns="local_index").to_parquet(place / "A.parquet")
    with pytest.raises(InputError, match="local_index"):
        run(place)
    assert not (place / "w.parquet").exists()


def test_check_reads_other_formats_and_counts_faults(place, capsys):
    run(place)
    table = gpd.read_parquet(place / "w.parquet")
    table["source_stream_ids"] = [",".join(map(str, ids)) for ids in table["source_stream_ids"]]
    table.to_file(place / "w.gpkg")
    assert check(place / "w.gpkg") == 0
    table.loc[table["target_stream_id"] == -1, "target_stream_id"] = 12
    table.to_file(place / "broken.gpkg")
    capsys.readouterr()
    assert check(place / "broken.gpkg") > 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("target exists"))
    assert line.split()[2] == "1"


def test_no_cells_at_all_is_an_empty_network(tmp_path):
    none = gpd.GeoDataFrame({"LINKNO": [], "DSLINKNO": [], "strmOrder": []}, geometry=[], crs="EPSG:4326")
    shapes = gpd.GeoDataFrame({"streamID": []}, geometry=[], crs="EPSG:4326")
    made = tdx_backbone(none, shapes)
    write_backbone(made, tmp_path / "reaches.parquet", tmp_path / "catchments.parquet")
    network([], tmp_path / "reaches.parquet", tmp_path / "w.parquet", tmp_path / "w.checks.json", basin_id="5")
    assert len(gpd.read_parquet(tmp_path / "w.parquet")) == 0
