"""Fractal noise, and what shapes relief besides uplift: layered and jointed rock, floodplains.  Pure arrays."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from headwater.demo.erosion import limit_slopes
from headwater.demo.planet_parameters import PlanetParameters

_BLUFF = 3.0
"""Slope at the edge of a valley floor, rise per run; the bluff then fails like any other hillside."""


def fractal_noise(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    wavelength_px: float,
    octaves: int = 4,
    persistence: float = 0.5,
) -> NDArray[np.float32]:
    """Return a (y, x) float32 field of mean 0 and standard deviation 1 with structure at `wavelength_px` and below.

    It is a sum of random grids, each finer and weaker than the one before.

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


def layered_rock(
    shape: tuple[int, int], rng: np.random.Generator, *, degrees: float, width_px: float
) -> NDArray[np.float32]:
    """Return a (y, x) field of bent parallel bands, mean 0 and standard deviation 1.

    Parameters
    ----------
    shape
        (rows, columns).
    rng
        Source of the bands.
    degrees
        Direction of the bands, clockwise from east.
    width_px
        Width of a band.
    """
    angle = np.radians(degrees)
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    across = (y * np.cos(angle) - x * np.sin(angle)).astype(np.float32)
    # Folds: beds are neither straight nor equally thick.
    across += 2.2 * width_px * fractal_noise(shape, rng, wavelength_px=9 * width_px, octaves=3)
    across -= across.min()
    profile = rng.standard_normal(int(across.max() / width_px) + 3, dtype=np.float32)
    bands = ndimage.map_coordinates(profile, [across / width_px], order=1).astype(np.float32)
    bands -= bands.mean()
    bands /= max(float(bands.std()), 1e-6)
    normal: NDArray[np.float32] = bands
    return normal


def jointed_rock(shape: tuple[int, int], rng: np.random.Generator, *, degrees: float) -> NDArray[np.float32]:
    """Return the (y, x) weakness, 0 to 1, of two sets of straight joints, each several kilometers long."""
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    weak = np.zeros(shape, np.float32)
    for rotation in (0.0, float(rng.uniform(55, 90))):
        angle = np.radians(degrees + rotation)
        across = (y * np.cos(angle) - x * np.sin(angle)).astype(np.float32)
        across += 6 * fractal_noise(shape, rng, wavelength_px=150, octaves=2)
        across -= across.min()
        span = float(across.max())
        at = np.sort(rng.uniform(0, span, max(3, int(span / rng.uniform(50, 160)))))
        # The distance to the nearest joint, looked up by position.
        steps = np.arange(int(span) + 2)
        nearest = np.abs(steps[:, None] - at[None, :]).min(axis=1).astype(np.float32)
        away = ndimage.map_coordinates(nearest, [across], order=1)
        runs = np.clip(fractal_noise(shape, rng, wavelength_px=220, octaves=2) * 0.8 + 0.5, 0, 1)
        weak = np.maximum(weak, np.exp(-((away / 7) ** 2)) * runs)
    weakness: NDArray[np.float32] = weak.astype(np.float32)
    return weakness


def rock_structure(shape: tuple[int, int], parameters: PlanetParameters, seed: int) -> NDArray[np.float32]:
    """Return the (y, x) factor of beds and joints on erodibility."""
    rng = np.random.default_rng([seed, 21])
    factor = parameters.bedding * layered_rock(
        shape, rng, degrees=parameters.structure_degrees, width_px=parameters.bedding_px
    )
    factor += parameters.joints * jointed_rock(shape, rng, degrees=parameters.structure_degrees)
    erodibility: NDArray[np.float32] = np.exp(factor).astype(np.float32)
    return erodibility


def cut_floodplains(
    z: NDArray[np.float64],
    land: NDArray[np.bool_],
    area_km2: NDArray[np.float32],
    parameters: PlanetParameters,
    *,
    dx: float,
    dy: float,
    seed: int,
) -> NDArray[np.float64]:
    """Level the ground along rivers to valley floors that rise gently toward their bluffs.

    Parameters
    ----------
    z
        (y, x) meters.
    land
        True on land.
    area_km2
        Flat: upstream area.
    parameters
        Width of the valley floors.
    dx, dy
        Meters in a pixel.
    seed
        Seed of the planet.
    """
    rng = np.random.default_rng([seed, 22])
    area = np.where(land, area_km2.reshape(land.shape), 0)
    greatest = float(area.max())
    river = area > max(0.01 * greatest, 0.4)
    if not river.any():
        return z
    away, (rows, columns) = ndimage.distance_transform_edt(~river, return_indices=True)
    away = away.astype(np.float32) * np.float32(dy)
    area_fraction = area[rows, columns] / greatest
    half = (
        500
        * parameters.floodplain
        * np.sqrt(area_fraction)
        * np.clip(1 + 0.5 * fractal_noise(land.shape, rng, wavelength_px=90), 0.1, 2)
    )
    bed = z[rows, columns]
    # A few decimeters of old bars and channels make the floor uneven.
    bars = 0.35 * np.abs(fractal_noise(land.shape, rng, wavelength_px=25, octaves=4))
    floor = bed + np.minimum(away, half) * 0.002 + bars * np.clip(away / 40, 0, 1) + np.maximum(away - half, 0) * _BLUFF
    leveled: NDArray[np.float64] = np.where(land, np.minimum(z, floor), z)
    cut = leveled.copy()
    uneven = np.exp(0.35 * fractal_noise(land.shape, rng, wavelength_px=24, octaves=4, persistence=0.8))
    limit_slopes(leveled, parameters.steepest * uneven, dx, dy)
    # Where the ground failed, creep removes ribs along the grid's axes.
    failed = ndimage.gaussian_filter(np.clip((cut - leveled) / 4, 0, 1), 2)
    leveled += (ndimage.gaussian_filter(leveled, 4) - leveled) * failed
    leveled[~land] = 0
    return leveled


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
