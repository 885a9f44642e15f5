"""Rows of STAC GeoParquet, whoever wrote it, as items.

Writers differ in the types of columns: times with or without a zone, or as text; text as string, large_string,
string_view or a dictionary; geometries as WKB, WKT, GeoJSON or GeoArrow; properties as columns or in one; the
collection as a column, in the name of a folder (collection=...), or in the metadata of the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import shapely
import shapely.geometry
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.geo.longitudes import SHIFTS, Box, split_box
from headwater.stac.pinned_items import PROPERTIES, coordinate_lists, instant_text
from headwater.stac.validation import MAX_LATITUDE, MAX_LONGITUDE

Item = dict[str, Any]

REQUIRED_COLUMNS = ("id", "assets")
"""Besides a geometry."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOP_LEVEL = ("type", "stac_version", "id", "collection", "links", "assets")
_HALF_WORLD = 180.0
_GEOARROW = b"ARROW:extension:name"


def can_filter(schema: pa.Schema) -> bool:
    """Whether pyarrow can filter the rows of a file: not those with text or bytes as views."""
    return not any("_view" in str(field.type) for field in schema)


def geometry_column(schema: pa.Schema) -> str | None:
    """Return the name of a file's column of geometries; None if it has none."""
    if "geometry" in schema.names:
        return "geometry"
    primary = _geo_metadata(schema).get("primary_column")
    return primary if primary in schema.names else None


def check_degrees(path: Path, schema: pa.Schema) -> None:
    """Refuse a file whose metadata says that its geometries are not in degrees.

    Raises
    ------
    InputError
        Their CRS is not geographic.
    """
    column = _geo_metadata(schema).get("columns", {}).get(geometry_column(schema), {})
    crs = column.get("crs") if isinstance(column, dict) else None
    if crs is None:
        return
    import pyproj

    try:
        known = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError:
        return
    if not known.is_geographic:
        raise InputError(
            f"The geometries of {path} are in {known.name}; items have longitudes and latitudes.",
            "Reproject them to OGC:CRS84 or EPSG:4326.",
        )


def collection_of_file(path: Path, schema: pa.Schema) -> str | None:
    """Return the collection of all items of a file without a column of collections: of its folder or its metadata."""
    for part in reversed(path.parts):
        key, _, value = part.partition("=")
        if key == "collection" and value:
            return unquote(value)
    metadata = _json((schema.metadata or {}).get(b"stac-geoparquet", b""))
    named = metadata.get("collections")
    if isinstance(named, dict) and len(named) == 1:
        return str(next(iter(named)))
    single = metadata.get("collection")
    return str(single["id"]) if isinstance(single, dict) and "id" in single else None


def rows_to_items(
    table: pa.Table, *, collection: str | None, box: Box | None = None, properties: Collection[str] = tuple(PROPERTIES)
) -> Iterator[Item]:
    """Yield the items in the rows of a table.

    Parameters
    ----------
    table : pyarrow.Table
        Rows of a file, with the schema's metadata.
    collection : str, optional
        Collection of all rows, where there is no column of it.
    box : (west, south, east, north), optional
        Degrees; only items whose geometry may touch it.
    properties : collection of str
        Properties wanted.
    """
    name = geometry_column(table.schema)
    if name is None or not table.num_rows:
        return
    shapes = _shapes(table, name)
    rows = np.arange(len(shapes)) if box is None else np.flatnonzero(_may_touch(shapes, box))
    if not rows.size:
        return
    columns = {field: _plain_column(table.column(field)) for field in _wanted(table, properties)}
    for row in rows.tolist():
        values = {field: _plain_value(column[row]) for field, column in columns.items()}
        nested = _mapping(values.pop("properties", None))
        own = {key: value for key, value in values.items() if key not in _TOP_LEVEL and value is not None}
        shape = shapes[row]
        yield {
            "type": "Feature",
            "stac_version": values.get("stac_version") or "1.0.0",
            "id": values.get("id"),
            "collection": values.get("collection") or collection,
            "geometry": None if shape is None else _geojson(shape),
            "bbox": None,
            "properties": {"datetime": None}
            | {key: _text_of_time(value) for key, value in nested.items() if key in properties and value is not None}
            | own,
            "links": [],
            "assets": _assets(values.get("assets")),
        }


def boxes_touching(
    edges: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], box: Box
) -> NDArray[np.bool_]:
    """Return which boxes (xmin, ymin, xmax, ymax) may touch one; those with xmin > xmax cross the antimeridian."""
    xmin, ymin, xmax, ymax = edges
    overlaps_x = xmin > xmax
    for west, _south, east, _north in split_box(box):
        # Boxes of other catalogs may reach beyond 180 or -180.
        for shift in SHIFTS:
            overlaps_x |= (xmin <= east + shift) & (xmax >= west + shift)
    return np.asarray((ymin <= box[3]) & (ymax >= box[1]) & overlaps_x)


def _may_touch(shapes: NDArray[Any], box: Box) -> NDArray[np.bool_]:
    """Return which geometries may touch a box; invalid ones are reported later, so they may."""
    xmin, ymin, xmax, ymax = shapely.bounds(shapes).T
    known = (xmin >= -MAX_LONGITUDE) & (xmax <= MAX_LONGITUDE) & (ymin >= -MAX_LATITUDE) & (ymax <= MAX_LATITUDE)
    # A footprint that wraps around the world is somewhere in it.
    wraps = xmax - xmin > _HALF_WORLD
    touching = boxes_touching((xmin, ymin, xmax, ymax), box)
    return np.asarray(~known | touching | (wraps & (ymin <= box[3]) & (ymax >= box[1])))


def _wanted(table: pa.Table, properties: Collection[str]) -> list[str]:
    known = {*_TOP_LEVEL, "properties", *properties} - {"links"}
    return [name for name in table.schema.names if name in known]


def _shapes(table: pa.Table, name: str) -> NDArray[Any]:
    """Return the geometries of a column; None for one that is missing or cannot be read."""
    field, column = table.schema.field(name), table.column(name)
    extension = (field.metadata or {}).get(_GEOARROW, b"").decode()
    if isinstance(column.type, pa.BaseExtensionType):
        extension = column.type.extension_name
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    encoding = _geo_metadata(table.schema).get("columns", {}).get(name, {}).get("encoding", "")
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if (pa.types.is_struct(kind) or pa.types.is_nested(kind)) and not _is_geojson(kind):
        native = extension or f"geoarrow.{str(encoding).lower()}"
        return _from_geoarrow(column, native)
    values = column.to_pylist()
    return np.array([_shape(value) for value in values], dtype=object)


def _is_geojson(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {kind.field(k).name for k in range(kind.num_fields)} >= {"type", "coordinates"}


def _from_geoarrow(column: pa.ChunkedArray, extension: str) -> NDArray[Any]:
    import geopandas

    field = pa.field("geometry", column.type, metadata={_GEOARROW: extension.encode()})
    table = pa.Table.from_arrays([column], schema=pa.schema([field]))
    return np.asarray(geopandas.GeoDataFrame.from_arrow(table).geometry.array, dtype=object)


def _shape(value: Any) -> Any:
    try:
        if value is None:
            return None
        if isinstance(value, bytes):
            return shapely.from_wkb(value)
        if isinstance(value, dict):
            return shapely.geometry.shape({"type": value["type"], "coordinates": value["coordinates"]})
        if value.lstrip().startswith("{"):
            return shapely.geometry.shape(json.loads(value))
        return shapely.from_wkt(value)
    except Exception:  # shapely raises many kinds for what is not a geometry
        return None


def _geojson(shape: Any) -> Item:
    content = shape.__geo_interface__
    if "coordinates" not in content:
        return {"type": shape.geom_type}
    return {"type": shape.geom_type, "coordinates": coordinate_lists(content["coordinates"])}


def _plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without dictionaries, decimals, and times other than those in microseconds."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    return column


def _plain_value(value: pa.Scalar) -> Any:
    """Return a value as a number, text, a mapping or None; a time is text in UTC, which it is in without a zone."""
    if not pa.types.is_timestamp(value.type):
        return value.as_py()
    return None if value.value is None else instant_text(_EPOCH + timedelta(microseconds=value.value))


def _text_of_time(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return instant_text(value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


def _assets(value: Any) -> dict[str, Any]:
    assets = _mapping(value)
    return {
        key: {name: each for name, each in asset.items() if each is not None}
        for key, asset in ((key, _mapping(asset)) for key, asset in assets.items())
        if asset
    }


def _mapping(value: Any) -> dict[str, Any]:
    """Return a struct, a map or JSON text as a dictionary; {} for anything else."""
    if isinstance(value, str):
        return _json(value)
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return dict(value or ())
    except (TypeError, ValueError):
        return {}


def _json(text: str | bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _geo_metadata(schema: pa.Schema) -> dict[str, Any]:
    return _json((schema.metadata or {}).get(b"geo", b""))
