"""Facts of Sentinel-2 and DEM items, whichever catalog wrote them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit, urlunsplit

import shapely

from headwater.core.sentinel2 import OFFSET_DN, REFLECTANCE_BANDS, SCL
from headwater.geo.longitudes import footprint
from headwater.stac.intervals import parse_instant
from headwater.stac.presets import OFFSET_REMOVED, asset_names

Item = dict[str, Any]

FIRST_BASELINE_WITH_OFFSET = (4, 0)

_OTHER_SIGNATURES = {"signature", "x-amz-signature", "x-goog-signature"}
# Zone, latitude band (C to X without I and O), column and row of the 100 km square (without I and O; rows to V).
_MGRS = re.compile(r"(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z][A-HJ-NP-V])")
_MGRS_IN_ID = re.compile(r"(?:^|_)(?:T)?(\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])(?:_|$)")
_BASELINE = re.compile(r"(\d{2})\.(\d{2})")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})\.?(\d{2})(?:_|\.|$)")
_MAX_CORNERS = 1000
_MIN_SHARED_FRACTION = 0.5
"""Fraction of a footprint above which two items of one acquisition and baseline show the same ground."""


DEMO_CATALOG = "headwater-demo"
"""Id of a catalog of demo planets."""
DEMO_PROCESSING = "headwater-demo"
"""`processing:version` of the scenes of demo planets: what tells them from real ones, in any catalog."""


@dataclass(frozen=True)
class Asset:
    """A file of a STAC item."""

    href: str
    """Unsigned address or path."""
    collection: str
    """Collection of the item; tokens are issued per collection."""


class Signer(Protocol):
    """Returns the address to open now."""

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        """Return a readable address; with `renew`, one signed with a new token."""
        ...


@dataclass(frozen=True)
class Scene:
    """The facts of one Sentinel-2 item."""

    id: str
    collection: str
    datetime: str
    """As the catalog writes it, RFC 3339."""
    mgrs_tile: str
    """Five characters, 33TWL; the item's id if it has none, so that it forms a tile of its own."""
    baseline: str
    """Processing baseline, "05.09"; "" if unknown."""
    offset: int
    """To subtract from reflectance DN."""
    epsg: int
    """CRS of the files; 0 if neither the item nor its MGRS tile specifies it."""
    cloud_cover: float
    """Percent; 100 if the item does not specify it."""
    nodata_percentage: float
    """Percent of the tile that the swath leaves empty; 0 if the item does not specify it."""
    updated: str
    """When the catalog last changed the item; part of cache keys."""
    assets: dict[str, str | None]
    """Unsigned address by band name (B08, B04, B03, B02, SCL); SCL may be None."""
    corners: tuple[tuple[float, float], ...] = ()
    """Longitude and latitude of the points of its footprint: its files are there."""


def scene_facts(item: Item) -> Scene:
    """Return the facts of a Sentinel-2 item.

    Raises
    ------
    ValueError
        A reflectance band is missing.
    """
    properties = item["properties"]
    tile = mgrs_tile(item)
    level = processing_baseline(item)
    return Scene(
        id=item["id"],
        collection=item["collection"],
        datetime=str(properties.get("datetime") or properties.get("start_datetime")),
        mgrs_tile=tile or item["id"],
        baseline="" if level is None else f"{level[0]:02d}.{level[1]:02d}",
        offset=boa_offset(item),
        epsg=epsg_code(item) or (_utm_epsg(tile) if tile else 0),
        # A scene without cloud metadata ranks behind all others.
        cloud_cover=_number(properties.get("eo:cloud_cover"), 100.0),
        nodata_percentage=_number(properties.get("s2:nodata_pixel_percentage"), 0.0),
        updated=str(properties.get("updated") or properties.get("s2:generation_time") or ""),
        assets=band_assets(item),
        corners=_corners(item),
    )


def band_assets(item: Item) -> dict[str, str | None]:
    """Return the unsigned addresses of N, R, G, B and SCL by Sentinel-2 name.

    Raises
    ------
    ValueError
        A reflectance band is missing; SCL may be (its value is None).
    """
    found = {name: asset_href(item, name) for name in (*REFLECTANCE_BANDS, SCL)}
    missing = [name for name in REFLECTANCE_BANDS if found[name] is None]
    if missing:
        raise ValueError(f"item {item['id']} has no asset {', '.join(missing)}")
    return found


def asset_href(item: Item, name: str) -> str | None:
    """Return the unsigned address of an asset under any catalog's name for it, or None."""
    asset = asset_of(item, name)
    return None if asset is None else unsigned(asset[1]["href"])


def asset_of(item: Item, name: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return the key and the content of an asset with an address, or None."""
    assets = item.get("assets", {})
    # Most items have the first name, and searches have many items.
    return _file(assets, name) or next(filter(None, (_file(assets, key) for key in asset_names(name))), None)


def _file(assets: Mapping[str, Any], key: str) -> tuple[str, Mapping[str, Any]] | None:
    asset = assets.get(key)
    if isinstance(asset, Mapping) and isinstance(asset.get("href"), str) and asset["href"]:
        return key, asset
    return None


def unsigned(href: str) -> str:
    """Remove a shared-access signature from an address; other queries stay."""
    try:
        parts = urlsplit(href)
    except ValueError:  # not an address
        return href.split("?")[0]
    if "sig" not in _keys(parts.query):
        return href
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def is_signed(href: str) -> bool:
    """Whether an address has a signature that cannot be renewed once it is removed, as those of S3."""
    return bool(_OTHER_SIGNATURES & _keys(href.partition("?")[2]))


def _keys(query: str) -> set[str]:
    return {key.lower() for key in parse_qs(query)}


def epsg_code(item: Item) -> int | None:
    """Return the EPSG code from `proj:code` or the older `proj:epsg`, of the item or of an asset."""
    holders = [item["properties"], *item.get("assets", {}).values()]
    for holder in holders:
        code = holder.get("proj:code")
        if isinstance(code, str) and re.fullmatch(r"EPSG:\d+", code):
            return int(code.removeprefix("EPSG:"))
        number = holder.get("proj:epsg")
        if isinstance(number, int | float) and number:
            return int(number)
    return None


def mgrs_tile(item: Item) -> str | None:
    """Return the MGRS tile from `s2:mgrs_tile`, `grid:code`, `mgrs:*` or the id, with a two-digit zone."""
    properties = item["properties"]
    grid_code = str(properties.get("grid:code") or "")
    parts = [properties.get(f"mgrs:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
    for text in (
        str(properties.get("s2:mgrs_tile") or "").removeprefix("T"),
        grid_code.removeprefix("MGRS-") if grid_code.startswith("MGRS-") else "",
        "".join(map(str, parts)) if all(parts) else "",
    ):
        match = _MGRS.fullmatch(text)
        if match:
            return f"{int(match[1]):02d}{match[2]}{match[3]}"
    # Planetary Computer ids contain _T33TWL_, Earth Search ids S2A_33TWL_20230815_0_L2A.
    in_id = _MGRS_IN_ID.search(item["id"])
    return in_id[1] if in_id else None


def processing_baseline(item: Item) -> tuple[int, int] | None:
    """Return the processing baseline, (5, 9) for "05.09", from the property or the product's name; or None."""
    properties = item["properties"]
    for name in ("s2:processing_baseline", "processing:version"):
        match = _BASELINE.fullmatch(str(properties.get(name) or ""))
        if match:
            return int(match[1]), int(match[2])
    for text in (str(properties.get("s2:product_uri") or ""), item["id"]):
        match = _BASELINE_IN_NAME.search(text)
        if match:
            return int(match[1]), int(match[2])
    return None


def boa_offset(item: Item) -> int:
    """Return what to subtract from reflectance DN: 1000 from baseline 04.00 on, 0 before.

    Keyed on the baseline, never on the date: reprocessed products move the boundary. Earth Search has already removed
    the offset where it reports so (`OFFSET_REMOVED`), whatever its `raster:bands` contain. An unknown baseline means 0.
    """
    if item["properties"].get(OFFSET_REMOVED) is True:
        return 0
    level = processing_baseline(item)
    return OFFSET_DN if level is not None and level >= FIRST_BASELINE_WITH_OFFSET else 0


def with_absolute_paths(item: Item, folder: Path) -> Item:
    """Return the item with the relative paths of its assets made absolute under `folder`."""
    assets = {}
    for key, asset in item["assets"].items():
        href = asset["href"]
        if "://" not in href and not href.startswith("/vsi"):
            href = os.path.abspath(folder / href)  # noqa: PTH100 - resolve() would follow links
        assets[key] = {**asset, "href": href}
    return {**item, "assets": assets}


def newest_processing(items: Iterable[Item]) -> list[Item]:
    """Keep one item per acquisition: the one of the newest baseline (microsoft/PlanetaryComputer#291).

    An acquisition is a platform, a second and an MGRS tile. Among equal baselines the later generation time wins,
    then the later update, then the greater id. Two items of the same baseline whose footprints hardly overlap are
    two parts of one swath (datastrips that meet inside the tile) and are both kept. An item without an MGRS tile is
    always kept.

    Parameters
    ----------
    items : iterable of dict
        Sentinel-2 items in any order.

    Returns
    -------
    list of dict
        Sorted by id; the same for any order of the input.
    """
    groups: dict[tuple[str, str, str], list[Item]] = {}
    for item in items:
        groups.setdefault(acquisition(item), []).append(item)
    kept = [item for group in groups.values() for item in _newest(group)]
    return sorted(kept, key=lambda item: str(item["id"]))


def acquisition(item: Item) -> tuple[str, str, str]:
    """Return the key of an acquisition: platform, second and MGRS tile (the id if there is none)."""
    properties = item["properties"]
    text = properties.get("datetime") or properties.get("start_datetime") or ""
    second = parse_instant(text).replace(microsecond=0).isoformat() if text else ""
    # Catalogs write Sentinel-2A and sentinel-2a.
    return (str(properties.get("platform", "")).lower(), second, mgrs_tile(item) or item["id"])


def _newest(group: list[Item]) -> list[Item]:
    ranked = sorted(group, key=_processing, reverse=True)
    baseline = processing_baseline(ranked[0])
    kept: list[Item] = []
    for item in ranked:
        if processing_baseline(item) == baseline and not any(_same_ground(item, other) for other in kept):
            kept.append(item)
    return kept


def _processing(item: Item) -> tuple[tuple[int, int], str, str, str]:
    properties = item["properties"]
    return (
        processing_baseline(item) or (-1, -1),
        str(properties.get("s2:generation_time") or ""),
        str(properties.get("updated") or ""),
        str(item["id"]),
    )


def _same_ground(item: Item, other: Item) -> bool:
    if not item.get("geometry") or not other.get("geometry"):
        return True
    one, two = footprint(item["geometry"]), footprint(other["geometry"])
    smaller = min(one.area, two.area)
    return smaller <= 0 or shapely.intersection(one, two).area >= _MIN_SHARED_FRACTION * smaller


def _utm_epsg(tile: str) -> int:
    """Return the CRS of an MGRS tile: UTM of its zone, north from latitude band N on."""
    return (32600 if tile[2] >= "N" else 32700) + int(tile[:2])


def _corners(item: Item) -> tuple[tuple[float, float], ...]:
    if not item.get("geometry"):
        return ()
    points = shapely.get_coordinates(footprint(item["geometry"])).round(9)
    return tuple((float(lon), float(lat)) for lon, lat in points[:: 1 + len(points) // _MAX_CORNERS])


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else default
