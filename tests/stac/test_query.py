from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box, mapping

from headwater.stac.intervals import parse_interval
from headwater.stac.query import check_query, item_field, matches_box, matches_geometry, matches_query, matches_time


def item(**properties: Any) -> dict[str, Any]:
    return {"id": "a", "collection": "c", "geometry": mapping(box(1, 1, 2, 2)), "properties": properties}


@settings(deadline=None)
@given(st.integers(-5, 5), st.integers(-5, 5))
def test_numbers_compare_as_numbers(value: int, other: int) -> None:
    expected = {
        "eq": value == other,
        "neq": value != other,
        "lt": value < other,
        "lte": value <= other,
        "gt": value > other,
        "gte": value >= other,
        "in": value in [other, 3],
    }
    for word, answer in expected.items():
        operand = [other, 3] if word == "in" else other
        query = check_query({"x": {word: operand}})
        assert matches_query(item(x=value), query) == answer


def test_all_comparisons_must_pass_and_a_missing_property_passes_none() -> None:
    assert matches_query(item(x=3, y="b"), {"x": {"gt": 1, "lt": 4}, "y": {"eq": "b"}})
    assert not matches_query(item(x=5), {"x": {"gt": 1, "lt": 4}})
    assert not matches_query(item(), {"x": {"neq": 1}})
    assert not matches_query(item(x="text"), {"x": {"lt": 4}})


@pytest.mark.parametrize("query", [[], {"x": 3}, {"x": {}}, {"x": {"about": 3}}, {"x": {"in": 3}}, {"x": {"lt": None}}])
def test_bad_queries_are_refused(query: object) -> None:
    with pytest.raises(ValueError):
        check_query(query)


def test_instants_and_spans_match_times() -> None:
    june = parse_interval("2023-06")
    assert matches_time(item(datetime="2023-06-30T23:59:59Z"), june)
    assert not matches_time(item(datetime="2023-07-01T00:00:00Z"), june)
    span = item(datetime=None, start_datetime="2023-05-01T00:00:00Z", end_datetime="2023-06-02T00:00:00Z")
    assert matches_time(span, june)


def test_place() -> None:
    assert matches_box(item(), (2, 2, 3, 3))
    assert not matches_box(item(), (3, 1, 0.5, 2))  # across the antimeridian, around the back of the item
    assert matches_box(item(), (3, 1, 1.5, 2))
    assert matches_geometry(item(), box(0, 0, 1.5, 1.5))
    assert not matches_geometry(item() | {"geometry": None}, box(0, 0, 1.5, 1.5))


def test_fields_by_both_names() -> None:
    assert item_field(item(x=1), "x") == item_field(item(x=1), "properties.x") == 1
    assert item_field(item(), "id") == "a"
