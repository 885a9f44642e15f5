"""How overlapping tiles become one map: blend windows (weights of a tile), and the strip of the map being blended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

MIN_WEIGHT = 1e-3
"""Weight at the outermost pixels of a tile, along one axis: at the border of the raster it is the only weight."""


def blend_weights(shape: tuple[int, int], overlap: tuple[int, int] | None = None) -> Float32Array:
    """Return weights of 1 in the middle of a tile that fall smoothly over the overlap, but never vanish.

    Along each axis the weight is a quarter wave of sin^2 over the overlap, from `MIN_WEIGHT` at the edge, so that two
    neighbors with exactly this overlap sum to 1; the weights of both axes are multiplied.

    Parameters
    ----------
    shape : (rows, columns)
        Size of the tile.
    overlap : (rows, columns), optional
        Width of the slope at each edge, at most half the tile, which is also the default.

    Returns
    -------
    (rows, columns) float32, 0 < weight <= 1
    """
    axes = []
    for length, width in zip(shape, overlap or shape, strict=True):
        ramp = min(max(width, 1), length / 2)
        inside = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
        wave = np.sin(np.minimum(inside / ramp, 1) * (math.pi / 2)) ** 2
        axes.append(MIN_WEIGHT + (1 - MIN_WEIGHT) * wave)
    weights: Float32Array = (axes[0][:, None] * axes[1][None, :]).astype(np.float32)
    return weights


def release_weights(shape: tuple[int, int], overlap: tuple[int, int] | None = None) -> Float32Array:
    """Return 1 / (1 + d), d the 10-norm distance to the center in pixels (the release of Pierson and Mehrabi 2024).

    For comparison: the weight stays high up to the edge. Parameters as for `blend_weights`; the overlap is ignored.
    """
    rows, columns = (np.abs(np.arange(length) - (length - 1) / 2) for length in shape)
    distance = (rows[:, None] ** 10 + columns[None, :] ** 10) ** 0.1
    weights: Float32Array = (1 / (1 + distance)).astype(np.float32)
    return weights


def flat_weights(shape: tuple[int, int], overlap: tuple[int, int] | None = None) -> Float32Array:
    """Return 1 everywhere, the plain mean of the tiles, for comparison."""
    return np.ones(shape, dtype=np.float32)


WINDOWS: Mapping[str, Callable[[tuple[int, int], tuple[int, int] | None], Float32Array]] = {
    "smooth": blend_weights,
    "release": release_weights,
    "flat": flat_weights,
}
"""Blend windows by name; prediction uses "smooth", the others are for comparison (benchmarks/seams.py)."""


class BlendingStrip:
    """The weighted mean of tiles on a strip of rows that moves down the map, in the memory of one row of tiles."""

    def __init__(self, weights: Float32Array, width: int) -> None:
        self._weights = weights
        self._sum = np.zeros((weights.shape[0], width), dtype=np.float32)
        self._weight = np.zeros_like(self._sum)
        self._first_row = 0

    def add(self, row: int, column: int, values: Float32Array) -> None:
        """Add a tile (rows, columns) whose first pixel of the map is (row, column)."""
        rows = slice(row - self._first_row, row - self._first_row + len(values))
        columns = slice(column, column + values.shape[1])
        self._sum[rows, columns] += self._weights * values
        self._weight[rows, columns] += self._weights

    def take(self, until_row: int) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
        """Return the rows above `until_row`, which no later tile reaches, and move down to it.

        Returns
        -------
        mean : (y, x) float32
            0 where no tile was added.
        reached : (y, x) bool
            True where a tile was added.
        """
        count = until_row - self._first_row
        total, weight = self._sum[:count], self._weight[:count]
        mean, reached = weighted_mean(total, weight)
        for array in (self._sum, self._weight):
            kept = len(array) - count
            array[:kept] = array[count:].copy()
            array[kept:] = 0
        self._first_row = until_row
        return mean, reached


def weighted_mean(total: Float32Array, weight: Float32Array) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Return the mean of blended tiles from the sum of their weighted values and the sum of their weights.

    Parameters
    ----------
    total, weight : (y, x) float32
        The two sums.

    Returns
    -------
    mean : (y, x) float32
        0 where no tile was added.
    reached : (y, x) bool
        True where a tile was added.
    """
    reached = weight > 0
    mean = np.zeros(total.shape, dtype=np.float32)
    np.divide(total, weight, out=mean, where=reached)
    # Rounding may put the mean of ones just above 1.
    return np.clip(mean, 0, 1, out=mean), reached
