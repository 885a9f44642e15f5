"""Least-cost paths on the grid, searched from the mouth outwards against the flow."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

NO_CELL = -1
# Price of a pixel of length: decides among paths that cost nothing else, far below any real cost.
_PRICE_PER_PIXEL = 1e-3


@njit(cache=True)
def least_cost_paths(bits: Any, elevation: Any, passable: Any, mouths: Any, limit: float, outward: bool = False) -> Any:
    """Find the cheapest way for water from every cell to the nearest mouth (Dijkstra, 8 neighbours).

    One step of flow from s to t rises by de = e_t - e_s and costs bits_s if de <= 0, else max(bits_s * de, de)
    (Pierson & Mehrabi 2024, docs/explanation/method.md step 4), plus a thousandth of its length.
    Elevation that is NaN counts as level.

    Parameters
    ----------
    bits : (y, x) float
        Cost of a cell, -log2 of its scaled probability; infinite where no way leads through.
    elevation : (y, x) float
        Metres.
    passable : (y, x) bool
        Cells that may be used. Border cells of the array must be False.
    mouths : (y, x) bool
        Cells that cost nothing.
    limit : float
        Largest cost of a path.
    outward : bool
        Whether it is the rise away from the mouth that costs, not that of the flow.

    Returns
    -------
    cost : (y * x,) float64
        Of the path from a cell to its mouth; infinite where none is within the limit.
    downstream : (y * x,) int64
        Next cell of the path; the cell itself at a mouth, -1 where there is no path.
    order : (n,) int64
        The cells with a path, from the mouths upstream: a cell comes after its downstream cell.
    """
    height, width = bits.shape
    flat_bits, heights, usable, sources = bits.ravel(), elevation.ravel(), passable.ravel(), mouths.ravel()
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
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    lengths = np.array(
        [1.4142135623730951, 1.0, 1.4142135623730951, 1.0, 1.0, 1.4142135623730951, 1.0, 1.4142135623730951]
    )
    while len(heap) > 0:
        so_far, below = heappop(heap)
        if done[below]:
            continue
        done[below] = True
        order[count] = below
        count += 1
        for k in range(8):
            above = below + offsets[k]
            if not usable[above] or done[above]:
                continue
            step = flat_bits[above]
            rise = heights[above] - heights[below] if outward else heights[below] - heights[above]
            if rise > 0:
                step = max(step * rise, rise)
            step += _PRICE_PER_PIXEL * lengths[k]
            if so_far + step < cost[above] and so_far + step <= limit:
                cost[above] = so_far + step
                downstream[above] = below
                heappush(heap, (cost[above], np.int64(above)))
    return cost, downstream, order[:count]


def cost_bits(
    probability: NDArray[np.float32], *, threshold: float, floor: float, bits_below_floor: float
) -> NDArray[np.float64]:
    """Return the cost of a cell in bits, -log2 of its scaled probability.

    Parameters
    ----------
    probability : (y, x) float
        0 to 1.
    threshold, floor : float
        Probabilities scaled to 1 and to 0.
    bits_below_floor : float
        Price of a cell at or under the floor, and the highest price of a cell above it; infinite closes them.
    """
    scaled = np.clip((probability.astype(np.float64) - floor) / (threshold - floor), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        bits = np.abs(np.log2(scaled))
    return np.asarray(np.minimum(bits, bits_below_floor))
