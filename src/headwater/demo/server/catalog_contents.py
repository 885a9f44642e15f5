"""Contents of the demo catalog: items, collections and files of planet folders, and the searches over them.

The functions of a search raise ValueError with a sentence if its body is invalid; the server answers 400 with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import shapely

from headwater.core.errors import InputError
from headwater.stac import query as queries
from headwater.stac.intervals import Interval, parse_interval
from headwater.stac.item_folder import read_item

Item = dict[str, Any]

STAC_VERSION = "1.0.0"
MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 10
_MAX_SORT_FIELDS = 10
_MAX_SHAPE_POINTS = 20_000
_WORLD = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}


@dataclass(frozen=True)
class CatalogContents:
    """Items, collections and files of all folders."""

    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    """By collection and id; the href of assets that are files is their name under /assets/."""
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Collection documents by id."""
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    """Path and collection by name under /assets/."""


def read_folders(folders: Sequence[Path]) -> CatalogContents:
    """Read the items and collections of planet folders.

    Raises
    ------
    InputError
        A folder contains no items, an item's file is outside its folder, or two folders contain the same item.
    """
    contents = CatalogContents()
    names: set[str] = set()
    for folder in folders:
        name = _folder_name(folder)
        while name in names:
            name += "-again"
        names.add(name)
        paths = sorted((folder / "stac").glob("*/*.json"))
        if not paths:
            raise InputError(
                f"{folder} holds no items (stac/<collection>/*.json).", "Give the folder of a demo planet."
            )
        for path in paths:
            item = read_item(path)
            key = (item["collection"], item["id"])
            if key in contents.items:
                raise InputError(f"Two folders hold the item {key[1]} of {key[0]}.", "Serve them on two ports.")
            contents.items[key] = _with_asset_names(item, folder, name, contents.files)
            contents.collections.setdefault(key[0], _collection(folder, key[0]))
    return contents


def search_body(params: Mapping[str, str]) -> dict[str, Any]:
    """Return the search body equivalent to the query string of a GET."""
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


def item_filter(body: Mapping[str, Any]) -> Callable[[Item], bool]:
    """Return the filter of a search body; ValueError if the body is invalid."""
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
    """Sort by the requested fields; by default, and among equals, the newest first."""
    items = sorted(items, key=lambda item: (item["collection"], item["id"]))
    items.sort(key=lambda item: str(item["properties"].get("datetime")), reverse=True)
    if not isinstance(sortby, list | None):
        raise ValueError("sortby must be a list")
    if len(sortby or []) > _MAX_SORT_FIELDS:
        raise ValueError(f"sortby has more than {_MAX_SORT_FIELDS} fields")
    for rule in reversed(sortby or []):
        if not isinstance(rule, dict) or not isinstance(rule.get("field"), str):
            raise ValueError("sortby must be a list of objects with field and direction")
        if rule.get("direction", "asc") not in ("asc", "desc"):
            raise ValueError("the direction of sortby is asc or desc")
        name = rule["field"]
        with_value = [item for item in items if queries.item_field(item, name) is not None]
        without_value = [item for item in items if queries.item_field(item, name) is None]
        try:
            with_value.sort(key=partial(queries.item_field, name=name), reverse=rule.get("direction") == "desc")
        except TypeError:
            raise ValueError(f"{name} cannot be sorted by") from None
        items = with_value + without_value
    return items


def page_range(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return the size of the page and the position of its first item."""
    limit, token = body.get("limit", DEFAULT_PAGE_SIZE), body.get("token", "next:0")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE_SIZE:
        raise ValueError(f"limit must be a whole number from 1 to {MAX_PAGE_SIZE}")
    word, _, position = str(token).partition(":")
    if word != "next" or not position.isdecimal():
        raise ValueError("token was not issued by this server")
    return limit, int(position)


def _folder_name(folder: Path) -> str:
    """Return the part of asset addresses that distinguishes folders: the planet's basin, else the folder's name."""
    try:
        basin = json.loads((folder / "planet.json").read_bytes())["basin_id"]
    except (OSError, ValueError, KeyError, TypeError):
        basin = folder.resolve().name
    return quote(str(basin), safe="")


def _with_asset_names(item: Item, folder: Path, name: str, files: dict[str, tuple[Path, str]]) -> Item:
    root = folder.resolve()
    assets = {}
    for key, asset in item["assets"].items():
        href = str(asset["href"])
        if "://" not in href:
            path = (root / href).resolve()
            if not path.is_relative_to(root):
                raise InputError(f"The asset {href} of {item['id']} is outside {folder}.", "Move it into the folder.")
            href = f"/assets/{name}/{quote(path.relative_to(root).as_posix().removeprefix('assets/'))}"
            files[href] = (path, item["collection"])
        assets[key] = {**asset, "href": href}
    return {**item, "assets": assets}


def _collection(folder: Path, collection: str) -> dict[str, Any]:
    try:
        document = json.loads((folder / "stac" / f"{collection}.collection.json").read_bytes())
    except FileNotFoundError:
        document = {"description": f"Items of {collection}."}
    except ValueError as error:
        raise InputError(
            f"The document of collection {collection} in {folder} is not JSON.", "Write it again."
        ) from error
    needed = {"type": "Collection", "id": collection, "stac_version": STAC_VERSION}
    return {"license": "other", "extent": _WORLD, **document, **needed}


def _names(body: Mapping[str, Any], word: str) -> frozenset[str] | None:
    names = body.get(word)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{word} must be a list of names")
    return frozenset(names) if names else None


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
    if shapely.get_num_coordinates(shape) > _MAX_SHAPE_POINTS:
        raise ValueError(f"intersects has more than {_MAX_SHAPE_POINTS} points")
    if shape.is_empty or not shape.is_valid:
        raise ValueError("intersects must be a valid geometry that is not empty")
    return shape


def _interval(value: object) -> Interval:
    if not isinstance(value, str):
        raise ValueError("datetime must be text")
    return parse_interval(value)
