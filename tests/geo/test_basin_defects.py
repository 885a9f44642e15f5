"""Any vector file of basins: a valid one with one random defect gives the same polygon, or one sentence."""

import warnings
from decimal import Decimal

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.geo.basins import basin_polygon
from headwater.geo.plan import plan_basin

BASIN = "3020000010"
SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".parquet")


def basins(west, south):
    """Return two basins side by side, the second one with a bay."""
    first = shapely.box(west, south, west + 0.3, south + 0.2)
    second = shapely.box(west + 0.3, south, west + 0.5, south + 0.2) - shapely.box(
        west + 0.4, south, west + 0.45, south + 0.1
    )
    ids = [int(BASIN), 3020000020]
    return gpd.GeoDataFrame({"HYBAS_ID": ids, "name": ["a", "b"]}, geometry=[first, second], crs=4326)


def change(table, **columns):
    return table.assign(**columns)


def reshaped(table, function):
    return table.set_geometry([function(table.geometry.iloc[0]), *table.geometry.iloc[1:]], crs=table.crs)


def spike(shape):
    ring = list(shape.exterior.coords)
    return shapely.Polygon([*ring[:2], (ring[1][0] + 0.01, ring[1][1] + 0.01), ring[1], *ring[2:]])


def across(xy):
    """Shift a shape to where it crosses 180 degrees, written from -180 to 180."""
    longitude = xy[:, 0] - xy[:, 0].min() + 179.9
    return np.column_stack([np.where(longitude > 180, longitude - 360, longitude), xy[:, 1]])


SAME = {
    "none": lambda table: table,
    "a projected CRS": lambda table: table.to_crs(6933),
    "ids as doubles": lambda table: change(table, HYBAS_ID=table["HYBAS_ID"].astype(float)),
    "ids as decimals": lambda table: change(table, HYBAS_ID=[Decimal(value) for value in table["HYBAS_ID"].tolist()]),
    "ids as text": lambda table: change(table, HYBAS_ID=table["HYBAS_ID"].astype(str) + " "),
    "lower-case column": lambda table: table.rename(columns={"HYBAS_ID": "hybas_id"}),
    "our name of the column": lambda table: table.rename(columns={"HYBAS_ID": "basin_id"}),
    "longitudes beyond 180": lambda table: table.set_geometry(table.geometry.translate(xoff=-360), crs=4326),
    "heights": lambda table: table.set_geometry(shapely.force_3d(table.geometry.values, 5.0), crs=4326),
    "one-part multipolygons": lambda table: reshaped(table, lambda shape: shapely.multipolygons([shape])),
    "reversed ring": lambda table: reshaped(table, lambda shape: shape.reverse()),
    "repeated vertices": lambda table: reshaped(
        table, lambda shape: shapely.Polygon(np.repeat(shapely.get_coordinates(shape), 2, axis=0))
    ),
    "a spike": lambda table: reshaped(table, spike),
    "a collection": lambda table: reshaped(table, lambda shape: shapely.geometrycollections([shape])),
    "an empty neighbor": lambda table: table.set_geometry([table.geometry.iloc[0], shapely.Polygon()], crs=4326),
}
REFUSED = {
    "meters declared as degrees": lambda table: table.to_crs(6933).set_crs(4326, allow_override=True),
    "swapped axes": lambda table: table.set_geometry(
        [shapely.transform(shape, lambda xy: xy[:, ::-1]) for shape in table.geometry], crs=4326
    ),
    "out of the world": lambda table: table.set_geometry(table.geometry.translate(yoff=180), crs=4326),
    "no CRS": lambda table: table.set_crs(None, allow_override=True),
    "lines": lambda table: table.set_geometry(table.geometry.boundary, crs=4326),
    "points": lambda table: table.set_geometry(shapely.centroid(table.geometry.values), crs=4326),
    "one line": lambda table: reshaped(table, lambda shape: shape.boundary),
    "a null shape": lambda table: reshaped(table, lambda shape: None),
    "an empty shape": lambda table: reshaped(table, lambda shape: shapely.Polygon()),
    "a null id": lambda table: change(table, HYBAS_ID=[None, 1]),
    "an id with a fraction": lambda table: change(table, HYBAS_ID=[float(BASIN) + 0.5, 1.0]),
    "an id as text with a fraction": lambda table: change(table, HYBAS_ID=[f"{BASIN}.0", "1"]),
    "no id column": lambda table: table.rename(columns={"HYBAS_ID": "PFAF_ID"}),
    "an id twice": lambda table: change(table, HYBAS_ID=[int(BASIN), int(BASIN)]),
    "an edge across 180": lambda table: reshaped(table, lambda shape: shapely.transform(shape, across)),
}


def written(table, folder, suffix):
    """Write a table; skip what a format cannot hold."""
    path = folder / f"basins{suffix}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table.to_parquet(path) if suffix == ".parquet" else table.to_file(path)
    except Exception:
        assume(False)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("basins")


def answer(path):
    """Return the polygon, or the error with which it is refused."""
    try:
        return basin_polygon([path], BASIN)
    except InputError as error:
        return error


@settings(max_examples=max(50, settings.default.max_examples))
@given(
    st.sampled_from(sorted(SAME | REFUSED)),
    st.sampled_from(SUFFIXES),
    st.floats(95, 175).map(lambda x: round(x, 3)),
    st.floats(-55, 70).map(lambda x: round(x, 3)),
)
@example("meters declared as degrees", ".geojson", 95.0, 10.0)
def test_a_defect_gives_the_same_polygon_or_a_sentence(folder, defect, suffix, west, south):
    assume((defect, suffix) != ("an empty neighbor", ".shp"))  # shapefiles write an empty shape as none
    table = basins(west, south)
    sub = folder / f"{len(list(folder.iterdir()))}"
    sub.mkdir()
    path = written((SAME | REFUSED)[defect](table), sub, suffix)
    found = answer(path)
    if isinstance(found, InputError):
        assert defect in REFUSED, found
        assert found.remedy.endswith(".")
        assert len(str(found)) < 500
        return
    assert defect in SAME or (defect == "no CRS" and suffix == ".geojson"), found.bounds
    want = table.geometry.iloc[0]
    assert shapely.symmetric_difference(found, want).area < 1e-6 * want.area
    assert found.bounds == pytest.approx(want.bounds, abs=1e-6)


@settings(max_examples=max(50, settings.default.max_examples))
@given(st.sampled_from((".gpkg", ".geojson", ".fgb", ".parquet", ".shp", ".dbf", ".shx", ".prj")), st.floats(0, 1))
def test_a_truncated_file_gives_the_same_polygon_or_a_sentence(folder, suffix, fraction):
    table = basins(95.0, 10.0)
    sub = folder / f"cut{len(list(folder.iterdir()))}"
    sub.mkdir()
    path = written(table, sub, ".shp" if suffix in (".dbf", ".shx", ".prj") else suffix)
    cut = path.with_suffix(suffix)
    content = cut.read_bytes()
    cut.write_bytes(content[: int(fraction * len(content))])
    found = answer(path)
    if isinstance(found, InputError):
        assert found.remedy.endswith(".")
        return
    assert shapely.symmetric_difference(found, table.geometry.iloc[0]).area < 1e-9


def test_a_collection_beyond_180_degrees_is_cut_there(tmp_path):
    """Longitudes from 0 to 360: the same cells as the two parts that a map shows."""
    joined = gpd.GeoDataFrame({"HYBAS_ID": [1]}, geometry=[shapely.box(179.9, 10, 180.1, 10.1)], crs=4326)
    parts = shapely.multipolygons([shapely.box(179.9, 10, 180, 10.1), shapely.box(-180, 10, -179.9, 10.1)])
    cut = gpd.GeoDataFrame({"HYBAS_ID": [1]}, geometry=[parts], crs=4326)
    plans = []
    for number, table in enumerate((joined, cut)):
        path = tmp_path / f"{number}.gpkg"
        table.to_file(path)
        plans.append(plan_basin([path], "1", cell_degrees=0.1, margin_px=0))
    assert [cell.name for cell in plans[0].cells] == [cell.name for cell in plans[1].cells]
    assert {cell.name[-6:] for cell in plans[0].cells} == {"E179.9", "W180.0"}
