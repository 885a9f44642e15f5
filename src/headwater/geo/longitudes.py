"""Shapes at 180 degrees of longitude, moved by whole turns of 360 degrees so that each is in one piece.

A river that crosses 180 degrees is drawn beside its outlet, whose longitudes lie from -180 to 180; those of its other
reaches may lie beyond. Such sums are exact for doubles of 128 to 256, so that turning there and back changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray


def middle_longitudes(shapes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the longitude in the middle of each shape's box; NaN for missing and empty ones."""
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    return np.asarray((boxes[:, 0] + boxes[:, 2]) / 2)


def turns_to(longitudes: NDArray[np.float64], near: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return how many whole turns bring longitudes nearest to others; 0 where one is NaN."""
    return np.nan_to_num(np.rint((near - longitudes) / 360))


def turned(shapes: NDArray[Any], turns: NDArray[np.float64]) -> NDArray[Any]:
    """Return shapes moved to the east by whole turns, (n,) each."""
    rows = np.flatnonzero(turns)
    return _moved(shapes, rows, lambda _, owner: turns[rows][owner])


def in_one_piece(shapes: NDArray[Any], near: NDArray[np.float64]) -> NDArray[Any]:
    """Return shapes with each vertex moved by whole turns to within 180 degrees of a longitude, (n,) each.

    What was cut at 180 degrees, or jumps there, is whole again: nothing here is 180 degrees wide.
    """
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    rows = np.flatnonzero((near - boxes[:, 0] > 180) | (boxes[:, 2] - near > 180))
    return _moved(shapes, rows, lambda x, owner: turns_to(x, near[rows][owner]))


def cut_to_map(lines: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the pieces of lines as a map from -180 to 180 degrees shows them, and the row of each piece."""
    strips = np.array([shapely.box(west, -90, west + 360, 90) for west in (-180, -540, 180)])
    turns = np.array([0.0, 1.0, -1.0])
    cut = shapely.intersection(lines[:, np.newaxis], strips).ravel()
    pieces, owner = shapely.get_parts(cut, return_index=True)
    pieces = turned(pieces, turns[owner % 3])
    kept = (shapely.get_type_id(pieces) == 1) & ~shapely.is_empty(pieces)
    return pieces[kept], (owner // 3)[kept]


def beside_outlets(lines: NDArray[Any], downstream: NDArray[np.int64]) -> NDArray[Any]:
    """Return lines moved by whole turns so that each lies beside what it flows into, and outlets from -180 to 180.

    Parameters
    ----------
    lines : (n,) array of lines
        Each in one piece; missing and empty ones are passed over.
    downstream : (n,) int64
        Row that each flows into; -1 at an outlet. There is no circle.
    """
    x = middle_longitudes(lines)
    below = downstream.copy()
    while (passed := (below >= 0) & np.isnan(x[below])).any():
        below[passed] = below[below[passed]]
    at_outlet = np.nan_to_num(-np.floor((x + 180) / 360))
    # Down- to upstream the turns add up: after k rounds `sums` holds those of 2**k links.
    count = len(lines)
    sums = np.append(np.where(below >= 0, turns_to(x, x[below]), at_outlet), 0)
    far = np.append(np.where(below >= 0, below, count), count)
    for _ in range(count.bit_length()):
        sums, far = sums + sums[far], far[far]
    return turned(lines, sums[:-1])


def _moved(shapes: NDArray[Any], rows: NDArray[np.int64], turns_of: Callable[..., NDArray[np.float64]]) -> NDArray[Any]:
    """Return shapes with the vertices of some rows moved by the turns of their longitudes and rows."""
    if len(rows) == 0:
        return shapes
    points, owner = shapely.get_coordinates(shapes[rows], return_index=True)
    points[:, 0] += 360 * turns_of(points[:, 0], owner)
    shapes = shapes.copy()
    shapes[rows] = shapely.set_coordinates(shapes[rows], points)
    return shapes
