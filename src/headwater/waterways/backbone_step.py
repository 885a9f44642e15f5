"""backbone: reaches and catchments of a basin, from TDX-Hydro's files, from elevation or for found water alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.core.events import progress, say
from headwater.core.files import atomic_path
from headwater.core.settings import default_of
from headwater.geo.basins import basin_polygon, is_area
from headwater.geo.grid import GLO30_ROWS_PER_DEGREE, Bounds, RasterGrid
from headwater.geo.longitudes import (
    FULL_CIRCLE,
    enclosing_box,
    end_of_span,
    middle_longitudes,
    shift_longitudes,
    wraps_to,
)
from headwater.geo.plan import BUFFER_KM, Plan, read_plan, with_buffer
from headwater.raster import raster_grid, read_window
from headwater.raster.elevation_values import check_elevation
from headwater.waterways.backbone.area import cut_to_area
from headwater.waterways.backbone.tdx import Backbone, write_backbone
from headwater.waterways.backbone.tdx_files import READ_BEYOND_DEGREES, read_tdx, read_tdx_area, report_repairs
from headwater.waterways.settings import BackboneSettings, VectorizeSettings

COAST_BLOCK_DEGREES = 2.0
"""Side of the blocks in which land that drains to no reach is looked for: about 4 GB. Water ends at a block's edge."""
COAST_MARGIN_PX = 60
SNAP_PER_DEGREE = 20
"""Edges of the grid of an area are on this fraction of a degree, which the smallest cells have too."""


def backbone(
    plan: Path,
    polygons: Sequence[Path],
    out_reaches: Path,
    out_catchments: Path,
    *,
    settings: BackboneSettings,
    streams: Path | Sequence[Path] | None = None,
    catchments: Path | Sequence[Path] | None = None,
    elevation: Sequence[Path] = (),
    probability: Sequence[Path] = (),
    threshold: float = default_of(VectorizeSettings, "threshold"),
    max_px: int = 100_000_000,
) -> None:
    """Write reaches.parquet and catchments.parquet.

    Parameters
    ----------
    plan : Path
        plan.json of the basin.
    polygons : sequence of Path
        Basin polygons, for kinds dem and none, and for parts of TDX-Hydro's regions.
    out_reaches, out_catchments : Path
        Files to write.
    settings : BackboneSettings
        Kind "tdx": from `streams` and `catchments`; "dem": from `elevation`; "none": from `elevation` and the found
        water of `probability`. Its patterns of files are not used here.
    streams, catchments : Path or sequence of Path, optional
        Files of TDX-Hydro, for kind tdx, one of each per region. Of an area, or where `settings.regions` names other
        regions than the basin itself, only the part in its polygon is read. Otherwise all their links are taken, since
        outlets, orders and the places of links without geometry depend on those around. Catchments far from the plan's
        cells, of which there is no raster, are not read where the format allows; their reaches stay whole.
    elevation : sequence of Path
        elevation.tif of the cells and those around an area, for kinds dem and none, and for coasts.
    probability : sequence of Path
        probability.tif of the cells, for kind none.
    threshold : float
        Probability from which a pixel is water, for kind none.
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
        made = _from_tdx(the_plan, polygons, _files(streams), _files(catchments), cells, settings)
    else:
        made = _from_elevation(the_plan, polygons, elevation, probability, cells, settings, threshold, max_px)
    if settings.coasts and settings.kind != "none" and elevation:
        made = _with_coasts(made, the_plan, polygons, elevation, settings, max_px)
    with atomic_path(out_reaches) as reaches_path, atomic_path(out_catchments) as catchments_path:
        write_backbone(made, reaches_path, catchments_path)


def _files(paths: Path | Sequence[Path] | None) -> list[Path]:
    return [] if paths is None else [paths] if isinstance(paths, Path) else list(paths)


def _from_tdx(
    plan: Plan,
    polygons: Sequence[Path],
    streams: Sequence[Path],
    catchments: Sequence[Path],
    cells: Sequence[tuple[str, Bounds]],
    settings: BackboneSettings,
) -> Backbone:
    if not streams or not catchments:
        raise InputError("Kind tdx needs streams and catchments.", "Give both files, or take kind dem.")
    if not settings.is_part_of_regions(plan.basin_id):
        if len(streams) > 1 or len(catchments) > 1:
            raise InputError(
                "Several files of streams are given for one region.", "Name backbone.regions, one for each."
            )
        return read_tdx(streams[0], catchments[0], cells=cells, bounds=_read_bounds(plan))
    if not polygons:
        raise InputError("A part of a region needs its polygon.", "Give --polygons.")
    polygon = basin_polygon(polygons, plan.basin_id)
    return read_tdx_area(streams, catchments, polygon, regions=settings.regions, cells=cells)


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
    probability: Sequence[Path],
    cells: Sequence[tuple[str, Bounds]],
    settings: BackboneSettings,
    threshold: float,
    max_px: int,
) -> Backbone:
    kind = settings.kind
    if not polygons or not elevation:
        raise InputError(
            f"Kind {kind} needs polygons and elevation.", "Give the basin's polygon and the cells' elevation."
        )
    if kind == "none" and not probability:
        raise InputError("Kind none needs probability.", "Give the cells' probability.")
    polygon = basin_polygon(polygons, plan.basin_id)
    around = with_buffer(polygon, BUFFER_KM) if is_area(plan.basin_id) else None
    grid = common_grid(plan.bounds_in_one_piece if around is None else _snapped(around), max_px=max_px)
    # Not needed with TDX-Hydro, and a second to load.
    from headwater.waterways.backbone.dem import dem_backbone
    from headwater.waterways.backbone.found import found_backbone

    inside = _burned(polygon, grid)
    known = inside if around is None else inside | _burned(around, grid)
    values = np.full(grid.shape, np.nan, dtype=np.float32)
    for path in progress(list(elevation), description="backbone"):
        check_elevation(Path(path))
        _fill_in(values, grid, Path(path))
    missing = inside & np.isnan(values)
    if missing.any():
        say(f"{int(missing.sum())} pixels of the basin without elevation are left out.", pixels=int(missing.sum()))
    min_area_km2 = settings.min_area_km2
    if kind == "none":
        found = _found_water(probability, grid, threshold) & inside
        return found_backbone(
            values,
            found,
            inside,
            grid,
            min_area_km2=min_area_km2,
            cells=cells,
            around=None if around is None else known,
        )
    if around is None:
        return dem_backbone(values, inside, grid, min_area_km2=min_area_km2, cells=cells)
    made = dem_backbone(values, known, grid, min_area_km2=min_area_km2, is_area=True)
    made = cut_to_area(made, polygon, cells)
    report_repairs(made)
    return made


def _with_coasts(
    backbone: Backbone,
    plan: Plan,
    polygons: Sequence[Path],
    elevation: Sequence[Path],
    settings: BackboneSettings,
    max_px: int,
) -> Backbone:
    """Add the links of land in no catchment, block by block of the plan."""
    if not polygons:
        raise InputError("The land that drains to no reach needs the basin's polygon.", "Give --polygons.")
    from headwater.waterways.backbone.coasts import FIRST_LINK_ID, coast_links, with_links

    polygon = basin_polygon(polygons, plan.basin_id)
    cells = [(cell.name, cell.bounds) for cell in plan.cells]
    for path in elevation:
        check_elevation(Path(path))
    shapes = backbone.catchments.geometry.to_numpy()
    tree = shapely.STRtree(shapes)
    parts = []
    next_id = FIRST_LINK_ID
    for bounds in progress(_blocks(plan, COAST_BLOCK_DEGREES), description="coasts"):
        grid = common_grid(bounds, max_px=max_px)
        uncovered = _burned(polygon, grid) & ~_covered(shapes, tree, grid)
        if not uncovered.any():
            continue
        rows, columns = _around(uncovered)
        uncovered = uncovered[rows, columns]
        grid = grid.crop(row=rows.start, column=columns.start, height=uncovered.shape[0], width=uncovered.shape[1])
        values = np.full(grid.shape, np.nan, dtype=np.float32)
        for path in elevation:
            _fill_in(values, grid, Path(path))
        part = coast_links(
            values,
            uncovered,
            grid,
            min_area_km2=settings.coast_min_area_km2,
            first_link_id=next_id,
            cells=cells,
        )
        next_id += len(part[0])
        parts.append(part)
    if next_id == FIRST_LINK_ID:
        return backbone
    say(
        f"{next_id - FIRST_LINK_ID:,} pieces of land drain to no reach; what is found there ends at their edge.",
        coasts=next_id - FIRST_LINK_ID,
    )
    return with_links(backbone, parts)


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns around all true pixels, with a margin in which the sea is recognized."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(int(places[0]) - COAST_MARGIN_PX, 0), int(places[-1]) + 1 + COAST_MARGIN_PX))
    return spans[0], spans[1]


def _blocks(plan: Plan, degrees: float) -> list[Bounds]:
    """Return the bounds of the cells of a plan in groups of about a block."""
    west, south = plan.bounds_in_one_piece[:2]
    groups: dict[tuple[int, int], list[Bounds]] = {}
    for cell in plan.cells:
        left, bottom, right, top = cell.bounds
        turn = 360.0 if left < west - 1e-9 else 0.0
        box = (left + turn, bottom, right + turn, top)
        groups.setdefault((int((box[0] - west) // degrees), int((bottom - south) // degrees)), []).append(box)
    return [
        (min(b[0] for b in group), min(b[1] for b in group), max(b[2] for b in group), max(b[3] for b in group))
        for _, group in sorted(groups.items())
    ]


def _covered(shapes: NDArray[Any], tree: shapely.STRtree, grid: RasterGrid) -> NDArray[np.bool_]:
    """Return the pixels of a grid in any catchment, at any of its longitudes."""
    covered = np.zeros(grid.shape, dtype=bool)
    west, south, east, north = grid.bounds
    for turns in (0, -1, 1):
        degrees = turns * FULL_CIRCLE
        there = np.unique(tree.query(shapely.box(west - degrees, south, east - degrees, north)))
        if len(there):
            moved = shift_longitudes(shapes[there], np.full(len(there), float(turns)))
            burned = rasterize(
                ((shape, 1) for shape in moved), out_shape=grid.shape, transform=grid.transform, dtype="uint8"
            )
            covered |= burned > 0
    return covered


def _snapped(area: BaseGeometry) -> Bounds:
    """Return the box around an area, in one piece at 180 degrees, that has the same pixels for cells of any size."""
    west, south, east, north = enclosing_box([part.bounds for part in shapely.get_parts(area)])
    edges = np.array([west, south, end_of_span(west, east), north]) * SNAP_PER_DEGREE
    low, high = np.floor(edges[:2]) / SNAP_PER_DEGREE, np.ceil(edges[2:]) / SNAP_PER_DEGREE
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _burned(polygon: BaseGeometry, grid: RasterGrid) -> NDArray[np.bool_]:
    """Return the pixels of a polygon; parts beyond 180 degrees are moved next to the others."""
    from headwater.waterways.lines.burn import burn_polygon

    parts = shapely.get_parts(polygon)
    middle = (grid.bounds[0] + grid.bounds[2]) / 2
    moved = shapely.union_all(shift_longitudes(parts, wraps_to(middle_longitudes(parts), middle)))
    return burn_polygon(moved, grid.transform, grid.shape)


def _found_water(probability: Sequence[Path], grid: RasterGrid, threshold: float) -> NDArray[np.bool_]:
    """Return the pixels that any pixel of water is in, so that narrow streams have no gaps."""
    found = np.zeros(grid.shape, dtype=bool)
    for path in probability:
        place = _place(grid, Path(path))
        if place is not None:
            window, part = place
            values, valid = read_window(Path(path), window, resampling="max")
            found[part] |= valid & (values >= np.uint8(math.ceil(threshold * 255)))
    return found


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


def _place(grid: RasterGrid, path: Path) -> tuple[RasterGrid, tuple[slice, slice]] | None:
    """Return the part of a grid that a raster covers, at the raster's longitudes, and its rows and columns."""
    found = grid.window_of(raster_grid(path))
    if found is None:
        # A cell that does not touch the grid.
        return None
    window, degrees = found
    row, column = round((grid.north - window.north) / grid.dy), round((window.west - grid.west) / grid.dx)
    return window.shifted(-degrees), (slice(row, row + window.height), slice(column, column + window.width))


def _fill_in(values: NDArray[np.float32], grid: RasterGrid, path: Path) -> None:
    """Read one cell's elevation into the pixels that have none yet."""
    place = _place(grid, path)
    if place is None:
        return
    window, there = place
    resampling = "average" if grid.dy > 1.5 * raster_grid(path).dy else "bilinear"
    read, valid = read_window(path, window, resampling=resampling)
    part = values[there]
    take = valid & np.isnan(part)
    part[take] = read[take]
