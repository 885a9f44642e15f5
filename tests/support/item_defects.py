"""A catalogue of what is wrong with, or unusual about, STAC items and tables of them.

A defect changes a valid item, or a valid STAC GeoParquet table. Its verdict says what a reader must make of it: the
same item, an item left out with a reason, or a refusal.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry import mapping, shape

Item = dict[str, Any]
Verdict = Literal["equal", "left out", "refused"]
CDSE_NAMES = {"B02": "B02_10m", "B03": "B03_10m", "B04": "B04_10m", "B08": "B08_10m", "SCL": "SCL_20m"}
EARTH_SEARCH_NAMES = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "SCL": "scl"}


def changed(item: Item, **changes: Any) -> Item:
    """Return a copy of an item with other top-level fields; None removes one."""
    made = {**copy.deepcopy(item), **changes}
    return {key: value for key, value in made.items() if value is not None or key in ("geometry",)}


def with_properties(item: Item, **changes: Any) -> Item:
    """Return a copy of an item with other properties."""
    return changed(item, properties={**item["properties"], **changes})


def with_hrefs(item: Item, change: Callable[[str], str]) -> Item:
    """Return a copy of an item with other addresses."""
    return changed(
        item, assets={key: {**asset, "href": change(asset["href"])} for key, asset in item["assets"].items()}
    )


def _renamed(item: Item, names: dict[str, str]) -> Item:
    return changed(item, assets={names[key]: asset for key, asset in item["assets"].items()})


def _reshaped(item: Item, change: Callable[[Any], Any]) -> Item:
    return changed(item, geometry=mapping(change(shape(item["geometry"]))))


def _at(item: Item, zone: str) -> Item:
    """Return an item whose time is written for another zone, or without one."""
    text = datetime.fromisoformat(item["properties"]["datetime"].replace("Z", "+00:00"))
    if not zone:
        return with_properties(item, datetime=text.replace(tzinfo=None).isoformat())
    return with_properties(item, datetime=text.astimezone(datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").tzinfo)
                           .isoformat())  # fmt: skip


ITEM_DEFECTS: dict[str, tuple[Verdict, Callable[[Item], Item]]] = {
    "no bbox": ("equal", lambda i: changed(i, bbox=None)),
    "bbox elsewhere": ("equal", lambda i: changed(i, bbox=[100.0, 10.0, 101.0, 11.0])),
    "bbox in meters": ("equal", lambda i: changed(i, bbox=[500000.0, 5090000.0, 512000.0, 5108000.0])),
    "bbox with swapped axes": ("equal", lambda i: changed(i, bbox=[i["bbox"][k] for k in (1, 0, 3, 2)])),
    "bbox with heights": ("equal", lambda i: changed(i, bbox=[*i["bbox"][:2], 0, *i["bbox"][2:], 900])),
    "bbox as text": ("equal", lambda i: changed(i, bbox="unknown")),
    "a time of another zone": ("equal", lambda i: _at(i, "+05:30")),
    "a time without a zone": ("equal", lambda i: _at(i, "")),
    "a span of time": ("equal", lambda i: with_properties(
        i, datetime=None, start_datetime=i["properties"]["datetime"], end_datetime=i["properties"]["datetime"])),
    "names of Earth Search": ("equal", lambda i: _renamed(i, EARTH_SEARCH_NAMES)),
    "names of CDSE": ("equal", lambda i: _renamed(i, CDSE_NAMES)),
    "addresses with tokens": ("equal", lambda i: with_hrefs(i, lambda href: f"{href}?st=1&se=2&sig=SECRET")),
    "heights in the geometry": ("equal", lambda i: _reshaped(i, lambda s: shapely.force_3d(s, 5.0))),
    "a ring the other way round": ("equal", lambda i: _reshaped(i, shapely.reverse)),
    "one part of many": ("equal", lambda i: _reshaped(i, lambda s: shapely.MultiPolygon([s]))),
    "clouds as text": ("equal", lambda i: with_properties(i, **{"eo:cloud_cover": "10"})),
    "no version and no links": ("equal", lambda i: changed(i, stac_version=None, links=None)),
    "fields of extensions": ("equal", lambda i: with_properties(i, **{"x:y": {"z": [1, None, "a"]}})),
    "no geometry": ("left out", lambda i: changed(i, geometry=None)),
    "an empty geometry": ("left out", lambda i: changed(i, geometry={"type": "Polygon", "coordinates": []})),
    "a geometry in meters": ("left out", lambda i: _reshaped(
        i, lambda s: shapely.transform(s, lambda xy: xy * 10_000 + 400_000))),
    "an open ring of two": ("left out", lambda i: changed(
        i, geometry={"type": "Polygon", "coordinates": [[[15, 46], [16, 47]]]})),
    "an id that is a path": ("left out", lambda i: changed(i, id="../../etc/passwd")),
    "no time": ("left out", lambda i: with_properties(i, datetime=None)),
    "a day of words": ("left out", lambda i: with_properties(i, datetime="summer")),
    "a band missing": ("left out", lambda i: changed(
        i, assets={key: asset for key, asset in i["assets"].items() if key != "B04"})),
    "addresses that expire": ("left out", lambda i: with_hrefs(i, lambda href: f"{href}?X-Amz-Signature=abc")),
}  # fmt: skip
"""By name: the verdict, and what makes it of a valid Sentinel-2 item."""


def _column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, values)


def _cast(table: pa.Table, test: Callable[[pa.DataType], bool], kind: pa.DataType) -> pa.Table:
    """Return a table with the columns of some types cast, and their metadata kept."""
    for field in table.schema:
        if test(field.type):
            table = _column(table, field.name, table.column(field.name).cast(kind))
    return table


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind))


def _text_times(table: pa.Table) -> pa.Table:
    texts = [None if time is None else time.isoformat() for time in table.column("datetime").to_pylist()]
    return _column(table, "datetime", pa.array(texts, pa.string()))


def _shapes(table: pa.Table) -> Any:
    return shapely.from_wkb(np.array(table.column("geometry").to_pylist(), dtype=object))


def _text_geometry(table: pa.Table, write: Callable[[Any], Any]) -> pa.Table:
    return _column(table, "geometry", pa.array(write(_shapes(table)).tolist(), pa.string()))


def _geoarrow(table: pa.Table, *, named: bool) -> pa.Table:
    """Return a table with polygons as nested lists of (x, y), named by the field or by the metadata of the file."""
    rings = [
        [[{"x": x, "y": y} for x, y in ring.coords] for ring in (s.exterior, *s.interiors)] for s in _shapes(table)
    ]
    kind = pa.list_(pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())])))
    metadata = {b"ARROW:extension:name": b"geoarrow.polygon"} if named else None
    place = table.schema.get_field_index("geometry")
    table = table.set_column(place, pa.field("geometry", kind, metadata=metadata), pa.array(rings, kind))
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "polygon"}}}
    return table.replace_schema_metadata({b"geo": json.dumps(geo).encode()})


def _json_assets(table: pa.Table) -> pa.Table:
    texts = [json.dumps(assets) for assets in table.column("assets").to_pylist()]
    return _column(table, "assets", pa.array(texts, pa.string()))


def _map_assets(table: pa.Table) -> pa.Table:
    kind = pa.map_(pa.string(), pa.struct([("href", pa.string())]))
    rows = [[(key, {"href": a["href"]}) for key, a in row.items() if a] for row in table.column("assets").to_pylist()]
    return _column(table, "assets", pa.array(rows, kind))


def _nested_properties(table: pa.Table) -> pa.Table:
    names = [n for n in table.schema.names if n not in ("type", "stac_version", "id", "collection", "geometry", "bbox",
                                                         "links", "assets")]  # fmt: skip
    rows = table.select(names).to_pylist()
    return table.drop_columns(names).append_column("properties", pa.array(rows))


def _renamed_geometry(table: pa.Table) -> pa.Table:
    geo = {"version": "1.1.0", "primary_column": "footprint", "columns": {"footprint": {"encoding": "WKB"}}}
    names = ["footprint" if name == "geometry" else name for name in table.schema.names]
    return table.rename_columns(names).replace_schema_metadata({b"geo": json.dumps(geo).encode()})


def _decimal_clouds(table: pa.Table) -> pa.Table:
    values = [None if v is None else Decimal(str(v)) for v in table.column("eo:cloud_cover").to_pylist()]
    return _column(table, "eo:cloud_cover", pa.array(values, pa.decimal128(9, 3)))


def _wrong_boxes(table: pa.Table) -> pa.Table:
    box = {"xmin": 100.0, "ymin": 10.0, "xmax": 101.0, "ymax": 11.0}
    return _column(table, "bbox", pa.array([box] * len(table)))


def _in_mercator(table: pa.Table) -> pa.Table:
    crs = {"id": {"authority": "EPSG", "code": 3857}}
    import pyproj

    crs = pyproj.CRS.from_epsg(3857).to_json_dict()
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": crs}}}
    return table.replace_schema_metadata({b"geo": json.dumps(geo).encode()})


def _with_metadata(table: pa.Table, collection: str) -> pa.Table:
    named = json.dumps({"version": "1.1.0", "collections": {collection: {"id": collection}}}).encode()
    return table.drop_columns(["collection"]).replace_schema_metadata(
        {**(table.schema.metadata or {}), b"stac-geoparquet": named}
    )


def _write(change: Callable[[pa.Table], pa.Table], **options: Any) -> Callable[[pa.Table, Path], None]:
    return lambda table, folder: pq.write_table(change(table), folder / "items.parquet", **options)


def _write_hive(table: pa.Table, folder: Path) -> None:
    for name in set(table.column("collection").to_pylist()):
        part = table.filter(pa.compute.equal(table.column("collection"), name)).drop_columns(["collection"])
        (folder / f"collection={name}").mkdir()
        pq.write_table(part, folder / f"collection={name}" / "part-0.parquet")


def _write_parts(table: pa.Table, folder: Path) -> None:
    pq.write_table(table.slice(0, 1), folder / "a.parquet")
    pq.write_table(table.slice(1), folder / "b.parquet")


def _write_cut(table: pa.Table, folder: Path) -> None:
    pq.write_table(table, folder / "items.parquet")
    content = (folder / "items.parquet").read_bytes()
    (folder / "items.parquet").write_bytes(content[: len(content) * 2 // 3])


TABLE_DEFECTS: dict[str, tuple[Verdict, Callable[[pa.Table, Path], None]]] = {
    "as it is": ("equal", _write(lambda t: t)),
    "times without a zone": ("equal", _write(lambda t: _cast(t, _is_time, pa.timestamp("us")))),
    "times of another zone": ("equal", _write(lambda t: _cast(t, _is_time, pa.timestamp("us", tz="Asia/Kolkata")))),
    "times in nanoseconds": ("equal", _write(lambda t: _cast(t, _is_time, pa.timestamp("ns", tz="UTC")))),
    "times in ns without a zone": ("equal", _write(lambda t: _cast(t, _is_time, pa.timestamp("ns")))),
    "times as text": ("equal", _write(_text_times)),
    "large text": ("equal", _write(lambda t: _cast(t, _is_text, pa.large_string()))),
    "text as views": ("equal", _write(lambda t: _cast(t, _is_text, pa.string_view()))),
    "collection as dictionary": ("equal", _write(
        lambda t: _column(t, "collection", t.column("collection").dictionary_encode()))),
    "no boxes": ("equal", _write(lambda t: t.drop_columns(["bbox"]))),
    "boxes elsewhere": ("equal", _write(_wrong_boxes)),
    "no links": ("equal", _write(lambda t: t.drop_columns(["links"]))),
    "geometry as WKT": ("equal", _write(lambda t: _text_geometry(t, shapely.to_wkt))),
    "geometry as GeoJSON": ("equal", _write(lambda t: _text_geometry(t, shapely.to_geojson))),
    "geometry as large WKB": ("equal", _write(
        lambda t: _column(t, "geometry", t.column("geometry").cast(pa.large_binary())))),
    "GeoArrow by its field": ("equal", _write(lambda t: _geoarrow(t, named=True))),
    "GeoArrow by the file": ("equal", _write(lambda t: _geoarrow(t, named=False))),
    "another name of the geometry": ("equal", _write(_renamed_geometry)),
    "assets as JSON": ("equal", _write(_json_assets)),
    "assets as a map": ("equal", _write(_map_assets)),
    "properties in one column": ("equal", _write(_nested_properties)),
    "clouds as decimals": ("equal", _write(_decimal_clouds)),
    "a row in each group": ("equal", _write(lambda t: t, row_group_size=1)),
    "folders of collections": ("equal", _write_hive),
    "several files": ("equal", _write_parts),
    "collection in the metadata": ("equal", _write(lambda t: _with_metadata(t, "sentinel-2-l2a"))),
    "no collection": ("refused", _write(lambda t: t.drop_columns(["collection"]).replace_schema_metadata(None))),
    "no ids": ("refused", _write(lambda t: t.drop_columns(["id"]))),
    "no geometry": ("refused", _write(lambda t: t.drop_columns(["geometry"]).replace_schema_metadata(None))),
    "in Mercator": ("refused", _write(_in_mercator)),
    "truncated": ("refused", _write_cut),
    "empty": ("refused", lambda _, folder: (folder / "items.parquet").touch()),
}  # fmt: skip
"""By name: the verdict, and what writes a valid table of Sentinel-2 items with the defect into a folder."""
