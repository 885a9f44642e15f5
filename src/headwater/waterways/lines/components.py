"""Pieces of water: what hangs together within one catchment, and pieces that flow over its border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import Labels, by_label, without_checkers

NO_PIECE = -1


@dataclass(frozen=True)
class Pieces:
    """Water of a window in pieces that hang together (8 neighbours) within one catchment; reaches are none."""

    piece: NDArray[np.int32]
    """(y, x) number of a cell's piece; -1 where there is no water, and on reaches."""
    label: NDArray[np.int32]
    """(n,) catchment of each piece."""
    cells: NDArray[np.int64]
    """Flat indices of all cells, piece after piece."""
    start: NDArray[np.int64]
    """(n + 1,) where each piece's cells begin."""
    lowest: NDArray[np.int64]
    """(n,) flat index of the lowest cell."""
    height_m: NDArray[np.float32]
    """(n,) its elevation."""
    extent_px: NDArray[np.int32]
    """(n,) longer side of the box around it."""
    anchored: NDArray[np.bool_]
    """(n,) whether it touches its catchment's reach."""


def find_pieces(water: NDArray[np.bool_], elevation: NDArray[np.float32], labels: Labels) -> Pieces:
    """Find the pieces of water of each catchment.

    Parameters
    ----------
    water : (y, x) bool
        Cells found to be water.
    elevation : (y, x) float32
        Metres, without NaN; means of 3x3 cells.
    labels : Labels
        Of the window.
    """
    piece, count = _label(water.ravel(), labels.catchment, labels.mouth.ravel())
    cells = by_label(np.flatnonzero(piece >= 0), piece.ravel(), count)
    start = np.searchsorted(piece.ravel()[cells], np.arange(count + 1)).astype(np.int64)
    width = elevation.shape[1]
    lowest, height, extent = _facts(cells, start, elevation.ravel(), width)
    anchored = _anchored(piece.ravel(), labels.catchment.ravel(), labels.reach_cells, labels.reach_start, count, width)
    own_label = labels.catchment.ravel()[cells[start[:-1]]] if count else np.zeros(0, np.int32)
    return Pieces(piece, own_label, cells, start, lowest, height, extent, anchored)


def over_borders(pieces: Pieces, elevation: NDArray[np.float32], labels: Labels, *, max_rise_m: float) -> None:
    """Give pieces that flow out of their catchment to the one they flow into, in place in `pieces` and `labels`.

    A piece that does not touch its own reach goes to another catchment if it touches that one's reach; or else water
    there that does, and that goes on deeper than the piece's own lowest cell, from a border that is not higher above
    that cell than `max_rise_m`. Either way it is anchored then. Only the piece and its neighbours decide, so windows
    that hold them agree.
    """
    changed = _over_borders(
        pieces.cells,
        pieces.start,
        pieces.label,
        pieces.height_m,
        pieces.anchored,
        pieces.piece.ravel(),
        elevation.ravel(),
        labels.catchment.ravel(),
        labels.mouth.ravel(),
        max_rise_m,
        elevation.shape[1],
    )
    if changed:
        without_checkers(labels, pieces.piece >= 0)


@njit(cache=True)
def _root(parent: Any, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True)
def _label(water: Any, labels: Any, mouth: Any) -> Any:
    """Label water within catchments, in two passes (Rosenfeld and Pfaltz 1966); numbers go by first cell."""
    height, width = labels.shape
    flat = labels.ravel()
    piece = np.full(height * width, NO_PIECE, np.int32)
    parent = np.empty(height * width // 4 + height + width, np.int32)
    provisional = 0
    back = np.array([-width - 1, -width, -width + 1, -1])
    for row in range(1, height - 1):
        for cell in range(row * width + 1, row * width + width - 1):
            if not water[cell] or mouth[cell] or flat[cell] < 0:
                continue
            own = NO_PIECE
            for k in range(4):
                other = piece[cell + back[k]]
                if other >= 0 and flat[cell + back[k]] == flat[cell]:
                    other = _root(parent, other)
                    if own < 0:
                        own = other
                    elif other < own:
                        parent[own] = other
                        own = other
                    elif own < other:
                        parent[other] = own
            if own < 0:
                own = provisional
                if provisional == len(parent):
                    more = np.empty(2 * len(parent), np.int32)
                    more[:provisional] = parent
                    parent = more
                parent[provisional] = provisional
                provisional += 1
            piece[cell] = own
    number = np.full(provisional, NO_PIECE, np.int32)
    count = 0
    for i in range(provisional):
        if parent[i] == i:
            number[i] = count
            count += 1
    for cell in range(height * width):
        if piece[cell] >= 0:
            piece[cell] = number[_root(parent, piece[cell])]
    return piece.reshape(height, width), count


@njit(cache=True)
def _facts(cells: Any, start: Any, elevation: Any, width: int) -> Any:
    pieces = len(start) - 1
    lowest, height = np.empty(pieces, np.int64), np.empty(pieces, np.float32)
    extent = np.empty(pieces, np.int32)
    for piece in range(pieces):
        north, south, west, east = np.int64(2**40), np.int64(-1), np.int64(2**40), np.int64(-1)
        least, at = np.inf, cells[start[piece]]
        for k in range(start[piece], start[piece + 1]):
            cell = cells[k]
            row, column = cell // width, cell % width
            north, south, west, east = min(north, row), max(south, row), min(west, column), max(east, column)
            here = elevation[cell]
            if here < least:
                least, at = here, cell
        lowest[piece], height[piece] = at, least
        extent[piece] = max(south - north, east - west) + 1
    return lowest, height, extent


@njit(cache=True)
def _anchored(piece: Any, labels: Any, reach_cells: Any, reach_start: Any, count: int, width: int) -> Any:
    """Whether pieces touch the reach of their catchment."""
    anchored = np.zeros(count, np.bool_)
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    for label in range(len(reach_start) - 1):
        for k in range(reach_start[label], reach_start[label + 1]):
            for offset in offsets:
                beside = reach_cells[k] + offset
                if piece[beside] >= 0 and labels[beside] == label:
                    anchored[piece[beside]] = True
    return anchored


@njit(cache=True)
def _over_borders(
    cells: Any,
    start: Any,
    label: Any,
    height: Any,
    anchored: Any,
    piece_of: Any,
    elevation: Any,
    labels: Any,
    mouth: Any,
    max_rise_m: float,
    width: int,
) -> int:
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    goes_to = np.full(len(label), -1, np.int64)
    for piece in range(len(label)):
        if anchored[piece]:
            continue
        best, of_reach = np.inf, False
        for k in range(start[piece], start[piece + 1]):
            for o in range(8):
                other = cells[k] + offsets[o]
                if labels[other] < 0 or labels[other] == label[piece]:
                    continue
                onto_reach = mouth[other]
                if not onto_reach:
                    there = piece_of[other]
                    if there < 0 or not anchored[there] or not height[there] < height[piece]:
                        continue
                border = elevation[other]
                if border > height[piece] + max_rise_m or (of_reach and not onto_reach):
                    continue
                if border < best or (onto_reach and not of_reach):
                    best, of_reach = border, onto_reach
                    goes_to[piece] = labels[other]
    changed = 0
    for piece in range(len(label)):
        if goes_to[piece] >= 0:
            changed += 1
            label[piece] = goes_to[piece]
            anchored[piece] = True
            for k in range(start[piece], start[piece + 1]):
                labels[cells[k]] = goes_to[piece]
    return changed
