import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from headwater.core.errors import WorkError
from headwater.geo.features import read_table
from headwater.geo.geodesy import geodesic_length_m
from headwater.project.reference import config_schema
from headwater.waterways.backbone.tdx import tdx_backbone
from headwater.waterways.network import geoparquet
from headwater.waterways.network.build import build_network
from headwater.waterways.network.check import check_network
from headwater.waterways.network.columns import NETWORK_COLUMNS, PUBLISHED_COLUMNS
from headwater.waterways.network.formats import FORMATS, OUTPUT_FORMATS, OutputFormat, format_path, write_format
from headwater.waterways.network.gdal_formats import LAYER
from headwater.waterways.network.geoparquet import write_network
from headwater.waterways.network.vector_tiles import TILE_ZOOMS, min_order
from headwater.waterways.segments import Segments, segment_table, whole_reach


@pytest.fixture(scope="module")
def network():
    """Two reaches and, in each of 40 places along the first, a new stream; about 4 by 0.2 degrees."""
    stops = np.column_stack([np.linspace(0, 4, 42), np.full(42, 0.03)])
    trunk = [shapely.LineString(pair) for pair in np.stack([stops[:-1], stops[1:]], axis=1)]
    new = [shapely.LineString([np.add(stop, (0.01, 0.1)), stop]) for stop in stops[1:-1]]
    first = Segments(
        [*trunk, *new],
        np.arange(81) < 41,
        np.array([*range(1, 41), -1, *range(1, 41)]),
        np.append(np.linspace(0, 1, 80), np.nan),
        0.0,
    )
    second = whole_reach(shapely.LineString([(4, 0.03), (4, -0.1)]))
    reaches = gpd.GeoDataFrame(
        {
            "link_id": [1, 2],
            "downstream_link_id": [2, -1],
            "strahler_order": np.array([1, 1], np.int32),
            "upstream_area_km2": [1.5, 2.0],
            "upstream_outside": False,
            "upstream_cut": False,
            "source": "given",
            "cell": "A",
        },
        geometry=[shapely.LineString(stops), second.lines[0]],
        crs="EPSG:4326",
    )
    return build_network(segment_table([(1, first), (2, second)]), reaches, "7020038340")


def test_geoparquet_is_read_by_box_and_groups_hold_neighbours(network, tmp_path, monkeypatch):
    monkeypatch.setattr(geoparquet, "ROWS_PER_GROUP", 10)
    write_network(network, tmp_path / "w.parquet")
    file = pq.ParquetFile(tmp_path / "w.parquet")
    assert file.num_row_groups == 9
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["bbox"] == network.total_bounds.tolist()
    part = gpd.read_parquet(tmp_path / "w.parquet", bbox=(0, -1, 0.45, 1))
    near = network[network.intersects(shapely.box(0, -1, 0.45, 1))]
    assert set(part["stream_id"]) == set(near["stream_id"])
    assert part.crs == "EPSG:4326"


def test_duckdb_reads_columns_lists_and_boxes(network, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    write_network(network, tmp_path / "w.parquet")
    with duckdb.connect() as base:
        rows = base.sql(f"from read_parquet('{tmp_path / 'w.parquet'}')")
        assert set(rows.columns) == {*NETWORK_COLUMNS, "bbox"}
        assert base.sql("select count(*), sum(length_m), sum(len(source_stream_ids)) from rows").fetchall() == [
            (82, pytest.approx(network["length_m"].sum()), 81)
        ]
        found = base.sql(
            "select stream_id, cast(geometry as blob) from rows where bbox.xmax < 0.45 order by stream_id"
        ).fetchall()
    west = network[network.bounds["maxx"] < 0.45].sort_values("stream_id")
    assert [row[0] for row in found] == west["stream_id"].tolist()
    assert (shapely.from_wkb([row[1] for row in found]) == west.geometry.to_numpy()).all()


@pytest.mark.parametrize("name", ["gpkg", "fgb"])
def test_gdal_reads_what_was_written(network, tmp_path, name):
    write_format(network, tmp_path / "waterways.parquet", name)
    path = tmp_path / f"waterways.{name}"
    assert pyogrio.read_info(path, layer=LAYER)["features"] == 82
    assert pyogrio.read_info(path, layer=LAYER)["geometry_type"] == "LineString"
    read = gpd.read_file(path, layer=LAYER).set_index("stream_id")
    assert read.crs == "EPSG:4326"
    own = network.set_index("stream_id").loc[read.index]
    assert (read.geometry.to_numpy() == own.geometry.to_numpy()).all()
    assert [json.loads(text) for text in read["source_stream_ids"]] == [list(ids) for ids in own["source_stream_ids"]]
    for column in ("target_stream_id", "strahler_order", "from_tdx", "divergence", "length_m", "terminal_stream_id"):
        assert (read[column] == own[column]).all(), column
    assert read["mean_probability"].isna().sum() == own["mean_probability"].isna().sum()
    assert check_network(read_table(path))["faults"] == 0
    box = gpd.read_file(path, layer=LAYER, bbox=(0, -1, 0.45, 1))
    assert len(box) == network.intersects(shapely.box(0, -1, 0.45, 1)).sum()


def test_tiles_hold_every_stream(network, tmp_path):
    write_format(network, tmp_path / "waterways.parquet", "pmtiles")
    path = tmp_path / "waterways.pmtiles"
    info = pyogrio.read_info(path)
    assert info["crs"] == "EPSG:3857"
    assert (info["dataset_metadata"]["minzoom"], info["dataset_metadata"]["maxzoom"]) == ("6", "12")
    assert info["dataset_metadata"]["name"] == "waterways"
    # GDAL reads the highest zoom, where a line is cut at the edges of tiles.
    read = gpd.read_file(path).dissolve("stream_id")
    own = network.to_crs(3857).set_index("stream_id").loc[read.index]
    assert len(read) == 82
    assert (read["strahler_order"] == own["strahler_order"]).all()
    assert (read.hausdorff_distance(own.geometry) < 3).all()


def test_low_zooms_show_larger_streams_alone(network, tmp_path):
    assert [min_order(zoom) for zoom in TILE_ZOOMS] == [6, 5, 4, 3, 2, 1, 1]
    network = network.assign(strahler_order=network["strahler_order"].where(~network["from_tdx"], 4))
    write_format(network, tmp_path / "waterways.parquet", "pmtiles")
    seen = {}
    for zoom in TILE_ZOOMS:
        read = pyogrio.read_dataframe(tmp_path / "waterways.pmtiles", ZOOM_LEVEL=zoom)
        seen[zoom] = set(read["strahler_order"])
        assert set(read["stream_id"]) == set(network["stream_id"][network["strahler_order"] >= min(seen[zoom])])
    # No zoom is empty, however small the largest stream.
    assert seen == {6: {4}, 7: {4}, 8: {4}, 9: {4}, 10: {4}, 11: {1, 4}, 12: {1, 4}}


def test_published_columns(network, tmp_path):
    write_format(network, tmp_path / "waterways.parquet", "published")
    read = gpd.read_parquet(tmp_path / "waterways.published.parquet")
    assert tuple(read.columns) == PUBLISHED_COLUMNS
    assert (read["stream_order"] == network["strahler_order"]).all()
    assert read["length_m"].to_numpy() == pytest.approx(geodesic_length_m(read.geometry.to_numpy()))
    result = check_network(read)
    assert result["faults"] == 0
    assert "sources mirror targets" in result["laws"]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_bytes_again_and_nothing_else_in_the_folder(network, tmp_path, name):
    written = []
    for folder in ("a", "b"):
        write_format(network, tmp_path / folder / "waterways.parquet", name)
        path = format_path(tmp_path / folder / "waterways.parquet", name)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        written.append(path.read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_read_back_makes_the_same_file(network, tmp_path, name):
    write_network(network, tmp_path / "w.parquet")
    write_format(network, tmp_path / "a.parquet", name)
    write_format(gpd.read_parquet(tmp_path / "w.parquet"), tmp_path / "b.parquet", name)
    assert (
        format_path(tmp_path / "a.parquet", name).read_bytes() == format_path(tmp_path / "b.parquet", name).read_bytes()
    )


@pytest.mark.parametrize("name", ["gpkg", "fgb", "published"])
def test_a_network_without_rows(network, tmp_path, name):
    write_format(network.iloc[:0], tmp_path / "waterways.parquet", name)
    assert len(read_table_of(format_path(tmp_path / "waterways.parquet", name))) == 0


def test_nothing_makes_no_tiles(network, tmp_path):
    with pytest.raises(WorkError, match="no streams"):
        write_format(network.iloc[:0], tmp_path / "waterways.parquet", "pmtiles")
    assert list(tmp_path.iterdir()) == []


def read_table_of(path):
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path, layer=LAYER)


@pytest.mark.parametrize("name", ["gpkg", "fgb", "geojsonseq", "pmtiles"])
def test_what_fails_leaves_nothing(network, tmp_path, name, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyogrio, "write_arrow", full)
    with pytest.raises(OSError, match="No space"):
        write_format(network, tmp_path / "waterways.parquet", name)
    assert list(tmp_path.iterdir()) == []
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


def test_another_format_is_one_registration(network, tmp_path, monkeypatch):
    monkeypatch.setattr(OUTPUT_FORMATS, "_added", {})
    OUTPUT_FORMATS.add("ids", OutputFormat(".txt", lambda table, path: path.write_text(str(len(table)))))
    write_format(network, tmp_path / "w.parquet", "ids")
    assert (tmp_path / "w.txt").read_text() == "82"
    assert FORMATS["ids"] == ".txt"
    assert list(FORMATS) == ["gpkg", "fgb", "geojsonseq", "kml", "pmtiles", "published", "ids"]


def test_suffixes_are_read_without_the_libraries_that_write():
    code = (
        "import sys; from headwater.waterways.network.formats import FORMATS; assert dict(FORMATS);"
        "assert not {'pandas', 'geopandas', 'pyogrio', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_command_line_and_configuration_know_the_same_formats():

    schema = config_schema()
    configured = schema["properties"]["network"]["properties"]["formats"]["items"]["enum"]
    assert OUTPUT_FORMATS.names() == tuple(configured)


def test_tiles_show_what_lies_beyond_180_degrees_on_the_other_side(tmp_path):
    table = gpd.GeoDataFrame(
        {"LINKNO": [1, 2], "DSLINKNO": [2, -1], "strmOrder": 1},
        geometry=[shapely.LineString([(179.5, 1), (-179.75, 1)]), shapely.LineString([(-179.75, 1), (-179.5, 0.5)])],
        crs="EPSG:4326",
    )
    made = tdx_backbone(table, gpd.GeoDataFrame({"streamID": []}, geometry=[], crs="EPSG:4326"))
    network = build_network(segment_table([]), made.reaches, "0")
    assert network.total_bounds.tolist() == [-180.5, 0.5, -179.5, 1]
    write_format(network, tmp_path / "waterways.parquet", "pmtiles")
    tiles = gpd.read_file(format_path(tmp_path / "waterways.parquet", "pmtiles")).to_crs(4326)
    assert set(tiles["tdx_stream_id"]) == {1, 2}
    assert np.abs(tiles.bounds[["minx", "maxx"]].to_numpy()).min() > 179.4
