"""Flow routing and stream-power erosion on a regular grid: kernels on arrays.

Depressions are filled by priority-flood with a small gradient (Barnes, Lehman & Mulla 2014,
doi:10.1016/j.cageo.2013.04.024), flow goes to the steepest of eight neighbors (O'Callaghan & Mark 1984), and the
stream-power law dz/dt = U - K A^m S is solved implicitly from the coast upstream (Braun & Willett 2013,
doi:10.1016/j.geomorph.2012.10.008), so large time steps are stable.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

OFFSETS = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)], np.int64)
"""(row, column) steps to the eight neighbors."""
SEA = -1
"""Receiver of sea cells."""


@njit(cache=True, nogil=True)
def _push(keys, cells, size, key, cell):  # type: ignore[no-untyped-def]
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        # Ties go by cell number, so the order does not depend on the heap's history.
        if keys[parent] < key or (keys[parent] == key and cells[parent] < cell):
            break
        keys[i], cells[i] = keys[parent], cells[parent]
        i = parent
    keys[i], cells[i] = key, cell
    return size + 1


@njit(cache=True, nogil=True)
def _pop(keys, cells, size):  # type: ignore[no-untyped-def]
    size -= 1
    key, cell = keys[size], cells[size]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (keys[right] < keys[child] or (keys[right] == keys[child] and cells[right] < cells[child])):
            child = right
        if key < keys[child] or (key == keys[child] and cell < cells[child]):
            break
        keys[i], cells[i] = keys[child], cells[child]
        i = child
    keys[i], cells[i] = key, cell
    return size


@njit(cache=True, nogil=True)
def fill_depressions(z: NDArray[np.float64], land: NDArray[np.bool_], gradient: float) -> NDArray[np.int32]:
    """Fill depressions of `z` (y, x; meters) in place and return the land cells from the coast upward.

    Sea cells (not `land`) hold 0 and receive the outflow; the grid's border must be sea. After the call every land
    cell has a neighbor lower by at least `gradient` meters that comes earlier in the returned order (flat cell
    numbers, int32).
    """
    height, width = z.shape
    offsets = OFFSETS
    seen = np.zeros((height, width), np.bool_)
    keys, cells = np.empty(height * width, np.float64), np.empty(height * width, np.int32)
    size, count, found = 0, 0, 0
    for r in range(1, height - 1):
        for c in range(1, width - 1):
            if not land[r, c]:
                continue
            count += 1
            for k in range(8):
                if not land[r + offsets[k, 0], c + offsets[k, 1]]:
                    seen[r, c] = True
                    z[r, c] = max(z[r, c], gradient)
                    size = _push(keys, cells, size, z[r, c], r * width + c)
                    break
    order = np.empty(count, np.int32)
    while size > 0:
        cell = cells[0]
        size = _pop(keys, cells, size)
        order[found] = cell
        found += 1
        r, c = cell // width, cell % width
        lowest = z[r, c] + gradient
        for k in range(8):
            rn, cn = r + offsets[k, 0], c + offsets[k, 1]
            if land[rn, cn] and not seen[rn, cn]:
                seen[rn, cn] = True
                z[rn, cn] = max(z[rn, cn], lowest)
                size = _push(keys, cells, size, z[rn, cn], rn * width + cn)
    return order[:found]


@njit(cache=True, nogil=True)
def receivers(
    z: NDArray[np.float64], order: NDArray[np.int32], dx: float, dy: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the neighbor that each cell drains to (flat number, SEA in the sea) and the distance to it in meters."""
    height, width = z.shape
    offsets = OFFSETS
    receiver = np.full(height * width, SEA, np.int32)
    distance_m = np.zeros(height * width, np.float32)
    steps = np.array([np.hypot(offsets[k, 0] * dy, offsets[k, 1] * dx) for k in range(8)])
    for i in range(order.size):
        cell = order[i]
        r, c = cell // width, cell % width
        steepest = -1.0
        for k in range(8):
            slope = (z[r, c] - z[r + offsets[k, 0], c + offsets[k, 1]]) / steps[k]
            if slope > steepest:
                steepest = slope
                receiver[cell] = cell + offsets[k, 0] * width + offsets[k, 1]
                distance_m[cell] = steps[k]
    return receiver, distance_m


@njit(cache=True, nogil=True)
def accumulate(
    order: NDArray[np.int32], receiver: NDArray[np.int32], source: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sum `source` (flat, per cell) down the flow: over each cell and all cells that drain through it."""
    total = source.astype(np.float64)
    for i in range(order.size - 1, -1, -1):  # from the ridges to the coast
        cell = order[i]
        total[receiver[cell]] += total[cell]
    return total.astype(np.float32)


class Flow(NamedTuple):
    """Flow over a terrain; arrays are flat."""

    order: NDArray[np.int32]
    """Land cells from the coast upward."""
    receiver: NDArray[np.int32]
    """The cell that each cell drains to."""
    distance_m: NDArray[np.float32]
    """Distance to the receiver."""
    area_m2: NDArray[np.float32]
    """Upstream area."""


class StreamPower(NamedTuple):
    """Terms of the stream-power law; arrays are flat."""

    uplift: NDArray[np.float32]
    """U, meters a unit of time."""
    erodibility: NDArray[np.float32]
    """K."""
    exponent: float
    """m."""
    max_slope: NDArray[np.float64]
    """Slope at which hillslopes fail, rise per run."""


@njit(cache=True, nogil=True)
def stream_power(z: NDArray[np.float64], flow: Flow, law: StreamPower, step: float) -> None:
    """Advance dz/dt = uplift - erodibility * area^exponent * slope by one implicit step, in place, coast to ridges.

    `z` is flat, in meters; slopes end at `law.max_slope`, where hillslopes fail.
    """
    for i in range(flow.order.size):
        cell = flow.order[i]
        downstream = z[flow.receiver[cell]]
        factor = law.erodibility[cell] * step * flow.area_m2[cell] ** law.exponent / flow.distance_m[cell]
        value = (z[cell] + law.uplift[cell] * step + factor * downstream) / (1 + factor)
        highest = downstream + law.max_slope[cell] * flow.distance_m[cell]
        z[cell] = min(max(value, downstream + 1e-3), highest)


@njit(cache=True, nogil=True)
def limit_slopes(z: NDArray[np.float64], max_slope: NDArray[np.float64], dx: float, dy: float) -> None:
    """Lower `z` (y, x; meters) in place until no slope to a neighbor exceeds `max_slope` (y, x; rise per run).

    Erosion limits slopes along the flow only: at a divide, a catchment with a long path to the sea would end in a
    cliff above one with a short path.  Two sweeps, as in a distance transform.
    """
    height, width = z.shape
    slant = np.hypot(dx, dy)
    for r in range(1, height - 1):
        for c in range(1, width - 1):
            s = max_slope[r, c]
            diagonal = min(z[r - 1, c - 1], z[r - 1, c + 1]) + s * slant
            z[r, c] = min(z[r, c], z[r - 1, c] + s * dy, z[r, c - 1] + s * dx, diagonal)
    for r in range(height - 2, 0, -1):
        for c in range(width - 2, 0, -1):
            s = max_slope[r, c]
            diagonal = min(z[r + 1, c - 1], z[r + 1, c + 1]) + s * slant
            z[r, c] = min(z[r, c], z[r + 1, c] + s * dy, z[r, c + 1] + s * dx, diagonal)


@njit(cache=True, nogil=True)
def travel_cost(cost: NDArray[np.float64], start: int) -> NDArray[np.float64]:
    """Least sum of `cost` (y, x; infinite where closed) over the cells of a path from `start` (Dijkstra)."""
    height, width = cost.shape
    offsets = OFFSETS
    total = np.full((height, width), np.inf)
    keys, cells = np.empty(9 * height * width, np.float64), np.empty(9 * height * width, np.int32)
    total[start // width, start % width] = 0.0
    size = _push(keys, cells, 0, 0.0, start)
    while size > 0:
        key, cell = keys[0], cells[0]
        size = _pop(keys, cells, size)
        r, c = cell // width, cell % width
        if key > total[r, c]:
            continue
        for k in range(8):
            rn, cn = r + offsets[k, 0], c + offsets[k, 1]
            if 0 <= rn < height and 0 <= cn < width:
                path_cost = key + cost[rn, cn] * np.hypot(offsets[k, 0], offsets[k, 1])
                if path_cost < total[rn, cn]:
                    total[rn, cn] = path_cost
                    size = _push(keys, cells, size, path_cost, rn * width + cn)
    return total
