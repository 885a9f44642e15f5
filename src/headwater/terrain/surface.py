"""Seams, voids and gaps of elevation tiles: one surface for a cell, in arrays (docs/explanation/method.md section 1).

Tiles of one lattice are joined before they are interpolated, so that there is no edge between them. A *void* is an area
inside a tile without a value, a *gap* is an area that no tile covers: GLO-30 has no tiles of the open sea.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from shapely import clip_by_rect
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from headwater.geo.grid import RasterGrid
from headwater.geo.longitudes import SHIFTS

SEA_LEVEL_M = 0.0
SOURCE_SEA = 0
"""Source of pixels without any tile: the sea, at elevation 0."""
SOURCE_FILLED = 255
"""Source of pixels interpolated across a void that no model fills."""
MAX_SEAM_PX = 2
"""Widest seam between tiles that is bridged; the Planetary Computer's GLO-30 has seams of one pixel
(microsoft/PlanetaryComputer#319)."""
MAX_VOID_DISTANCE_M = 500.0
"""A void is interpolated if no point of it is farther than this from a value: up to a kilometer across."""
MAX_VOID_PX = 500_000
"""A void with more pixels is not interpolated, however thin it is: limits the memory."""
POLYGON_PRECISION_DEGREES = 1 / 240
"""HydroBASINS are drawn on a grid of 15 arc seconds: their coast may be this far out at sea."""
_DEGREE_M = 111_195.0
"""Length of a degree of latitude on the sphere: accurate to half a percent, enough to size a void."""
_BLOCK_ROWS = 256
_Array = NDArray[np.float32]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Surface:
    """Elevation on a grid; the arrays are (y, x)."""

    grid: RasterGrid
    values: _Array
    """Meters; 0 where unknown."""
    valid: _Mask
    """True where the elevation is known."""
    covered: _Mask
    """True inside a tile, whether the elevation is known or not."""
    bridged: _Mask
    """True where the elevation comes from both sides of a seam."""

    @staticmethod
    def empty(grid: RasterGrid) -> Surface:
        """Return a surface without any known elevation."""
        return Surface(grid, np.zeros(grid.shape, np.float32), *(np.zeros(grid.shape, bool) for _ in range(3)))


def paste(surface: Surface, other: Surface) -> None:
    """Copy another surface of the same lattice into one, in place, where it has no value yet.

    Parameters
    ----------
    surface : Surface
        Changed; parts of the other surface outside it are ignored.
    other : Surface
        `surface.grid.place_of(other.grid)` is not None.
    """
    place = surface.grid.place_of(other.grid)
    if place is None:
        raise ValueError("the other surface is on another lattice")
    (top, left), (height, width) = place, surface.grid.shape
    rows = slice(max(0, top), max(0, min(height, top + other.grid.height)))
    columns = slice(max(0, left), max(0, min(width, left + other.grid.width)))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    here, there = (
        (rows, columns),
        (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)),
    )
    take = other.valid[there] & ~surface.valid[here]
    np.copyto(surface.values[here], other.values[there], where=take)
    np.copyto(surface.bridged[here], other.bridged[there], where=take)
    surface.valid[here] |= take
    surface.covered[here] |= other.covered[there]


def bridge_seams(surface: Surface) -> Surface:
    """Return a surface with its seams bridged, see `fill_seams`."""
    values, valid = fill_seams(surface.values, surface.valid)
    return Surface(surface.grid, values, valid, surface.covered, surface.bridged | (valid & ~surface.valid))


def fill_seams(elevation: _Array, valid: _Mask, *, width_px: int = MAX_SEAM_PX) -> tuple[_Array, _Mask]:
    """Bridge narrow seams linearly between the values on both sides.

    A pixel is bridged if, along its column or row, there is a value on either side and the gap between them is at most
    `width_px` wide. A coast has a value on one side only, and a lake-sized void is wider.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters.
    valid : (y, x) bool
        Where it is known.
    width_px : int
        Widest gap that is bridged.

    Returns
    -------
    elevation : (y, x) float32
    valid : (y, x) bool
    """
    # Where two seams cross, the second pass uses the values of the first one.
    for _ in range(2):
        if valid.all():
            break
        total, count = np.zeros(elevation.shape, np.float32), np.zeros(elevation.shape, np.uint8)
        _bridge_columns(elevation, valid, width_px, total, count)
        _bridge_columns(elevation.T, valid.T, width_px, total.T, count.T)
        bridged = count > 0
        elevation = np.where(bridged, total / np.maximum(count, 1), elevation).astype(np.float32)
        valid = valid | bridged
    return elevation, valid


def _bridge_columns(elevation: _Array, valid: _Mask, width_px: int, total: _Array, count: NDArray[np.uint8]) -> None:
    """Add the values that bridge gaps along axis 0 to `total`, and their number to `count`, in place."""
    height = len(elevation)
    done = valid.copy()
    for width in range(1, width_px + 1):
        for above in range(1, width + 1):
            below = width + 1 - above
            if above + below >= height:
                continue
            upper, middle, lower = (
                slice(height - above - below),
                slice(above, height - below),
                slice(above + below, None),
            )
            bridge = ~done[middle] & valid[upper] & valid[lower]
            row, column = np.nonzero(bridge)
            one, other = elevation[upper][row, column], elevation[lower][row, column]
            # The nearer value weighs more.
            total[middle][row, column] += (one * below + other * above) / (above + below)
            count[middle][row, column] += 1
            done[middle] |= bridge


def sample(surface: Surface, grid: RasterGrid, *, method: str = "bilinear") -> Surface:
    """Interpolate a surface at the pixel centers of a grid.

    On the surface's own lattice its values are returned unchanged. Posts without a value are ignored and the weights
    of the others scaled up; where one of its sixteen posts is missing, "cubic" is bilinear.

    Parameters
    ----------
    surface : Surface
        Elevation on its own lattice.
    grid : RasterGrid
        Grid to sample on.
    method : str
        "bilinear", or "cubic" (Keys 1981, a = -0.5, as GDAL's cubic).

    Returns
    -------
    Surface
        Known where the nearest post is.
    """
    result = Surface.empty(grid)
    if surface.grid.place_of(grid) is not None:
        paste(result, surface)
        return result
    own = surface.grid
    down, right = np.arange(0.5, grid.height), np.arange(0.5, grid.width)
    # Positions of the grid's pixel centers, in posts from the center of the surface's first post.
    rows: NDArray[np.float64] = (own.north - grid.north + down * grid.dy) / own.dy - 0.5
    columns: NDArray[np.float64] = (grid.west - own.west + right * grid.dx) / own.dx - 0.5
    nearest_column, inside_column = _nearest(columns, own.width)
    linear_x = _taps(columns, own.width, "bilinear")
    cubic_x = _taps(columns, own.width, "cubic") if method == "cubic" else None
    for start in range(0, grid.height, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        nearest_row, inside_row = _nearest(rows[block], own.height)
        at, inside = np.ix_(nearest_row, nearest_column), inside_row[:, np.newaxis] & inside_column
        for name in ("valid", "covered", "bridged"):
            getattr(result, name)[block] = getattr(surface, name)[at] & inside
        values, weight, _ = _weigh(surface, _taps(rows[block], own.height, "bilinear"), linear_x)
        values = values / np.where(weight > 0, weight, 1)
        if cubic_x is not None:
            cubic, _, complete = _weigh(surface, _taps(rows[block], own.height, "cubic"), cubic_x)
            values = np.where(complete, cubic, values)
        result.values[block] = np.where(result.valid[block], values, 0)
    return result


_Taps = tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]]
"""(taps, n) indices of the posts to weigh, their weights, and whether they exist."""


def _taps(places: NDArray[np.float64], size: int, method: str) -> _Taps:
    # A position on a post (within rounding) uses that post only: rows of all GLO-30 tiles coincide.
    places = np.where(np.abs(places - np.round(places)) < 1e-4, np.round(places), places)
    first = np.floor(places).astype(np.intp)
    offsets = np.array([[0], [1]]) if method == "bilinear" else np.array([[-1], [0], [1], [2]])
    distance = np.abs(places - first - offsets)
    near, far = 1.5 * distance**3 - 2.5 * distance**2 + 1, -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = 1 - distance if method == "bilinear" else np.where(distance <= 1, near, far)
    posts = first + offsets
    # A post with weight 0 may be missing.
    exists = ((posts >= 0) & (posts < size)) | (weights == 0)
    return np.clip(posts, 0, size - 1), np.where((posts >= 0) & (posts < size), weights, 0), exists


def _weigh(surface: Surface, rows: _Taps, columns: _Taps) -> tuple[NDArray[np.float64], NDArray[np.float64], _Mask]:
    """Return the weighted sum of the known posts, their weight, and whether none was missing."""
    shape = (rows[0].shape[1], columns[0].shape[1])
    total, weight, complete = np.zeros(shape), np.zeros(shape), np.ones(shape, bool)
    for row, row_weight, row_exists in zip(*rows, strict=True):
        values, valid = surface.values[row].astype(np.float64), surface.valid[row]
        values[~valid] = 0
        along, known, row_complete = np.zeros(shape), np.zeros(shape), np.ones(shape, bool)
        for column, column_weight, column_exists in zip(*columns, strict=True):
            seen = valid[:, column]
            along += values[:, column] * column_weight
            known += seen * column_weight
            row_complete &= column_exists & (seen | (column_weight == 0))
        factor = row_weight[:, np.newaxis]
        total += along * factor
        weight += known * factor
        complete &= row_exists[:, np.newaxis] & (row_complete | (factor == 0))
    return total, weight, complete


def _nearest(places: NDArray[np.float64], size: int) -> tuple[NDArray[np.intp], _Mask]:
    """Return the nearest post of each position, and whether the position is on the surface."""
    nearest = np.floor(places + 0.5 + 1e-6).astype(np.intp)
    return np.clip(nearest, 0, size - 1), (nearest >= 0) & (nearest < size)


def merge(surface: Surface, source: NDArray[np.uint8], layer: Surface, number: int) -> None:
    """Fill a surface with the next best elevation model, in place, where it has no value yet.

    Parameters
    ----------
    surface : Surface
        Elevation of the better models; `Surface.empty` before the first.
    source : (y, x) uint8
        Number of each pixel's model, from 1; 0 where none has a value.
    layer : Surface
        The model, on the same lattice; may be smaller.
    number : int
        Its number.
    """
    before = surface.valid.copy()
    paste(surface, layer)
    source[surface.valid & ~before] = number


def fill_voids(elevation: _Array, valid: _Mask, voids: _Mask, *, pixel_m: tuple[float, float]) -> tuple[_Array, _Mask]:
    """Interpolate small voids from the values around them.

    A void is small if no point of it is farther than `MAX_VOID_DISTANCE_M` from a value and it has at most
    `MAX_VOID_PX` pixels; a larger one stays unfilled.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters.
    valid : (y, x) bool
        Where it is known.
    voids : (y, x) bool
        Where it is unknown inside a tile.
    pixel_m : (height, width)
        Sides of a pixel, meters.

    Returns
    -------
    elevation : (y, x) float32
        In a void, the membrane over its rim (Laplace's equation): a slope continues through it, and it is never higher
        or lower than the rim.
    filled : (y, x) bool
        Where a void was filled.
    """
    filled = np.zeros(voids.shape, bool)
    if not voids.any() or not valid.any():
        return elevation, filled
    labels, _ = ndimage.label(voids)
    sizes = np.bincount(labels.ravel())
    pad_px = tuple(int(np.ceil(MAX_VOID_DISTANCE_M / side)) + 1 for side in pixel_m)
    result = elevation.copy()
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[number] > MAX_VOID_PX:
            continue
        near = tuple(slice(max(0, side.start - px), side.stop + px) for side, px in zip(place, pad_px, strict=True))
        void = labels[near] == number
        if not valid[near].any():
            continue
        distance_m = ndimage.distance_transform_edt(~valid[near], sampling=pixel_m)
        membrane = None
        if distance_m[void].max() <= MAX_VOID_DISTANCE_M:
            membrane = _membrane(elevation[near], valid[near], void, pixel_m)
        if membrane is not None:
            result[near][void] = membrane
            filled[near] |= void
    return result, filled


def _membrane(elevation: _Array, valid: _Mask, void: _Mask, pixel_m: tuple[float, float]) -> NDArray[np.float64] | None:
    """Solve Laplace's equation in a connected void for the values on its rim; None if there is no rim."""
    outside = -1
    number = np.full(void.shape, outside)
    number[void] = np.arange(void.sum())
    diagonal, known = np.zeros(void.sum()), np.zeros(void.sum())
    entries: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    for axis, spacing in enumerate(pixel_m):
        for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            one, other = ((side,) if axis == 0 else (slice(None), side) for side in (here, there))
            rim, inner = void[one] & valid[other], void[one] & void[other]
            weight = 1 / spacing**2
            np.add.at(diagonal, number[one][rim | inner], weight)
            np.add.at(known, number[one][rim], weight * elevation[other][rim].astype(np.float64))
            entries.append((number[one][inner], number[other][inner], np.full(inner.sum(), -weight)))
    if not (valid & ndimage.binary_dilation(void)).any():
        return None
    each = np.arange(void.sum())
    rows, columns, weights = (np.concatenate(part) for part in zip((each, each, diagonal), *entries, strict=True))
    # Imported here because few cells have voids that GLO-90 does not fill.
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import spsolve

    return np.asarray(spsolve(csc_array((weights, (rows, columns))), known))


def extend_edges(elevation: _Array, source: NDArray[np.uint8]) -> _Array:
    """Give pixels without a source the elevation of the nearest pixel that has one.

    For a user's own elevation models, which may end on land: a drop to sea level there would be a false cliff.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters.
    source : (y, x) uint8
        `SOURCE_SEA` where no model has a value.

    Returns
    -------
    (y, x) float32
        Meters.
    """
    _, (rows, columns) = ndimage.distance_transform_edt(source == SOURCE_SEA, return_indices=True)
    return np.asarray(elevation[rows, columns])


def land_mask(polygon: BaseGeometry, grid: RasterGrid) -> _Mask:
    """Return where a basin is certainly land: inside its polygon, farther from its edge than the polygon's precision.

    Parameters
    ----------
    polygon : shapely geometry
        Polygon or multipolygon of the basin, EPSG:4326.
    grid : RasterGrid
        May extend beyond longitude 180 or -180.

    Returns
    -------
    (y, x) bool
    """
    # Wider than the grid, so that the grid's edge does not count as an edge of the polygon.
    high, wide = (int(np.ceil(POLYGON_PRECISION_DEGREES / step)) for step in (grid.dy, grid.dx))
    around = grid.crop(row=-high, column=-wide, height=grid.height + 2 * high, width=grid.width + 2 * wide)
    west, south, east, north = around.bounds
    parts = []
    for turn in SHIFTS:
        part = clip_by_rect(polygon, west - turn, south, east - turn, north)
        if not part.is_empty:
            parts.append((translate(part, xoff=turn), 1))
    inside = np.zeros(around.shape, np.uint8)
    if parts:
        inside = rasterize(parts, around.shape, transform=around.transform, dtype=np.uint8)
    deep = ndimage.minimum_filter(inside, size=(2 * high + 1, 2 * wide + 1), mode="nearest")
    return np.asarray(deep[high:-high, wide:-wide] > 0)


def pixel_sides_m(grid: RasterGrid) -> tuple[float, float]:
    """Return the height and the width of a pixel in the middle of a grid, in meters."""
    _, south, _, north = grid.bounds
    return _DEGREE_M * grid.dy, _DEGREE_M * grid.dx * float(np.cos(np.radians((south + north) / 2)))


def area_km2(where: _Mask, grid: RasterGrid) -> float:
    """Return the area of the pixels of a grid that are True."""
    height_m, width_m = pixel_sides_m(grid)
    return float(where.sum()) * height_m * width_m / 1e6
