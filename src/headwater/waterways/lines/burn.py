"""Burning catchments and reaches into the raster."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.geo.grid import RasterGrid

# Two crossings of pixel edges nearer than this (as a fraction of the line) are one crossing of a corner.
_CORNER = 1e-9
_MAX_PX = 10_000_000
"""No raster of the world at 10 m has so many columns: lines from here on are in the wrong units."""


def cells_of_lines(lines: NDArray[Any], grid: RasterGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells that each of many lines runs through; see `burn_line`.

    Parameters
    ----------
    lines : (n,) array of LineString
        EPSG:4326.
    grid : RasterGrid
        The window; cells outside are left out.

    Returns
    -------
    cells : (m,) int64
        Flat indices, line after line; a cell may come again.
    start : (n + 1,) int64
        Where each line's cells begin.
    """
    points, line = shapely.get_coordinates(lines, return_index=True)
    vertex = np.searchsorted(line, np.arange(len(lines) + 1)).astype(np.int64)
    return cells_of_vertices(points, vertex[:-1], vertex[1:], grid)


def cells_of_vertices(
    points: NDArray[np.float64], first: NDArray[np.int64], end: NDArray[np.int64], grid: RasterGrid
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells of lines given as vertices (n, 2), each from row `first` up to `end`; see `cells_of_lines`."""
    pixels = _near_pixels(to_pixels(points, grid.transform))
    cells, start = _cells_of_all(pixels, first, end, grid.height, grid.width)
    return cells, start


def burn_polygon(polygon: BaseGeometry, transform: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where cell centers lie inside a polygon, (y, x) bool."""
    inside: NDArray[np.bool_] = geometry_mask([polygon], shape, transform, invert=True)
    return inside


def burn_line(pixels: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the cells a line runs through.

    Every cell that contains a part of the line is there (a line through a corner takes all cells of the corner), so
    that no step between neighboring other cells can touch the line. Amanatides & Woo (1987).

    Parameters
    ----------
    pixels : (n, 2) float64
        Column and row of the vertices, in pixels from the upper left corner.
    shape : (rows, columns)
        Size of the raster; cells outside are left out.

    Returns
    -------
    (m,) int64
        Flat indices; a cell may come again.
    """
    if not len(pixels):
        return np.zeros(0, dtype=np.int64)
    cells = _cells_along(_near_pixels(pixels))
    rows, columns = cells[:, 1], cells[:, 0]
    there = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    flat: NDArray[np.int64] = rows[there] * shape[1] + columns[there]
    return flat


def to_pixels(points: NDArray[np.float64], transform: Affine) -> NDArray[np.float64]:
    """Return columns and rows, in pixels from the upper left corner, of (n, 2) longitudes and latitudes."""
    return np.column_stack([(points[:, 0] - transform.c) / transform.a, (points[:, 1] - transform.f) / transform.e])


def _near_pixels(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places in pixels as kernels take them; refuse those for which their counts of cells would be wrong."""
    # NaN is not less than anything.
    if not np.abs(pixels).max(initial=0) < _MAX_PX:
        raise InputError(
            f"A line or polygon is more than {_MAX_PX:,.0f} pixels from the raster, or nowhere.",
            "Give tables and rasters of one place, each with its right coordinate reference system.",
        )
    return np.ascontiguousarray(pixels, dtype=np.float64)


def label_polygons(
    polygons: NDArray[Any], labels: NDArray[np.int64], grid: RasterGrid, nothing: int
) -> NDArray[np.int32]:
    """Return the label of the polygon that each cell's center lies in, (y, x) int32.

    Even-odd rule over all rings of a polygon, as of ISO 19125's valid ones. GDAL's rasterizer gives the same, but takes
    polygons as text-like objects, which costs more than the burning.

    Parameters
    ----------
    polygons : (n,) array of Polygon or MultiPolygon
        EPSG:4326; of two at one cell the later wins.
    labels : (n,) int64
        Of each.
    grid : RasterGrid
        The window.
    nothing : int
        Label of cells in no polygon.
    """
    out = np.full(grid.shape, nothing, dtype=np.int32)
    parts, owner = shapely.get_parts(np.asarray(polygons, dtype=object), return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    pixels = _near_pixels(to_pixels(points, grid.transform))
    _fill(out, pixels, ring, np.searchsorted(owner[part][ring], np.arange(len(polygons) + 1)), labels.astype(np.int32))
    return out


@njit(cache=True)
def _fill(out: Any, pixels: Any, ring: Any, start: Any, labels: Any) -> None:
    height, width = out.shape
    parity = np.zeros((0, 0), np.bool_)
    for polygon in range(len(start) - 1):
        first, end = start[polygon], start[polygon + 1]
        if end == first:
            continue
        west, east, north, south = np.inf, -np.inf, np.inf, -np.inf
        for i in range(first, end):
            west, east = min(west, pixels[i, 0]), max(east, pixels[i, 0])
            north, south = min(north, pixels[i, 1]), max(south, pixels[i, 1])
        top, bottom = max(0, int(np.floor(north))), min(height - 1, int(np.floor(south)))
        left, right = max(0, int(np.floor(west))), min(width - 1, int(np.floor(east)))
        if top > bottom or left > right:
            continue
        if parity.shape[0] < bottom - top + 1 or parity.shape[1] < right - left + 1:
            parity = np.zeros(
                (max(parity.shape[0], bottom - top + 1), max(parity.shape[1], right - left + 1)), np.bool_
            )
        for i in range(first, end - 1):
            if ring[i + 1] != ring[i]:
                continue
            x0, y0, x1, y1 = pixels[i, 0], pixels[i, 1], pixels[i + 1, 0], pixels[i + 1, 1]
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            # Rows whose center line the edge crosses; its lower end does not count, so that no corner counts twice.
            for row in range(max(top, int(np.ceil(y0 - 0.5))), min(bottom, int(np.ceil(y1 - 0.5)) - 1) + 1):
                x = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
                column = max(left, int(np.ceil(x - 0.5)))
                if column <= right:
                    # Inside and outside change from here to the east.
                    parity[row - top, column - left] ^= True
        for row in range(top, bottom + 1):
            inside = False
            for column in range(left, right + 1):
                inside ^= parity[row - top, column - left]
                parity[row - top, column - left] = False
                if inside:
                    out[row, column] = labels[polygon]


@njit(cache=True)
def _cells_of_all(pixels: Any, first: Any, end: Any, height: int, width: int) -> Any:
    lines = len(first)
    start = np.zeros(lines + 1, np.int64)
    cells = np.empty(1024, np.int64)
    count = 0
    for line in range(lines):
        if end[line] > first[line]:
            found = _cells_along(pixels[first[line] : end[line]])
            if count + len(found) > len(cells):
                more = np.empty(2 * (count + len(found)), np.int64)
                more[:count] = cells[:count]
                cells = more
            for k in range(len(found)):
                column, row = found[k, 0], found[k, 1]
                if 0 <= row < height and 0 <= column < width:
                    cells[count] = row * width + column
                    count += 1
        start[line + 1] = count
    return cells[:count].copy(), start


@njit(cache=True)
def _cells_along(pixels: Any) -> Any:
    bound = 8
    for i in range(len(pixels) - 1):
        bound += 3 * int(abs(pixels[i + 1, 0] - pixels[i, 0]) + abs(pixels[i + 1, 1] - pixels[i, 1])) + 12
    cells = np.empty((bound, 2), np.int64)
    cells[0, 0], cells[0, 1] = np.floor(pixels[0, 0]), np.floor(pixels[0, 1])
    count = 1
    for i in range(len(pixels)):
        # A vertex in a corner touches the cells above and left of it too.
        if pixels[i, 0] == np.floor(pixels[i, 0]) and pixels[i, 1] == np.floor(pixels[i, 1]):
            for back_x, back_y in ((1, 0), (0, 1), (1, 1)):
                cells[count, 0], cells[count, 1] = pixels[i, 0] - back_x, pixels[i, 1] - back_y
                count += 1
    for i in range(len(pixels) - 1):
        x0, y0, x1, y1 = pixels[i, 0], pixels[i, 1], pixels[i + 1, 0], pixels[i + 1, 1]
        column, row = int(np.floor(x0)), int(np.floor(y0))
        last_column, last_row = int(np.floor(x1)), int(np.floor(y1))
        dx, dy = x1 - x0, y1 - y0
        step_x, step_y = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
        # Fraction of the line at which it leaves the cell to the side, and up or down.
        next_x = ((column + (1 if dx > 0 else 0)) - x0) / dx if dx != 0 else np.inf
        next_y = ((row + (1 if dy > 0 else 0)) - y0) / dy if dy != 0 else np.inf
        each_x, each_y = (abs(1 / dx) if dx != 0 else np.inf), (abs(1 / dy) if dy != 0 else np.inf)
        steps = abs(last_column - column) + abs(last_row - row)
        while steps > 0:
            if column != last_column and row != last_row and abs(next_x - next_y) < _CORNER:
                cells[count, 0], cells[count, 1] = column + step_x, row
                cells[count + 1, 0], cells[count + 1, 1] = column, row + step_y
                count += 2
                column, row = column + step_x, row + step_y
                next_x, next_y = next_x + each_x, next_y + each_y
                steps -= 2
            elif row == last_row or (column != last_column and next_x < next_y):
                column, next_x = column + step_x, next_x + each_x
                steps -= 1
            else:
                row, next_y = row + step_y, next_y + each_y
                steps -= 1
            cells[count, 0], cells[count, 1] = column, row
            count += 1
        if column != last_column or row != last_row:
            cells[count, 0], cells[count, 1] = last_column, last_row
            count += 1
    return cells[:count]
