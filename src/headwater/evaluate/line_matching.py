"""How well lines match true lines: completeness and correctness within a buffer.

Heipke, Mayer, Wiedemann & Jamet (1997), Evaluation of automatic road extraction, IAPRS 32(3-2W3).
"""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from headwater.geo.geodesy import GEOD
from headwater.geo.grid import RasterGrid
from headwater.waterways.backbone.dem import flow

TWO_PIXELS_M = 40.0
"""Two pixels of the 20 m grid."""
_BISECTIONS = 40
_STEPS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class LineScores:
    """Agreement of found lines with true ones."""

    completeness: float
    """Fraction of the true length that has a found line within the distance (recall); NaN without truth."""
    correctness: float
    """Fraction of the found length that has a true line within the distance (precision); NaN if nothing is found."""
    f1: float
    """Harmonic mean of both."""
    quality: float
    """Matched length as a fraction of all that is found or missed; NaN if there is nothing."""
    true_length_m: float
    found_length_m: float


def line_scores(
    found: gpd.GeoSeries,
    truth: gpd.GeoSeries,
    *,
    distance_m: float = TWO_PIXELS_M,
    backbone: gpd.GeoSeries | None = None,
) -> LineScores:
    """Compare two sets of lines.

    Parameters
    ----------
    found, truth : GeoSeries
        Lines with a CRS.
    distance_m : float
        Half width of the buffer, meters.
    backbone : GeoSeries, optional
        Lines near which (within `distance_m`) nothing is scored, in either set.
    """
    crs = local_metric_crs(truth if len(truth) else found)
    found_m, truth_m = found.to_crs(crs).to_numpy(), truth.to_crs(crs).to_numpy()
    if backbone is not None and len(backbone):
        near = _buffer(backbone.to_crs(crs).to_numpy(), distance_m)
        found_off, truth_off = _outside(found_m, near), _outside(truth_m, near)
    else:
        found_off, truth_off = found_m, truth_m
    true_length, found_length = _length(truth_off), _length(found_off)
    # Matches are searched among all lines: a line off the backbone may run along one that is near it.
    true_matched = _length(_inside(truth_off, _buffer(found_m, distance_m)))
    found_matched = _length(_inside(found_off, _buffer(truth_m, distance_m)))
    return scores_of_lengths(true_length, true_matched, found_length, found_matched)


def scores_of_lengths(true_m: float, true_matched_m: float, found_m: float, found_matched_m: float) -> LineScores:
    """Return the scores of lengths in meters: of all true lines, of those matched, and the same of found lines."""
    completeness = true_matched_m / true_m if true_m else np.nan
    correctness = found_matched_m / found_m if found_m else np.nan
    both = completeness + correctness
    f1 = 2 * completeness * correctness / both if both > 0 else (0.0 if both == 0 else np.nan)
    any_m = found_m + true_m - true_matched_m
    quality = found_matched_m / any_m if any_m else np.nan
    return LineScores(float(completeness), float(correctness), float(f1), float(quality), true_m, found_m)


def length_off_backbone_m(lines: gpd.GeoSeries, backbone: gpd.GeoSeries, *, distance_m: float = TWO_PIXELS_M) -> float:
    """Return the length of lines farther than `distance_m` from the backbone, meters."""
    if len(lines) == 0:
        return 0.0
    crs = local_metric_crs(lines)
    return _length(_outside(lines.to_crs(crs).to_numpy(), _buffer(backbone.to_crs(crs).to_numpy(), distance_m)))


def dem_streams(
    elevation: NDArray[np.float32],
    grid: RasterGrid,
    mask: NDArray[np.bool_],
    total_length_m: float,
    *,
    backbone: gpd.GeoSeries | None = None,
    distance_m: float = TWO_PIXELS_M,
) -> gpd.GeoDataFrame:
    """Return the streams that elevation alone gives, of a set total length: the baseline to beat.

    The upstream area at which streams begin is found by bisection.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters.
    grid : RasterGrid
        Its grid, EPSG:4326.
    mask : (y, x) bool
        Cells of the area.
    total_length_m : float
        Length of the streams, off the backbone if one is given.
    backbone : GeoSeries, optional
        Lines near which length does not count.
    distance_m : float
        How near.

    Returns
    -------
    GeoDataFrame
        Columns upstream_area_km2, geometry (one line for each step between two cells), EPSG:4326.
    """
    water = flow(elevation, mask, grid)
    downstream = water.downstream_index
    cells = np.flatnonzero(mask.ravel() & np.isfinite(elevation.ravel()) & (downstream >= 0))
    cells = cells[downstream[cells] != cells]
    if not cells.size:
        return gpd.GeoDataFrame({"upstream_area_km2": []}, geometry=[], crs="EPSG:4326")
    length = _step_lengths_m(cells, downstream[cells], grid)
    if backbone is not None and len(backbone):
        crs = local_metric_crs(backbone)
        near = _buffer(backbone.to_crs(crs).to_numpy(), distance_m)
        shapely.prepare(near)
        to_meters = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
        for first in range(0, cells.size, _STEPS_AT_ONCE):
            part = slice(first, first + _STEPS_AT_ONCE)
            middle = (_centers(cells[part], grid) + _centers(downstream[cells[part]], grid)) / 2
            length[part][shapely.intersects_xy(near, *to_meters.transform(*middle.T))] = 0.0
    steps = water.upstream_area_km2[cells]
    low, high = float(steps.min()), float(steps.max())
    for _ in range(_BISECTIONS):
        # Upstream areas span decades.
        threshold = np.sqrt(low * high)
        if length[steps >= threshold].sum() > total_length_m:
            low = threshold
        else:
            high = threshold
    chosen = steps >= high
    ends = np.stack([_centers(cells[chosen], grid), _centers(downstream[cells[chosen]], grid)], axis=1)
    lines = np.asarray(shapely.linestrings(ends), dtype=object)
    return gpd.GeoDataFrame({"upstream_area_km2": steps[chosen]}, geometry=lines, crs="EPSG:4326")


def local_metric_crs(lines: gpd.GeoSeries) -> CRS:
    """Return an equal-area projection centered on the lines, true to scale there (Lambert azimuthal)."""
    west, south, east, north = lines.to_crs("EPSG:4326").total_bounds
    return CRS.from_proj4(
        f"+proj=laea +lat_0={(south + north) / 2:.6f} +lon_0={(west + east) / 2:.6f} +datum=WGS84 +units=m +no_defs"
    )


def _step_lengths_m(start: NDArray[np.int64], end: NDArray[np.int64], grid: RasterGrid) -> NDArray[np.float64]:
    """Return the geodesic length of steps between neighbors: it depends only on the row and the direction."""
    row, column = np.divmod(start, grid.width)
    down, right = end // grid.width - row, np.abs(end % grid.width - column)
    rows = np.repeat(np.arange(grid.height), 6)
    moves = np.tile(np.array([(d, r) for d in (-1, 0, 1) for r in (0, 1)]), (grid.height, 1))
    north, south = (grid.north - (rows + 0.5 + step) * grid.dy for step in (np.zeros(len(rows)), moves[:, 0]))
    *_, length = GEOD.inv(np.zeros(len(rows)), north, moves[:, 1] * grid.dx, south)
    table: NDArray[np.float64] = np.asarray(length).reshape(grid.height, 3, 2)
    return table[row, down + 1, right]


def _centers(cells: NDArray[np.int64], grid: RasterGrid) -> NDArray[np.float64]:
    rows, columns = np.divmod(cells, grid.width)
    return np.column_stack([grid.west + (columns + 0.5) * grid.dx, grid.north - (rows + 0.5) * grid.dy])


def _buffer(lines: NDArray[np.object_], distance_m: float) -> BaseGeometry:
    return shapely.union_all(shapely.buffer(lines, distance_m, quad_segs=8))


def _inside(lines: NDArray[np.object_], area: BaseGeometry) -> NDArray[np.object_]:
    return np.asarray(shapely.intersection(shapely.union_all(lines), area)).reshape(-1)


def _outside(lines: NDArray[np.object_], area: BaseGeometry) -> NDArray[np.object_]:
    return np.asarray(shapely.difference(shapely.union_all(lines), area)).reshape(-1)


def _length(lines: NDArray[np.object_]) -> float:
    return float(shapely.length(lines).sum())
