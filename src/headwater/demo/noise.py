"""Smooth random fields: sums of random grids, each finer and weaker than the one before.  Pure arrays."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def fractal(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    wavelength_px: float,
    octaves: int = 4,
    persistence: float = 0.5,
) -> NDArray[np.float32]:
    """Return a (y, x) float32 field of mean 0 and standard deviation 1 with structure from `wavelength_px` down.

    Parameters
    ----------
    shape
        (rows, columns).
    rng
        Source of the random grids.
    wavelength_px
        Spacing of the coarsest random grid, pixels; each octave halves it.
    octaves
        Number of grids.
    persistence
        Weight of a grid relative to the coarser one before it.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    spacing, weight = float(wavelength_px), 1.0
    for _ in range(octaves):
        grid = rng.standard_normal((int(height / spacing) + 5, int(width / spacing) + 5), dtype=np.float32)
        offset = rng.random(2)
        _add_cubic(total, grid, spacing, offset[0], offset[1], weight)
        spacing, weight = max(spacing / 2, 1.0), weight * persistence
    total -= total.mean()
    total /= max(float(total.std()), 1e-6)
    return total


@njit(cache=True, nogil=True)
def _weights(t, out):  # type: ignore[no-untyped-def]
    """Fill the four weights of the uniform cubic B-spline at fraction t."""
    out[0] = (1 - t) ** 3 / 6
    out[1] = (3 * t**3 - 6 * t**2 + 4) / 6
    out[2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    out[3] = t**3 / 6


@njit(cache=True, nogil=True)
def _add_cubic(total, grid, spacing, offset_y, offset_x, weight):  # type: ignore[no-untyped-def]
    """Add `weight` times the B-spline surface over `grid` (one node every `spacing` pixels) to `total`."""
    height, width = total.shape
    wy, wx = np.empty(4), np.empty((width, 4))
    first = np.empty(width, np.int64)
    for x in range(width):
        position = x / spacing + offset_x
        first[x] = int(position)
        _weights(position - first[x], wx[x])
    row = np.empty(grid.shape[1])
    for y in range(height):
        position = y / spacing + offset_y
        top = int(position)
        _weights(position - top, wy)
        for g in range(grid.shape[1]):  # the four grid rows blend once, then every pixel takes four of the blend
            row[g] = (
                wy[0] * grid[top, g] + wy[1] * grid[top + 1, g] + wy[2] * grid[top + 2, g] + wy[3] * grid[top + 3, g]
            )
        for x in range(width):
            g = first[x]
            value = wx[x, 0] * row[g] + wx[x, 1] * row[g + 1] + wx[x, 2] * row[g + 2] + wx[x, 3] * row[g + 3]
            total[y, x] += weight * value
