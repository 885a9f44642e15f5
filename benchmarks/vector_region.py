"""A region for the benchmark of vectorization: the demo's landscape as TDX-Hydro and a network's output would show it.

`benchmarks/vectorize.py` builds regions with it. The probability is made from the true channels, so results can be
scored:

- Kept channels are burned as wide as the generator's rivers (one to three pixels of 20 m; the lake and the ponds as
  areas), with a strength that varies along them, then blurred by one pixel and scaled so a line of one pixel peaks at
  0.88.
- 15 % of the length of the channels off the backbone is dropped, in runs of 5 to 40 pixels that never start at a
  channel's head and keep 5 pixels apart.  A run may cross confluences and ends early at the backbone or at standing
  water.  In a run the probability falls to a residual that is drawn again every 5 pixels: eight in ten are under 0.1,
  two in ten are a weak signal of 0.1 to 0.4; kept channels extend a pixel or two into its ends.
- False blobs: ellipses of 3 to 30 pixels across, one per 6 km2, that touch no channel; speckle on one pixel in two
  thousand; a smooth low background, and white noise.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from headwater import raster
from headwater.core.files import write_json
from headwater.demo import glo30, vector_tables
from headwater.demo.drainage import EPHEMERAL, Drainage, make_drainage
from headwater.demo.land_cover import LandCover
from headwater.demo.landscape import Landscape, make_landscape
from headwater.demo.linear_features import river_width_m
from headwater.demo.planet_grid import TRUTH_PER_DEGREE, PlanetGrid
from headwater.demo.planet_parameters import PlanetParameters, planet_parameters
from headwater.demo.rock_relief import fractal_noise
from headwater.geo.features import read_table
from headwater.geo.geodesy import geodesic_length_m
from headwater.geo.grid import Cell, RasterGrid, prediction_grid

FULL_KM2 = 4_350.0
"""Land of the complete region: the size on which the published programs were measured."""
DROPPED_FRACTION = 0.15
RUN_PX = (5, 40)
SIXTEENTHS = 16
STREAMS, CATCHMENTS = "TDX_streamnet.gpkg", "TDX_streamreach_basins.gpkg"
PROBABILITY, ELEVATION, TRUTH, GAPS, FACTS = (
    "probability.tif",
    "elevation.tif",
    "truth.parquet",
    "gaps.parquet",
    "region.json",
)
_VERSION = 1
"""Increases when the same seed gives another region; older regions are then rebuilt."""
_PIXEL_M = 20.0
_APART_PX = 5
_LAND_OF_WINDOW = 0.744
"""Fraction of a planet's window that is land; the coast's noise changes it by a few hundredths."""
_LINE_PEAK = 0.88
_GAIN = _LINE_PEAK * math.sqrt(2 * math.pi)
"""Scales a line of one pixel, blurred by a normal curve of one pixel, to its peak."""
_HIGHEST = 0.97
_WEAK_SHARE = 0.2


@dataclass(frozen=True)
class Gap:
    """A run of a channel that the probability does not show."""

    cells: NDArray[np.int64]
    """Flat cells of the truth downstream; the last one is where the channel shows again."""
    length_m: float
    """Length along the cells."""


def ensure_region(folder: Path, seed: int, *, land_km2: float = FULL_KM2) -> Path:
    """Build the region of a seed in `folder` unless it exists, and return the region's folder.

    Parameters
    ----------
    folder
        Folder of all regions.
    seed
        Which region.
    land_km2
        Approximate land area.
    """
    out = folder / f"seed{seed}-{land_km2:.0f}km2"
    if facts_of(out).get("version") != _VERSION:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        _build(out, seed, land_km2)
    return out


def facts_of(region: Path) -> dict[str, Any]:
    """Return the content of region.json, empty if it is missing: it is written last."""
    path = region / FACTS
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def ensure_part(region: Path, sixteenths: int) -> Path:
    """Cut the part around the middle with `sixteenths` of the region's catchment area.

    Catchments are kept complete; streams that flow in or out of the part are cut there, as between two regions of
    TDX-Hydro.
    """
    if sixteenths >= SIXTEENTHS:
        return region
    out = region / f"part{sixteenths}"
    if facts_of(out).get("version") == _VERSION:
        return out
    out.mkdir(exist_ok=True)
    catchments, streams = read_table(region / CATCHMENTS), read_table(region / STREAMS)
    dissolved = catchments.dissolve("streamID")
    middle = shapely.get_coordinates(shapely.centroid(dissolved.geometry.to_numpy()))
    away = np.abs((middle - np.median(middle, axis=0)) * [math.cos(math.radians(float(middle[0, 1]))), 1]).max(axis=1)
    nearest = np.argsort(away, kind="stable")
    area = np.cumsum(shapely.area(dissolved.geometry.to_numpy())[nearest])
    ids = dissolved.index.to_numpy()[nearest[: np.searchsorted(area, area[-1] * sixteenths / SIXTEENTHS) + 1]]
    catchments = catchments[catchments["streamID"].isin(ids)]
    _write_layer(out / CATCHMENTS, catchments)
    _write_layer(out / STREAMS, streams[streams["LINKNO"].isin(ids)])
    cover = shapely.union_all(dissolved.loc[ids].geometry.to_numpy())
    shapely.prepare(cover)
    for name in (TRUTH, GAPS):
        table = gpd.read_parquet(region / name)
        at = shapely.line_interpolate_point(table.geometry.to_numpy(), 0.5, normalized=True)
        table[shapely.contains(cover, at)].to_parquet(out / name, index=False)
    with_margin = shapely.box(*cover.bounds).buffer(0.01).bounds
    for name in (PROBABILITY, ELEVATION):
        grid = raster.raster_grid(region / name).window(with_margin)
        raster.write_cog(out / name, raster.read_window(region / name, grid)[0][None], transform=grid.transform)
    facts = facts_of(region) | {"seconds": 0.0}
    write_json(out / FACTS, facts | _table_facts(out))
    return out


def _build(out: Path, seed: int, land_km2: float) -> None:
    start = time.perf_counter()
    place = region_layout(seed, land_km2)
    nature = planet_parameters(seed)
    land = make_landscape(place, nature)
    drainage = make_drainage(place, nature, land)
    grid = probability_grid(place, land)
    probability, gaps = make_probability(place, land, drainage, grid, seed)
    raster.write_cog(out / PROBABILITY, probability[None], transform=grid.transform)
    _write_elevation(out / ELEVATION, place, nature, land)
    links = vector_tables.backbone_links(drainage)
    numbers = vector_tables.catchment_numbers(land, links)
    _write_layer(out / STREAMS, vector_tables.streamnet_table(place, land, drainage, links))
    _write_layer(out / CATCHMENTS, vector_tables.catchment_table(place, numbers))
    # Channels that drain directly to the sea are in no TDX-Hydro catchment: no method has to find them.
    known = numbers.ravel() > 0
    truth = vector_tables.truth_table(place, land, drainage)
    truth[known[[reach.cells[0] for reach in drainage.reaches]]].to_parquet(out / TRUTH, index=False)
    scored = [gap for gap in gaps if known[gap.cells[0]]]
    lines = [vector_tables.cell_line(place, gap.cells.astype(np.int32)) for gap in scored]
    table = gpd.GeoDataFrame({"length_m": [gap.length_m for gap in scored]}, geometry=lines, crs=vector_tables.CRS)
    table.to_parquet(out / GAPS)
    dx, dy = place.pixel_m
    off_m = float(_steps_m(place, land.receiver)[_off_backbone(land, drainage)].sum())
    facts = {
        "version": _VERSION,
        "seed": seed,
        "land_km2": round(float(land.land.sum()) * dx * dy / 1e6, 1),
        "dropped_share": round(sum(gap.length_m for gap in gaps) / off_m, 4),
        "seconds": round(time.perf_counter() - start, 1),
    }
    write_json(out / FACTS, facts | _table_facts(out))


def _table_facts(folder: Path) -> dict[str, Any]:
    """Count the content of the files of a region or a part."""
    truth, gaps, streams = (
        gpd.read_parquet(folder / TRUTH),
        gpd.read_parquet(folder / GAPS),
        read_table(folder / STREAMS),
    )
    off = ~truth["on_backbone"].to_numpy(bool)
    catchments = read_table(folder / CATCHMENTS)
    grid = raster.raster_grid(folder / PROBABILITY)
    crs = f"+proj=laea +lat_0={grid.north} +lon_0={grid.west} +datum=WGS84"
    return {
        "catchments": int(catchments["streamID"].nunique()),
        "catchments_km2": round(float(catchments.to_crs(crs).area.sum()) / 1e6, 1),
        "mpx": round(grid.width * grid.height / 1e6, 3),
        "links": len(streams),
        "true_km": round(float(geodesic_length_m(truth.geometry.to_numpy()).sum()) / 1e3, 1),
        "true_km_off_backbone": round(float(geodesic_length_m(truth.geometry.to_numpy()[off]).sum()) / 1e3, 1),
        "gaps": len(gaps),
        "gaps_km": round(float(gaps["length_m"].sum()) / 1e3, 1),
    }


def region_layout(seed: int, land_km2: float) -> PlanetGrid:
    """Place a window inside one degree cell, so one lattice of columns covers it."""
    latitude, longitude = (seed * 17 + 20) % 80 - 40, (seed * 37 + 100) % 300 - 150

    def of(columns: int, rows: int) -> PlanetGrid:
        west = round(longitude + 0.5 - columns // 2 / TRUTH_PER_DEGREE, 9)
        north = round(latitude + 0.5 + rows // 2 / TRUTH_PER_DEGREE, 9)
        return PlanetGrid(seed, west, north, columns, rows, 1.0, longitude, latitude, None)

    dx, dy = of(2, 2).pixel_m
    height_m = math.sqrt(land_km2 * 1e6 / _LAND_OF_WINDOW / 1.25)
    # Whole posts of the elevation model; a degree, if the region is that wide.
    columns, rows = (min(round(side / 10) * 10, TRUTH_PER_DEGREE) for side in (1.25 * height_m / dx, height_m / dy))
    return of(columns, rows)


def probability_grid(place: PlanetGrid, land: Landscape) -> RasterGrid:
    """Return the part of the degree cell's 20 m grid that covers the land and a margin of ten pixels."""
    rows, columns = np.flatnonzero(land.land.any(axis=1)), np.flatnonzero(land.land.any(axis=0))
    corners = np.array([[rows[0] - 0.5, columns[0] - 0.5], [rows[-1] + 0.5, columns[-1] + 0.5]])
    (west, north), (east, south) = vector_tables.lonlat(place, corners).tolist()
    cell = prediction_grid(Cell(place.degree_line, place.zone_border, 1.0))
    return cell.window((west - 10 * cell.dx, south - 10 * cell.dy, east + 10 * cell.dx, north + 10 * cell.dy))


def make_probability(
    place: PlanetGrid, land: Landscape, drainage: Drainage, grid: RasterGrid, seed: int
) -> tuple[NDArray[np.uint8], list[Gap]]:
    """Return the (y, x) probability in 1/255 on the grid, as described in the module, and the dropped runs."""
    rng = np.random.default_rng([seed, 71])
    gaps = dropped_runs(place, land, drainage, rng)
    cells = np.flatnonzero(drainage.regime)
    steps = _steps_m(place, land.receiver)
    residual = np.full(drainage.regime.size, np.nan, np.float32)
    for gap in gaps:
        own = gap.cells[:-1]
        stretch = (np.cumsum(steps[own]) // (_APART_PX * _PIXEL_M)).astype(int)
        count = int(stretch.max()) + 1
        weak = rng.random(count) < _WEAK_SHARE
        residual[own] = np.where(weak, rng.uniform(0.1, 0.4, count), rng.uniform(0.01, 0.08, count))[stretch]
    strength = 1 - 0.1 * np.abs(fractal_noise(grid.shape, rng, wavelength_px=12, octaves=2))
    at = _on_grid(place, grid, cells)
    nearest = tuple(np.clip(np.round(at).astype(int), 0, np.array(grid.shape) - 1).T)
    seen = np.maximum(strength[nearest], 0.7) * np.where(drainage.regime[cells] == EPHEMERAL, 0.95, 1)
    lost = ~np.isnan(residual[cells])
    amplitude = np.where(lost, residual[cells] / _LINE_PEAK, seen).astype(np.float64)
    width_m = river_width_m(drainage.discharge_km2[cells], float(drainage.discharge_km2.max()))
    width_px = np.where(lost, 1, np.clip(width_m / _PIXEL_M, 1, None)).astype(np.float64)
    below = _on_grid(place, grid, np.where(land.land.ravel()[land.receiver[cells]], land.receiver[cells], cells))
    field = np.zeros(grid.shape, np.float32)
    midway = (at + below) / 2  # a cell is longer than half a pixel
    _burn(field, (at, midway), width_px, amplitude, np.ones(cells.size, np.bool_))
    # Channels that join a run would raise it again, so they are lowered, except where its end meets a kept channel.
    inner = np.isin(cells, np.concatenate([gap.cells[1:-3] for gap in gaps]))
    _lower_discs(field, at[inner], 1.0, amplitude[inner])
    _burn(field, (at, midway), width_px, amplitude, drainage.backbone[cells])
    standing = _nearest_truth(place, grid, land.lake | (land.ponds > 0))
    field[standing] = 1
    ground = _nearest_truth(place, grid, land.land)
    _add_blobs(field, ground, rng)
    p = np.minimum(ndimage.gaussian_filter(field, 1.0) * np.float32(_GAIN), np.float32(_HIGHEST))
    background = 0.02 * np.abs(fractal_noise(grid.shape, rng, wavelength_px=40, octaves=4))
    white = 0.015 * rng.standard_normal(grid.shape, dtype=np.float32)
    p += np.where(ground, background * (1 - p), 0) + white * (0.3 + p)
    speckle = ground & (rng.random(grid.shape, dtype=np.float32) < 5e-4)
    p[speckle] = np.maximum(p[speckle], rng.uniform(0.2, 0.9, int(speckle.sum())).astype(np.float32))
    return np.round(np.clip(p, 0, 1) * 255).astype(np.uint8), gaps


def dropped_runs(place: PlanetGrid, land: Landscape, drainage: Drainage, rng: np.random.Generator) -> list[Gap]:
    """Choose runs of the channels off the backbone until 15 % of their length is dropped."""
    receiver, steps = land.receiver, _steps_m(place, land.receiver)
    off = _off_backbone(land, drainage)
    may_drop = off & ~(land.lake | (land.ponds > 0)).ravel()
    channel = np.flatnonzero(drainage.regime)
    main_donor = np.full(receiver.size, -1, np.int64)
    rising = channel[np.argsort(land.area_km2[channel], kind="stable")]
    main_donor[receiver[rising]] = rising  # the largest comes last and stays
    dropped = np.zeros(receiver.size, np.bool_)
    candidates = np.flatnonzero(may_drop)
    wanted, total = DROPPED_FRACTION * float(steps[off].sum()), 0.0
    gaps: list[Gap] = []
    for start in rng.choice(candidates, candidates.size, replace=False):
        if total >= wanted:
            break
        longest = float(rng.uniform(*RUN_PX)) * _PIXEL_M
        gap = _run_from(int(start), min(longest, wanted - total + RUN_PX[0] * _PIXEL_M), may_drop, dropped, main_donor,
                        receiver, steps)  # fmt: skip
        if gap is not None:
            dropped[gap.cells[:-1]] = True
            total += gap.length_m
            gaps.append(gap)
    return gaps


def _run_from(
    start: int,
    longest_m: float,
    may_drop: NDArray[np.bool_],
    dropped: NDArray[np.bool_],
    main_donor: NDArray[np.int64],
    receiver: NDArray[np.int32],
    steps: NDArray[np.float32],
) -> Gap | None:
    """Return the run downstream from a cell; None if it is short, near a head or near another run."""
    apart = _APART_PX * _PIXEL_M
    cell, walked = start, 0.0
    while walked < apart:  # upstream
        if dropped[cell]:
            return None
        cell = int(main_donor[cell])
        if cell < 0:
            return None
        walked += float(steps[cell])
    cells, length = [start], 0.0
    while length < longest_m and may_drop[cells[-1]]:  # downstream
        if dropped[cells[-1]]:
            return None
        length += float(steps[cells[-1]])
        cells.append(int(receiver[cells[-1]]))
    if length < RUN_PX[0] * _PIXEL_M:
        return None
    cell, walked = cells[-1], 0.0
    while walked < apart and may_drop[cell]:
        if dropped[cell]:
            return None
        walked += float(steps[cell])
        cell = int(receiver[cell])
    return Gap(np.array(cells, np.int64), length)


def _off_backbone(land: Landscape, drainage: Drainage) -> NDArray[np.bool_]:
    """Flat mask of the channel cells off the backbone that flow to another land cell."""
    off: NDArray[np.bool_] = (drainage.regime > 0) & ~drainage.backbone & land.land.ravel()[land.receiver]
    return off


def _steps_m(place: PlanetGrid, receiver: NDArray[np.int32]) -> NDArray[np.float32]:
    """Flat: meters from each cell to its receiver."""
    dx, dy = place.pixel_m
    apart = np.abs(receiver - np.arange(receiver.size, dtype=np.int64))
    steps = np.where(apart == 1, dx, np.where(apart == place.columns, dy, math.hypot(dx, dy)))
    return np.where(receiver < 0, 0, steps).astype(np.float32)


def _on_grid(place: PlanetGrid, grid: RasterGrid, cells: NDArray[Any]) -> NDArray[np.float64]:
    """Return fractional (row, column) of the grid's pixel centers at the centers of flat cells of the truth."""
    at = vector_tables.lonlat(place, np.column_stack(np.divmod(cells, place.columns)).astype(float))
    return np.column_stack([(grid.north - at[:, 1]) / grid.dy, (at[:, 0] - grid.west) / grid.dx]) - 0.5


def _nearest_truth(place: PlanetGrid, grid: RasterGrid, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Sample a mask of the truth at the grid's pixel centers; False outside the window."""
    latitude = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    longitude = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    rows = np.floor((place.north - latitude) * TRUTH_PER_DEGREE).astype(int)
    columns = np.floor((longitude - place.west) * TRUTH_PER_DEGREE).astype(int)
    inside = ((rows >= 0) & (rows < place.rows))[:, None] & ((columns >= 0) & (columns < place.columns))
    sampled = mask[np.ix_(np.clip(rows, 0, place.rows - 1), np.clip(columns, 0, place.columns - 1))]
    return np.asarray(sampled & inside)


def _burn(
    field: NDArray[np.float32],
    points: tuple[NDArray[np.float64], ...],
    widths: NDArray[np.float64],
    amplitudes: NDArray[np.float64],
    chosen: NDArray[np.bool_],
) -> None:
    for at in points:
        _raise_discs(field, at[chosen], widths[chosen], amplitudes[chosen])


@njit(cache=True, nogil=True)
def _raise_discs(field, points, widths, amplitudes):  # type: ignore[no-untyped-def]
    """Raise `field` (y, x) to discs of a width (pixels) with soft edges around points, (row, column)."""
    height, width = field.shape
    for i in range(points.shape[0]):
        y, x, w = points[i, 0], points[i, 1], widths[i]
        reach = int(w / 2 + 1.5)
        for r in range(max(0, int(y) - reach), min(height, int(y) + reach + 2)):
            for c in range(max(0, int(x) - reach), min(width, int(x) + reach + 2)):
                share = min(max(w / 2 + 0.5 - np.hypot(r - y, c - x), 0.0), 1.0) * amplitudes[i]
                if share > field[r, c]:
                    field[r, c] = share


@njit(cache=True, nogil=True)
def _lower_discs(field, points, radius, amplitudes):  # type: ignore[no-untyped-def]
    """Lower `field` (y, x) to an amplitude within a radius (pixels) of points, (row, column)."""
    height, width = field.shape
    reach = int(radius + 1)
    for i in range(points.shape[0]):
        y, x = points[i, 0], points[i, 1]
        for r in range(max(0, int(y) - reach), min(height, int(y) + reach + 2)):
            for c in range(max(0, int(x) - reach), min(width, int(x) + reach + 2)):
                if np.hypot(r - y, c - x) <= radius and amplitudes[i] < field[r, c]:
                    field[r, c] = amplitudes[i]


def _add_blobs(field: NDArray[np.float32], ground: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Burn false ellipses, at least four pixels from everything burned so far."""
    away = ndimage.distance_transform_edt(field == 0).astype(np.float32)
    away[~ground] = 0
    count = round(float(ground.sum()) * (_PIXEL_M / 1e3) ** 2 / 6)
    across = np.exp(rng.uniform(math.log(3), math.log(30), count))
    order = np.argsort(away, axis=None)
    sorted_away = away.ravel()[order]
    for size in across:
        first = int(np.searchsorted(sorted_away, size / 2 + 4))
        if first == order.size:
            continue  # no room for this size
        row, column = divmod(int(order[rng.integers(first, order.size)]), field.shape[1])
        turn, flat, amplitude = rng.uniform(0, math.pi), rng.uniform(0.35, 1), rng.uniform(0.28, 0.42)
        reach = int(size / 2) + 1
        rows = slice(max(row - reach, 0), row + reach + 1)
        columns = slice(max(column - reach, 0), column + reach + 1)
        y, x = np.ogrid[rows.start - row : reach + 1, columns.start - column : reach + 1]
        window = field[rows, columns]
        y, x = y[: window.shape[0]], x[:, : window.shape[1]]
        along, over = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        inside = np.hypot(along, over / flat) <= size / 2
        window[inside] = np.maximum(window[inside], np.float32(amplitude))


def _write_elevation(path: Path, place: PlanetGrid, nature: PlanetParameters, land: Landscape) -> None:
    """Write the surface model at one arc second; the canopy is the upper part of fractal noise."""
    rng = np.random.default_rng([place.seed, 72])
    suit = fractal_noise(land.land.shape, rng, wavelength_px=120, octaves=6, persistence=0.6)
    level = float(np.quantile(suit[land.land][::17], 1 - nature.canopy))
    canopy = (np.clip((suit - level) / 0.25 + 0.5, 0, 1) * land.land).astype(np.float32)
    nothing = np.broadcast_to(np.float32(0), canopy.shape)  # the surface model uses only the canopy
    names = LandCover.__dataclass_fields__
    surface = LandCover(**{name: canopy if name == "canopy" else nothing for name in names})
    model, first_row, first_column = glo30.surface_model(place, nature, land, surface)
    post = 1 / glo30.POSTS_PER_DEGREE
    origin = Affine(post, 0, (first_column - 0.5) * post, 0, -post, 90 - (first_row - 0.5) * post)
    raster.write_cog(path, model[None], transform=origin)


def _write_layer(path: Path, table: gpd.GeoDataFrame) -> None:
    path.unlink(missing_ok=True)
    pyogrio.write_dataframe(table, path, layer=path.stem, driver="GPKG")
