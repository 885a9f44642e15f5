"""Water of a catchment and its connection to the reach (Pierson and Mehrabi 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from headwater.waterways.lines.neighbors import offsets_by_row

EIGHT = np.ones((3, 3), dtype=np.int8)
"""Structuring element of 8-connected water."""
NO_CELL = -1
"""Downstream cell of a cell without path."""
# Cost of a pixel of length: decides among paths that cost nothing else, far below any real cost.
_COST_PER_PIXEL = 1e-3


def drop_foreign(
    water: NDArray[np.bool_], inside: NDArray[np.bool_], reach: NDArray[np.bool_], elevation: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Drop components whose lowest cell and most of whose cells are outside the catchment, then all cells outside.

    Water that is connected to the reach inside the catchment always stays. The paper does not say so; but a river that
    is detected well is one component with the waters of all catchments downstream, whose lowest cell and most of whose
    cells are outside: taken literally, it would be dropped completely.

    Parameters
    ----------
    water : (y, x) bool
        Water of the catchment's box, its reach included.
    inside : (y, x) bool
        Cells of the catchment and of its reach.
    reach : (y, x) bool
        Cells of the reach.
    elevation : (y, x) float32
        Meters.

    Returns
    -------
    (y, x) bool
        Water inside that belongs to the catchment. Source: Pierson and Mehrabi (2024), vectorization.
    """
    within, _ = ndimage.label(water & inside, structure=EIGHT)
    on_reach = np.isin(within, np.setdiff1d(within[reach], [0]))
    labels, count = ndimage.label(water & ~on_reach, structure=EIGHT)
    if count == 0:
        return on_reach
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    outside = np.bincount(labels[~inside], minlength=count + 1)
    lowest = lowest_cells(labels, count, elevation)
    foreign = np.zeros(count + 1, dtype=bool)
    foreign[1:] = ~inside.ravel()[lowest] & (outside[1:] > 0.5 * sizes[1:])
    return np.asarray(on_reach | (water & inside & ~foreign[labels]))


def lowest_cells(labels: NDArray[np.int32], count: int, elevation: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the flat index of the cell of lowest 3x3 mean elevation of each component 1..count."""
    smooth = ndimage.uniform_filter(elevation.astype(np.float64), size=3, mode="nearest").ravel()
    cells = np.flatnonzero(labels.ravel())
    # By component, then height, then place: ties do not depend on how the sort works.
    order = np.lexsort((cells, smooth[cells], labels.ravel()[cells]))
    cells = cells[order]
    _, first = np.unique(labels.ravel()[cells], return_index=True)
    return cells[first].astype(np.int64)


def connect_to_reach(
    water: NDArray[np.bool_],
    reach: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    bits: NDArray[np.float64],
    elevation: NDArray[np.float32],
    *,
    limits: Sequence[float],
) -> NDArray[np.bool_]:
    """Join components of water to the reach by least-cost paths; components that are not reached are dropped.

    The search starts at the reach and at all that is joined to it, with growing limits: near water is joined first,
    and the search continues from it.

    Parameters
    ----------
    water : (y, x) bool
        Water, the reach included.
    reach, inside : (y, x) bool
        Cells of the reach; cells that paths may use.
    bits, elevation : (y, x) float
        See `least_cost_paths`.
    limits : sequence of float
        Largest cost of a path, growing.

    Returns
    -------
    (y, x) bool
        Water and paths, one 8-connected component with the reach if the reach is one.
    """
    labels, count = ndimage.label(water, structure=EIGHT)
    if count == 0:
        return water
    lowest = lowest_cells(labels, count, elevation)
    joined = np.zeros(count + 1, dtype=bool)
    joined[np.unique(labels[reach])] = True
    joined[0] = False
    connected = reach | joined[labels]
    flat = connected.ravel()
    for limit in limits:
        while not joined[1:].all():
            _, downstream, _ = least_cost_paths(bits, elevation, inside, connected, limit, True)
            found = [i for i in range(1, count + 1) if not joined[i] and downstream[lowest[i - 1]] >= 0]
            if not found:
                break
            for component in found:
                cell = lowest[component - 1]
                while not flat[cell]:
                    flat[cell] = True
                    # A path may run through water that is joined with it then.
                    joined[labels.ravel()[cell]] = True
                    cell = downstream[cell]
                joined[component] = True
            joined[0] = False
            connected |= joined[labels]
    return np.asarray(connected)


@njit(cache=True)
def least_cost_paths(
    bits: Any, elevation: Any, passable: Any, targets: Any, limit: float, outward: bool = False
) -> Any:
    """Find the cheapest path of water from every cell to the nearest target (Dijkstra, 8 neighbors).

    One step of flow from s to t rises by de = e_t - e_s and costs bits_s if de <= 0, else max(bits_s * de, de)
    (Pierson and Mehrabi 2024), plus a thousandth of its length. Elevation that is NaN counts as level.

    Parameters
    ----------
    bits : (y, x) float
        Cost of a cell, -log2 of its scaled probability; infinite where no path may lead through.
    elevation : (y, x) float
        Meters.
    passable : (y, x) bool
        Cells that may be used. Border cells of the array must be False.
    targets : (y, x) bool
        Cells that cost nothing.
    limit : float
        Largest cost of a path.
    outward : bool
        Whether the rise away from the target costs, instead of that of the flow.

    Returns
    -------
    cost : (y * x,) float64
        Of the path from a cell to its target; infinite where none is within the limit.
    downstream : (y * x,) int64
        Next cell of the path; the cell itself at a target, NO_CELL where there is no path.
    order : (n,) int64
        The cells with a path, from the targets upstream: a cell comes after its downstream cell.
    """
    height, width = bits.shape
    flat_bits, heights, usable, sources = bits.ravel(), elevation.ravel(), passable.ravel(), targets.ravel()
    cost = np.full(height * width, np.inf)
    downstream = np.full(height * width, NO_CELL, np.int64)
    done = np.zeros(height * width, np.bool_)
    order = np.empty(height * width, np.int64)
    count = 0
    heap = [(0.0, np.int64(0))]
    heap.pop()
    for cell in range(height * width):
        if sources[cell] and usable[cell]:
            cost[cell] = 0.0
            downstream[cell] = cell
            heappush(heap, (0.0, np.int64(cell)))
    offsets = offsets_by_row(width)
    lengths = np.array(
        [1.4142135623730951, 1.0, 1.4142135623730951, 1.0, 1.0, 1.4142135623730951, 1.0, 1.4142135623730951]
    )
    while len(heap) > 0:
        so_far, downstream_cell = heappop(heap)
        if done[downstream_cell]:
            continue
        done[downstream_cell] = True
        order[count] = downstream_cell
        count += 1
        for k in range(8):
            above = downstream_cell + offsets[k]
            if not usable[above] or done[above]:
                continue
            step = flat_bits[above]
            rise = heights[above] - heights[downstream_cell] if outward else heights[downstream_cell] - heights[above]
            if rise > 0:
                step = max(step * rise, rise)
            step += _COST_PER_PIXEL * lengths[k]
            if so_far + step < cost[above] and so_far + step <= limit:
                cost[above] = so_far + step
                downstream[above] = downstream_cell
                heappush(heap, (cost[above], np.int64(above)))
    return cost, downstream, order[:count]


def cost_bits(
    probability: NDArray[np.float32], *, threshold: float, floor: float, cost_below_floor: float
) -> NDArray[np.float64]:
    """Return the cost of a cell in bits, -log2 of its scaled probability.

    Parameters
    ----------
    probability : (y, x) float
        0 to 1.
    threshold, floor : float
        Probabilities scaled to 1 and to 0.
    cost_below_floor : float
        Cost of a cell at or under the floor, and the highest cost of a cell above it; infinite closes them.
    """
    scaled = np.clip((probability.astype(np.float64) - floor) / (threshold - floor), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        bits = np.abs(np.log2(scaled))
    return np.asarray(np.minimum(bits, cost_below_floor))
