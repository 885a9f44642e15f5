"""vectorize: the probability of a cell becomes segments that flow to its reaches."""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from shapely import box

from headwater.errors import InputError
from headwater.files import atomic_path
from headwater.grid import Bounds, Cell, RasterGrid
from headwater.progress import progress
from headwater.raster import raster_facts, raster_grid, read_overview, read_window
from headwater.steps.network import write_checked
from headwater.vector.antimeridian import middle_longitudes, turned, turns_to
from headwater.vector.backbone import CATCHMENT_ID_COLUMNS, NO_LINK, STREAM_COLUMNS, read_table, tdx_backbone
from headwater.vector.extent import catchment_bounds, tile_grid, union_tile, with_rings
from headwater.vector.segments import segment_table
from headwater.vector.settings import Settings
from headwater.vector.window import MARGIN_PX, RINGS, segments_of_window, vectorize_window

BLOCK_PX = 4096
"""Side of the blocks that the standalone command cuts the lattice into: memory is that of a block's catchments."""


def vectorize_cell(
    probability: Sequence[Path],
    elevation: Sequence[Path],
    reaches: Path,
    catchments: Path,
    cell: str,
    out: Path,
    *,
    settings: Settings | None = None,
) -> None:
    """Write waterways.parquet of a cell: the segments of the catchments whose reach ends there.

    Parameters
    ----------
    probability, elevation : sequence of Path
        probability.tif and elevation.tif of the cell and of those its catchments reach into.
    reaches, catchments : Path
        The backbone's tables; only the cell's rows and those around them are read.
    cell : str
        Name of the cell.
    out : Path
        File to write. A cell without reaches gets a file without rows.
    settings : Settings, optional
        Method and its numbers.

    Raises
    ------
    InputError
        A file is missing or is not what it should be, or the cell's own raster is not among them.
    """
    for path in (reaches, catchments):
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist.", "Run `headwater backbone` first.")
    own = gpd.read_parquet(reaches, filters=[("cell", "==", cell)])
    there = _around(catchments, cell)
    lattice = _lattice_of_cell(probability, cell) if (there["cell"] == cell).any() else RasterGrid(0, 0, 1, 1, 0, 0)
    # Cells are what the file's rows lie by: those of few are decoded.
    asked = [("cell", "in", there["cell"].unique().tolist()), ("link_id", "in", there["link_id"].tolist())]
    neighbours = gpd.read_parquet(reaches, filters=asked) if len(there) else own
    known = pd.concat([own, neighbours[~neighbours["link_id"].isin(own["link_id"])]], ignore_index=True)
    # Rivers that cross 180 degrees may be drawn beyond the cell; here all is worked on beside its raster.
    lines = np.asarray(known.geometry.to_numpy(), dtype=object)
    turns = pd.Series(
        turns_to(middle_longitudes(lines), lattice.west + lattice.width * lattice.dx / 2), index=known["link_id"]
    )
    part = Part(
        gpd.GeoDataFrame(known, geometry=turned(lines, np.asarray(turns, dtype=np.float64)), crs=own.crs),
        _turned_table(there, turns),
        (known["cell"] == cell).to_numpy(bool),
    )
    rasters = Rasters(tuple(sorted(probability)), tuple(sorted(elevation)), lattice)
    segments = _turned_table(part_segments(rasters, settings or Settings(), part), -turns)
    with atomic_path(out) as temporary:
        segments.to_parquet(temporary, compression="zstd", schema_version="1.1.0", index=False)


def vectorize(
    probability: Path,
    elevation: Path,
    streams: Path,
    catchments: Path,
    out: Path,
    *,
    basin_id: str = "0",
    jobs: int = 1,
    checks: Path | None = None,
    settings: Settings | None = None,
) -> None:
    """Make a network of one probability raster and TDX-Hydro's tables in one go.

    Parameters
    ----------
    probability : Path
        EPSG:4326, 0..255 (uint8) or 0..1 (float); or the VRT of cells.
    elevation : Path
        Metres, any grid and CRS.
    streams, catchments : Path
        GeoPackage or GeoParquet with TDX-Hydro's columns.
    out : Path
        GeoParquet of the network.
    basin_id : str
        Region that the ids are made unique with.
    jobs : int
        Processes. The result is the same for any number.
    checks : Path, optional
        Where the counts of the checker go; beside `out` as <stem>.checks.json if not given.
    settings : Settings, optional
        Method and its numbers.

    Raises
    ------
    InputError, WorkError
        See `headwater.vector.backbone.tdx_backbone` and `headwater.steps.network.network`.
    """
    if jobs < 1:
        raise InputError(f"{jobs} jobs cannot work.", "Give --jobs 1 or more.")
    if out.suffix.lower() not in (".parquet", ".geoparquet"):
        raise InputError(f"{out.name} does not end in .parquet.", "The network is written as GeoParquet; name it so.")
    lattice = raster_grid(Path(probability))
    backbone = tdx_backbone(
        read_table(streams, columns=STREAM_COLUMNS), read_table(catchments, columns=CATCHMENT_ID_COLUMNS)
    )
    _check_together(Path(probability), Path(elevation), lattice, backbone.reaches)
    parts = _parts(backbone.reaches, backbone.catchments, lattice, BLOCK_PX if jobs == 1 else BLOCK_PX // 2)
    work = partial(part_segments, Rasters((Path(probability),), (Path(elevation),), lattice), settings or Settings())
    if jobs == 1 or len(parts) < 2:
        tables = [work(part) for part in progress(parts, description="vectorize")]
    else:
        # Fresh processes: a forked one would inherit GDAL's and numba's threads half alive.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(parts)), mp_context=context) as pool:
            tables = list(progress(pool.map(work, parts), description="vectorize", total=len(parts)))
    tables = [table for table in tables if len(table)]
    pieces = gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=tables[0].crs) if tables else segment_table([])
    out = Path(out)
    write_checked(pieces, backbone.reaches, out, checks or out.with_suffix(".checks.json"), basin_id=basin_id)


@dataclass(frozen=True)
class Rasters:
    """Where probability and elevation are read."""

    probability: tuple[Path, ...]
    """The first with data wins."""
    elevation: tuple[Path, ...]
    """The first with data wins."""
    lattice: RasterGrid
    """Grid that windows are cut from; continued beyond its edges."""


@dataclass(frozen=True)
class Part:
    """Reaches to find the segments of, with what lies around them."""

    reaches: gpd.GeoDataFrame
    """Rows of the backbone."""
    catchments: gpd.GeoDataFrame
    """Catchments of these reaches, and rings around the own ones."""
    own: NDArray[np.bool_]
    """(reaches,) those whose segments are wanted."""


def part_segments(rasters: Rasters, settings: Settings, part: Part) -> gpd.GeoDataFrame:
    """Read what a part covers once and return the segments of its own reaches, by link."""
    if settings.method == "published":
        return _published(rasters, settings, part)
    order = np.argsort(part.reaches["link_id"].to_numpy(), kind="stable")
    reaches, own = part.reaches.iloc[order], part.own[order]
    links = reaches["link_id"].to_numpy(np.int64)
    # By link too: where catchments overlap the last one counts, in whatever order they were read.
    catchments = part.catchments.sort_values("link_id")
    label = np.searchsorted(links, catchments["link_id"].to_numpy(np.int64))
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
    )
    return segments_of_window(found, links)


def _published(rasters: Rasters, settings: Settings, part: Part) -> gpd.GeoDataFrame:
    from headwater.vector.published.catchments import vectorize_catchments

    reaches = part.reaches[part.own]
    catchments = part.catchments[part.catchments["link_id"].isin(reaches["link_id"])]
    lines = dict(zip(reaches["link_id"], reaches.geometry, strict=True))
    boxes = [
        box(*catchment_bounds(shape, lines[link], rasters.lattice))
        for link, shape in zip(catchments["link_id"], catchments.geometry, strict=True)
    ]
    tile = union_tile(np.array(boxes, dtype=object), rasters.lattice, margin_px=1)
    grid = tile_grid(rasters.lattice, tile)
    probability, valid = _read_probability(rasters.probability, grid)
    return vectorize_catchments(
        np.where(valid, probability.astype(np.float32) / np.float32(255), np.float32(np.nan)),
        _read_elevation(rasters.elevation, grid),
        rasters.lattice,
        tile,
        reaches=reaches,
        catchments=catchments,
        settings=settings,
    )


def _parts(reaches: gpd.GeoDataFrame, catchments: gpd.GeoDataFrame, lattice: RasterGrid, block_px: int) -> list[Part]:
    """Cut the backbone into the catchments of square blocks, each with the rings around them, and the bare reaches."""
    bare = reaches[~reaches["has_catchment"]]
    parts = [Part(bare, catchments.iloc[:0], np.ones(len(bare), dtype=bool))] if len(bare) else []
    if catchments.empty:
        return parts
    middle = catchments.geometry.representative_point()
    rows = np.floor((lattice.north - middle.y.to_numpy()) / lattice.dy / block_px).astype(int)
    columns = np.floor((middle.x.to_numpy() - lattice.west) / lattice.dx / block_px).astype(int)
    _, block = np.unique(np.column_stack([rows, columns]), axis=0, return_inverse=True)
    links = reaches["link_id"].to_numpy()
    for number in range(block.max() + 1):
        there = catchments[with_rings(catchments, block == number, RINGS)]
        own_links = catchments["link_id"].to_numpy()[block == number]
        around = reaches[np.isin(links, there["link_id"])]
        parts.append(Part(around, there, np.isin(around["link_id"], own_links)))
    return parts


def _around(catchments: Path, cell: str) -> gpd.GeoDataFrame:
    """Read the catchments of a cell and the rings around them."""
    there = gpd.read_parquet(catchments, filters=[("cell", "==", cell)])
    for _ in range(RINGS):
        if len(there):
            near = gpd.read_parquet(catchments, bbox=tuple(there.total_bounds))
            there = near[with_rings(near, near["link_id"].isin(there["link_id"]).to_numpy(bool), 1)]
    return there.reset_index(drop=True)


def _turned_table(table: gpd.GeoDataFrame, turns: pd.Series[float]) -> gpd.GeoDataFrame:
    """Return rows of links moved by their links' whole turns of 360 degrees."""
    shapes = np.asarray(table.geometry.to_numpy(), dtype=object)
    return table.set_geometry(
        turned(shapes, np.asarray(turns.reindex(table["link_id"]), dtype=np.float64)), crs=table.crs
    )


def _beside(path: Path, grid: RasterGrid) -> RasterGrid:
    """Return a grid that reaches beyond 180 degrees moved by whole turns to where a raster lies."""
    west, _, east, _ = grid.bounds
    if west >= -180 and east <= 180:
        return grid
    there = raster_facts(path)["bounds"]
    return replace(grid, west=grid.west + 360 * round(((there[0] + there[2]) - (west + east)) / 720))


def _read_probability(paths: Sequence[Path], grid: RasterGrid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read probability onto a grid as p * 255, 0 where no raster has data; the first with data wins."""
    layer, known = np.zeros(grid.shape, dtype=np.uint8), np.zeros(grid.shape, dtype=bool)
    for path in paths if layer.size else ():
        values, valid = read_window(Path(path), _beside(Path(path), grid), resampling="nearest")
        if values.dtype != np.uint8:
            valid = valid & np.isfinite(values)
            values = np.rint(np.clip(np.where(valid, values, 0), 0, 1) * 255).astype(np.uint8)
        take = valid & ~known
        layer[take], known[take] = values[take], True
    return layer, known


def _read_elevation(paths: Sequence[Path], grid: RasterGrid) -> NDArray[np.float32]:
    """Read elevation onto a grid, NaN where no raster has data; the first with data wins."""
    layer = np.full(grid.shape, np.nan, dtype=np.float32)
    for path in paths if layer.size else ():
        values, valid = read_window(Path(path), _beside(Path(path), grid), resampling="bilinear")
        if len(paths) == 1 and valid.all():
            return values.astype(np.float32, copy=False)
        take = valid & np.isnan(layer)
        layer[take] = values[take]
    return layer


def _check_together(probability: Path, elevation: Path, lattice: RasterGrid, reaches: gpd.GeoDataFrame) -> None:
    """Refuse rasters that are not what they are given for, and inputs that do not lie in one place."""
    facts = raster_facts(probability)
    sample = read_overview(probability, max_px=512)[0]
    shares = facts["dtype"] == "uint8" or (np.issubdtype(sample.dtype, np.floating) and np.nanmax(sample) <= 1)
    if facts["count"] != 1 or not shares:
        raise InputError(
            f"{probability} is not a probability: one band of 0 to 255 in 8 bits, or of 0 to 1, is needed.",
            "Give probability.tif or mosaic.vrt as --probability.",
        )
    if reaches.empty:
        raise InputError("The streams hold no reach.", "Give the streams of the place.")
    raster, known = box(*lattice.bounds), box(*raster_facts(elevation)["bounds"])
    # A little wider: a single straight reach has no area.
    area = raster.intersection(box(*reaches.total_bounds).buffer(0.001))
    if area.area == 0 or not known.intersects(area):
        raise InputError(
            "Streams, probability and elevation do not lie in one place.",
            "Give files of the same place, each with its right coordinate reference system.",
        )
    missing = 1 - known.intersection(area).area / area.area
    if missing > 0.001:
        print(f"vectorize: {missing:.0%} of the area has no elevation", file=sys.stderr)


def _lattice_of_cell(probability: Sequence[Path], cell: str) -> RasterGrid:
    """Return the grid of the cell's own raster, known by its name and corner."""
    for path in probability:
        grid = raster_grid(Path(path))
        degrees = round(grid.height * grid.dy, 9)
        try:
            bounds: Bounds = Cell.from_name(cell, degrees).bounds
        except (InputError, StopIteration, ZeroDivisionError):
            continue
        if math.isclose(bounds[0], grid.bounds[0], abs_tol=1e-9) and math.isclose(
            bounds[1], grid.bounds[1], abs_tol=1e-9
        ):
            return grid
    raise InputError(
        f"The probability of cell {cell} is not among the rasters given.", "Give the raster of the cell itself too."
    )
