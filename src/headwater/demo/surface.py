"""What covers the land: water, beds, banks, forest, fields, roads, rock and moisture, as fields on the truth grid.

Everything a scene shows except the date's own (season, sun, clouds) is decided here.  Pure arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from headwater.demo.braids import Thread, side_threads
from headwater.demo.character import Character
from headwater.demo.cover import rectangles, towns
from headwater.demo.drainage import EPHEMERAL, INTERMITTENT, PERENNIAL, Drainage
from headwater.demo.landscape import Landscape
from headwater.demo.layout import Layout
from headwater.demo.noise import fractal
from headwater.demo.relief import layered
from headwater.demo.still_water import SEASONAL_LAKE, SEASONAL_POND, Dam

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
    built: NDArray[np.float32]
    """Roofs; `parcel` holds their tone."""
    height: NDArray[np.float32]
    """Metres above the sea."""
    murk: NDArray[np.float32]
    """Suspended matter of the water beyond the planet's, -1 to 1."""


@dataclass(frozen=True)
class Lines:
    """Lines drawn over the land, as (n, 2) arrays of fractional (row, column) of pixel centres."""

    channels: list[NDArray[np.float64]]
    """Smoothed course of each true reach, downstream, in the order of `Drainage.reaches`."""
    canals: list[NDArray[np.float64]]
    """Canals."""
    roads: list[NDArray[np.float64]]
    """Roads."""
    widest_m: float = 60.0
    """Width of the greatest river."""
    threads: list[Thread] = field(default_factory=list)
    """Side threads of braided rivers."""


def river_width_m(discharge_km2: NDArray[np.float32], greatest: float, widest_m: float = 60.0) -> NDArray[np.float32]:
    """Width of a channel in metres; grows with the square root of discharge (Leopold & Maddock 1953)."""
    width: NDArray[np.float32] = widest_m * np.sqrt(discharge_km2 / max(greatest, 20.0))
    return width


def make_lines(place: Layout, nature: Character, land: Landscape, drainage: Drainage) -> Lines:
    """Smooth the channels and lay out canals, roads and the side threads of rivers."""
    rng = np.random.default_rng([place.seed, 5])
    width = land.land.shape[1]
    channels = [_smooth(np.column_stack(np.divmod(reach.cells, width)).astype(float)) for reach in drainage.reaches]
    short = min(land.land.shape)
    canals = [_straight_line(land, rng, length=0.22 * short, relief=(6.0, 45.0))][: nature.canals]
    usual, wanted = (max(2, round(n * land.land.size / 4.86e6)) for n in (6, nature.roads))
    # Roads beyond the usual number go where they are wanted, which is not only the lowest ground.
    roads = [
        _wiggle(_straight_line(land, rng, length=0.3 * short, relief=(0.0, 90.0), tries=400 if k < usual else 10), rng)
        for k in range(wanted)
    ]
    rng = np.random.default_rng([place.seed, 24])
    for _ in range(nature.canals - 1):
        length, bends = rng.uniform(0.05, 0.4) * short, int(rng.integers(0, nature.canal_bends + 1))
        canals.append(_straight_line(land, rng, length=length, relief=(0.0, 60.0), bends=bends, sharpest=1.1, tries=25))
    return Lines(
        channels,
        [canal for canal in canals if len(canal) > 1],
        [road for road in roads if len(road) > 1],
        nature.widest_m,
        _braids(place, nature, land, drainage, channels),
    )


def _braids(
    place: Layout, nature: Character, land: Landscape, drainage: Drainage, channels: list[NDArray[np.float64]]
) -> list[Thread]:
    if nature.braids == 0:
        return []
    rng = np.random.default_rng([place.seed, 25])
    dy = place.pixel_m[1]
    closed = ~land.land | land.lake | (land.ponds > 0)
    greatest = float(drainage.discharge_km2.max())
    threads: list[Thread] = []
    for reach, line in zip(drainage.reaches, channels, strict=True):
        widths = river_width_m(drainage.discharge_km2[reach.cells], greatest, nature.widest_m)
        if drainage.regime[reach.cells[0]] == PERENNIAL and widths[0] > 0.3 * nature.widest_m:
            threads += side_threads(
                line, widths / np.float32(dy), land.elevation, closed, share=nature.braids, dy=dy, rng=rng
            )
    return threads


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
    land: Landscape,
    rng: np.random.Generator,
    *,
    length: float,
    relief: tuple[float, float],
    bends: int = 1,
    sharpest: float = 0.6,
    tries: int = 400,
) -> NDArray[np.float64]:
    """Find a line with bends that stays on land, low if it can, over ground that rises and falls by `relief`.

    The more `tries`, the surer it lies in the lowest place there is.
    """
    cells = np.flatnonzero(land.land.ravel())
    best, best_score = np.empty((0, 2)), np.inf
    blocked = land.lake | ~land.land
    for _ in range(tries):
        start = np.array(divmod(int(rng.choice(cells)), land.land.shape[1]), float)
        angle = rng.uniform(0, 2 * np.pi)
        turns = [rng.uniform(-sharpest, sharpest) for _ in range(bends)]
        corners = [start]
        for turn in (0.0, *turns):
            angle += turn
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
    if nature.seasonal_ponds:
        seasonal = np.isin(land.pond_kinds, (SEASONAL_POND, SEASONAL_LAKE))[land.ponds]
        bed = np.where(seasonal, np.float32(nature.seasonal_ponds), bed)
        water = np.where(seasonal, np.float32(1 - nature.seasonal_ponds), water)
    wash = np.minimum(wash * np.float32(nature.wash_shows), 1)
    belt = _draw_threads(lines.threads, water, wash, dy)
    shores = ndimage.gaussian_filter(np.maximum(land.lake, land.ponds > 0).astype(np.float32), 2.5)
    green = np.maximum(green, np.clip(2.2 * shores, 0, 0.8))
    bare = np.zeros(shape, np.float32)
    for road in lines.roads:
        _splat(bare, densify(road, 0.5), np.full(1, nature.road_m / dy))
    narrow = np.zeros(shape, np.float32)
    for k, line in enumerate(lines.canals):
        canal = densify(line, 0.5)
        size = 1.0 if k == 0 else (0.6, 1.5, 0.8, 2.2)[k % 4]  # ditches and ship canals
        _splat(bare, canal, np.full(1, 24.0 * size / dy))
        _splat(narrow, canal, np.full(1, 9.0 * size / dy))
    for dam in land.dams:
        _splat(bare, _dam_line(dam), np.full(1, 22.0 / dy))
    water, bare = np.maximum(water, np.minimum(narrow, 1)), np.clip(bare - narrow, 0, 1) * 0.6
    # Hollows are a little greener whether a channel runs there or not: a convergent slope is not yet a stream.
    hollow = np.log(np.maximum(land.area_km2, 1e-4)).reshape(shape)
    hollow = np.clip((hollow - np.log(0.002)) / np.log(500), 0, 1)
    sunny = np.sign(place.middle[1]) * -np.clip(-south, -0.5, 0.5)  # slopes towards the pole keep their water
    patches = fractal(shape, rng, wavelength_px=90, octaves=6, persistence=0.65)
    moisture = 0.42 + 0.22 * np.log(drainage.wetness) + nature.hollow_moisture * hollow + nature.aspect_moisture * sunny
    moisture += 0.13 * nature.texture * patches - 0.16 * (drainage.rock - 0.5)
    gentle = np.hypot(south, east)
    canopy = _forest(nature, land, moisture, gentle, rng) * (1 - np.minimum(belt, 1))
    parcel, hedge = _parcels(nature, land, gentle, canopy, place.seed, rng)
    canopy = np.maximum(canopy, nature.hedges * hedge) * (1 - (water > 0.5))
    built = np.zeros(shape, np.float32)
    if nature.towns:
        free = land.land & ~land.swamp & (water < 0.05) & (belt < 0.2)
        town = towns(free, gentle, np.random.default_rng([place.seed, 26]), count=nature.towns)
        built = town.built
        bare = np.maximum(bare, town.street * (water < 0.05))
        settled = (town.built > 0) | (town.street > 0)
        parcel = np.where(town.built > 0, town.roof, np.where(settled, np.float32(0), parcel))
        canopy = np.where(settled, np.float32(0.2) * canopy, canopy)
    sea = (~land.land).astype(np.float32)
    offshore = ndimage.distance_transform_edt(~land.land[::3, ::3]) * 3
    offshore = np.repeat(np.repeat(offshore, 3, axis=0), 3, axis=1)[: shape[0], : shape[1]]
    texture = fractal(shape, rng, wavelength_px=nature.grain_px, octaves=5, persistence=0.85) * nature.texture
    if nature.bedding:  # beds crop out
        bands = layered(
            shape,
            np.random.default_rng([place.seed, 21]),  # the same beds as in the relief
            degrees=nature.structure_degrees,
            width_px=nature.bedding_px,
        )
        texture += 0.5 * nature.bedding * bands
    murk = np.zeros(shape, np.float32)
    if nature.turbidity_spread:
        rng = np.random.default_rng([place.seed, 27])
        murk += nature.turbidity_spread * fractal(shape, rng, wavelength_px=400, octaves=2)
        own = nature.turbidity_spread * rng.standard_normal(land.pond_kinds.size, dtype=np.float32)
        murk = np.where(land.ponds > 0, own[land.ponds], murk)
    swamp = ndimage.gaussian_filter(land.swamp.astype(np.float32), 1.5)
    fields = (east, -south, np.clip(water, 0, 1), bed, wash, green, canopy, drainage.rock, np.clip(moisture, 0, 1),
              parcel, bare, swamp, sea, np.exp(-offshore / 12), texture, built,
              land.elevation.astype(np.float32), np.clip(murk, -1, 1))  # fmt: skip
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
        widths = river_width_m(drainage.discharge_km2[reach.cells[:-1]], greatest, lines.widest_m) * widen / dy
        own = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(widths)), widths)
        _splat(field, points, own)
        rows, columns = np.round(points[::2]).astype(int).T
        strength = np.clip(lush * (1 + 0.5 * vigour[rows, columns]), 0.05, 1)
        _halo(green, points[::2], reach_px + own[::2] / 2, strength)
    return np.minimum(water, 1), np.minimum(bed, 1), np.minimum(wash, 1), green


def _draw_threads(
    threads: list[Thread], water: NDArray[np.float32], wash: NDArray[np.float32], dy: float
) -> NDArray[np.float32]:
    """Draw side threads into `water` and the gravel of their belts into `wash`; return the (y, x) belt."""
    belt = np.zeros(water.shape, np.float32)
    drawn = np.zeros(water.shape, np.float32)
    for thread in threads:
        points = densify(thread.line, 0.5)
        _splat(drawn, points, np.full(len(points), thread.width_m / dy))
        # Gravel lies along both threads; the middle of an island is old enough to be green.
        edge = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(thread.belt)), thread.belt)
        _splat(belt, points, np.maximum(thread.width_m / dy + 2.0, np.minimum(edge, 6.0)))
    np.maximum(water, np.minimum(drawn, 1), out=water)
    np.maximum(wash, np.minimum(belt, 1), out=wash)
    return belt


def _dam_line(dam: Dam) -> NDArray[np.float64]:
    """Return points every half pixel across the valley below a reservoir."""
    down = np.array(dam.towards) / max(float(np.hypot(*dam.towards)), 1e-6)
    across = np.array([-down[1], down[0]])
    middle = np.array([dam.row, dam.column]) + 2 * down
    return densify(np.array([middle - 9 * across, middle + 9 * across]), 0.5)


def _forest(
    nature: Character,
    land: Landscape,
    moisture: NDArray[np.float32],
    slope: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Closed forest on the moister and steeper ground, in patches with soft and hard edges."""
    suit = fractal(land.land.shape, rng, wavelength_px=nature.forest_px, octaves=6, persistence=0.6) * 0.12 + moisture
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
    place_seed: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fields: Voronoi cells on gentle, open ground, each with its own growth (0 elsewhere), some with hedges."""
    shape = land.land.shape
    count = max(30, int(shape[0] * shape[1] // nature.field_px))
    points = rng.random((count, 2)) * shape
    growth = rng.uniform(-1, 1, count).astype(np.float32)
    # The nearest point is sought at half resolution: field edges need no more, and it is four times quicker.
    y, x = np.mgrid[0 : shape[0] : 2, 0 : shape[1] : 2]
    nearest = cKDTree(points * [1.0, 0.6]).query(np.column_stack([y.ravel(), x.ravel() * 0.6]))[1].reshape(y.shape)
    field = np.repeat(np.repeat(growth[nearest], 2, axis=0), 2, axis=1)[: shape[0], : shape[1]]
    region = fractal(shape, rng, wavelength_px=200, octaves=4)
    if nature.field_grid:
        own = np.random.default_rng([place_seed, 28])
        surveyed = fractal(shape, own, wavelength_px=300, octaves=2)
        straight = surveyed > float(np.quantile(surveyed[::9, ::9], 1 - nature.field_grid))
        field = np.where(straight, rectangles(shape, own, area_px=nature.field_px), field)
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
