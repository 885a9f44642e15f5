"""Land cover: water, beds, banks, forest, fields, roads, rock and moisture, as fields on the truth grid.

It decides everything that a scene shows except what depends on the date (season, sun, clouds).  Pure arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from headwater.demo.braids import Thread
from headwater.demo.drainage import EPHEMERAL, INTERMITTENT, PERENNIAL, Drainage
from headwater.demo.fields_and_towns import rectangles, towns
from headwater.demo.lakes import SEASONAL_LAKE, SEASONAL_POND, Dam
from headwater.demo.landscape import Landscape
from headwater.demo.linear_features import LinearFeatures, densify, river_width_m
from headwater.demo.planet_grid import PlanetGrid
from headwater.demo.planet_parameters import PlanetParameters
from headwater.demo.rock_relief import fractal_noise, layered_rock


@dataclass(frozen=True)
class LandCover:
    """Land cover of a planet: (y, x) float32 on the truth grid, fractions (0 to 1) unless stated otherwise."""

    slope_east: NDArray[np.float32]
    """Rise per run eastward."""
    slope_north: NDArray[np.float32]
    """Rise per run northward."""
    water: NDArray[np.float32]
    """Permanent water: lakes, ponds, perennial rivers, canals."""
    bed: NDArray[np.float32]
    """Beds of intermittent channels: water in the wet season, sand in the dry."""
    wash: NDArray[np.float32]
    """Beds of ephemeral channels."""
    green: NDArray[np.float32]
    """Lushness of banks."""
    canopy: NDArray[np.float32]
    """Closed forest."""
    rock: NDArray[np.float32]
    """Permeable rock (dry, pale soil), as opposed to tight rock."""
    moisture: NDArray[np.float32]
    """Fraction of the ground under grass in the wet season."""
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
    """Brightness of the ground in standard deviations; not a fraction."""
    built: NDArray[np.float32]
    """Roofs; `parcel` holds their tone."""
    height: NDArray[np.float32]
    """Meters above the sea."""
    murk: NDArray[np.float32]
    """Suspended matter relative to the planet's average, -1 to 1."""


def make_land_cover(
    grid: PlanetGrid, parameters: PlanetParameters, land: Landscape, drainage: Drainage, lines: LinearFeatures
) -> LandCover:
    """Compute the land cover of a planet."""
    rng = np.random.default_rng([grid.seed, 6])
    shape = land.land.shape
    dx, dy = grid.pixel_m
    south, east = np.gradient(land.elevation.astype(np.float32), dy, dx)
    water, bed, wash, green = _channel_cover(land, drainage, lines, dy, rng)
    water = np.maximum(water, (land.lake | (land.ponds > 0)).astype(np.float32))
    if parameters.seasonal_ponds:
        seasonal = np.isin(land.pond_kinds, (SEASONAL_POND, SEASONAL_LAKE))[land.ponds]
        bed = np.where(seasonal, np.float32(parameters.seasonal_ponds), bed)
        water = np.where(seasonal, np.float32(1 - parameters.seasonal_ponds), water)
    wash = np.minimum(wash * np.float32(parameters.wash_shows), 1)
    belt = _draw_threads(lines.threads, water, wash, dy)
    shores = ndimage.gaussian_filter(np.maximum(land.lake, land.ponds > 0).astype(np.float32), 2.5)
    green = np.maximum(green, np.clip(2.2 * shores, 0, 0.8))
    bare = np.zeros(shape, np.float32)
    for road in lines.roads:
        _draw_line(bare, densify(road, 0.5), np.full(1, parameters.road_m / dy))
    narrow = np.zeros(shape, np.float32)
    for k, line in enumerate(lines.canals):
        canal = densify(line, 0.5)
        size = 1.0 if k == 0 else (0.6, 1.5, 0.8, 2.2)[k % 4]  # ditches and ship canals
        _draw_line(bare, canal, np.full(1, 24.0 * size / dy))
        _draw_line(narrow, canal, np.full(1, 9.0 * size / dy))
    for dam in land.dams:
        _draw_line(bare, _dam_line(dam), np.full(1, 22.0 / dy))
    water, bare = np.maximum(water, np.minimum(narrow, 1)), np.clip(bare - narrow, 0, 1) * 0.6
    # Hollows are a little greener with or without a channel: a convergent slope is not yet a stream.
    hollow = np.log(np.maximum(land.area_km2, 1e-4)).reshape(shape)
    hollow = np.clip((hollow - np.log(0.002)) / np.log(500), 0, 1)
    sunny = np.sign(grid.middle[1]) * -np.clip(-south, -0.5, 0.5)  # slopes toward the pole keep their water
    patches = fractal_noise(shape, rng, wavelength_px=90, octaves=6, persistence=0.65)
    moisture = (
        0.42
        + 0.22 * np.log(drainage.wetness)
        + parameters.hollow_moisture * hollow
        + parameters.aspect_moisture * sunny
    )
    moisture += 0.13 * parameters.texture * patches - 0.16 * (drainage.rock - 0.5)
    gentle = np.hypot(south, east)
    canopy = _forest(parameters, land, moisture, gentle, rng) * (1 - np.minimum(belt, 1))
    parcel, hedge = _parcels(parameters, land, gentle, canopy, grid.seed, rng)
    canopy = np.maximum(canopy, parameters.hedges * hedge) * (1 - (water > 0.5))
    built = np.zeros(shape, np.float32)
    if parameters.towns:
        free = land.land & ~land.swamp & (water < 0.05) & (belt < 0.2)
        town = towns(free, gentle, np.random.default_rng([grid.seed, 26]), count=parameters.towns)
        built = town.built
        bare = np.maximum(bare, town.street * (water < 0.05))
        settled = (town.built > 0) | (town.street > 0)
        parcel = np.where(town.built > 0, town.roof, np.where(settled, np.float32(0), parcel))
        canopy = np.where(settled, np.float32(0.2) * canopy, canopy)
    sea = (~land.land).astype(np.float32)
    offshore = ndimage.distance_transform_edt(~land.land[::3, ::3]) * 3
    offshore = np.repeat(np.repeat(offshore, 3, axis=0), 3, axis=1)[: shape[0], : shape[1]]
    texture = (
        fractal_noise(shape, rng, wavelength_px=parameters.grain_px, octaves=5, persistence=0.85) * parameters.texture
    )
    if parameters.bedding:  # beds crop out
        bands = layered_rock(
            shape,
            np.random.default_rng([grid.seed, 21]),  # the same beds as in the relief
            degrees=parameters.structure_degrees,
            width_px=parameters.bedding_px,
        )
        texture += 0.5 * parameters.bedding * bands
    murk = np.zeros(shape, np.float32)
    if parameters.turbidity_spread:
        rng = np.random.default_rng([grid.seed, 27])
        murk += parameters.turbidity_spread * fractal_noise(shape, rng, wavelength_px=400, octaves=2)
        own = parameters.turbidity_spread * rng.standard_normal(land.pond_kinds.size, dtype=np.float32)
        murk = np.where(land.ponds > 0, own[land.ponds], murk)
    swamp = ndimage.gaussian_filter(land.swamp.astype(np.float32), 1.5)
    fields = (east, -south, np.clip(water, 0, 1), bed, wash, green, canopy, drainage.rock, np.clip(moisture, 0, 1),
              parcel, bare, swamp, sea, np.exp(-offshore / 12), texture, built,
              land.elevation.astype(np.float32), np.clip(murk, -1, 1))  # fmt: skip
    return LandCover(*(np.ascontiguousarray(field, np.float32) for field in fields))


def _channel_cover(
    land: Landscape, drainage: Drainage, lines: LinearFeatures, dy: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], ...]:
    """Draw water, intermittent beds, ephemeral washes and the green of the banks along the channels."""
    shape = land.land.shape
    water, bed, wash, green = (np.zeros(shape, np.float32) for _ in range(4))
    greatest = float(drainage.discharge_km2.max())
    vigor = fractal_noise(shape, rng, wavelength_px=30, octaves=3)
    drawn = {PERENNIAL: (water, 1.0, 1.0, 3.2), INTERMITTENT: (bed, 1.3, 0.7, 2.2), EPHEMERAL: (wash, 1.6, 0.4, 1.6)}
    for reach, line in zip(drainage.reaches, lines.channels, strict=True):
        field, widen, lush, bank_px = drawn[int(drainage.regime[reach.cells[0]])]
        points = densify(line, 0.5)
        widths = river_width_m(drainage.discharge_km2[reach.cells[:-1]], greatest, lines.widest_m) * widen / dy
        own = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(widths)), widths)
        _draw_line(field, points, own)
        rows, columns = np.round(points[::2]).astype(int).T
        strength = np.clip(lush * (1 + 0.5 * vigor[rows, columns]), 0.05, 1)
        _raise_around(green, points[::2], bank_px + own[::2] / 2, strength)
    return np.minimum(water, 1), np.minimum(bed, 1), np.minimum(wash, 1), green


def _draw_threads(
    threads: list[Thread], water: NDArray[np.float32], wash: NDArray[np.float32], dy: float
) -> NDArray[np.float32]:
    """Draw side threads into `water` and the gravel of their belts into `wash`; return the (y, x) belt."""
    belt = np.zeros(water.shape, np.float32)
    drawn = np.zeros(water.shape, np.float32)
    for thread in threads:
        points = densify(thread.line, 0.5)
        _draw_line(drawn, points, np.full(len(points), thread.width_m / dy))
        # Gravel follows both threads; the middle of an island is old enough to be green.
        edge = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(thread.belt)), thread.belt)
        _draw_line(belt, points, np.maximum(thread.width_m / dy + 2.0, np.minimum(edge, 6.0)))
    np.maximum(water, np.minimum(drawn, 1), out=water)
    np.maximum(wash, np.minimum(belt, 1), out=wash)
    return belt


def _dam_line(dam: Dam) -> NDArray[np.float64]:
    """Return points every half pixel across the valley downstream of a reservoir."""
    down = np.array(dam.direction) / max(float(np.hypot(*dam.direction)), 1e-6)
    across = np.array([-down[1], down[0]])
    middle = np.array([dam.row, dam.column]) + 2 * down
    return densify(np.array([middle - 9 * across, middle + 9 * across]), 0.5)


def _forest(
    parameters: PlanetParameters,
    land: Landscape,
    moisture: NDArray[np.float32],
    slope: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Closed forest on the moister and steeper ground, in patches with soft and hard edges."""
    suit = (
        fractal_noise(land.land.shape, rng, wavelength_px=parameters.forest_px, octaves=6, persistence=0.6) * 0.12
        + moisture
    )
    suit += 0.25 * np.clip(slope, 0, 0.5)
    level = float(np.quantile(suit[land.land][::17], 1 - parameters.canopy))
    gaps = fractal_noise(land.land.shape, rng, wavelength_px=6, octaves=2)
    canopy: NDArray[np.float32] = np.clip((suit - level) / 0.03 + 0.5, 0, 1) * np.clip(0.92 + 0.07 * gaps, 0, 1)
    return canopy * land.land


def _parcels(
    parameters: PlanetParameters,
    land: Landscape,
    slope: NDArray[np.float32],
    canopy: NDArray[np.float32],
    seed: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fields: Voronoi cells on gentle, open ground, each with its own growth (0 elsewhere), some with hedges."""
    shape = land.land.shape
    count = max(30, int(shape[0] * shape[1] // parameters.field_px))
    points = rng.random((count, 2)) * shape
    growth = rng.uniform(-1, 1, count).astype(np.float32)
    # The nearest point is searched at half resolution: enough for field edges, and four times faster.
    y, x = np.mgrid[0 : shape[0] : 2, 0 : shape[1] : 2]
    nearest = cKDTree(points * [1.0, 0.6]).query(np.column_stack([y.ravel(), x.ravel() * 0.6]))[1].reshape(y.shape)
    field = np.repeat(np.repeat(growth[nearest], 2, axis=0), 2, axis=1)[: shape[0], : shape[1]]
    region = fractal_noise(shape, rng, wavelength_px=200, octaves=4)
    if parameters.field_grid:
        own = np.random.default_rng([seed, 28])
        surveyed = fractal_noise(shape, own, wavelength_px=300, octaves=2)
        straight = surveyed > float(np.quantile(surveyed[::9, ::9], 1 - parameters.field_grid))
        field = np.where(straight, rectangles(shape, own, area_px=parameters.field_px), field)
    level = float(np.quantile(region[::9, ::9], 1 - parameters.farmed))
    farmed = land.land & (slope < 0.16) & (region > level) & (canopy < 0.3)
    # Hedges are green lines that are not streams.
    border = np.zeros(shape, np.bool_)
    border[:, 1:] = field[:, 1:] != field[:, :-1]
    return np.where(farmed, field, np.float32(0)), border & farmed & (field > 0.2)


@njit(cache=True, nogil=True)
def _draw_line(field, points, widths):  # type: ignore[no-untyped-def]
    """Add the area fraction of a line (points every half pixel) of `widths` pixels (one, or one per point) to `field`.

    The area of lines narrower than a pixel is spread over the four nearest pixels; wider lines are drawn as discs with
    a soft edge.
    """
    height, width = field.shape
    for i in range(points.shape[0]):
        w = widths[min(i, widths.size - 1)]
        y, x = points[i, 0], points[i, 1]
        if w < 1.2:
            r, c = int(np.floor(y)), int(np.floor(x))
            for a in range(2):
                for b in range(2):
                    fraction = (1 - abs(y - r - a)) * (1 - abs(x - c - b))
                    if 0 <= r + a < height and 0 <= c + b < width:
                        field[r + a, c + b] += fraction * w * 0.5
        else:
            radius_px = int(w / 2 + 1.5)
            for r in range(max(0, int(y) - radius_px), min(height, int(y) + radius_px + 2)):
                for c in range(max(0, int(x) - radius_px), min(width, int(x) + radius_px + 2)):
                    fraction = min(max(w / 2 + 0.5 - np.hypot(r - y, c - x), 0.0), 1.0)
                    if fraction > field[r, c]:
                        field[r, c] = fraction


@njit(cache=True, nogil=True)
def _raise_around(field, points, radii, strength):  # type: ignore[no-untyped-def]
    """Raise `field` to strength * exp(-(distance / radius)^2) around points (pixels)."""
    height, width = field.shape
    for i in range(points.shape[0]):
        y, x, radius = points[i, 0], points[i, 1], radii[i]
        radius_px = int(2 * radius + 1)
        for r in range(max(0, int(y) - radius_px), min(height, int(y) + radius_px + 2)):
            for c in range(max(0, int(x) - radius_px), min(width, int(x) + radius_px + 2)):
                value = strength[i] * np.exp(-((r - y) ** 2 + (c - x) ** 2) / radius**2)
                if value > field[r, c]:
                    field[r, c] = value
