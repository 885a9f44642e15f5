"""Few boxes over many cells: the bounding box of an irregular basin covers far more than the basin."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headwater.geo.longitudes import Box, split_box

MAX_BOXES = 16
_FOOTPRINT_DEGREES = 1.0
"""A scene that touches a box extends about this far beyond it, so a box costs more than its own area."""
_MIN_SAVED_FRACTION = 0.2
"""A box is cut in two only if that saves this fraction of its cost,"""
_MIN_SAVED_AREA = 16.0
"""and so many square degrees: about a page of scenes a month, which is worth one more request."""
_EXTRA_AT_180 = 1.2
"""Degrees at the equator; see `_extended_at_180`."""


def cover_boxes(cells: Iterable[Box], *, max_boxes: int = MAX_BOXES) -> list[Box]:
    """Cover cells with few boxes of little area, none across the antimeridian.

    Starts with the bounding box. While it saves enough, the cut that saves the most is made, straight across a box
    between its cells; for cells on both sides of 180 the first cut separates them there.

    Parameters
    ----------
    cells : iterable of (west, south, east, north)
        Degrees; west > east, or an edge beyond 180, crosses the antimeridian.
    max_boxes : int
        Maximum number of boxes.

    Returns
    -------
    list of (west, south, east, north)
        Sorted; every cell is within their union. The same for any order of the cells.
    """
    parts = np.array(sorted({part for cell in cells for part in split_box(cell)}))
    groups = [parts]
    while len(groups) < max_boxes:
        cuts = [_best_cut(group) for group in groups]
        saved = [cut[0] if cut[0] >= max(_MIN_SAVED_AREA, _MIN_SAVED_FRACTION * _cost(group)) else 0.0
                 for cut, group in zip(cuts, groups, strict=True)]  # fmt: skip
        best = int(np.argmax(saved))
        if saved[best] <= 0:
            break
        groups[best : best + 1] = cuts[best][1]
    return sorted(_extended_at_180(_bounds(group)) for group in groups)


def _best_cut(group: NDArray[np.float64]) -> tuple[float, list[NDArray[np.float64]]]:
    """Return the cost that the best cut of a group saves, and its two parts."""
    best: tuple[float, list[NDArray[np.float64]]] = (0.0, [])
    total = _cost(group)
    for axis in (0, 1):
        order = group[np.argsort(group[:, axis], kind="stable")]
        low = np.minimum.accumulate(order[:, :2]), np.maximum.accumulate(order[:, 2:])
        high = np.minimum.accumulate(order[::-1, :2])[::-1], np.maximum.accumulate(order[::-1, 2:])[::-1]
        # Cut k: the first k + 1 cells, and all others.
        first, second = (np.prod(east - west + _FOOTPRINT_DEGREES, axis=1) for west, east in (low, high))
        saved = total - (first[:-1] + second[1:])
        if saved.size and saved.max() > best[0]:
            k = int(np.argmax(saved)) + 1
            best = float(saved.max()), [order[:k], order[k:]]
    return best


def _cost(group: NDArray[np.float64]) -> float:
    west, south, east, north = _bounds(group)
    return (east - west + _FOOTPRINT_DEGREES) * (north - south + _FOOTPRINT_DEGREES)


def _bounds(group: NDArray[np.float64]) -> Box:
    west, south = group[:, :2].min(axis=0).tolist()
    east, north = group[:, 2:].max(axis=0).tolist()
    return (west, south, east, north)


def _extended_at_180(box: Box) -> Box:
    """Extend a box that ends at 180 away from there by the width of a scene.

    Catalogs that take a footprint across 180 for one around the world find it everywhere except there
    (microsoft/PlanetaryComputer#296); its corners are at most a scene's width from 180.
    """
    west, south, east, north = box
    # Sentinel-2 sees nothing beyond 84 degrees.
    back = _EXTRA_AT_180 / float(np.cos(np.radians(min(84.0, max(abs(south), abs(north))))))
    if east >= 180.0:
        west = max(-180.0, min(west, 180.0 - back))
    if west <= -180.0:
        east = min(180.0, max(east, back - 180.0))
    return (west, south, east, north)
