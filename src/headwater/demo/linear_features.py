"""Linear features: smoothed channels, canals, roads and the side threads of rivers, with river widths.  Pure arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headwater.demo.braids import Thread, side_threads
from headwater.demo.drainage import PERENNIAL, Drainage
from headwater.demo.landscape import Landscape
from headwater.demo.planet_grid import PlanetGrid
from headwater.demo.planet_parameters import PlanetParameters

WIDE_RIVER_M = 24.0
"""A river at least this wide is an area on maps (NHDArea), with an artificial path as center line."""
_SMOOTHING = np.array([1, 4, 6, 4, 1], np.float64) / 16


@dataclass(frozen=True)
class LinearFeatures:
    """Lines over the land: (n, 2) arrays of fractional (row, column), whole numbers at pixel centers."""

    channels: list[NDArray[np.float64]]
    """Smoothed course of each true reach, drawn downstream, in the order of `Drainage.reaches`."""
    canals: list[NDArray[np.float64]]
    """Canals."""
    roads: list[NDArray[np.float64]]
    """Roads."""
    widest_m: float = 60.0
    """Width of the largest river."""
    threads: list[Thread] = field(default_factory=list)
    """Side threads of braided rivers."""


def river_width_m(discharge_km2: NDArray[np.float32], greatest: float, widest_m: float = 60.0) -> NDArray[np.float32]:
    """Return channel widths in meters, which grow with the square root of discharge (Leopold & Maddock 1953)."""
    width: NDArray[np.float32] = widest_m * np.sqrt(discharge_km2 / max(greatest, 20.0))
    return width


def make_linear_features(
    grid: PlanetGrid, parameters: PlanetParameters, land: Landscape, drainage: Drainage
) -> LinearFeatures:
    """Smooth the channels and place canals, roads and the side threads of rivers."""
    rng = np.random.default_rng([grid.seed, 5])
    width = land.land.shape[1]
    channels = [
        _smooth_line(np.column_stack(np.divmod(reach.cells, width)).astype(float)) for reach in drainage.reaches
    ]
    short = min(land.land.shape)
    canals = [_straight_line(land, rng, length=0.22 * short, relief=(6.0, 45.0))][: parameters.canals]
    usual, wanted = (max(2, round(n * land.land.size / 4.86e6)) for n in (6, parameters.roads))
    # Additional roads search less, so they are not only on the lowest ground.
    roads = [
        _bend_sideways(
            _straight_line(land, rng, length=0.3 * short, relief=(0.0, 90.0), tries=400 if k < usual else 10), rng
        )
        for k in range(wanted)
    ]
    rng = np.random.default_rng([grid.seed, 24])
    for _ in range(parameters.canals - 1):
        length, bends = rng.uniform(0.05, 0.4) * short, int(rng.integers(0, parameters.canal_bends + 1))
        canals.append(_straight_line(land, rng, length=length, relief=(0.0, 60.0), bends=bends, sharpest=1.1, tries=25))
    return LinearFeatures(
        channels,
        [canal for canal in canals if len(canal) > 1],
        [road for road in roads if len(road) > 1],
        parameters.widest_m,
        _braids(grid, parameters, land, drainage, channels),
    )


def _braids(
    grid: PlanetGrid,
    parameters: PlanetParameters,
    land: Landscape,
    drainage: Drainage,
    channels: list[NDArray[np.float64]],
) -> list[Thread]:
    if parameters.braids == 0:
        return []
    rng = np.random.default_rng([grid.seed, 25])
    dy = grid.pixel_m[1]
    closed = ~land.land | land.lake | (land.ponds > 0)
    greatest = float(drainage.discharge_km2.max())
    threads: list[Thread] = []
    for reach, line in zip(drainage.reaches, channels, strict=True):
        widths = river_width_m(drainage.discharge_km2[reach.cells], greatest, parameters.widest_m)
        if drainage.regime[reach.cells[0]] == PERENNIAL and widths[0] > 0.3 * parameters.widest_m:
            threads += side_threads(
                line, widths / np.float32(dy), land.elevation, closed, fraction=parameters.braids, dy=dy, rng=rng
            )
    return threads


def _smooth_line(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the staircase of a line; its ends stay."""
    if len(line) < 4:
        return line
    padded = np.pad(line, ((2, 2), (0, 0)), mode="reflect", reflect_type="odd")
    once = ndimage.convolve1d(padded, _SMOOTHING, axis=0)
    smooth: NDArray[np.float64] = ndimage.convolve1d(once, _SMOOTHING, axis=0)[2:-2]
    smooth[0], smooth[-1] = line[0], line[-1]
    return smooth


def _straight_line(
    land: Landscape,
    rng: np.random.Generator,
    *,
    length: float,
    relief: tuple[float, float],
    bends: int = 1,
    sharpest: float = 0.6,
    tries: int = 400,
) -> NDArray[np.float64]:
    """Find a line with bends on land, preferably low, over ground whose range of height is within `relief` (meters).

    More `tries` find lower ground.
    """
    cells = np.flatnonzero(land.land.ravel())
    best, best_score = np.empty((0, 2)), np.inf
    blocked = land.lake | ~land.land
    for _ in range(tries):
        start = np.array(divmod(int(rng.choice(cells)), land.land.shape[1]), float)
        angle = rng.uniform(0, 2 * np.pi)
        angles = [rng.uniform(-sharpest, sharpest) for _ in range(bends)]
        corners = [start]
        for change in (0.0, *angles):
            angle += change
            corners.append(corners[-1] + length / (bends + 1) * np.array([np.sin(angle), np.cos(angle)]))
        line = densify(np.array(corners), 1.0)
        r, c = np.round(line).astype(int).T
        if r.min() < 0 or c.min() < 0 or r.max() >= blocked.shape[0] or c.max() >= blocked.shape[1]:
            continue
        if blocked[r, c].any():
            continue
        z = land.elevation[r, c]
        off = max(relief[0] - float(np.ptp(z)), float(np.ptp(z)) - relief[1], 0.0)
        score = off * 100 + float(z.mean())
        if score < best_score:
            best, best_score = line, score
    return best


def _bend_sideways(line: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bend a line sideways by a few pixels, like a road."""
    if len(line) < 8:
        return line
    drift = np.cumsum(rng.standard_normal((len(line), 2)) * 0.25, axis=0)
    drift -= np.linspace(0, 1, len(line))[:, None] * drift[-1]
    return np.asarray(ndimage.gaussian_filter1d(line + drift, 3, axis=0, mode="nearest"))


def densify(line: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Return points along a line of (row, column), at most `spacing` pixels apart."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0:
        return line[:1]
    at = np.linspace(0, along[-1], max(2, int(np.ceil(along[-1] / spacing)) + 1))
    return np.column_stack([np.interp(at, along, line[:, k]) for k in (0, 1)])
