"""Reducing items to what is pinned.

An item is pinned with what later steps read and with its origin, under a fixed set of names and types: catalogs mix 0
with 0.5 and text with numbers, and a table needs one type per column.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import shapely
import shapely.geometry

from headwater.geo.longitudes import footprint_box
from headwater.stac.intervals import parse_instant
from headwater.stac.items import asset_of, unsigned
from headwater.stac.presets import COLOR_NAMES, OFFSET_REMOVED, PINNED_ASSETS
from headwater.stac.public_buckets import public_href

Item = dict[str, Any]

PROPERTIES: dict[str, type] = {
    "created": str,
    "datetime": str,
    OFFSET_REMOVED: bool,
    "end_datetime": str,
    "eo:cloud_cover": float,
    "grid:code": str,
    "gsd": float,
    "mgrs:grid_square": str,
    "mgrs:latitude_band": str,
    "mgrs:utm_zone": int,
    "platform": str,
    "proj:code": str,
    "proj:epsg": int,
    "processing:version": str,
    "s2:generation_time": str,
    "s2:mgrs_tile": str,
    "s2:nodata_pixel_percentage": float,
    "s2:processing_baseline": str,
    "s2:product_uri": str,
    "sat:relative_orbit": int,
    "start_datetime": str,
    "updated": str,
}
ASSET_FIELDS: dict[str, type] = {"type": str, "proj:code": str, "proj:epsg": int}
INSTANTS = ("created", "datetime", "end_datetime", "start_datetime", "updated")
_MAX_TEXT = 1000
_MAX_INTEGER = 2**53


def pinned_item(item: Item) -> Item:
    """Return an item reduced to what is pinned, with unsigned addresses; values of a wrong type are left out.

    Neither reducing again nor writing and reading changes anything: two items that are pinned alike are equal.

    Raises
    ------
    ValueError
        The geometry is not valid GeoJSON, or is empty.
    """
    # Heights are not used, and may be anything, such as infinite.
    shape = shapely.force_2d(shapely.geometry.shape(item["geometry"]))
    assets = {}
    for name in PINNED_ASSETS:
        found = asset_of(item, name)
        if found is not None:
            key, asset = found
            # A pin has a column for each of these names.
            key = key if key in (name, COLOR_NAMES.get(name)) else name
            assets[key] = {"href": public_href(unsigned(asset["href"])), **_typed(asset, ASSET_FIELDS)}
    return {
        "type": "Feature",
        "stac_version": _typed(item, {"stac_version": str}).get("stac_version", "1.0.0"),
        "id": item["id"],
        "collection": item["collection"],
        "geometry": {"type": shape.geom_type, "coordinates": coordinate_lists(shape.__geo_interface__["coordinates"])},
        # An index made from the geometry: the boxes of some catalogs are wrong.
        "bbox": list(footprint_box(item["geometry"])),
        "properties": {"datetime": None, **_typed(item["properties"], PROPERTIES)},
        "links": [],
        "assets": assets,
    }


def coordinate_lists(coordinates: Any) -> Any:
    """Return GeoJSON coordinates as nested lists of floats."""
    return (
        [coordinate_lists(part) for part in coordinates]
        if isinstance(coordinates, tuple | list)
        else float(coordinates)
    )


def _typed(values: Mapping[str, Any], types: Mapping[str, type]) -> dict[str, Any]:
    """Return the named values, each converted to its type; values that cannot be converted are left out."""
    typed = {}
    for name, kind in types.items():
        value = values.get(name)
        if not isinstance(value, str | int | float):
            continue
        try:
            converted = bool(value) if kind is bool else kind(value)
            if name in INSTANTS:
                converted = instant_text(parse_instant(str(value)))
        except (TypeError, ValueError, OverflowError):  # text that is not a number, a number that is not a date
            continue
        if _fits(converted):
            typed[name] = converted
    return typed


def _fits(value: str | float | int) -> bool:
    if isinstance(value, str):
        return value.isprintable() and len(value) <= _MAX_TEXT
    # Infinity and NaN are not below anything; an integer may be too large for a float.
    return abs(value) < _MAX_INTEGER


def instant_text(instant: datetime) -> str:
    """Return an instant in UTC as it is pinned, with microseconds."""
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")
