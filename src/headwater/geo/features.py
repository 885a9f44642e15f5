"""Reading any table of features: GeoParquet, or whatever GDAL reads; lines and polygons that users provide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import InputError
from headwater.geo.grid import CRS, Bounds

# Libraries that read tables are imported where they are used: most jobs read none.
if TYPE_CHECKING:
    import geopandas as gpd
    from shapely.geometry.base import BaseGeometry

PARQUET_SUFFIXES = frozenset({".parquet", ".geoparquet"})
_GEOGRAPHIC_IDS = ({"authority": "EPSG", "code": 4326}, {"authority": "OGC", "code": "CRS84"})


def read_table(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    layer: str | None = None,
    content: str = "a table with geometry",
    remedy: str = "Give a GeoPackage or GeoParquet file.",
) -> gpd.GeoDataFrame:
    """Read a table with geometry: GeoParquet by its suffix, otherwise whatever GDAL reads.

    Parameters
    ----------
    path : Path
        File of one table.
    columns : sequence of str, optional
        Columns to read besides the geometry, those of them that exist; all if not given.
    bounds : (west, south, east, north), optional
        Degrees. Rows whose box is outside need not be read: they are skipped where the table is in EPSG:4326 and the
        format finds rows by box (GDAL's do, GeoParquet with a covering column does).
    layer : str, optional
        Layer of a file with several; not for GeoParquet.
    content, remedy : str
        What the table should be, and what to give instead, for messages.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    """
    import geopandas as gpd
    import pyogrio

    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.", remedy)
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            return _read_parquet(path, columns, bounds)
        box = bounds if bounds and pyogrio.read_info(path, layer=layer)["crs"] == CRS else None
        return gpd.read_file(path, bbox=box, columns=columns, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, OSError, LookupError) as error:
        # pyogrio raises an IndexError for truncated FlatGeobuf files.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} cannot be read as {content} ({reason}).", remedy) from error


def _read_parquet(path: Path, columns: Sequence[str] | None, bounds: Bounds | None) -> gpd.GeoDataFrame:
    import geopandas as gpd
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    name = geo.get("primary_column", "geometry")
    described = geo.get("columns", {}).get(name, {})
    # Without `crs` GeoParquet means longitude and latitude of WGS84.
    geographic = "crs" not in described or (described["crs"] or {}).get("id") in _GEOGRAPHIC_IDS
    return gpd.read_parquet(
        path,
        columns=None if columns is None else [*(c for c in columns if c in schema.names), name],
        bbox=bounds if bounds and geographic and "covering" in described else None,
    )


def read_lines(path: Path, *, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read lines with their columns, in EPSG:4326; rows without geometry are skipped.

    Raises
    ------
    InputError
        The file cannot be read, has several layers or no CRS, or contains other shapes than lines.
    """
    if layer is None and len(layers := _layers(path)) > 1:
        raise InputError(
            f"{path} has {len(layers)} layers: {', '.join(layers)}.",
            "Name the one with the lines, or give a file with one layer.",
        )
    table = read_table(path, layer=layer, content="lines")
    if table.crs is None:
        raise InputError(f"{path} has no coordinate reference system.", "Write its CRS into the file.")
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    if not table.geometry.geom_type.isin(("LineString", "MultiLineString")).all():
        raise InputError(f"{path} contains other shapes than lines.", "Give the true channels as lines.")
    return table.to_crs(CRS)


def read_polygons(path: Path) -> list[BaseGeometry]:
    """Read polygons, in EPSG:4326; rows without geometry are skipped.

    Raises
    ------
    InputError
        The file cannot be read, has no CRS, or contains other shapes.
    """
    table = read_table(path, content="polygons")
    if table.crs is None:
        raise InputError(f"{path} has no coordinate reference system.", "Write its CRS into the file.")
    shapes = [shape for shape in table.to_crs(CRS).geometry if shape is not None and not shape.is_empty]
    if not shapes or any(shape.geom_type not in ("Polygon", "MultiPolygon") for shape in shapes):
        raise InputError(f"{path} contains other shapes than polygons.", "Give an area as polygons.")
    return shapes


def _layers(path: Path) -> list[str]:
    """Return the names of a file's layers; none where it cannot be read, or is GeoParquet."""
    import pyogrio

    if path.suffix.lower() in PARQUET_SUFFIXES:
        return []
    try:
        return [str(name) for name, _ in pyogrio.list_layers(path)]
    except pyogrio.errors.DataSourceError:
        return []
