"""Joined water thinned to lines: narrow water to its lowest cells, wide water to its middle.

Thinning keeps what is connected and every hole (Yokoi et al. 1975). In narrow water, shell by shell and within a shell
from the highest cell down, the ends of lines stay, so that no stream gets shorter (after Pierson and Mehrabi 2024, who
go by height alone). In water wider than three cells ends are removed too, from the shore inwards, until one line is
left between the places where lines enter and leave: no ladders of parallel lines, and both arms around an island.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import Labels, ReachOwners, by_label, owns_reach_cell
from headwater.waterways.lines.neighbors import SIDES, count_neighbors, offsets_by_row, removable_rings

SMALL_HOLE_PX = 20
"""Holes under this size are filled."""
FLAT_HOLE_PX = 400
"""Holes under this size are filled if they are flat, and no islands of wide water."""
FLAT_HOLE_RELIEF_M = 4.0
LAND, REACH = -1, -2
"""States of cells that are not water, and of those that a reach runs through."""
# An end of wide water farther from any way in than this many times its half width is the end of a channel.
_ELONGATED = 4
_UNSEEN, _UNREACHED = -2, -1
"""Distances of cells of wide water whose component is not known yet, and of those that the search has not reached."""


def fill_holes(water: NDArray[np.bool_], elevation: NDArray[np.float32], labels: Labels) -> None:
    """Fill small holes of land, in place, and larger ones that are flat, except islands of wide water.

    Parameters
    ----------
    water : (y, x) bool
        Water without the reaches. Holes that several catchments share stay.
    elevation : (y, x) float32
        Meters.
    labels : Labels
        Of the window.
    """
    cells = np.flatnonzero(water)
    width = water.shape[1]
    wide, _ = _wide_water(water, labels)
    reach_mask = labels.reach_mask.ravel()
    _fill_holes(water.ravel(), wide, elevation.ravel(), labels.catchment.ravel(), reach_mask, cells, width)


def thin(
    water: NDArray[np.bool_], elevation: NDArray[np.float32], labels: Labels, *, min_end_px: int
) -> NDArray[np.bool_]:
    """Thin water to lines one cell wide.

    Parameters
    ----------
    water : (y, x) bool
        Water without the reaches; each component touches the reach of its catchment.
    elevation : (y, x) float32
        Meters, without NaN.
    labels : Labels
        Of the window. Water of two catchments is thinned as if they did not touch.
    min_end_px : int
        A channel that ends in wide water is at least this long.

    Returns
    -------
    (y, x) bool
        Lines without the reaches.
    """
    width = water.shape[1]
    owners, heights = labels.owners, elevation.ravel()
    state = states(water, labels)
    cells = np.flatnonzero(water.ravel())
    wide, depth = _wide_water(water, labels)
    # By catchment, so that what its cells touch is near in memory; there from the highest down.
    narrow = by_label(cells[~wide[cells]], owners.labels, owners.size)
    narrow = _highest_first(narrow, heights, owners.labels)
    _thin_narrow(state, owners, narrow, width)
    middle = by_label(cells[wide[cells]], owners.labels, owners.size)
    ends = _far_ends(_WideWater(state, wide, depth, owners, offsets_by_row(width)), middle, min_end_px)
    _thin_wide(state, owners, middle, depth[middle], -heights[middle], ends, width)
    return np.asarray(state >= 0).reshape(water.shape)


def states(lines: NDArray[np.bool_], labels: Labels) -> NDArray[np.int32]:
    """Return, flat, the label of cells of lines, REACH on reaches, and LAND elsewhere."""
    state = np.where(lines, labels.catchment, np.int32(LAND))
    state[labels.reach_mask] = REACH
    return state.ravel()


def wide_water(water: NDArray[np.bool_], labels: Labels) -> NDArray[np.bool_]:
    """Return water (y, x) wider than three cells, whatever its catchment; the reaches count as water."""
    return _wide_water(water, labels)[0].reshape(water.shape)


def _wide_water(water: NDArray[np.bool_], labels: Labels) -> tuple[NDArray[np.bool_], NDArray[np.int16]]:
    """Return wide water, and the depth of all water with the reaches; both flat."""
    area = (water | labels.reach_mask).ravel()
    cells = np.flatnonzero(area)
    depth = _depth(area, cells, water.shape[1])
    return np.asarray(_opened(depth, cells, water.shape[1]) & water.ravel()), depth


@njit(cache=True)
def _highest_first(cells: Any, heights: Any, labels: Any) -> Any:
    """Sort the cells of each label, which are adjacent, from the highest down; ties keep their order."""
    out = np.empty_like(cells)
    first = 0
    while first < len(cells):
        end = _end_of_label(first, cells, labels)
        out[first:end] = cells[first:end][np.argsort(-heights[cells[first:end]], kind="mergesort")]
        first = end
    return out


@njit(cache=True)
def _end_of_label(first: int, cells: Any, labels: Any) -> int:
    """Return where the cells of the label of the first one end."""
    end = first
    while end < len(cells) and labels[cells[end]] == labels[cells[first]]:
        end += 1
    return end


@njit(cache=True)
def ring_of(state: Any, owners: ReachOwners, cell: int, width: int) -> int:
    """Return which of the eight neighbors are water of the same catchment or its reach, as bits from the east on.

    `state` is that of `states`, `owners` that of `Labels`.
    """
    label = state[cell]
    ring = 0
    bit = 1
    for k in range(8):
        if k == 0:
            other = cell + 1
        elif k == 1:
            other = cell - width + 1
        elif k == 2:
            other = cell - width
        elif k == 3:
            other = cell - width - 1
        elif k == 4:
            other = cell - 1
        elif k == 5:
            other = cell + width - 1
        elif k == 6:
            other = cell + width
        else:
            other = cell + width + 1
        there = state[other]
        if there == label or (there == REACH and owns_reach_cell(other, label, owners)):
            ring |= bit
        bit <<= 1
    return ring


@njit(cache=True)
def _thin_narrow(state: Any, owners: ReachOwners, cells: Any, width: int) -> None:
    """Peel shells off, catchment by catchment; ends stay."""
    removable = removable_rings()[1]
    left = cells.copy()
    rings = np.empty(len(cells), np.uint8)
    shell = np.empty(len(cells), np.int64)
    first = 0
    while first < len(cells):
        end = _end_of_label(first, cells, owners.labels)
        remaining = end
        changed = True
        while changed:
            changed = False
            for i in range(first, remaining):
                rings[i] = ring_of(state, owners, left[i], width)
            for i in range(_sorted_shell(shell, left, rings, first, remaining)):
                if removable[ring_of(state, owners, shell[i], width)]:
                    state[shell[i]] = LAND
                    changed = True
            kept = first
            for i in range(first, remaining):
                if state[left[i]] != LAND:
                    left[kept] = left[i]
                    kept += 1
            remaining = kept
        first = end


@njit(cache=True)
def _sorted_shell(shell: Any, cells: Any, rings: Any, first: int, end: int) -> int:
    """Write the cells with land at a side to `shell`, those with most neighbors first; return how many.

    The sides of a shell come before its corners: if the end of a line were peeled from the highest cell down, it would
    retreat cell by cell for as long as it is wide. Ties keep their order, the highest first: a counting sort.
    """
    place = np.zeros(10, np.int64)
    for i in range(first, end):
        if rings[i] & SIDES != SIDES:
            place[8 - count_neighbors(rings[i]) + 1] += 1
    for k in range(1, 10):
        place[k] += place[k - 1]
    count = int(place[9])
    for i in range(first, end):
        if rings[i] & SIDES != SIDES:
            missing = 8 - count_neighbors(rings[i])
            shell[place[missing]] = cells[i]
            place[missing] += 1
    return count


@njit(cache=True)
def _thin_wide(state: Any, owners: ReachOwners, cells: Any, depth: Any, lowness: Any, fixed: Any, width: int) -> None:
    """Remove cells from the shore inwards, ends too, except those that are fixed."""
    removable = removable_rings()[0]
    number = np.full(len(state), np.int32(-1), np.int32)
    for i in range(len(cells)):
        number[cells[i]] = i
    for i in range(len(fixed)):
        number[fixed[i]] = -1
    offsets = offsets_by_row(width)
    heap = [(np.int16(0), np.float32(0), np.int32(0)) for _ in range(0)]
    for i in range(len(cells)):
        if number[cells[i]] >= 0 and removable[ring_of(state, owners, cells[i], width)]:
            heap.append((depth[i], lowness[i], np.int32(i)))
    heapify(heap)
    while len(heap) > 0:
        cell = cells[heappop(heap)[2]]
        if state[cell] == LAND or not removable[ring_of(state, owners, cell, width)]:
            continue
        label = state[cell]
        state[cell] = LAND
        for k in range(8):
            other = cell + offsets[k]
            i = number[other]
            # What waited inside, or stayed because it connected others, is tested again.
            if i >= 0 and state[other] == label and removable[ring_of(state, owners, other, width)]:
                heappush(heap, (depth[i], lowness[i], np.int32(i)))


@njit(cache=True)
def _depth(area: Any, cells: Any, width: int) -> Any:
    """Return the chessboard distance of flat water from land, 1 at the shore; int16, 0 on land.

    `cells` are those of the water.
    """
    depth = np.zeros(len(area), np.int16)
    offsets = offsets_by_row(width)
    queue = np.empty(len(cells), np.int64)
    last = 0
    for cell in cells:
        for k in range(8):
            if not area[cell + offsets[k]]:
                depth[cell] = 1
                queue[last] = cell
                last += 1
                break
    first = 0
    while first < last:
        cell = queue[first]
        first += 1
        for k in range(8):
            other = cell + offsets[k]
            if area[other] and depth[other] == 0:
                depth[other] = depth[cell] + 1
                queue[last] = other
                last += 1
    return depth


@njit(cache=True)
def _opened(depth: Any, cells: Any, width: int) -> Any:
    """Return the opening of water by four cells by four, from its depth: flat bool."""
    wide = np.zeros(len(depth), np.bool_)
    for cell in cells:
        # A square of two by two that land touches nowhere.
        inner = depth[cell] >= 2 and depth[cell + 1] >= 2 and depth[cell + width] >= 2 and depth[cell + width + 1] >= 2
        if inner:
            for row in range(-1, 3):
                for column in range(-1, 3):
                    wide[cell + row * width + column] = True
    return wide


@njit(cache=True)
def _fill_holes(water: Any, wide: Any, elevation: Any, labels: Any, reach_mask: Any, cells: Any, width: int) -> None:
    # 0 unknown, 1 hole that was examined and left, 2 open land.
    seen = np.zeros(len(water), np.uint8)
    sides = np.array([-width, -1, 1, width])
    hole = np.empty(FLAT_HOLE_PX + 8, np.int64)
    for shore in cells:
        for k in range(4):
            start = shore + sides[k]
            if water[start] or reach_mask[start] or seen[start] or labels[start] != labels[shore]:
                continue
            hole[0] = start
            seen[start] = 1
            last, first = 1, 0
            is_open, borders, wide_borders = False, 0, 0
            low, high = np.inf, -np.inf
            while first < last and not is_open:
                cell = hole[first]
                first += 1
                low, high = min(low, elevation[cell]), max(high, elevation[cell])
                for side in sides:
                    other = cell + side
                    if water[other] or reach_mask[other]:
                        borders += 1
                        wide_borders += wide[other]
                    elif seen[other] == 2 or labels[other] != labels[cell]:
                        is_open = True
                    elif not seen[other]:
                        if last >= FLAT_HOLE_PX:
                            is_open = True
                        else:
                            seen[other] = 1
                            hole[last] = other
                            last += 1
            if is_open:
                for i in range(last):
                    seen[hole[i]] = 2
            elif last < SMALL_HOLE_PX or (high - low < FLAT_HOLE_RELIEF_M and 2 * wide_borders < borders):
                for i in range(last):
                    water[hole[i]] = True


class _WideWater(NamedTuple):
    """Wide water among lines, flat."""

    state: Any
    """int32, see `states`."""
    wide: Any
    """bool."""
    depth: Any
    """int16."""
    owners: ReachOwners
    offsets: Any
    """(8,) int64 offsets of the neighbors."""


@njit(cache=True)
def _far_ends(water: _WideWater, cells: Any, min_end_px: int) -> Any:
    """Return ends of wide water that are far from where any line enters: channels that begin there."""
    distance = np.full(len(water.state), np.int32(_UNSEEN), np.int32)
    component, queue = np.empty(len(cells), np.int64), np.empty(2 * len(cells), np.int64)
    ends = [np.int64(0) for _ in range(0)]
    for start in cells:
        if distance[start] != _UNSEEN:
            continue
        size, sources, deepest = _flood(start, water, component, queue, distance)
        while sources > 0:
            end = _farthest(water, component[:size], queue, sources, distance)
            if distance[end] < max(_ELONGATED * deepest, min_end_px):
                break
            ends.append(end)
            # The next end must be far from the path to this one too.
            sources = _add_path(end, water, queue, sources, distance)
    return np.array(ends)


@njit(cache=True)
def _flood(start: Any, water: _WideWater, component: Any, entries: Any, distance: Any) -> Any:
    """Fill in the cells of a component of wide water, and those where narrow lines or the reach enter it.

    Returns how many there are of each, and the depth of the deepest cell.
    """
    label = water.state[start]
    component[0] = start
    distance[start] = _UNREACHED
    first, size, count, deepest = 0, 1, 0, 0
    while first < size:
        cell = component[first]
        first += 1
        deepest = max(deepest, water.depth[cell])
        enters = False
        for k in range(8):
            other = cell + water.offsets[k]
            if water.state[other] == REACH:
                enters = enters or owns_reach_cell(other, label, water.owners)
            elif water.state[other] == label:
                if not water.wide[other]:
                    enters = True
                elif distance[other] == _UNSEEN:
                    distance[other] = _UNREACHED
                    component[size] = other
                    size += 1
        if enters:
            entries[count] = cell
            count += 1
    return size, count, deepest


@njit(cache=True)
def _farthest(water: _WideWater, component: Any, queue: Any, sources: int, distance: Any) -> Any:
    """Measure the distance of a component's cells from the first `sources` of the queue; return the farthest cell."""
    for cell in component:
        distance[cell] = _UNREACHED
    for i in range(sources):
        distance[queue[i]] = 0
    first, last = 0, sources
    while first < last:
        cell = queue[first]
        first += 1
        for k in range(8):
            other = cell + water.offsets[k]
            if water.state[other] == water.state[cell] and water.wide[other] and distance[other] == _UNREACHED:
                distance[other] = distance[cell] + 1
                queue[last] = other
                last += 1
    return queue[last - 1]


@njit(cache=True)
def _add_path(end: Any, water: _WideWater, queue: Any, sources: int, distance: Any) -> int:
    """Add the path from a cell to the nearest source to the sources; return how many there are."""
    cell = end
    while distance[cell] > 0:
        queue[sources] = cell
        sources += 1
        for k in range(8):
            other = cell + water.offsets[k]
            nearer = distance[other] == distance[cell] - 1
            if nearer and water.state[other] == water.state[cell] and water.wide[other]:
                cell = other
                break
    return sources
