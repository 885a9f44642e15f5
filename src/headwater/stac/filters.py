"""Which items answer a query: shared by the folder provider and the demo catalogue's server."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import shapely

from headwater.geo.antimeridian_boxes import Box, footprint, touches
from headwater.stac.intervals import Interval, parse_instant

Item = dict[str, Any]
Comparisons = Mapping[str, Mapping[str, Any]]
"""Of the STAC query extension: {"eo:cloud_cover": {"lt": 20}}."""

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, options: value in options,
}


def check_query(query: object) -> dict[str, dict[str, Any]]:
    """Return a query of the STAC query extension if it is one.

    Raises
    ------
    ValueError
        It is not an object of objects, an operator is unknown, or a value does not suit its operator.
    """
    if not isinstance(query, dict):
        raise ValueError("query must be an object of properties")
    for name, tests in query.items():
        if not isinstance(tests, dict) or not tests:
            raise ValueError(f"query of {name} must be an object of operators")
        for word, value in tests.items():
            if word not in _OPERATORS:
                raise ValueError(f"operator {word} is not one of {', '.join(_OPERATORS)}")
            suits = isinstance(value, list) if word == "in" else isinstance(value, int | float | str | bool)
            if not suits:
                raise ValueError(
                    f"the value of {name} {word} must be {'a list' if word == 'in' else 'a number or text'}"
                )
    return query


def matches_query(item: Item, query: Comparisons) -> bool:
    """Whether an item's properties pass every comparison; a property that is missing passes none."""
    for name, tests in query.items():
        value = field(item, name)
        if value is None:
            return False
        for word, other in tests.items():
            try:
                if not _OPERATORS[word](value, other):
                    return False
            except TypeError:  # a number compared with text
                return False
    return True


def matches_time(item: Item, interval: Interval) -> bool:
    """Whether an item's instant or its start to end shares an instant with the interval."""
    start, end = span(item)
    return interval.overlaps(start, end)


def matches_box(item: Item, box: Box) -> bool:
    """Whether an item's geometry touches a box, which may cross the antimeridian."""
    return item.get("geometry") is not None and touches(footprint(item["geometry"]), box)


def matches_geometry(item: Item, geometry: shapely.Geometry) -> bool:
    """Whether an item's geometry touches another."""
    return item.get("geometry") is not None and bool(shapely.intersects(footprint(item["geometry"]), geometry))


def span(item: Item) -> tuple[datetime | None, datetime | None]:
    """Return the first and last instant of an item."""
    properties = item["properties"]
    if properties.get("datetime"):
        instant = parse_instant(properties["datetime"])
        return instant, instant
    ends = (properties.get("start_datetime"), properties.get("end_datetime"))
    start, end = (parse_instant(text) if text else None for text in ends)
    return start, end


def field(item: Item, name: str) -> Any:
    """Return a field by the names sortby and query use: "id", "collection", "properties.x" or "x"."""
    if name in ("id", "collection"):
        return item.get(name)
    return item["properties"].get(name.removeprefix("properties."))
