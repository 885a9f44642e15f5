import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box, mapping

from headwater.geo.longitudes import enclosing_box, footprint, split_box, touches

longitudes = st.floats(-180, 180)
widths = st.floats(0.01, 300)


def inside(longitude: float, parts: list[tuple[float, float, float, float]]) -> bool:
    return any(west - 1e-9 <= longitude <= east + 1e-9 for west, _, east, _ in parts)


@settings(deadline=None)
@given(longitudes, widths)
def test_split_covers_the_box_and_no_more(west: float, width: float) -> None:
    parts = split_box((west, 0, west + width, 1))
    assert all(-180 <= w <= e <= 180 for w, _, e, _ in parts)
    assert sum(e - w for w, _, e, _ in parts) == pytest.approx(width)
    for fraction in (0.0, 0.3, 1.0):
        longitude = west + fraction * width
        assert inside(longitude, parts) or inside(longitude - 360, parts)


@settings(deadline=None)
@given(longitudes, st.floats(0.01, 179))
def test_both_ways_of_writing_a_crossing_agree(west: float, width: float) -> None:
    east = west + width
    if east > 180:
        crossed, beyond = split_box((west, 0, east - 360, 1)), split_box((west, 0, east, 1))
        assert [pytest.approx(part) for part in crossed] == beyond


def test_fiji_is_split_at_180() -> None:
    assert split_box((177, -19, -179, -16)) == [(177, -19, 180, -16), (-180, -19, -179, -16)]
    assert split_box((-10, 0, 10, 5)) == [(-10, 0, 10, 5)]


@settings(deadline=None)
@given(st.lists(st.tuples(longitudes, st.floats(0.1, 20)), min_size=1, max_size=6))
def test_enclosing_box_contains_every_box_and_is_the_narrowest(boxes: list[tuple[float, float]]) -> None:
    cells = [(west, 0.0, west + width, 1.0) for west, width in boxes]
    west, _, east, _ = enclosing_box(cells)
    parts = split_box((west, 0, east, 1))
    for cell in cells:
        for part in split_box(cell):
            assert inside(part[0], parts)
            assert inside(part[2], parts)
    # No narrower box starts at the western edge of a cell and still contains them all.
    width = sum(e - w for w, _, e, _ in parts)
    edges = [part for cell in cells for part in split_box(cell)]
    needed = min(max((w - start) % 360 + e - w for w, _, e, _ in edges) for start, *_ in edges)
    assert width <= needed + 1e-6 or width == pytest.approx(360)


def test_a_basin_on_both_sides_of_180_is_not_the_whole_world() -> None:
    assert enclosing_box([(179, -18, 180, -17), (-180, -17, -179, -16)]) == (179, -18, -179, -16)


def test_a_footprint_that_wraps_around_the_world_is_unwrapped() -> None:
    wrapped = {"type": "Polygon", "coordinates": [[[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]]}
    shape = footprint(wrapped)
    assert shape.area == pytest.approx(2)
    assert touches(shape, (-179.5, 0, -179.2, 1))
    assert touches(shape, (179.5, 0, -179.9, 1))
    assert not touches(shape, (0, 0, 1, 1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_footprint_with_a_point_that_is_nowhere_is_refused(bad: float | None) -> None:
    with pytest.raises(ValueError, match=r"GeoJSON|nowhere"):
        footprint({"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [bad, 2], [1, 1]]]})


def test_a_footprint_in_two_parts_is_kept() -> None:
    parts = shapely.union_all([box(179, 0, 180, 1), box(-180, 0, -179, 1)])
    assert footprint(mapping(parts)).equals(parts)


@pytest.mark.parametrize("geometry", [{}, {"type": "Polygon"}, {"type": "Polygon", "coordinates": []}])
def test_a_missing_geometry_is_refused(geometry: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        footprint(geometry)


def test_a_footprint_that_crosses_itself_still_answers() -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    assert touches(footprint(bow_tie), (0.9, 0.4, 1, 0.6))


def around_the_pole(latitude: float, step: int, *, closed: bool = True) -> dict[str, object]:
    """A ring along a parallel, eastwards, its longitudes between -180 and 180."""
    ring = [[(longitude + 180.0) % 360.0 - 180.0, latitude] for longitude in range(0, 360 + step, step)]
    return {"type": "Polygon", "coordinates": [ring if closed else ring[:-1]]}


@pytest.mark.parametrize("latitude", [82.0, -82.0])
@pytest.mark.parametrize("step", [10, 60, 90])
def test_a_footprint_over_a_pole_contains_the_pole(latitude: float, step: int) -> None:
    shape = footprint(around_the_pole(latitude, step))
    assert shape.area == pytest.approx(360 * 8)
    pole = 89.0 if latitude > 0 else -89.0
    for longitude in range(-180, 180, 15):
        assert touches(shape, (longitude, pole, longitude + 1, pole + 1))
        assert not touches(shape, (longitude, 0, longitude + 1, 80))
    assert not touches(shape, (0, -pole, 1, -pole + 1))


def test_each_part_of_a_footprint_is_unwrapped() -> None:
    """Catalogs that split footprints sometimes leave one part wrapped."""
    wrapped = [[[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]]
    plain = [[[175, 0], [176, 0], [176, 1], [175, 1], [175, 0]]]
    shape = footprint({"type": "MultiPolygon", "coordinates": [wrapped, plain]})
    assert shape.area == pytest.approx(3)
    assert touches(shape, (-179.5, 0, -179.2, 1))
    assert not touches(shape, (0, 0, 1, 1))


def test_a_footprint_of_the_whole_world_is_kept() -> None:
    assert footprint(mapping(box(-180, -90, 180, 90))).area == pytest.approx(360 * 180)


@settings(deadline=None)
@given(longitudes, st.floats(-80, 80), st.floats(0.1, 20))
def test_a_footprint_touches_what_it_contains_wherever_it_is(west: float, south: float, width: float) -> None:
    """Written within -180 to 180, as catalogs do, or beyond."""
    ring = [[west, south], [west + width, south], [west + width, south + 1], [west, south + 1], [west, south]]
    shifted = [[x - 360 if x > 180 else x, y] for x, y in ring]
    middle = west + width / 2
    small = (middle - 0.01, south + 0.4, middle + 0.01, south + 0.6)
    far = (middle + 90, south + 0.4, middle + 90.01, south + 0.6)
    for written in (ring, shifted):
        shape = footprint({"type": "Polygon", "coordinates": [written]})
        assert touches(shape, small)
        assert not touches(shape, far)
