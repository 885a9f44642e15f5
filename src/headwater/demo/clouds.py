"""Clouds, their shadows and the scene classification that detects most of them.  Pure arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headwater.demo.acquisitions import Acquisition
from headwater.demo.planet_grid import PlanetGrid
from headwater.demo.resampling import GridPositions, resample
from headwater.demo.rock_relief import fractal_noise

SKY_STEP = 4
"""Side of a sky pixel, truth pixels."""
_PAD = 160
"""Sky pixels around the window: scenes extend beyond it and shadows come from outside."""


@dataclass(frozen=True)
class Sky:
    """Clouds of one date on a coarse grid over the window and its surroundings; arrays are (y, x) float32."""

    cloud: NDArray[np.float32]
    """Opacity of thick cloud, 0 to 1."""
    cirrus: NDArray[np.float32]
    """Opacity of thin cloud, 0 to about 0.3."""
    shadow: NDArray[np.float32]
    """Fraction of the direct light that is missing."""


@dataclass(frozen=True)
class TileSky:
    """The sky over a tile's 10 m grid; fields as in `Sky`."""

    cloud: NDArray[np.float32]
    cirrus: NDArray[np.float32]
    shadow: NDArray[np.float32]


def never_clear(grid: PlanetGrid, peak: tuple[int, int]) -> tuple[int, int, float]:
    """Return (row, column, radius) in truth pixels of the spot that is cloudy on every date: a cap on the peak."""
    return peak[0], peak[1], 0.035 * min(grid.rows, grid.columns)


def make_sky(grid: PlanetGrid, date: Acquisition, peak: tuple[int, int], *, thin: float = 0.35) -> Sky:
    """Make the clouds of a date; dates are independent, so one date fills the gaps of another.

    `thin` is the area of thin cloud relative to that of thick cloud.
    """
    rng = np.random.default_rng([grid.seed, 8, date.number])
    shape = (grid.rows // SKY_STEP + 2 * _PAD, grid.columns // SKY_STEP + 2 * _PAD)
    masses = fractal_noise(shape, rng, wavelength_px=120, octaves=2)
    puffs = fractal_noise(shape, rng, wavelength_px=28, octaves=6, persistence=0.6)
    field = 0.75 * masses + puffs
    inner = field[_PAD:-_PAD, _PAD:-_PAD]
    level = float(np.quantile(inner, 1 - date.cloud_fraction))
    cloud = np.clip((field - level) / 0.35 + 0.35, 0, 1) * (field > level - 0.12)
    row, column, radius = never_clear(grid, peak)
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    away = np.hypot(y - _PAD - row / SKY_STEP, x - _PAD - column / SKY_STEP) * SKY_STEP / radius
    cloud = np.maximum(cloud, np.clip(2.6 * (1.3 + 0.3 * np.clip(puffs, -0.7, 1) - away), 0, 1)).astype(np.float32)
    veil = fractal_noise(shape, rng, wavelength_px=90, octaves=6, persistence=0.6)
    level = float(np.quantile(veil, 1 - min(thin * date.cloud_fraction, 0.9)))
    cirrus = np.clip((veil - level) * 0.35, 0, 0.28).astype(np.float32)
    # Shadows fall away from the sun, at the height of the cloud base times the tangent of the zenith angle.
    base_m = float(rng.uniform(900, 2200))
    shadow_m = base_m * np.tan(np.radians(date.sun_zenith))
    dx, dy = grid.pixel_m
    azimuth = np.radians(date.sun_azimuth)
    rows_down = shadow_m * np.cos(azimuth) / (dy * SKY_STEP)
    columns_left = shadow_m * np.sin(azimuth) / (dx * SKY_STEP)
    shadow = ndimage.shift(cloud, (rows_down, -columns_left), order=1, mode="constant")
    return Sky(cloud, cirrus, np.clip(shadow, 0, 1).astype(np.float32))


def over_tile(sky: Sky, at: GridPositions) -> TileSky:
    """Sample the sky on a tile's grid."""
    pad = _PAD * SKY_STEP
    moved = GridPositions(at.rows + pad, at.columns + pad, at.shape)
    return TileSky(*(resample(f, moved, fill=0, scale=SKY_STEP) for f in (sky.cloud, sky.cirrus, sky.shadow)))


def classify(
    sky: TileSky,
    reflectance: NDArray[np.float32],
    valid: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    snow: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Return the scene classification at 20 m, with imperfections like Sen2Cor's.

    Parameters
    ----------
    sky
        Clouds over the tile at 10 m.
    reflectance
        (band, y, x) in the order N, R, G, B at 10 m.
    valid
        (y, x) at 10 m; False beyond the swath.
    rng
        Draws where cloud edges are missed or exaggerated.
    snow
        (y, x) fraction of snow or ice at 10 m, if there is any.
    """
    n, r, g, _ = (_halve(band) for band in reflectance)
    cloud, cirrus, shadow = (_halve(f) for f in (sky.cloud, sky.cirrus, sky.shadow))
    edges = fractal_noise(cloud.shape, rng, wavelength_px=12, octaves=3) * 0.09
    ndvi = (n - r) / (n + r + 1e-6)
    scl = np.full(cloud.shape, 5, np.uint8)
    scl[ndvi > 0.42] = 4
    scl[(ndvi <= 0.42) & (ndvi > 0.34) & (edges > 0.13)] = 7
    scl[(n < 0.07) & (g < 0.06)] = 2
    scl[(n < 0.1) & (g > n * 0.9)] = 6
    if snow is not None:
        scl[_halve(snow) > 0.5] = 11
    scl[(shadow + edges > 0.35) & (cloud < 0.3)] = 3
    scl[cirrus + 0.25 * edges > 0.06] = 10
    scl[cloud + edges > 0.3] = 8
    scl[cloud + edges > 0.62] = 9
    # Cloud masks are blobs: specks become unclassified.
    thick = scl >= 8
    speck = thick & ~ndimage.binary_opening(thick, iterations=1)
    scl[speck & (scl != 10)] = 7
    scl[~_halve(valid.astype(np.float32)).astype(bool)] = 0
    return scl


def _halve(field: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = field.reshape(field.shape[0] // 2, 2, field.shape[1] // 2, 2).mean(axis=(1, 3))
    return mean
