"""backbone: reaches and catchments of a basin, from TDX-Hydro's files or from elevation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.events import progress, say
from headwater.core.files import atomic_path
from headwater.geo.basins import basin_polygon
from headwater.geo.grid import GLO30_ROWS_PER_DEGREE, Bounds, RasterGrid
from headwater.geo.longitudes import middle_longitudes, shift_longitudes, wraps_to
from headwater.geo.plan import Plan, read_plan
from headwater.raster import raster_grid, read_window
from headwater.raster.elevation_values import check_elevation
from headwater.waterways.backbone.tdx import Backbone, write_backbone
from headwater.waterways.backbone.tdx_files import read_tdx
from headwater.waterways.settings import BackboneSettings

READ_BEYOND_DEGREES = 0.25
"""How far beyond the plan's cells catchments are read: more than the neighbors of a cell's own reach."""


def backbone(
    plan: Path,
    polygons: Sequence[Path],
    out_reaches: Path,
    out_catchments: Path,
    *,
    settings: BackboneSettings,
    streams: Path | None = None,
    catchments: Path | None = None,
    elevation: Sequence[Path] = (),
    max_px: int = 100_000_000,
) -> None:
    """Write reaches.parquet and catchments.parquet.

    Parameters
    ----------
    plan : Path
        plan.json of the basin.
    polygons : sequence of Path
        HydroBASINS polygons, for kind dem.
    out_reaches, out_catchments : Path
        Files to write.
    settings : BackboneSettings
        Kind "tdx": from `streams` and `catchments`; "dem": from `elevation`. Its patterns of files are not used here.
    streams, catchments : Path, optional
        Files of TDX-Hydro, for kind tdx. All their links are taken, since outlets, orders and the places of links
        without geometry depend on those around. Catchments far from the plan's cells, of which there is no raster, are
        not read where the format allows; their reaches stay whole.
    elevation : sequence of Path
        elevation.tif of the cells, for kind dem.
    max_px : int
        Largest grid that flow is followed on; the elevation of larger basins is averaged to coarser pixels.

    Raises
    ------
    InputError
        A file is missing or is not what it should be.
    """
    if settings.kind == "auto":
        raise InputError("Kind auto is decided by a run; this step needs the result.", "Give kind tdx or dem.")
    the_plan = read_plan(plan)
    cells = [(cell.name, cell.bounds) for cell in the_plan.cells]
    if settings.kind == "tdx":
        if streams is None or catchments is None:
            raise InputError("Kind tdx needs streams and catchments.", "Give both files, or take kind dem.")
        made = read_tdx(streams, catchments, cells=cells, bounds=_read_bounds(the_plan))
    else:
        made = _from_elevation(the_plan, polygons, elevation, cells, settings.min_area_km2, max_px)
    with atomic_path(out_reaches) as reaches_path, atomic_path(out_catchments) as catchments_path:
        write_backbone(made, reaches_path, catchments_path)


def _read_bounds(plan: Plan) -> Bounds | None:
    """Return the box that catchments are read in; none for cells at 180 degrees, where files differ in longitude."""
    west, south, east, north = plan.bounds
    more = READ_BEYOND_DEGREES
    if west - more <= -180 or east + more >= 180:
        return None
    return (west - more, south - more, east + more, north + more)


def _from_elevation(
    plan: Plan,
    polygons: Sequence[Path],
    elevation: Sequence[Path],
    cells: Sequence[tuple[str, Bounds]],
    min_area_km2: float,
    max_px: int,
) -> Backbone:
    if not polygons or not elevation:
        raise InputError("Kind dem needs polygons and elevation.", "Give the basin's polygon and the cells' elevation.")
    grid = common_grid(plan.bounds_in_one_piece, max_px=max_px)
    parts = shapely.get_parts(basin_polygon(polygons, plan.basin_id))
    # Parts beyond 180 degrees are moved next to the others.
    middle = (grid.bounds[0] + grid.bounds[2]) / 2
    polygon = shapely.union_all(shift_longitudes(parts, wraps_to(middle_longitudes(parts), middle)))
    # Not needed with TDX-Hydro, and a second to load.
    from headwater.waterways.backbone.dem import dem_backbone
    from headwater.waterways.lines.burn import burn_polygon

    inside = burn_polygon(polygon, grid.transform, grid.shape)
    values = np.full(grid.shape, np.nan, dtype=np.float32)
    for path in progress(list(elevation), description="backbone"):
        check_elevation(Path(path))
        _fill_in(values, grid, Path(path))
    missing = inside & np.isnan(values)
    if missing.any():
        say(f"{int(missing.sum())} pixels of the basin without elevation are left out.", pixels=int(missing.sum()))
    return dem_backbone(values, inside, grid, min_area_km2=min_area_km2, cells=cells)


def common_grid(bounds: Bounds, *, max_px: int) -> RasterGrid:
    """Return one grid over cells of all latitudes, near GLO-30's posting or coarser, with nearly square pixels.

    Parameters
    ----------
    bounds : (west, south, east, north)
        Degrees.
    max_px : int
        Largest number of pixels.
    """
    west, south, east, north = bounds
    stretch = max(1, round(1 / math.cos(math.radians((south + north) / 2))))
    coarser = 1
    while True:
        dy = coarser / GLO30_ROWS_PER_DEGREE
        dx = dy * stretch
        width, height = math.ceil((east - west) / dx - 1e-6), math.ceil((north - south) / dy - 1e-6)
        if width * height <= max_px or min(width, height) <= 1:
            return RasterGrid(west=west, north=north, dx=dx, dy=dy, width=width, height=height)
        coarser += 1


def _fill_in(values: NDArray[np.float32], grid: RasterGrid, path: Path) -> None:
    """Read one cell's elevation into the pixels that have none yet."""
    own = raster_grid(path)
    found = grid.window_of(own)
    if found is None:
        # Elevation of a cell that does not touch the basin's cells.
        return
    window, degrees = found
    row, column = round((grid.north - window.north) / grid.dy), round((window.west - grid.west) / grid.dx)
    resampling = "average" if grid.dy > 1.5 * own.dy else "bilinear"
    read, valid = read_window(path, window.shifted(-degrees), resampling=resampling)
    part = values[row : row + window.height, column : column + window.width]
    take = valid & np.isnan(part)
    part[take] = read[take]
