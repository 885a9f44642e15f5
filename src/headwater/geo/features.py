"""Reading any table of features: GeoParquet, or whatever GDAL reads; lines and polygons that users provide."""

from __future__ import annotations

import contextlib
import io
import json
import math
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.geo.damaged_wkb import repair_wkb
from headwater.geo.grid import CRS, Bounds
from headwater.geo.parquet import READ_OPTIONS, sound
from headwater.geo.table_names import refuse_misread_name

# Libraries that read tables are imported where they are used: most jobs read none.
if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import pyarrow.parquet as pq
    from shapely.geometry.base import BaseGeometry

PARQUET_SUFFIXES = frozenset({".parquet", ".geoparquet"})
_SUFFIXES_IN_ZIP = frozenset({".gpkg", ".fgb", ".geojson", ".json", ".gml", ".kml", ".tab", ".sqlite", ".csv"})
_GEOGRAPHIC_IDS = ({"authority": "EPSG", "code": 4326}, {"authority": "OGC", "code": "CRS84"})
_WRITE_CRS = "Write its CRS into the file."
_PARTS = {"lines": 1, "polygons": 3}
_KINDS = {"lines": (1, 5), "polygons": (3, 6)}
_COLLECTION = 7
_MAX_NAMED = 5
_HEAD_BYTES = 1024
_SQLITE = b"SQLite format 3\0"
_XML_SUFFIXES = frozenset({".gml", ".kml", ".gpx", ".xml"})
_MAX_VIEWS = 1000
_MAX_SQL_STEPS = 10_000_000
_IDS_AT_ONCE = 500


@dataclass(frozen=True)
class TableKind:
    """What a table should be: how its layer is found in a file with several, and what messages call it."""

    content: str = "a table with geometry"
    """What it is, for messages."""
    remedy: str = "Give a GeoPackage or GeoParquet file."
    """What to give instead."""
    shapes: Literal["lines", "polygons"] | None = None
    """What its geometry is made of; any if not given."""
    columns: tuple[tuple[str, ...], ...] = ()
    """Columns that distinguish its layer from others: of each group one is needed."""


ANY_TABLE = TableKind()


def read_table(
    path: Path,
    kind: TableKind = ANY_TABLE,
    *,
    columns: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    ids: tuple[str, NDArray[np.int64]] | None = None,
    layer: str | None = None,
) -> gpd.GeoDataFrame:
    """Read a table with geometry: GeoParquet by its suffix, otherwise whatever GDAL reads, zipped too.

    Of a file with several layers, the one with the shapes and the columns of the kind is read. Lines of one vertex and
    open rings are repaired, with a message.

    Parameters
    ----------
    path : Path
        File of a table.
    kind : TableKind
        What the table should be.
    columns : sequence of str, optional
        Columns to read besides the geometry, those of them that exist; all if not given.
    bounds : (west, south, east, north), optional
        Degrees. Rows whose box is outside need not be read: they are skipped where the format finds rows by box (GDAL's
        do, GeoParquet with a covering column does).
    ids : (name, values), optional
        Column of integers, and its values in the rows to read; without `bounds`.
    layer : str, optional
        Layer of a file with several; not for GeoParquet.

    Raises
    ------
    InputError
        The file is missing, cannot be read or is damaged, has no geometry, or no one layer that is of the kind.
    """
    import geopandas as gpd

    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.", kind.remedy)
    with unreadable(path, kind):
        if is_parquet(path):
            with sound(path):
                table = _read_parquet(path, columns, bounds, ids)
        else:
            source = gdal_source(path, kind)
            table = _read_with_gdal(source, layer or choose_layer(source, kind), columns, bounds, ids)
    if not isinstance(table, gpd.GeoDataFrame):
        raise InputError(f"{path} has no geometry, so it is not {kind.content}.", kind.remedy)
    return table


def read_attributes(path: Path, kind: TableKind, *, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a table, those of them that exist, without its geometry; see `read_table`.

    Raises
    ------
    InputError
        The file is missing, cannot be read or is damaged, or has no one layer that is of the kind.
    """
    import pyogrio

    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.", kind.remedy)
    with unreadable(path, kind):
        if is_parquet(path):
            import pyarrow.parquet as pq

            with sound(path):
                there = [name for name in columns if name in parquet_facts(path).columns]
                table: pd.DataFrame = pq.read_table(path, columns=there, **READ_OPTIONS).to_pandas()
                return table
        source = gdal_source(path, kind)
        layer = choose_layer(source, kind)
        refuse_cut_shapefile(source, layer)
        rows: pd.DataFrame = pyogrio.read_dataframe(source, layer=layer, columns=columns, read_geometry=False)
        if 0 <= (count := pyogrio.read_info(source, layer=layer)["features"]) != len(rows):
            raise ValueError(f"it has {count} rows, of which {len(rows)} can be read")
        return rows


def refuse_other_columns(path: Path, kind: TableKind) -> None:
    """Refuse a table without the columns of a kind; no row is read.

    Raises
    ------
    InputError
        The file cannot be read, has no one layer that is of the kind, or lacks a column.
    """
    import pyogrio

    with unreadable(path, kind):
        if is_parquet(path):
            names = set(parquet_facts(path).columns)
        else:
            source = gdal_source(path, kind)
            names = set(map(str, pyogrio.read_info(source, layer=choose_layer(source, kind))["fields"]))
    for group in kind.columns:
        if not names & set(group):
            raise InputError(f"The {kind.content} have no column {group[0]}.", kind.remedy)


@contextmanager
def unreadable(path: Path, kind: TableKind) -> Iterator[None]:
    """Turn errors of the libraries that read tables into an InputError about the file."""
    try:
        yield
    # Those of pyogrio and pyproj are RuntimeErrors, those of pyarrow ValueErrors and OSErrors; an
    # IndexError is of truncated FlatGeobuf.
    # TypeError is of a column that should hold shapes and holds numbers.
    except (RuntimeError, shapely.errors.GEOSException, ValueError, TypeError, OSError, LookupError) as error:
        # GDAL's advice after the reason is about its own options.
        reason = (str(error).splitlines() or [type(error).__name__])[0].split("; It might help")[0].rstrip(".")
        raise InputError(f"{path} cannot be read as {kind.content} ({reason}).", kind.remedy) from error


def is_parquet(path: Path) -> bool:
    """Return whether a table is GeoParquet, by its suffix."""
    return path.suffix.lower() in PARQUET_SUFFIXES


def read_lines(path: Path, *, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read lines with their columns, in EPSG:4326; rows without geometry are skipped.

    Raises
    ------
    InputError
        The file cannot be read, has several layers of lines or no CRS, or contains other shapes than lines.
    """
    kind = TableKind("lines", "Give the true channels as lines.", "lines")
    table = _with_crs(read_table(path, kind, layer=layer), path)
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    return in_degrees(table.set_geometry(only(table.geometry.to_numpy(), kind, str(path)), crs=table.crs), path)


def read_polygons(path: Path) -> list[BaseGeometry]:
    """Read polygons, in EPSG:4326; rows without geometry are skipped.

    Raises
    ------
    InputError
        The file cannot be read, has several layers of polygons or no CRS, or contains other shapes.
    """
    kind = TableKind("polygons", "Give an area as polygons.", "polygons")
    table = in_degrees(_with_crs(read_table(path, kind), path), path)
    shapes = only(table.geometry.to_numpy(), kind, str(path))
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    if not len(shapes):
        raise InputError(f"{path} contains no polygons.", kind.remedy)
    return list(shapes)


def only(
    shapes: NDArray[Any], kind: TableKind, name: str, *, column: str = "row", ids: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return shapes of the one kind: of collections that contain it, those parts; missing and empty shapes stay.

    Parameters
    ----------
    shapes : (n,) array of shapely geometry
        Of a table.
    kind : TableKind
        With `shapes`.
    name : str
        What the table is called in a message.
    column, ids : str and (n,) array, optional
        What rows are called in a message; their numbers from 0 if not given.

    Raises
    ------
    InputError
        A shape is of another kind.
    """
    assert kind.shapes is not None
    kinds = shapely.get_type_id(shapes)
    empty = (kinds < 0) | shapely.is_empty(shapes)
    collections = np.flatnonzero((kinds == _COLLECTION) & ~empty)
    other = ~(np.isin(kinds, _KINDS[kind.shapes]) | empty)
    found = shapes
    if len(collections):
        shapes = shapes.copy()
        shapes[collections] = [_part_of_collection(shape, kind.shapes) for shape in shapes[collections]]
        other[collections] = shapely.is_empty(shapes[collections])
    if other.any():
        rows = np.flatnonzero(other)
        raise InputError(
            f"{name} contains other shapes than {kind.shapes}: {int(other.sum())} of {len(shapes)} rows, the first a "
            f"{found[other][0].geom_type} ({column} {some(rows if ids is None else ids[rows])}).",
            kind.remedy,
        )
    return shapes


def some(ids: Sequence[Any] | NDArray[Any]) -> str:
    """Return the first few of ids for a message."""
    return ", ".join(map(str, ids[:_MAX_NAMED])) + (", ..." if len(ids) > _MAX_NAMED else "")


def _part_of_collection(shape: BaseGeometry, shapes: str) -> BaseGeometry:
    parts = [shape]
    while any(part.geom_type.startswith(("Multi", "Geometry")) for part in parts):
        parts = [piece for part in parts for piece in getattr(part, "geoms", (part,))]
    parts = [part for part in parts if shapely.get_type_id(part) == _PARTS[shapes]]
    if len(parts) == 1:
        return parts[0]
    joined: Any = shapely.multipolygons(parts) if shapes == "polygons" else shapely.multilinestrings(parts)
    return cast("BaseGeometry", joined)


def _with_crs(table: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    if table.crs is None:
        raise InputError(f"{path} has no coordinate reference system.", _WRITE_CRS)
    return table


def in_degrees(table: gpd.GeoDataFrame, path: str | Path) -> gpd.GeoDataFrame:
    """Return a table with a CRS in EPSG:4326.

    Raises
    ------
    InputError
        Its CRS is of no place on Earth.
    """
    try:
        return table.to_crs(CRS)
    except RuntimeError as error:
        # Of pyproj.
        raise InputError(f"The coordinates of {path} cannot be made longitudes and latitudes.", _WRITE_CRS) from error


def gdal_source(path: Path, kind: TableKind) -> str:
    """Return what GDAL opens for a file: of a zipped one, the one geodatabase, folder of shapefiles or file in it.

    Raises
    ------
    InputError
        A zipped file contains several, or the reader would take the name for another one.
    """
    if path.suffix.lower() != ".zip" or not path.is_file():
        refuse_misread_name(path)
        if path.is_file():
            _check_leads_nowhere(path, kind)
        return str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {_table_of_member(PurePosixPath(name)) for name in archive.namelist()} - {None}
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is a damaged zip file ({error}).", kind.remedy) from error
    if len(inside) > 1:
        names = sorted(map(str, inside))
        raise InputError(f"{path} contains several tables: {some(names)}.", f"Unpack it. {kind.remedy}")
    return "/".join([f"/vsizip/{path.resolve()}", *map(str, inside)]).removesuffix("/.")


def _check_leads_nowhere(path: Path, kind: TableKind) -> None:
    """Refuse a file that only describes where rows come from: other files and servers, or a query without end."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and path.suffix.lower() not in _XML_SUFFIXES:
        raise InputError(f"{path} is XML, which may name other files and servers to read.", kind.remedy)
    if head.startswith(_SQLITE):
        views = _registered_views(path)
        if views:
            raise InputError(
                f"{path} has views among its layers ({some(views)}), and to read a view may take forever.",
                "Export its rows into a table: ogr2ogr tables.gpkg FILE LAYER.",
            )


def _registered_views(path: Path) -> list[str]:
    """Return the names of layers of a GeoPackage that are views; [] if that is not known."""
    import sqlite3

    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as tables,
    ):
        found = tables.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchmany(_MAX_VIEWS)
        views = {str(name).lower(): str(name) for (name,) in found}
        own = [name for key, name in views.items() if key.startswith("gpkg_")]
        if own or len(views) == _MAX_VIEWS:
            return own or list(views.values())
        # Whatever else is in the file: this ends.
        tables.set_progress_handler(lambda: 1, _MAX_SQL_STEPS)
        names = tables.execute("SELECT lower(table_name) FROM gpkg_contents").fetchall() if views else []
        return [views[key] for (key,) in names if key in views]
    return []


def _table_of_member(name: PurePosixPath) -> PurePosixPath | None:
    """Return the geodatabase, the folder of shapefiles or the file that a member of an archive belongs to."""
    geodatabase = next((folder for folder in (name, *name.parents) if folder.suffix.lower() == ".gdb"), None)
    if geodatabase is not None:
        return geodatabase
    suffix = name.suffix.lower()
    if suffix == ".shp":
        return name.parent
    return name if suffix in _SUFFIXES_IN_ZIP else None


def choose_layer(path: str, kind: TableKind) -> str | None:
    """Return the layer that is of a kind; the only one of a file whatever it is, since its reader says what it lacks.

    Raises
    ------
    InputError
        No layer, or more than one, has the shapes and the columns.
    """
    import pyogrio

    layers = [(str(name), None if geometry is None else str(geometry)) for name, geometry in pyogrio.list_layers(path)]
    if len(layers) < 2:
        return layers[0][0] if layers else None
    fields = {name: [str(field) for field in pyogrio.read_info(path, layer=name)["fields"]] for name, _ in layers}
    fitting = [
        name
        for name, geometry in layers
        if _may_be(geometry, kind) and all(set(group) & set(fields[name]) for group in kind.columns)
    ]
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(
        f"{name} ({geometry or 'no geometry'}{': ' if fields[name] else ''}{some(fields[name])})"
        for name, geometry in layers
    )
    if fitting:
        raise InputError(
            f"{path} may have {kind.content} in {len(fitting)} layers: {', '.join(fitting)}.",
            "Give a file with one of them, or name the layer where there is an option for it.",
        )
    wanted = " and ".join(
        [*([kind.shapes] if kind.shapes else []), *(f"a column {' or '.join(group)}" for group in kind.columns)]
    )
    raise InputError(f"{path} has no layer with {wanted or 'geometry'}; its layers are {listed}.", kind.remedy)


def _may_be(geometry: str | None, kind: TableKind) -> bool:
    """Return whether a layer's declared geometry, such as "3D MultiLineString", allows the shapes."""
    if geometry is None:
        return False
    if kind.shapes is None or "Unknown" in geometry or "GeometryCollection" in geometry:
        return True
    names = {"lines": ("LineString", "Curve"), "polygons": ("Polygon", "Surface")}[kind.shapes]
    return any(name in geometry for name in names) and not ("Polygon" in geometry and kind.shapes == "lines")


def box_to_read(bounds: Bounds, crs: Any, extent: Bounds | None) -> Bounds | None:
    """Return the box of a file, in its own CRS, that contains all that is near; None where all must be read.

    Parameters
    ----------
    bounds : (west, south, east, north)
        Degrees.
    crs : any
        CRS of the file.
    extent : (west, south, east, north), optional
        Of the file, in its CRS. Files whose longitudes are not from -180 to 180 are read in full, and so are
        those of which this is not known.
    """
    import pyproj

    west, south, east, north = bounds
    crs = pyproj.CRS.from_user_input(crs)
    if crs.is_geographic and extent is not None:
        refuse_no_degrees(extent)
    if west < -180 or east > 180 or (crs.is_geographic and (extent is None or extent[0] < -180 or extent[2] > 180)):
        return None
    transformer = pyproj.Transformer.from_crs(CRS, crs, always_xy=True)
    box = transformer.transform_bounds(west, south, east, north, densify_pts=51)
    # West of west: the box crosses the edge of the CRS.
    return box if np.isfinite(box).all() and box[0] <= box[2] else None


def refuse_cut_shapefile(source: str, layer: str | None) -> None:
    """Raise a ValueError if a shapefile is shorter than it says: GDAL reads the shapes that are lost as missing."""
    path = Path(source) / f"{layer}.shp" if Path(source).is_dir() else Path(source)
    if path.suffix.lower() == ".shp" and path.is_file():
        with path.open("rb") as file:
            (words,) = struct.unpack_from(">i", file.read(28).ljust(28, b"\0"), 24)
        if path.stat().st_size < 2 * words:
            raise ValueError(f"it has {path.stat().st_size} of {2 * words} bytes")


def refuse_no_degrees(extent: Bounds) -> None:
    """Raise a ValueError if no degrees are that large: up to 360 and, for what crosses 180 there, 180 more."""
    west, south, east, north = extent
    if west < -360 or east > 540 or south < -90.001 or north > 90.001:
        raise ValueError(f"its coordinates, {west:g}, {south:g} to {east:g}, {north:g}, are no degrees")


def extent_of(shapes: NDArray[Any]) -> Bounds:
    """Return the box of shapes; those that are missing, empty or not finite are left out."""
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    west, south = boxes[:, :2].min(axis=0, initial=np.inf)
    east, north = boxes[:, 2:].max(axis=0, initial=-np.inf)
    return float(west), float(south), float(east), float(north)


def _read_with_gdal(
    path: str,
    layer: str | None,
    columns: Sequence[str] | None,
    bounds: Bounds | None,
    ids: tuple[str, NDArray[np.int64]] | None,
) -> gpd.GeoDataFrame | pd.DataFrame:
    import geopandas as gpd
    import pyogrio

    refuse_cut_shapefile(path, layer)
    info = pyogrio.read_info(path, layer=layer)
    box = None
    if bounds and info["crs"]:
        extent = info["total_bounds"]
        box = box_to_read(bounds, info["crs"], None if extent is None else tuple(extent))
    options: dict[str, Any] = {"bbox": box, "columns": columns, "layer": layer}
    if ids is not None:
        # Parts of a statement that is not too long for any driver.
        name, values = ids
        runs = np.array_split(values, max(1, math.ceil(len(values) / _IDS_AT_ONCE)))
        options["where"] = " OR ".join(f'"{name}" IN ({", ".join(map(str, run.tolist()))})' for run in runs)
    try:
        table = gpd.read_file(path, **options)
    except shapely.errors.GEOSException:
        described, _, wkb, values = pyogrio.raw.read(path, **options)
        names = [str(name) for name in described["fields"]]
        shapes = _repaired(wkb, path, None if not names else (names[0], values[0]))
        table = gpd.GeoDataFrame(dict(zip(names, values, strict=True)), geometry=shapes, crs=described["crs"])
    # GDAL reads the rows before the damage of some formats, and says nothing.
    if box is None and ids is None and 0 <= info["features"] != len(table):
        raise ValueError(f"it has {info['features']} rows, of which {len(table)} can be read")
    if box is not None or ids is not None:
        refuse_cut_flatgeobuf(path, layer)
    return table


def refuse_cut_flatgeobuf(path: str, layer: str | None) -> None:
    """Refuse a FlatGeobuf whose end is missing: where rows are found by box, nothing else notices.

    Raises
    ------
    ValueError
        The last row, which is at the end of the file, cannot be read. Other formats are not looked at.
    """
    import pyogrio

    info = pyogrio.read_info(path, layer=layer)
    if info["driver"] != "FlatGeobuf" or info["features"] <= 0:
        return
    last = pyogrio.raw.read(path, layer=layer, columns=[], skip_features=info["features"] - 1, max_features=1)
    if not len(last[2]):
        raise ValueError("its last row is missing")


def _read_parquet(
    path: Path,
    columns: Sequence[str] | None,
    bounds: Bounds | None,
    ids: tuple[str, NDArray[np.int64]] | None,
) -> gpd.GeoDataFrame:
    import geopandas as gpd

    facts = parquet_facts(path)
    wanted = None if columns is None else [*(c for c in columns if c in facts.columns), facts.geometry]
    box = box_to_read(bounds, facts.crs, facts.extent) if bounds and facts.covered and facts.crs else None
    found = None if ids is None else [(ids[0], "in", ids[1].tolist())]
    try:
        return gpd.read_parquet(path, columns=wanted, bbox=box, filters=found, **READ_OPTIONS)
    except shapely.errors.GEOSException:
        return gpd.read_parquet(_repaired_parquet(path, facts.geometry), columns=wanted, filters=found)


@dataclass(frozen=True)
class ParquetFacts:
    """What the metadata of a GeoParquet file say."""

    columns: tuple[str, ...]
    geometry: str
    """Name of the column of its geometry."""
    crs: Any
    """As written there; None where the file states that it is unknown."""
    covered: bool
    """Whether rows can be found by box."""
    extent: Bounds | None
    """In the CRS of the file; None if not known."""


def parquet_facts(path: Path) -> ParquetFacts:
    """Read the metadata of a GeoParquet file.

    Raises
    ------
    ValueError, OSError
        The file cannot be read or is not GeoParquet.
    """
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    schema = metadata.schema.to_arrow_schema()
    geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    name = geo.get("primary_column", "geometry")
    described = geo.get("columns", {}).get(name, {})
    covering = described.get("covering", {}).get("bbox")
    # Without `crs` GeoParquet means longitude and latitude of WGS84.
    crs = described.get("crs", CRS)
    return ParquetFacts(
        columns=tuple(schema.names),
        geometry=name,
        crs=CRS if (crs or {}) != CRS and (crs or {}).get("id") in _GEOGRAPHIC_IDS else crs,
        covered=covering is not None,
        extent=_extent(described.get("bbox"), covering, metadata),
    )


def _extent(stated: list[float] | None, covering: dict[str, list[str]] | None, metadata: pq.FileMetaData) -> Any:
    """Return the box that a file states, or that the statistics of its covering column give."""
    if stated:
        half = len(stated) // 2
        return (stated[0], stated[1], stated[half], stated[half + 1])
    if covering is None:
        return None
    sides: dict[str, list[float]] = {".".join(path): [] for path in covering.values()}
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema in sides:
                if not column.is_stats_set or not column.statistics.has_min_max:
                    return None
                sides[column.path_in_schema] += [column.statistics.min, column.statistics.max]
    if not all(sides.values()):
        return None
    west, south, east, north = (sides[".".join(covering[side])] for side in ("xmin", "ymin", "xmax", "ymax"))
    return (min(west), min(south), max(east), max(north))


def _repaired_parquet(path: Path, geometry: str) -> io.BytesIO:
    """Return a GeoParquet file again, in memory, with its shapes repaired."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    wkb = np.array(table[geometry].to_pylist(), dtype=object)
    first = next((name for name in table.schema.names if name != geometry), None)
    shapes = _repaired(wkb, path, None if first is None else (first, table[first].to_pylist()))
    column = table.schema.names.index(geometry)
    table = table.set_column(column, table.schema.field(geometry), [pa.array(shapely.to_wkb(shapes), pa.binary())])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    buffer.seek(0)
    return buffer


def from_wkb(wkb: NDArray[Any], path: str | Path) -> NDArray[Any]:
    """Return the shapes of well-known binary, repaired where they must be, with a message."""
    try:
        return np.asarray(shapely.from_wkb(wkb), dtype=object)
    except shapely.errors.GEOSException:
        return _repaired(wkb, path, None)


def _repaired(wkb: NDArray[Any], path: str | Path, names: tuple[str, Sequence[Any]] | None) -> NDArray[Any]:
    shapes = np.full(len(wkb), None, dtype=object)
    repaired = []
    for row, each in enumerate(wkb):
        named = f"row {row}" if names is None else f"{names[0]} {names[1][row]}"
        try:
            shapes[row] = shapely.from_wkb(each)
        except shapely.errors.GEOSException:
            try:
                shapes[row] = shapely.from_wkb(repair_wkb(each))
            except (ValueError, shapely.errors.GEOSException) as error:
                raise ValueError(f"the geometry of {named} cannot be read: {error}") from error
            repaired.append(named)
    if repaired:
        say(
            f"{len(repaired)} shapes of {path} repaired, lines of one vertex or open rings: {some(repaired)}.",
            count=len(repaired),
        )
    return shapes
