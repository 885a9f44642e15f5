"""Reading and checking lines and polygons that users provide."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.geo.grid import CRS


def read_lines(path: Path, *, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read lines with their columns, in EPSG:4326; rows without geometry are skipped.

    Raises
    ------
    InputError
        The file cannot be read, has several layers or no CRS, or contains other shapes than lines.
    """
    try:
        if path.suffix != ".parquet" and layer is None and len(layers := pyogrio.list_layers(path)) > 1:
            raise InputError(
                f"{path} has {len(layers)} layers: {', '.join(name for name, _ in layers)}.",
                "Name the one with the lines, or give a file with one layer.",
            )
        table = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path, layer=layer)
    except (DataSourceError, DataLayerError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as lines ({error}).", "Give a GeoPackage or GeoParquet.") from error
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
    try:
        table = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
    except (DataSourceError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as polygons ({error}).", "Give a GeoPackage or GeoParquet.") from error
    if table.crs is None:
        raise InputError(f"{path} has no coordinate reference system.", "Write its CRS into the file.")
    shapes = [shape for shape in table.to_crs(CRS).geometry if shape is not None and not shape.is_empty]
    if not shapes or any(shape.geom_type not in ("Polygon", "MultiPolygon") for shape in shapes):
        raise InputError(f"{path} contains other shapes than polygons.", "Give an area as polygons.")
    return shapes
