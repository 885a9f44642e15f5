"""The one line of a link that a table stores as several."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.geo.geodesy import GEOD

MAX_GAP_M = 1000.0
"""Longest gap between two parts of a link that is closed by a straight line."""


def one_line(shape: shapely.MultiLineString, link: int) -> tuple[shapely.LineString, int]:
    """Return the parts of a link as one line, and how many gaps between them were closed.

    Parts that meet end to end are one line. Of others, the two ends that are nearest to each other are joined, in
    whatever order and direction the parts are stored.

    Parameters
    ----------
    shape : MultiLineString
        Parts of the link, EPSG:4326, in one piece at 180 degrees.
    link : int
        Id, for messages.

    Raises
    ------
    InputError
        The link branches, or two of its parts are more than MAX_GAP_M apart.
    """
    parts = [part for part in shape.geoms if part.length > 0]
    if not parts:
        # Of no length: where a neighbor ends, if anywhere.
        return shape.geoms[0], 0
    parts = shapely.get_parts(shapely.line_merge(shapely.MultiLineString(parts))).tolist()
    if len(parts) == 1:
        return parts[0], 0
    _refuse_branches(parts, link)
    gaps = len(parts) - 1
    while len(parts) > 1:
        parts = _joined_pair(parts, link)
    return parts[0], gaps


def _refuse_branches(parts: list[shapely.LineString], link: int) -> None:
    lines = np.array(parts, dtype=object)
    first, second = np.triu_indices(len(lines), 1)
    meeting = np.flatnonzero(shapely.intersects(lines[first], lines[second]))
    if len(meeting):
        x, y = shapely.get_coordinates(shapely.intersection(lines[first[meeting[0]]], lines[second[meeting[0]]]))[0]
        raise InputError(
            f"Link {link} branches at {x:.5f}, {y:.5f}, or covers itself there.",
            "Give each branch as a link of its own, with its LINKNO and DSLINKNO.",
        )


def _joined_pair(parts: list[shapely.LineString], link: int) -> list[shapely.LineString]:
    """Return the parts with the two that are nearest to each other joined."""
    ends = shapely.get_coordinates([shapely.get_point(part, at) for part in parts for at in (0, -1)])
    apart = _distance_m(ends[:, np.newaxis], ends[np.newaxis])
    owner = np.arange(len(ends)) // 2
    apart[owner[:, np.newaxis] == owner] = np.inf
    one, other = np.unravel_index(int(apart.argmin()), apart.shape)
    gap = apart[one, other]
    if gap > MAX_GAP_M:
        raise InputError(
            f"Link {link} is in parts that are {gap / 1000:.1f} km apart, at {_place(ends[one])} and "
            f"{_place(ends[other])}.",
            f"Give each link as one line; gaps up to {MAX_GAP_M:.0f} m are closed.",
        )
    # A third end about as near to the two as they are to each other makes it a fork.
    others = (owner != owner[one]) & (owner != owner[other])
    nearby = np.minimum(apart[one], apart[other])[others]
    if len(nearby) and nearby.min() < 2 * gap:
        raise InputError(
            f"Link {link} branches near {_place(ends[one])}: the ends of three parts are within {2 * gap:.0f} m.",
            "Give each branch as a link of its own, with its LINKNO and DSLINKNO.",
        )
    before = np.asarray(parts[owner[one]].coords)[:: 1 if one % 2 else -1]
    after = np.asarray(parts[owner[other]].coords)[:: -1 if other % 2 else 1]
    kept = [part for number, part in enumerate(parts) if number not in (owner[one], owner[other])]
    return [*kept, shapely.LineString(np.concatenate([before[:, :2], after[:, :2]]))]


def _distance_m(start: NDArray[Any], end: NDArray[Any]) -> NDArray[np.float64]:
    start, end = np.broadcast_arrays(start, end)
    return np.asarray(GEOD.inv(start[..., 0], start[..., 1], end[..., 0], end[..., 1])[2], dtype=np.float64)


def _place(point: NDArray[np.float64]) -> str:
    return f"{point[0]:.5f}, {point[1]:.5f}"
