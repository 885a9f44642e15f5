"""Straight edges that are not water: rectangular fields and towns.  Pure arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headwater.demo.rock_relief import fractal_noise


class Towns(NamedTuple):
    """Built-up ground; arrays are (y, x) float32."""

    built: NDArray[np.float32]
    """Fraction under roofs."""
    roof: NDArray[np.float32]
    """Tone of the roof, -1 to 1."""
    street: NDArray[np.float32]
    """Fraction under streets."""
    centers: list[tuple[int, int]]
    """(row, column) of each town's center."""


def rectangles(shape: tuple[int, int], rng: np.random.Generator, *, area_px: float) -> NDArray[np.float32]:
    """Return a (y, x) field of rectangles in strips of two directions; each rectangle has one value from -1 to 1."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    field = np.zeros(shape, np.float32)
    here = fractal_noise(shape, rng, wavelength_px=260, octaves=2) > rng.uniform(-1, 1)
    for part in (here, ~here):
        angle, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(1), np.log(4)))
        high, wide = np.sqrt(area_px / stretch), np.sqrt(area_px * stretch)
        v = (y * np.cos(angle) - x * np.sin(angle)) / high
        u = (y * np.sin(angle) + x * np.cos(angle)) / wide
        strip = np.floor(v).astype(np.int32)
        strip -= strip.min()
        # Strips are shifted and cut differently: a network would learn a checkerboard as the generator's mark.
        shift, scale = rng.random(strip.max() + 1), np.exp(rng.uniform(-0.5, 0.5, strip.max() + 1))
        column = np.floor(u * scale[strip] + 40 * shift[strip]).astype(np.int32)
        column -= column.min()
        tones = rng.uniform(-1, 1, (997, 1009)).astype(np.float32)
        field = np.where(part, tones[strip % 997, column % 1009], field)
    return field


def towns(free: NDArray[np.bool_], slope: NDArray[np.float32], rng: np.random.Generator, *, count: int) -> Towns:
    """Build towns of blocks and straight streets on gentle ground.

    Parameters
    ----------
    free
        (y, x) True where a town may stand.
    slope
        (y, x) rise per run.
    rng
        Draws position and size.
    count
        Number of towns.
    """
    shape = free.shape
    built, roof, street = (np.zeros(shape, np.float32) for _ in range(3))
    centers: list[tuple[int, int]] = []
    gentle = np.flatnonzero(free & (slope < 0.1))
    if gentle.size == 0:
        return Towns(built, roof, street, centers)
    for cell in rng.choice(gentle, count):
        row, column = divmod(int(cell), shape[1])
        radius = float(np.exp(rng.uniform(np.log(7), np.log(55))))
        extent_px = int(1.6 * radius)
        rows = slice(max(0, row - extent_px), min(shape[0], row + extent_px + 1))
        columns = slice(max(0, column - extent_px), min(shape[1], column + extent_px + 1))
        y, x = np.mgrid[rows, columns].astype(np.float32)
        y, x = y - row, x - column
        edge = np.hypot(y, x) / radius + 0.3 * fractal_noise(y.shape, rng, wavelength_px=max(radius / 2, 4), octaves=3)
        angle, block, depth = rng.uniform(0, np.pi), rng.uniform(3, 9), rng.uniform(2.5, 6)
        v = (y * np.cos(angle) - x * np.sin(angle)) / depth + 500
        u = (y * np.sin(angle) + x * np.cos(angle)) / block + 500
        road = (v % 1 < 1 / depth) | (u % 1 < 1 / block)
        tone = rng.uniform(-1, 1, (101, 103)).astype(np.float32)[v.astype(int) % 101, u.astype(int) % 103]
        dense = rng.random((101, 103)).astype(np.float32)[v.astype(int) % 101, u.astype(int) % 103]
        inside = (edge < 1) & free[rows, columns] & (dense < 1.15 - 0.6 * edge)
        grain = np.clip(0.65 + 0.2 * rng.standard_normal(y.shape, dtype=np.float32), 0, 1)
        built[rows, columns] = np.where(inside & ~road, grain, built[rows, columns])
        roof[rows, columns] = np.where(inside & ~road, tone, roof[rows, columns])
        street[rows, columns] = np.where((edge < 1) & free[rows, columns] & road, 0.8, street[rows, columns])
        centers.append((row, column))
    return Towns(built, roof, street, centers)
