"""What shapes the relief of wide planets beside uplift: layered and jointed rock, valley floors.  Pure arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headwater.demo.character import Character
from headwater.demo.erosion import collapse
from headwater.demo.noise import fractal

_BLUFF = 3.0
"""Slope at which a valley floor ends, rise per run; the bluff then fails like any other hillside."""


def layered(
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
        Direction the bands run in, clockwise from east.
    width_px
        Width of a band.
    """
    angle = np.radians(degrees)
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    across = (y * np.cos(angle) - x * np.sin(angle)).astype(np.float32)
    # Folds: beds are not drawn with a ruler, nor equally thick.
    across += 2.2 * width_px * fractal(shape, rng, wavelength_px=9 * width_px, octaves=3)
    across -= across.min()
    profile = rng.standard_normal(int(across.max() / width_px) + 3, dtype=np.float32)
    bands = ndimage.map_coordinates(profile, [across / width_px], order=1).astype(np.float32)
    bands -= bands.mean()
    bands /= max(float(bands.std()), 1e-6)
    normal: NDArray[np.float32] = bands
    return normal


def jointed(shape: tuple[int, int], rng: np.random.Generator, *, degrees: float) -> NDArray[np.float32]:
    """Return the (y, x) weakness, 0 to 1, of two sets of straight joints, each of which runs for some kilometres."""
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    weak = np.zeros(shape, np.float32)
    for turn in (0.0, float(rng.uniform(55, 90))):
        angle = np.radians(degrees + turn)
        across = (y * np.cos(angle) - x * np.sin(angle)).astype(np.float32)
        across += 6 * fractal(shape, rng, wavelength_px=150, octaves=2)
        across -= across.min()
        span = float(across.max())
        at = np.sort(rng.uniform(0, span, max(3, int(span / rng.uniform(50, 160)))))
        # The distance to the nearest joint, looked up by position.
        steps = np.arange(int(span) + 2)
        nearest = np.abs(steps[:, None] - at[None, :]).min(axis=1).astype(np.float32)
        away = ndimage.map_coordinates(nearest, [across], order=1)
        runs = np.clip(fractal(shape, rng, wavelength_px=220, octaves=2) * 0.8 + 0.5, 0, 1)
        weak = np.maximum(weak, np.exp(-((away / 7) ** 2)) * runs)
    weakness: NDArray[np.float32] = weak.astype(np.float32)
    return weakness


def structure(shape: tuple[int, int], nature: Character, seed: int) -> NDArray[np.float32]:
    """Return the factor (y, x) that beds and joints put on erodibility."""
    rng = np.random.default_rng([seed, 21])
    factor = nature.bedding * layered(shape, rng, degrees=nature.structure_degrees, width_px=nature.bedding_px)
    factor += nature.joints * jointed(shape, rng, degrees=nature.structure_degrees)
    erodibility: NDArray[np.float32] = np.exp(factor).astype(np.float32)
    return erodibility


def with_floodplains(
    z: NDArray[np.float64],
    land: NDArray[np.bool_],
    area_km2: NDArray[np.float32],
    nature: Character,
    *,
    dx: float,
    dy: float,
    seed: int,
) -> NDArray[np.float64]:
    """Plane the ground beside rivers to valley floors that rise gently towards their bluffs.

    Parameters
    ----------
    z
        (y, x) metres.
    land
        True on land.
    area_km2
        Flat: upstream area.
    nature
        Width of the floors.
    dx, dy
        Metres in a pixel.
    seed
        Of the planet.
    """
    rng = np.random.default_rng([seed, 22])
    area = np.where(land, area_km2.reshape(land.shape), 0)
    greatest = float(area.max())
    river = area > max(0.01 * greatest, 0.4)
    if not river.any():
        return z
    away, (rows, columns) = ndimage.distance_transform_edt(~river, return_indices=True)
    away = away.astype(np.float32) * np.float32(dy)
    share = area[rows, columns] / greatest
    half = (
        500 * nature.floodplain * np.sqrt(share) * np.clip(1 + 0.5 * fractal(land.shape, rng, wavelength_px=90), 0.1, 2)
    )
    bed = z[rows, columns]
    # A few decimetres of old bars and channels keep the floor from being a plane.
    bars = 0.35 * np.abs(fractal(land.shape, rng, wavelength_px=25, octaves=4))
    floor = bed + np.minimum(away, half) * 0.002 + bars * np.clip(away / 40, 0, 1) + np.maximum(away - half, 0) * _BLUFF
    levelled: NDArray[np.float64] = np.where(land, np.minimum(z, floor), z)
    cut = levelled.copy()
    uneven = np.exp(0.35 * fractal(land.shape, rng, wavelength_px=24, octaves=4, persistence=0.8))
    collapse(levelled, nature.steepest * uneven, dx, dy)
    # Where the ground failed, creep takes away the ribs that follow the grid's axes.
    failed = ndimage.gaussian_filter(np.clip((cut - levelled) / 4, 0, 1), 2)
    levelled += (ndimage.gaussian_filter(levelled, 4) - levelled) * failed
    levelled[~land] = 0
    return levelled
