"""Checks of items before they are pinned: catalogs are not ours, ids become file names and addresses are opened."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from headwater.geo.longitudes import footprint
from headwater.stac.items import asset_of, band_assets, is_signed
from headwater.stac.presets import DEM_ASSET, PINNED_ASSETS

Item = dict[str, Any]

WEB_ADDRESSES = "http(s) addresses"
"""What an item lacks whose files are on another kind of server."""
PUBLIC_ADDRESSES = "addresses outside private networks"
"""What an item lacks whose files are on this machine or in a private network, unlike its catalog."""
LOCAL_ADDRESSES = "file paths or http(s) addresses"
"""What an item on this machine lacks whose files have other addresses."""
MAX_LATITUDE, MAX_LONGITUDE = 91.0, 541.0
"""Degrees that a footprint may reach, a little of it beyond a pole or a full circle off."""
_MAX_ID_BYTES = 200
"""File systems allow names of 255 bytes; suffixes follow."""
_MAX_HREF = 4000
_BUCKETS = ("s3", "gs", "az", "abfs")
_MAX_LOGGED = 80
_PLAIN = re.compile(
    r"https?://[A-Za-z0-9._-]+(?::\d{1,5})?(?:/[A-Za-z0-9._~$&()+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~$&()+,;=:@%/?-]*)?"
    r"|https?://\[[0-9a-fA-F:]+\](?::\d{1,5})?/[A-Za-z0-9._~%/-]*(?:\?[A-Za-z0-9._~&=%/-]*)?"
)
_GDAL_ADDRESS = re.compile(r"://|^/vsi[a-z0-9_]*[/?]|[<>]|^\{|^[A-Za-z][A-Za-z0-9_]+:")
"""Virtual file systems, XML and JSON in place of a file, and prefixes such as GTIFF_DIR: that name a driver."""
_SHAPES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")


def item_defect(feature: object, collection: str) -> str | None:
    """Return what a feature lacks to be pinned as an item of a collection, or None.

    Parameters
    ----------
    feature : object
        Feature of a reply, parsed.
    collection : str
        Requested collection.
    """
    if not (
        isinstance(feature, dict)
        and isinstance(feature.get("id"), str)
        and isinstance(feature.get("properties"), dict)
        and isinstance(feature.get("assets"), dict)
    ):
        return "the form of a STAC item"
    if feature.get("collection") != collection:
        return "the requested collection"
    if not is_plain_id(feature["id"]):
        return "an id that can name a file"
    # Before any of it is kept on disk: such a signature is a secret, and expires.
    found = [asset_of(feature, name) for name in PINNED_ASSETS]
    if any(is_signed(named[1]["href"]) for named in found if named is not None):
        return "unsigned addresses"
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict) or geometry.get("type") not in _SHAPES:
        return "a valid geometry"
    try:
        place = footprint(geometry)
    except ValueError:
        return "a valid geometry"
    west, south, east, north = place.bounds
    return None if on_earth(west, south, east, north) else "a geometry in degrees"


def on_earth(west: float, south: float, east: float, north: float) -> bool:
    """Whether a box can be one in degrees; longitudes may be up to a full circle off."""
    return south >= -MAX_LATITUDE and north <= MAX_LATITUDE and west >= -MAX_LONGITUDE and east <= MAX_LONGITUDE


def asset_defect(
    item: Item, *, remote: bool, bands: bool, may_hold_files: Callable[[str], bool] = lambda _: True
) -> str | None:
    """Return what an item lacks to be used as a scene or as an elevation tile, or None.

    Parameters
    ----------
    item : dict
        As `headwater.stac.pinned_items.pinned_item` reduces it.
    remote : bool
        Whether it came over the network; its addresses must then be http(s), or a reply could name local files.
    bands : bool
        Whether it is a scene, not an elevation tile.
    may_hold_files : callable
        Whether its catalog may lead to an http(s) address (`headwater.stac.hosts.may_hold_files`).
    """
    for asset in item["assets"].values():
        if is_plain_address(asset["href"]) and not may_hold_files(asset["href"]):
            return f"{PUBLIC_ADDRESSES} ({urlsplit(asset['href']).netloc})"
        if is_plain_address(asset["href"]) or (not remote and is_plain_path(asset["href"])):
            continue
        scheme, _, rest = asset["href"].partition("://")
        bucket = sanitize_for_log(f"{scheme}://{rest.partition('/')[0]}")
        needed = WEB_ADDRESSES if remote else LOCAL_ADDRESSES
        return f"{needed} ({bucket})" if scheme in _BUCKETS else needed
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
    """Whether an id can name a file: no separators, no control characters, no leading dot, not too long."""
    return (
        0 < len(name.encode(errors="replace")) <= _MAX_ID_BYTES
        and name.isprintable()
        and not name.startswith(".")
        and not {"/", "\\"} & set(name)
    )


def is_web_address(href: str) -> bool:
    """Whether an address is http or https, has a host and is printable."""
    if len(href) > _MAX_HREF or not href.isprintable() or " " in href:
        return False
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def is_plain_address(href: str) -> bool:
    """Whether an address is plain http(s): no user, and no letters that GDAL or a shell could read as more."""
    return is_web_address(href) and _PLAIN.fullmatch(href) is not None


def is_plain_path(href: str) -> bool:
    """Whether an address is a path on this machine, not one of GDAL's own addresses, which may lead anywhere."""
    return len(href) <= _MAX_HREF and href.isprintable() and _GDAL_ADDRESS.search(href) is None


def sanitize_for_log(name: object) -> str:
    """Return an id, which may be anything, as messages may show it: short and printable; "" for None."""
    text = name if isinstance(name, str) else "" if name is None else repr(name)[:_MAX_ID_BYTES]
    line = "".join(letter if letter.isprintable() else "?" for letter in text[:_MAX_LOGGED])
    return line if len(text) <= _MAX_LOGGED else f"{line}...{zlib.crc32(text.encode(errors='replace')):08x}"


def public_address(url: str) -> str:
    """Return an address as messages and files may contain it: without user, password, query and fragment."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
