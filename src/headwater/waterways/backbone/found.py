"""Where found water flows without a backbone: reaches and catchments along it, from elevation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import geopandas as gpd
import numpy as np
import pyflwdir
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from headwater.core.elevations import refuse_no_elevation
from headwater.core.errors import InputError
from headwater.geo.geodesy import geodesic_length_m
from headwater.geo.grid import CRS, Bounds, RasterGrid
from headwater.geo.longitudes import align_with_outlets, middle_longitudes, shift_longitudes, wraps_to
from headwater.waterways.backbone.dem import NODATA, Flow, entering, flow, line_of, links_of, polygons_of, sea
from headwater.waterways.backbone.stream_columns import SOURCE_ELEVATION, SOURCE_FOUND
from headwater.waterways.backbone.tdx import NO_LINK, Backbone, assemble, cell_of_points
from headwater.waterways.orders import strahler_orders

BURN_M = 10.0
"""How much deeper found water is made: over narrow streams the elevation is that of trees and bridges."""
MIN_CLOSED_LAKE_PX = 500
"""Connected level cells of found water from which a lake may be without outlet."""
MAX_SPILL_M = 20.0
"""A lake that must rise more to flow over is without outlet: streams end there. Dams are lower above their water."""


def found_backbone(
    elevation: NDArray[np.float32],
    found: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    grid: RasterGrid,
    *,
    min_area_km2: float,
    cells: Iterable[tuple[str, Bounds]] = (),
    around: NDArray[np.bool_] | None = None,
) -> Backbone:
    """Make the reaches that found water may flow along, and the catchments of everything that flows out of an area.

    Water flows along the elevation, in which found water is lowered by `BURN_M`. Where it flows from `min_area_km2` on
    are reaches, which end at the edge of the area, at the sea or in a lake without outlet. What flows out elsewhere has
    a reach of length 0 at the place where it does, if water is found in it. `headwater.waterways.network.build` keeps
    of the reaches what found water flows along.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where missing.
    found : (y, x) bool
        Found water.
    inside : (y, x) bool
        Cells of the area.
    grid : RasterGrid
        Of all, EPSG:4326.
    min_area_km2 : float
        Upstream area from which found water flows along a reach; below, it is followed as it is found.
    cells : iterable of (name, bounds)
        Cells of the plan.
    around : (y, x) bool, optional
        The area with land around it, whose flow is known too, if the edge of the area is no divide: `upstream_cut` is
        then true where a reach gets water from beyond it.

    Returns
    -------
    Backbone
        Numbered 1..N in the order of their first cell, row by row. `source` is SOURCE_FOUND or SOURCE_ELEVATION.

    Raises
    ------
    InputError
        There is no land with elevation, or an elevation cannot be one.
    """
    if min_area_km2 <= 0:
        raise InputError(f"min_area_km2 is {min_area_km2}.", "Give the upstream area at which reaches begin, above 0.")
    known = inside if around is None else around
    refuse_no_elevation(np.where(known, elevation, np.nan), "The elevation")
    ocean = sea(elevation)
    usable = known & np.isfinite(elevation) & ~ocean
    usable &= ~closed_lakes(elevation, found, usable)
    if not (usable & inside).any():
        raise InputError("The area has no land with elevation.", "Check its polygon and the elevation.")
    water = flow(np.where(found, elevation - np.float32(BURN_M), elevation), usable, grid)
    links = _Links(water, usable & inside, usable, found, min_area_km2)
    lines = np.array([line_of(water.downstream_index, s, e, grid) for s, e in links.ends], dtype=object)
    lines = align_with_outlets(lines, links.downstream) if len(lines) else lines
    catchments = polygons_of(links.of_cell.reshape(grid.shape), grid)
    areas = catchments.geometry.to_numpy()
    of_links = middle_longitudes(lines)[catchments["link_id"].to_numpy() - 1]
    catchments = catchments.set_geometry(shift_longitudes(areas, wraps_to(middle_longitudes(areas), of_links)), crs=CRS)
    cut = np.zeros(len(lines), dtype=bool)
    if around is not None:
        at_edge = links.of_cell[entering(water, usable, ocean)]
        cut = links.entered | np.isin(np.arange(len(lines)), at_edge[at_edge >= 0])
    ids = np.arange(1, len(lines) + 1)
    tail = np.array([line.coords[-1] for line in lines], dtype=np.float64).reshape(-1, 2)
    reaches = gpd.GeoDataFrame(
        {
            "link_id": ids,
            "downstream_link_id": np.where(links.downstream >= 0, links.downstream + 1, NO_LINK),
            "strahler_order": strahler_orders(links.downstream, np.zeros(len(ids), np.int32)),
            "upstream_area_km2": water.upstream_area_km2[links.last],
            "length_m": geodesic_length_m(lines),
            "has_catchment": np.isin(ids, catchments["link_id"].to_numpy()),
            # What flows in from beyond is not found: sources have order 1, and the mark.
            "upstream_outside": False,
            "upstream_cut": cut,
            "source": np.where(links.found, SOURCE_FOUND, SOURCE_ELEVATION).astype(object),
            "cell": cell_of_points(tail, cells),
        },
        geometry=lines,
        crs=CRS,
    )
    return assemble(reaches, catchments, {})


def closed_lakes(
    elevation: NDArray[np.float32], found: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the found water of lakes without outlet: level, large, and far below the lowest place of their rim.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters.
    found, usable : (y, x) bool
        Found water; land with elevation, at whose edge water leaves.
    """
    level = found & usable & (ndimage.maximum_filter(elevation, 3) == ndimage.minimum_filter(elevation, 3))
    labels, count = ndimage.label(level, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = np.flatnonzero(sizes[1:] >= MIN_CLOSED_LAKE_PX) + 1
    if not len(large):
        return np.zeros(elevation.shape, dtype=bool)
    land = np.where(usable, elevation, NODATA).astype(np.float32)
    filled = pyflwdir.dem.fill_depressions(land, nodata=NODATA, outlets="edge")[0]
    first = ndimage.find_objects(labels)
    closed = []
    for label in large:
        place = first[label - 1]
        own = labels[place] == label
        if (filled[place] - land[place])[own].min() > MAX_SPILL_M:
            closed.append(label)
    lakes = np.isin(labels, closed)
    # Its shore too.
    return np.asarray(ndimage.binary_dilation(lakes, np.ones((3, 3), dtype=bool)) & found & usable)


class _Links:
    """Links of the cells of an area, and the one that each cell drains to."""

    def __init__(
        self,
        water: Flow,
        area: NDArray[np.bool_],
        usable: NDArray[np.bool_],
        found: NDArray[np.bool_],
        min_area_km2: float,
    ) -> None:
        inside, wet, next_cell = area.ravel(), found.ravel(), water.downstream_index
        stream = usable.ravel() & (water.upstream_area_km2 >= min_area_km2)
        flooded, begins = _wet_streams(next_cell, water.sequence, stream & inside, wet)
        # A link is inside of the area or outside of it.
        rows = np.flatnonzero(stream)
        across = rows[stream[next_cell[rows]] & (inside[next_cell[rows]] != inside[rows])]
        begins[next_cell[across]] = True
        of_cell, start, last, junction = links_of(next_cell, stream, begins)
        kept = inside[start] if len(start) else np.zeros(0, dtype=bool)
        number = np.append(np.cumsum(kept) - 1, -1)
        number[:-1][~kept] = -1
        below = np.where(junction >= 0, of_cell[np.maximum(junction, 0)], -1)
        entered = np.zeros(len(start), dtype=bool)
        entered[below[~kept & (below >= 0)]] = True
        of_cell = number[of_cell]
        of_cell, outlets = spread_and_end(next_cell, water.sequence, of_cell, inside, int(kept.sum()))
        # Of what flows out without a reach, that in which water is found.
        trunk = int(kept.sum())
        counted = np.bincount(of_cell[wet & (of_cell >= trunk)] - trunk, minlength=len(outlets)) > 0
        renumbered = np.concatenate([np.arange(trunk), np.where(counted, trunk + np.cumsum(counted) - 1, -1), [-1]])
        of_cell, outlets = renumbered[of_cell], outlets[counted]
        flows_on = kept[below] & (below >= 0) if len(start) else kept
        downstream = np.where(flows_on, number[below], -1)[kept]
        end = np.where(flows_on, junction, last)[kept]
        # In the order of their first cells.
        first, final = np.concatenate([start[kept], outlets]), np.concatenate([end, outlets])
        order = np.argsort(first, kind="stable")
        place = np.append(np.argsort(order, kind="stable"), -1)
        self.of_cell: NDArray[np.int64] = place[of_cell]
        self.downstream: NDArray[np.int64] = place[np.concatenate([downstream, np.full(len(outlets), -1)])[order]]
        self.ends = list(zip(first[order].tolist(), final[order].tolist(), strict=True))
        self.last: NDArray[np.int64] = np.concatenate([last[kept], outlets])[order]
        self.entered: NDArray[np.bool_] = np.append(entered[kept], np.zeros(len(outlets), dtype=bool))[order]
        self.found: NDArray[np.bool_] = np.append(flooded[start[kept]], np.zeros(len(outlets), dtype=bool))[order]


@njit(cache=True)
def _wet_streams(downstream: Any, sequence: Any, stream: Any, wet: Any) -> Any:
    """Return which stream cells have found water on them or upstream along the streams, and where it begins."""
    flooded = np.zeros(len(stream), np.bool_)
    # Up- to downstream.
    for place in range(len(sequence) - 1, -1, -1):
        cell = sequence[place]
        if stream[cell]:
            flooded[cell] = flooded[cell] or wet[cell]
            if flooded[cell] and downstream[cell] >= 0 and stream[downstream[cell]]:
                flooded[downstream[cell]] = True
    begins = flooded & wet
    for cell in range(len(stream)):
        following = downstream[cell]
        if stream[cell] and flooded[cell] and following >= 0 and following != cell:
            begins[following] = False
    return flooded, begins


@njit(cache=True)
def spread_and_end(downstream: Any, sequence: Any, link_of_cell: Any, inside: Any, count: int) -> Any:
    """Give every cell of the area its link; what leaves it elsewhere gets numbers from `count` on, by last cell."""
    outlets = [np.int64(0) for _ in range(0)]
    # Down- to upstream.
    for cell in sequence:
        if not inside[cell]:
            link_of_cell[cell] = -1
        elif link_of_cell[cell] < 0:
            following = downstream[cell]
            if following == cell or following < 0 or not inside[following]:
                link_of_cell[cell] = count + len(outlets)
                outlets.append(np.int64(cell))
            else:
                link_of_cell[cell] = link_of_cell[following]
    return link_of_cell, np.array(outlets)
