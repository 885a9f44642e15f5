"""Longitudes near 180 degrees: boxes, footprints and shapes that cross the antimeridian. All wrapping is done here.

A box is (west, south, east, north) in degrees; west > east means that it crosses the antimeridian (RFC 7946,
section 5.2). Servers disagree on such boxes, so a query is split at 180 before it is sent.

A river that crosses 180 degrees is drawn next to its outlet, whose longitude is between -180 and 180; those of its
other reaches may be beyond. Shifts by 360 degrees are exact for doubles of 128 to 256, so that shifting there and back
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from headwater.geo.repair import repaired

Box = tuple[float, float, float, float]

FULL_CIRCLE = 360.0
HALF_CIRCLE = 180.0
_ROUNDING = 1e-6
"""Degrees by which coordinates that were projected may miss a pole."""
SHIFTS = (0.0, FULL_CIRCLE, -FULL_CIRCLE)
"""Degrees by which the same place may be written: as it is, one world to the east, one to the west."""


def wrap_longitude(longitude: Any, *, center: float = 0.0) -> Any:
    """Return longitudes (a number or an array) from `center` - 180 up to, without, `center` + 180."""
    return (longitude - center + 180.0) % FULL_CIRCLE - 180.0 + center


def shift_toward(longitude: Any, near: Any) -> Any:
    """Return the shift, a multiple of 360 degrees, that brings longitudes (numbers or arrays) closest to others."""
    return FULL_CIRCLE * np.rint((near - longitude) / FULL_CIRCLE)


def end_of_span(west: float, east: float) -> float:
    """Return the east edge of a box at or beyond its west edge: beyond 180 where the box crosses the antimeridian."""
    return east + FULL_CIRCLE if west > east else east


def split_box(box: Box) -> list[Box]:
    """Cut a box at longitude 180 into boxes with -180 <= west <= east <= 180.

    Accepts both ways to write a box across the antimeridian: west > east, and longitudes beyond 180.
    """
    west, south, east, north = box
    east = end_of_span(west, east)
    if east - west >= FULL_CIRCLE:
        return [(-180.0, south, 180.0, north)]
    shift = np.floor((west + 180.0) / FULL_CIRCLE) * FULL_CIRCLE
    # Rounding may shift a west just under 180 once too often.
    west, east = max(-180.0, float(west - shift)), float(east - shift)
    if east <= 180.0:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east - FULL_CIRCLE, north)]


def enclosing_box(boxes: Iterable[Box]) -> Box:
    """Return the narrowest box around several, which crosses the antimeridian if that is narrower.

    The widest range of longitudes that no box touches is left out.
    """
    parts = sorted(part for box in boxes for part in split_box(box))
    south, north = min(part[1] for part in parts), max(part[3] for part in parts)
    gap, west, east = parts[0][0] + FULL_CIRCLE, parts[0][0], 0.0
    reach = parts[0][2]
    widest = -1.0
    for part in parts[1:]:
        if part[0] - reach > widest:
            widest, west, east = part[0] - reach, part[0], reach
        reach = max(reach, part[2])
    # Usually the widest gap is the one from the last box over 180 to the first.
    gap -= reach
    if gap >= widest:
        west, east = parts[0][0], reach
    return (west, south, east, north)


def is_on_globe(bounds: Box) -> bool:
    """Whether west, south, east, north can be degrees; west and east may be beyond 180, by less than once around."""
    west, south, east, north = bounds
    # Comparisons with the NaN and infinity of a failed transformation are false.
    in_longitude = -FULL_CIRCLE <= west <= east <= FULL_CIRCLE and east - west <= FULL_CIRCLE
    return in_longitude and abs(south) < 90 + _ROUNDING > abs(north)


def touches(footprint: BaseGeometry, box: Box) -> bool:
    """Whether a footprint and a box share a point, on the sphere of longitudes."""
    parts = [shapely.box(*part) for part in split_box(box)]
    beyond = footprint.bounds[0] < -180.0 or footprint.bounds[2] > 180.0
    candidates = [shift_shape(footprint, shift) if shift else footprint for shift in (SHIFTS if beyond else (0.0,))]
    return any(bool(shapely.intersects(shape, part)) for shape in candidates for part in parts)


def shift_shape(shape: BaseGeometry, degrees: float) -> BaseGeometry:
    """Return a shape shifted to the east."""
    return shapely.transform(shape, lambda xy: xy + np.array([degrees, 0.0]))


def footprint(geometry: dict[str, Any]) -> BaseGeometry:
    """Return the shape of a GeoJSON geometry; one that wraps around the world is unwrapped.

    A polygon whose longitudes jump between -180 and 180 seems to span the world. One that jumps out and back crosses
    the antimeridian: its negative longitudes are shifted east by 360 degrees, so that it may reach beyond 180. One that
    jumps only once goes around a pole, which is then added to it.

    Raises
    ------
    ValueError
        The geometry is not valid GeoJSON, is empty, or crosses itself too often.
    """
    try:
        shape = shapely.geometry.shape(geometry)
    except Exception as error:  # shapely raises many kinds for malformed GeoJSON
        raise ValueError(f"not a GeoJSON geometry ({error})") from error
    # The bounds of a shape leave out points that are NaN.
    if shape.is_empty or not np.isfinite(shapely.get_coordinates(shape)).all():
        raise ValueError("an empty geometry, or one that is nowhere")
    if isinstance(shape, shapely.Polygon):
        shape = _unwrapped(shape)
    elif isinstance(shape, shapely.MultiPolygon):
        shape = shapely.MultiPolygon([_unwrapped(part) for part in shape.geoms])
    # Some footprints cross themselves; shapely's predicates refuse them.
    return repaired(shape)


def cut_footprint(shape: BaseGeometry) -> BaseGeometry:
    """Return a footprint in longitudes -180 to 180: cut at 180 where it reaches beyond (RFC 7946, section 3.1.9)."""
    west, _, east, _ = shape.bounds
    if west >= -180.0 and east <= 180.0:
        return shape
    parts = [
        shift_shape(shape.intersection(shapely.box(start, -90, start + FULL_CIRCLE, 90)), -180.0 - start)
        for start in (-540.0, -180.0, 180.0)
    ]
    return shapely.union_all([part for part in parts if part.area > 0])


def footprint_box(geometry: dict[str, Any]) -> Box:
    """Return the box around a GeoJSON geometry; one that crosses the antimeridian has west > east.

    Raises
    ------
    ValueError
        See `footprint`.
    """
    shape = footprint(geometry)
    box = enclosing_box(part.bounds for part in getattr(shape, "geoms", [shape]))
    if box[2] > 180.0:
        return (box[0], box[1], box[2] - FULL_CIRCLE, box[3])
    return box


def middle_longitudes(shapes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the longitude in the middle of each shape's box; NaN for missing and empty ones."""
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    return np.asarray((boxes[:, 0] + boxes[:, 2]) / 2)


def wraps_to(longitudes: NDArray[np.float64], near: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return how many times 360 degrees bring longitudes closest to others; 0 where one is NaN."""
    return np.nan_to_num(np.rint((near - longitudes) / FULL_CIRCLE))


def shift_longitudes(shapes: NDArray[Any], wraps: NDArray[np.float64]) -> NDArray[Any]:
    """Return shapes shifted to the east by so many times 360 degrees, (n,) each."""
    rows = np.flatnonzero(wraps)
    return _shifted(shapes, rows, lambda _, owner: wraps[rows][owner])


def unwrap_shapes(shapes: NDArray[Any], near: NDArray[np.float64]) -> NDArray[Any]:
    """Return shapes with each vertex shifted by multiples of 360 degrees to within 180 of a longitude, (n,) each.

    A shape that was cut at 180 degrees, or jumps there, is in one piece again: nothing here is 180 degrees wide.
    """
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    rows = np.flatnonzero((near - boxes[:, 0] > 180) | (boxes[:, 2] - near > 180))
    return _shifted(shapes, rows, lambda x, owner: wraps_to(x, near[rows][owner]))


def cut_to_map(shapes: NDArray[Any], *, dimension: int = 1) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the parts of shapes as a map from -180 to 180 degrees shows them, and the row of each part.

    Parameters
    ----------
    shapes : (n,) array of shapes
        Lines, or valid polygons.
    dimension : int
        1 keeps lines, 2 polygons; what remains of another dimension at the cut is dropped.
    """
    strips = np.array([shapely.box(west, -90, west + 360, 90) for west in (-180, -540, 180)])
    wraps = np.array([0.0, 1.0, -1.0])
    cut = shapely.intersection(shapes[:, np.newaxis], strips).ravel()
    parts, owner = shapely.get_parts(cut, return_index=True)
    parts = shift_longitudes(parts, wraps[owner % 3])
    kept = (shapely.get_dimensions(parts) == dimension) & ~shapely.is_empty(parts)
    return parts[kept], (owner // 3)[kept]


def align_with_outlets(lines: NDArray[Any], downstream: NDArray[np.int64]) -> NDArray[Any]:
    """Return lines shifted by multiples of 360 degrees: outlets to -180 to 180, others next to what they flow into.

    Parameters
    ----------
    lines : (n,) array of lines
        Each in one piece; missing and empty ones are skipped.
    downstream : (n,) int64
        Row that each line flows into; -1 at an outlet. There are no loops.
    """
    x = middle_longitudes(lines)
    target = downstream.copy()
    while (skipped := (target >= 0) & np.isnan(x[target])).any():
        target[skipped] = target[target[skipped]]
    at_outlet = np.nan_to_num(-np.floor((x + 180) / 360))
    # Down- to upstream the wraps add up: after k rounds `sums` holds those of 2**k links.
    count = len(lines)
    sums = np.append(np.where(target >= 0, wraps_to(x, x[target]), at_outlet), 0)
    far = np.append(np.where(target >= 0, target, count), count)
    for _ in range(count.bit_length()):
        sums, far = sums + sums[far], far[far]
    return shift_longitudes(lines, sums[:-1])


def _shifted(
    shapes: NDArray[Any], rows: NDArray[np.int64], wraps_of: Callable[..., NDArray[np.float64]]
) -> NDArray[Any]:
    """Return shapes with the vertices of some rows shifted; `wraps_of` takes longitudes and positions in `rows`."""
    if len(rows) == 0:
        return shapes
    points, owner = shapely.get_coordinates(shapes[rows], return_index=True)
    points[:, 0] += 360 * wraps_of(points[:, 0], owner)
    shapes = shapes.copy()
    shapes[rows] = shapely.set_coordinates(shapes[rows], points)
    return shapes


def _unwrapped(polygon: shapely.Polygon) -> shapely.Polygon:
    west, _, east, _ = polygon.bounds
    if east - west <= 180.0:
        return polygon
    ring = shapely.get_coordinates(polygon.exterior)
    longitudes = np.unwrap(ring[:, 0], period=FULL_CIRCLE)
    if np.ptp(longitudes) == 0.0:
        return polygon  # from -180 to 180 by four corners: the full circle, as it is written
    if abs(longitudes[-1] - longitudes[0]) > 180.0:
        return _around_pole(longitudes, ring[:, 1])
    return shapely.transform(polygon, _positive_longitudes)


def _around_pole(longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> shapely.Polygon:
    """Close a ring that goes once around the world over the nearer pole."""
    pole = float(np.copysign(90.0, latitudes.mean()))
    longitudes = longitudes - np.floor((longitudes.min() + 180.0) / FULL_CIRCLE) * FULL_CIRCLE
    edge = [(longitudes[-1], pole), (longitudes[0], pole)]
    return shapely.Polygon([*zip(longitudes, latitudes, strict=True), *edge])


def _positive_longitudes(xy: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = xy.copy()
    shifted[:, 0] = np.where(shifted[:, 0] < 0, shifted[:, 0] + FULL_CIRCLE, shifted[:, 0])
    return shifted
