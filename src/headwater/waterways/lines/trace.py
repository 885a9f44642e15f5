"""Lines of cells to a forest: each cell flows down to its catchment's reach, cut into segments between junctions."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import Labels, is_mouth_of
from headwater.waterways.lines.thin import ring_of, states

TO_REACH = -1
"""Downstream segment of a segment that ends beside its reach."""
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
    """(n,) number of the segment each flows into; TO_REACH where it ends beside the reach."""
    divergence: NDArray[np.bool_]
    """(n,) whether it is the second arm round an island: its head lies on another segment, or beside the reach."""
    head: NDArray[np.int64]
    """(n,) number of the segment on whose first cell a divergence begins; TO_REACH where it leaves the reach, and for
    segments that are no divergence."""
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

    Every cell takes the way of least rise to its reach (cost max(0, rise), Pierson and Mehrabi 2024, and a little for
    its length). What lies on no way from a node, that is from an end or a junction, opens a ring: it is kept as a
    divergence where both its ends lie on one way down, else dropped. Ends under `min_component_px` cells are dropped.

    Parameters
    ----------
    lines : (y, x) bool
        Thinned water without the reaches.
    elevation : (y, x) float32
        Metres, without NaN.
    labels : Labels
        Of the window.
    min_component_px : int
        Shortest end kept, and shortest divergence, cells.
    max_rise_m : float
        A stream without inflow begins where it lies no deeper than this below the place that it flows to: what lies
        deeper would flow uphill.
    """
    width = lines.shape[1]
    flat, label, mouth = lines.ravel(), labels.catchment.ravel(), labels.mouth.ravel()
    cells = np.flatnonzero(flat)
    number = np.full(flat.size, -1, dtype=np.int32)
    number[cells] = np.arange(len(cells))
    ring = _rings(states(lines, labels), label, labels.shared, labels.count, cells, width)
    heights = elevation.ravel()[cells]
    below, order = _tree(
        cells, number, ring, heights, label, mouth, labels.shared, labels.count, elevation.ravel(), width
    )
    _uncross(cells, number, below, order, width)
    used, longest, main = _used(below, order, ring)
    kept = _kept(below, order, used, longest, main, min_component_px)
    before = kept.copy()
    # Where one goes, its junction does, and the other stream's end is farther down.
    while _cut_sunken_ends(kept, below, order, heights, min_component_px, max_rise_m):
        pass
    arms, arm_start, head, tail = _arms(cells, number, below, ring, used, kept, width, min_component_px)
    runs, start, downstream, first_of = _runs(below, kept, np.concatenate([head, tail]))
    segments = len(start) - 1
    # A divergence takes in the cells it begins and ends on, but not those of the reach.
    for arm in range(len(head)):
        ends = [[end] if end >= 0 else [] for end in (head[arm], tail[arm])]
        own = [*ends[0], *arms[arm_start[arm] : arm_start[arm + 1]], *ends[1]]
        runs, start = np.append(runs, own), np.append(start, len(runs) + len(own))
    on = np.where(head >= 0, first_of[head], TO_REACH)
    return Traces(
        cells=cells[runs],
        start=start,
        label=label[cells[runs[start[:-1]]]],
        downstream=np.append(downstream, np.where(tail >= 0, first_of[tail], TO_REACH)),
        divergence=np.arange(segments + len(head)) >= segments,
        head=np.append(np.full(segments, TO_REACH), on),
        cut_label=label[cells[before & ~kept]],
    )


@njit(cache=True)
def _rings(state: Any, labels: Any, shared: Any, count: int, cells: Any, width: int) -> Any:
    rings = np.empty(len(cells), np.uint8)
    for i in range(len(cells)):
        rings[i] = ring_of(state, labels, shared, count, cells[i], width)
    return rings


@njit(cache=True)
def _around(width: int) -> Any:
    """Offsets of the neighbours in the order of the bits of a ring."""
    return np.array([1, -width + 1, -width, -width - 1, -1, width - 1, width, width + 1])


@njit(cache=True)
def is_node(ring: int) -> bool:
    """Whether a cell with this ring of neighbours is an end (at most one) or a junction (three lines meet)."""
    neighbours, crossings = 0, 0
    for k in range(8):
        neighbours += ring >> k & 1
        if not ring >> k & 1 and ring >> ((k + 1) % 8) & 1:
            crossings += 1
    return neighbours <= 1 or crossings >= 3


@njit(cache=True)
def _step_price(k: int) -> float:
    return _PER_PIXEL * (1.0 if k % 2 == 0 else 1.4142135623730951)


@njit(cache=True)
def _tree(
    cells: Any,
    number: Any,
    ring: Any,
    heights: Any,
    labels: Any,
    mouth: Any,
    shared: Any,
    count: int,
    elevation: Any,
    width: int,
) -> Any:
    """Next cell of each one's way (-1: the reach, -2: none), and the cells by catchment, from its reach upstream."""
    around = _around(width)
    cost = np.full(len(cells), np.inf)
    below = np.full(len(cells), -2, np.int64)
    order = np.empty(len(cells), np.int64)
    done = np.zeros(len(cells), np.bool_)
    beside = np.zeros(count + 1, np.int64)
    for i in range(len(cells)):
        for k in range(8):
            other = cells[i] + around[k]
            if is_mouth_of(other, labels[cells[i]], labels, mouth, shared, count):
                step = max(0.0, elevation[other] - heights[i]) + _step_price(k)
                if step < cost[i]:
                    cost[i] = step
        if cost[i] < np.inf:
            below[i] = -1
            beside[labels[cells[i]] + 1] += 1
    # Catchment by catchment, for small heaps: no way leads from one to another.
    start = np.cumsum(beside)
    place = start.copy()
    first = np.empty(start[-1], np.int64)
    for i in range(len(cells)):
        if below[i] == -1:
            first[place[labels[cells[i]]]] = i
            place[labels[cells[i]]] += 1
    found = 0
    for label in range(count):
        heap = [(cost[i], i) for i in first[start[label] : start[label + 1]]]
        heapify(heap)
        while len(heap) > 0:
            so_far, i = heappop(heap)
            if done[i]:
                continue
            done[i] = True
            order[found] = i
            found += 1
            for k in range(8):
                if not ring[i] >> k & 1 or mouth[cells[i] + around[k]]:
                    continue
                j = np.int64(number[cells[i] + around[k]])
                if done[j]:
                    continue
                step = max(0.0, heights[i] - heights[j]) + _step_price(k)
                if so_far + step < cost[j]:
                    cost[j] = so_far + step
                    below[j] = i
                    heappush(heap, (cost[j], j))
    return below, order[:found]


@njit(cache=True)
def _uncross(cells: Any, number: Any, below: Any, order: Any, width: int) -> None:
    """Where two ways cross each other's diagonal, let the later one go on from where the other one goes."""
    rank = np.empty(len(cells), np.int64)
    for i in range(len(order)):
        rank[order[i]] = i
    for i in order:
        j = below[i]
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
        if below[a] == b:
            up, low = a, b
        elif below[b] == a:
            up, low = b, a
        else:
            continue
        # Of the two lower cells the one nearer to the reach takes both: it was done before either upper one.
        if rank[low] < rank[j]:
            below[i] = low
        else:
            below[up] = j


@njit(cache=True)
def _used(below: Any, order: Any, ring: Any) -> Any:
    """Cells on a way from a node; how many cells lie upstream on the longest way, and which inflow it comes by."""
    used = np.zeros(len(below), np.bool_)
    longest = np.zeros(len(below), np.int64)
    main = np.full(len(below), -1, np.int64)
    # Up- to downstream.
    for i in order[::-1]:
        used[i] = used[i] or is_node(ring[i])
        if not used[i]:
            continue
        longest[i] += 1
        j = below[i]
        if j < 0:
            continue
        used[j] = True
        if longest[i] > longest[j] or (longest[i] == longest[j] and i < main[j]):
            longest[j] = longest[i]
            main[j] = i
    return used, longest, main


@njit(cache=True)
def _kept(below: Any, order: Any, used: Any, longest: Any, main: Any, min_component_px: int) -> Any:
    """Cells on a way from a node, without short ends: of several inflows the longest stays, and those long enough."""
    kept = np.zeros(len(below), np.bool_)
    # Down- to upstream.
    for i in order:
        j = below[i]
        if j < 0:
            kept[i] = used[i] and longest[i] >= min_component_px
        else:
            kept[i] = used[i] and kept[j] and (main[j] == i or longest[i] >= min_component_px)
    return kept


@njit(cache=True)
def _cut_sunken_ends(kept: Any, below: Any, order: Any, heights: Any, min_component_px: int, max_rise_m: float) -> bool:
    """Let streams without inflow begin where they lie high enough for what they flow to; tell whether one was cut.

    What gets too short is dropped.
    """
    inflows = np.zeros(len(below), np.int64)
    for i in range(len(below)):
        if kept[i] and below[i] >= 0:
            inflows[below[i]] += 1
    cut = False
    for head in order:
        if not kept[head] or inflows[head] > 0:
            continue
        end, length = head, 1
        while below[end] >= 0 and inflows[end] < 2:
            end = below[end]
            length += 1
        first = head
        while heights[first] < heights[end] - max_rise_m or (
            first != head and first != end and length < min_component_px
        ):
            first = below[first]
            length -= 1
        if first == head:
            continue
        cut = True
        i = head
        while i != first:
            kept[i] = False
            i = below[i]
        if first != end:
            inflows[first] = 0
        elif inflows[end] > 1:
            inflows[end] -= 1
        else:
            kept[end] = False
    return cut


@njit(cache=True)
def _flows_through(start: Any, wanted: Any, below: Any) -> bool:
    i = start
    while i >= 0 and i != wanted:
        i = below[i]
    return bool(i == wanted)


@njit(cache=True)
def _arms(
    cells: Any, number: Any, below: Any, ring: Any, used: Any, kept: Any, width: int, min_component_px: int
) -> Any:
    """Second arms of rings, drawn downstream: their cells, where each one's begin, and the kept cells at both ends."""
    around = _around(width)
    up = np.full(len(cells), -1, np.int64)
    for above in range(len(cells)):
        if not used[above] and below[above] >= 0 and not used[below[above]]:
            up[below[above]] = above
    run = np.empty(len(cells), np.int64)
    arms = np.empty(len(cells), np.int64)
    starts = [np.int64(0)]
    heads = [np.int64(0) for _ in range(0)]
    tails = [np.int64(0) for _ in range(0)]
    taken = np.zeros(len(cells), np.bool_)
    filled = 0
    bottom: Any
    i: Any
    for number_of in range(len(cells)):
        bottom = np.int64(number_of)
        if used[bottom] or taken[bottom] or below[bottom] == -2 or (below[bottom] >= 0 and not used[below[bottom]]):
            continue
        length = 0
        i = bottom
        while True:
            run[length] = i
            length += 1
            taken[i] = True
            if up[i] < 0:
                break
            i = up[i]
        top = i
        # Over the top the ring goes on: to the top of another such run, or onto a kept line, or back onto the reach.
        tail: Any = below[bottom]
        head: Any = np.int64(-3)
        over: Any = np.int64(-1)
        for k in range(8):
            if not ring[top] >> k & 1:
                continue
            j = number[cells[top] + around[k]]
            if j < 0:
                if length > 1 or tail >= 0:
                    head = np.int64(-1)
                continue
            if not used[j]:
                if not taken[j] and up[j] < 0:
                    over = j
            elif j != below[top] and head == -3:
                head = np.int64(j)
        if over >= 0:
            i = over
            while True:
                run[length] = i
                length += 1
                taken[i] = True
                head = np.int64(below[i])
                if head < 0 or used[head]:
                    break
                if taken[head]:
                    # The rest of the way belongs to another arm.
                    head = np.int64(-3)
                    break
                i = head
        if head == -3 or head == -2 or length < min_component_px or (head == tail and head >= 0):
            continue
        if (head >= 0 and not kept[head]) or (tail >= 0 and not kept[tail]):
            continue
        forward = True
        if head >= 0 and tail >= 0 and not _flows_through(head, tail, below):
            if not _flows_through(tail, head, below):
                continue
            forward = False
        for k in range(length):
            # The run goes up from the tail.
            arms[filled + k] = run[length - 1 - k] if forward else run[k]
        filled += length
        starts.append(np.int64(filled))
        heads.append(head if forward else tail)
        tails.append(tail if forward else head)
    return arms[:filled].copy(), np.array(starts), np.array(heads), np.array(tails)


@njit(cache=True)
def _runs(below: Any, kept: Any, nodes: Any) -> Any:
    """Cut kept cells at ends, junctions and the nodes given: runs, their starts, what they flow into, runs by cell."""
    inflows = np.zeros(len(below), np.int64)
    for i in range(len(below)):
        if kept[i] and below[i] >= 0:
            inflows[below[i]] += 1
    begins = kept & (inflows != 1)
    for node in nodes:
        if node >= 0:
            begins[node] = True
    first_of = np.full(len(below), -1, np.int64)
    count = 0
    for i in range(len(below)):
        if begins[i]:
            first_of[i] = count
            count += 1
    runs = np.empty(kept.sum() + count, np.int64)
    start = np.zeros(count + 1, np.int64)
    downstream = np.full(count, TO_REACH, np.int64)
    filled = 0
    for i in range(len(below)):
        if not begins[i]:
            continue
        run = first_of[i]
        runs[filled] = i
        filled += 1
        j = below[i]
        while j >= 0:
            runs[filled] = j
            filled += 1
            if begins[j]:
                downstream[run] = first_of[j]
                break
            j = below[j]
        start[run + 1] = filled
    return runs[:filled].copy(), start, downstream, first_of
