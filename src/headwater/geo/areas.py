"""Areas that users name: bounds, geometries or tables, and the part of the cell grid that covers one."""

from __future__ import annotations

from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.geo.grid import CRS, PREDICTION_FACTOR, Bounds, Cell, RasterGrid, cell_grid
from headwater.geo.longitudes import is_on_globe


def grid_of_area(area: Any) -> RasterGrid:
    """Return the 10 m grid of the one-degree cell around an area's middle, cut to even sides around the area.

    Parameters
    ----------
    area : bounds, geometry, GeoDataFrame or GeoSeries
        (west, south, east, north) in degrees, a geometry in EPSG:4326, or a table with a CRS.

    Raises
    ------
    InputError
        The area is empty, not in degrees, or has no CRS.
    """
    west, south, east, north = _bounds(area)
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    lattice = cell_grid(Cell(row=int(np.floor(middle_y)), column=int(np.floor(middle_x)), degrees=1.0))

    def span(first: float, last: float) -> tuple[int, int]:
        # Whole pixels of the 20 m grid; a millionth of slack for bounds that are pixel edges.
        start = int(np.floor(first / PREDICTION_FACTOR + 1e-6)) * PREDICTION_FACTOR
        return start, int(np.ceil(last / PREDICTION_FACTOR - 1e-6)) * PREDICTION_FACTOR - start

    column, width = span((west - lattice.west) / lattice.dx, (east - lattice.west) / lattice.dx)
    row, height = span((lattice.north - north) / lattice.dy, (lattice.north - south) / lattice.dy)
    return lattice.crop(row=row, column=column, height=height, width=width)


def _bounds(area: Any) -> Bounds:
    if isinstance(area, tuple | list | np.ndarray) and len(area) == 4:
        west, south, east, north = (float(edge) for edge in area)
    else:
        west, south, east, north = area_polygon(area).bounds
    if not (west < east and south < north and is_on_globe((west, south, east, north))):
        raise InputError(
            f"The area ({west:g}, {south:g}, {east:g}, {north:g}) is empty or not in degrees.",
            "Give west, south, east, north in EPSG:4326, west below east and south below north.",
        )
    return (west, south, east, north)


def area_polygon(area: Any) -> BaseGeometry:
    """Return an area as a geometry in EPSG:4326.

    Parameters
    ----------
    area : geometry, GeoDataFrame or GeoSeries
        A geometry in EPSG:4326, or a table with a CRS.

    Raises
    ------
    InputError
        It is something else, is empty, has no CRS, or is not on the globe.
    """
    if isinstance(area, BaseGeometry):
        shape = area
    elif hasattr(area, "to_crs") and hasattr(area, "union_all"):
        if area.crs is None:
            raise InputError("The area has no coordinate reference system.", "Set it with .set_crs('EPSG:4326').")
        shape = area.to_crs(CRS).union_all()
    else:
        raise InputError(
            f"The area is a {type(area).__name__}; bounds, a geometry, a GeoDataFrame or a DataArray is expected.",
            "Give (west, south, east, north) in degrees.",
        )
    if shape.is_empty:
        raise InputError("The area is empty.", "Give an area with west below east and south below north.")
    if not is_on_globe(shape.bounds):
        raise InputError(
            f"The area is not in degrees: its bounds are {', '.join(f'{edge:g}' for edge in shape.bounds)}.",
            "Give polygons in EPSG:4326, or a table with its CRS.",
        )
    return shape
