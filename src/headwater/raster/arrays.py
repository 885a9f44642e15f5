"""Rasters as xarray.DataArray: their grid, reading files lazily, and resampling arrays as files are resampled.

Arrays are north-up in EPSG:4326 with dimensions (y, x) or (band, y, x), and coordinates at pixel centers. A dask array
stays lazy: a block is read or resampled only when it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader, MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from headwater.core.errors import InputError
from headwater.geo.grid import CRS, Bounds, RasterGrid, Tile
from headwater.raster.elevation_values import INTEGER_VOID
from headwater.raster.opening import grid_of, with_retry
from headwater.raster.reading import warp_options

CHUNK_PX = 2048
"""Side of the blocks in which files are read lazily."""
_OFF_PX = 1e-3
"""Pixels by which coordinates may differ from a regular grid."""


def array_grid(array: xr.DataArray, what: str) -> RasterGrid:
    """Return the grid of an array.

    Parameters
    ----------
    array : DataArray
        Dimensions y and x among others, coordinates at pixel centers in degrees. The coordinates decide, not a stale
        GeoTransform of a larger array.
    what : str
        Name for messages: "composite".

    Raises
    ------
    InputError
        The array has no coordinates or CRS, another CRS than EPSG:4326, or is not a regular north-up grid.
    """
    if not {"y", "x"} <= set(array.dims) or not {"y", "x"} <= set(array.coords):
        raise InputError(
            f"The {what} has dimensions {', '.join(map(str, array.dims))}; y and x with coordinates are expected.",
            "Rename its dimensions, or open the file with rioxarray.open_rasterio.",
        )
    crs = array.rio.crs
    if crs is None:
        raise InputError(
            f"The {what} has no coordinate reference system.", "Set it with .rio.write_crs('EPSG:4326') if it is that."
        )
    if crs.to_epsg() != 4326:
        raise InputError(
            f"The {what} is in {crs.to_string()}; EPSG:4326 is expected.", "Reproject it: .rio.reproject('EPSG:4326')."
        )
    height, width = array.sizes["y"], array.sizes["x"]
    if not height or not width:
        raise InputError(f"The {what} has no pixels.", "Select an area that it covers.")
    x, y = np.asarray(array["x"], dtype=np.float64), np.asarray(array["y"], dtype=np.float64)
    written = _written_grid(array, height, width)
    if written is not None and _fits(written, x, y):
        return written
    dx = (x[-1] - x[0]) / (width - 1) if width > 1 else (written.dx if written else math.nan)
    dy = (y[0] - y[-1]) / (height - 1) if height > 1 else (written.dy if written else math.nan)
    if height > 1 and dy <= 0:
        raise InputError(
            f"The rows of the {what} run from south to north.", "Sort them: .sortby('y', ascending=False)."
        )
    grid = RasterGrid(west=x[0] - dx / 2, north=y[0] + dy / 2, dx=dx, dy=dy, width=width, height=height)
    if not (dx > 0 and dy > 0 and _fits(grid, x, y)):
        raise InputError(
            f"The coordinates of the {what} are not a regular grid of two or more pixels each way.",
            "Give an array as rioxarray.open_rasterio or .rio.reproject makes it.",
        )
    return grid


def located(values: Any, grid: RasterGrid, *, name: str, **coords: Sequence[str]) -> xr.DataArray:
    """Return an array with the coordinates and the CRS of a grid.

    Parameters
    ----------
    values : (..., y, x) array
        NumPy or dask.
    grid : RasterGrid
        Grid of the last two axes.
    name : str
        Name of the array.
    **coords
        Labels of the leading axes, in their order: `band=("N", "R")`.
    """
    array = xr.DataArray(
        values,
        dims=(*coords, "y", "x"),
        coords={
            **{axis: list(labels) for axis, labels in coords.items()},
            "y": grid.north - (np.arange(grid.height) + 0.5) * grid.dy,
            "x": grid.west + (np.arange(grid.width) + 0.5) * grid.dx,
        },
        name=name,
    )
    placed: xr.DataArray = array.rio.write_crs(CRS).rio.write_transform(grid.transform)
    return placed


def is_lazy(array: xr.DataArray) -> bool:
    """Whether an array's values are still to be computed by dask."""
    return array.chunks is not None


def windows_of(chunks: tuple[Sequence[int], Sequence[int]]) -> Iterator[tuple[tuple[int, int], Tile]]:
    """Yield the position (block row, block column) and the window of each block of chunked rows and columns."""
    row = 0
    for i, height in enumerate(chunks[0]):
        column = 0
        for j, width in enumerate(chunks[1]):
            yield (i, j), Tile(row, column, height, width)
            column += width
        row += height


def blocks_to_array(
    make: Callable[[Tile], Any],
    chunks: tuple[Sequence[int], Sequence[int]],
    *,
    dtype: Any,
    leading: tuple[int, ...] = (),
) -> da.Array:
    """Return the dask array of blocks that are made one by one.

    Parameters
    ----------
    make : callable
        Takes the window of a block, returns a delayed array (leading..., y, x) of it.
    chunks : (heights, widths)
        Of the blocks.
    dtype, leading
        Type of the values, and lengths of the axes before y and x.
    """
    rows: list[list[da.Array]] = [[] for _ in chunks[0]]
    for (i, _), window in windows_of(chunks):
        shape = (*leading, window.height, window.width)
        rows[i].append(da.from_delayed(make(window), shape=shape, dtype=dtype))
    array: da.Array = da.block(rows)
    return array


def chunks_of(shape: tuple[int, int], chunk_px: int = CHUNK_PX) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return heights and widths of square blocks over a raster of (rows, columns)."""
    rows, columns = (tuple(min(chunk_px, length - start) for start in range(0, length, chunk_px)) for length in shape)
    return rows, columns


@dataclass(frozen=True)
class _File:
    grid: RasterGrid
    bands: int
    dtype: str
    names: tuple[str | None, ...]


def open_bands(path: Path, *, name: str) -> xr.DataArray:
    """Open a raster in EPSG:4326 lazily: (band, y, x) of the file's dtype, nodata as it is written.

    Raises
    ------
    InputError, WorkError
        The file is missing, cannot be read, or is not north-up in EPSG:4326.
    """
    file = with_retry(Path(path), None, partial(_file, Path(path)))

    def read(window: Tile) -> Any:
        return delayed(_read_bands, pure=True)(Path(path), window)

    values = blocks_to_array(read, chunks_of(file.grid.shape), dtype=file.dtype, leading=(file.bands,))
    names = [label or str(number) for number, label in enumerate(file.names, start=1)]
    return located(values, file.grid, name=name, band=names)


def open_values(path: Path, *, name: str, fractions: bool = False) -> xr.DataArray:
    """Open band 1 of a raster in EPSG:4326 lazily: (y, x) float32, NaN where the file has no value.

    Parameters
    ----------
    path : Path
        File.
    name : str
        Name of the array.
    fractions : bool
        Whether values of 8 bits are fractions of 255: a probability.tif is then opened as 0 to 1.

    Raises
    ------
    InputError, WorkError
        See `open_bands`.
    """
    file = with_retry(Path(path), None, partial(_file, Path(path)))

    def read(window: Tile) -> Any:
        return delayed(_read_values, pure=True)(Path(path), window, fractions)

    return located(blocks_to_array(read, chunks_of(file.grid.shape), dtype=np.float32), file.grid, name=name)


def open_warped(path: Path, grid: RasterGrid, *, name: str) -> xr.DataArray:
    """Open band 1 of a raster in any CRS lazily on a grid: bilinear, (y, x) float32, NaN where there is no value.

    The values are those that the steps of the workflow read (`headwater.raster.warped_rows_of`).
    """
    with_retry(Path(path), None, lambda _: None)

    def read(window: Tile) -> Any:
        return delayed(_read_warped, pure=True)(Path(path), grid, window)

    return located(blocks_to_array(read, chunks_of(grid.shape), dtype=np.float32), grid, name=name)


def warped_to(array: xr.DataArray, own: RasterGrid, grid: RasterGrid, *, chunks: Any = None) -> Any:
    """Resample an array bilinearly onto a grid, as a file with its pixels would be.

    Parameters
    ----------
    array : (y, x) DataArray
        NumPy or dask; NaN, or its nodata value, where unknown.
    own : RasterGrid
        Grid of the array.
    grid : RasterGrid
        Grid to resample onto.
    chunks : (heights, widths), optional
        Blocks of the result of a dask array.

    Returns
    -------
    (y, x) float32, NaN where there is no value
        A dask array if the array is one. Its blocks are resampled from the pixels that they need and agree with the
        complete array to a few millionths of the values.
    """
    missing = nodata_of(array)
    if not is_lazy(array):
        return _warp_values(np.asarray(array), own, grid, missing)

    def make(window: Tile) -> Any:
        part = grid.crop(row=window.row, column=window.column, height=window.height, width=window.width)
        source = _source_window(own, part)
        values = array.data[source.slices]
        there = own.crop(row=source.row, column=source.column, height=source.height, width=source.width)
        return delayed(_warp_values, pure=True)(values, there, part, missing)

    return blocks_to_array(make, chunks or chunks_of(grid.shape), dtype=np.float32)


@dataclass(frozen=True)
class ArrayRaster:
    """An array that is read as files are (`headwater.raster.resampled.read_resampled`)."""

    array: xr.DataArray
    """(y, x), NumPy or dask; NaN, or its nodata value, where unknown."""
    grid: RasterGrid
    """Its grid."""

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees."""
        return self.grid.bounds

    @contextmanager
    def opened(self, grid: RasterGrid) -> Iterator[DatasetReader | None]:
        """Open the pixels that a grid needs as a raster in memory; None where the two share nothing."""
        window = _source_window(self.grid, grid)
        if not window.height or not window.width:
            yield None
            return
        there = self.grid.crop(row=window.row, column=window.column, height=window.height, width=window.width)
        with _in_memory(np.asarray(self.array.data[window.slices]), there, nodata_of(self.array)) as dataset:
            yield dataset


def _written_grid(array: xr.DataArray, height: int, width: int) -> RasterGrid | None:
    """Return the grid that the array's GeoTransform names: exact, where coordinates are rounded."""
    mapping = array.coords.get(array.rio.grid_mapping)
    text = None if mapping is None else mapping.attrs.get("GeoTransform")
    if text is None:
        return None
    west, dx, turn, north, lean, dy = (float(value) for value in str(text).split())
    if turn or lean or dx <= 0 or dy >= 0:
        return None
    return RasterGrid(west=west, north=north, dx=dx, dy=-dy, width=width, height=height)


def _fits(grid: RasterGrid, x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    columns = (x - grid.west) / grid.dx - 0.5 - np.arange(len(x))
    rows = (grid.north - y) / grid.dy - 0.5 - np.arange(len(y))
    return bool(np.abs(columns).max() < _OFF_PX and np.abs(rows).max() < _OFF_PX)


def nodata_of(array: xr.DataArray) -> float | None:
    """Return the number of an array's missing pixels; -32768 in integers without one, as in files of elevation."""
    value = array.rio.nodata
    if value is None and np.issubdtype(array.dtype, np.signedinteger):
        return float(INTEGER_VOID)
    return None if value is None or np.isnan(value) else float(value)


def _file(path: Path, dataset: DatasetReader) -> _File:
    return _File(grid_of(dataset, path), dataset.count, dataset.dtypes[0], tuple(dataset.descriptions))


def _window(tile: Tile) -> Window:
    return Window(tile.column, tile.row, tile.width, tile.height)


def _read_bands(path: Path, window: Tile) -> NDArray[Any]:
    def read(dataset: DatasetReader) -> NDArray[Any]:
        return np.asarray(dataset.read(window=_window(window)))

    return with_retry(path, None, read)


def _read_values(path: Path, window: Tile, fractions: bool) -> NDArray[np.float32]:
    def read(dataset: DatasetReader) -> NDArray[np.float32]:
        values = dataset.read(1, window=_window(window))
        scaled: NDArray[np.float32] = values.astype(np.float32)
        if fractions and values.dtype == np.uint8:
            scaled /= np.float32(255)
        if dataset.mask_flag_enums[0] != [MaskFlags.all_valid]:
            scaled[dataset.read_masks(1, window=_window(window)) == 0] = np.nan
        return scaled

    return with_retry(path, None, read)


def _read_warped(path: Path, grid: RasterGrid, window: Tile) -> NDArray[np.float32]:
    return with_retry(path, None, lambda dataset: _warped(dataset, path, grid, _window(window)))


def _warped(dataset: DatasetReader, source: Path | str, grid: RasterGrid, window: Window) -> NDArray[np.float32]:
    missing = dataset.nodata
    options = warp_options(dataset, source=source, grid=grid, resampling="bilinear", missing=missing)
    with WarpedVRT(dataset, **options) as warped:
        values = warped.read(1, window=window)
        # Without a nodata value the last band is the mask that add_alpha made.
        valid = warped.read(warped.count, window=window) > 0 if "add_alpha" in options else values != missing
    known: NDArray[np.float32] = np.where(valid & np.isfinite(values), values, np.nan).astype(np.float32, copy=False)
    return known


def _source_window(own: RasterGrid, part: RasterGrid) -> Tile:
    """Return the pixels of a grid that interpolation onto another one may read; none where they share nothing."""
    around_x = 2 * math.ceil(max(1.0, part.dx / own.dx)) + 2
    around_y = 2 * math.ceil(max(1.0, part.dy / own.dy)) + 2
    west, south, east, north = part.bounds
    left = max(0, math.floor((west - own.west) / own.dx) - around_x)
    top = max(0, math.floor((own.north - north) / own.dy) - around_y)
    right = min(own.width, math.ceil((east - own.west) / own.dx) + around_x)
    bottom = min(own.height, math.ceil((own.north - south) / own.dy) + around_y)
    return Tile(top, left, max(0, bottom - top), max(0, right - left))


def _warp_values(values: NDArray[Any], own: RasterGrid, grid: RasterGrid, missing: float | None) -> NDArray[np.float32]:
    if not values.size:
        return np.full(grid.shape, np.nan, dtype=np.float32)
    with _in_memory(values, own, missing) as dataset:
        return _warped(dataset, "The array", grid, Window(0, 0, grid.width, grid.height))


@contextmanager
def _in_memory(values: NDArray[Any], grid: RasterGrid, missing: float | None) -> Iterator[DatasetReader]:
    profile = {
        "driver": "GTiff",
        "height": grid.height,
        "width": grid.width,
        "count": 1,
        "dtype": values.dtype,
        "crs": CRS,
        "transform": grid.transform,
        "nodata": missing,
        "BIGTIFF": "IF_SAFER",
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(values, 1)
        with memory.open() as dataset:
            yield dataset
