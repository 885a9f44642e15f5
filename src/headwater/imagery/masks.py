"""Cloud masks: where a scene shows the ground clearly. The registry of masks, and the widening of clouds for all.

A mask is a `CloudMask` in one file. Other packages register theirs in the entry point group "headwater.masks". The SCL
classes that count as clear are in `headwater.core.sentinel2`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.plugins import Registry

MAX_DILATION_PX = 50


@dataclass(frozen=True)
class CloudMask:
    """A way to find clear views."""

    reads_scl: bool
    """True: it takes SCL (y, x) uint8, 0 outside the swath; scenes without SCL count as clear. False: it takes
    harmonized N, R, G, B (band, y, x) uint16, 0 = nodata."""
    context_px: int
    """Pixels around a part that it needs to see."""
    classify: Callable[[NDArray[Any]], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    """Returns where the view is clear and where the swath is, (y, x) bool each."""


MASKS: Registry[CloudMask] = Registry(
    "cloud mask",
    group="headwater.masks",
    builtin={
        "scl": "headwater.imagery.scl_mask:MASK",
        "omnicloudmask": "headwater.imagery.omnicloud_mask:MASK",
    },
)
"""Cloud masks, imported when they are chosen; the first is the default."""


def clear_mask(pixels: NDArray[Any], *, mask: str | CloudMask = "scl", dilate_px: int) -> NDArray[np.bool_]:
    """Return which pixels show the ground.

    Parameters
    ----------
    pixels : array
        What the mask takes, see `CloudMask.reads_scl`.
    mask : str or CloudMask
        A cloud mask or its name.
    dilate_px : int
        Pixels by which clouds and shadows are widened (SCL misses their edges). The swath's edge is not widened.

    Returns
    -------
    (y, x) bool
        True where the view is clear.

    Raises
    ------
    InputError
        There is no such mask, its packages are not installed, or the width is out of range.
    """
    chosen = MASKS.load(mask) if isinstance(mask, str) else mask
    clear, inside = chosen.classify(pixels)
    return _widened(clear, inside, _half_widths(dilate_px))


def _half_widths(radius: int) -> NDArray[np.int64]:
    """Return half the width of a disc, row by row from its middle."""
    if not 0 <= radius <= MAX_DILATION_PX:
        raise InputError(
            f"Clouds cannot be widened by {radius} px.", f"Set composite.dilate_px between 0 and {MAX_DILATION_PX}."
        )
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
