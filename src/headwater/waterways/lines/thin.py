"""Joined water thinned to lines: narrow water to its lowest cells, wide water to its middle.

Thinning keeps what hangs together and every hole (Yokoi et al. 1975). In narrow water, shell by shell and there from
the highest cell down, the ends of lines stay, so that no stream gets shorter (after Pierson and Mehrabi 2024, who go by
height alone). In water wider than three cells they go, from the shore inwards,
until one line is left between the places where lines enter and leave: no ladders of parallel lines, and both arms round
an island.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import Labels, by_label, owns_mouth

SMALL_HOLE_PX = 20
"""Holes under this size are filled."""
FLAT_HOLE_PX = 400
"""Holes under this size are filled if they are flat, and no islands of wide water."""
FLAT_HOLE_RELIEF_M = 4.0
LAND, MOUTH = -1, -2
"""States of cells that are no water, and of those that a reach runs through."""
# An end of wide water farther from any way in than this many times its half width is the end of a channel.
_ELONGATED = 4


def fill_holes(water: NDArray[np.bool_], elevation: NDArray[np.float32], labels: Labels) -> None:
    """Fill small holes of land, in place, and larger ones that are flat, but islands of wide water.

    Parameters
    ----------
    water : (y, x) bool
        Water without the reaches. Holes that more than one catchment has part in stay.
    elevation : (y, x) float32
        Metres.
    labels : Labels
        Of the window.
    """
    cells = np.flatnonzero(water)
    width = water.shape[1]
    wide, _ = _wide_water(water, labels)
    mouth = labels.mouth.ravel()
    _fill_holes(water.ravel(), wide, elevation.ravel(), labels.catchment.ravel(), mouth, cells, width)


def thin(
    water: NDArray[np.bool_], elevation: NDArray[np.float32], labels: Labels, *, min_end_px: int
) -> NDArray[np.bool_]:
    """Thin water to lines one cell wide.

    Parameters
    ----------
    water : (y, x) bool
        Water without the reaches, each piece of which touches the reach of its catchment.
    elevation : (y, x) float32
        Metres, without NaN.
    labels : Labels
        Of the window. Water of two catchments is thinned as if they did not touch.
    min_end_px : int
        A channel that ends in wide water is this long at least.

    Returns
    -------
    (y, x) bool
        Lines without the reaches.
    """
    width = water.shape[1]
    flat, label = water.ravel(), labels.catchment.ravel()
    shared, count = labels.shared, labels.count
    state = states(water, labels)
    heights = elevation.ravel()
    cells = np.flatnonzero(flat)
    wide, depth = _wide_water(water, labels)
    narrow = cells[~wide[cells]]
    # By catchment, what its cells touch being near in memory; there from the highest down.
    narrow = _highest_first(by_label(narrow, label, count), heights, label)
    _thin_narrow(state, label, shared, count, narrow, width)
    middle = cells[wide[cells]]
    middle = by_label(middle, label, count)
    fixed = _far_ends(state, wide, label, shared, count, middle, depth, min_end_px, width)
    _thin_wide(state, label, shared, count, middle, depth[middle], -heights[middle], fixed, width)
    return np.asarray(state >= 0).reshape(water.shape)


def states(lines: NDArray[np.bool_], labels: Labels) -> NDArray[np.int32]:
    """Return, flat, the label of cells of lines, MOUTH on reaches, and LAND."""
    state = np.where(lines, labels.catchment, np.int32(LAND))
    state[labels.mouth] = MOUTH
    return state.ravel()


def wide_water(water: NDArray[np.bool_], labels: Labels) -> NDArray[np.bool_]:
    """Return water (y, x) wider than three cells, whatever the catchment, the reaches counted as water."""
    return _wide_water(water, labels)[0].reshape(water.shape)


def _wide_water(water: NDArray[np.bool_], labels: Labels) -> tuple[NDArray[np.bool_], NDArray[np.int16]]:
    """Wide water, and the depth of all water with the reaches; both flat."""
    area = (water | labels.mouth).ravel()
    cells = np.flatnonzero(area)
    depth = _depth(area, cells, water.shape[1])
    return np.asarray(_opened(depth, cells, water.shape[1]) & water.ravel()), depth


@njit(cache=True)
def _highest_first(cells: Any, heights: Any, labels: Any) -> Any:
    """Cells of each label, which stand together, from the highest down; of equally high ones the first stays first."""
    out = np.empty_like(cells)
    first = 0
    while first < len(cells):
        end = first
        while end < len(cells) and labels[cells[end]] == labels[cells[first]]:
            end += 1
        out[first:end] = cells[first:end][np.argsort(-heights[cells[first:end]], kind="mergesort")]
        first = end
    return out


@njit(cache=True)
def _removable() -> Any:
    """Whether a cell with a ring of eight neighbours can go: (2, 256) for cells that may and may not be ends.

    Bits of the ring go round from the east against the clock. The connectivity number counts the parts of water that
    the cell holds together; 0 inside water, where taking the cell away would make a hole.
    """
    table = np.zeros((2, 256), np.bool_)
    for ring in range(256):
        neighbours, number = 0, 0
        for k in range(8):
            neighbours += ring >> k & 1
        for k in range(0, 8, 2):
            side, corner, next_side = ring >> k & 1, ring >> (k + 1) & 1, ring >> ((k + 2) % 8) & 1
            if side == 0 and (corner or next_side):
                number += 1
        table[0, ring] = number == 1
        table[1, ring] = number == 1 and neighbours > 1
    return table


@njit(cache=True)
def ring_of(state: Any, labels: Any, shared: Any, count: int, cell: int, width: int) -> int:
    """Return which of the eight neighbours are water of the same catchment or its reach, as bits from the east on.

    `state` is that of `states`; `labels` the flat catchments, `shared` and `count` those of `Labels`.
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
        if there == label or (there == MOUTH and owns_mouth(other, label, labels, shared, count)):
            ring |= bit
        bit <<= 1
    return ring


@njit(cache=True)
def _thin_narrow(state: Any, labels: Any, shared: Any, count: int, cells: Any, width: int) -> None:
    """Peel shells off, ends staying.

    Of a shell first the cells with most neighbours, its sides, then its corners: were a line's end peeled from the
    highest cell down, it would draw back cell by cell for as long as it is wide. Among equals the highest goes first.
    """
    table = _removable()[1]
    left = cells.copy()
    rings = np.empty(len(cells), np.uint8)
    order = np.empty(len(cells), np.int64)
    first = 0
    while first < len(cells):
        end = first
        while end < len(cells) and labels[cells[end]] == labels[cells[first]]:
            end += 1
        remaining = end
        again = True
        while again:
            again = False
            # The shell: cells with land at a side, by their number of neighbours.
            numbers = np.zeros(10, np.int64)
            for i in range(first, remaining):
                rings[i] = ring_of(state, labels, shared, count, left[i], width)
                if rings[i] & 0b01010101 != 0b01010101:
                    numbers[8 - _neighbours(rings[i]) + 1] += 1
            for k in range(1, 10):
                numbers[k] += numbers[k - 1]
            shell = numbers[9]
            for i in range(first, remaining):
                if rings[i] & 0b01010101 != 0b01010101:
                    kind = 8 - _neighbours(rings[i])
                    order[numbers[kind]] = left[i]
                    numbers[kind] += 1
            for i in range(shell):
                if table[ring_of(state, labels, shared, count, order[i], width)]:
                    state[order[i]] = LAND
                    again = True
            kept = first
            for i in range(first, remaining):
                if state[left[i]] != LAND:
                    left[kept] = left[i]
                    kept += 1
            remaining = kept
        first = end


@njit(cache=True)
def _neighbours(ring: int) -> int:
    number = 0
    for k in range(8):
        number += ring >> k & 1
    return number


@njit(cache=True)
def _thin_wide(
    state: Any,
    labels: Any,
    shared: Any,
    count: int,
    cells: Any,
    depth: Any,
    lowness: Any,
    fixed: Any,
    width: int,
) -> None:
    """Take cells away from the shore inwards, ends too, but those that are fixed."""
    table = _removable()[0]
    number = np.full(len(state), np.int32(-1), np.int32)
    for i in range(len(cells)):
        number[cells[i]] = i
    for i in range(len(fixed)):
        number[fixed[i]] = -1
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    heap = [(np.int16(0), np.float32(0), np.int32(0)) for _ in range(0)]
    for i in range(len(cells)):
        if number[cells[i]] >= 0 and table[ring_of(state, labels, shared, count, cells[i], width)]:
            heap.append((depth[i], lowness[i], np.int32(i)))
    heapify(heap)
    while len(heap) > 0:
        cell = cells[heappop(heap)[2]]
        if state[cell] == LAND or not table[ring_of(state, labels, shared, count, cell, width)]:
            continue
        label = state[cell]
        state[cell] = LAND
        for k in range(8):
            other = cell + offsets[k]
            i = number[other]
            # What waited inside, or stayed because it held others together, is tested again.
            if i >= 0 and state[other] == label and table[ring_of(state, labels, shared, count, other, width)]:
                heappush(heap, (depth[i], lowness[i], np.int32(i)))


@njit(cache=True)
def _depth(area: Any, cells: Any, width: int) -> Any:
    """Chessboard distance of flat water from land, 1 at the shore; int16, 0 on land. `cells` are those of the water."""
    depth = np.zeros(len(area), np.int16)
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
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
    """Opening of water by four cells by four, from its depth: flat bool."""
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
def _fill_holes(water: Any, wide: Any, elevation: Any, labels: Any, mouth: Any, cells: Any, width: int) -> None:
    # 0 unknown, 1 hole looked at and left, 2 open land.
    seen = np.zeros(len(water), np.uint8)
    sides = np.array([-width, -1, 1, width])
    hole = np.empty(FLAT_HOLE_PX + 8, np.int64)
    for shore in cells:
        for k in range(4):
            start = shore + sides[k]
            if water[start] or mouth[start] or seen[start] or labels[start] != labels[shore]:
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
                    if water[other] or mouth[other]:
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


@njit(cache=True)
def _far_ends(
    state: Any,
    wide: Any,
    labels: Any,
    shared: Any,
    count: int,
    cells: Any,
    depth: Any,
    min_end_px: int,
    width: int,
) -> Any:
    """Ends of wide water that are far from where any line enters: channels that begin there."""
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    distance = np.full(len(state), np.int32(-2), np.int32)
    piece, queue = np.empty(len(cells), np.int64), np.empty(2 * len(cells), np.int64)
    fixed = [np.int64(0) for _ in range(0)]
    for start in cells:
        if distance[start] > -2:
            continue
        # A piece of wide water, and the cells where narrow lines or the reach enter it.
        label = state[start]
        piece[0] = start
        distance[start] = -1
        first, size, entries, deepest = 0, 1, 0, 0
        while first < size:
            cell = piece[first]
            first += 1
            deepest = max(deepest, depth[cell])
            enters = False
            for k in range(8):
                other = cell + offsets[k]
                if state[other] == MOUTH:
                    enters = enters or owns_mouth(other, label, labels, shared, count)
                elif state[other] == label:
                    if not wide[other]:
                        enters = True
                    elif distance[other] == -2:
                        distance[other] = -1
                        piece[size] = other
                        size += 1
            if enters:
                queue[entries] = cell
                entries += 1
        while entries > 0:
            for i in range(size):
                distance[piece[i]] = -1
            for i in range(entries):
                distance[queue[i]] = 0
            first, last = 0, entries
            while first < last:
                cell = queue[first]
                first += 1
                for k in range(8):
                    other = cell + offsets[k]
                    if state[other] == label and wide[other] and distance[other] == -1:
                        distance[other] = distance[cell] + 1
                        queue[last] = other
                        last += 1
            far = queue[last - 1]
            if distance[far] < max(_ELONGATED * deepest, min_end_px):
                break
            # Farther ends are sought from the way to this one too.
            fixed.append(far)
            while distance[far] > 0:
                queue[entries] = far
                entries += 1
                for k in range(8):
                    other = far + offsets[k]
                    if state[other] == label and wide[other] and distance[other] == distance[far] - 1:
                        far = other
                        break
    return np.array(fixed)
