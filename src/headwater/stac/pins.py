"""Pinning: the items of a search in one STAC GeoParquet file that every later step reads instead of searching.

`headwater.stac.pinned_items` reduces items to what is pinned.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely.geometry
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.files import write_if_changed
from headwater.core.seals import sealed_parquet
from headwater.geo.longitudes import SHIFTS, Box, footprint_box, split_box
from headwater.geo.parquet import READ_OPTIONS, WRITE_OPTIONS, sound
from headwater.stac.foreign_rows import (
    REQUIRED_COLUMNS,
    boxes_touching,
    can_filter,
    check_degrees,
    collection_of_file,
    geometry_column,
    rows_to_items,
)
from headwater.stac.intervals import parse_instant
from headwater.stac.items import DEMO_PROCESSING
from headwater.stac.pinned_items import ASSET_FIELDS, INSTANTS, PROPERTIES, coordinate_lists, instant_text, pinned_item
from headwater.stac.presets import COLOR_NAMES, PINNED_ASSETS

Item = dict[str, Any]

PINNED_COLUMNS = ("type", "stac_version", "id", "collection", "geometry", "bbox", "links", "assets", *PROPERTIES)
"""Columns to read from a STAC GeoParquet file, whoever wrote it."""
BBOX_EDGES = ("xmin", "ymin", "xmax", "ymax")
_METADATA_KEY = b"headwater"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROW_GROUP = 2000


def write_items(path: Path, items: Iterable[Item], *, url: str, query: Mapping[str, Any]) -> bool:
    """Write items as STAC GeoParquet, sorted by collection and id; the same items give the same bytes.

    Parameters
    ----------
    path : Path
        File to write, if its content differs.
    items : iterable of dict
        STAC items of one or several collections, at least one; any order.
    url : str
        Catalog they came from, recorded in the file.
    query : mapping
        Query that found them, recorded in the file.

    Returns
    -------
    bool
        Whether the file was written.

    Raises
    ------
    InputError
        There is no item.
    """
    pinned = sorted((pinned_item(item) for item in items), key=lambda item: (item["collection"], item["id"]))
    return write_sorted(path, pinned, url=url, query=query)


def write_sorted(
    path: Path, pinned: Iterable[Item], *, url: str, query: Mapping[str, Any], instead_of: str = ""
) -> bool:
    """Write items that are already reduced and sorted, few of them in memory at a time; otherwise as `write_items`.

    Parameters
    ----------
    path : Path
        File to write, if its content differs.
    pinned : iterable of dict
        As `pinned_item` returns them, sorted by collection and id.
    url, query
        See `write_items`.
    instead_of : str
        The catalog that was asked first and could not be reached, if `url` is its fallback; recorded in the file.
    """
    items = iter(pinned)
    batches = iter(lambda: list(islice(items, _ROW_GROUP)), [])
    first = next(batches, None)
    if first is None:
        raise InputError("There are no items to pin.", "Widen the search.")
    table = _table(first)
    origin = {"catalogue": url, "query": query} | ({"instead_of": instead_of} if instead_of else {})
    record = json.dumps(origin, sort_keys=True).encode()
    schema = table.schema.with_metadata({**_library_metadata(table), _METADATA_KEY: record})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **WRITE_OPTIONS) as writer:
        for batch in chain([table], map(_table, batches)):
            writer.write_table(batch.replace_schema_metadata(schema.metadata))
    return write_if_changed(path, sealed_parquet(sink.getvalue().to_pybytes()))


def _table(items: Sequence[Item]) -> pa.Table:
    """Return items as STAC GeoParquet has them: properties as columns, the box as a struct, instants as timestamps."""
    rows = []
    for item in items:
        properties = dict(item["properties"])
        for name in INSTANTS:
            if properties.get(name) is not None:
                properties[name] = parse_instant(properties[name])
        bbox = dict(zip(BBOX_EDGES, item["bbox"], strict=True))
        geometry = shapely.to_wkb(shapely.geometry.shape(item["geometry"]), flavor="iso")
        rows.append({**item, **properties, "bbox": bbox, "geometry": geometry})
    return pa.Table.from_pylist(rows, schema=_schema())


def _library_metadata(table: pa.Table) -> dict[bytes, bytes]:
    """Return the STAC and GeoParquet metadata that the library writes; it accepts no further metadata of ours."""
    import stac_geoparquet.arrow as stac_arrow

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "items.parquet"
        stac_arrow.to_parquet(table.slice(0, 0), draft)
        return dict(pq.read_schema(draft).metadata)


@cache
def _schema() -> pa.Schema:
    """Return the columns of a pin: the same for every catalog."""
    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    instant = pa.timestamp("us", tz="UTC")
    asset = pa.struct([("href", pa.string()), *((name, kinds[kind]) for name, kind in ASSET_FIELDS.items())])
    return pa.schema(
        [
            ("type", pa.string()),
            ("stac_version", pa.string()),
            ("id", pa.string()),
            ("collection", pa.string()),
            ("geometry", pa.binary()),
            ("bbox", pa.struct([(edge, pa.float64()) for edge in BBOX_EDGES])),
            ("links", pa.list_(pa.struct([("href", pa.string()), ("rel", pa.string())]))),
            ("assets", pa.struct([(name, asset) for name in (*PINNED_ASSETS, *COLOR_NAMES.values())])),
            *((name, instant if name in INSTANTS else kinds[kind]) for name, kind in PROPERTIES.items()),
        ]
    )


def read_items(path: Path, *, box: Box | None = None) -> list[Item]:
    """Read pinned items, or any STAC GeoParquet, as plain dictionaries without null properties.

    Parameters
    ----------
    path : Path
        File.
    box : tuple of float, optional
        West, south, east, north: only items whose own box touches it. May cross the antimeridian.

    Raises
    ------
    InputError
        The file is missing or is not STAC GeoParquet.
    """
    try:
        own = _read_own_pin(path, box)
    except (pa.ArrowException, OSError):
        own = None
    # Reports what is wrong with another file.
    return list(iter_items(path, box=box)) if own is None else own


def is_demo_pin(path: Path) -> bool:
    """Whether all items of a pin are of demo planets; False where there is no pin, or no item in it."""
    try:
        versions = pq.read_table(path, columns=["processing:version"], **READ_OPTIONS)["processing:version"]
    except (pa.ArrowException, KeyError, OSError, ValueError):
        return False
    return set(versions.unique().to_pylist()) == {DEMO_PROCESSING}


def item_ids(path: Path) -> list[str]:
    """Return the ids of a pin's items; none where there is no pin."""
    try:
        return [str(name) for name in pq.read_table(path, columns=["id"], **READ_OPTIONS)["id"].to_pylist()]
    except (pa.ArrowException, KeyError, OSError, ValueError):
        return []


def item_dates(path: Path) -> list[datetime]:
    """Return when a pin's items were acquired; none where there is no pin."""
    try:
        found = pq.read_table(path, columns=["datetime"], **READ_OPTIONS)["datetime"].drop_null().to_pylist()
    except (pa.ArrowException, KeyError, OSError, ValueError):
        return []
    return [each.replace(tzinfo=each.tzinfo or UTC) for each in found if isinstance(each, datetime)]


def is_own_schema(schema: pa.Schema) -> bool:
    """Whether a file was written by `write_items`: its boxes are made from its geometries."""
    return _METADATA_KEY in (schema.metadata or {}) and schema.equals(_schema())


def iter_items(path: Path, *, filter: pc.Expression | None = None, box: Box | None = None) -> Iterator[Item]:
    """Read the items of a STAC GeoParquet file one after the other, few of them in memory at a time.

    Parameters
    ----------
    path : Path
        File.
    filter : pyarrow.compute.Expression, optional
        Filter of the rows wanted; left out for columns that cannot be filtered.
    box : (west, south, east, north), optional
        Degrees; only items whose geometry may touch it.

    Raises
    ------
    InputError
        The file is missing or is not STAC GeoParquet.
    """
    import pyarrow.dataset as ds

    try:
        schema = pq.read_schema(path)
        check_items_schema(path, schema)
        collection = None if "collection" in schema.names else collection_of_file(path, schema)
        filter = filter if can_filter(schema) else None
        table = ds.dataset(path, format="parquet")
        columns = {*PINNED_COLUMNS, "properties", geometry_column(schema)} - {"bbox", "links"}
        names = [name for name in table.schema.names if name in columns]
        # One row group after the other, and only those that may contain a row: otherwise pyarrow would read ahead the
        # complete file.
        groups = (group for file in table.get_fragments() for group in file.split_by_row_group(filter, table.schema))
        for group in groups:
            for batch in group.to_batches(
                table.schema, columns=names, filter=filter, batch_size=_ROW_GROUP, batch_readahead=1, use_threads=False
            ):
                rows = pa.Table.from_batches([batch]).replace_schema_metadata(schema.metadata)
                for item in rows_to_items(rows, collection=collection, box=box):
                    yield _with_box(item)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Run 'headwater search' first.") from error
    except (pa.ArrowException, KeyError, ValueError, AssertionError, OSError) as error:
        raise InputError(
            f"{path} is not a readable STAC GeoParquet file ({type(error).__name__}).",
            "Write it again, by `headwater search` or another writer of STAC GeoParquet.",
        ) from error


def check_items_schema(path: Path, schema: pa.Schema) -> None:
    """Refuse a Parquet file that does not contain items.

    Raises
    ------
    InputError
        A column that items need is missing, or its geometries are not in degrees.
    """
    missing = sorted(set(REQUIRED_COLUMNS) - set(schema.names))
    if geometry_column(schema) is None:
        missing.append("geometry")
    if missing:
        raise InputError(
            f"{path} is not STAC GeoParquet: it has no column {', '.join(missing)}.",
            "Give a file with one item in each row, or remove it from the folder.",
        )
    check_degrees(path, schema)


def _with_box(item: Item) -> Item:
    try:
        return {**item, "bbox": list(footprint_box(item["geometry"]))} if item["geometry"] else item
    except ValueError:
        return item  # its geometry is a defect, to be reported with the others


def rows_touching(schema: pa.Schema, box: Box) -> pc.Expression | None:
    """Return a filter for the rows whose box touches one, which Parquet's statistics can evaluate; None without boxes.

    A row whose box has west > east crosses the antimeridian and is always read.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of the file.
    box : tuple of float
        West, south, east, north; may cross the antimeridian.
    """
    kind = schema.field("bbox").type
    if not (pa.types.is_struct(kind) and {kind.field(k).name for k in range(kind.num_fields)} >= set(BBOX_EDGES)):
        return None
    xmin, ymin, xmax, ymax = (pc.field("bbox", edge) for edge in BBOX_EDGES)
    overlaps_x = xmin > xmax
    for west, _south, east, _north in split_box(box):
        # Boxes of other catalogs may reach beyond 180 or -180.
        for shift in SHIFTS:
            overlaps_x |= (xmin <= east + shift) & (xmax >= west + shift)
    return (ymin <= box[3]) & (ymax >= box[1]) & overlaps_x


def read_query(path: Path) -> dict[str, Any]:
    """Return what a pinned file records of its search: "catalogue", "query", "instead_of"; {} for a foreign file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Run 'headwater search' first.") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a Parquet file.", "Run 'headwater search' again.") from error
    return dict(json.loads(metadata.get(_METADATA_KEY, b"{}")))


def fallback_of(path: Path) -> str | None:
    """Return the catalog of a pinned file if it was asked instead of the first one, else None."""
    record = read_query(path)
    return str(record["catalogue"]) if record.get("instead_of") else None


def _read_own_pin(path: Path, box: Box | None) -> list[Item] | None:
    """Return the items of a file that `write_items` wrote, as `read_items` does; None for another file.

    Many short jobs read a pin: neither pandas nor the library is imported, which would take longer than reading.
    """
    items: list[Item] = []
    with sound(path), pq.ParquetFile(path, **READ_OPTIONS) as file:
        schema = file.schema_arrow
        if not is_own_schema(schema):
            return None
        for batch in file.iter_batches(batch_size=_ROW_GROUP):
            wanted = np.arange(batch.num_rows) if box is None else np.flatnonzero(_touching(batch.column("bbox"), box))
            items += [_item_of_row(batch, row) for row in wanted.tolist()]
    return items


def _touching(boxes: pa.StructArray, box: Box) -> NDArray[np.bool_]:
    """Return which of the boxes of a pin touch one, the same rows as `rows_touching`."""
    # Not `to_numpy`, which imports pandas.
    edges = [boxes.field(name) for name in BBOX_EDGES]
    xmin, ymin, xmax, ymax = (
        np.frombuffer(edge.buffers()[1], np.float64, count=len(edge), offset=8 * edge.offset) for edge in edges
    )
    return boxes_touching((xmin, ymin, xmax, ymax), box)


def _item_of_row(batch: pa.RecordBatch, row: int) -> Item:
    """Return the item in a row of a pin."""
    # `as_py` of a timestamp imports pandas; its value is microseconds since 1970.
    scalars = {name: batch.column(name)[row] for name in batch.schema.names}
    values = {name: scalar.value if name in INSTANTS else scalar.as_py() for name, scalar in scalars.items()}
    shape = shapely.from_wkb(values["geometry"])
    item = {name: values[name] for name in ("type", "stac_version", "id", "collection", "links", "assets")}
    item["geometry"] = {
        "type": shape.geom_type,
        "coordinates": coordinate_lists(shape.__geo_interface__["coordinates"]),
    }
    item["bbox"] = [values["bbox"][edge] for edge in BBOX_EDGES]
    item["properties"] = {name: values[name] for name in PROPERTIES}
    for name in INSTANTS:
        if values[name] is not None:
            item["properties"][name] = instant_text(_EPOCH + timedelta(microseconds=values[name]))
    return _plain(item)


def _plain(item: Item) -> Item:
    properties = {name: value for name, value in item["properties"].items() if value is not None or name == "datetime"}
    assets = {
        key: {name: value for name, value in asset.items() if value is not None}
        for key, asset in (item.get("assets") or {}).items()
        if asset
    }
    return {**item, "properties": properties, "assets": assets}
