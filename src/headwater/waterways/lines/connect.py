"""Pieces of water joined to their reach over gaps, by the cheapest way that water could take.

From a reach, and from all that is joined to it, the search goes outwards against the flow; where it comes to the
lowest cell of a piece at a price the piece is worth, the piece and the way are joined and the search goes on from
there: Prim's minimum spanning tree over pieces, with the price of a step after Pierson and Mehrabi (2024).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import Labels
from headwater.waterways.lines.components import Pieces

UNITS = 320
"""Whole units in a bit: costs are integers, so that they add up exactly."""
_STRAIGHT, _DIAGONAL = 5, 7
VALLEY_RADIUS_PX = 5
"""Half side of the box whose mean elevation a cell is compared with."""
_VALLEY_PER_M = 0.6
_VALLEY_MOST = 8.0
# Price of a metre that water would have to rise.
_BITS_PER_M = 10.0
# Costs of one bucket of the queue.
_BUCKET = 32


def price_of_cells(
    probability: NDArray[np.uint8],
    elevation: NDArray[np.float32],
    *,
    threshold: float,
    floor: float,
    cost_below_floor: float,
) -> NDArray[np.float32]:
    """Return the price of each cell, in bits: what the probability says, times what the terrain says.

    -log2 of the probability scaled from `floor` to `threshold`, at most `cost_below_floor`, the price of cells at or
    under the floor. It is half for each 1.2 m that the cell lies under the mean of the cells around it, and double for
    as much above, at most eight times less or more: gaps are crossed along valleys.

    Parameters
    ----------
    probability : (y, x) uint8
        p * 255; 0 where unknown.
    elevation : (y, x) float32
        Metres, whole multiples of 1 / 256 (sums are exact then, wherever the window begins).
    threshold, floor, cost_below_floor
        See `headwater.waterways.settings.Settings`.
    """
    scaled = np.clip((np.arange(256) / 255 - floor) / (threshold - floor), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        bits = np.minimum(np.abs(np.log2(scaled)), cost_below_floor).astype(np.float32)
    price: NDArray[np.float32] = _price(probability, elevation, bits)
    return price


@njit(cache=True)
def _price(probability: Any, elevation: Any, bits: Any) -> Any:
    height, width = probability.shape
    price = np.empty((height, width), np.float32)
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
                cost *= min(max(np.exp(_VALLEY_PER_M * above), 1 / _VALLEY_MOST), _VALLEY_MOST)
            price[row, column] = cost
    return price


def worth_bits(pieces: Pieces, *, per_px: float, most: float, least_px: int) -> NDArray[np.float32]:
    """Return the highest price, bits, that is paid to join each piece; 0 for pieces not worth joining.

    A piece as long as a gap speaks for a stream that goes on; a round one does so less: from its length twice its mean
    width is taken.

    Parameters
    ----------
    pieces : Pieces
        Of the window.
    per_px : float
        Bits for each pixel of length.
    most : float
        No piece is worth more.
    least_px : int
        Pieces of fewer cells are not joined.
    """
    area = np.diff(pieces.start)
    length = pieces.extent_px - 2 * area / np.maximum(pieces.extent_px, 1) + 2
    worth = np.clip(per_px * length, 0, most)
    return np.where(area >= least_px, worth, 0).astype(np.float32)


def connect(
    price: NDArray[np.float32],
    elevation: NDArray[np.float32],
    labels: Labels,
    pieces: Pieces,
    *,
    worth: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return the water that is joined to the reach of its catchment, with the ways over gaps; without the reaches.

    A step of flow costs the price b of the cell it leaves; one that rises by de metres max(b * max(de, 1), 10 de). (The
    published price, max(b * de, de), makes a rise of less than a metre cheaper than level ground, and lets water that
    is found flow uphill rather than cross a gap.) A little for its length is added, so that free ways are short ones.

    Parameters
    ----------
    price : (y, x) float32
        Bits, see `price_of_cells`.
    elevation : (y, x) float32
        Metres, without NaN; means of 3x3 cells, lest noise make rises.
    labels, pieces : Labels, Pieces
        Of the window; ways stay within a catchment.
    worth : (n,) float32
        Highest price paid for each piece.

    Returns
    -------
    (y, x) bool
    """
    joined = np.zeros(price.shape, dtype=bool)
    _grow(
        joined.ravel(),
        labels.catchment.ravel(),
        labels.mouth.ravel(),
        price.ravel(),
        elevation.ravel(),
        labels.reach_cells,
        labels.reach_start,
        pieces.piece.ravel(),
        pieces.label,
        pieces.cells,
        pieces.start,
        pieces.lowest,
        pieces.anchored,
        (worth.astype(np.float64) * UNITS).astype(np.int32),
        price.shape[1],
    )
    # A cell that lost its catchment where two of them cross (`without_checkers`) flows nowhere.
    joined &= labels.catchment >= 0
    return joined


@njit(cache=True)
def _grow(
    joined: Any,
    labels: Any,
    mouth: Any,
    prices: Any,
    elevation: Any,
    reach_cells: Any,
    reach_start: Any,
    piece_of: Any,
    piece_label: Any,
    cells: Any,
    start: Any,
    lowest: Any,
    anchored: Any,
    worth: Any,
    width: int,
) -> None:
    size, pieces = len(labels), len(worth)
    # -1 where no way may lead through: reaches, and what is joined.
    cost = np.empty(size, np.int32)
    for i in range(size):
        cost[i] = 2**31 - 1 if labels[i] >= 0 and not mouth[i] else -1
    # Number of the neighbour that a cell's way goes on to.
    way = np.empty(size, np.int8)
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    is_joined = anchored.copy()
    by_label = np.argsort(piece_label, kind="mergesort")
    of_label = np.searchsorted(piece_label[by_label], np.arange(len(reach_start)))
    # A queue of buckets (Dial 1969); what was overtaken stays in it and is passed over. Memory is taken as it is used.
    head = np.full((worth.max() if pieces else 0) // _BUCKET + 1, np.int32(-1), np.int32)
    links = np.empty((8 * size, 2), np.int32)
    state = np.array([0, -1])
    # A way may run through every piece, and each of its steps costs something.
    stack = np.empty(len(cells) + (worth.max() if pieces else 0) // _STRAIGHT + 8, np.int64)
    # One catchment after the other: what it touches stays near in memory.
    for label in range(len(reach_start) - 1):
        own = by_label[of_label[label] : of_label[label + 1]]
        waiting = 0
        for piece in own:
            if anchored[piece]:
                for k in range(start[piece], start[piece + 1]):
                    cost[cells[k]] = -1
                    joined[cells[k]] = True
                    stack[waiting] = cells[k]
                    waiting += 1
        # The search goes as far as for the most worthy piece that still waits.
        limit = _most_wanted(own, is_joined, worth)
        if limit == 0:
            continue
        for k in range(waiting):
            _relax(stack[k], label, 0, limit, offsets, labels, prices, elevation, cost, way, head, links, state)
        for k in range(reach_start[label], reach_start[label + 1]):
            _relax(
                reach_cells[k], label, 0, limit, offsets, labels, prices, elevation, cost, way, head, links, state
            )  # fmt: skip
        current = 0
        while current < len(head):
            entry = head[current]
            if entry < 0:
                current += 1
                continue
            below = np.int64(links[entry, 0])
            head[current] = links[entry, 1]
            links[entry, 1], state[1] = state[1], entry
            so_far = cost[below]
            # Overtaken by a better way, joined meanwhile, or farther out than anything that still waits.
            if so_far // _BUCKET != current or so_far > limit:
                continue
            piece = piece_of[below]
            if piece < 0 or is_joined[piece] or lowest[piece] != below or so_far > worth[piece]:
                _relax(
                    below, label, so_far, limit, offsets, labels, prices, elevation, cost, way, head, links, state
                )  # fmt: skip
                continue
            # Join the way down, and every piece it runs through, whole; then the search goes on from all of it.
            waiting = 0
            cell = below
            while cost[cell] >= 0:
                through = piece_of[cell]
                if through < 0:
                    stack[waiting] = cell
                    waiting += 1
                elif not is_joined[through]:
                    is_joined[through] = True
                    for k in range(start[through], start[through + 1]):
                        stack[waiting] = cells[k]
                        waiting += 1
                cell = cell + offsets[way[cell]]
            for k in range(waiting):
                joined[stack[k]] = True
                cost[stack[k]] = -1
            limit = _most_wanted(own, is_joined, worth)
            for k in range(waiting):
                _relax(stack[k], label, 0, limit, offsets, labels, prices, elevation, cost, way, head, links, state)
            current = 0


@njit(cache=True)
def _most_wanted(pieces: Any, is_joined: Any, worth: Any) -> Any:
    most = np.int32(0)
    for piece in pieces:
        if not is_joined[piece] and worth[piece] > most:
            most = worth[piece]
    return most


@njit(cache=True)
def _relax(
    below: Any,
    label: int,
    so_far: Any,
    limit: Any,
    offsets: Any,
    labels: Any,
    prices: Any,
    elevation: Any,
    cost: Any,
    way: Any,
    head: Any,
    links: Any,
    state: Any,
) -> None:
    """Offer the cells around one a way through it, within its catchment."""
    # Unsigned, for a signed index is looked at for counting from the end.
    here = np.uint64(below)
    height = elevation[here]
    for k in range(8):
        above = here + np.uint64(offsets[np.uint64(k)])
        # The cheapest step there is would not do: that is told without looking at the terrain.
        if so_far + _STRAIGHT >= cost[above] or labels[above] != label:
            continue
        rise = height - elevation[above]
        price = max(prices[above] * max(rise, np.float32(1)), np.float32(_BITS_PER_M) * rise)
        if price * UNITS > limit:
            continue
        total = so_far + np.int32(price * UNITS) + (_DIAGONAL if (k == 0 or k == 2 or k == 5 or k == 7) else _STRAIGHT)
        if total >= cost[above] or total > limit:
            continue
        cost[above], way[above] = total, 7 - k
        if state[1] >= 0:
            entry = state[1]
            state[1] = links[entry, 1]
        else:
            entry = state[0]
            state[0] += 1
            if entry == len(links):
                raise MemoryError("the queue of ways is full")
        bucket = total // _BUCKET
        links[entry, 0], links[entry, 1] = above, head[bucket]
        head[bucket] = entry
