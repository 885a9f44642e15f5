"""Whether a raster is where its item says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.warp import transform as transform_points

from headwater.core.errors import InputError
from headwater.geo import grid as grids
from headwater.geo.geodesy import METERS_PER_DEGREE
from headwater.geo.grid import Bounds
from headwater.geo.longitudes import wrap_longitude

TOLERANCE_M = 150.0
"""How far a point of a footprint may be outside its raster: catalogs round, and simplify what they write."""


def check_place(dataset: DatasetReader, crs: CRS, corners: Sequence[tuple[float, float]], what: str) -> None:
    """Check that an item's footprint is on its raster.

    Only the points of the footprint count: the edges between them are straight in degrees or in meters, and differ by
    hundreds of meters. A footprint may be smaller than its raster, which has no data around it. One that is smaller
    than the footprint was cut to a place: it must share ground with the footprint.

    Parameters
    ----------
    dataset : DatasetReader
        An open raster, not rotated.
    crs : CRS
        Its CRS, or that of the item.
    corners : sequence of (longitude, latitude)
        Degrees; nothing is checked if there are none.
    what : str
        What to call the raster.

    Raises
    ------
    InputError
        They are more than `TOLERANCE_M` apart.
    """
    if not corners:
        return
    (west, east), (south, north) = sorted(dataset.bounds[::2]), sorted(dataset.bounds[1::2])
    longitudes, latitudes = np.array(corners).T
    if crs.is_geographic:
        x, y = wrap_longitude(longitudes, center=(west + east) / 2), latitudes
        unit_m = METERS_PER_DEGREE
    else:
        x, y = (np.asarray(values) for values in transform_points(grids.CRS, crs, longitudes, latitudes))
        unit_m = crs.linear_units_factor[1]
    outside = np.maximum.reduce([west - x, x - east, south - y, y - north])
    # Beyond the projection the numbers are infinite.
    far_m = float(np.nan_to_num(outside, nan=np.inf, posinf=np.inf, neginf=np.inf).max()) * unit_m
    if far_m > TOLERANCE_M and not _is_cut(x, y, (west, south, east, north), TOLERANCE_M / unit_m):
        distance = f"{far_m / 1000:.1f} km" if np.isfinite(far_m) else "far"
        raise InputError(
            f"{what} is elsewhere than its item says: the footprint of the item reaches {distance} beyond the file.",
            "Ask its provider which is right: the geometry of the item, or the transform and CRS of the file.",
        )


def _is_cut(x: NDArray[np.float64], y: NDArray[np.float64], box: Bounds, tolerance: float) -> bool:
    """Whether a box is a part of what the points of a footprint enclose, which is wider or higher."""
    if len(x) < 3 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return False
    west, south, east, north = box
    larger = np.ptp(x) > east - west + tolerance or np.ptp(y) > north - south + tolerance
    hull = shapely.MultiPoint(np.column_stack([x, y])).convex_hull
    return bool(larger and hull.intersects(shapely.box(*box)))
