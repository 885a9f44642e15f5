"""Tables that describe where rows come from, instead of holding them."""

import contextlib
import sqlite3

import geopandas as gpd
import pytest
import shapely

from headwater.core.errors import InputError
from headwater.geo.features import read_table

ENDLESS = """CREATE VIEW endless AS WITH RECURSIVE n(fid) AS (SELECT 1 UNION ALL SELECT fid + 1 FROM n)
SELECT n.fid AS fid, rows.geom AS geom FROM n, rows"""
LIST = "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES ('endless', 'features', 'e', 4326)"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.gpkg"
    gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs=4326).to_file(path, layer="rows")
    return path


def change(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as tables:
        for statement in statements:
            tables.execute(statement)
        tables.commit()


def test_a_layer_that_is_a_view_is_refused(table):
    change(table, ENDLESS, LIST, "INSERT INTO gpkg_geometry_columns VALUES ('endless', 'geom', 'POINT', 4326, 0, 0)")
    with pytest.raises(InputError, match=r"has views among its layers \(endless\)"):
        read_table(table)


def test_a_list_of_layers_that_is_a_view_is_refused(table):
    change(
        table,
        "PRAGMA legacy_alter_table = ON",
        "DROP TABLE gpkg_contents",
        "CREATE VIEW gpkg_contents AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        "SELECT 'rows' AS table_name FROM n",
    )
    with pytest.raises(InputError, match=r"has views among its layers \(gpkg_contents\)"):
        read_table(table)


def test_other_views_are_not_touched(table):
    change(table, "CREATE VIEW st_spatial_ref_sys AS SELECT * FROM gpkg_spatial_ref_sys")
    assert len(read_table(table)) == 1


def test_a_description_of_other_files_is_refused(table, tmp_path):
    for name in ("lines.gpkg", "lines.vrt", "lines.fgb"):
        (tmp_path / name).write_text(
            f"<OGRVRTDataSource><OGRVRTLayer name='rows'><SrcDataSource>{table}</SrcDataSource></OGRVRTLayer>"
            "</OGRVRTDataSource>"
        )
        with pytest.raises(InputError, match="which may name other files and servers"):
            read_table(tmp_path / name)
