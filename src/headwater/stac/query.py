"""Queries to a catalog, its answers, and the interface of all catalogs (`Provider`); which items answer a query."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import shapely

from headwater.core.errors import NetworkError
from headwater.geo.longitudes import Box, footprint, touches
from headwater.stac.intervals import Interval, parse_instant

Item = dict[str, Any]
Link = dict[str, Any]
"""Link of a page to the next one, as STAC APIs write it: href, method, body, headers, merge."""
Comparisons = Mapping[str, Mapping[str, Any]]
"""As in the STAC query extension: {"eo:cloud_cover": {"lt": 20}}."""

WORLD: Box = (-180.0, -90.0, 180.0, 90.0)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, options: value in options,
}


@dataclass(frozen=True)
class Query:
    """A query to a catalog."""

    collection: str
    box: Box
    """West, south, east, north in degrees; west > east crosses the antimeridian."""
    interval: Interval | None = None
    """None means any time."""
    below: Mapping[str, float] = field(default_factory=dict)
    """Properties and the value that each must not exceed; an item without the property passes."""


@dataclass(frozen=True)
class Page:
    """One page of an answer."""

    items: Sequence[Item]
    """Reduced to what is pinned, with unsigned addresses."""
    left_out: Sequence[tuple[str, str]] = ()
    """Id (sanitized) of each item left out and its defect; an empty defect means that it does not answer the query."""
    next: Link | None = None
    """None at the last page."""
    matched: int | None = None
    """Number of items in the complete answer, if the catalog reports it."""


@dataclass(frozen=True)
class RequestLimits:
    """Limits of requests to a remote catalog."""

    page_limit: int
    """Items per page."""
    timeout_s: float
    """Seconds that one request may take."""
    patience_s: float
    """Seconds that a failed request is repeated."""
    connections: int
    """Threads that send requests at the same time."""
    hosts: tuple[str, ...] = ()
    """Further hosts that the catalog may lead to."""


class CatalogUnreachable(NetworkError):
    """No complete answer came for as long as requests are repeated: another catalog may be asked."""


class StalePageToken(Exception):
    """The catalog refuses its own link to a next page: the query must start from its first page."""


class Provider(Protocol):
    """A catalog that can be queried."""

    @property
    def remote(self) -> bool:
        """Whether queries are costly: a search is then split into slices, whose pages are kept until all are there."""
        ...

    def pages(self, query: Query, after: Link | None = None) -> Iterator[Page]:
        """Yield the items of one collection that touch a box (which does not cross the antimeridian).

        Parameters
        ----------
        query : Query
            The query.
        after : dict, optional
            Link of an earlier page to the next one, to resume there.

        Raises
        ------
        StalePageToken
            A link is refused.
        WorkError
            The catalog does not answer, or its answer is not valid.
        """
        ...

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield those of the named items that the catalog has, independent of any search.

        Raises
        ------
        WorkError
            The catalog does not answer, or its answer is not valid.
        """
        ...

    def give_up(self) -> None:
        """Make threads stop at their first failure; the provider cannot be used any more."""
        ...


def answers(item: Item, query: Query) -> bool:
    """Whether the time, place and properties of an item match a query."""
    return matches_time_and_properties(item, query) and matches_box(item, query.box)


def matches_time_and_properties(item: Item, query: Query) -> bool:
    """Whether the time and properties of an item match a query, wherever it is; missing properties match."""
    limits = {name: {"lte": limit} for name, limit in query.below.items() if item["properties"].get(name) is not None}
    return matches_query(item, limits) and (query.interval is None or matches_time(item, query.interval))


def check_query(query: object) -> dict[str, dict[str, Any]]:
    """Return a query of the STAC query extension if it is valid.

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
    """Whether an item's properties pass every comparison; a missing property passes none."""
    for name, tests in query.items():
        value = item_field(item, name)
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
    """Whether an item's instant, or its span from start to end, shares an instant with the interval."""
    start, end = span(item)
    return interval.overlaps(start, end)


def matches_box(item: Item, box: Box) -> bool:
    """Whether an item's geometry touches a box, which may cross the antimeridian."""
    return item.get("geometry") is not None and touches(footprint(item["geometry"]), box)


def matches_geometry(item: Item, geometry: shapely.Geometry) -> bool:
    """Whether an item's geometry touches another one."""
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


def item_field(item: Item, name: str) -> Any:
    """Return a field by the names that sortby and query use: "id", "collection", "properties.x" or "x"."""
    if name in ("id", "collection"):
        return item.get(name)
    return item["properties"].get(name.removeprefix("properties."))
