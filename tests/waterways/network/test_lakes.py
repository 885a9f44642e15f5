import warnings

import geopandas as gpd
import numpy as np
import pytest
import shapely

from headwater.core.errors import InputError
from headwater.waterways.network import lakes
from headwater.waterways.network.lakes import meets_lake

LINES = np.array(
    [shapely.LineString(p) for p in ([(10, 5), (10.1, 5)], [(10.1, 5), (10.2, 5)], [(10.2, 5), (10.2, 4.9)])]
)


def ponds(*boxes):
    return gpd.GeoDataFrame({"Hylak_id": range(len(boxes))}, geometry=[shapely.box(*b) for b in boxes], crs=4326)


@pytest.mark.parametrize("name", ["lakes.gpkg", "lakes.shp", "lakes.parquet", "covered.parquet"])
@pytest.mark.parametrize("crs", [4326, 3857, 32632])
def test_lines_that_meet_a_polygon(tmp_path, name, crs):
    table = ponds((10.04, 4.99, 10.06, 5.01), (10.19, 4.85, 10.3, 4.95), (50, 50, 51, 51)).to_crs(crs)
    path = tmp_path / name
    if path.suffix == ".parquet":
        table.to_parquet(path, write_covering_bbox=name == "covered.parquet" and crs == 4326)
    else:
        table.to_file(path)
    assert meets_lake(LINES, path).tolist() == [True, False, True]
    assert meets_lake(LINES[:0], path).tolist() == []


def test_many_polygons_are_read_in_parts_and_shapes_that_are_missing_left_out(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    corners = random.uniform([9.9, 4.8], [10.3, 5.1], (200, 2))
    table = ponds(*np.hstack([corners, corners + 0.004]))
    table.loc[5, "geometry"] = None
    table.to_file(tmp_path / "lakes.gpkg")
    monkeypatch.setattr(lakes, "_POLYGONS_AT_ONCE", 7)
    shape = table.geometry.union_all()
    assert meets_lake(LINES, tmp_path / "lakes.gpkg").tolist() == shapely.intersects(LINES, shape).tolist()


def test_what_holds_no_lakes_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        meets_lake(LINES, tmp_path / "none.gpkg")
    (tmp_path / "text.gpkg").write_text("no lakes")
    with pytest.raises(InputError, match="cannot be read"):
        meets_lake(LINES, tmp_path / "text.gpkg")
    gpd.GeoSeries(LINES, crs=4326).to_file(tmp_path / "lines.gpkg")
    with pytest.raises(InputError, match="other shapes than polygons"):
        meets_lake(LINES, tmp_path / "lines.gpkg")
    for name in ("bare.parquet", "bare.fgb"):
        bare = ponds((10.04, 4.99, 10.06, 5.01)).set_crs(None, allow_override=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bare.to_parquet(tmp_path / name) if name.endswith("parquet") else bare.to_file(tmp_path / name)
        with pytest.raises(InputError, match="no coordinate reference system"):
            meets_lake(LINES, tmp_path / name)


def across_180(*shapes):
    return gpd.GeoDataFrame(geometry=[shapely.from_wkt(shape) for shape in shapes], crs=4326)


@pytest.mark.parametrize(
    "lake",
    [
        "POLYGON ((179.99 5, 180.01 5, 180.01 5.01, 179.99 5.01, 179.99 5))",
        "POLYGON ((-180.01 5, -179.99 5, -179.99 5.01, -180.01 5.01, -180.01 5))",
        "POLYGON ((179.99 5, -179.99 5, -179.99 5.01, 179.99 5.01, 179.99 5))",
        "MULTIPOLYGON (((179.99 5, 180 5, 180 5.01, 179.99 5.01, 179.99 5)),"
        "((-180 5, -179.99 5, -179.99 5.01, -180 5.01, -180 5)))",
    ],
    ids=["beyond 180", "beyond -180", "jumps", "cut"],
)
@pytest.mark.parametrize("name", ["lakes.gpkg", "lakes.geojson", "covered.parquet"])
def test_a_lake_across_180_degrees_is_met_on_both_sides(tmp_path, lake, name):
    table = across_180(lake)
    table.to_parquet(tmp_path / name, write_covering_bbox=True) if name.endswith("parquet") else table.to_file(
        tmp_path / name
    )
    for shift in (0, -360):
        lines = np.array([shapely.LineString([(x + shift, 4.9), (x + shift, 5.1)]) for x in (179.995, 180.005, 179.98)])
        assert meets_lake(lines, tmp_path / name).tolist() == [True, True, False]


def test_a_projected_crs_may_be_in_one_piece_at_180_degrees(tmp_path):
    across_180("POLYGON ((179.99 -17, 180.01 -17, 180.01 -17.01, 179.99 -17.01, 179.99 -17))").to_crs(3832).to_parquet(
        tmp_path / "pacific.parquet", write_covering_bbox=True
    )
    lines = np.array([shapely.LineString([(x, -16.9), (x, -17.1)]) for x in (179.995, 180.005, 179.98)])
    assert meets_lake(lines, tmp_path / "pacific.parquet").tolist() == [True, True, False]


def test_lakes_of_another_place_are_reported(tmp_path, capsys):
    ponds((50, 50, 51, 51)).to_file(tmp_path / "far.gpkg")
    assert not meets_lake(LINES, tmp_path / "far.gpkg").any()
    assert "No polygon of" in capsys.readouterr().err
