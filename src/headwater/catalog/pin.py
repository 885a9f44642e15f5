"""Pinning: the items of a search in one STAC GeoParquet file that every later step reads instead of searching.

An item is pinned with what later steps read and what tells where it came from, under a fixed set of names and types:
catalogues write 0 beside 0.5 and text beside numbers, and a table needs one type a column.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.bands import REFLECTANCE_BANDS, SCL
from headwater.catalog.items import DEM_ASSET, asset_of, unsigned
from headwater.errors import InputError
from headwater.files import write_if_changed

Item = dict[str, Any]

_PROPERTIES: dict[str, type] = {
    "created": str,
    "datetime": str,
    "earthsearch:boa_offset_applied": bool,
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
_ASSETS = (*REFLECTANCE_BANDS, SCL, DEM_ASSET)
_ASSET_FIELDS: dict[str, type] = {"type": str, "proj:code": str, "proj:epsg": int}
_METADATA_KEY = b"headwater"


def write_items(path: Path, items: Iterable[Item], *, url: str, query: Mapping[str, Any]) -> bool:
    """Write items as STAC GeoParquet, sorted by collection and id; the same items give the same bytes.

    Parameters
    ----------
    path : Path
        File to write, if its content differs.
    items : iterable of dict
        STAC items of one or several collections, at least one.
    url : str
        Catalogue they came from, recorded in the file.
    query : mapping
        Query they answer, recorded in the file.

    Returns
    -------
    bool
        Whether the file was written.

    Raises
    ------
    InputError
        There is no item.
    """
    import stac_geoparquet.arrow as stac_arrow

    pinned = sorted((pinned_item(item) for item in items), key=lambda item: (item["collection"], item["id"]))
    if not pinned:
        raise InputError("There are no items to pin.", "Widen the search.")
    table = stac_arrow.parse_stac_items_to_arrow(pinned).read_all()
    record = json.dumps({"catalogue": url, "query": query}, sort_keys=True).encode()
    # The library writes the STAC and GeoParquet metadata but takes none of ours, so its file is read back and extended.
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "items.parquet"
        stac_arrow.to_parquet(table, draft)
        table = pq.read_table(draft)
    sink = pa.BufferOutputStream()
    metadata = {**(table.schema.metadata or {}), _METADATA_KEY: record}
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return write_if_changed(path, sink.getvalue().to_pybytes())


def read_items(path: Path) -> list[Item]:
    """Read pinned items, or any STAC GeoParquet, as plain dictionaries without null properties.

    Raises
    ------
    InputError
        The file is missing or is not STAC GeoParquet.
    """
    import stac_geoparquet.arrow as stac_arrow

    try:
        table = pq.read_table(path)
        return [_plain(item) for item in stac_arrow.stac_table_to_items(table)]
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Run 'headwater search' first.") from error
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{path} is not a readable STAC GeoParquet file ({type(error).__name__}).",
            "Run 'headwater search' again.",
        ) from error


def read_query(path: Path) -> dict[str, Any]:
    """Return what a pinned file records of its search: {"catalogue", "query"}; {} for a foreign file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Run 'headwater search' first.") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a Parquet file.", "Run 'headwater search' again.") from error
    return dict(json.loads(metadata.get(_METADATA_KEY, b"{}")))


def pinned_item(item: Item) -> Item:
    """Return an item cut to what is pinned, with unsigned addresses."""
    west_to_north = item.get("bbox") or _bbox(item["geometry"])
    if len(west_to_north) == 6:
        west_to_north = [*west_to_north[:2], *west_to_north[3:5]]
    assets = {}
    for name in _ASSETS:
        found = asset_of(item, name)
        if found is not None:
            key, asset = found
            assets[key] = {"href": unsigned(asset["href"]), **_typed(asset, _ASSET_FIELDS)}
    return {
        "type": "Feature",
        "stac_version": str(item.get("stac_version", "1.0.0")),
        "id": item["id"],
        "collection": item["collection"],
        "geometry": item["geometry"],
        "bbox": [float(value) for value in west_to_north],
        "properties": {"datetime": None, **_typed(item["properties"], _PROPERTIES)},
        "links": [],
        "assets": assets,
    }


def _bbox(geometry: Mapping[str, Any]) -> list[float]:
    from shapely.geometry import shape

    return list(shape(dict(geometry)).bounds)


def _typed(values: Mapping[str, Any], types: Mapping[str, type]) -> dict[str, Any]:
    """Return the values that are named, each made the type it should have; what cannot be is left out."""
    typed = {}
    for name, kind in types.items():
        value = values.get(name)
        if value is None:
            continue
        try:
            typed[name] = bool(value) if kind is bool else kind(value)
        except (TypeError, ValueError):
            continue
    return typed


def _plain(item: Item) -> Item:
    properties = {name: value for name, value in item["properties"].items() if value is not None or name == "datetime"}
    assets = {
        key: {name: value for name, value in asset.items() if value is not None}
        for key, asset in (item.get("assets") or {}).items()
        if asset
    }
    return {**item, "properties": properties, "assets": assets}
