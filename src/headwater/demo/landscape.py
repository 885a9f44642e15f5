"""The true landscape: coast, uplift, stream-power erosion, then lakes, ponds and swamps.  Pure arrays.

Erosion starts on a coarse grid, where a river system takes shape quickly, and continues on finer and finer grids,
each of which adds its own small valleys.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from headwater.demo.erosion import (
    Flow,
    StreamPower,
    accumulate,
    fill_depressions,
    limit_slopes,
    receivers,
    stream_power,
)
from headwater.demo.lakes import POND, SEASONAL_POND, Dam, add_lakes, fall_to_outlet, upstream_mask
from headwater.demo.planet_grid import TRUTH_PER_DEGREE, PlanetGrid
from headwater.demo.planet_parameters import PlanetParameters
from headwater.demo.rock_relief import cut_floodplains, fractal_noise, rock_structure

_NO_RIVER = -1
_LEVELS = (8, 4, 2, 1)
_STEPS = {8: 45, 4: 12, 2: 5, 1: 2}
_GRADIENT_M = 5e-4
"""Fall per pixel over filled depressions and lakes: enough to order the cells, too little to notice."""


@dataclass(frozen=True)
class Landscape:
    """The truth of a planet on its 0.4 arc-second grid; arrays are (y, x) unless called flat."""

    elevation: NDArray[np.float64]
    """Meters; 0 in the sea; every land cell has a lower neighbor."""
    land: NDArray[np.bool_]
    """True on land."""
    order: NDArray[np.int32]
    """Flat numbers of the land cells, from the coast upward: receivers come before their donors."""
    receiver: NDArray[np.int32]
    """Flat: the cell that each cell drains to; SEA in the sea."""
    area_km2: NDArray[np.float32]
    """Flat: upstream area, including the cell."""
    lake: NDArray[np.bool_]
    """True on the lake."""
    ponds: NDArray[np.int32]
    """Number of the pond, or of a lake or reservoir other than `lake`; 0 elsewhere."""
    swamp: NDArray[np.bool_]
    """True in swamps."""
    pond_kinds: NDArray[np.uint8]
    """Kind of each numbered pond (`headwater.demo.lakes`); entry 0 is unused."""
    dams: tuple[Dam, ...] = ()
    """Dams of the reservoirs."""


def make_landscape(grid: PlanetGrid, parameters: PlanetParameters) -> Landscape:
    """Raise and erode the planet's land.

    Parameters
    ----------
    grid
        Window and grid.
    parameters
        Relief and erosion parameters.
    """
    rng = np.random.default_rng([grid.seed, 2])
    land = coast(grid, rng)
    axes = _tilt_axes(grid, rng)
    uplift, erodibility = _uplift_and_erodibility(grid, parameters, land, axes, rng)
    first = 1.5 * np.exp(1.2 * axes[0]) + parameters.vale * np.abs(axes[1])  # water gathers in the vale from the start
    z = _erode(grid, parameters, land, first, uplift, erodibility, rng)
    dx, dy = grid.pixel_m
    order, receiver, area = _route(z, land, dx, dy)
    if parameters.floodplain > 0:
        z = cut_floodplains(z, land, area, parameters, dx=dx, dy=dy, seed=grid.seed)
        order, receiver, area = _route(z, land, dx, dy)
    lake = _dam_lake(z, land, order, receiver, area, grid)
    ponds = _dig_ponds(z, land, area, lake, parameters.km2_per_pond, grid, rng)
    order, receiver, area = _route(z, land, dx, dy)
    # Every other pond dries out in the dry season.
    kinds = [0] + [SEASONAL_POND if k % 2 else POND for k in range(1, int(ponds.max()) + 1)]
    dams: list[Dam] = []
    if parameters.lakes or parameters.reservoirs:
        taken = ~land | ndimage.binary_dilation(lake | (ponds > 0), iterations=6)
        taken[:8], taken[-8:], taken[:, :8], taken[:, -8:] = True, True, True, True
        more, dams = add_lakes(
            z,
            order,
            receiver,
            area,
            taken,
            ponds,
            parameters,
            pixel_km2=dx * dy / 1e6,
            gradient_m=_GRADIENT_M,
            rng=np.random.default_rng([grid.seed, 23]),
        )
        kinds += more
        order, receiver, area = _route(z, land, dx, dy)
    swamp = _find_swamps(z, land, order, receiver, area, lake | (ponds > 0), parameters.swamps, grid, rng)
    return Landscape(z, land, order, receiver, area, lake, ponds, swamp, np.array(kinds, np.uint8), tuple(dams))


def coast(grid: PlanetGrid, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the land mask: one large irregular island, one small, sea along the border and in the ocean quadrant."""
    shape = (grid.rows, grid.columns)
    short = min(shape)
    y = np.linspace(-1, 1, grid.rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, grid.columns, dtype=np.float32)[None, :]
    rough = fractal_noise(shape, rng, wavelength_px=short / 2.2, octaves=7, persistence=0.55)
    height = 1 - (np.abs(x / 0.95) ** 4 + np.abs(y / 0.93) ** 4) ** 0.25 + 0.075 * rough
    ragged = fractal_noise(shape, rng, wavelength_px=short / 5, octaves=8, persistence=0.58)
    # Where noise would carry the land over the border, an irregular strip of sea remains.
    border = np.minimum((1 - np.abs(x)) * grid.columns, (1 - np.abs(y)) * grid.rows) / 2
    height = np.minimum(height, (border - short * (0.05 + 0.02 * ragged)) / short)
    ocean = _pixels_of(grid, grid.ocean_quadrant)
    corner = _small_island_center(grid, rng)
    # The coast keeps a distance, in pixels, from the ocean quadrant and from the small island.
    if ocean is not None:
        away = ndimage.distance_transform_edt(~ocean).astype(np.float32)
        height = np.minimum(height, (away - short * 0.04 * (1.4 + 0.5 * np.maximum(ragged, -2))) / short)
    rows, columns = np.arange(grid.rows)[:, None], np.arange(grid.columns)[None, :]
    radius = np.hypot(rows - corner[0], columns - corner[1]).astype(np.float32)
    height = np.minimum(height, (radius - short * (0.16 + 0.015 * ragged)) / short)
    main = _largest_component(_clear_border(height > 0))
    islet = (radius < short * (0.075 + 0.016 * ragged)) & ~ndimage.binary_dilation(main, iterations=4)
    land: NDArray[np.bool_] = ndimage.binary_fill_holes(main) | _largest_component(_clear_border(islet))
    return land


def _pixels_of(grid: PlanetGrid, bounds: tuple[float, float, float, float] | None) -> NDArray[np.bool_] | None:
    if bounds is None:
        return None
    w, s, e, n = bounds
    mask = np.zeros((grid.rows, grid.columns), np.bool_)
    top, left = round((grid.north - n) * TRUTH_PER_DEGREE), round((w - grid.west) * TRUTH_PER_DEGREE)
    bottom, right = round((grid.north - s) * TRUTH_PER_DEGREE), round((e - grid.west) * TRUTH_PER_DEGREE)
    mask[top:bottom, left:right] = True
    return mask


def _small_island_center(grid: PlanetGrid, rng: np.random.Generator) -> tuple[float, float]:
    """Return (row, column) of the small island: near a corner that is not in the ocean quadrant."""
    inset = 0.125 * min(grid.rows, grid.columns)
    corners = [(r, c) for r in (inset, grid.rows - inset) for c in (inset, grid.columns - inset)]
    ocean = _pixels_of(grid, grid.ocean_quadrant)
    free = [k for k in corners if ocean is None or not ocean[int(k[0]), int(k[1])]]
    return free[int(rng.integers(len(free)))]


def _clear_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask = mask.copy()
    edge = max(4, round(0.012 * min(mask.shape)))
    mask[:edge], mask[-edge:], mask[:, :edge], mask[:, -edge:] = False, False, False, False
    return mask


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == int(sizes.argmax())
    return largest


def _tilt_axes(grid: PlanetGrid, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Position (y, x) along the planet's tilt, from -1 (low) to 1 (high), and across it, 0 in the main river's vale."""
    y = np.linspace(-1, 1, grid.rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, grid.columns, dtype=np.float32)[None, :]
    # The tilt follows the longer side within 30 degrees, so one river can grow long.
    angle = rng.choice([0, np.pi]) + rng.uniform(-np.pi / 6, np.pi / 6)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    bend = 0.25 * fractal_noise((grid.rows, grid.columns), rng, wavelength_px=grid.columns / 3, octaves=2)
    return along, across - rng.uniform(-0.2, 0.2) + bend


def _uplift_and_erodibility(
    grid: PlanetGrid,
    parameters: PlanetParameters,
    land: NDArray[np.bool_],
    axes: tuple[NDArray[np.float32], NDArray[np.float32]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Uplift and erodibility (y, x), both near 1; uplift is tilted, patchy, and low along the coast and the vale."""
    shape = land.shape
    inland = ndimage.distance_transform_edt(land[::4, ::4]).astype(np.float32) * 4
    inland = np.clip(ndimage.zoom(inland, 4, order=1, grid_mode=True, mode="nearest"), 0, None)
    inland = inland[: shape[0], : shape[1]] / (0.25 * min(shape))
    patches = fractal_noise(shape, rng, wavelength_px=min(shape) / 3, octaves=3)
    along, across = axes
    uplift = np.exp(parameters.tilt * along + parameters.uplift_patches * patches) * (
        0.04 + np.clip(2.2 * inland, 0, 1)
    )
    uplift *= parameters.vale_uplift + np.abs(across)
    soft = fractal_noise(shape, rng, wavelength_px=min(shape) / 6, octaves=5, persistence=0.6)
    erodibility = np.exp(parameters.soft_rock * soft)
    if parameters.bedding or parameters.joints:
        erodibility *= rock_structure(shape, parameters, grid.seed)
    return uplift.astype(np.float32), erodibility.astype(np.float32)


def _erode(
    grid: PlanetGrid,
    parameters: PlanetParameters,
    land: NDArray[np.bool_],
    first: NDArray[np.float32],
    uplift: NDArray[np.float32],
    erodibility: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    dx, dy = grid.pixel_m
    relief_m = parameters.relief_m * min(1.0, (min(land.shape) * dy / 20_000) ** 0.5)  # small islands are lower
    max_slope = np.full(land.shape, parameters.steepest)
    if parameters.steepest_spread:
        own = np.random.default_rng([grid.seed, 29])
        uneven = fractal_noise(land.shape, own, wavelength_px=96, octaves=6, persistence=0.7)
        max_slope *= np.exp(parameters.steepest_spread * uneven)
    z: NDArray[np.float64] | None = None
    scale = 1.0
    for level in _LEVELS:
        view = (slice(level // 2, None, level), slice(level // 2, None, level))
        mask = _clear_edge(land[view])
        shape = mask.shape
        rough = fractal_noise(shape, rng, wavelength_px=8, octaves=4, persistence=0.8).astype(np.float64)
        if z is None:
            z = np.where(mask, first[view] + 0.25 * np.abs(rough), 0.0)
        else:
            z = ndimage.zoom(z, 2, order=1, grid_mode=True, mode="nearest")
            z = _match_shape(z, shape)
            z += rough * (0.006 * parameters.roughness) * relief_m * level / 8
            z = np.where(mask, np.maximum(z, 0.1), 0.0)
        up, soft, fail_slope = uplift[view].ravel() * scale, erodibility[view].ravel(), max_slope[view].ravel()
        for _ in range(_STEPS[level]):
            order, receiver, area = _route(z, mask, dx * level, dy * level)
            distance_m = receivers(z, order, dx * level, dy * level)[1]
            flow = Flow(order, receiver, distance_m, area * np.float32(1e6))
            stream_power(z.reshape(-1), flow, StreamPower(up, soft, parameters.concavity, fail_slope), 3.0)
            if parameters.steepest_spread:
                limit_slopes(z, 1.2 * max_slope[view], dx * level, dy * level)
            if level == _LEVELS[0]:  # heights are only relative until the coarse grid has taken shape
                factor = relief_m / max(float(np.percentile(z[mask], 99.5)), 1e-6)
                z *= factor
                up, scale = up * factor, scale * factor
    assert z is not None
    # Soil creep rounds ridges and fills valley heads, so relief alone does not show where a channel begins.
    smooth = ndimage.gaussian_filter(z, parameters.creep_px)
    order, receiver, area = _route(z, land, dx, dy)
    rounded = (1 / (1 + (area / 0.02) ** 2)).reshape(land.shape)
    return np.where(land, np.maximum(z + (smooth - z) * rounded, 0.05), 0.0)


def _clear_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask = mask.copy()
    mask[0], mask[-1], mask[:, 0], mask[:, -1] = False, False, False, False
    return mask


def _match_shape(z: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Cut or extend an upsampled grid by the row or column that halving an odd size lost."""
    grown = np.pad(z, ((0, max(0, shape[0] - z.shape[0])), (0, max(0, shape[1] - z.shape[1]))), mode="edge")
    return grown[: shape[0], : shape[1]]


def _route(
    z: NDArray[np.float64], land: NDArray[np.bool_], dx: float, dy: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Fill depressions of `z` in place; return order, receivers and upstream area (km2), all flat."""
    order = fill_depressions(z, land, _GRADIENT_M)
    receiver, _ = receivers(z, order, dx, dy)
    cells = np.where(land, np.float32(dx * dy / 1e6), np.float32(0)).ravel()
    return order, receiver, accumulate(order, receiver, cells)


def _dam_lake(
    z: NDArray[np.float64],
    land: NDArray[np.bool_],
    order: NDArray[np.int32],
    receiver: NDArray[np.int32],
    area: NDArray[np.float32],
    grid: PlanetGrid,
) -> NDArray[np.bool_]:
    """Dam a medium-sized river: raise its valley to a level and return the mask of the lake."""
    size_km2 = float(land.sum()) * grid.pixel_m[0] * grid.pixel_m[1] / 1e6
    wanted = np.clip(0.0022 * size_km2, 0.05, 1.2)
    area_fraction = area / area.max()
    candidates = np.flatnonzero((area_fraction > 0.18) & (area_fraction < 0.45) & (z.ravel() > 8))
    if candidates.size == 0:
        candidates = np.flatnonzero((area_fraction > 0.1) & (z.ravel() > 2))
    if candidates.size == 0:  # a plain near sea level
        candidates = np.flatnonzero(area_fraction > 0.1)
    flat, best, best_miss = z.ravel(), np.zeros(land.shape, np.bool_), np.inf
    for cell in candidates[np.linspace(0, candidates.size - 1, 6).astype(int)]:
        upstream = upstream_mask(order, receiver, int(cell))
        rise = np.sort(flat[upstream] - flat[cell])
        # The level that floods the wanted area of the catchment, with a dam of at most 60 m.
        cells = int(wanted * 1e6 / (grid.pixel_m[0] * grid.pixel_m[1]))
        height = min(float(rise[min(cells, rise.size - 1)]), 60.0)
        lake = (upstream & (flat < flat[cell] + height)).reshape(land.shape)
        lake = _component_at(lake, int(cell))
        miss = abs(float(lake.sum()) / cells - 1) + height / 60
        if miss < best_miss:
            best, best_miss, outlet, level = lake, miss, int(cell), float(flat[cell] + height)
    fall = fall_to_outlet(best, outlet, _GRADIENT_M)[best]
    z[best] = level - fall.max() + fall  # below the shores everywhere
    # Creeks one pixel wide are flooded but not mapped as lake.
    open_water: NDArray[np.bool_] = ndimage.median_filter(best, 5) & best
    return _largest_component(open_water)


def _component_at(mask: NDArray[np.bool_], cell: int) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    found: NDArray[np.bool_] = labels == labels.ravel()[cell]
    return found


def _dig_ponds(
    z: NDArray[np.float64],
    land: NDArray[np.bool_],
    area: NDArray[np.float32],
    lake: NDArray[np.bool_],
    km2_per_pond: float,
    grid: PlanetGrid,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Level small round patches of gentle ground away from rivers; return the (y, x) pond numbers."""
    dx, dy = grid.pixel_m
    slope = np.hypot(*np.gradient(ndimage.uniform_filter(z, 5), dy, dx))
    near = ndimage.binary_dilation(lake | ~land, iterations=12)
    upstream = ndimage.maximum_filter(area.reshape(land.shape), 9)
    suitable = land & ~near & (upstream < 0.35) & (upstream > 0.004)
    ponds = np.zeros(land.shape, np.int32)
    if not suitable.any():
        return ponds
    gentle = np.flatnonzero(suitable & (slope < np.quantile(slope[suitable], 0.15)))
    count = min(max(3, round(land.sum() * dx * dy / 1e6 / km2_per_pond)), gentle.size)
    for number, cell in enumerate(rng.choice(gentle, count, replace=False), start=1):
        r, c = divmod(int(cell), land.shape[1])
        half_px = 9
        window = (slice(r - half_px, r + half_px + 1), slice(c - half_px, c + half_px + 1))
        y, x = np.mgrid[-half_px : half_px + 1, -half_px : half_px + 1]
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.8)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        disk = (along / stretch) ** 2 + (across * stretch) ** 2 < rng.uniform(2.2, 5.5) ** 2
        disk &= (ponds[window] == 0) & land[window] & ~lake[window]
        if disk.any():  # empty where it fell on another pond
            z[window][disk] = z[window][disk].min()
            ponds[window][disk] = number
    return ponds


def _find_swamps(
    z: NDArray[np.float64],
    land: NDArray[np.bool_],
    order: NDArray[np.int32],
    receiver: NDArray[np.int32],
    area: NDArray[np.float32],
    water: NDArray[np.bool_],
    count: int,
    grid: PlanetGrid,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return the largest wet flats: ground a few meters above the river it drains to, in the lowlands."""
    height = _height_above_river(z.ravel(), order, receiver, area, 2.0)
    slope = np.hypot(*np.gradient(ndimage.gaussian_filter(z, 4), grid.pixel_m[1], grid.pixel_m[0]))
    wet = land & ~water & (height.reshape(land.shape) < 6) & (slope < 0.05)
    wet = ndimage.binary_opening(ndimage.median_filter(wet, 7), iterations=2)
    wet &= ~ndimage.binary_dilation(~land, iterations=8)
    swamps = np.zeros(land.shape, np.bool_)
    for _ in range(count):
        if not wet.any():
            break
        swamp = _largest_component(wet)
        if swamp.sum() * grid.pixel_m[0] * grid.pixel_m[1] > 1.5e6:  # a long flat: keep the part around its middle
            rows, columns = np.nonzero(swamp)
            middle = rows.size // 2
            radius_px = 800 / grid.pixel_m[1] * (1 + 0.25 * fractal_noise(land.shape, rng, wavelength_px=40, octaves=4))
            far = np.hypot(rows - rows[middle], columns - columns[middle]) > radius_px[rows, columns]
            swamp[rows[far], columns[far]] = False
        swamps |= swamp
        wet &= ~swamp
        if count > 1:  # not next to each other on one flat
            wet &= ~ndimage.binary_dilation(swamp, iterations=30)
    return swamps


@njit(cache=True, nogil=True)
def _height_above_river(z, order, receiver, area, river_km2):  # type: ignore[no-untyped-def]
    """Flat: height above the river cell (upstream area of `river_km2` or more) that a cell drains to, or infinity."""
    river = np.full(z.size, _NO_RIVER, np.int64)
    height = np.full(z.size, np.inf)
    for i in range(order.size):
        cell = order[i]
        river[cell] = cell if area[cell] >= river_km2 else river[receiver[cell]]
        if river[cell] != _NO_RIVER:
            height[cell] = z[cell] - z[river[cell]]
    return height
