"""The eight neighbors of a cell: rings of bits, which cells thinning may remove, and which cells are nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SIDES = 0b01010101
"""Bits of a ring that stand for the four neighbors at a side."""


@njit(cache=True)
def offsets_around(width: int) -> Any:
    """Return the offsets of the neighbors in the order of a ring's bits: from the east counterclockwise."""
    return np.array([1, -width + 1, -width, -width - 1, -1, width - 1, width, width + 1])


@njit(cache=True)
def offsets_by_row(width: int) -> Any:
    """Return the offsets of the neighbors row by row: neighbor 7 - k is opposite of neighbor k."""
    return np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])


@njit(cache=True)
def water_ring(water: Any, cell: Any, width: int) -> int:
    """Return which of the eight neighbors of a cell are water, as bits; `water` is flat bool."""
    return (
        int(water[cell + 1])
        | int(water[cell - width + 1]) << 1
        | int(water[cell - width]) << 2
        | int(water[cell - width - 1]) << 3
        | int(water[cell - 1]) << 4
        | int(water[cell + width - 1]) << 5
        | int(water[cell + width]) << 6
        | int(water[cell + width + 1]) << 7
    )


@njit(cache=True)
def count_neighbors(ring: int) -> int:
    """Return how many bits of a ring are set."""
    number = 0
    for k in range(8):
        number += ring >> k & 1
    return number


@njit(cache=True)
def removable_rings() -> Any:
    """Return whether a cell with each ring can be removed: (2, 256), for cells that may be and may not be ends.

    Removal keeps what is connected, and every hole, where the connectivity number is 1 (Yokoi et al. 1975,
    doi:10.1016/0146-664X(75)90028-7). It counts the parts of water that the cell connects; inside water it is 0, where
    removal would open a hole.
    """
    table = np.zeros((2, 256), np.bool_)
    for ring in range(256):
        number = 0
        for k in range(0, 8, 2):
            side, corner, next_side = ring >> k & 1, ring >> (k + 1) & 1, ring >> ((k + 2) % 8) & 1
            if side == 0 and (corner or next_side):
                number += 1
        table[0, ring] = number == 1
        table[1, ring] = number == 1 and count_neighbors(ring) > 1
    return table


@njit(cache=True)
def is_node(ring: int) -> bool:
    """Return whether a cell of a line is an end (at most one neighbor) or a junction (three lines meet)."""
    crossings = 0
    for k in range(8):
        if not ring >> k & 1 and ring >> ((k + 1) % 8) & 1:
            crossings += 1
    return count_neighbors(ring) <= 1 or crossings >= 3
