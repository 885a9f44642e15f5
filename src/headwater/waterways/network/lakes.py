"""Which lines meet lakes, such as those of HydroLAKES (Messager et al. 2016, doi:10.1038/ncomms13603)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.geo.features import (
    TableKind,
    box_to_read,
    choose_layer,
    extent_of,
    from_wkb,
    gdal_source,
    is_parquet,
    only,
    parquet_facts,
    read_table,
    refuse_cut_flatgeobuf,
    refuse_cut_shapefile,
    refuse_no_degrees,
    unreadable,
)
from headwater.geo.grid import CRS, Bounds
from headwater.geo.longitudes import SHIFTS, unwrap_shapes
from headwater.geo.repair import repaired_all

LAKES = TableKind("lake polygons", "Give a file of lake polygons.", "polygons")
_POLYGONS_AT_ONCE = 20_000


def meets_lake(lines: NDArray[Any], lakes: Path) -> NDArray[np.bool_]:
    """Return which lines meet a polygon of a file, its edge included.

    Parameters
    ----------
    lines : (n,) array of shapely LineString
        EPSG:4326; those near 180 degrees may be drawn beyond it.
    lakes : Path
        Polygons in any format GDAL reads, or GeoParquet, in any CRS. Those near the lines are read, part by part.
        Longitudes may be from -180 to 180 or from 0 to 360; a lake across 180 degrees may be cut there, jump, or
        reach beyond. Of collections, the polygons count.

    Raises
    ------
    InputError
        The file is missing, cannot be read, has no CRS, contains other shapes than polygons, or has several layers of
        polygons.
    """
    meets = np.zeros(len(lines), dtype=bool)
    check_lakes(lakes)
    if len(lines) == 0:
        return meets
    tree = shapely.STRtree(lines)
    bounds: Bounds = tuple(shapely.total_bounds(lines).tolist())
    read = near = 0
    for polygons in _polygons_near(Path(lakes), bounds):
        read += len(polygons)
        for shift in SHIFTS:
            shifted = _touching(polygons, shift, bounds)
            near += len(shifted)
            meets[tree.query(shifted, predicate="intersects")[1]] = True
    if near == 0:
        say(f"No polygon of {lakes} is near the network ({read} read).", polygons=read)
    return meets


def lakes_near(lakes: Path, bounds: Bounds) -> NDArray[Any]:
    """Return the valid polygons of a file, as `meets_lake` reads it, whose boxes meet a box; it may be beyond 180."""
    check_lakes(lakes)
    near = [_touching(polygons, shift, bounds) for polygons in _polygons_near(Path(lakes), bounds) for shift in SHIFTS]
    return np.concatenate(near) if near else np.empty(0, object)


def check_lakes(lakes: Path) -> None:
    """Refuse a file that cannot be one of lakes, by what its header says: before any work.

    Raises
    ------
    InputError
        The file is missing, cannot be read, has no CRS, or has no one layer of polygons.
    """
    if not Path(lakes).exists():
        raise InputError(f"{lakes} does not exist.", LAKES.remedy)
    with unreadable(lakes, LAKES):
        if is_parquet(Path(lakes)):
            crs = parquet_facts(lakes).crs
        else:
            source = gdal_source(Path(lakes), LAKES)
            layer = choose_layer(source, LAKES)
            refuse_cut_flatgeobuf(source, layer)
            crs = pyogrio.read_info(source, layer=layer)["crs"]
    if crs is None:
        raise InputError(f"{lakes} has no coordinate reference system.", "Write its CRS into the file.")


def _touching(polygons: NDArray[Any], shift: float, bounds: Bounds) -> NDArray[Any]:
    """Return valid polygons, shifted to the east, whose boxes meet a box."""
    west, south, east, north = shapely.bounds(polygons).T
    there = (west + shift <= bounds[2]) & (east + shift >= bounds[0]) & (south <= bounds[3]) & (north >= bounds[1])
    chosen = polygons[there]
    if shift and len(chosen):
        chosen = shapely.transform(chosen, lambda xy: xy + np.array([shift, 0.0]))
    broken = ~shapely.is_valid(chosen)
    chosen = chosen.astype(object)
    chosen[broken] = repaired_all(chosen[broken], "The lake")
    return np.asarray(chosen, dtype=object)


def _polygons_near(path: Path, bounds: Bounds) -> Iterator[NDArray[Any]]:
    """Yield polygons in EPSG:4326, each in one piece at 180 degrees; those without a shape are skipped."""
    parts = iter([read_table(path, LAKES, columns=(), bounds=bounds).geometry]) if is_parquet(path) else None
    for part in parts or _parts_from_gdal(path, bounds):
        with unreadable(path, LAKES):
            shapes = part[~(part.isna() | part.is_empty)].to_crs(CRS)
        polygons = only(np.asarray(shapes.to_numpy(), dtype=object), LAKES, str(path))
        with unreadable(path, LAKES):
            refuse_no_degrees(extent_of(polygons))
        with np.errstate(invalid="ignore"):
            polygons = polygons[np.isfinite(shapely.area(polygons)) & ~shapely.is_empty(polygons)]
        if len(polygons):
            first = shapely.get_x(shapely.get_point(shapely.get_exterior_ring(shapely.get_geometry(polygons, 0)), 0))
            boxes = shapely.bounds(polygons).reshape(-1, 4)
            # Wider than half the world: one that jumps, or was cut, at 180 degrees.
            wide = boxes[:, 2] - boxes[:, 0] > 180
            yield np.where(wide, unwrap_shapes(polygons, np.where(wide, first, boxes[:, 0])), polygons)


def _parts_from_gdal(path: Path, bounds: Bounds) -> Iterator[gpd.GeoSeries]:
    with unreadable(path, LAKES):
        source = gdal_source(path, LAKES)
        layer = choose_layer(source, LAKES)
        refuse_cut_shapefile(source, layer)
        info = pyogrio.read_info(source, layer=layer)
        extent = info["total_bounds"]
        near = box_to_read(bounds, info["crs"], None if extent is None else tuple(extent))
        rows = 0
        options: dict[str, Any] = {"layer": layer, "columns": [], "bbox": near, "use_pyarrow": True}
        with pyogrio.open_arrow(source, batch_size=_POLYGONS_AT_ONCE, **options) as (described, reader):
            for batch in reader:
                shapes = batch.column(batch.schema.get_field_index(described["geometry_name"] or "wkb_geometry"))
                rows += len(shapes)
                yield gpd.GeoSeries(from_wkb(shapes.to_numpy(zero_copy_only=False), path), crs=info["crs"])
        if near is None and 0 <= info["features"] != rows:
            raise ValueError(f"it has {info['features']} rows, of which {rows} can be read")
