"""Lengths on the WGS84 ellipsoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

GEOD = Geod(ellps="WGS84")
METERS_PER_DEGREE = 111_195.0
"""Length of a degree of latitude, accurate enough for tolerances."""
_LINES_AT_ONCE = 50_000
# For vertices closer than this, and not near the poles, the mid-latitude formula is accurate enough.
_SHORT_DEGREES = 0.002
_STEEP_LATITUDE = 80.0


def geodesic_length_m(lines: NDArray[Any]) -> NDArray[np.float64]:
    """Return the geodesic length of each line.

    Parameters
    ----------
    lines : (n,) array of shapely LineString
        Longitude, latitude in degrees (WGS84). Empty or missing lines have length 0.

    Returns
    -------
    (n,) float64
        Meters: by Karney's inverse geodesic between neighboring vertices; where these are close, by the mid-latitude
        formula, which is faster and accurate to a ten thousandth of a millimeter.
    """
    lines = np.asarray(lines, dtype=object)
    # In parts: the vertices of a region take more memory than its lines.
    parts = [_length_m(lines[start : start + _LINES_AT_ONCE]) for start in range(0, len(lines), _LINES_AT_ONCE)]
    return np.concatenate([np.zeros(0), *parts])


def _length_m(lines: NDArray[Any]) -> NDArray[np.float64]:
    points, line = shapely.get_coordinates(lines, return_index=True)
    same = line[1:] == line[:-1]
    start, end = points[:-1][same], points[1:][same]
    if len(start) == 0:
        return np.zeros(len(lines))
    step = _short_m(start, end)
    far = np.flatnonzero((np.abs(end - start).max(axis=1) > _SHORT_DEGREES) | (np.abs(start[:, 1]) > _STEEP_LATITUDE))
    _, _, step[far] = GEOD.inv(start[far, 0], start[far, 1], end[far, 0], end[far, 1])
    return np.bincount(line[1:][same], weights=step, minlength=len(lines)).astype(np.float64)


def _short_m(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the length of short steps, by the ellipsoid's radii of curvature at their mid-latitude."""
    east, north = np.radians(end - start).T
    middle = np.radians((start[:, 1] + end[:, 1]) / 2)
    flatter = 1 - GEOD.es * np.sin(middle) ** 2
    across = GEOD.a / np.sqrt(flatter)
    along = across * (1 - GEOD.es) / flatter
    return np.asarray(np.hypot(along * north, across * np.cos(middle) * east))
