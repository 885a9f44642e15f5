"""Lines of cells to a forest: each cell flows down to its catchment's reach, cut into segments between junctions."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import Labels, ReachOwners, owns_reach_cell
from headwater.waterways.lines.neighbors import is_node, offsets_around
from headwater.waterways.lines.thin import ring_of, states

TO_REACH = -1
"""Downstream segment, or cell, of what ends at its reach."""
_NO_PATH = -2
"""Downstream cell of a cell that no path leads from."""
_LOOSE = -3
"""Head of an arm that begins neither at a line nor at the reach."""
_NO_CELL = -1
# Cost of a pixel of length: decides among paths of equal rise.
_PER_PIXEL = 1e-3


@dataclass(frozen=True)
class Traces:
    """Segments as runs of cells, drawn downstream; one that flows into another ends with the other's first cell."""

    cells: NDArray[np.int64]
    """Flat indices, segment after segment."""
    start: NDArray[np.int64]
    """(n + 1,) where each segment's cells begin."""
    label: NDArray[np.int32]
    """(n,) catchment."""
    downstream: NDArray[np.int64]
    """(n,) number of the segment each flows into; TO_REACH where it ends next to the reach."""
    divergence: NDArray[np.bool_]
    """(n,) whether it is the second arm around an island: its head is on another segment, or next to the reach."""
    head: NDArray[np.int64]
    """(n,) number of the segment on whose first cell a divergence begins; TO_REACH where it leaves the reach, and for
    segments that are not divergences."""
    cut_label: NDArray[np.int32]
    """(k,) catchment of each cell of a line that was cut off because it would flow uphill."""


def of_labels(traces: Traces, wanted: NDArray[np.bool_]) -> Traces:
    """Return the segments of some catchments; no segment flows from one catchment to another."""
    rows = np.flatnonzero(wanted[traces.label])
    number = np.full(len(traces.label) + 1, TO_REACH, dtype=np.int64)
    number[rows] = np.arange(len(rows))
    length = np.diff(traces.start)[rows]
    start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    cells = np.repeat(traces.start[rows] - start[:-1], length) + np.arange(start[-1])
    return Traces(
        cells=traces.cells[cells],
        start=start,
        label=traces.label[rows],
        downstream=number[traces.downstream[rows]],
        divergence=traces.divergence[rows],
        head=number[traces.head[rows]],
        cut_label=traces.cut_label[wanted[traces.cut_label]],
    )


def trace(
    lines: NDArray[np.bool_],
    elevation: NDArray[np.float32],
    labels: Labels,
    *,
    min_component_px: int,
    max_rise_m: float = np.inf,
) -> Traces:
    """Make a forest of thinned water and cut it into segments.

    Every cell takes the path of least rise to its reach (cost max(0, rise), Pierson and Mehrabi 2024, and a little for
    its length). What is on no path from a node, that is from an end or a junction, opens a ring: it is kept as a
    divergence where both its ends are on one path down, otherwise dropped. Ends under `min_component_px` cells are
    dropped.

    Parameters
    ----------
    lines : (y, x) bool
        Thinned water without the reaches.
    elevation : (y, x) float32
        Meters, without NaN.
    labels : Labels
        Of the window.
    min_component_px : int
        Shortest end kept, and shortest divergence, cells.
    max_rise_m : float
        A stream without inflow begins where it is no deeper than this below the place that it flows to: deeper water
        would flow uphill.
    """
    thinned = _lines_of(lines, elevation, labels)
    cells, label = thinned.cells, labels.catchment.ravel()
    downstream, order = _tree(thinned, labels.reach_mask.ravel(), labels.owners, elevation.ravel())
    _uncross(thinned, downstream, order)
    used, longest, main = _used(downstream, order, thinned.ring)
    kept = _kept(downstream, order, used, longest, main, min_component_px)
    before = kept.copy()
    # Where one end goes, its junction goes too, and the other stream's end is farther down.
    while _cut_sunken_ends(kept, downstream, order, thinned.height_m, min_component_px, max_rise_m):
        pass
    arms, arm_start, head, tail = _arms(thinned, _Forest(downstream, used, kept), min_component_px)
    runs, start, into, first_of = _runs(downstream, kept, np.concatenate([head, tail]))
    segments = len(start) - 1
    # A divergence includes the cells it begins and ends on, except those of the reach.
    for arm in range(len(head)):
        ends = [[end] if end >= 0 else [] for end in (head[arm], tail[arm])]
        own = [*ends[0], *arms[arm_start[arm] : arm_start[arm + 1]], *ends[1]]
        runs, start = np.append(runs, own), np.append(start, len(runs) + len(own))
    on = np.where(head >= 0, first_of[head], TO_REACH)
    return Traces(
        cells=cells[runs],
        start=start,
        label=label[cells[runs[start[:-1]]]],
        downstream=np.append(into, np.where(tail >= 0, first_of[tail], TO_REACH)),
        divergence=np.arange(segments + len(head)) >= segments,
        head=np.append(np.full(segments, TO_REACH), on),
        cut_label=label[cells[before & ~kept]],
    )


class _Lines(NamedTuple):
    """Cells of thinned water. Kernels speak of a cell by its number here."""

    cells: Any
    """(n,) int64 flat indices."""
    number: Any
    """int32 number of each cell of the window; _NO_CELL where there is no line."""
    ring: Any
    """(n,) uint8, see `ring_of`."""
    height_m: Any
    """(n,) float32."""
    width: int
    """Columns of the window."""


class _Forest(NamedTuple):
    """Where each cell of the lines flows."""

    downstream: Any
    """(n,) int64 next cell; TO_REACH or _NO_PATH."""
    used: Any
    """(n,) bool, on a path from a node."""
    kept: Any
    """(n,) bool, used and neither short nor sunken."""


def _lines_of(lines: NDArray[np.bool_], elevation: NDArray[np.float32], labels: Labels) -> _Lines:
    cells = np.flatnonzero(lines.ravel())
    number = np.full(lines.size, _NO_CELL, dtype=np.int32)
    number[cells] = np.arange(len(cells))
    rings = _rings(states(lines, labels), labels.owners, cells, lines.shape[1])
    return _Lines(cells, number, rings, elevation.ravel()[cells], lines.shape[1])


@njit(cache=True)
def _rings(state: Any, owners: ReachOwners, cells: Any, width: int) -> Any:
    rings = np.empty(len(cells), np.uint8)
    for i in range(len(cells)):
        rings[i] = ring_of(state, owners, cells[i], width)
    return rings


@njit(cache=True)
def _length_cost(k: int) -> float:
    return _PER_PIXEL * (1.0 if k % 2 == 0 else 1.4142135623730951)


@njit(cache=True)
def _tree(lines: _Lines, reach_mask: Any, owners: ReachOwners, elevation: Any) -> Any:
    """Find the downstream cell of each cell, and the order of cells by catchment, from its reach upstream."""
    cost = _costs_to_reach(lines, reach_mask, owners, elevation)
    downstream = np.full(len(lines.cells), _NO_PATH, np.int64)
    order = np.empty(len(lines.cells), np.int64)
    # Catchment by catchment, for small heaps: no path leads from one to another.
    first, start = _at_reach_by_label(cost, lines.cells, owners)
    done = np.zeros(len(lines.cells), np.bool_)
    count = 0
    for label in range(owners.size):
        own = first[start[label] : start[label + 1]]
        count += _grow_tree(own, lines, reach_mask, done, cost, downstream, order[count:])
    return downstream, order[:count]


@njit(cache=True)
def _costs_to_reach(lines: _Lines, reach_mask: Any, owners: ReachOwners, elevation: Any) -> Any:
    """Return the cost of the cheapest step from each cell to its reach; infinite where it does not touch it."""
    around = offsets_around(lines.width)
    cost = np.full(len(lines.cells), np.inf)
    for i in range(len(lines.cells)):
        label = owners.labels[lines.cells[i]]
        for k in range(8):
            other = lines.cells[i] + around[k]
            if reach_mask[other] and owns_reach_cell(other, label, owners):
                step = max(0.0, elevation[other] - lines.height_m[i]) + _length_cost(k)
                if step < cost[i]:
                    cost[i] = step
    return cost


@njit(cache=True)
def _at_reach_by_label(cost: Any, cells: Any, owners: ReachOwners) -> Any:
    """Return the cells that touch their reach, by label, and where those of each label begin."""
    start = np.zeros(owners.size + 1, np.int64)
    for i in range(len(cells)):
        if cost[i] < np.inf:
            start[owners.labels[cells[i]] + 1] += 1
    start = np.cumsum(start)
    place = start.copy()
    first = np.empty(start[-1], np.int64)
    for i in range(len(cells)):
        if cost[i] < np.inf:
            first[place[owners.labels[cells[i]]]] = i
            place[owners.labels[cells[i]]] += 1
    return first, start


@njit(cache=True)
def _grow_tree(first: Any, lines: _Lines, reach_mask: Any, done: Any, cost: Any, downstream: Any, order: Any) -> Any:
    """Find the paths of least cost to the reach, from its neighbors `first` upstream (Dijkstra).

    Writes `done`, `cost`, `downstream` and `order`; returns how many cells are reached.
    """
    around = offsets_around(lines.width)
    for i in first:
        downstream[i] = TO_REACH
    heap = [(cost[i], i) for i in first]
    heapify(heap)
    count = 0
    while len(heap) > 0:
        path_cost, i = heappop(heap)
        if done[i]:
            continue
        done[i] = True
        order[count] = i
        count += 1
        for k in range(8):
            if not lines.ring[i] >> k & 1 or reach_mask[lines.cells[i] + around[k]]:
                continue
            j = np.int64(lines.number[lines.cells[i] + around[k]])
            if done[j]:
                continue
            step = max(0.0, lines.height_m[i] - lines.height_m[j]) + _length_cost(k)
            if path_cost + step < cost[j]:
                cost[j] = path_cost + step
                downstream[j] = i
                heappush(heap, (cost[j], j))
    return count


@njit(cache=True)
def _uncross(lines: _Lines, downstream: Any, order: Any) -> None:
    """Where two paths cross each other's diagonal, let the later one continue to where the other one goes."""
    cells, number, width = lines.cells, lines.number, lines.width
    rank = np.empty(len(cells), np.int64)
    for i in range(len(order)):
        rank[order[i]] = i
    for i in order:
        j = downstream[i]
        if j < 0:
            continue
        step = cells[j] - cells[i]
        if step in (-1, 1, -width, width):
            continue
        # The other two cells of the square: one in the row of i, one in that of j.
        down = width if step > 0 else -width
        a, b = number[cells[i] + step - down], number[cells[i] + down]
        if a < 0 or b < 0:
            continue
        if downstream[a] == b:
            up, low = a, b
        elif downstream[b] == a:
            up, low = b, a
        else:
            continue
        # Of the two lower cells the one that was reached first takes both: it came before either upper one.
        if rank[low] < rank[j]:
            downstream[i] = low
        else:
            downstream[up] = j


@njit(cache=True)
def _used(downstream: Any, order: Any, ring: Any) -> Any:
    """Find the cells on a path from a node, the length of the longest path upstream, and the inflow it comes by."""
    used = np.zeros(len(downstream), np.bool_)
    longest = np.zeros(len(downstream), np.int64)
    main = np.full(len(downstream), -1, np.int64)
    # Up- to downstream.
    for i in order[::-1]:
        used[i] = used[i] or is_node(ring[i])
        if not used[i]:
            continue
        longest[i] += 1
        j = downstream[i]
        if j < 0:
            continue
        used[j] = True
        if longest[i] > longest[j] or (longest[i] == longest[j] and i < main[j]):
            longest[j] = longest[i]
            main[j] = i
    return used, longest, main


@njit(cache=True)
def _kept(downstream: Any, order: Any, used: Any, longest: Any, main: Any, min_component_px: int) -> Any:
    """Drop short ends of the used cells: of several inflows the longest stays, and those that are long enough."""
    kept = np.zeros(len(downstream), np.bool_)
    # Down- to upstream.
    for i in order:
        j = downstream[i]
        if j < 0:
            kept[i] = used[i] and longest[i] >= min_component_px
        else:
            kept[i] = used[i] and kept[j] and (main[j] == i or longest[i] >= min_component_px)
    return kept


@njit(cache=True)
def _cut_sunken_ends(
    kept: Any, downstream: Any, order: Any, heights: Any, min_component_px: int, max_rise_m: float
) -> bool:
    """Let streams without inflow begin where they are high enough for what they flow to; return whether one was cut.

    What gets too short is dropped.
    """
    inflows = np.zeros(len(downstream), np.int64)
    for i in range(len(downstream)):
        if kept[i] and downstream[i] >= 0:
            inflows[downstream[i]] += 1
    cut = False
    for head in order:
        if not kept[head] or inflows[head] > 0:
            continue
        end, length = head, 1
        while downstream[end] >= 0 and inflows[end] < 2:
            end = downstream[end]
            length += 1
        first = head
        while heights[first] < heights[end] - max_rise_m or (
            first != head and first != end and length < min_component_px
        ):
            first = downstream[first]
            length -= 1
        if first == head:
            continue
        cut = True
        i = head
        while i != first:
            kept[i] = False
            i = downstream[i]
        if first != end:
            inflows[first] = 0
        elif inflows[end] > 1:
            inflows[end] -= 1
        else:
            kept[end] = False
    return cut


@njit(cache=True)
def _flows_through(start: Any, wanted: Any, downstream: Any) -> bool:
    i = start
    while i >= 0 and i != wanted:
        i = downstream[i]
    return bool(i == wanted)


@njit(cache=True)
def _arms(lines: _Lines, forest: _Forest, min_component_px: int) -> Any:
    """Find the second arms of rings, drawn downstream.

    An arm is made of cells that are not on any path from a node: from its tail, next to a line or the reach, up to the
    top of the ring and, if the ring parts there, down again on the other side.

    Returns
    -------
    arms : int64
        Cells, arm after arm.
    start : (m + 1,) int64
        Where each arm's cells begin.
    heads, tails : (m,) int64
        The kept cells that each arm begins and ends on; TO_REACH for the reach.
    """
    upstream = _upstream_off_paths(forest)
    taken = np.zeros(len(lines.cells), np.bool_)
    run = np.empty(len(lines.cells), np.int64)
    arms = np.empty(len(lines.cells), np.int64)
    starts = [np.int64(0)]
    heads = [np.int64(0) for _ in range(0)]
    tails = [np.int64(0) for _ in range(0)]
    filled = 0
    for bottom in range(len(lines.cells)):
        if taken[bottom] or not _is_bottom(bottom, forest):
            continue
        length = _climb(bottom, upstream, run, taken)
        tail = forest.downstream[bottom]
        head, other_top = _beyond_top(run[length - 1], length, tail, upstream, taken, lines, forest)
        if other_top != _NO_CELL:
            length, head = _descend(other_top, length, run, taken, forest)
        if length < min_component_px or not _can_join(head, tail, forest):
            continue
        forward = head < 0 or tail < 0 or _flows_through(head, tail, forest.downstream)
        if not forward and not _flows_through(tail, head, forest.downstream):
            continue
        for k in range(length):
            # The run goes up from the tail.
            arms[filled + k] = run[length - 1 - k] if forward else run[k]
        filled += length
        starts.append(np.int64(filled))
        heads.append(head if forward else tail)
        tails.append(tail if forward else head)
    return arms[:filled].copy(), np.array(starts), np.array(heads), np.array(tails)


@njit(cache=True)
def _upstream_off_paths(forest: _Forest) -> Any:
    """Return, for cells off the paths from nodes, the one such cell that flows into each; _NO_CELL where none does."""
    upstream = np.full(len(forest.used), _NO_CELL, np.int64)
    for i in range(len(forest.used)):
        j = forest.downstream[i]
        if not forest.used[i] and j >= 0 and not forest.used[j]:
            upstream[j] = i
    return upstream


@njit(cache=True)
def _is_bottom(i: int, forest: _Forest) -> bool:
    """Return whether a cell off the paths flows to the reach or onto a path."""
    j = forest.downstream[i]
    return bool(not forest.used[i] and (j == TO_REACH or (j >= 0 and forest.used[j])))


@njit(cache=True)
def _climb(bottom: int, upstream: Any, run: Any, taken: Any) -> int:
    """Write the cells from the bottom of an arm to its top; return how many."""
    length = 0
    i = np.int64(bottom)
    while i != _NO_CELL:
        run[length] = i
        length += 1
        taken[i] = True
        i = upstream[i]
    return length


@njit(cache=True)
def _beyond_top(top: Any, length: int, tail: Any, upstream: Any, taken: Any, lines: _Lines, forest: _Forest) -> Any:
    """Look where a ring continues over the top of an arm.

    Returns the cell that the arm begins on (of a path, or TO_REACH, or _LOOSE), and the top of another arm, to be
    followed down instead, or _NO_CELL.
    """
    around = offsets_around(lines.width)
    head, other_top = np.int64(_LOOSE), np.int64(_NO_CELL)
    for k in range(8):
        if not lines.ring[top] >> k & 1:
            continue
        j = np.int64(lines.number[lines.cells[top] + around[k]])
        if j == _NO_CELL:
            # The reach: but a lone cell next to it does not leave it and come back.
            if length > 1 or tail >= 0:
                head = np.int64(TO_REACH)
        elif not forest.used[j]:
            if not taken[j] and upstream[j] == _NO_CELL:
                other_top = j
        elif j != forest.downstream[top] and head == _LOOSE:
            head = j
    return head, other_top


@njit(cache=True)
def _descend(top: Any, length: int, run: Any, taken: Any, forest: _Forest) -> Any:
    """Append the cells from another top down to a path or the reach; return the run's length, and where it ends.

    It ends _LOOSE where the rest of the way belongs to another arm.
    """
    i = top
    while True:
        run[length] = i
        length += 1
        taken[i] = True
        end = forest.downstream[i]
        if end < 0 or forest.used[end]:
            return length, end
        if taken[end]:
            return length, np.int64(_LOOSE)
        i = end


@njit(cache=True)
def _can_join(head: Any, tail: Any, forest: _Forest) -> bool:
    """Return whether an arm begins and ends at kept cells or the reach, at two different places."""
    if head in (_LOOSE, _NO_PATH) or (head == tail and head >= 0):
        return False
    return bool((head < 0 or forest.kept[head]) and (tail < 0 or forest.kept[tail]))


@njit(cache=True)
def _runs(downstream_cell: Any, kept: Any, nodes: Any) -> Any:
    """Cut kept cells at ends, junctions and the given nodes.

    Returns the cells of the runs, where each begins, the run each flows into, and the run that begins at each cell.
    """
    inflows = np.zeros(len(downstream_cell), np.int64)
    for i in range(len(downstream_cell)):
        if kept[i] and downstream_cell[i] >= 0:
            inflows[downstream_cell[i]] += 1
    begins = kept & (inflows != 1)
    for node in nodes:
        if node >= 0:
            begins[node] = True
    first_of = np.full(len(downstream_cell), -1, np.int64)
    count = 0
    for i in range(len(downstream_cell)):
        if begins[i]:
            first_of[i] = count
            count += 1
    runs = np.empty(kept.sum() + count, np.int64)
    start = np.zeros(count + 1, np.int64)
    downstream = np.full(count, TO_REACH, np.int64)
    filled = 0
    for i in range(len(downstream_cell)):
        if not begins[i]:
            continue
        run = first_of[i]
        runs[filled] = i
        filled += 1
        j = downstream_cell[i]
        while j >= 0:
            runs[filled] = j
            filled += 1
            if begins[j]:
                downstream[run] = first_of[j]
                break
            j = downstream_cell[j]
        start[run + 1] = filled
    return runs[:filled].copy(), start, downstream, first_of
