"""Where a scene sees the ground: by its own classification, or by a better one."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.sentinel2 import CLEAR_SCL

MASKS = ("scl", "omnicloudmask")
MOST_DILATION_PX = 50
CONTEXT_PX = 128
"""What a network that looks for clouds is shown around a part."""
_CLEAR_CLASS = 0
"""Of OmniCloudMask: 0 clear, 1 thick cloud, 2 thin cloud, 3 shadow."""


def clear_mask(scl: NDArray[np.uint8], *, dilate_px: int) -> NDArray[np.bool_]:
    """Tell which pixels see the ground, by the scene classification.

    Parameters
    ----------
    scl : (y, x) uint8
        Scene classification; 0 is outside the swath.
    dilate_px : int
        Pixels by which clouds and shadows are widened (SCL misses their edges). The swath's edge is not.

    Returns
    -------
    (y, x) bool
        True where the view is clear.
    """
    clear = np.zeros(256, bool)
    clear[list(CLEAR_SCL)] = True
    return _widened(clear[scl], scl != 0, _half_widths(dilate_px))


def better_clear_mask(mask: str, dn: NDArray[np.uint16], *, dilate_px: int) -> NDArray[np.bool_]:
    """Tell which pixels see the ground, by another mask than SCL.

    Parameters
    ----------
    mask : str
        omnicloudmask: a pixel must be clear in the class map of OmniCloudMask (Wright et al. 2025, Remote Sensing of
        Environment 322), which needs the extra `masks`.
    dn : (band, y, x) uint16
        Harmonised N, R, G, B; 0 = nodata.
    dilate_px : int
        Pixels by which clouds and shadows are widened.

    Raises
    ------
    InputError
        The mask is unknown, or what it needs is not installed.
    """
    if mask not in MASKS[1:]:
        raise InputError(f"There is no mask '{mask}'.", f"Set composite.mask to one of {', '.join(MASKS)}.")
    try:
        from omnicloudmask import predict_from_array
    except ImportError:
        raise InputError(
            "The mask 'omnicloudmask' needs the extra `masks`, which is not installed.",
            "Install it with `pip install 'headwater[masks]'`, or set composite.mask to scl.",
        ) from None
    nir, red, green, _ = dn.astype(np.float32)
    classes = predict_from_array(np.stack([red, green, nir]), no_data_value=0, apply_no_data_mask=True)[0]
    inside = (dn != 0).all(axis=0)
    return _widened((classes == _CLEAR_CLASS) & inside, inside, _half_widths(dilate_px))


def _half_widths(radius: int) -> NDArray[np.int64]:
    """Return half the width of a disc, row by row from its middle."""
    if not 0 <= radius <= MOST_DILATION_PX:
        raise InputError(
            f"Clouds cannot be widened by {radius} px.", f"Set composite.dilate_px between 0 and {MOST_DILATION_PX}."
        )
    rows = np.arange(radius + 1)
    widths: NDArray[np.int64] = np.floor(np.sqrt(radius * radius - rows * rows)).astype(np.int64)
    return widths


@njit(cache=True, nogil=True)
def _widened(clear: NDArray[np.bool_], inside: NDArray[np.bool_], half_widths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return what stays clear when bad pixels inside the swath grow by a disc: rows first, then across them."""
    height, width = clear.shape
    radius = half_widths.size - 1
    # Columns to the nearest bad pixel of the row, no more than the radius can ask for.
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
