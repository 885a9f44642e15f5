"""vectorize: the probability of a cell becomes segments that flow to its reaches."""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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
from headwater.vector.backbone import read_table, tdx_backbone
from headwater.vector.catchment import Settings
from headwater.vector.segments import segment_table, tile_grid, union_tile, vectorize_catchments

CHUNK_CATCHMENTS = 64
"""Catchments whose rasters are read at once by the standalone command. Fixed: the result must not hang on `jobs`."""


def vectorize_cell(
    probability: Sequence[Path],
    elevation: Sequence[Path],
    reaches: Path,
    catchments: Path,
    cell: str,
    out: Path,
    *,
    threshold: float = 0.5,
    floor: float = 0.1,
    limits: Sequence[float] = (8, 32, 400),
    min_piece_px: int = 8,
    bits_below_floor: float = 8.0,
) -> None:
    """Write waterways.parquet of a cell: the segments of the catchments whose reach ends there.

    Parameters
    ----------
    probability, elevation : sequence of Path
        probability.tif and elevation.tif of the cell and of those its catchments reach into.
    reaches, catchments : Path
        The backbone's tables; only the cell's rows are read.
    cell : str
        Name of the cell.
    out : Path
        File to write. A cell without reaches gets a file without rows.
    threshold, floor, limits, min_piece_px, bits_below_floor
        See `headwater.vector.catchment.Settings`.

    Raises
    ------
    InputError
        A file is missing or is not what it should be, or the cell's own raster is not among them.
    """
    settings = Settings(
        threshold=threshold,
        floor=floor,
        limits=tuple(limits),
        min_piece_px=min_piece_px,
        bits_below_floor=bits_below_floor,
    )
    own_reaches, own_catchments = _rows_of_cell(reaches, cell), _rows_of_cell(catchments, cell)
    lattice = _lattice_of_cell(probability, cell) if len(own_catchments) else RasterGrid(0, 0, 1, 1, 0, 0)
    segments = _segments(probability, elevation, lattice, own_reaches, own_catchments, settings)
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
    threshold: float = 0.5,
    floor: float = 0.1,
    limits: Sequence[float] = (8, 32, 400),
    min_piece_px: int = 8,
    bits_below_floor: float = 8.0,
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
    threshold, floor, limits, min_piece_px, bits_below_floor
        See `headwater.vector.catchment.Settings`.

    Raises
    ------
    InputError, WorkError
        See `headwater.vector.backbone.tdx_backbone` and `headwater.steps.network.network`.
    """
    settings = Settings(
        threshold=threshold,
        floor=floor,
        limits=tuple(limits),
        min_piece_px=min_piece_px,
        bits_below_floor=bits_below_floor,
    )
    if jobs < 1:
        raise InputError(f"{jobs} jobs cannot work.", "Give --jobs 1 or more.")
    if out.suffix.lower() not in (".parquet", ".geoparquet"):
        raise InputError(f"{out.name} does not end in .parquet.", "The network is written as GeoParquet; name it so.")
    lattice = raster_grid(Path(probability))
    backbone = tdx_backbone(read_table(streams), read_table(catchments))
    _check_together(Path(probability), Path(elevation), lattice, backbone.reaches)
    chunks = _chunks(backbone.reaches, backbone.catchments, lattice)
    work = partial(_chunk_segments, [Path(probability)], [Path(elevation)], lattice, settings)
    if jobs == 1 or len(chunks) < 2:
        parts = [work(chunk) for chunk in progress(chunks, description="vectorize")]
    else:
        # Fresh processes: a forked one would inherit GDAL's and numba's threads half alive.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=context) as pool:
            parts = list(progress(pool.map(work, chunks), description="vectorize", total=len(chunks)))
    parts = [part for part in parts if len(part)]
    pieces = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=parts[0].crs) if parts else segment_table([])
    out = Path(out)
    write_checked(pieces, backbone.reaches, out, checks or out.with_suffix(".checks.json"), basin_id=basin_id)


_Chunk = tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]


def _chunks(reaches: gpd.GeoDataFrame, catchments: gpd.GeoDataFrame, lattice: RasterGrid) -> list[_Chunk]:
    """Cut the backbone into groups of neighbouring catchments, and one of the reaches without any."""
    bare = reaches[~reaches["has_catchment"]]
    chunks: list[_Chunk] = [(bare, catchments.iloc[:0])] if len(bare) else []
    if len(catchments):
        middle = catchments.geometry.representative_point()
        distance = middle.hilbert_distance(total_bounds=catchments.total_bounds).to_numpy()
        ordered = catchments.iloc[np.lexsort((catchments["link_id"], distance))]
        for start in range(0, len(ordered), CHUNK_CATCHMENTS):
            own = ordered.iloc[start : start + CHUNK_CATCHMENTS]
            chunks.append((reaches[reaches["link_id"].isin(own["link_id"])], own))
    return chunks


def _chunk_segments(
    probability: Sequence[Path],
    elevation: Sequence[Path],
    lattice: RasterGrid,
    settings: Settings,
    chunk: _Chunk,
) -> gpd.GeoDataFrame:
    return _segments(probability, elevation, lattice, *chunk, settings)


def _segments(
    probability: Sequence[Path],
    elevation: Sequence[Path],
    lattice: RasterGrid,
    reaches: gpd.GeoDataFrame,
    catchments: gpd.GeoDataFrame,
    settings: Settings,
) -> gpd.GeoDataFrame:
    """Read what the catchments cover once, then vectorize them one by one."""
    tile = union_tile(reaches, catchments, lattice)
    grid = tile_grid(lattice, tile)
    return vectorize_catchments(
        _read_layers(probability, grid, resampling="nearest", bytes_are_shares=True),
        _read_layers(elevation, grid, resampling="bilinear"),
        lattice,
        tile,
        reaches=reaches,
        catchments=catchments,
        settings=settings,
    )


def _read_layers(
    paths: Sequence[Path], grid: RasterGrid, *, resampling: str, bytes_are_shares: bool = False
) -> NDArray[np.float32]:
    """Read rasters side by side onto a grid, NaN where none has data; the first with data wins."""
    layer = np.full(grid.shape, np.nan, dtype=np.float32)
    if layer.size == 0:
        return layer
    for path in paths:
        values, valid = read_window(Path(path), grid, resampling=resampling)
        shares = values.astype(np.float32)
        if bytes_are_shares and values.dtype == np.uint8:
            shares /= np.float32(255)
        take = valid & np.isnan(layer)
        layer[take] = shares[take]
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


def _rows_of_cell(path: Path, cell: str) -> gpd.GeoDataFrame:
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist.", "Run `headwater backbone` first.")
    return gpd.read_parquet(path, filters=[("cell", "==", cell)])


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
