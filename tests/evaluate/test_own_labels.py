"""Labels from any lines and polygons."""

import warnings

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString, Point, box

from headwater.core.errors import InputError
from headwater.evaluate.nhd import WATER_TYPES
from headwater.evaluate.own_labels import LINE_TYPE, POLYGON_TYPE, LabelTables, areas_of_lines, read_labels
from headwater.geo.geodesy import GEOD

RIVER = LineString([(500_000, 5_100_000), (503_000, 5_102_000)])
UTM = "EPSG:32633"


@pytest.fixture
def table(tmp_path):
    def write(name="lines.gpkg", shapes=(RIVER, RIVER), crs=UTM, **columns):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no CRS
            gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs).to_file(tmp_path / name)
        return str(tmp_path / name)

    return write


def names(found):
    return [WATER_TYPES[number][0] for number in found["water_type"]]


def test_without_columns_all_lines_and_all_polygons_are_water_of_one_weight(table):
    lines, lakes = table(), table("lakes.fgb", [box(15, 46, 15.01, 46.01)], crs="EPSG:4326")
    found = read_labels([LabelTables(lines=(lines,), polygons=(lakes,))])
    assert found["water_type"].tolist() == [POLYGON_TYPE, LINE_TYPE, LINE_TYPE]
    assert found.crs == "EPSG:4326"
    assert np.allclose(
        found.total_bounds, gpd.GeoSeries([RIVER], crs=UTM).to_crs(4326).union(found.geometry[0]).total_bounds
    )


@pytest.mark.parametrize("values", [["R1", "dry"], [1.0, 2.0], [1, 2], ["R1", None]])
def test_a_mapping_gives_each_value_a_water_type(table, values):
    keys = ["null" if value is None else str(value).removesuffix(".0") for value in values]
    types = dict(zip(keys, ("perennial stream", "none"), strict=True))
    found = read_labels([LabelTables(lines=(table(KIND=values),), columns={"type": "KIND"}, types=types)])
    assert names(found) == ["perennial stream"]


def test_codes_of_the_nhd_may_be_in_any_column(table):
    found = read_labels([LabelTables(lines=(table(CODE=[46006, 33600]),), columns={"fcode": "CODE"})])
    assert names(found) == ["canal", "perennial stream"]


@pytest.mark.parametrize("latitude", [0.0, 46.0, -70.0])
def test_a_width_in_meters_is_one_at_any_latitude(latitude):
    line = LineString([(15, latitude), (15.3, latitude + 0.1)])
    (area,) = areas_of_lines(np.array([line], dtype=object), np.array([60.0]))
    covered, length = abs(GEOD.geometry_area_perimeter(area)[0]), GEOD.geometry_length(line)
    assert covered == pytest.approx(60 * length + np.pi * 30**2, rel=0.01)


def test_a_column_of_widths_goes_before_the_width_of_all(table):
    lines = table(W=[None, "80"])
    found = read_labels([LabelTables(lines=(lines,), columns={"width_m": "W"}, width_m=20)])
    areas = sorted(abs(GEOD.geometry_area_perimeter(shape)[0]) for shape in found.geometry if shape.area)
    assert len(found) == 4
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"columns": {"fcode": "CODE"}}, r"has no column CODE, .* takes for fcode. Its columns are KIND"),
        ({"columns": {"code": "KIND"}}, "labels.columns has code.* fcode, type, width_m"),
        ({"columns": {"type": "KIND"}}, "labels.types and labels.columns.type need each other"),
        ({"columns": {"type": "KIND", "fcode": "KIND"}}, "names both fcode and type"),
        ({"types": {"a": "lake"}}, "labels.types and labels.columns.type need each other"),
        ({"columns": {"type": "KIND"}, "types": {"a": "lake"}}, "KIND of .* has b, which labels.types does not list"),
        (
            {"columns": {"type": "KIND"}, "types": {"a": "perenial stream"}},
            "(?s)not a water type.*Did you mean perennial",
        ),
        ({"width_m": -1}, "labels.width_m is -1"),
        ({"columns": {"width_m": "KIND"}}, "has the width 'a' in column KIND"),
        ({"lines": ()}, "neither lines nor polygons"),
    ],
)
def test_what_does_not_fit_is_refused(table, labels, words):
    with pytest.raises(InputError, match=words):
        read_labels([LabelTables(**{"lines": (table(KIND=["a", "b"]),), **labels})])


@pytest.mark.parametrize(
    ("shapes", "crs", "words"),
    [
        ([Point(0, 0)], UTM, "contains other shapes than lines"),
        ([box(0, 0, 1, 1)], UTM, "contains other shapes than lines"),
        ([RIVER], None, "no coordinate reference system"),
    ],
)
def test_other_shapes_and_places_are_refused(table, shapes, crs, words):
    with pytest.raises(InputError, match=words):
        read_labels([LabelTables(lines=(table(shapes=shapes, crs=crs),))])
    with pytest.raises(InputError, match="does not exist"):
        read_labels([LabelTables(polygons=("no.gpkg",))])
