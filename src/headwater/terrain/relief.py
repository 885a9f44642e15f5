"""Terrain indices: position, landform, wetness and relative height of every pixel. Arrays only.

All functions take an elevation model (y, x) in meters with NaN where it is unknown, and return NaN there. Lengths are
in pixels. All are independent of direction: a rotated elevation model gives the rotated result, except for ties of D8
flow.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import ndimage

from headwater.core.errors import InputError

Float32Array = npt.NDArray[np.float32]

FLAT, PEAK, RIDGE, SHOULDER, SPUR, SLOPE, HOLLOW, FOOTSLOPE, VALLEY, PIT = range(1, 11)
LANDFORMS = ("flat", "peak", "ridge", "shoulder", "spur", "slope", "hollow", "footslope", "valley", "pit")
"""Names of the landforms 1 to 10 of `geomorphons`."""
LANDFORM_OF_COUNTS: npt.NDArray[np.uint8] = np.array(
    # Columns: number of directions in which the terrain is higher, 0 to 8. Lower and higher together are at most 8;
    # entries of 0 cannot occur.
    [
        [FLAT, FLAT, FLAT, FOOTSLOPE, FOOTSLOPE, VALLEY, VALLEY, VALLEY, PIT],
        [FLAT, FLAT, FOOTSLOPE, FOOTSLOPE, FOOTSLOPE, VALLEY, VALLEY, VALLEY, 0],
        [FLAT, SHOULDER, SLOPE, SLOPE, HOLLOW, HOLLOW, VALLEY, 0, 0],
        [SHOULDER, SHOULDER, SLOPE, SLOPE, SLOPE, HOLLOW, 0, 0, 0],
        [SHOULDER, SHOULDER, SPUR, SLOPE, SLOPE, 0, 0, 0, 0],
        [RIDGE, RIDGE, SPUR, SPUR, 0, 0, 0, 0, 0],
        [RIDGE, RIDGE, RIDGE, 0, 0, 0, 0, 0, 0],
        [RIDGE, RIDGE, 0, 0, 0, 0, 0, 0, 0],
        [PEAK, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=np.uint8,
)
"""Landform by the numbers of lower (row) and higher (column) directions (Jasiewicz and Stepinski 2013)."""

SMOOTHING_PASSES = 3
SMOOTHING_TRUNCATE = 4.0
"""Standard deviations at which a Gaussian is truncated."""
_NODATA = -9999.0
_D8 = {1: (0, 1), 4: (1, 0), 16: (0, -1), 64: (-1, 0), 2: (1, 1), 8: (1, -1), 32: (-1, -1), 128: (-1, 1)}


def topographic_position(
    elevation: Float32Array, *, radius_px: int, inner_px: int = 0, square: bool = False
) -> Float32Array:
    """Return the elevation above the mean of its neighborhood (Weiss 2001), in meters.

    The neighborhood is the disc of pixels whose centers are at most `radius_px` away, including the pixel itself; with
    `inner_px` it is the annulus without those nearer than that; with `square` the distance is the larger of the two
    offsets. A neighbor counts only if the opposite one is in the array as well, so that a plane has 0 everywhere. The
    run time grows with the radius, not with its square.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where unknown.
    radius_px, inner_px : int
        Outer and inner radius in pixels.
    square : bool
        Use squares instead of discs.

    Returns
    -------
    (y, x) float32
        Meters; NaN where the elevation is unknown, 0 where it has no neighbors.
    """
    if not 0 <= inner_px <= radius_px or radius_px < 1:
        raise InputError(
            f"A topographic position with radius {radius_px} px and inner radius {inner_px} px has no neighborhood.",
            "Give a radius of at least 1 and an inner radius between 0 and the radius.",
        )
    known = np.isfinite(elevation)
    # Relative to the mean height: sums of small numbers are accurate enough at any altitude.
    base = float(np.nanmean(elevation, dtype=np.float64)) if known.any() else 0.0
    height = np.where(known, elevation - base, 0).astype(np.float64)
    sums = np.zeros((height.shape[0], height.shape[1] + 1))
    counts = np.zeros(sums.shape, dtype=np.int64)
    np.cumsum(height, axis=1, out=sums[:, 1:])
    np.cumsum(known, axis=1, out=counts[:, 1:])
    outer = _half_chords(radius_px, square=square)
    inner = _half_chords(inner_px - 1, square=square) if square else _half_chords_below(inner_px)
    mean = _neighborhood_mean(sums, counts, height, outer, inner)
    return np.where(known, height - mean, np.nan).astype(np.float32)


def geomorphons(
    elevation: Float32Array,
    *,
    pixel_m: float,
    search_px: int = 10,
    skip_px: int = 0,
    flat_degrees: float = 1.0,
) -> npt.NDArray[np.uint8]:
    """Return the landform of every pixel, 1 to 10 as in `LANDFORMS` (Jasiewicz and Stepinski 2013).

    Along each of eight directions the line of sight has a highest and a lowest angle to the terrain; the direction
    counts as higher (lower) if their sum, the difference of nadir and zenith angle, is above the threshold (below minus
    the threshold). The numbers of higher and lower directions determine the landform: the 498 patterns that remain of
    3 ** 8 after rotation and reflection are not distinguished further. doi:10.1016/j.geomorph.2012.11.005

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where unknown: lines of sight ignore unknown pixels and end at the border.
    pixel_m : float
        Side of a pixel in meters.
    search_px : int
        Length of the lines of sight in pixel sides, on diagonals as well.
    skip_px : int
        Pixels at this distance or nearer are ignored.
    flat_degrees : float
        Threshold of flatness, degrees.

    Returns
    -------
    (y, x) uint8
        1 to 10; 0 where the elevation is unknown.
    """
    if not 0 <= skip_px < search_px or flat_degrees < 0 or not pixel_m > 0:
        raise InputError(
            f"Geomorphons cannot search from {skip_px} to {search_px} px with a threshold of {flat_degrees} degrees.",
            "Give a search radius above the skip radius, a threshold of at least 0 and a pixel above 0 m.",
        )
    height = np.ascontiguousarray(elevation, dtype=np.float64) / pixel_m
    return np.asarray(_landforms(height, search_px, skip_px, np.deg2rad(flat_degrees), LANDFORM_OF_COUNTS))


def topographic_wetness(elevation: Float32Array, *, pixel_m: float, min_slope: float = 1e-3) -> Float32Array:
    """Return the topographic wetness index ln(a / tan b) (Beven and Kirkby 1979).

    a is the upstream area per contour width, including the pixel itself: depressions are filled (pyflwdir, Wang and Liu
    2006), water follows the steepest descent (D8), crosses filled ground towards its spill point and leaves at every
    edge. tan b is the slope of the filled model by central differences. Upstream area outside the array is not counted.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where unknown.
    pixel_m : float
        Side of a pixel in meters.
    min_slope : float
        Minimum of tan b, for flats.

    Returns
    -------
    (y, x) float32
        Logarithm of meters; NaN where the elevation is unknown.
    """
    if not pixel_m > 0 or not min_slope > 0:
        raise InputError(
            f"A wetness index needs a pixel above 0 m and a minimum slope above 0, not {pixel_m} and {min_slope}.",
            "Correct the two numbers.",
        )
    known = np.isfinite(elevation)
    if not known.any():
        return np.full(elevation.shape, np.nan, dtype=np.float32)
    cells, filled = _upstream_cells(elevation, known)
    slope_y, slope_x = (central_difference(filled, axis=axis) for axis in (0, 1))
    # Next to an unknown pixel the slope uses the known neighbors only.
    slope = np.hypot(np.nan_to_num(slope_x), np.nan_to_num(slope_y)) / pixel_m
    area_per_width = np.maximum(cells, 1) * pixel_m
    return np.where(known, np.log(area_per_width / np.maximum(slope, min_slope)), np.nan).astype(np.float32)


def upslope_area(
    elevation: Float32Array, *, pixel_m: float, smoothing_px: float = 1.5, max_km2: float = 1.0
) -> Float32Array:
    """Return the decimal logarithm of the D8 upstream area in square kilometers, including the pixel itself.

    Flow directions are those of `topographic_wetness`, on the elevation smoothed by a Gaussian: the noise of a surface
    model deflects small flow paths. Areas are clipped at `max_km2`: elevation is most informative about where valleys
    begin, and upstream area outside the array is not counted, so that larger areas would depend on where the array
    ends.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where unknown.
    pixel_m : float
        Side of a pixel in meters.
    smoothing_px : float
        Standard deviation of the Gaussian in pixels; 0 for none.
    max_km2 : float
        Areas are clipped at this.

    Returns
    -------
    (y, x) float32
        Logarithm of square kilometers, -4 for a pixel of 10 m alone; NaN where the elevation is unknown.
    """
    pixel_km2 = (pixel_m / 1000) ** 2
    if not pixel_m > 0 or smoothing_px < 0 or not max_km2 > 0:
        raise InputError(
            f"An upslope area needs a pixel and a maximum area above 0 and a smoothing of at least 0, not {pixel_m}, "
            f"{max_km2} and {smoothing_px}.",
            "Correct the three numbers.",
        )
    known = np.isfinite(elevation)
    if not known.any():
        return np.full(elevation.shape, np.nan, dtype=np.float32)
    cells, _ = _upstream_cells(_smoothed(elevation, known, smoothing_px), known)
    area_km2 = np.clip(cells * pixel_km2, pixel_km2, max_km2)
    return np.where(known, np.log10(area_km2), np.nan).astype(np.float32)


def min_max_elevation(
    elevation: Float32Array, *, low_m: float | None = None, high_m: float | None = None
) -> Float32Array:
    """Return the elevation scaled to 0 to 1 between two heights and clipped.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where unknown.
    low_m, high_m : float, optional
        Heights that become 0 and 1; by default the extremes of the array. If they are equal, the result is 0.
    """
    height = np.where(np.isfinite(elevation), elevation, np.float32(np.nan))
    low = np.fmin.reduce(height, axis=None) if low_m is None else np.float32(low_m)
    high = np.fmax.reduce(height, axis=None) if high_m is None else np.float32(high_m)
    if high > low:
        return np.clip((height - low) / (high - low), 0, 1)
    return np.where(np.isnan(height), height, np.float32(0))


def relative_elevation(elevation: Float32Array, *, radius_px: int) -> Float32Array:
    """Return the elevation above a local smooth surface, in meters.

    The surface is the running mean over squares of 2 * radius + 1 pixels, applied `SMOOTHING_PASSES` times, which is
    close to a Gaussian with that radius as standard deviation and uses no pixel farther than `SMOOTHING_PASSES` radii.
    Unknown pixels have no weight, and the array is mirrored at its border.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where unknown.
    radius_px : int
        Radius in pixels, at least 1.
    """
    if radius_px < 1:
        raise InputError(f"A smooth surface needs a radius of at least 1 px, not {radius_px}.", "Increase the radius.")
    known = np.isfinite(elevation)
    if not known.any():
        return np.full(elevation.shape, np.nan, dtype=np.float32)
    # Single precision would cause errors of centimeters in high mountains.
    base = float(np.nanmean(elevation, dtype=np.float64))
    height = np.where(known, elevation - base, 0).astype(np.float64)
    weight = known.astype(np.float64)
    for _ in range(SMOOTHING_PASSES):
        height = ndimage.uniform_filter(height, 2 * radius_px + 1, mode="reflect")
        if not known.all():
            weight = ndimage.uniform_filter(weight, 2 * radius_px + 1, mode="reflect")
    surface = base + height / np.maximum(weight, 1e-12)
    return np.where(known, elevation - surface, np.nan).astype(np.float32)


def central_difference(height: npt.NDArray[Any], *, axis: int) -> Float32Array:
    """Return half the difference of the next and the previous pixel along an axis, one-sided at both ends.

    Parameters
    ----------
    height : (y, x)
        Any unit; NaN spreads to the neighbors.
    axis : int
        0: positive where the next row is higher; 1: where the next column is.
    """
    out: Float32Array = np.empty(height.shape, dtype=np.float32)
    rows, result = (height, out) if axis == 0 else (height.T, out.T)
    if len(rows) < 2:
        result[...] = 0
        return out
    np.subtract(rows[2:], rows[:-2], out=result[1:-1], casting="same_kind")
    result[1:-1] *= np.float32(0.5)
    np.subtract(rows[1], rows[0], out=result[0], casting="same_kind")
    np.subtract(rows[-1], rows[-2], out=result[-1], casting="same_kind")
    return out


def _smoothed(elevation: Float32Array, known: npt.NDArray[np.bool_], sigma_px: float) -> Float32Array:
    """Smooth the known pixels with a Gaussian; the others stay NaN."""
    if sigma_px == 0:
        return elevation
    base = np.float32(np.nanmean(elevation, dtype=np.float64))
    height = ndimage.gaussian_filter(np.where(known, elevation - base, 0), sigma_px, truncate=SMOOTHING_TRUNCATE)
    if not known.all():
        weight = ndimage.gaussian_filter(known.astype(np.float32), sigma_px, truncate=SMOOTHING_TRUNCATE)
        height /= np.maximum(weight, 1e-6)
    return np.where(known, height, np.float32(np.nan))


def _upstream_cells(
    elevation: Float32Array, known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], Float32Array]:
    """Return each pixel's number of upstream pixels (itself included) by D8 on the filled elevation, and the latter."""
    # Takes half a second to load, and few recipes need it.
    import pyflwdir

    with warnings.catch_warnings():
        # pyflwdir multiplies affine transforms in a way that affine deprecates.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        raw = np.where(known, elevation, _NODATA).astype(np.float32)
        filled, to_the_spill = pyflwdir.dem.fill_depressions(raw, nodata=_NODATA, outlets="edge")
        filled = np.where(known, filled, np.nan)
        # Water leaves at the edge instead of running along it.
        edge = known & ~ndimage.binary_erosion(known, np.ones((3, 3)))
        to_the_spill = np.where(edge, np.uint8(0), to_the_spill)
        flow = pyflwdir.from_array(_steepest_descent(filled, level=to_the_spill), ftype="d8")
        return np.asarray(flow.upstream_area(unit="cell"), dtype=np.float64), filled


def _steepest_descent(height: Float32Array, *, level: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return D8 directions to the neighbor with the steepest descent; those of `level` where none is lower."""
    padded = np.pad(height, 1, constant_values=np.nan)
    steepest = np.zeros(height.shape, dtype=np.float32)
    directions = level.copy()
    for code, (step_y, step_x) in _D8.items():
        there = padded[1 + step_y : 1 + step_y + height.shape[0], 1 + step_x : 1 + step_x + height.shape[1]]
        descent = (height - there) / np.float32(np.hypot(step_y, step_x))
        better = descent > steepest
        steepest[better] = descent[better]
        directions[better] = code
    return directions


def _half_chords(radius: int, *, square: bool) -> npt.NDArray[np.int64]:
    """Return the pixels on either side of the middle column in rows 0..radius of a disc or square; none below 0."""
    rows = np.arange(radius + 1)
    if square:
        return np.full(radius + 1, radius, dtype=np.int64)
    return np.floor(np.sqrt(radius**2 - rows**2)).astype(np.int64)


def _half_chords_below(radius: int) -> npt.NDArray[np.int64]:
    """Return the same for the disc of all pixels nearer than `radius`, without its border."""
    rows = np.arange(radius)
    # The largest integer column whose square is below radius^2 - row^2.
    return (np.ceil(np.sqrt(radius**2 - rows**2)) - 1).astype(np.int64)


@njit(cache=True)
def _neighborhood_mean(
    sums: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    height: npt.NDArray[np.float64],
    outer: npt.NDArray[np.int64],
    inner: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the mean within the outer but not the inner chords, from cumulative sums and counts along the rows.

    Where no known pixel is within them, it is the pixel's own height.
    """
    rows, columns = height.shape
    mean = np.empty((rows, columns))
    no_chord = -1
    for row in range(rows):
        max_y = min(len(outer) - 1, row, rows - 1 - row)
        for column in range(columns):
            max_x = min(column, columns - 1 - column)
            total, count = 0.0, 0
            for step in range(max_y + 1):
                wide = min(outer[step], max_x)
                narrow = min(inner[step], max_x) if step < len(inner) else no_chord
                # The rows `step` above and below; the pixel's own row once.
                for side in range(2 if step else 1):
                    y = row - step if side else row + step
                    total += sums[y, column + wide + 1] - sums[y, column - wide]
                    count += counts[y, column + wide + 1] - counts[y, column - wide]
                    if narrow >= 0:
                        total -= sums[y, column + narrow + 1] - sums[y, column - narrow]
                        count -= counts[y, column + narrow + 1] - counts[y, column - narrow]
            mean[row, column] = total / count if count else height[row, column]
    return mean


@njit(cache=True)
def _landforms(
    height: npt.NDArray[np.float64], search: int, skip: int, flat: float, table: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Return the landforms of heights given in pixel sides; `flat` is in radians."""
    rows, columns = height.shape
    out = np.zeros((rows, columns), np.uint8)
    for row in range(rows):
        for column in range(columns):
            here = height[row, column]
            if not np.isfinite(here):
                continue
            higher, lower = 0, 0
            for step_y in range(-1, 2):
                for step_x in range(-1, 2):
                    if step_y == 0 and step_x == 0:
                        continue
                    # The line of sight is in this function because a call in the loop costs 13 %.
                    length = np.sqrt(2.0) if step_y != 0 and step_x != 0 else 1.0
                    steepest, lowest = -np.inf, np.inf
                    step = 1
                    while step * length <= search:
                        y, x = row + step * step_y, column + step * step_x
                        if y < 0 or x < 0 or y >= rows or x >= columns:
                            break
                        there = height[y, x]
                        if step * length > skip and np.isfinite(there):
                            rise = (there - here) / (step * length)
                            steepest, lowest = max(steepest, rise), min(lowest, rise)
                        step += 1
                    if steepest < lowest:
                        # No known pixel in this direction.
                        continue
                    angle = np.arctan(steepest) + np.arctan(lowest)
                    if angle > flat:
                        higher += 1
                    elif angle < -flat:
                        lower += 1
            out[row, column] = table[lower, higher]
    return out
