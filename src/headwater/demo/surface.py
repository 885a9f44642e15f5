"""What covers the land: water, beds, banks, forest, fields, roads, rock and moisture, as fields on the truth grid.

Everything a scene shows except the date's own (season, sun, clouds) is decided here.  Pure arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from headwater.demo.character import Character
from headwater.demo.drainage import EPHEMERAL, INTERMITTENT, PERENNIAL, Drainage
from headwater.demo.landscape import Landscape
from headwater.demo.layout import Layout
from headwater.demo.noise import fractal

WIDE_RIVER_M = 24.0
"""A river at least this wide is an area on maps (NHDArea), its centre line an artificial path."""
_SMOOTHING = np.array([1, 4, 6, 4, 1], np.float64) / 16


@dataclass(frozen=True)
class Surface:
    """Cover of a planet; arrays are (y, x) float32 on the truth grid, shares between 0 and 1 unless said otherwise."""

    slope_east: NDArray[np.float32]
    """Rise per run eastward."""
    slope_north: NDArray[np.float32]
    """Rise per run northward."""
    water: NDArray[np.float32]
    """Lasting water: lake, ponds, perennial rivers, canal."""
    bed: NDArray[np.float32]
    """Beds of intermittent channels: water in the wet season, sand in the dry."""
    wash: NDArray[np.float32]
    """Beds of ephemeral channels."""
    green: NDArray[np.float32]
    """Lushness of banks."""
    canopy: NDArray[np.float32]
    """Closed forest."""
    rock: NDArray[np.float32]
    """Permeable rock (dry, pale soil) as against tight rock."""
    moisture: NDArray[np.float32]
    """How much of the ground grass covers in the wet season."""
    parcel: NDArray[np.float32]
    """Offset of a field's growth from the season, -1 to 1; 0 off the fields."""
    bare: NDArray[np.float32]
    """Roads and embankments."""
    swamp: NDArray[np.float32]
    """Swamp."""
    sea: NDArray[np.float32]
    """Sea."""
    shallow: NDArray[np.float32]
    """1 at the coast, falling seaward."""
    texture: NDArray[np.float32]
    """Brightness of the ground in standard deviations; not a share."""


@dataclass(frozen=True)
class Lines:
    """Lines drawn over the land, as (n, 2) arrays of fractional (row, column) of pixel centres."""

    channels: list[NDArray[np.float64]]
    """Smoothed course of each true reach, downstream, in the order of `Drainage.reaches`."""
    canal: NDArray[np.float64]
    """The canal."""
    roads: list[NDArray[np.float64]]
    """Roads."""


def river_width_m(discharge_km2: NDArray[np.float32], greatest: float) -> NDArray[np.float32]:
    """Width of a channel in metres; grows with the square root of discharge (Leopold & Maddock 1953)."""
    width: NDArray[np.float32] = 60 * np.sqrt(discharge_km2 / max(greatest, 20.0))
    return width


def make_lines(place: Layout, land: Landscape, drainage: Drainage) -> Lines:
    """Smooth the channels and lay out the canal and the roads."""
    rng = np.random.default_rng([place.seed, 5])
    width = land.land.shape[1]
    channels = [_smooth(np.column_stack(np.divmod(reach.cells, width)).astype(float)) for reach in drainage.reaches]
    short = min(land.land.shape)
    canal = _straight_line(land, rng, length=0.22 * short, relief=(6.0, 45.0))
    wanted = max(2, round(6 * land.land.size / 4.86e6))
    roads = [_wiggle(_straight_line(land, rng, length=0.3 * short, relief=(0.0, 90.0)), rng) for _ in range(wanted)]
    return Lines(channels, canal, roads)


def _smooth(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the staircase out of a line; its ends stay."""
    if len(line) < 4:
        return line
    padded = np.pad(line, ((2, 2), (0, 0)), mode="reflect", reflect_type="odd")
    once = ndimage.convolve1d(padded, _SMOOTHING, axis=0)
    smooth: NDArray[np.float64] = ndimage.convolve1d(once, _SMOOTHING, axis=0)[2:-2]
    smooth[0], smooth[-1] = line[0], line[-1]
    return smooth


def _straight_line(
    land: Landscape, rng: np.random.Generator, *, length: float, relief: tuple[float, float]
) -> NDArray[np.float64]:
    """Find a line with one bend that stays on land, low if it can, over ground that rises and falls by `relief`."""
    cells = np.flatnonzero(land.land.ravel())
    best, best_score = np.empty((0, 2)), np.inf
    blocked = land.lake | ~land.land
    for _ in range(400):
        start = np.array(divmod(int(rng.choice(cells)), land.land.shape[1]), float)
        angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6)
        half = length / 2
        middle = start + half * np.array([np.sin(angle), np.cos(angle)])
        end = middle + half * np.array([np.sin(angle + bend), np.cos(angle + bend)])
        line = densify(np.array([start, middle, end]), 1.0)
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


def _wiggle(line: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bend a line sideways by a few pixels, as roads do."""
    if len(line) < 8:
        return line
    drift = np.cumsum(rng.standard_normal((len(line), 2)) * 0.25, axis=0)
    drift -= np.linspace(0, 1, len(line))[:, None] * drift[-1]
    return np.asarray(ndimage.gaussian_filter1d(line + drift, 3, axis=0, mode="nearest"))


def densify(line: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Return points every `spacing` pixels or less along a line of (row, column)."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0:
        return line[:1]
    at = np.linspace(0, along[-1], max(2, int(np.ceil(along[-1] / spacing)) + 1))
    return np.column_stack([np.interp(at, along, line[:, k]) for k in (0, 1)])


def make_surface(place: Layout, nature: Character, land: Landscape, drainage: Drainage, lines: Lines) -> Surface:
    """Cover the land."""
    rng = np.random.default_rng([place.seed, 6])
    shape = land.land.shape
    dx, dy = place.pixel_m
    south, east = np.gradient(land.elevation.astype(np.float32), dy, dx)
    water, bed, wash, green = _channel_cover(land, drainage, lines, dy, rng)
    water = np.maximum(water, (land.lake | (land.ponds > 0)).astype(np.float32))
    shores = ndimage.gaussian_filter(np.maximum(land.lake, land.ponds > 0).astype(np.float32), 2.5)
    green = np.maximum(green, np.clip(2.2 * shores, 0, 0.8))
    bare = np.zeros(shape, np.float32)
    for road in lines.roads:
        _splat(bare, densify(road, 0.5), np.full(1, 7.0 / dy))
    canal = densify(lines.canal, 0.5)
    _splat(bare, canal, np.full(1, 24.0 / dy))
    narrow = np.zeros(shape, np.float32)
    _splat(narrow, canal, np.full(1, 9.0 / dy))
    water, bare = np.maximum(water, np.minimum(narrow, 1)), np.clip(bare - narrow, 0, 1) * 0.6
    # Hollows are a little greener whether a channel runs there or not: a convergent slope is not yet a stream.
    hollow = np.log(np.maximum(land.area_km2, 1e-4)).reshape(shape)
    hollow = np.clip((hollow - np.log(0.002)) / np.log(500), 0, 1)
    sunny = np.sign(place.middle[1]) * -np.clip(-south, -0.5, 0.5)  # slopes towards the pole keep their water
    patches = fractal(shape, rng, wavelength_px=90, octaves=6, persistence=0.65)
    moisture = 0.42 + 0.22 * np.log(drainage.wetness) + 0.16 * hollow + 0.25 * sunny
    moisture += 0.13 * nature.texture * patches - 0.16 * (drainage.rock - 0.5)
    gentle = np.hypot(south, east)
    canopy = _forest(nature, land, moisture, gentle, rng)
    parcel, hedge = _parcels(nature, land, gentle, canopy, rng)
    canopy = np.maximum(canopy, 0.55 * hedge) * (1 - (water > 0.5))
    sea = (~land.land).astype(np.float32)
    offshore = ndimage.distance_transform_edt(~land.land[::3, ::3]) * 3
    offshore = np.repeat(np.repeat(offshore, 3, axis=0), 3, axis=1)[: shape[0], : shape[1]]
    texture = fractal(shape, rng, wavelength_px=24, octaves=5, persistence=0.85) * nature.texture
    swamp = ndimage.gaussian_filter(land.swamp.astype(np.float32), 1.5)
    fields = (east, -south, np.clip(water, 0, 1), bed, wash, green, canopy, drainage.rock, np.clip(moisture, 0, 1),
              parcel, bare, swamp, sea, np.exp(-offshore / 12), texture)  # fmt: skip
    return Surface(*(np.ascontiguousarray(field, np.float32) for field in fields))


def _channel_cover(
    land: Landscape, drainage: Drainage, lines: Lines, dy: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], ...]:
    """Draw water, intermittent beds, ephemeral washes and the green of the banks along the channels."""
    shape = land.land.shape
    water, bed, wash, green = (np.zeros(shape, np.float32) for _ in range(4))
    greatest = float(drainage.discharge_km2.max())
    vigour = fractal(shape, rng, wavelength_px=30, octaves=3)
    drawn = {PERENNIAL: (water, 1.0, 1.0, 3.2), INTERMITTENT: (bed, 1.3, 0.7, 2.2), EPHEMERAL: (wash, 1.6, 0.4, 1.6)}
    for reach, line in zip(drainage.reaches, lines.channels, strict=True):
        field, widen, lush, reach_px = drawn[int(drainage.regime[reach.cells[0]])]
        points = densify(line, 0.5)
        widths = river_width_m(drainage.discharge_km2[reach.cells[:-1]], greatest) * widen / dy
        own = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(widths)), widths)
        _splat(field, points, own)
        rows, columns = np.round(points[::2]).astype(int).T
        strength = np.clip(lush * (1 + 0.5 * vigour[rows, columns]), 0.05, 1)
        _halo(green, points[::2], reach_px + own[::2] / 2, strength)
    return np.minimum(water, 1), np.minimum(bed, 1), np.minimum(wash, 1), green


def _forest(
    nature: Character,
    land: Landscape,
    moisture: NDArray[np.float32],
    slope: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Closed forest on the moister and steeper ground, in patches with soft and hard edges."""
    suit = fractal(land.land.shape, rng, wavelength_px=120, octaves=6, persistence=0.6) * 0.12 + moisture
    suit += 0.25 * np.clip(slope, 0, 0.5)
    level = float(np.quantile(suit[land.land][::17], 1 - nature.canopy))
    gaps = fractal(land.land.shape, rng, wavelength_px=6, octaves=2)
    canopy: NDArray[np.float32] = np.clip((suit - level) / 0.03 + 0.5, 0, 1) * np.clip(0.92 + 0.07 * gaps, 0, 1)
    return canopy * land.land


def _parcels(
    nature: Character,
    land: Landscape,
    slope: NDArray[np.float32],
    canopy: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fields: Voronoi cells on gentle, open ground, each with its own growth (0 elsewhere), some with hedges."""
    shape = land.land.shape
    count = max(30, shape[0] * shape[1] // 700)
    points = rng.random((count, 2)) * shape
    growth = rng.uniform(-1, 1, count).astype(np.float32)
    # The nearest point is sought at half resolution: field edges need no more, and it is four times quicker.
    y, x = np.mgrid[0 : shape[0] : 2, 0 : shape[1] : 2]
    nearest = cKDTree(points * [1.0, 0.6]).query(np.column_stack([y.ravel(), x.ravel() * 0.6]))[1].reshape(y.shape)
    field = np.repeat(np.repeat(growth[nearest], 2, axis=0), 2, axis=1)[: shape[0], : shape[1]]
    region = fractal(shape, rng, wavelength_px=200, octaves=4)
    level = float(np.quantile(region[::9, ::9], 1 - nature.farmed))
    farmed = land.land & (slope < 0.16) & (region > level) & (canopy < 0.3)
    # Hedges are green lines that are no streams.
    border = np.zeros(shape, np.bool_)
    border[:, 1:] = field[:, 1:] != field[:, :-1]
    return np.where(farmed, field, np.float32(0)), border & farmed & (field > 0.2)


@njit(cache=True, nogil=True)
def _splat(field, points, widths):  # type: ignore[no-untyped-def]
    """Add the area share of a line (points every half pixel) of `widths` pixels (one, or one per point) to `field`.

    Lines narrower than a pixel are spread over the four nearest pixels by their area; wider ones are drawn as discs
    with a soft edge.
    """
    height, width = field.shape
    for i in range(points.shape[0]):
        w = widths[min(i, widths.size - 1)]
        y, x = points[i, 0], points[i, 1]
        if w < 1.2:
            r, c = int(np.floor(y)), int(np.floor(x))
            for a in range(2):
                for b in range(2):
                    share = (1 - abs(y - r - a)) * (1 - abs(x - c - b))
                    if 0 <= r + a < height and 0 <= c + b < width:
                        field[r + a, c + b] += share * w * 0.5
        else:
            reach = int(w / 2 + 1.5)
            for r in range(max(0, int(y) - reach), min(height, int(y) + reach + 2)):
                for c in range(max(0, int(x) - reach), min(width, int(x) + reach + 2)):
                    share = min(max(w / 2 + 0.5 - np.hypot(r - y, c - x), 0.0), 1.0)
                    if share > field[r, c]:
                        field[r, c] = share


@njit(cache=True, nogil=True)
def _halo(field, points, radii, strength):  # type: ignore[no-untyped-def]
    """Raise `field` to strength * exp(-(distance / radius)^2) around points (pixels)."""
    height, width = field.shape
    for i in range(points.shape[0]):
        y, x, radius = points[i, 0], points[i, 1], radii[i]
        reach = int(2 * radius + 1)
        for r in range(max(0, int(y) - reach), min(height, int(y) + reach + 2)):
            for c in range(max(0, int(x) - reach), min(width, int(x) + reach + 2)):
                value = strength[i] * np.exp(-((r - y) ** 2 + (c - x) ** 2) / radius**2)
                if value > field[r, c]:
                    field[r, c] = value
