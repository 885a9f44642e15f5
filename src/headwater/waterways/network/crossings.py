"""Which pairs of lines meet elsewhere than in end points of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

# Bound of the error of a determinant of doubles, as a fraction of its terms.
_ROUNDING = 1e-14
LINES_AT_ONCE = 50_000
_ENDS_ONLY = "FF*F*****"


def crossing_pairs(
    lines: NDArray[Any],
    wanted: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]],
    *,
    copies: bool = False,
) -> NDArray[np.int64]:
    """Return the pairs of lines that meet elsewhere than where both end.

    Parameters
    ----------
    lines : (n,) array of LineString
        With finite vertices.
    wanted : callable
        Takes rows (m,) and (m,) of pairs; returns which are looked at.
    copies : bool
        Whether lines that are the same belong to them.

    Returns
    -------
    (2, k) int64
        Rows of the pairs, the smaller row first.
    """
    tree = shapely.STRtree(lines)
    found = [np.zeros((2, 0), dtype=np.int64)]
    for start in range(0, len(lines), LINES_AT_ONCE):
        own, other = tree.query(lines[start : start + LINES_AT_ONCE])
        own += start
        candidates = (own < other) & wanted(own, other)
        own, other = own[candidates], other[candidates]
        # The general predicate is slow, and few pairs need it.
        unsure = ~meet_in_ends(lines, own, other)
        own, other = own[unsure], other[unsure]
        meets_elsewhere = ~shapely.relate_pattern(lines[own], lines[other], _ENDS_ONLY)
        own, other = own[meets_elsewhere], other[meets_elsewhere]
        pairs = np.stack([own, other])
        if not copies:
            pairs = pairs[:, ~shapely.equals_exact(shapely.normalize(lines[own]), shapely.normalize(lines[other]))]
        found.append(pairs)
    return np.concatenate(found, axis=1)


def meet_in_ends(lines: NDArray[Any], one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs of lines certainly share only end points of both, or nothing.

    Parameters
    ----------
    lines : (n,) array of LineString
        With finite vertices.
    one, other : (m,) int64
        Rows of the pairs.

    Returns
    -------
    (m,) bool
        False where they meet elsewhere, and where rounding leaves it undecided.
    """
    points, line = shapely.get_coordinates(lines, return_index=True)
    start = np.searchsorted(line, np.arange(len(lines) + 1))
    apart: NDArray[np.bool_] = _meet_in_ends(points, start, shapely.bounds(lines), one, other)
    return apart


@njit(cache=True)
def _meet_in_ends(points: Any, start: Any, boxes: Any, one: Any, other: Any) -> Any:
    sure = np.ones(len(one), np.bool_)
    for pair in range(len(one)):
        a, b = one[pair], other[pair]
        # A ring has no ends.
        if _same(points, start[a], start[a + 1] - 1) or _same(points, start[b], start[b + 1] - 1):
            sure[pair] = False
            continue
        for i in range(start[a], start[a + 1] - 1):
            if _beyond(points, i, boxes[b]):
                continue
            for j in range(start[b], start[b + 1] - 1):
                if not _beyond(points, j, boxes[a]) and not _edges_apart(points, start, a, b, i, j):
                    sure[pair] = False
    return sure


@njit(cache=True)
def _same(points: Any, i: int, j: int) -> bool:
    return bool(points[i, 0] == points[j, 0] and points[i, 1] == points[j, 1])


@njit(cache=True)
def _beyond(points: Any, i: int, box: Any) -> bool:
    """Whether the edge from a vertex to the next is completely on one side of a box."""
    x0, y0, x1, y1 = points[i, 0], points[i, 1], points[i + 1, 0], points[i + 1, 1]
    return bool(max(x0, x1) < box[0] or min(x0, x1) > box[2] or max(y0, y1) < box[1] or min(y0, y1) > box[3])


@njit(cache=True)
def _edges_apart(points: Any, start: Any, a: int, b: int, i: int, j: int) -> bool:
    """Whether an edge of each of two lines certainly share only an end of both lines, or nothing."""
    for k in (i, i + 1):
        for m in (j, j + 1):
            if _same(points, k, m):
                at_ends = (k == start[a] or k == start[a + 1] - 1) and (m == start[b] or m == start[b + 1] - 1)
                return at_ends and _parted(points, k, 2 * i + 1 - k, 2 * j + 1 - m)
    return _one_side(points, i, j) or _one_side(points, j, i)


@njit(cache=True)
def _parted(points: Any, origin: int, one: int, other: int) -> bool:
    """Whether two points are certainly in different directions: mostly they are opposite each other."""
    x = (points[one, 0] - points[origin, 0]) * (points[other, 0] - points[origin, 0])
    y = (points[one, 1] - points[origin, 1]) * (points[other, 1] - points[origin, 1])
    return bool(x + y < -_ROUNDING * (abs(x) + abs(y))) or _side(points, origin, one, other) != 0


@njit(cache=True)
def _one_side(points: Any, i: int, j: int) -> bool:
    """Whether both ends of an edge are certainly on one side of another edge's line."""
    return bool(_side(points, i, i + 1, j) * _side(points, i, i + 1, j + 1) > 0)


@njit(cache=True)
def _side(points: Any, origin: int, toward: int, point: int) -> int:
    """Return the side of a line that a point is on, 1 or -1; 0 where rounding leaves it undecided."""
    left = (points[toward, 0] - points[origin, 0]) * (points[point, 1] - points[origin, 1])
    right = (points[toward, 1] - points[origin, 1]) * (points[point, 0] - points[origin, 0])
    if abs(left - right) <= _ROUNDING * (abs(left) + abs(right)):
        return 0
    return 1 if left > right else -1
