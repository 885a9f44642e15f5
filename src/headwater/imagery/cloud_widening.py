"""Widening clouds and shadows by a disc, the same for all cloud masks."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.core.errors import InputError


def widen_clouds(clear: NDArray[np.bool_], inside: NDArray[np.bool_], *, radius_px: int) -> NDArray[np.bool_]:
    """Return what stays clear when clouds and shadows inside the swath grow by a disc.

    Parameters
    ----------
    clear, inside : (y, x) bool
        Where the view is clear; where the swath is.
    radius_px : int
        Radius of the disc, pixels.

    Raises
    ------
    InputError
        The radius is negative.
    """
    return _widened(clear, inside, _half_widths(radius_px))


def _half_widths(radius: int) -> NDArray[np.int64]:
    """Return half the width of a disc, row by row from its middle."""
    if radius < 0:
        raise InputError(f"Clouds cannot be widened by {radius} px.", "Pass a radius of 0 px or more.")
    rows = np.arange(radius + 1)
    widths: NDArray[np.int64] = np.floor(np.sqrt(radius * radius - rows * rows)).astype(np.int64)
    return widths


@njit(cache=True, nogil=True)
def _widened(clear: NDArray[np.bool_], inside: NDArray[np.bool_], half_widths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return what stays clear when bad pixels inside the swath grow by a disc: along rows first, then across them."""
    height, width = clear.shape
    radius = half_widths.size - 1
    # Columns to the nearest bad pixel of the row, capped just above the radius.
    far = radius + 1
    distance = np.empty((height, width), np.uint8)
    for y in range(height):
        steps = far
        for x in range(width):
            steps = 0 if inside[y, x] and not clear[y, x] else min(steps + 1, far)
            distance[y, x] = steps
        steps = far
        for x in range(width - 1, -1, -1):
            steps = 0 if inside[y, x] and not clear[y, x] else min(steps + 1, far)
            distance[y, x] = min(distance[y, x], steps)
    out = clear.copy()
    for y in range(height):
        for up in range(max(-radius, -y), min(radius, height - 1 - y) + 1):
            reach = half_widths[abs(up)]
            for x in range(width):
                out[y, x] &= distance[y + up, x] > reach
    return out
