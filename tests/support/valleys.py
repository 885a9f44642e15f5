"""A straight reach in a valley, with its catchment, on a grid of 20 m."""

from __future__ import annotations

import numpy as np
import shapely

from headwater.geo.grid import RasterGrid

DX = 1 / 5400


def valley(*, columns=40, rows=40):
    """A straight reach in the middle of a valley, its catchment inside a margin of 30 pixels."""
    grid = RasterGrid(west=10.0, north=5.0, dx=DX, dy=DX, width=columns + 60, height=rows + 60)
    x, y = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    middle = 30 + columns // 2
    elevation = (abs(x - middle) + 0.1 * (grid.height - y)).astype(np.float32)
    probability = np.full(grid.shape, 0.02, np.float32)

    def at(column, row):
        return (grid.west + column * DX, grid.north - row * DX)

    reach = shapely.LineString([at(middle + 0.5, 30.5), at(middle + 0.5, 30 + rows - 0.5)])
    catchment = shapely.box(*at(30, 30 + rows), *at(30 + columns, 30))
    return grid, elevation, probability, reach, catchment
