"""Programs that know nothing of us find what columns mean, their units, and whose data went in."""

import json
import sqlite3
import xml.etree.ElementTree as ET

import duckdb
import geopandas as gpd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from headwater.core.notices import notices_of
from headwater.waterways.network.columns import COLUMNS
from headwater.waterways.network.formats import TERMS, write_descriptions, write_format
from headwater.waterways.network.geoparquet import write_network

ASKED = {"license": "CC BY-SA 4.0", "citation": "Ours & <theirs> (2026)", "attribution": "Contains data."}
LENGTH = next(column for column in COLUMNS if column.name == "length_m")


@pytest.fixture
def network():
    """A backbone of two segments, across 180 degrees, and a new stream."""
    lines = [[(179.9, 0), (180, 0)], [(180, 0), (180.1, 0)], [(179.9, 0.1), (180, 0)]]
    values = {
        "stream_id": [1, 2, 3],
        "target_stream_id": [2, -1, 2],
        "source_stream_ids": [[], [1, 3], []],
        "strahler_order": [1, 2, 1],
        "from_tdx": [True, True, False],
        "length_m": [1.5, 2.0, 0.1],
        "mean_probability": [0.5, None, 1.0],
    }
    made = gpd.GeoDataFrame(values, geometry=[shapely.LineString(line) for line in lines], crs="EPSG:4326")
    made = made.astype({"strahler_order": "int32"})
    made.attrs[TERMS] = ASKED
    return made


def test_geoparquet_describes_its_columns_to_arrow_and_to_duckdb(network, tmp_path):
    path = tmp_path / "waterways.parquet"
    write_network(network, path)
    field = pq.read_schema(path).field("length_m")
    assert field.metadata == {b"description": LENGTH.meaning.encode(), b"unit": b"m"}
    with duckdb.connect() as base:
        found = dict(base.sql(f"select decode(key), decode(value) from parquet_kv_metadata('{path}')").fetchall())
    assert {name: found[name] for name in ASKED} == ASKED
    assert json.loads(found["columns"])["length_m"] == {"description": LENGTH.meaning, "unit": "m"}
    assert set(json.loads(found["columns"])) == {*network.columns, "bbox"}


@pytest.mark.parametrize("name", ["gpkg", "fgb"])
def test_gdal_finds_descriptions_units_and_terms(network, tmp_path, name):
    write_format(network, tmp_path / "waterways.parquet", name)
    path = tmp_path / f"waterways.{name}"
    schema = pyogrio.read_arrow(path, layer="waterways")[1].schema
    for column in COLUMNS:
        if column.name in network.columns and column.name != "geometry":
            comment = schema.field(column.name).metadata[b"GDAL:OGR:comment"].decode()
            assert comment == column.comment
    assert schema.field("length_m").metadata[b"GDAL:OGR:comment"].endswith(b"Unit: m.")
    metadata = pyogrio.read_info(path, layer="waterways")["layer_metadata"]
    assert all(text in metadata["DESCRIPTION"] for text in ASKED.values())
    assert name == "fgb" or {key: metadata[key] for key in ASKED} == ASKED


def test_the_geopackage_is_one_by_its_tables_and_brings_its_style(network, tmp_path):
    write_format(network, tmp_path / "waterways.parquet", "gpkg")
    with sqlite3.connect(tmp_path / "waterways.gpkg") as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        comments = dict(base.execute("SELECT column_name, description FROM gpkg_data_columns"))
        kinds = dict(base.execute("SELECT table_name, data_type FROM gpkg_contents"))
        (style,) = base.execute("SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles")
    base.close()
    assert comments["length_m"] == LENGTH.comment
    assert kinds == {"waterways": "features", "layer_styles": "attributes"}
    assert style[:3] == ("waterways", "geom", 1)
    write_descriptions(network, tmp_path / "waterways.parquet")
    assert style[3] == (tmp_path / "waterways.qml").read_text()
    rules = ET.fromstring(style[3]).findall("renderer-v2/rules/rule")
    symbols = {each.get("name") for each in ET.fromstring(style[3]).findall("renderer-v2/symbols/symbol")}
    assert {each.get("symbol") for each in rules} == symbols
    # The filters are SQL as well: each line is in one of them.
    rows = [
        len(pyogrio.read_dataframe(tmp_path / "waterways.gpkg", layer="waterways", where=rule.get("filter")))
        for rule in rules
    ]
    assert rows == [2, 1]


def test_the_schema_names_types_units_and_terms(network, tmp_path):
    write_descriptions(network, tmp_path / "waterways.parquet")
    schema = json.loads((tmp_path / "schema.json").read_text())
    fields = {field["name"]: field for field in schema["fields"]}
    assert list(fields) == [*network.columns, "bbox"]
    assert fields["length_m"] == {
        "name": "length_m", "type": "number", "arrowType": "float64", "unit": "m", "description": LENGTH.meaning,
    }  # fmt: skip
    assert schema["terms"] == ASKED


@pytest.mark.parametrize(("name", "suffix"), [("geojsonseq", ".geojsonl"), ("kml", ".kml")])
def test_formats_of_maps_are_cut_at_180_degrees_and_keep_ids(network, tmp_path, name, suffix):
    write_format(network, tmp_path / "waterways.parquet", name)
    path = tmp_path / f"waterways{suffix}"
    read = gpd.read_file(path)
    assert len(read) == 3
    assert (read.total_bounds[[0, 2]] == [-180, 180]).all()
    assert shapely.length(read.geometry).sum() == pytest.approx(shapely.length(network.geometry).sum(), abs=1e-5)
    if name == "geojsonseq":
        assert json.loads(path.read_text().splitlines()[1])["properties"]["source_stream_ids"] == [1, 3]
    else:
        assert read["Name"].tolist() == ["1", "2", "3"]
        text = path.read_text()
        assert "Ours &amp; &lt;theirs&gt; (2026)" in text
        assert "<displayName>length_m (m)</displayName><value>1.5</value>" in text
        assert text.count("mean_probability") == 4  # twice on each line that has one


def test_notices_are_of_products_and_not_of_other_names():
    names = [
        "S2B_MSIL2A_20240101",
        "Copernicus_DSM_COG_10_N40",
        "TDX_streamnet_7020038340_01.gpkg",
        "hybas_na_lev02.shp",
    ]
    assert [text.split()[0] for text in notices_of([*names, "HydroLAKES_polys_v10.gdb.zip"])] == [
        "Contains", "Contains", "Backbone", "Basins", "Lakes",
    ]  # fmt: skip
    assert notices_of(["my_hybas.gpkg", "image_2024", "streams.gpkg", ""]) == ()
