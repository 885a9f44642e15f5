"""Reading onto a grid in the raster's own CRS: needs no warp, and is several times faster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from headwater.geo import grid as grids
from headwater.geo.grid import Bounds, RasterGrid
from headwater.raster.opening import with_retry
from headwater.raster.reading import raster_facts, read_dataset, read_window


class ArraySource(Protocol):
    """Pixels in memory, or that dask computes, read as a raster: see `headwater.raster.arrays.ArrayRaster`."""

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees."""
        ...

    def opened(self, grid: RasterGrid) -> AbstractContextManager[DatasetReader | None]:
        """Open the pixels that a grid needs; None where the two share nothing."""
        ...


RasterSource = Path | ArraySource


def source_bounds(source: RasterSource) -> Bounds:
    """Return the bounds of a raster in degrees: west, south, east, north."""
    bounds: Bounds = raster_facts(source)["bounds"] if isinstance(source, Path) else source.bounds
    return bounds


def read_resampled(path: RasterSource, grid: RasterGrid, *, resampling: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read the first band onto a grid; equal to `read_window` within a few millionths of the values' range.

    Parameters
    ----------
    path : Path or ArraySource
        A raster. It is warped if it is in another CRS, rotated, finer than the grid or, for "bilinear", has missing
        pixels.
    grid : RasterGrid
        Target grid.
    resampling : str
        "nearest" or "bilinear".

    Returns
    -------
    values : (y, x) array of the file's dtype
    valid : (y, x) bool
        True inside the file where its pixels are not missing; for "bilinear" without a warp, inside the centers of its
        outer pixels.

    Raises
    ------
    WorkError, InputError
        See `read_window`.
    """
    if not isinstance(path, Path):
        return _read_array(path, grid, resampling)
    found = with_retry(path, None, partial(_read, grid=grid, resampling=resampling))
    return read_window(path, grid, resampling=resampling) if found is None else found


def _read_array(source: ArraySource, grid: RasterGrid, resampling: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with source.opened(grid) as dataset:
        if dataset is None:
            return np.zeros(grid.shape, dtype=np.float32), np.zeros(grid.shape, dtype=bool)
        found = _read(dataset, grid=grid, resampling=resampling)
        return read_dataset(dataset, grid, resampling=resampling) if found is None else found


def _read(
    dataset: DatasetReader, *, grid: RasterGrid, resampling: str
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    step = dataset.transform
    upright = step.b == step.d == 0 and step.a > 0 and step.e < 0
    coarse = grid.dx <= step.a * (1 + 1e-6) and grid.dy <= -step.e * (1 + 1e-6)
    own_crs = not dataset.gcps[0] and dataset.crs == grids.CRS
    complete = dataset.mask_flag_enums[0] == [MaskFlags.all_valid]
    if not (own_crs and upright and coarse and (complete or resampling == "nearest")):
        return None
    values = np.zeros(grid.shape, dtype=dataset.dtypes[0])
    valid = np.zeros(grid.shape, dtype=bool)
    # Centers of the grid's columns and rows in pixels of the raster; those inside the raster.
    x = (grid.west - step.c) / step.a + (np.arange(grid.width) + 0.5) * (grid.dx / step.a)
    y = (step.f - grid.north) / -step.e + (np.arange(grid.height) + 0.5) * (grid.dy / -step.e)
    # Beyond the outer pixels' centers there is nothing to interpolate with: the adjacent raster may have the value.
    rim = 0.5 - 1e-6 if resampling == "bilinear" else 0
    columns = np.flatnonzero((x >= rim) & (x < dataset.width - rim))
    rows = np.flatnonzero((y >= rim) & (y < dataset.height - rim))
    if not len(columns) or not len(rows):
        return values, valid
    x, y = x[columns], y[rows]
    # Their pixels, and one more on each side for the interpolation.
    left, top = max(0, int(x[0]) - 1), max(0, int(y[0]) - 1)
    right, bottom = min(dataset.width, int(x[-1]) + 2), min(dataset.height, int(y[-1]) + 2)
    window = Window(left, top, right - left, bottom - top)
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    source = dataset.read(1, window=window)
    at = np.ix_(y.astype(np.int64) - top, x.astype(np.int64) - left)
    values[part] = _bilinear(source, y - top - 0.5, x - left - 0.5) if resampling == "bilinear" else source[at]
    valid[part] = True if complete else (dataset.read_masks(1, window=window) > 0)[at]
    if np.issubdtype(values.dtype, np.floating):
        valid &= np.isfinite(values)
    return values, valid


@njit(cache=True)
def _bilinear(source: NDArray[Any], rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[Any]:
    """Interpolate at positions counted from the center of the first pixel."""
    height, width = source.shape
    out = np.empty((len(rows), len(columns)), source.dtype)
    left, right = np.empty(len(columns), np.int32), np.empty(len(columns), np.int32)
    fraction = np.empty(len(columns))
    for i in range(len(columns)):
        place = min(max(columns[i], 0.0), width - 1.0)
        left[i] = int(place)
        right[i] = min(left[i] + 1, width - 1)
        fraction[i] = place - left[i]
    row = np.empty(width)
    for j in range(len(rows)):
        place = min(max(rows[j], 0.0), height - 1.0)
        top = int(place)
        down = place - top
        above, below = source[top], source[min(top + 1, height - 1)]
        # First between two source rows, which are shorter than the output row, then along the result.
        for k in range(width):
            row[k] = above[k] + down * (below[k] - above[k])
        for i in range(len(columns)):
            value = row[left[i]]
            out[j, i] = value + fraction[i] * (row[right[i]] - value)
    return out
