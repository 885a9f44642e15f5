"""Thinned water to a forest of lines, each flowing to the reach.

Source: docs/explanation/method.md, vectorization steps 7 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from headwater.waterways.lines.neighbors import is_node, offsets_by_row, removable_rings, water_ring
from headwater.waterways.published.connect import NO_CELL, least_cost_paths

SMALL_HOLE_PX = 20
"""Holes under this size are filled."""
FLAT_HOLE_PX = 400
"""Holes under this size are filled if they are flat."""
FLAT_HOLE_RELIEF_M = 4.0
TO_REACH = -1
"""Downstream line of a line that ends at the reach."""


def fill_holes(
    water: NDArray[np.bool_], inside: NDArray[np.bool_], elevation: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Fill small holes of land, and larger ones that are flat.

    Parameters
    ----------
    water, inside : (y, x) bool
        Water; cells that may become water. A hole with cells outside stays.
    elevation : (y, x) float32
        Meters.
    """
    # Land is 4-connected where water is 8-connected.
    labels, count = ndimage.label(~water)
    if count == 0:
        return water
    numbers = np.arange(count + 1)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    relief = ndimage.maximum(elevation, labels, numbers) - ndimage.minimum(elevation, labels, numbers)
    fill = (sizes < SMALL_HOLE_PX) | ((sizes < FLAT_HOLE_PX) & (np.asarray(relief) < FLAT_HOLE_RELIEF_M))
    fill[0] = False
    fill[np.unique(labels[~inside])] = False
    return np.asarray(water | fill[labels])


def thin(water: NDArray[np.bool_], elevation: NDArray[np.float32], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin water to lines one cell wide, from the highest cell down.

    A cell is removed if that neither splits water nor opens a hole nor shortens an end (cells with at most one neighbor
    stay). At equal height the cell nearest to land is removed first, so that lines run in the middle of flat water.

    Parameters
    ----------
    water : (y, x) bool
        Water, 8-connected. Border cells of the array must be False.
    elevation : (y, x) float32
        Meters, without NaN.
    keep : (y, x) bool
        Cells that always stay (the reach).

    Returns
    -------
    (y, x) bool
        The lines: as many 8-connected components, and as many holes, as `water` has.
    """
    depth = ndimage.distance_transform_edt(water)
    thinned: NDArray[np.bool_] = _thin(
        water.copy(), np.ascontiguousarray(elevation, np.float64), np.asarray(depth, np.float64), keep
    )
    return thinned


@njit(cache=True)
def _thin(water: Any, elevation: Any, depth: Any, keep: Any) -> Any:
    height, width = water.shape
    flat, heights, depths, stays = water.ravel(), elevation.ravel(), depth.ravel(), keep.ravel()
    removable = removable_rings()[1]
    heap = [(0.0, 0.0, np.int64(0))]
    heap.pop()
    for start in range(height * width):
        if flat[start] and not stays[start] and removable[water_ring(flat, start, width)]:
            heappush(heap, (-heights[start], depths[start], np.int64(start)))
    offsets = offsets_by_row(width)
    while len(heap) > 0:
        cell = heappop(heap)[2]
        if not flat[cell] or not removable[water_ring(flat, cell, width)]:
            continue
        flat[cell] = False
        for k in range(8):
            other = cell + offsets[k]
            # What waited inside, or stayed because it connected others, is tested again.
            if flat[other] and not stays[other] and removable[water_ring(flat, other, width)]:
                heappush(heap, (-heights[other], depths[other], np.int64(other)))
    return flat.reshape(height, width)


@dataclass(frozen=True)
class Traces:
    """Lines of cells between junctions, drawn downstream."""

    cells: list[NDArray[np.int64]]
    """Flat indices of each line's cells; a line that flows into another one ends with the other's first cell."""
    downstream: NDArray[np.int64]
    """Index of the line each flows into; TO_REACH where it ends next to the reach."""


def trace(
    lines: NDArray[np.bool_], reach: NDArray[np.bool_], elevation: NDArray[np.float32], *, min_component_px: int
) -> Traces:
    """Make a forest of thinned water and cut it into lines between junctions.

    Every cell flows down the path of least rise to the reach (cost max(0, rise)). What is on no path from a node,
    that is from an end or a junction, is dropped: rings open there. Ends under `min_component_px` cells are dropped.

    Parameters
    ----------
    lines : (y, x) bool
        Thinned water with the reach. Border cells of the array must be False.
    reach : (y, x) bool
        Cells of the reach.
    elevation : (y, x) float32
        Meters.
    min_component_px : int
        Shortest end kept, in cells from its tip to the junction.
    """
    free = np.zeros(lines.shape)
    _, downstream, order = least_cost_paths(free, elevation, lines, reach, np.inf)
    kept = _kept(lines, reach, downstream, order, min_component_px)
    flat_reach = reach.ravel()
    sources = np.flatnonzero(kept & ~flat_reach)
    inflows = np.bincount(downstream[sources], minlength=kept.size)
    starts = sources[inflows[sources] != 1]
    number = np.full(kept.size, NO_CELL, dtype=np.int64)
    number[starts] = np.arange(len(starts))
    cells: list[NDArray[np.int64]] = []
    into = np.full(len(starts), TO_REACH, dtype=np.int64)
    for i, start in enumerate(starts):
        line = [int(start)]
        cell = int(downstream[start])
        while not flat_reach[cell]:
            line.append(cell)
            if number[cell] != NO_CELL:
                into[i] = number[cell]
                break
            cell = int(downstream[cell])
        cells.append(np.array(line, dtype=np.int64))
    return Traces(cells, into)


@njit(cache=True)
def _kept(lines: Any, reach: Any, downstream: Any, order: Any, min_component_px: int) -> Any:
    """Find the cells on a path from a node, without short ends; flat bool."""
    width = lines.shape[1]
    flat, stop = lines.ravel(), reach.ravel()
    used = np.zeros(flat.size, np.bool_)
    longest = np.zeros(flat.size, np.int64)
    main = np.full(flat.size, -1, np.int64)
    # Up- to downstream: the length of the longest path upstream, and the inflow it comes by.
    for i in range(len(order) - 1, -1, -1):
        cell = order[i]
        if stop[cell]:
            continue
        used[cell] = used[cell] or is_node(water_ring(flat, cell, width))
        if not used[cell]:
            continue
        longest[cell] += 1
        below = downstream[cell]
        used[below] = True
        if longest[cell] > longest[below] or (longest[cell] == longest[below] and cell < main[below]):
            longest[below] = longest[cell]
            main[below] = cell
    # Down- to upstream: an inflow stays if it is the longest, or long enough by itself.
    kept = np.zeros(flat.size, np.bool_)
    for cell in order:
        if stop[cell]:
            kept[cell] = True
            continue
        below = downstream[cell]
        continues = main[below] == cell and not stop[below]
        kept[cell] = used[cell] and kept[below] and (continues or longest[cell] >= min_component_px)
    return kept
