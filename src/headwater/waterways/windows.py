"""Which pixels of a lattice catchments cover, and which catchments surround others."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from headwater.geo.grid import Bounds, RasterGrid, Tile

MARGIN_DEGREES = 0.005
"""How far the raster is cut beyond a catchment's box (Pierson and Mehrabi 2024)."""


def catchment_bounds(catchment: BaseGeometry, reach: BaseGeometry, grid: RasterGrid) -> Bounds:
    """Return the box of a catchment and its reach, with the margin and at least two pixels more on each side."""
    boxes = np.array([catchment.bounds, reach.bounds])
    margin_x, margin_y = MARGIN_DEGREES + 2 * grid.dx, MARGIN_DEGREES + 2 * grid.dy
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    return (float(west - margin_x), float(south - margin_y), float(east + margin_x), float(north + margin_y))


def catchment_tile(catchment: BaseGeometry, reach: BaseGeometry, lattice: RasterGrid) -> Tile:
    """Return the pixels of a lattice that contain a catchment with its reach and margin.

    Parameters
    ----------
    catchment, reach : shapely geometry
        EPSG:4326.
    lattice : RasterGrid
        Grid that is continued beyond its edges; rows and columns count from its corner, and may be negative.
    """
    west, south, east, north = catchment_bounds(catchment, reach, lattice)
    row = int(np.floor((lattice.north - north) / lattice.dy))
    column = int(np.floor((west - lattice.west) / lattice.dx))
    return Tile(
        row=row,
        column=column,
        height=int(np.ceil((lattice.north - south) / lattice.dy)) - row,
        width=int(np.ceil((east - lattice.west) / lattice.dx)) - column,
    )


def union_tile(shapes: NDArray[Any], lattice: RasterGrid, *, margin_px: int) -> Tile:
    """Return the pixels of a lattice that contain all shapes with a margin; none without shapes."""
    if len(shapes) == 0:
        return Tile(0, 0, 0, 0)
    west, south, east, north = shapely.total_bounds(shapes)
    row = int(np.floor((lattice.north - north) / lattice.dy)) - margin_px
    column = int(np.floor((west - lattice.west) / lattice.dx)) - margin_px
    return Tile(
        row=row,
        column=column,
        height=int(np.ceil((lattice.north - south) / lattice.dy)) + margin_px - row,
        width=int(np.ceil((east - lattice.west) / lattice.dx)) + margin_px - column,
    )


def tile_grid(lattice: RasterGrid, tile: Tile) -> RasterGrid:
    """Return the grid of some pixels of a lattice."""
    return lattice.crop(row=tile.row, column=tile.column, height=tile.height, width=tile.width)


def with_rings(catchments: gpd.GeoDataFrame, own: NDArray[np.bool_], rings: int) -> NDArray[np.bool_]:
    """Return which catchments are own, or touch those, or touch these, and so on for some rings; (n,) bool."""
    if own.all():
        return own.copy()
    shapes = catchments.geometry.to_numpy()
    tree = shapely.STRtree(shapes)
    reached, newest = own.copy(), own
    for _ in range(rings):
        touched = np.zeros(len(shapes), dtype=bool)
        touched[np.unique(tree.query(shapes[newest], predicate="intersects")[1])] = True
        newest = touched & ~reached
        reached = reached | touched
    return reached


def lattice_numbers(cells: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of the lattice of each cell name: cells of one latitude have the same; "" is one of its own."""
    rows = [str(name).partition("E")[0].partition("W")[0] for name in cells]
    return np.unique(np.array(rows, dtype=str), return_inverse=True)[1].astype(np.int64)
