"""Shapes of the terrain: position, landform, wetness and relative height of every pixel. Arrays only.

All functions take an elevation model (y, x) in metres with NaN where it is unknown, and give NaN there. Lengths are in
pixels. None knows north from south: a turned elevation model gives the turned result, but for the ties of D8 flow.
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
    # Columns: directions in which the terrain is higher, 0 to 8. Together at most 8: 0 cannot occur.
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
"""Landform by the numbers of lower (row) and higher (column) directions (Jasiewicz and Stepinski 2013, figure 4)."""

SMOOTHING_PASSES = 3
SMOOTHING_REACH = 4.0
"""Standard deviations at which a Gaussian ends."""
_NODATA = -9999.0
_D8 = {1: (0, 1), 4: (1, 0), 16: (0, -1), 64: (-1, 0), 2: (1, 1), 8: (1, -1), 32: (-1, -1), 128: (-1, 1)}


def topographic_position(
    elevation: Float32Array, *, radius_px: int, inner_px: int = 0, square: bool = False
) -> Float32Array:
    """Return the elevation above the mean of its neighbourhood (Weiss 2001), in metres.

    The neighbourhood is the disc of pixels whose centres lie at most `radius_px` away, the pixel itself included; with
    `inner_px` the annulus without those nearer than that; with `square` distance is the larger of the two offsets. A
    neighbour counts only where the one opposite lies in the array as well, so that a plane has 0 everywhere. The time
    grows with the radius, not with its square.

    Parameters
    ----------
    elevation : (y, x) float32
        Metres, NaN where unknown.
    radius_px, inner_px : int
        Outer and inner radius in pixels.
    square : bool
        Squares in place of discs.

    Returns
    -------
    (y, x) float32
        Metres; NaN where the elevation is unknown, 0 where it has no neighbours.
    """
    if not 0 <= inner_px <= radius_px or radius_px < 1:
        raise InputError(
            f"A topographic position of radius {radius_px} px without the inner {inner_px} px has no neighbourhood.",
            "Give a radius of at least 1 and an inner radius not above it.",
        )
    known = np.isfinite(elevation)
    # Differences to one height of the place: sums of small numbers are exact enough at any altitude.
    base = float(np.nanmean(elevation, dtype=np.float64)) if known.any() else 0.0
    height = np.where(known, elevation - base, 0).astype(np.float64)
    sums = np.zeros((height.shape[0], height.shape[1] + 1))
    counts = np.zeros(sums.shape, dtype=np.int64)
    np.cumsum(height, axis=1, out=sums[:, 1:])
    np.cumsum(known, axis=1, out=counts[:, 1:])
    outer = _half_chords(radius_px, square=square)
    inner = _half_chords(inner_px - 1, square=square) if square else _half_chords_below(inner_px)
    mean = _neighbourhood_mean(sums, counts, height, outer, inner)
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

    Along each of eight directions the line of sight gives the highest and the lowest angle to the terrain; the
    direction counts as higher (lower) where their sum, the difference of nadir and zenith angle, is above the threshold
    (below minus the threshold). The numbers of higher and lower directions name the landform: the 498 patterns that are
    left of 3 ** 8 after turning and mirroring are told apart no further. doi:10.1016/j.geomorph.2012.11.005

    Parameters
    ----------
    elevation : (y, x) float32
        Metres, NaN where unknown: lines of sight look past unknown pixels and end at the border.
    pixel_m : float
        Side of a pixel in metres.
    search_px : int
        How far lines of sight reach, in pixels; on diagonals so many pixels' sides, not so many steps.
    skip_px : int
        Pixels nearer than that, or as near, are not looked at.
    flat_degrees : float
        Threshold of flatness, degrees.

    Returns
    -------
    (y, x) uint8
        1 to 10; 0 where the elevation is unknown.
    """
    if not 0 <= skip_px < search_px or flat_degrees < 0 or not pixel_m > 0:
        raise InputError(
            f"Geomorphons cannot look from {skip_px} to {search_px} px with a threshold of {flat_degrees} degrees.",
            "Give a search radius above the skip radius, a threshold of at least 0 and a pixel above 0 m.",
        )
    height = np.ascontiguousarray(elevation, dtype=np.float64) / pixel_m
    return np.asarray(_landforms(height, search_px, skip_px, np.deg2rad(flat_degrees), LANDFORM_OF_COUNTS))


def topographic_wetness(elevation: Float32Array, *, pixel_m: float, min_slope: float = 1e-3) -> Float32Array:
    """Return the topographic wetness index ln(a / tan b) (Beven and Kirkby 1979).

    a is the upstream area per width of contour, the pixel itself included: depressions are filled (pyflwdir, Wang and
    Liu 2006), water takes the steepest way down (D8), crosses filled ground towards where it spills and leaves at every
    edge. tan b is the slope of the filled model by central differences. What lies upstream outside the array is not
    counted.

    Parameters
    ----------
    elevation : (y, x) float32
        Metres, NaN where unknown.
    pixel_m : float
        Side of a pixel in metres.
    min_slope : float
        Least tan b, for flats.

    Returns
    -------
    (y, x) float32
        Logarithm of metres; NaN where the elevation is unknown.
    """
    if not pixel_m > 0 or not min_slope > 0:
        raise InputError(
            f"A wetness index needs a pixel above 0 m and a least slope above 0, not {pixel_m} and {min_slope}.",
            "Correct the two numbers.",
        )
    known = np.isfinite(elevation)
    if not known.any():
        return np.full(elevation.shape, np.nan, dtype=np.float32)
    cells, filled = _upstream_cells(elevation, known)
    slope_y, slope_x = (central_difference(filled, axis=axis) for axis in (0, 1))
    # Beside an unknown pixel the slope is what the known neighbours tell.
    slope = np.hypot(np.nan_to_num(slope_x), np.nan_to_num(slope_y)) / pixel_m
    area_per_width = np.maximum(cells, 1) * pixel_m
    return np.where(known, np.log(area_per_width / np.maximum(slope, min_slope)), np.nan).astype(np.float32)


def upslope_area(
    elevation: Float32Array, *, pixel_m: float, smoothing_px: float = 1.5, most_km2: float = 1.0
) -> Float32Array:
    """Return the decimal logarithm of the D8 upstream area in square kilometres, the pixel itself included.

    Flow is found as in `topographic_wetness`, on the elevation smoothed by a Gaussian: the noise of a surface model
    bends small flow paths. Areas stop at `most_km2`: where valleys begin is what the elevation tells best, and what
    lies upstream outside the array is not counted, so that larger areas would depend on where the array ends.

    Parameters
    ----------
    elevation : (y, x) float32
        Metres, NaN where unknown.
    pixel_m : float
        Side of a pixel in metres.
    smoothing_px : float
        Standard deviation of the Gaussian in pixels; 0 for none.
    most_km2 : float
        Largest area told.

    Returns
    -------
    (y, x) float32
        Logarithm of square kilometres, -4 for a pixel of 10 m alone; NaN where the elevation is unknown.
    """
    pixel_km2 = (pixel_m / 1000) ** 2
    if not pixel_m > 0 or smoothing_px < 0 or not most_km2 > 0:
        raise InputError(
            f"An upslope area needs a pixel and a largest area above 0 and a smoothing of at least 0, not {pixel_m}, "
            f"{most_km2} and {smoothing_px}.",
            "Correct the three numbers.",
        )
    known = np.isfinite(elevation)
    if not known.any():
        return np.full(elevation.shape, np.nan, dtype=np.float32)
    cells, _ = _upstream_cells(_smoothed(elevation, known, smoothing_px), known)
    area_km2 = np.clip(cells * pixel_km2, pixel_km2, most_km2)
    return np.where(known, np.log10(area_km2), np.nan).astype(np.float32)


def min_max_elevation(
    elevation: Float32Array, *, low_m: float | None = None, high_m: float | None = None
) -> Float32Array:
    """Return the elevation between two heights as 0 to 1, clipped; by default those of the array, where 0 / 0 is 0.

    Parameters
    ----------
    elevation : (y, x) float32
        Metres, NaN where unknown.
    low_m, high_m : float, optional
        Heights that become 0 and 1.
    """
    height = np.where(np.isfinite(elevation), elevation, np.float32(np.nan))
    low = np.fmin.reduce(height, axis=None) if low_m is None else np.float32(low_m)
    high = np.fmax.reduce(height, axis=None) if high_m is None else np.float32(high_m)
    if high > low:
        return np.clip((height - low) / (high - low), 0, 1)
    return np.where(np.isnan(height), height, np.float32(0))


def relative_elevation(elevation: Float32Array, *, radius_px: int) -> Float32Array:
    """Return the elevation above a local smooth surface, in metres.

    The surface is the running mean over squares of 2 * radius + 1 pixels, taken three times over, which is close to a
    Gaussian of that radius as standard deviation and reads nothing farther off than `SMOOTHING_PASSES` radii. Unknown
    pixels do not weigh, and beyond the border the array is mirrored.

    Parameters
    ----------
    elevation : (y, x) float32
        Metres, NaN where unknown.
    radius_px : int
        Radius in pixels, at least 1.
    """
    if radius_px < 1:
        raise InputError(f"A smooth surface of radius {radius_px} px is none.", "Give a radius of at least 1.")
    known = np.isfinite(elevation)
    if not known.any():
        return np.full(elevation.shape, np.nan, dtype=np.float32)
    # Single precision would leave centimetres in high mountains.
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
        Any unit; NaN spreads to the neighbours.
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
    """Smooth by a Gaussian over the known pixels, the others NaN."""
    if sigma_px == 0:
        return elevation
    base = np.float32(np.nanmean(elevation, dtype=np.float64))
    height = ndimage.gaussian_filter(np.where(known, elevation - base, 0), sigma_px, truncate=SMOOTHING_REACH)
    if not known.all():
        weight = ndimage.gaussian_filter(known.astype(np.float32), sigma_px, truncate=SMOOTHING_REACH)
        height /= np.maximum(weight, 1e-6)
    return np.where(known, height, np.float32(np.nan))


def _upstream_cells(
    elevation: Float32Array, known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], Float32Array]:
    """Pixels upstream of each, itself included, by D8 on the elevation without depressions; and that elevation."""
    # Half a second to load, and few recipes follow the water.
    import pyflwdir

    with warnings.catch_warnings():
        # pyflwdir multiplies affine transforms in a way that affine announces to drop.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        raw = np.where(known, elevation, _NODATA).astype(np.float32)
        filled, to_the_spill = pyflwdir.dem.fill_depressions(raw, nodata=_NODATA, outlets="edge")
        filled = np.where(known, filled, np.nan)
        # At the edge water leaves, it does not run along it.
        edge = known & ~ndimage.binary_erosion(known, np.ones((3, 3)))
        to_the_spill = np.where(edge, np.uint8(0), to_the_spill)
        flow = pyflwdir.from_array(_steepest_descent(filled, level=to_the_spill), ftype="d8")
        return np.asarray(flow.upstream_area(unit="cell"), dtype=np.float64), filled


def _steepest_descent(height: Float32Array, *, level: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """D8 directions to the neighbour with the steepest fall; those of `level` where none lies lower."""
    padded = np.pad(height, 1, constant_values=np.nan)
    steepest = np.zeros(height.shape, dtype=np.float32)
    directions = level.copy()
    for code, (step_y, step_x) in _D8.items():
        there = padded[1 + step_y : 1 + step_y + height.shape[0], 1 + step_x : 1 + step_x + height.shape[1]]
        fall = (height - there) / np.float32(np.hypot(step_y, step_x))
        better = fall > steepest
        steepest[better] = fall[better]
        directions[better] = code
    return directions


def _half_chords(radius: int, *, square: bool) -> npt.NDArray[np.int64]:
    """Pixels left and right of the middle column in each row 0..radius of a disc or square; empty below radius 0."""
    rows = np.arange(radius + 1)
    if square:
        return np.full(radius + 1, radius, dtype=np.int64)
    return np.floor(np.sqrt(radius**2 - rows**2)).astype(np.int64)


def _half_chords_below(radius: int) -> npt.NDArray[np.int64]:
    """The same of the disc of all pixels nearer than `radius`, its border left out."""
    rows = np.arange(radius)
    # The largest whole column whose square is below radius^2 - row^2.
    return (np.ceil(np.sqrt(radius**2 - rows**2)) - 1).astype(np.int64)


@njit(cache=True)
def _neighbourhood_mean(sums: Any, counts: Any, height: Any, outer: Any, inner: Any) -> Any:
    """Mean over the outer without the inner chords, from sums and counts along the rows; the pixel's own if empty."""
    rows, columns = height.shape
    mean = np.empty((rows, columns))
    for row in range(rows):
        reach_y = min(len(outer) - 1, row, rows - 1 - row)
        for column in range(columns):
            reach_x = min(column, columns - 1 - column)
            total, count = 0.0, 0
            for step in range(reach_y + 1):
                wide = min(outer[step], reach_x)
                narrow = min(inner[step], reach_x) if step < len(inner) else -1
                # The two rows so many steps above and below; the pixel's own row once.
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
def _landforms(height: Any, search: int, skip: int, flat: float, table: Any) -> Any:
    """Landforms of heights in pixels' sides."""
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
                        # Nothing was seen.
                        continue
                    angle = np.arctan(steepest) + np.arctan(lowest)
                    if angle > flat:
                        higher += 1
                    elif angle < -flat:
                        lower += 1
            out[row, column] = table[lower, higher]
    return out
