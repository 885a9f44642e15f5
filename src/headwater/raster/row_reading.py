"""Reading rasters on disk by rows, in memory that does not grow with the raster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from headwater.geo.grid import RasterGrid
from headwater.raster.opening import READ_ERRORS, open_once, unreadable, with_retry
from headwater.raster.reading import warp_options

ROWS_CACHE = 128 * 2**20
"""Size of GDAL's block cache in bytes: one row of blocks of a cell one degree wide."""

ReadRows = Callable[[int, int], NDArray[Any]]


@contextmanager
def row_reader(path: Path, *, bands: int) -> Iterator[ReadRows]:
    """Open a raster to read its first bands by rows, by one thread at a time.

    Parameters
    ----------
    path : Path
        File.
    bands : int
        Number of bands to read.

    Yields
    ------
    callable
        Takes first and last row (exclusive), returns a (band, y, x) array.

    Raises
    ------
    WorkError
        The file cannot be read.
    InputError
        The path does not exist.
    """
    # Raises a clear error if it cannot be opened.
    with_retry(path, None, lambda _: None)
    with open_once(path, str(path)) as dataset:
        width, numbers = dataset.width, list(range(1, bands + 1))

        def read(first: int, end: int) -> NDArray[Any]:
            with rasterio.Env(GDAL_CACHEMAX=ROWS_CACHE):
                try:
                    return np.asarray(dataset.read(numbers, window=Window(0, first, width, end - first)))
                except READ_ERRORS as error:
                    raise unreadable(path, error, 1) from None

        yield read


@contextmanager
def warped_row_reader(path: Path, grid: RasterGrid) -> Iterator[ReadRows]:
    """Open band 1 of a continuous raster to read it bilinearly onto a grid by rows, by one thread at a time.

    Parameters
    ----------
    path : Path
        File.
    grid : RasterGrid
        Target grid.

    Yields
    ------
    callable
        Takes first and last row (exclusive) of the grid, returns (y, x) float32 with NaN where there is no value.

    Raises
    ------
    WorkError
        The file cannot be read.
    InputError
        The path does not exist, or the file has no CRS.
    """
    with_retry(path, None, lambda _: None)
    with open_once(path, str(path)) as dataset:
        missing = dataset.nodata
        options = warp_options(dataset, source=path, grid=grid, resampling="bilinear", missing=missing)
        with WarpedVRT(dataset, **options) as warped:

            def read(first: int, end: int) -> NDArray[Any]:
                window = Window(0, first, grid.width, end - first)
                with rasterio.Env(GDAL_CACHEMAX=ROWS_CACHE):
                    try:
                        values = warped.read(1, window=window)
                        # Without a nodata value the last band is the mask that add_alpha created.
                        last = warped.read(warped.count, window=window) if "add_alpha" in options else None
                    except READ_ERRORS as error:
                        raise unreadable(path, error, 1) from None
                valid = last > 0 if last is not None else values != missing
                return np.where(valid & np.isfinite(values), values, np.nan).astype(np.float32, copy=False)

            yield read
