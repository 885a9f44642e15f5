"""Lengths on the WGS84 ellipsoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

GEOD = Geod(ellps="WGS84")
METRES_PER_DEGREE = 111_195.0
"""Length of a degree of latitude, near enough for tolerances."""
_LINES_AT_ONCE = 50_000


def geodesic_length_m(lines: NDArray[Any]) -> NDArray[np.float64]:
    """Return the geodesic length of each line.

    Parameters
    ----------
    lines : (n,) array of shapely LineString
        Longitude, latitude in degrees (WGS84). Empty or missing lines have length 0.

    Returns
    -------
    (n,) float64
        Metres, by Karney's inverse geodesic between neighbouring vertices.
    """
    lines = np.asarray(lines, dtype=object)
    # Part by part: the vertices of a region take more memory than its lines.
    parts = [_length_m(lines[start : start + _LINES_AT_ONCE]) for start in range(0, len(lines), _LINES_AT_ONCE)]
    return np.concatenate([np.zeros(0), *parts])


def _length_m(lines: NDArray[Any]) -> NDArray[np.float64]:
    points, line = shapely.get_coordinates(lines, return_index=True)
    same = line[1:] == line[:-1]
    start, end = points[:-1][same], points[1:][same]
    if len(start) == 0:
        return np.zeros(len(lines))
    _, _, step = GEOD.inv(start[:, 0], start[:, 1], end[:, 0], end[:, 1])
    return np.bincount(line[1:][same], weights=step, minlength=len(lines)).astype(np.float64)
