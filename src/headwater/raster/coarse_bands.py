"""Coarse views of complete bands: classes from full resolution, numbers from overviews.

An average of classes is another class, and overviews do not record how they were made. So classes are read at full
resolution and decimated by nearest neighbor. An average of numbers is a number, except where some of them cannot be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from headwater.core.sentinel2 import MAX_DN
from headwater.raster.opening import check_window
from headwater.raster.reading import check_overviews
from headwater.raster.scenes import is_masked, read_numbers, valid_numbers
from headwater.raster.sources import Source, is_remote

_STRIP_ROWS = 1024
"""About how many rows are read at a time at full resolution."""


@dataclass(frozen=True)
class CoarseNumbers:
    """A complete band of reflectance, coarse."""

    values: NDArray[np.uint16]
    """(y, x); 0 = nodata."""
    averaged: bool
    """Whether the values come from overviews, and may be averages over some pixels around."""


def coarse_shape(dataset: DatasetReader, max_px: int) -> tuple[int, int]:
    """Return the rows and columns of a coarse view whose longest side is at most `max_px`."""
    shrink = max(1.0, max(dataset.width, dataset.height) / max_px)
    return max(1, round(dataset.height / shrink)), max(1, round(dataset.width / shrink))


def extent_of(dataset: DatasetReader) -> NDArray[np.float64]:
    """Return the upper left and the lower right corner (x, y, x, y) in the file's CRS, whichever row comes first."""
    transform: Affine = dataset.transform
    corners = np.array([transform @ (0, 0), transform @ (dataset.width, dataset.height)])
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    return np.array([west, north, east, south])


def read_flags(
    dataset: DatasetReader, name: str, table: NDArray[np.uint8], *, max_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read flags of a band's numbers at full resolution and decimate them.

    Parameters
    ----------
    dataset : DatasetReader
        An open file of one band.
    name : str
        Sentinel-2 name of the band.
    table : uint8 array
        Flags (bits) of each number.
    max_px : int
        Longest side of the result.

    Returns
    -------
    nearest, throughout : (y, x) uint8
        Flags of the pixel in the middle of each coarse cell; those that all of its pixels have.
    """
    shape = coarse_shape(dataset, max_px)
    columns, starts = _middles(dataset.width, shape[1]), _starts(dataset.width, shape[1])
    nearest, throughout = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    for rows, first, values in _strips(dataset, name, shape[0]):
        flags = table[values]
        nearest[rows] = flags[np.ix_(_middles(dataset.height, shape[0])[rows] - first, columns)]
        by_row = np.bitwise_and.reduceat(flags, _starts(dataset.height, shape[0])[rows] - first, axis=0)
        throughout[rows] = np.bitwise_and.reduceat(by_row, starts, axis=1)
    return nearest[_north_up(dataset)], throughout[_north_up(dataset)]


def read_decimated(dataset: DatasetReader, name: str, *, max_px: int) -> CoarseNumbers:
    """Read a band at full resolution and take the pixel in the middle of each coarse cell."""
    shape = coarse_shape(dataset, max_px)
    columns, middles = _middles(dataset.width, shape[1]), _middles(dataset.height, shape[0])
    out = np.empty(shape, np.uint16)
    for rows, first, values in _strips(dataset, name, shape[0]):
        out[rows] = values[np.ix_(middles[rows] - first, columns)]
    return CoarseNumbers(out[_north_up(dataset)], averaged=False)


def read_averaged(dataset: DatasetReader, name: str, source: Source, *, max_px: int) -> CoarseNumbers:
    """Read a band from its overviews.

    Parameters
    ----------
    dataset : DatasetReader
        An open file of one band.
    name : str
        Sentinel-2 name of the band.
    source : Asset, Path or str
        The file, for messages.
    max_px : int
        Longest side of the result.
    """
    shape = coarse_shape(dataset, max_px)
    if shape == dataset.shape:
        return CoarseNumbers(read_numbers(dataset, name)[_north_up(dataset)], averaged=False)
    if is_remote(source):
        check_overviews(dataset, source, max_px)
    values = dataset.read(1, out_shape=shape, resampling=Resampling.nearest)
    values = valid_numbers(name, values, nodata=dataset.nodata)
    if is_masked(dataset):
        values[dataset.read_masks(1, out_shape=shape) == 0] = 0
    # Without overviews, GDAL takes single pixels by nearest neighbor.
    return CoarseNumbers(values[_north_up(dataset)], averaged=bool(dataset.overviews(1)))


def has_impossible_numbers(dataset: DatasetReader, *, row: int, column: int, shape: tuple[int, int]) -> bool:
    """Return whether a coarse cell, or one around it, has numbers at full resolution that cannot be reflectance.

    Parameters
    ----------
    dataset : DatasetReader
        An open file of one band.
    row, column : int
        The coarse cell, north up.
    shape : (rows, columns)
        Of the coarse view.
    """
    row = row if dataset.transform.e < 0 else shape[0] - 1 - row
    column = column if dataset.transform.a > 0 else shape[1] - 1 - column
    top, left = max(0, row - 1), max(0, column - 1)
    rows = [place * dataset.height // shape[0] for place in (top, min(shape[0], row + 2))]
    columns = [place * dataset.width // shape[1] for place in (left, min(shape[1], column + 2))]
    values = dataset.read(1, window=Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0]))
    impossible = (values < 0) | (values > MAX_DN)
    if dataset.nodata is not None:
        impossible &= values != dataset.nodata
    return bool(impossible.any())


def _north_up(dataset: DatasetReader) -> tuple[slice, slice]:
    """Return the slices that turn rows and columns of a file north up and west first; the files of a scene differ."""
    return slice(None, None, 1 if dataset.transform.e < 0 else -1), slice(
        None, None, 1 if dataset.transform.a > 0 else -1
    )


def _strips(dataset: DatasetReader, name: str, height: int) -> Iterator[tuple[slice, int, NDArray[Any]]]:
    """Yield the numbers of a band at full resolution by strips of coarse rows, with the first row of each strip."""
    starts = [*_starts(dataset.height, height).tolist(), dataset.height]
    step = max(1, _STRIP_ROWS * height // dataset.height)
    for row in range(0, height, step):
        last = min(height, row + step)
        window = Window(0, starts[row], dataset.width, starts[last] - starts[row])
        check_window(window.width, window.height, f"A file of band {name}")
        yield slice(row, last), starts[row], read_numbers(dataset, name, window=window)


def _starts(size: int, parts: int) -> NDArray[np.int64]:
    return np.arange(parts) * size // parts


def _middles(size: int, parts: int) -> NDArray[np.int64]:
    return ((np.arange(parts) + 0.5) * size / parts).astype(np.int64)
