"""The polygon of an area that a user names by a box, a point or a file; its id and the size of its cells."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.geo.areas import area_polygon
from headwater.geo.basins import refuse_long_edges
from headwater.geo.features import read_polygons
from headwater.geo.geodesy import GEOD
from headwater.geo.grid import Bounds, cells_intersecting
from headwater.geo.longitudes import FULL_CIRCLE, HALF_CIRCLE, cut_to_map
from headwater.geo.repair import REMEDY, repaired_all

SOUTHERN_LIMIT, NORTHERN_LIMIT = -80.0, 84.0
"""Latitudes where the tiles of Sentinel-2 end."""
MIN_AREA_KM2 = 0.1
"""Smallest area: a few hundred pixels of 20 m."""
MAX_VERTICES = 20_000
"""Vertices of an area's polygon; those with more are simplified."""
MAX_TOLERANCE_DEGREES = 0.01
"""How far simplifying may move an edge, about a kilometer."""
AREA_PREFIX = "area-"
"""Begins the ids of areas, which no HYBAS_ID does."""
STEP_DEGREES = 1e-7
"""Vertices are rounded to multiples of it, a centimeter."""
_FIRST_TOLERANCE_DEGREES = 1e-4
_EARTH_RADIUS_KM = 6371.007
"""Of the sphere with the area of the ellipsoid."""
_BOX_ORDER = "Give west, south, east and north in degrees: --bbox 30.1 1.0 30.4 1.2."


def box_polygon(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Return the polygon of a box in degrees.

    A box with west above east crosses 180 degrees if it is less than 180 degrees wide that way; otherwise its corners
    are swapped. Longitudes may also be from 180 to 360.

    Raises
    ------
    InputError
        The box has no area, swapped corners, or reaches beyond where there are scenes.
    """
    if not all(map(math.isfinite, (west, south, east, north))):
        raise InputError("The box has an edge that is not a number.", _BOX_ORDER)
    shown = f"{west:g}, {south:g}, {east:g}, {north:g}"
    if abs(south) > 90 or abs(north) > 90:
        raise InputError(f"The box {shown} has a latitude beyond 90 degrees.", _BOX_ORDER)
    if abs(west) > FULL_CIRCLE or abs(east) > FULL_CIRCLE:
        raise InputError(f"The box {shown} has a longitude beyond 360 degrees.", _BOX_ORDER)
    crosses = west > east and east + FULL_CIRCLE - west < HALF_CIRCLE
    if south > north or (west > east and not crosses):
        raise InputError(f"The corners of the box {shown} are swapped.", _BOX_ORDER)
    if west == east or south == north:
        raise InputError(f"The box {shown} has no area.", "Give a box with west below east and south below north.")
    east += FULL_CIRCLE * crosses
    if east - west >= HALF_CIRCLE:
        raise InputError(f"The box {shown} is {east - west:g} degrees wide.", "Give one of less than 180 degrees.")
    return _ready(shapely.box(west, south, east, north), f"The box {shown}")


def square_polygon(lat: float, lon: float, *, km: float) -> BaseGeometry:
    """Return the square around a point whose sides are so many kilometers long.

    Raises
    ------
    InputError
        The point is not on the globe, or the square has no area or reaches beyond where there are scenes.
    """
    remedy = "Give latitude, then longitude, in degrees: --here 1.1 30.2 --km 20."
    if not (abs(lat) <= 90 and abs(lon) <= FULL_CIRCLE):
        raise InputError(f"Latitude {lat:g} and longitude {lon:g} are not on the globe.", remedy)
    if not (0 < km <= 10_000):
        raise InputError(f"The square has sides of {km:g} km.", "Give --km above 0 and at most 10000.")
    what = f"The square of {km:g} km around {lat:g}, {lon:g}"
    north, south = lat + _degrees_of_latitude(lat, km / 2), lat - _degrees_of_latitude(lat, km / 2)
    _refuse_latitudes(south, north, what)
    half = km / 2 / _km_of_longitude_degree(lat)
    if half >= HALF_CIRCLE / 2:
        raise InputError(f"{what} is wider than half of the globe.", "Give fewer kilometers.")
    # Rounded to a meter: the same place, typed again, has the same id.
    west, east = round(lon - half, 5), round(lon + half, 5)
    return _ready(shapely.box(west, round(south, 5), east, round(north, 5)), what)


def file_polygon(path: Path) -> tuple[BaseGeometry, str | None]:
    """Return the polygons of a file as one, and a sentence on what was simplified, None if nothing was.

    Parameters
    ----------
    path : Path
        Any file of polygons that `headwater.geo.features.read_polygons` reads; its CRS may be any.

    Raises
    ------
    InputError
        The file cannot be read, has other shapes or no CRS, or its polygons are not on the globe, have no area, reach
        beyond where there are scenes, or have too many vertices.
    """
    # What is no number is refused below.
    with np.errstate(invalid="ignore"):
        shapes = np.array(read_polygons(path), dtype=object)
    coordinates = shapely.get_coordinates(shapes)
    if not np.isfinite(coordinates).all():
        raise InputError(f"{path} has coordinates that are not numbers.", REMEDY)
    if len(coordinates) and (np.abs(coordinates) > [FULL_CIRCLE, 90.001]).any():
        west, south, east, north = shapely.total_bounds(shapes)
        raise InputError(
            f"{path} is not in degrees: its coordinates go from {west:g}, {south:g} to {east:g}, {north:g}.",
            "GeoJSON is always in longitude and latitude; write other coordinates with their CRS into a GeoPackage.",
        )
    shape = area_polygon(shapely.union_all(repaired_all(shapely.force_2d(shapes), f"A polygon of {path}")))
    before = shapely.get_num_coordinates(shape)
    refuse_long_edges(shape, f"The area of {path}")
    shape, tolerance = _simplified(shape, str(path))
    note = None
    if tolerance:
        note = (
            f"{path} has {before:,} vertices; its outline was simplified to {shapely.get_num_coordinates(shape):,},"
            f" moving it by at most {tolerance:g} degrees."
        )
    return _ready(shape, f"The area of {path}"), note


def area_id(polygon: BaseGeometry) -> str:
    """Return the id of an area: "area-" and ten hexadecimal digits that follow from its polygon alone.

    It is no HYBAS_ID, which consists of digits. Where the rings begin, their direction and the order of parts do not
    matter.
    """
    rings = sorted(_ring(ring) for ring in shapely.get_rings(shapely.get_parts(polygon)))
    return f"{AREA_PREFIX}{hashlib.sha256(repr(rings).encode()).hexdigest()[:10]}"


def cell_degrees_for(polygon: BaseGeometry, choices: Sequence[float]) -> float:
    """Return the size of cells for an area.

    The largest size for areas of which a part is more than three times as long as it; otherwise the largest one whose
    cells cover at most half as much again as those of the smallest size: larger cells cost fewer jobs, smaller ones
    less work outside of the area.

    Parameters
    ----------
    polygon : shapely geometry
        Polygon between -180 and 180 degrees.
    choices : sequence of float
        Sizes that are allowed, degrees.
    """
    sizes = sorted(choices, reverse=True)
    longest = max(max(east - west, north - south) for west, south, east, north in _boxes(polygon))
    if longest > 3 * sizes[0]:
        return sizes[0]
    covered = {size: len(cells_intersecting(polygon, size)) * size**2 for size in sizes}
    return next(size for size in sizes if covered[size] <= 1.5 * covered[sizes[-1]] + STEP_DEGREES)


def area_km2(polygon: BaseGeometry) -> float:
    """Return the area of a polygon whose edges are straight in degrees, km2, to half a percent."""
    flat = shapely.transform(polygon, lambda xy: np.stack([np.radians(xy[:, 0]), np.sin(np.radians(xy[:, 1]))], axis=1))
    return float(flat.area) * _EARTH_RADIUS_KM**2


def _boxes(polygon: BaseGeometry) -> list[Bounds]:
    return [part.bounds for part in getattr(polygon, "geoms", [polygon])]


def _ready(shape: BaseGeometry, what: str) -> BaseGeometry:
    """Return a polygon between -180 and 180 degrees, with rounded vertices; refuse one that cannot be mapped."""
    _, south, _, north = shape.bounds
    _refuse_latitudes(south, north, what)
    parts, _ = cut_to_map(shapely.get_parts(np.array([shape], dtype=object)), dimension=2)
    polygon: BaseGeometry = shapely.normalize(shapely.set_precision(shapely.union_all(parts), STEP_DEGREES))
    if polygon.is_empty or area_km2(polygon) < MIN_AREA_KM2:
        raise InputError(f"{what} has less than {MIN_AREA_KM2:g} km2.", "Give a larger area.")
    return polygon


def _refuse_latitudes(south: float, north: float, what: str) -> None:
    if south < SOUTHERN_LIMIT or north > NORTHERN_LIMIT:
        raise InputError(
            f"{what} reaches beyond {-SOUTHERN_LIMIT:g} S or {NORTHERN_LIMIT:g} N, where the tiles of Sentinel-2 end.",
            "Give an area between them.",
        )


def _simplified(shape: BaseGeometry, name: str) -> tuple[BaseGeometry, float]:
    """Return a shape of at most `MAX_VERTICES` and the tolerance it took, 0 if none."""
    tolerance = 0.0
    simpler = shape
    while shapely.get_num_coordinates(simpler) > MAX_VERTICES:
        tolerance = 2 * tolerance or _FIRST_TOLERANCE_DEGREES
        if tolerance > MAX_TOLERANCE_DEGREES:
            raise InputError(
                f"The outline of {name} has {shapely.get_num_coordinates(shape):,} vertices, and simplified by"
                f" {MAX_TOLERANCE_DEGREES:g} degrees still more than {MAX_VERTICES:,}.",
                "Give a simpler outline of the area.",
            )
        simpler = shapely.simplify(shape, tolerance)
    return simpler, tolerance


def _ring(ring: Any) -> list[tuple[int, int]]:
    """Return the vertices of a ring in steps of `STEP_DEGREES`, from the least one on, in the direction of its least
    neighbor."""
    points: NDArray[np.int64] = np.rint(shapely.get_coordinates(ring)[:-1] / STEP_DEGREES).astype(np.int64)
    start = int(np.lexsort((points[:, 1], points[:, 0]))[0])
    forward = [(int(x), int(y)) for x, y in np.roll(points, -start, axis=0)]
    backward = [forward[0], *reversed(forward[1:])]
    return min(forward, backward)


def _degrees_of_latitude(lat: float, km: float) -> float:
    radius = GEOD.a * (1 - GEOD.es) / (1 - GEOD.es * math.sin(math.radians(lat)) ** 2) ** 1.5
    return math.degrees(km * 1000 / radius)


def _km_of_longitude_degree(lat: float) -> float:
    radius = GEOD.a / math.sqrt(1 - GEOD.es * math.sin(math.radians(lat)) ** 2)
    return math.radians(radius * math.cos(math.radians(lat))) / 1000
