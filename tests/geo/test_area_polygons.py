"""Polygons of areas: each way to name one gives the right place or a sentence, and the same place has the same id."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.geo import area_polygons
from headwater.geo.area_polygons import (
    area_id,
    area_km2,
    box_polygon,
    cell_degrees_for,
    file_polygon,
    square_polygon,
)
from headwater.geo.grid import cells_intersecting

SIZES = (1.0, 0.5, 0.25, 0.2, 0.1, 0.05)
BOX = (30.1, 1.0, 30.4, 1.2)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((31, 1, 30, 2), "corners of the box 31, 1, 30, 2 are swapped"),
        ((30, 2, 31, 1), "swapped"),
        ((100, 1, -100, 2), None),
        ((60, 1, -60, 2), "swapped"),
        ((30, 1, 30, 2), "no area"),
        ((30, 1, 31, 1), "no area"),
        ((30, 1, 30.0001, 1.0001), "less than 0.1 km2"),
        ((1, 30, 2, 95), "latitude beyond 90"),
        ((30, 83, 31, 90), "where the tiles of Sentinel-2 end"),
        ((30, -90, 31, -85), "where the tiles of Sentinel-2 end"),
        ((-180, 0, 180, 1), "360 degrees wide"),
        ((float("nan"), 0, 1, 1), "not a number"),
        ((400, 0, 401, 1), "beyond 360"),
    ],
)
def test_a_box_is_used_or_refused(box, words):
    if words is None:
        assert box_polygon(*box).is_valid
    else:
        with pytest.raises(InputError, match=words):
            box_polygon(*box)


@given(
    st.floats(-179, 179), st.floats(-79, 82), st.floats(0.01, 40), st.floats(0.01, 2), st.sampled_from([-360, 0, 360])
)
def test_a_box_is_cut_at_180_and_has_one_id_however_it_is_written(west, south, width, height, turn):
    north, east = min(south + height, 84.0), west + width
    wrapped = east - 360 if east > 180 else east
    polygon = box_polygon(west, south, wrapped, north)
    assert -180 <= polygon.bounds[0] <= polygon.bounds[2] <= 180
    assert len(getattr(polygon, "geoms", [polygon])) == 1 + (east > 180)
    assert polygon.area == pytest.approx(width * (north - south), rel=1e-4)
    if east <= 180 and abs(west + turn) < 360 and abs(east + turn) < 360:
        other = box_polygon(west + turn, south, east + turn, north)
        assert area_id(other) == area_id(polygon)


def test_the_id_follows_from_the_place_alone():
    box = box_polygon(*BOX)
    west, south, east, north = BOX
    again = shapely.Polygon([(east, north), (east, south), (west, south), (west, north)])
    assert area_id(box) == area_id(again) == "area-b8b0455ddb"
    assert area_id(box_polygon(30.1, 1.0, 30.4, 1.2001)) != area_id(box)


@pytest.mark.parametrize(("lat", "lon"), [(0, 0), (-33.4, 151), (60, 179.95), (80, -179.99)])
def test_a_square_has_its_sides(lat, lon):
    polygon = square_polygon(lat, lon, km=20)
    assert area_km2(polygon) == pytest.approx(400, rel=0.01)
    assert shapely.contains(polygon, shapely.Point(lon, lat))


@pytest.mark.parametrize(
    ("lat", "lon", "km"), [(95, 0, 20), (0, 0, 0), (84, 0, 20), (0, float("nan"), 20), (70, 0, 9e3)]
)
def test_a_square_off_the_globe_is_refused(lat, lon, km):
    with pytest.raises(InputError):
        square_polygon(lat, lon, km=km)


@pytest.mark.parametrize(
    ("box", "degrees"),
    [
        ((30, 1, 31, 2), 1.0),
        ((30.3, 1.3, 31.3, 2.3), 0.2),
        ((30.1, 1.0, 30.4, 1.2), 0.2),
        ((30.11, 1.01, 30.29, 1.19), 0.1),
        ((30.01, 1.01, 30.04, 1.04), 0.05),
        ((20, 0, 26, 3), 1.0),
        ((179.9, -18, -179.9, -17.9), 0.1),
    ],
)
def test_the_size_of_cells_follows_the_area(box, degrees):
    polygon = box_polygon(*box)
    assert cell_degrees_for(polygon, SIZES) == degrees
    if box[2] - box[0] < 3:
        cover = len(cells_intersecting(polygon, degrees)) * degrees**2
        assert cover <= 1.5 * len(cells_intersecting(polygon, 0.05)) * 0.05**2 + 1e-9


def write(path, shapes, crs="EPSG:4326"):
    gpd.GeoDataFrame(geometry=shapes, crs=crs).to_file(path)
    return path


def test_polygons_of_a_file_in_any_crs_become_one_area(tmp_path):
    shapes = [shapely.box(30.0, 1.0, 30.2, 1.2), shapely.box(30.1, 1.1, 30.4, 1.3)]
    polygon, note = file_polygon(write(tmp_path / "a.geojson", shapes))
    assert note is None
    assert polygon.area == pytest.approx(0.09)
    meters = gpd.GeoDataFrame(geometry=shapes, crs="EPSG:4326").to_crs("EPSG:32636")
    meters.to_file(tmp_path / "a.gpkg")
    assert shapely.hausdorff_distance(file_polygon(tmp_path / "a.gpkg")[0], polygon) < 1e-3


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([shapely.Point(30, 1)], "other shapes than polygons"),
        ([shapely.LineString([(30, 1), (31, 2)])], "other shapes than polygons"),
        ([shapely.box(500_000, 1000, 520_000, 20_000)], "not in degrees"),
        ([shapely.box(1, 130, 2, 131)], "not in degrees"),
        ([shapely.box(-179.5, 1, 179.5, 2)], "edge 359 degrees long"),
        ([shapely.box(30, 1, 30.0001, 1.0001)], "less than 0.1 km2"),
        ([shapely.box(30, 85, 31, 86)], "where the tiles of Sentinel-2 end"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, shapes, words):
    with pytest.raises(InputError, match=words):
        file_polygon(write(tmp_path / "a.geojson", shapes))


def test_coordinates_that_are_no_numbers_are_refused(tmp_path):
    text = '{"type": "Polygon", "coordinates": [[[30, 1], [31, 1], [NaN, 2], [30, 1]]]}'
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(InputError, match="not numbers"):
        file_polygon(tmp_path / "a.geojson")


def test_an_outline_of_many_vertices_is_simplified_and_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(area_polygons, "MAX_VERTICES", 800)
    angle = np.linspace(0, 2 * np.pi, 6_000, endpoint=False)
    radius = 0.2 + 1e-5 * np.sin(900 * angle)
    ring = np.stack([30 + radius * np.cos(angle), 1 + radius * np.sin(angle)], axis=1)
    polygon, note = file_polygon(write(tmp_path / "a.gpkg", [shapely.Polygon(ring)]))
    assert shapely.get_num_coordinates(polygon) <= 800
    assert shapely.hausdorff_distance(polygon, shapely.Polygon(ring)) < 2e-4
    assert "6,001 vertices" in note
    squares = [shapely.box(x, y, x + 0.001, y + 0.001) for x in np.arange(15) / 100 for y in np.arange(15) / 100]
    with pytest.raises(InputError, match="still more than"):
        file_polygon(write(tmp_path / "b.gpkg", squares))
