"""Directions of a label's center lines in bins, the second task of the hourglass (Batra et al. 2019, CVPR).

Their lines are drawn, so each has a direction. Ours come from a raster of labels: water is thinned to its center line,
the line's axis is that of the line pixels around it, and of its two directions the one that leads down is used, since
water flows down and the channels contain the elevation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate, distance_transform_edt, uniform_filter

BoolArray = npt.NDArray[np.bool_]

_AXIS_WINDOW_PX = 7
_LINE_DISTANCE_PX = 1.5
"""Water this near a center line has its direction, so that thin lines are filled and lakes are not."""
_THINNINGS = 16
"""Water that is still wide after this many rounds (from both sides) is a lake without a direction."""


def orientation_classes(
    water: BoolArray, elevation: npt.NDArray[np.floating[Any]], bin_degrees: int
) -> npt.NDArray[np.int64]:
    """Return the class of direction of each pixel.

    Parameters
    ----------
    water : (y, x) bool
        True where the label is water.
    elevation : (y, x) float
        Meters on the same grid; where unknown (NaN), lines lead into the half circle from 0 to 180 degrees.
    bin_degrees : int
        Width of a bin, a divisor of 360.

    Returns
    -------
    (y, x) int64
        Bin of the direction in which the line leads down, counted counterclockwise from east (along the rows); the
        first bin is centered on east. 360 / bin_degrees where there is no line.
    """
    none = 360 // bin_degrees
    lines = center_lines(water)
    classes = np.full(water.shape, none, dtype=np.int64)
    if not lines.any():
        return classes
    degrees = _downhill(_axis_degrees(lines), elevation)
    bins = np.floor((degrees + bin_degrees / 2) / bin_degrees).astype(np.int64) % none
    distance, nearest = distance_transform_edt(~lines, return_indices=True)
    near = water & (distance <= _LINE_DISTANCE_PX)
    classes[near] = bins[tuple(nearest[:, near])]
    return classes


def center_lines(water: BoolArray) -> BoolArray:
    """Thin water to lines one pixel wide (Zhang and Suen 1984); wide water such as lakes is removed."""
    lines = np.pad(water, 1)
    for _ in range(_THINNINGS):
        before = lines.copy()
        for first_half in (True, False):
            lines = lines & ~_removable(lines, first_half=first_half)
        if (lines == before).all():
            break
    wide = correlate(lines.astype(np.uint8), np.ones((3, 3), dtype=np.uint8), mode="constant") == 9
    inner: BoolArray = (lines & (distance_transform_edt(~wide) > 2) if wide.any() else lines)[1:-1, 1:-1]
    return inner


def _removable(lines: BoolArray, *, first_half: bool) -> BoolArray:
    """Mark the pixels that one half round of Zhang and Suen removes."""
    n, e, s, w = ((-1, 0), (0, 1), (1, 0), (0, -1))
    ring = [np.roll(lines, (-dy, -dx), (0, 1)) for dy, dx in (n, (-1, 1), e, (1, 1), s, (1, -1), w, (-1, -1))]
    count = sum(neighbor.astype(np.int8) for neighbor in ring)
    rises = sum((~a & b).astype(np.int8) for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
    north, east, south, west = ring[::2]
    shore = (
        ~(north & east & south) & ~(east & south & west)
        if first_half
        else ~(north & east & west) & ~(north & south & west)
    )
    removable: BoolArray = lines & (count >= 2) & (count <= 6) & (rises == 1) & shore
    return removable


def _axis_degrees(lines: BoolArray) -> npt.NDArray[np.float64]:
    """Return the main axis of the line pixels around each pixel, 0 to 180 degrees counterclockwise from east."""
    rows = np.arange(lines.shape[0], dtype=np.float64)[:, None]
    columns = np.arange(lines.shape[1], dtype=np.float64)[None, :]
    mass = lines.astype(np.float64)

    total = np.maximum(uniform_filter(mass, _AXIS_WINDOW_PX, mode="constant"), 1e-9)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        filtered: npt.NDArray[np.float64] = uniform_filter(values * mass, _AXIS_WINDOW_PX, mode="constant") / total
        return filtered

    x, y = mean(columns), mean(-rows)
    xx, yy, xy = mean(columns**2) - x * x, mean(rows**2) - y * y, mean(-rows * columns) - x * y
    axis: npt.NDArray[np.float64] = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180
    return axis


def _downhill(
    axis_degrees: npt.NDArray[np.float64], elevation: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float64]:
    """Return the direction of each axis that leads down, 0 to 360 degrees counterclockwise from east."""
    # The filter is a running sum: one unknown height would make all later ones unknown.
    known = np.isfinite(elevation)
    total = uniform_filter(np.where(known, elevation, 0.0).astype(np.float64), 3, mode="nearest")
    fraction = uniform_filter(known.astype(np.float64), 3, mode="nearest")
    smooth = np.where(fraction > 1e-6, total / np.maximum(fraction, 1e-6), np.nan)
    south, east = np.gradient(smooth)
    angle = np.radians(axis_degrees)
    rises = east * np.cos(angle) - south * np.sin(angle) > 0
    return np.where(rises, axis_degrees + 180, axis_degrees)
