"""What an item must be to be pinned: catalogues are not ours, and ids become names of files, addresses are opened."""

from __future__ import annotations

import zlib
from typing import Any
from urllib.parse import urlsplit

from headwater.geo.antimeridian_boxes import footprint
from headwater.stac.items import DEM_ASSET, PINNED_ASSETS, asset_of, band_assets, is_signed

Item = dict[str, Any]

_LONGEST_ID = 200
"""File systems allow names of 255 bytes; suffixes follow."""
_LONGEST_HREF = 4000
_LONGEST_SHOWN = 80
_SHAPES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")


def what_lacks(feature: object, collection: str) -> str | None:
    """Return what a feature lacks to be an item of a collection that can be pinned, or None.

    Parameters
    ----------
    feature : object
        Of a reply, parsed.
    collection : str
        Collection that was asked for.
    """
    if not (
        isinstance(feature, dict)
        and isinstance(feature.get("id"), str)
        and isinstance(feature.get("properties"), dict)
        and isinstance(feature.get("assets"), dict)
    ):
        return "the form of a STAC item"
    if feature.get("collection") != collection:
        return "the collection that was asked for"
    if not is_plain_id(feature["id"]):
        return "an id that can name a file"
    # Before anything of it is kept on disk: such a signature is a secret, and runs out.
    found = [asset_of(feature, name) for name in PINNED_ASSETS]
    if any(is_signed(named[1]["href"]) for named in found if named is not None):
        return "unsigned addresses"
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict) or geometry.get("type") not in _SHAPES:
        return "a valid geometry"
    try:
        footprint(geometry)
    except ValueError:
        return "a valid geometry"
    return None


def what_lacks_to_use(item: Item, *, remote: bool, bands: bool) -> str | None:
    """Return what an item lacks to be used as a scene or as an elevation tile, or None.

    Parameters
    ----------
    item : dict
        As `headwater.stac.pins.pinned_item` cuts it.
    remote : bool
        Whether it came over the network; its addresses must then be http(s), or a reply could name files of ours.
    bands : bool
        Whether it is a scene, not an elevation tile.
    """
    if remote and not all(is_web_address(asset["href"]) for asset in item["assets"].values()):
        return "http(s) addresses"
    if not bands:
        return None if asset_of(item, DEM_ASSET) else f"the asset '{DEM_ASSET}'"
    if not (item["properties"].get("datetime") or item["properties"].get("start_datetime")):
        return "a valid date and time"
    try:
        band_assets(item)
    except ValueError:
        return "a needed band"
    return None


def is_plain_id(name: str) -> bool:
    """Whether a name can be that of a file: no separators, no control characters, no leading dot, not too long."""
    return (
        0 < len(name.encode(errors="replace")) <= _LONGEST_ID
        and name.isprintable()
        and not name.startswith(".")
        and not {"/", "\\"} & set(name)
    )


def is_web_address(href: str) -> bool:
    """Whether an address is http or https, has a host, and holds nothing that cannot be shown."""
    if len(href) > _LONGEST_HREF or not href.isprintable() or " " in href:
        return False
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def shown(name: object) -> str:
    """Return what can be shown of an id that may be anything: not long, all of it printable; "" for none."""
    text = name if isinstance(name, str) else "" if name is None else repr(name)[:_LONGEST_ID]
    line = "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_SHOWN])
    return line if len(text) <= _LONGEST_SHOWN else f"{line}...{zlib.crc32(text.encode(errors='replace')):08x}"


def shown_address(url: str) -> str:
    """Return an address as messages and files may hold it: without user, password, query and fragment."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
