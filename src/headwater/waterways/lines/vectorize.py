"""A window with many catchments: probability, elevation and reaches become segments, all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

from headwater.core.elevations import refuse_no_elevation
from headwater.geo.geodesy import GEOD
from headwater.geo.grid import CRS, RasterGrid
from headwater.waterways.downstream import refuse_wrong_rows
from headwater.waterways.lines.burn import label_polygons
from headwater.waterways.lines.catchment_raster import Labels, burn_labels
from headwater.waterways.lines.components import Components, find_components, reassign_across_divides
from headwater.waterways.lines.connect import VALLEY_RADIUS_PX, cell_costs, connect, max_costs
from headwater.waterways.lines.join import NEXT_LINK, join_lines
from headwater.waterways.lines.thin import fill_holes, thin, wide_water
from headwater.waterways.lines.trace import of_labels, trace
from headwater.waterways.segments import segments_of_columns
from headwater.waterways.settings import VectorizeSettings

MARGIN_PX = VALLEY_RADIUS_PX + 2
"""Cells beyond the own catchments and reaches that the result depends on."""
WATER_COLUMNS = ("link_id", "area_m2", "mean_probability", "geometry")
RINGS = 2
"""Rings of catchments around the own ones that the result depends on."""


@dataclass(frozen=True)
class VectorizedWindow:
    """Segments of some reaches: the pieces of each, and the new lines that flow to it."""

    lines: NDArray[Any]
    """(n,) LineString, EPSG:4326, drawn downstream."""
    label: NDArray[np.int64]
    """(n,) row of the reach each belongs to; sorted."""
    from_backbone: NDArray[np.bool_]
    """(n,) whether it is a piece of the reach; those come first, from the head down."""
    downstream: NDArray[np.int64]
    """(n,) row, among the segments, of the one it flows into; -1 for the first piece of the downstream link."""
    divergence: NDArray[np.bool_]
    """(n,) whether it is the second arm around an island."""
    mean_probability: NDArray[np.float64]
    """(n,) mean of the probability under it; NaN without data."""
    missing_share: NDArray[np.float64]
    """(reaches,) fraction of the catchment's cells without probability; NaN where it has none."""
    water_px: NDArray[np.int64]
    """(reaches,) cells of water in the catchment, its reach left out."""
    dropped_px: NDArray[np.int64]
    """(reaches,) those of them that could not be joined to the reach."""
    wide: NDArray[Any]
    """(m,) Polygon, EPSG:4326: own water wider than three cells, if requested."""
    wide_label: NDArray[np.int64]
    """(m,) row of the reach of each polygon."""
    wide_probability: NDArray[np.float64]
    """(m,) mean probability in each polygon."""


def vectorize_window(
    probability: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    elevation: NDArray[np.float32],
    grid: RasterGrid,
    *,
    reaches: NDArray[Any],
    flows_on: NDArray[np.bool_],
    catchments: NDArray[Any],
    catchment_label: NDArray[np.int64],
    own: NDArray[np.bool_],
    settings: VectorizeSettings,
    lattice: NDArray[np.int64] | None = None,
) -> VectorizedWindow:
    """Turn the water of a window into lines that flow to the reaches of their catchments.

    Parameters
    ----------
    probability : (y, x) uint8
        p * 255; 0 where not valid.
    valid : (y, x) bool
        Where there is a probability.
    elevation : (y, x) float32
        Meters; NaN where unknown.
    grid : RasterGrid
        Of the arrays; `MARGIN_PX` more on each side than the own catchments.
    reaches : (n,) array of LineString
        Drawn downstream, EPSG:4326.
    flows_on : (n,) bool
        Whether a link follows.
    catchments : (m,) array of Polygon or MultiPolygon
        Some reaches have none.
    catchment_label : (m,) int64
        Row of each catchment's reach.
    own : (n,) bool
        Reaches whose segments are wanted. The result is the same in any window that holds their catchments, those that
        touch them, and those that touch these.
    settings : VectorizeSettings
        VectorizeSettings of the method.
    lattice : (n,) int64, optional
        Number of the lattice that each reach's own window is cut from; one for all if not given.

    Raises
    ------
    InputError
        A label is not that of a reach, an elevation cannot be one, or a line is not near the window.
    """
    refuse_wrong_rows(catchment_label, len(reaches), least=0)
    refuse_no_elevation(elevation, "The elevation")
    elevation = _quantized(_filled(elevation))
    smooth = _smoothed(elevation)
    labels = burn_labels(catchments, catchment_label, reaches, grid)
    size = labels.count
    water = probability >= np.uint8(np.ceil(settings.threshold * 255))
    components = find_components(water, smooth, labels)
    # The fraction without data is that of the catchments as given.
    missing_share = _missing_fraction(labels, valid, catchment_label)
    reassign_across_divides(components, smooth, labels, max_rise_m=settings.max_rise_m, lattice=lattice)
    joined = _joined_water(probability, elevation, smooth, labels, components, settings)
    lost = _untouched(joined.ravel(), components.cells, components.start)
    area = np.diff(components.start)
    water_px = np.bincount(components.label, weights=area, minlength=size).astype(np.int64)
    dropped_px = np.bincount(components.label[lost], weights=area[lost], minlength=size).astype(np.int64)
    fill_holes(joined, elevation, labels)
    wide, wide_label, wide_probability = (
        _wide_polygons(joined | (labels.reach_mask & water), labels, own, probability, grid)
        if settings.water_polygons
        else _no_polygons()
    )
    traces = trace(
        thin(joined, elevation, labels, min_end_px=settings.min_component_px),
        smooth,
        labels,
        min_component_px=settings.min_component_px,
        max_rise_m=settings.max_rise_m,
    )
    dropped_px += np.bincount(traces.cut_label, minlength=size)
    lines = join_lines(of_labels(traces, own), reaches, flows_on, own, grid)
    return VectorizedWindow(
        lines=lines.lines,
        label=lines.label,
        from_backbone=lines.from_backbone,
        downstream=lines.downstream,
        divergence=lines.divergence,
        mean_probability=_means(probability.ravel(), valid.ravel(), lines.cells, lines.start),
        missing_share=missing_share,
        water_px=water_px,
        dropped_px=dropped_px,
        wide=wide,
        wide_label=wide_label,
        wide_probability=wide_probability,
    )


def segments_of_window(window: VectorizedWindow, link_ids: NDArray[np.int64]) -> gpd.GeoDataFrame:
    """Return a window's segments as a table with SEGMENT_COLUMNS, `link_ids` being those of its reaches."""
    first = np.searchsorted(window.label, window.label)
    return segments_of_columns(
        window.lines,
        link=link_ids[window.label],
        from_backbone=window.from_backbone,
        downstream_index=np.where(window.downstream >= 0, window.downstream - first, NEXT_LINK),
        divergence=window.divergence,
        mean_probability=window.mean_probability,
        missing_share=window.missing_share[window.label],
        water_px=window.water_px[window.label],
        dropped_px=window.dropped_px[window.label],
    )


def water_of_window(window: VectorizedWindow, link_ids: NDArray[np.int64]) -> gpd.GeoDataFrame:
    """Return a window's wide water as a table with WATER_COLUMNS, `link_ids` being those of its reaches."""
    area = [abs(GEOD.geometry_area_perimeter(shape)[0]) for shape in window.wide]
    return gpd.GeoDataFrame(
        {
            "link_id": link_ids[window.wide_label],
            "area_m2": np.array(area, dtype=np.float64),
            "mean_probability": window.wide_probability,
        },
        geometry=window.wide,
        crs=CRS,
    )


def no_water() -> gpd.GeoDataFrame:
    """Return a table with WATER_COLUMNS and no row."""
    columns = {"link_id": np.zeros(0, np.int64), "area_m2": np.zeros(0), "mean_probability": np.zeros(0)}
    return gpd.GeoDataFrame(columns, geometry=np.zeros(0, dtype=object), crs=CRS)


def _missing_fraction(
    labels: Labels, valid: NDArray[np.bool_], catchment_label: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the fraction of each label's cells that are not valid; NaN for labels without catchment."""
    cells, missing = _counts(labels.catchment.ravel(), valid.ravel(), labels.count)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isin(np.arange(labels.count), catchment_label), missing / cells, np.nan)


def _joined_water(
    probability: NDArray[np.uint8],
    elevation: NDArray[np.float32],
    smooth: NDArray[np.float32],
    labels: Labels,
    components: Components,
    settings: VectorizeSettings,
) -> NDArray[np.bool_]:
    """Join water to the reaches; valleys show in `elevation`, slopes in the `smooth` one."""
    cell_cost = cell_costs(
        probability,
        elevation,
        threshold=settings.threshold,
        floor=settings.floor,
        cost_below_floor=settings.cost_below_floor,
    )
    max_cost = max_costs(
        components,
        per_px=settings.max_cost_per_px,
        max_cost=settings.max_cost,
        min_px=settings.min_component_px,
    )
    return connect(cell_cost, smooth, labels, components, max_cost=max_cost)


def _no_polygons() -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    return np.zeros(0, dtype=object), np.zeros(0, dtype=np.int64), np.zeros(0)


def _wide_polygons(
    water: NDArray[np.bool_],
    labels: Labels,
    own: NDArray[np.bool_],
    probability: NDArray[np.uint8],
    grid: RasterGrid,
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Outline wide water of own catchments, one polygon for each connected part in a catchment."""
    from rasterio.features import shapes

    mine = labels.catchment >= 0
    mine[mine] = own[labels.catchment[mine]]
    wide = wide_water(water, labels) & mine
    if not wide.any():
        return _no_polygons()
    outlined = list(shapes(labels.catchment, mask=wide, transform=grid.transform))
    polygons = np.array([shapely.geometry.shape(outline) for outline, _ in outlined], dtype=object)
    label = np.array([int(value) for _, value in outlined], dtype=np.int64)
    polygon = label_polygons(polygons, np.arange(len(polygons)), grid, -1)
    inside = polygon >= 0
    total = np.bincount(polygon[inside], weights=probability[inside], minlength=len(polygons))
    count = np.bincount(polygon[inside], minlength=len(polygons))
    return polygons, label, total / np.maximum(count, 1) / 255


def _filled(elevation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill missing elevation from the nearest cell."""
    missing = ~np.isfinite(elevation)
    if not missing.any():
        return elevation
    if missing.all():
        return np.zeros_like(elevation)
    # Rarely needed, and slow to import.
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(elevation[tuple(nearest)])


@njit(cache=True)
def _untouched(marked: Any, cells: Any, start: Any) -> Any:
    """Return whether none of the cells of each component is marked."""
    untouched = np.ones(len(start) - 1, np.bool_)
    for component in range(len(start) - 1):
        for k in range(start[component], start[component + 1]):
            if marked[cells[k]]:
                untouched[component] = False
                break
    return untouched


@njit(cache=True)
def _counts(labels: Any, valid: Any, size: int) -> Any:
    """Return the number of cells of each label, and of those that are not valid."""
    cells, missing = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for i in range(len(labels)):
        if labels[i] >= 0:
            cells[labels[i]] += 1
            missing[labels[i]] += not valid[i]
    return cells, missing


@njit(cache=True)
def _quantized(elevation: Any) -> Any:
    """Round to 1/256 m: sums are exact then, and resampling from another corner changes nothing."""
    return np.rint(elevation * np.float32(256)) / np.float32(256)


@njit(cache=True)
def _smoothed(elevation: Any) -> Any:
    """Return means of 3x3 cells; the outermost cells stay as they are."""
    smooth = elevation.copy()
    for row in range(1, elevation.shape[0] - 1):
        above, here, below = elevation[row - 1], elevation[row], elevation[row + 1]
        for column in range(1, elevation.shape[1] - 1):
            total = np.float64(0)
            for k in range(column - 1, column + 2):
                total += above[k] + here[k] + below[k]
            smooth[row, column] = total / 9
    return smooth


def _means(
    probability: NDArray[np.uint8], valid: NDArray[np.bool_], cells: NDArray[np.int64], start: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean probability of runs of cells; NaN where a run has no valid cell."""
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    known = valid[cells]
    number = np.bincount(owner[known], minlength=len(start) - 1)
    total = np.bincount(owner[known], weights=probability[cells[known]], minlength=len(start) - 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / number / 255)
