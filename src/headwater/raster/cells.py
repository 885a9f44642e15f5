"""The rasters of a basin's cells as one lazy array: each pixel comes from the cell that holds its center."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from headwater.core.errors import InputError
from headwater.geo.grid import Bounds, Cell, RasterGrid, Tile, cell_grid, elevation_grid, prediction_grid
from headwater.raster.arrays import CHUNK_PX, blocks_to_array, located
from headwater.raster.opening import grid_of, with_retry
from headwater.raster.reading import warp_options


@dataclass(frozen=True)
class Kind:
    """How the rasters of cells are read."""

    bands: int
    """Bands to read; 0 for a single one without a band axis."""
    resampling: str
    """Of cells whose pixels do not line up with the basin's grid."""
    masked: bool
    """Whether values become float32 with NaN where the file has none; 8 bits of a probability become 0 to 1."""
    beyond: int = 0
    """Last rows and columns of the grid that are beyond every cell and are read from the margins of the last ones."""


COMPOSITE = Kind(bands=5, resampling="nearest", masked=False)
ELEVATION = Kind(bands=0, resampling="bilinear", masked=True, beyond=1)
PROBABILITY = Kind(bands=0, resampling="bilinear", masked=True)


def composite_grid(cells: Sequence[Cell], bounds: Bounds) -> RasterGrid:
    """Return the 10 m grid over cells; of cells with different pixel widths the narrowest counts.

    Parameters
    ----------
    cells : sequence of Cell
        At least one.
    bounds : (west, south, east, north)
        Of all cells in one piece, degrees; east may be beyond 180.
    """
    return _grid_over(min((cell_grid(cell) for cell in cells), key=lambda grid: grid.dx), bounds)


def probability_grid(cells: Sequence[Cell], bounds: Bounds) -> RasterGrid:
    """Return the 20 m grid over cells, which is that of mosaic.vrt; parameters as for `composite_grid`."""
    return _grid_over(min((prediction_grid(cell) for cell in cells), key=lambda grid: grid.dx), bounds)


def posting_grid(cells: Sequence[Cell], bounds: Bounds) -> RasterGrid:
    """Return the grid over cells at GLO-30 posting, pixel centers on degree lines.

    Parameters as for `composite_grid`.
    """
    finest = min((elevation_grid(cell, margin_px=0) for cell in cells), key=lambda grid: grid.dx)
    dx, dy = finest.dx, finest.dy
    west, south, east, north = bounds
    # A pixel more each way: those on the outer degree lines.
    width, height = round((east - west) / dx) + 1, round((north - south) / dy) + 1
    return RasterGrid(west=west - dx / 2, north=north + dy / 2, dx=dx, dy=dy, width=width, height=height)


def cells_array(
    files: Sequence[tuple[Cell, Path]], grid: RasterGrid, kind: Kind, *, name: str, band: Sequence[str] = ()
) -> xr.DataArray:
    """Return the rasters of cells as one lazy array on a grid.

    A block of the array lies within one cell and is read from that cell's file when it is computed. Where the cell's
    pixels line up with the grid they are read as they are, else resampled (cells of other rows of the world have other
    pixel widths). Between cells there is no data: 0, or NaN.

    Parameters
    ----------
    files : sequence of (Cell, Path)
        The cells and their rasters.
    grid : RasterGrid
        Grid over the cells.
    kind : Kind
        How to read.
    name : str
        Name of the array.
    band : sequence of str
        Labels of the bands, if there are several.

    Raises
    ------
    InputError
        A file does not exist.
    """
    missing = [path for _, path in files if not path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(files)} cells have no {missing[0].name}, such as {missing[0].parent.name}.",
            "Let the run of this basin finish first.",
        )
    west = grid.bounds[0]
    shifted = [(cell, path, 360.0 if cell.bounds[2] <= west else 0.0) for cell, path in files]
    rows, columns = {0, grid.height}, {0, grid.width}
    places: dict[tuple[int, int], tuple[Path, float]] = {}
    for cell, path, degrees in shifted:
        left, bottom, right, top = cell.bounds
        # The first pixel whose center is not before the edge.
        edges = [_first(edge + degrees, west, grid.dx) for edge in (left, right)]
        lines = [_first(-edge, -grid.north, grid.dy) for edge in (top, bottom)]
        columns.update(edge if edge < grid.width - kind.beyond else grid.width for edge in edges)
        rows.update(line if line < grid.height - kind.beyond else grid.height for line in lines)
        places[lines[0], edges[0]] = (path, degrees)
    row_starts, column_starts = sorted(rows), sorted(columns)

    def make(window: Tile) -> Any:
        start = (_last_not_after(row_starts, window.row), _last_not_after(column_starts, window.column))
        found = places.get(start)
        if found is None:
            return delayed(_empty, pure=True)((window.height, window.width), kind)
        path, degrees = found
        part = grid.crop(row=window.row, column=window.column, height=window.height, width=window.width)
        return delayed(_read, pure=True)(path, part.shifted(-degrees), kind)

    values = blocks_to_array(
        make,
        (_blocks_between(row_starts), _blocks_between(column_starts)),
        dtype=np.float32 if kind.masked else np.uint8,
        leading=(kind.bands,) if kind.bands else (),
    )
    return located(values, grid, name=name, **({"band": band} if kind.bands else {}))


def _grid_over(finest: RasterGrid, bounds: Bounds) -> RasterGrid:
    west, south, east, north = bounds
    # Outward: rows of the world whose pixels do not divide the width leave a part of a pixel.
    width, height = math.ceil((east - west) / finest.dx - 1e-6), math.ceil((north - south) / finest.dy - 1e-6)
    return RasterGrid(west=west, north=north, dx=finest.dx, dy=finest.dy, width=width, height=height)


def _first(edge: float, start: float, step: float) -> int:
    return math.ceil((edge - start) / step - 0.5 - 1e-6)


def _last_not_after(starts: Sequence[int], position: int) -> int:
    return max(start for start in starts if start <= position)


def _blocks_between(starts: Sequence[int]) -> list[int]:
    """Return the lengths of blocks that no start cuts, each at most CHUNK_PX."""
    lengths = []
    for start, end in pairwise(starts):
        count = math.ceil((end - start) / CHUNK_PX)
        edges = [start + (end - start) * number // count for number in range(count + 1)]
        lengths += [b - a for a, b in pairwise(edges)]
    return lengths


def _empty(shape: tuple[int, int], kind: Kind) -> NDArray[Any]:
    full = (kind.bands, *shape) if kind.bands else shape
    return np.full(full, np.nan, np.float32) if kind.masked else np.zeros(full, np.uint8)


def _read(path: Path, grid: RasterGrid, kind: Kind) -> NDArray[Any]:
    return with_retry(path, None, partial(_read_part, path=path, grid=grid, kind=kind))


def _read_part(dataset: DatasetReader, *, path: Path, grid: RasterGrid, kind: Kind) -> NDArray[Any]:
    numbers = list(range(1, max(kind.bands, 1) + 1))
    own = grid_of(dataset, path)
    place = own.place_of(grid)
    inside = place is not None and all(
        0 <= start <= have - wanted for start, have, wanted in zip(place, own.shape, grid.shape, strict=True)
    )
    if place is not None and inside:
        window = Window(place[1], place[0], grid.width, grid.height)
        values = dataset.read(numbers, window=window)
        whole = dataset.mask_flag_enums[0] == [MaskFlags.all_valid]
        valid = np.ones(grid.shape, bool) if whole else dataset.read_masks(1, window=window) > 0
    else:
        options = warp_options(dataset, source=path, grid=grid, resampling=kind.resampling, missing=dataset.nodata) | {
            "resampling": Resampling[kind.resampling]
        }
        with WarpedVRT(dataset, **options) as warped:
            values = warped.read(numbers)
            valid = warped.read(warped.count) > 0 if "add_alpha" in options else values[0] != options.get("nodata")
    if not kind.masked:
        values[:, ~valid] = 0
        return np.asarray(values)
    made: NDArray[np.float32] = values[0].astype(np.float32)
    if values.dtype == np.uint8:
        made /= np.float32(255)
    made[~valid] = np.nan
    return made
