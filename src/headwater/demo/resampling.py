"""Resample fields of the truth grid to other grids.  Pure arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pyproj import Transformer

from headwater.demo.planet_grid import TRUTH_PER_DEGREE, MgrsTile, PlanetGrid

_STEP = 32
"""Coordinates are computed exactly at every 32nd pixel and interpolated between (error below a centimetre)."""


@dataclass(frozen=True)
class GridPositions:
    """Positions of a grid's pixels on the truth grid: fractional (row, column) of pixel centers on a coarse mesh."""

    rows: NDArray[np.float64]
    """(y, x) of the mesh."""
    columns: NDArray[np.float64]
    """(y, x) of the mesh."""
    shape: tuple[int, int]
    """(rows, columns) of the grid itself."""


def tile_positions(grid: PlanetGrid, tile: MgrsTile, *, pixel_m: int = 10) -> GridPositions:
    """Return the positions of an MGRS tile's pixels on the truth grid."""
    shape = (tile.height * 10 // pixel_m, tile.width * 10 // pixel_m)
    x = tile.west + (np.arange(0, shape[1] + _STEP, _STEP) + 0.5) * pixel_m
    y = tile.north - (np.arange(0, shape[0] + _STEP, _STEP) + 0.5) * pixel_m
    to_degrees = Transformer.from_crs(tile.epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    return GridPositions((grid.north - lat) * TRUTH_PER_DEGREE - 0.5, (lon - grid.west) * TRUTH_PER_DEGREE - 0.5, shape)


def resample(field: NDArray[np.float32], at: GridPositions, *, fill: float, scale: float = 1.0) -> NDArray[np.float32]:
    """Resample a (y, x) float32 field bilinearly; `fill` beyond its edge.

    `scale` is the side of the field's pixels in truth pixels, for fields coarser than the truth grid.
    """
    height, width = at.shape
    out: NDArray[np.float32] = _resample(field, at.rows, at.columns, height, width, _STEP, np.float32(fill), scale)
    return out


@njit(cache=True, nogil=True)
def _resample(field, mesh_rows, mesh_columns, height, width, step, fill, scale):  # type: ignore[no-untyped-def]
    out = np.empty((height, width), np.float32)
    rows, columns = field.shape
    for i in range(height):
        a, t = i // step, (i % step) / step
        for j in range(width):
            b, u = j // step, (j % step) / step
            r = (1 - t) * ((1 - u) * mesh_rows[a, b] + u * mesh_rows[a, b + 1]) + t * (
                (1 - u) * mesh_rows[a + 1, b] + u * mesh_rows[a + 1, b + 1]
            )
            c = (1 - t) * ((1 - u) * mesh_columns[a, b] + u * mesh_columns[a, b + 1]) + t * (
                (1 - u) * mesh_columns[a + 1, b] + u * mesh_columns[a + 1, b + 1]
            )
            r, c = (r + 0.5) / scale - 0.5, (c + 0.5) / scale - 0.5
            if r < 0 or c < 0 or r > rows - 1 or c > columns - 1:
                out[i, j] = fill
                continue
            r0, c0 = min(int(r), rows - 2), min(int(c), columns - 2)
            p, q = np.float32(r - r0), np.float32(c - c0)
            out[i, j] = (1 - p) * ((1 - q) * field[r0, c0] + q * field[r0, c0 + 1]) + p * (
                (1 - q) * field[r0 + 1, c0] + q * field[r0 + 1, c0 + 1]
            )
    return out
