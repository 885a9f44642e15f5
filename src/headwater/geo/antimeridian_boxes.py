"""Boxes and footprints near longitude 180, where west may be greater than east.

A box is (west, south, east, north) in degrees; west > east means that it crosses the antimeridian (RFC 7946,
section 5.2). Servers disagree on such boxes (pitfalls: antimeridian), so a query is split at 180 before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

Box = tuple[float, float, float, float]


def split_box(box: Box) -> list[Box]:
    """Cut a box at longitude 180 into boxes with -180 <= west <= east <= 180.

    Takes both ways of writing a box across the antimeridian: west > east, and longitudes beyond 180.
    """
    west, south, east, north = box
    if west > east:
        east += 360.0
    if east - west >= 360.0:
        return [(-180.0, south, 180.0, north)]
    turns = np.floor((west + 180.0) / 360.0) * 360.0
    # Rounding may have turned a west just under 180 once too often.
    west, east = max(-180.0, float(west - turns)), float(east - turns)
    if east <= 180.0:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east - 360.0, north)]


def enclosing_box(boxes: Iterable[Box]) -> Box:
    """Return the narrowest box around several, which crosses the antimeridian if that is narrower.

    The widest stretch of longitudes that no box touches is left out.
    """
    parts = sorted(part for box in boxes for part in split_box(box))
    south, north = min(part[1] for part in parts), max(part[3] for part in parts)
    gap, west, east = parts[0][0] + 360.0, parts[0][0], 0.0
    reach = parts[0][2]
    widest = -1.0
    for part in parts[1:]:
        if part[0] - reach > widest:
            widest, west, east = part[0] - reach, part[0], reach
        reach = max(reach, part[2])
    # The gap round the back, from the last box over 180 to the first, is the usual one.
    gap -= reach
    if gap >= widest:
        west, east = parts[0][0], reach
    return (west, south, east, north)


def touches(footprint: BaseGeometry, box: Box) -> bool:
    """Whether a footprint shares a point with a box, on the sphere of longitudes."""
    parts = [shapely.box(*part) for part in split_box(box)]
    candidates = [footprint]
    if footprint.bounds[0] < -180.0 or footprint.bounds[2] > 180.0:
        candidates += [_shift(footprint, -360.0), _shift(footprint, 360.0)]
    return any(bool(shapely.intersects(shape, part)) for shape in candidates for part in parts)


def footprint(geometry: dict[str, Any]) -> BaseGeometry:
    """Return the shape of a GeoJSON geometry; one that wraps round the world is unwrapped.

    A polygon whose longitudes jump between -180 and 180 seems to span the world. One that jumps out and back crosses
    the antimeridian: its negative longitudes are moved east by 360 degrees, so that it may reach beyond 180. One that
    jumps but once goes round a pole, which is then added to it.

    Raises
    ------
    ValueError
        The geometry is not valid GeoJSON or is empty.
    """
    try:
        shape = shapely.geometry.shape(geometry)
    except Exception as error:  # shapely raises many kinds for malformed GeoJSON
        raise ValueError(f"not a GeoJSON geometry ({error})") from error
    if shape.is_empty or not np.isfinite(shape.bounds).all():
        raise ValueError("an empty geometry")
    if isinstance(shape, shapely.Polygon):
        shape = _unwrapped(shape)
    elif isinstance(shape, shapely.MultiPolygon):
        shape = shapely.MultiPolygon([_unwrapped(part) for part in shape.geoms])
    # Footprints now and then cross themselves, which shapely's predicates refuse.
    return shape if shape.is_valid else shapely.make_valid(shape)


def _unwrapped(polygon: shapely.Polygon) -> shapely.Polygon:
    west, _, east, _ = polygon.bounds
    if east - west <= 180.0:
        return polygon
    ring = shapely.get_coordinates(polygon.exterior)
    longitudes = np.unwrap(ring[:, 0], period=360.0)
    if np.ptp(longitudes) == 0.0:
        return polygon  # from -180 to 180 by four corners: the whole round, meant as it stands
    if abs(longitudes[-1] - longitudes[0]) > 180.0:
        return _round_a_pole(longitudes, ring[:, 1])
    return shapely.transform(polygon, _positive_longitudes)


def _round_a_pole(longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> shapely.Polygon:
    """Close a ring that goes once round the world over the pole that is nearer."""
    pole = float(np.copysign(90.0, latitudes.mean()))
    longitudes = longitudes - np.floor((longitudes.min() + 180.0) / 360.0) * 360.0
    edge = [(longitudes[-1], pole), (longitudes[0], pole)]
    return shapely.Polygon([*zip(longitudes, latitudes, strict=True), *edge])


def _positive_longitudes(xy: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    moved = xy.copy()
    moved[:, 0] = np.where(moved[:, 0] < 0, moved[:, 0] + 360.0, moved[:, 0])
    return moved


def _shift(shape: BaseGeometry, degrees: float) -> BaseGeometry:
    return shapely.transform(shape, lambda xy: xy + np.array([degrees, 0.0]))
