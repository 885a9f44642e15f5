"""The true channel network and the coarser backbone that TanDEM-X would give.  Arrays and small records, no files.

A channel begins where the upstream area exceeds a threshold that depends on the rock; the rock shows in soil and
vegetation (`headwater.demo.land_cover`), so imagery locates channel heads that one threshold of flow accumulation
cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.demo.erosion import accumulate
from headwater.demo.landscape import Landscape
from headwater.demo.planet_grid import PlanetGrid
from headwater.demo.planet_parameters import PlanetParameters
from headwater.demo.rock_relief import fractal_noise

EPHEMERAL, INTERMITTENT, PERENNIAL = 1, 2, 3
OUTLET = -1
"""Stands for the reach downstream of one that ends at the coast."""
REGIMES = {EPHEMERAL: "ephemeral", INTERMITTENT: "intermittent", PERENNIAL: "perennial"}


@dataclass(frozen=True)
class Reach:
    """A channel between two nodes of the network."""

    cells: NDArray[np.int32]
    """Flat cell numbers, in downstream order; the last one is the end node, which belongs to the next reach."""
    downstream: int
    """Index of the next reach, OUTLET at the coast."""


@dataclass(frozen=True)
class Drainage:
    """Channels of a planet; arrays are flat over the truth grid."""

    rock: NDArray[np.float32]
    """(y, x) permeability of the rock: 0 tight, 1 permeable; channels begin farther downstream on permeable rock."""
    wetness: NDArray[np.float32]
    """(y, x) runoff relative to a temperate climate."""
    regime: NDArray[np.uint8]
    """0 off the channels, else EPHEMERAL, INTERMITTENT or PERENNIAL."""
    discharge_km2: NDArray[np.float32]
    """Upstream area weighted by wetness."""
    strahler: NDArray[np.int32]
    """Strahler order of channel cells, 0 elsewhere."""
    reaches: list[Reach]
    """Channels between heads, confluences, changes of regime or backbone, and the coast; upstream ones first."""
    backbone: NDArray[np.bool_]
    """True on the cells of the TDX-like backbone."""
    backbone_reaches: list[Reach]
    """Reaches of the backbone, upstream ones first."""


def make_drainage(grid: PlanetGrid, parameters: PlanetParameters, land: Landscape) -> Drainage:
    """Decide where channels run, how permanent their flow is and which of them are in the backbone."""
    rng = np.random.default_rng([grid.seed, 3])
    shape = land.land.shape
    short = min(shape)
    patches = fractal_noise(shape, rng, wavelength_px=short / 4, octaves=5, persistence=0.5)
    rock = (1 / (1 + np.exp(-2.2 * patches))).astype(np.float32)
    local = fractal_noise(shape, rng, wavelength_px=40, octaves=3)
    climate = fractal_noise(shape, rng, wavelength_px=short / 1.5, octaves=2)
    lift = land.elevation / max(float(land.elevation.max()), 1.0)
    wetness = (parameters.wetness * np.exp(0.3 * climate + 0.5 * (lift - 0.3) - 0.5 * (rock - 0.5))).astype(np.float32)
    head_area = parameters.head_area_km2 * np.exp(
        parameters.head_spread * (2.4 * (rock - 0.5)) + 0.25 * local - 0.35 * np.log(wetness)
    )
    # The bounds are 0.02 and 0.9 unless the climate asks for more.
    head_area = np.clip(
        head_area, min(0.02, 0.7 * parameters.head_area_km2), max(0.9, 5 * parameters.head_area_km2)
    ).ravel()
    backbone = _backbone_cells(grid, land)
    channel_heads = (land.area_km2 > head_area) | backbone
    channel = downstream_mask(land.order, land.receiver, channel_heads & land.land.ravel())
    cell_km2 = np.float32(grid.pixel_m[0] * grid.pixel_m[1] / 1e6)
    discharge = accumulate(
        land.order, land.receiver, np.where(land.land, wetness * cell_km2, 0).astype(np.float32).ravel()
    )
    permanence = discharge * np.exp(0.35 * fractal_noise(shape, rng, wavelength_px=short / 8, octaves=2)).ravel()
    regime = _regimes(
        land.order, land.receiver, channel, permanence, parameters.intermittent_km2, parameters.perennial_km2
    )
    strahler = strahler_order(land.order, land.receiver, channel)
    kind = regime.astype(np.int32) * 2 + backbone
    return Drainage(
        rock,
        wetness,
        regime,
        discharge,
        strahler,
        split_reaches(land.order, land.receiver, channel, kind),
        backbone,
        split_reaches(land.order, land.receiver, backbone, backbone.astype(np.int32)),
    )


def _backbone_cells(grid: PlanetGrid, land: Landscape) -> NDArray[np.bool_]:
    """Flat mask of the channel cells at a threshold of 3 to 4.5 km2 (less on a small planet).

    It also includes the small branches of one three-way confluence: TauDEM represents those by a link of length zero
    without a catchment, which real TDX-Hydro contains and one threshold may not produce here.
    """
    rng = np.random.default_rng([grid.seed, 4])
    size = float(land.land.sum()) * grid.pixel_m[0] * grid.pixel_m[1] / 1e6
    threshold = min(float(rng.uniform(3, 4.5)), size / 160)
    inland = land.land.ravel()
    backbone = (land.area_km2 >= threshold) & inland
    cells = np.flatnonzero(inland & (land.receiver >= 0))
    donors = cells[np.argsort(land.receiver[cells], kind="stable")]
    into, first, count = np.unique(land.receiver[donors], return_index=True, return_counts=True)
    best, best_area = -1, -1.0
    width = land.land.shape[1]
    for k in np.flatnonzero((count >= 3) & backbone[into]):
        areas = np.sort(land.area_km2[donors[first[k] : first[k] + count[k]]])[::-1]
        # Not at the coast: no reach follows there.
        if backbone[land.receiver[into[k]]] and areas[0] >= threshold and areas[2] > best_area:
            best, best_area = int(k), float(areas[2])
    if best >= 0:
        joining = donors[first[best] : first[best] + count[best]]
        for donor in joining[np.argsort(-land.area_km2[joining], kind="stable")][1:3]:
            if not backbone[donor]:
                branch = _main_stem_up(int(donor), land, width)
                backbone[branch] = True
    return backbone


def _main_stem_up(cell: int, land: Landscape, width: int) -> list[int]:
    """Cells of the largest branch upstream from `cell`, as long as they drain at least half of its area."""
    path, limit = [cell], 0.5 * float(land.area_km2[cell])
    while True:
        around = [path[-1] + r * width + c for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
        donors = [a for a in around if land.receiver[a] == path[-1] and land.area_km2[a] >= limit]
        if not donors:
            return path
        path.append(max(donors, key=lambda a: float(land.area_km2[a])))


@njit(cache=True, nogil=True)
def downstream_mask(
    order: NDArray[np.int32], receiver: NDArray[np.int32], starts: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Flat mask of the land cells in or downstream of `starts`."""
    channel = starts.copy()
    for i in range(order.size - 1, -1, -1):  # ridges to coast
        if channel[order[i]]:
            channel[receiver[order[i]]] = True
    land = np.zeros(starts.size, np.bool_)
    for i in range(order.size):
        land[order[i]] = channel[order[i]]
    return land


@njit(cache=True, nogil=True)
def _regimes(order, receiver, channel, permanence, intermittent, perennial):  # type: ignore[no-untyped-def]
    """Flat regime of channel cells; it never becomes less permanent downstream."""
    regime = np.zeros(channel.size, np.uint8)
    for i in range(order.size - 1, -1, -1):
        cell = order[i]
        if channel[cell]:
            own = 3 if permanence[cell] >= perennial else (2 if permanence[cell] >= intermittent else 1)
            regime[cell] = max(regime[cell], own)
            if channel[receiver[cell]]:
                regime[receiver[cell]] = max(regime[receiver[cell]], regime[cell])
    return regime


@njit(cache=True, nogil=True)
def strahler_order(
    order: NDArray[np.int32], receiver: NDArray[np.int32], channel: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Strahler order of channel cells (flat, 0 elsewhere): 1 at heads; one more where two of the highest order meet."""
    strahler = np.zeros(channel.size, np.int32)
    highest = np.zeros(channel.size, np.int32)
    times = np.zeros(channel.size, np.int32)
    for i in range(order.size - 1, -1, -1):
        cell = order[i]
        if not channel[cell]:
            continue
        strahler[cell] = max(1, highest[cell] + (1 if times[cell] > 1 else 0))
        downstream = receiver[cell]
        if strahler[cell] > highest[downstream]:
            highest[downstream], times[downstream] = strahler[cell], 1
        elif strahler[cell] == highest[downstream]:
            times[downstream] += 1
    return strahler


def split_reaches(
    order: NDArray[np.int32], receiver: NDArray[np.int32], channel: NDArray[np.bool_], kind: NDArray[np.int32]
) -> list[Reach]:
    """Cut channels at confluences and where `kind` (flat) changes; a reach ends in the first cell of the next one.

    At the coast a reach ends in the last land cell.  Where channels meet in the last land cell, no further reach fits,
    so each of them ends there separately.  Every reach has at least two cells.
    """
    cells = order[channel[order]]
    downstream_cells = receiver[cells]
    inflow = np.bincount(downstream_cells, minlength=channel.size)
    # bincount also counts sea cells; only channel cells are used.
    changes = np.zeros(channel.size, np.bool_)
    changes[downstream_cells[kind[cells] != kind[downstream_cells]]] = True
    last = np.zeros(channel.size, np.bool_)
    last[cells] = ~channel[downstream_cells]
    starts = channel & ((inflow != 1) | changes) & ~last
    at_start = [int(c) for c in cells[::-1] if starts[c]]  # ridges to coast: upstream reaches first
    number = {cell: k for k, cell in enumerate(at_start)}
    reaches = []
    for cell in at_start:
        path = [cell]
        while not last[path[-1]]:
            path.append(int(receiver[path[-1]]))
            if starts[path[-1]]:
                break
        end = path[-1]
        downstream = number[end] if starts[end] and len(path) > 1 else OUTLET
        reaches.append(Reach(np.array(path, np.int32), downstream))
    return reaches
