"""Where new lines meet the reach: exact joins, and the reach split at them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.vector.geodesy import METRES_PER_DEGREE

SAME_PLACE_DEGREES = 0.001 / METRES_PER_DEGREE
"""Joins nearer than a millimetre share a point."""
NEXT_LINK = -1
"""Piece index that stands for the first piece of the downstream link."""


@dataclass(frozen=True)
class SplitReach:
    """A reach cut at the joins of new lines."""

    pieces: list[NDArray[np.float64]]
    """(n, 2) vertices of each piece, from the head to the tail; neighbours share a vertex exactly."""
    joins: NDArray[np.float64]
    """(m, 2) point at which each new line ends: the first vertex of the piece it flows into."""
    into: NDArray[np.int64]
    """Piece each new line flows into; NEXT_LINK for the head of the downstream link."""


def split_reach(
    reach: NDArray[np.float64], ends: NDArray[np.float64], *, flows_on: bool, aspect: float = 1.0
) -> SplitReach:
    """Join new lines to a reach, each at the point of the reach nearest to its end, and cut the reach there.

    The leg from the end to the nearest point cannot cross the reach. A join at the head vertex cuts nothing; one at the
    tail vertex flows into the downstream link or, where there is none, joins half way along the last stretch.

    Parameters
    ----------
    reach : (n, 2) float64
        Longitude, latitude of the vertices, drawn downstream.
    ends : (m, 2) float64
        Last vertex of each new line.
    flows_on : bool
        Whether there is a downstream link, whose first vertex is the reach's last.
    aspect : float
        Length of a degree of longitude in degrees of latitude.

    Returns
    -------
    SplitReach
    """
    last = len(reach) - 1
    # A place on the reach is the number of a vertex plus the share of the way to the next one.
    places = np.array([_nearest_place(reach, end, aspect) for end in ends], dtype=np.float64).reshape(-1)
    places = np.array([_snapped(reach, place) for place in places], dtype=np.float64).reshape(-1)
    at_head = _near(reach, places, reach[0])
    at_tail = _near(reach, places, reach[last]) & ~at_head
    if not flows_on and at_tail.any():
        places[at_tail] = _before_tail(reach, places[~at_head & ~at_tail])
        at_tail[:] = False
    between = ~at_head & ~at_tail
    cuts: list[float] = []
    cut_of = np.full(len(places), -1, dtype=np.int64)
    for i in np.flatnonzero(between)[np.argsort(places[between], kind="stable")]:
        if not cuts or _distance(_point(reach, cuts[-1]), _point(reach, places[i])) > SAME_PLACE_DEGREES:
            cuts.append(float(places[i]))
        cut_of[i] = len(cuts) - 1
    points = [reach[0], *(_point(reach, cut) for cut in cuts), reach[last]]
    stations = [0.0, *cuts, float(last)]
    pieces = []
    for k in range(len(stations) - 1):
        inner = reach[int(np.floor(stations[k])) + 1 : int(np.ceil(stations[k + 1]))]
        pieces.append(np.vstack([points[k], inner, points[k + 1]]))
    into = np.where(at_head, 0, np.where(at_tail, NEXT_LINK, cut_of + 1))
    joins = np.array([points[NEXT_LINK if index == NEXT_LINK else index] for index in into]).reshape(-1, 2)
    return SplitReach(pieces, joins, into.astype(np.int64))


def _nearest_place(reach: NDArray[np.float64], end: NDArray[np.float64], aspect: float) -> float:
    scale = np.array([aspect, 1.0])
    start, step = reach[:-1] * scale, np.diff(reach, axis=0) * scale
    squared = (step**2).sum(axis=1)
    along = ((end * scale - start) * step).sum(axis=1)
    share = np.clip(np.divide(along, squared, out=np.zeros_like(along), where=squared > 0), 0.0, 1.0)
    distance = np.hypot(*(start + share[:, None] * step - end * scale).T)
    nearest = int(np.argmin(distance))
    return nearest + float(share[nearest])


def _snapped(reach: NDArray[np.float64], place: float) -> float:
    """Move a place within a millimetre of a vertex onto it."""
    vertex = round(place)
    return float(vertex) if _distance(_point(reach, place), reach[vertex]) <= SAME_PLACE_DEGREES else place


def _point(reach: NDArray[np.float64], place: float) -> NDArray[np.float64]:
    vertex = int(np.floor(place))
    if place == vertex:
        return np.asarray(reach[vertex])
    point: NDArray[np.float64] = reach[vertex] + (place - vertex) * (reach[vertex + 1] - reach[vertex])
    return point


def _near(reach: NDArray[np.float64], places: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.array([_distance(_point(reach, p), point) <= SAME_PLACE_DEGREES for p in places], dtype=bool).reshape(-1)


def _before_tail(reach: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Place half way between the tail and what comes before it: a vertex, or the last other join."""
    last = len(reach) - 1
    vertex = max(i for i in range(last) if _distance(reach[i], reach[last]) > SAME_PLACE_DEGREES)
    return float(max([float(vertex), *others]) + vertex + 1) / 2


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))
