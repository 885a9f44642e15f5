"""Components of water joined to their reach across gaps, along the cheapest path that water could take.

The search starts at a reach, and at all that is joined to it, and goes upstream. Where it meets the lowest cell of a
component at no more than that component's maximum cost, the component and the path are joined, and the search continues
from them: Prim's minimum spanning tree over components, with the cost of a step after Pierson and Mehrabi (2024).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import Labels
from headwater.waterways.lines.components import Components
from headwater.waterways.lines.neighbors import offsets_by_row
from headwater.waterways.settings import MAX_COST_BITS

UNITS_PER_BIT = 320
"""Costs of paths are integers of this unit, so that they add up exactly."""
VALLEY_RADIUS_PX = 5
"""Half side of the box whose mean elevation a cell is compared with."""
_VALLEY_PER_M = 0.6
_MAX_VALLEY_FACTOR = 8.0
# Cost of a meter that water would have to rise.
_BITS_PER_M = 10.0
# Cost of the length of a step, units.
_STRAIGHT, _DIAGONAL = 5, 7
# Units of cost that share a bucket of the queue.
_BUCKET = 32
_CLOSED, _UNREACHED = -1, 2**31 - 1
"""Path costs of cells that no path may enter (reaches, and what is joined), and of cells without a path yet."""
_NO_ENTRY, _NO_CELL = 0, -1
"""Rows of the queue and cells that stand for none."""


def cell_costs(
    probability: NDArray[np.uint8],
    elevation: NDArray[np.float32],
    *,
    threshold: float,
    floor: float,
    cost_below_floor: float,
) -> NDArray[np.float32]:
    """Return the cost of each cell, in bits: that of its probability, times a factor of the terrain.

    -log2 of the probability scaled from `floor` to `threshold`, at most `cost_below_floor`, the cost of cells at or
    under the floor. It halves for each 1.2 m that the cell is below the mean of the cells around it, and doubles for
    each 1.2 m above, by a factor of eight at most: gaps are crossed along valleys.

    Parameters
    ----------
    probability : (y, x) uint8
        p * 255; 0 where unknown.
    elevation : (y, x) float32
        Meters, multiples of 1 / 256 (sums are exact then, wherever the window begins).
    threshold, floor, cost_below_floor
        See `headwater.waterways.settings.Settings`.
    """
    scaled = np.clip((np.arange(256) / 255 - floor) / (threshold - floor), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        bits = np.minimum(np.abs(np.log2(scaled)), cost_below_floor).astype(np.float32)
    cost: NDArray[np.float32] = _cell_costs(probability, elevation, bits)
    return cost


@njit(cache=True)
def _cell_costs(probability: Any, elevation: Any, bits: Any) -> Any:
    height, width = probability.shape
    costs = np.empty((height, width), np.float32)
    columns = np.zeros(width)
    first, end = 0, 0
    for row in range(height):
        # Sums of the columns of the box, which moves down by a row.
        while end <= min(row + VALLEY_RADIUS_PX, height - 1):
            for column in range(width):
                columns[column] += elevation[end, column]
            end += 1
        while first < row - VALLEY_RADIUS_PX:
            for column in range(width):
                columns[column] -= elevation[first, column]
            first += 1
        total, left, right = 0.0, 0, 0
        for column in range(width):
            while right <= min(column + VALLEY_RADIUS_PX, width - 1):
                total += columns[right]
                right += 1
            while left < column - VALLEY_RADIUS_PX:
                total -= columns[left]
                left += 1
            cost = bits[probability[row, column]]
            if cost > 0:
                above = elevation[row, column] - total / ((end - first) * (right - left))
                cost *= min(max(np.exp(_VALLEY_PER_M * above), 1 / _MAX_VALLEY_FACTOR), _MAX_VALLEY_FACTOR)
            costs[row, column] = cost
    return costs


def max_costs(components: Components, *, per_px: float, max_cost: float, min_px: int) -> NDArray[np.float32]:
    """Return the highest cost, bits, at which each component is joined; 0 for components that are not joined.

    A long component is evidence of a stream that continues across a gap; a round one less so: twice its mean width is
    subtracted from its length.

    Parameters
    ----------
    components : Components
        Of the window.
    per_px : float
        Bits for each pixel of length.
    max_cost : float
        Highest cost for any component.
    min_px : int
        Components of fewer cells are not joined.
    """
    area = np.diff(components.start)
    length = components.extent_px - 2 * area / np.maximum(components.extent_px, 1) + 2
    cost = np.clip(per_px * length, 0, max_cost)
    return np.where(area >= min_px, cost, 0).astype(np.float32)


def connect(
    cell_cost: NDArray[np.float32],
    elevation: NDArray[np.float32],
    labels: Labels,
    components: Components,
    *,
    max_cost: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return the water that is joined to the reach of its catchment, with the paths across gaps; without the reaches.

    A step of flow costs the cost b of the cell it leaves; one that rises by de meters costs max(b * max(de, 1), 10 de).
    (The published cost, max(b * de, de), makes a rise of less than a meter cheaper than level ground, and lets detected
    water flow uphill rather than cross a gap.) A little is added for its length, so that free paths are short.

    Parameters
    ----------
    cell_cost : (y, x) float32
        Bits, see `cell_costs`.
    elevation : (y, x) float32
        Meters, without NaN; means of 3x3 cells, so that noise makes no rises.
    labels, components : Labels, Components
        Of the window; paths stay within a catchment.
    max_cost : (n,) float32
        Highest cost at which each component is joined, bits.

    Returns
    -------
    (y, x) bool
    """
    joined = np.zeros(cell_cost.shape, dtype=bool)
    ground = _Ground(
        labels.catchment.ravel(),
        cell_cost.ravel(),
        elevation.ravel(),
        offsets_by_row(cell_cost.shape[1]),
    )
    table = _Table(
        components.component.ravel(),
        components.cells,
        components.start,
        components.lowest,
        (np.nan_to_num(max_cost.astype(np.float64)).clip(0, MAX_COST_BITS) * UNITS_PER_BIT).astype(np.int32),
        components.anchored.copy(),
    )
    by_label = np.argsort(components.label, kind="stable")
    of_label = np.searchsorted(components.label[by_label], np.arange(labels.count + 1))
    reaches = _Reaches(labels.reach_mask.ravel(), labels.reach_cells, labels.reach_start)
    _connect(joined.ravel(), ground, table, by_label, of_label, reaches)
    # A cell that lost its catchment where two of them cross (`without_checkers`) flows nowhere.
    joined &= labels.catchment >= 0
    return joined


class _Ground(NamedTuple):
    """What a step depends on, of each cell."""

    label: Any
    """int32 catchment."""
    cost: Any
    """float32 bits."""
    elevation: Any
    """float32 meters."""
    offsets: Any
    """(8,) int64 offsets of the neighbors."""


class _Table(NamedTuple):
    """Components of water, and which of them are joined."""

    component: Any
    """(cells,) int32 component of each cell."""
    cells: Any
    """int64, component after component."""
    start: Any
    """(n + 1,) int64."""
    lowest: Any
    """(n,) int64 cell."""
    max_cost: Any
    """(n,) int32 units."""
    joined: Any
    """(n,) bool, changes."""


class _Reaches(NamedTuple):
    """Cells of the reaches; see `Labels`."""

    mask: Any
    cells: Any
    start: Any


class _Scope(NamedTuple):
    """How far a search goes: the catchment, and the highest cost, units."""

    label: int
    limit: int


class _Search(NamedTuple):
    """Paths found so far, and the cells they are to be continued from."""

    paths: Any
    """(cells, 2) int32: the cost of the cheapest path from each cell to its reach, units, _CLOSED or _UNREACHED; and
    the number of the neighbor that it continues to."""
    queue: Any
    """(m, 2) int32 buckets of cells of equal cost (Dial 1969), as linked lists. Row 0 holds how many rows were ever
    used, and the first row that is free again; the rows after it the first entry of each bucket; then come entries: a
    cell, and the next entry. An entry that a cheaper path overtook stays and is skipped. Memory is touched as it is
    used."""
    buckets: int
    """Number of buckets."""
    stack: Any
    """int64 cells that the search continues from first: those that were just joined."""


@njit(cache=True)
def _connect(joined: Any, ground: _Ground, table: _Table, by_label: Any, of_label: Any, reaches: _Reaches) -> None:
    """Join components catchment by catchment: what a search touches stays near in memory."""
    search = _new_search(ground.label, reaches, table)
    for label in range(len(reaches.start) - 1):
        own = by_label[of_label[label] : of_label[label + 1]]
        reach = reaches.cells[reaches.start[label] : reaches.start[label + 1]]
        _connect_catchment(joined, label, own, reach, ground, table, search)


@njit(cache=True)
def _new_search(labels: Any, reaches: _Reaches, table: _Table) -> Any:
    size = len(labels)
    paths = np.empty((size, 2), np.int32)
    for i in range(size):
        paths[i, 0] = _UNREACHED if labels[i] >= 0 and not reaches.mask[i] else _CLOSED
    highest = table.max_cost.max() if len(table.max_cost) else 0
    buckets = highest // _BUCKET + 1
    queue = np.empty((1 + buckets + 8 * size, 2), np.int32)
    queue[0, 0], queue[0, 1] = 1 + buckets, _NO_ENTRY
    queue[1 : 1 + buckets, 1] = _NO_ENTRY
    # A path may run through every component, and each of its other steps costs something.
    stack = np.empty(len(table.cells) + max(highest // _STRAIGHT + 8, len(reaches.cells)), np.int64)
    return _Search(paths, queue, buckets, stack)


@njit(cache=True)
def _connect_catchment(
    joined: Any, label: int, own: Any, reach: Any, ground: _Ground, table: _Table, search: _Search
) -> None:
    """Join the components `own` of a catchment, the cheapest first."""
    count = _stack_anchored(own, table, search)
    _close(joined, count, search)
    search.stack[count : count + len(reach)] = reach
    count += len(reach)
    limit = _highest_waiting(own, table)
    if limit == 0:
        return
    # Even with nothing left to join, up to the end: the next catchment needs an empty queue.
    while True:
        cell = _next_to_join(count, label, limit, ground, table, search)
        if cell == _NO_CELL:
            return
        count = _stack_path(cell, ground.offsets, table, search)
        _close(joined, count, search)
        limit = _highest_waiting(own, table)


@njit(cache=True)
def _stack_anchored(own: Any, table: _Table, search: _Search) -> int:
    """Stack the cells of the components that touch their reach; return how many."""
    _, cells, start, _, _, joined = table
    stack = search.stack
    count = 0
    for component in own:
        if joined[component]:
            for k in range(start[component], start[component + 1]):
                stack[count] = cells[k]
                count += 1
    return count


@njit(cache=True)
def _stack_path(cell: int, offsets: Any, table: _Table, search: _Search) -> int:
    """Stack the cells of a path down, and of every component that it runs through; return how many."""
    component_of, cells, start, _, _, joined = table
    paths, stack = search.paths, search.stack
    count = 0
    while paths[cell, 0] >= 0:
        component = component_of[cell]
        if component < 0:
            stack[count] = cell
            count += 1
        elif not joined[component]:
            joined[component] = True
            for k in range(start[component], start[component + 1]):
                stack[count] = cells[k]
                count += 1
        cell = cell + offsets[paths[cell, 1]]
    return count


@njit(cache=True)
def _close(joined: Any, count: int, search: _Search) -> None:
    """Mark the stacked cells as joined, and close them to paths."""
    stack, paths = search.stack, search.paths
    for k in range(count):
        joined[stack[k]] = True
        paths[stack[k], 0] = _CLOSED


@njit(cache=True)
def _highest_waiting(own: Any, table: _Table) -> Any:
    """Return the highest cost at which a component that is not joined would be: the search goes no farther."""
    joined, max_cost = table.joined, table.max_cost
    highest = np.int32(0)
    for component in own:
        if not joined[component] and max_cost[component] > highest:
            highest = max_cost[component]
    return highest


@njit(cache=True)
def _next_to_join(count: int, label: int, limit: Any, ground: _Ground, table: _Table, search: _Search) -> Any:
    """Search upstream (Dijkstra), from the stacked cells and then from those that wait in the queue.

    Returns the lowest cell of the first component that is met at no more than its maximum cost; _NO_CELL if there is
    none up to the limit, units.
    """
    # Tuples are taken apart before loops: numba counts a reference at each access to a field.
    labels, cell_cost, elevation, offsets = ground
    component_of, _, _, lowest, max_cost, joined = table
    paths, queue, buckets, stack = search
    scope = _Scope(label, limit)
    for k in range(count):
        _relax(stack[k], scope, offsets, labels, cell_cost, elevation, paths, queue)
    bucket = 0
    while bucket < buckets:
        entry = queue[1 + bucket, 1]
        if entry == _NO_ENTRY:
            bucket += 1
            continue
        cell = np.int64(queue[entry, 0])
        queue[1 + bucket, 1] = queue[entry, 1]
        queue[entry, 1], queue[0, 1] = queue[0, 1], entry
        cost = paths[cell, 0]
        # Overtaken by a cheaper path, joined meanwhile, or farther than any component that still waits.
        if cost // _BUCKET != bucket or cost > limit:
            continue
        component = component_of[cell]
        if component >= 0 and not joined[component] and lowest[component] == cell and cost <= max_cost[component]:
            return cell
        _relax(cell, scope, offsets, labels, cell_cost, elevation, paths, queue)
    return np.int64(_NO_CELL)


@njit(cache=True)
def _relax(
    cell: Any, scope: _Scope, offsets: Any, labels: Any, cell_cost: Any, elevation: Any, paths: Any, queue: Any
) -> None:
    """Offer the neighbors of a cell, within its catchment, a path through it."""
    # Unsigned: a signed index is checked for counting from the end.
    here = np.uint64(cell)
    # From what is joined, and from the reach, paths cost nothing.
    cost, height = max(paths[here, 0], np.int32(0)), elevation[here]
    for k in range(8):
        above = here + np.uint64(offsets[np.uint64(k)])
        # Not even the cheapest step would do: no need to look at the terrain.
        if cost + _STRAIGHT >= paths[above, 0] or labels[above] != scope.label:
            continue
        rise = height - elevation[above]
        step = max(cell_cost[above] * max(rise, np.float32(1)), np.float32(_BITS_PER_M) * rise)
        # Written so that NaN is too much as well: as an integer it would be a path of negative cost.
        if not step * UNITS_PER_BIT <= scope.limit:
            continue
        is_diagonal = k == 0 or k == 2 or k == 5 or k == 7
        total = cost + np.int32(step * UNITS_PER_BIT) + (_DIAGONAL if is_diagonal else _STRAIGHT)
        if total >= paths[above, 0] or total > scope.limit:
            continue
        paths[above, 0], paths[above, 1] = total, 7 - k
        entry = queue[0, 1]
        if entry != _NO_ENTRY:
            queue[0, 1] = queue[entry, 1]
        else:
            entry = queue[0, 0]
            queue[0, 0] += 1
            if entry == len(queue):
                raise MemoryError("the queue of paths is full")
        first = 1 + total // _BUCKET
        queue[entry, 0], queue[entry, 1] = above, queue[first, 1]
        queue[first, 1] = entry
