"""Parts of a backbone: what their catchments cover is read once, and its water becomes segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from shapely import box

from headwater.core.elevations import refuse_no_elevation
from headwater.core.errors import InputError
from headwater.geo.grid import RasterGrid
from headwater.raster.resampled import RasterSource, read_resampled, source_bounds
from headwater.waterways.backbone.tdx import NO_LINK
from headwater.waterways.lines.vectorize import (
    MARGIN_PX,
    RINGS,
    no_water,
    segments_of_window,
    vectorize_window,
    water_of_window,
)
from headwater.waterways.segments import segment_table, whole_reach
from headwater.waterways.settings import VectorizeSettings
from headwater.waterways.windows import catchment_bounds, lattice_numbers, tile_grid, union_tile, with_rings

BLOCK_PX = 4096
"""Largest side of the blocks that catchments are cut into: memory is that of a block and the rings around it."""


@dataclass(frozen=True)
class Rasters:
    """Where probability and elevation are read."""

    probability: tuple[RasterSource, ...]
    """The first with data wins."""
    elevation: tuple[RasterSource, ...]
    """The first with data wins."""
    lattice: RasterGrid
    """Grid that windows are cut from; continued beyond its edges."""


@dataclass(frozen=True)
class Part:
    """Reaches to find the segments of, with their surroundings."""

    reaches: gpd.GeoDataFrame
    """Rows of the backbone."""
    catchments: gpd.GeoDataFrame
    """Catchments of these reaches, and rings around the own ones."""
    own: NDArray[np.bool_]
    """(reaches,) those whose segments are wanted."""


@dataclass(frozen=True)
class Vectors:
    """Segments and wide water of a part."""

    segments: gpd.GeoDataFrame
    """SEGMENT_COLUMNS of its own reaches, by link."""
    water: gpd.GeoDataFrame
    """WATER_COLUMNS of its own catchments; empty where not requested."""


def parts_of(
    reaches: gpd.GeoDataFrame,
    catchments: gpd.GeoDataFrame,
    lattice: RasterGrid,
    *,
    own: NDArray[np.bool_] | None = None,
    block_px: int = BLOCK_PX,
) -> list[Part]:
    """Cut a backbone into the catchments of equal blocks, each with the rings around them, and the bare reaches.

    Parameters
    ----------
    reaches, catchments : GeoDataFrame
        Tables of the backbone.
    lattice : RasterGrid
        Grid of the probability.
    own : (reaches,) bool, optional
        Reaches whose segments are wanted; all if not given.
    block_px : int
        Largest side of a block.
    """
    own = np.ones(len(reaches), dtype=bool) if own is None else own
    links = reaches["link_id"].to_numpy()
    wanted = catchments["link_id"].isin(links[own]).to_numpy(bool)
    bare = reaches[own & ~np.isin(links, catchments["link_id"])]
    parts = [Part(bare, catchments.iloc[:0], np.ones(len(bare), dtype=bool))] if len(bare) else []
    if not wanted.any():
        return parts
    boxes = catchments.bounds.to_numpy()[wanted]
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    block = np.full(len(catchments), -1)
    block[wanted] = _numbers(y, lattice.dy * block_px) * len(x) + _numbers(x, lattice.dx * block_px)
    for number in np.unique(block[wanted]):
        there = catchments[with_rings(catchments, block == number, RINGS)]
        around = reaches[np.isin(links, there["link_id"])]
        own_links = catchments["link_id"].to_numpy()[block == number]
        parts.append(Part(around, there, np.isin(around["link_id"], own_links)))
    return parts


def _numbers(places: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """Number of the interval of each place, of as few equal ones as are no longer than a step."""
    low, span = places.min(), np.ptp(places)
    count = max(1, int(np.ceil(span / step)))
    number: NDArray[np.int64] = np.minimum((places - low) / max(span, 1e-12) * count, count - 1).astype(np.int64)
    return number


def part_vectors(rasters: Rasters, settings: VectorizeSettings, part: Part) -> Vectors:
    """Read what a part covers once and return the segments of its own reaches, and their wide water."""
    if settings.method == "published":
        return Vectors(_published(rasters, settings, part), no_water())
    order = np.argsort(part.reaches["link_id"].to_numpy(), kind="stable")
    reaches, own = part.reaches.iloc[order], part.own[order]
    links = reaches["link_id"].to_numpy(np.int64)
    # By link too: where catchments overlap the last one counts, in whatever order they were read.
    catchments = part.catchments.sort_values("link_id")
    of_catchments = catchments["link_id"].to_numpy(np.int64)
    unknown = of_catchments[~np.isin(of_catchments, links)]
    if len(unknown):
        raise InputError(
            f"There is a catchment of link {unknown[0]}, but no such reach.",
            "Give reaches and catchments of one backbone: run `headwater backbone` again.",
        )
    label = np.searchsorted(links, of_catchments)
    shapes = catchments.geometry.to_numpy()
    # Own reaches may run outside of their catchment, and those without one need no cells.
    covered = np.isin(np.arange(len(links)), label)
    extent = np.concatenate([shapes, reaches.geometry.to_numpy()[own & covered]])
    tile = union_tile(extent, rasters.lattice, margin_px=MARGIN_PX)
    grid = tile_grid(rasters.lattice, tile)
    probability, valid = _read_probability(rasters.probability, grid)
    found = vectorize_window(
        probability,
        valid,
        _read_elevation(rasters.elevation, grid),
        grid,
        reaches=reaches.geometry.to_numpy(),
        flows_on=(reaches["downstream_link_id"] != NO_LINK).to_numpy(bool),
        catchments=shapes,
        catchment_label=label,
        own=own,
        settings=settings,
        lattice=lattice_numbers(reaches["cell"].to_numpy(object)),
    )
    return Vectors(segments_of_window(found, links), water_of_window(found, links))


def _published(rasters: Rasters, settings: VectorizeSettings, part: Part) -> gpd.GeoDataFrame:
    from headwater.waterways.published.method import vectorize_catchments

    reaches = part.reaches[part.own]
    catchments = part.catchments[part.catchments["link_id"].isin(reaches["link_id"])]
    lines = dict(zip(reaches["link_id"], reaches.geometry, strict=True))
    boxes = [
        box(*catchment_bounds(shape, lines[link], rasters.lattice))
        for link, shape in zip(catchments["link_id"], catchments.geometry, strict=True)
    ]
    if not boxes:
        return segment_table([(int(link), whole_reach(lines[link])) for link in sorted(lines)])
    tile = union_tile(np.array(boxes, dtype=object), rasters.lattice, margin_px=1)
    grid = tile_grid(rasters.lattice, tile)
    probability, valid = _read_probability(rasters.probability, grid)
    elevation = _read_elevation(rasters.elevation, grid)
    refuse_no_elevation(elevation, "The elevation")
    return vectorize_catchments(
        np.where(valid, probability.astype(np.float32) / np.float32(255), np.float32(np.nan)),
        elevation,
        rasters.lattice,
        tile,
        reaches=reaches,
        catchments=catchments,
        settings=settings,
    )


def _shifted_to(path: RasterSource, grid: RasterGrid) -> RasterGrid:
    """Return a grid that reaches beyond 180 degrees shifted by multiples of 360 degrees to where a raster is."""
    west, _, east, _ = grid.bounds
    if west >= -180 and east <= 180:
        return grid
    there = source_bounds(path)
    return replace(grid, west=grid.west + 360 * round(((there[0] + there[2]) - (west + east)) / 720))


def _read_probability(paths: Sequence[RasterSource], grid: RasterGrid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read probability onto a grid as p * 255, 0 where no raster has data; the first with data wins."""
    layer, known = np.zeros(grid.shape, dtype=np.uint8), np.zeros(grid.shape, dtype=bool)
    for path in paths if layer.size else ():
        values, valid = read_resampled(path, _shifted_to(path, grid), resampling="nearest")
        if values.dtype != np.uint8:
            valid = valid & np.isfinite(values)
            values = np.rint(np.clip(np.where(valid, values, 0), 0, 1) * 255).astype(np.uint8)
        if len(paths) == 1:
            return np.where(valid, values, np.uint8(0)), valid
        take = valid & ~known
        layer[take], known[take] = values[take], True
    return layer, known


def _read_elevation(paths: Sequence[RasterSource], grid: RasterGrid) -> NDArray[np.float32]:
    """Read elevation onto a grid, NaN where no raster has data; the first with data wins."""
    layer = np.full(grid.shape, np.nan, dtype=np.float32)
    for path in paths if layer.size else ():
        values, valid = read_resampled(path, _shifted_to(path, grid), resampling="bilinear")
        if len(paths) == 1 and valid.all():
            return values.astype(np.float32, copy=False)
        take = valid & np.isnan(layer)
        layer[take] = values[take]
    return layer
