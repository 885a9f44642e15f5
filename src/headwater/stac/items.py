"""What a Sentinel-2 or DEM item tells, whichever catalogue wrote it (pitfalls: Planetary Computer)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from headwater.core.sentinel2 import OFFSET_DN, REFLECTANCE_BANDS, SCL

Item = dict[str, Any]

EARTH_SEARCH_NAMES = {"B08": "nir", "B04": "red", "B03": "green", "B02": "blue", "SCL": "scl"}
"""Earth Search names assets by colour where the Planetary Computer names them by band."""
DEM_ASSET = "data"
PINNED_ASSETS = (*REFLECTANCE_BANDS, SCL, DEM_ASSET)
FIRST_BASELINE_WITH_OFFSET = (4, 0)

_OTHER_SIGNATURES = {"signature", "x-amz-signature", "x-goog-signature"}
# Zone, latitude band (C to X without I and O), column and row of the 100 km square (without I and O; rows to V).
_MGRS = re.compile(r"(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z][A-HJ-NP-V])")
_MGRS_IN_ID = re.compile(r"(?:^|_)(?:T)?(\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])(?:_|$)")
_BASELINE = re.compile(r"(\d{2})\.(\d{2})")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})\.?(\d{2})(?:_|\.|$)")


@dataclass(frozen=True)
class Scene:
    """The facts of one Sentinel-2 item."""

    id: str
    collection: str
    datetime: str
    """As the catalogue writes it, RFC 3339."""
    mgrs_tile: str
    """Five characters, 33TWL; the item's id where it has none, so that it stands for itself."""
    baseline: str
    """Processing baseline, "05.09"; "" where it is not told."""
    offset: int
    """To subtract from reflectance DN."""
    epsg: int
    """CRS of the files; 0 where neither the item nor its MGRS tile tells."""
    cloud_cover: float
    """Percent; 100 where the item does not tell."""
    nodata_percentage: float
    """Percent of the tile that the swath leaves empty; 0 where the item does not tell."""
    updated: str
    """When the catalogue last changed the item; part of cache keys."""
    assets: dict[str, str | None]
    """Unsigned address by band name (B08, B04, B03, B02, SCL); SCL may be None."""


def scene_facts(item: Item) -> Scene:
    """Gather the facts of a Sentinel-2 item.

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
        # A scene that does not tell its clouds ranks behind all that do.
        cloud_cover=_number(properties.get("eo:cloud_cover"), 100.0),
        nodata_percentage=_number(properties.get("s2:nodata_pixel_percentage"), 0.0),
        updated=str(properties.get("updated") or properties.get("s2:generation_time") or ""),
        assets=band_assets(item),
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
    """Return the unsigned address of an asset under either catalogue's name for it, or None."""
    asset = asset_of(item, name)
    return None if asset is None else unsigned(asset[1]["href"])


def asset_of(item: Item, name: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return the key and the content of an asset with an address, or None."""
    for key in (name, EARTH_SEARCH_NAMES.get(name)):
        asset = item.get("assets", {}).get(key) if key else None
        if key and isinstance(asset, Mapping) and isinstance(asset.get("href"), str) and asset["href"]:
            return key, asset
    return None


def unsigned(href: str) -> str:
    """Cut a shared-access signature off an address; other queries stay."""
    try:
        parts = urlsplit(href)
    except ValueError:  # no address at all
        return href.split("?")[0]
    if "sig" not in _keys(parts.query):
        return href
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def is_signed(href: str) -> bool:
    """Whether an address holds a signature that nobody can renew once it is cut off, as those of S3."""
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
    # Planetary Computer ids hold _T33TWL_, Earth Search ids S2A_33TWL_20230815_0_L2A.
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

    Keyed on the baseline, never on the date: reprocessed products move the boundary. Earth Search has removed the
    offset already where it says so, whatever its `raster:bands` say. A baseline that is not told means 0.
    """
    if item["properties"].get("earthsearch:boa_offset_applied") is True:
        return 0
    level = processing_baseline(item)
    return OFFSET_DN if level is not None and level >= FIRST_BASELINE_WITH_OFFSET else 0


def _utm_epsg(tile: str) -> int:
    """Return the CRS of an MGRS tile: UTM of its zone, north from latitude band N on."""
    return (32600 if tile[2] >= "N" else 32700) + int(tile[:2])


def _number(value: object, untold: float) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else untold
