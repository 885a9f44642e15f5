"""Side threads of braided rivers: water that leaves the main course and returns around an island.  Pure arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_MAX_HEIGHT_M = 3.0
"""Largest height of a thread above the adjacent main course."""
_MAX_SLOPE = 0.02
"""Largest slope, rise per run, at which rivers braid: steeper rivers keep to one bed."""


@dataclass(frozen=True)
class Thread:
    """One side thread; both ends are on the main course."""

    line: NDArray[np.float64]
    """(n, 2) fractional (row, column)."""
    width_m: float
    """Width of its water."""
    belt: NDArray[np.float64]
    """(n,) distance from the main course in pixels; gravel covers the ground in between."""


def side_threads(
    line: NDArray[np.float64],
    width_px: NDArray[np.float32],
    elevation: NDArray[np.float64],
    closed: NDArray[np.bool_],
    *,
    fraction: float,
    dy: float,
    rng: np.random.Generator,
) -> list[Thread]:
    """Make side threads along a river.

    Parameters
    ----------
    line
        (n, 2) course of the main thread, fractional (row, column), a vertex about every pixel.
    width_px
        Width of the river at the vertices, pixels.
    elevation
        (y, x) meters; threads stay on the valley floor.
    closed
        (y, x) True where no thread may be: lakes, the sea.
    fraction
        Fraction of the length that splits.
    dy
        Height of a pixel, meters.
    rng
        Draws position, offset and side.
    """
    threads = []
    normal = _normals(line)
    start = 2
    while start < len(line) - 14:
        width = float(width_px[start])
        length = min(int(rng.uniform(8, 20) * (0.5 + width)) + 12, len(line) - 2 - start)
        if length < 12:
            break
        part = slice(start, start + length)
        top, bottom = (elevation[tuple(np.round(line[k]).astype(int))] for k in (start, start + length - 1))
        gentle = top - bottom < _MAX_SLOPE * length * dy
        for _ in range(int(rng.integers(1, 3)) if gentle and rng.random() < fraction else 0):
            t = np.linspace(0, 1, length)
            bow = np.sin(np.pi * t) ** rng.uniform(0.5, 1) * (
                1 + 0.3 * np.sin(2 * np.pi * (t * rng.uniform(1, 2.5) + rng.random()))
            )
            # Islands are long: the offset is at most a fifth of the thread's length.
            max_offset = min(1.5 + rng.uniform(1.0, 2.6) * width, 0.2 * length) * rng.choice([-1, 1])
            thread_width = float(np.clip(width * rng.uniform(0.3, 0.8), 0.3, 8))
            for shrink in (1.0, 0.6):
                offset = max_offset * shrink * bow
                course = line[part] + normal[part] * offset[:, None]
                course = ndimage.gaussian_filter1d(course, 3, axis=0, mode="nearest")
                course[0], course[-1] = line[part][0], line[part][-1]
                if _fits(course, line[part], elevation, closed):
                    threads.append(Thread(course, thread_width * dy, np.abs(offset)))
                    break
        start += max(8, int(length * rng.uniform(0.5, 1.0)))
    return threads


def _normals(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit vectors across a line, smoothed so threads do not cross themselves in bends."""
    along = ndimage.gaussian_filter1d(np.gradient(line, axis=0), 5, axis=0, mode="nearest")
    along /= np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    across: NDArray[np.float64] = np.column_stack([-along[:, 1], along[:, 0]])
    return across


def _fits(
    course: NDArray[np.float64],
    main: NDArray[np.float64],
    elevation: NDArray[np.float64],
    closed: NDArray[np.bool_],
) -> bool:
    rows, columns = np.round(course).astype(int).T
    if rows.min() < 0 or columns.min() < 0 or rows.max() >= closed.shape[0] or columns.max() >= closed.shape[1]:
        return False
    r, c = np.round(main).astype(int).T
    return not closed[rows, columns].any() and bool((elevation[rows, columns] - elevation[r, c] < _MAX_HEIGHT_M).all())
