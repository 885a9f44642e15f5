"""What a STAC search asks for: its body as tests, sorting and pages over items held in memory.

Every function raises ValueError with a sentence when the body is not valid; the server answers 400 with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import shapely

from headwater.stac import query as queries
from headwater.stac.intervals import Interval, parse_interval

Item = dict[str, Any]

LARGEST_PAGE = 1000
DEFAULT_PAGE = 10


def body_of_query(params: Mapping[str, str]) -> dict[str, Any]:
    """Return the search body that the query string of a GET means."""
    body: dict[str, Any] = {name: params[name] for name in ("datetime", "token") if name in params}
    for name in ("ids", "collections"):
        if params.get(name):
            body[name] = params[name].split(",")
    if params.get("bbox"):
        body["bbox"] = [float(number) for number in params["bbox"].split(",")]
    if "limit" in params:
        body["limit"] = int(params["limit"])
    for name in ("intersects", "query"):
        if params.get(name):
            body[name] = json.loads(params[name])
    if params.get("sortby"):
        body["sortby"] = [
            {"field": name.strip().lstrip("+-"), "direction": "desc" if name.strip().startswith("-") else "asc"}
            for name in params["sortby"].split(",")
        ]
    return body


def item_test(body: Mapping[str, Any]) -> Callable[[Item], bool]:
    """Return the test of a search's body; ValueError says what is wrong with it."""
    if body.get("bbox") is not None and body.get("intersects") is not None:
        raise ValueError("bbox and intersects cannot be given together")
    ids, collections = (_names(body, word) for word in ("ids", "collections"))
    tests: list[Callable[[Item], bool]] = []
    if ids is not None:
        tests.append(lambda item: item["id"] in ids)
    if collections is not None:
        tests.append(lambda item: item["collection"] in collections)
    if body.get("bbox") is not None:
        box = _box(body["bbox"])
        tests.append(lambda item: queries.matches_box(item, box))
    if body.get("intersects") is not None:
        shape = _shape(body["intersects"])
        tests.append(lambda item: queries.matches_geometry(item, shape))
    if body.get("datetime") not in (None, "..", "../..", "/"):
        interval = _interval(body["datetime"])
        tests.append(lambda item: queries.matches_time(item, interval))
    if body.get("query"):
        query = queries.check_query(body["query"])
        tests.append(lambda item: queries.matches_query(item, query))
    return lambda item: all(test(item) for test in tests)


def sort_items(items: list[Item], sortby: object) -> list[Item]:
    """Sort by the fields asked for; by default, and among equals, the newest first."""
    items = sorted(items, key=lambda item: (item["collection"], item["id"]))
    items.sort(key=lambda item: str(item["properties"].get("datetime")), reverse=True)
    if not isinstance(sortby, list | None):
        raise ValueError("sortby must be a list")
    for rule in reversed(sortby or []):
        if not isinstance(rule, dict) or not isinstance(rule.get("field"), str):
            raise ValueError("sortby must be a list of objects with field and direction")
        if rule.get("direction", "asc") not in ("asc", "desc"):
            raise ValueError("the direction of sortby is asc or desc")
        name = rule["field"]
        told = [item for item in items if queries.item_field(item, name) is not None]
        untold = [item for item in items if queries.item_field(item, name) is None]
        try:
            told.sort(key=partial(queries.item_field, name=name), reverse=rule.get("direction") == "desc")
        except TypeError:
            raise ValueError(f"{name} cannot be sorted by") from None
        items = told + untold
    return items


def page_of(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return the page size and the position it starts at."""
    limit, token = body.get("limit", DEFAULT_PAGE), body.get("token", "next:0")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= LARGEST_PAGE:
        raise ValueError(f"limit must be a whole number from 1 to {LARGEST_PAGE}")
    word, _, position = str(token).partition(":")
    if word != "next" or not position.isdecimal():
        raise ValueError("token is not one of ours")
    return limit, int(position)


def _names(body: Mapping[str, Any], word: str) -> list[str] | None:
    names = body.get(word)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{word} must be a list of names")
    return names or None


def _box(value: object) -> tuple[float, float, float, float]:
    if not isinstance(value, list) or len(value) not in (4, 6):
        raise ValueError("bbox must be a list of 4 or 6 numbers")
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value):
        raise ValueError("bbox must hold numbers")
    west, south, east, north = value if len(value) == 4 else [*value[:2], *value[3:5]]
    if not (-90 <= south <= north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
        raise ValueError("bbox must be west, south, east, north within -180, -90, 180, 90")
    return (west, south, east, north)


def _shape(value: object) -> shapely.Geometry:
    try:
        shape = shapely.from_geojson(json.dumps(value))
    except shapely.errors.GEOSException as error:
        raise ValueError("intersects must be a GeoJSON geometry") from error
    if shape.is_empty or not shape.is_valid:
        raise ValueError("intersects must be a valid geometry that is not empty")
    return shape


def _interval(value: object) -> Interval:
    if not isinstance(value, str):
        raise ValueError("datetime must be text")
    return parse_interval(value)
