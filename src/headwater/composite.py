"""A cloud-free composite from scenes on one grid: pure arrays (method.md section 1, Imagery).

Arrays are (band, y, x) with bands N, R, G, B, or (scene, band, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headwater.bands import CLEAR_SCL, COMPOSITE_NODATA
from headwater.errors import InputError

METHODS = ("best_first", "mean", "median")
SIGMOID_SLOPE = 0.6
MAX_VIEWS = 255


def harmonise(dn: NDArray[np.uint16], *, offset: int) -> NDArray[np.uint16]:
    """Subtract the additive offset of processing baseline 04.00 and later from reflectance.

    Parameters
    ----------
    dn : uint16 array
        Digital numbers; 0 is nodata and stays so.
    offset : int
        What the baseline added: 1000 or 0.

    Returns
    -------
    uint16 array
        Valid pixels are clipped at 1 from below, so that none becomes nodata.
    """
    if offset == 0:
        return dn
    lowered = np.maximum(dn, offset + 1) - np.uint16(offset)
    return np.where(dn == 0, np.uint16(0), lowered).astype(np.uint16, copy=False)


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
    clear = np.isin(scl, CLEAR_SCL)
    if dilate_px > 0:
        bad = ~clear & (scl != 0)
        clear &= ~ndimage.binary_dilation(bad, structure=_disc(dilate_px))
    return clear


def sigmoid_scale(dn: NDArray[np.uint16], *, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.uint8]:
    """Scale a scene to 8 bits: f(z) = 255 / (1 + exp(-0.6 z)), z = (DN - mean) / std.

    Parameters
    ----------
    dn : (band, y, x) uint16
        Harmonised digital numbers, 0 = nodata.
    mean, std : sequence of float
        One a band, over the whole scene's clear pixels.

    Returns
    -------
    (band, y, x) uint8
        1 to 255; 0 where `dn` is 0. Source: method.md (release's normalisation).
    """
    out = np.empty(dn.shape, np.uint8)
    for band, (m, s) in enumerate(zip(mean, std, strict=True)):
        # uint16 has 65,536 values: a table is exact and far cheaper than an exponential a pixel.
        values = np.arange(65_536, dtype=np.float64)
        z = np.clip((values - m) / max(s, 1e-6), -50.0, 50.0)
        table = np.clip(np.rint(255.0 / (1.0 + np.exp(-SIGMOID_SLOPE * z))), 1, 255).astype(np.uint8)
        table[0] = COMPOSITE_NODATA
        out[band] = table[dn[band]]
    return out


class Compositor:
    """Adds scenes one by one; memory does not grow with their number (but for the median).

    Parameters
    ----------
    shape : (rows, columns)
        Size of the strip.
    bands : int
        Number of bands.
    method : str
        best_first (paper: the best scene that is clear), mean (release) or median of the clear views.
    """

    def __init__(self, shape: tuple[int, int], *, bands: int, method: str) -> None:
        if method not in METHODS:
            raise InputError(f"Composite method {method!r} is unknown.", f"Use one of {', '.join(METHODS)}.")
        self._method = method
        self._views = np.zeros(shape, np.uint8)
        self._best = np.zeros((bands, *shape), np.uint8)
        self._sum = np.zeros((bands, *shape), np.uint16)
        self._stack: list[NDArray[np.uint8]] = []

    @property
    def is_full(self) -> bool:
        """Whether another scene could not change the pixels (best_first with no gap left)."""
        return self._method == "best_first" and bool(self._views.all())

    def add(self, scene: NDArray[np.uint8], clear: NDArray[np.bool_]) -> None:
        """Add the next best scene.

        Parameters
        ----------
        scene : (band, y, x) uint8
            Scaled scene, 0 = nodata.
        clear : (y, x) bool
            Where it sees the ground.
        """
        seen = clear & np.all(scene != COMPOSITE_NODATA, axis=0)
        if self._method == "best_first":
            first = seen & (self._views == 0)
            np.copyto(self._best, scene, where=first)
        elif self._method == "mean":
            np.add(self._sum, scene, out=self._sum, where=seen)
        else:
            self._stack.append(np.where(seen, scene, np.uint8(COMPOSITE_NODATA)))
        # A uint16 sum of uint8 is safe up to 257 views.
        self._views += seen & (self._views < MAX_VIEWS)

    def result(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the composite and the count of clear views.

        Returns
        -------
        composite : (band, y, x) uint8
            0 where no scene is clear: clouds are never averaged in.
        clear_views : (y, x) uint8
        """
        if self._method == "best_first":
            return self._best, self._views
        if self._method == "mean":
            divisor = np.maximum(self._views, 1).astype(np.uint16)
            # Rounded half up in integers, which is the same on every machine.
            return ((self._sum + divisor // 2) // divisor).astype(np.uint8), self._views
        return _median(self._stack, self._best.shape), self._views


def _median(stack: list[NDArray[np.uint8]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Median over scenes of the values that are not nodata (the lower of the two middle ones)."""
    if not stack:
        return np.zeros(shape, np.uint8)
    ordered = np.sort(np.stack(stack), axis=0)
    count = np.count_nonzero(ordered, axis=0)
    # Nodata (0) sorts first: the valid values are the last `count` ones.
    middle = len(stack) - count + np.maximum(count - 1, 0) // 2
    chosen = np.take_along_axis(ordered, np.minimum(middle, len(stack) - 1)[np.newaxis], axis=0)[0]
    return np.where(count > 0, chosen, np.uint8(COMPOSITE_NODATA)).astype(np.uint8)


def _disc(radius: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius)
