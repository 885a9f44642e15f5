"""The method of Pierson and Mehrabi (2024): each catchment alone becomes segments of its reach."""

from __future__ import annotations

import math

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from headwater.geo.grid import RasterGrid, Tile
from headwater.waterways.backbone.tdx import NO_LINK
from headwater.waterways.lines.burn import burn_line, burn_polygon, to_pixels
from headwater.waterways.lines.join import split_reach
from headwater.waterways.published.connect import connect_to_reach, cost_bits, drop_foreign
from headwater.waterways.published.trace import TO_REACH, fill_holes, thin, trace
from headwater.waterways.segments import Segments, segment_table, whole_reach
from headwater.waterways.settings import VectorizeSettings
from headwater.waterways.windows import catchment_tile, tile_grid

MIN_COMPONENT_PX = 8
"""Shorter ends are dropped."""


def vectorize_catchments(
    probability: NDArray[np.float32],
    elevation: NDArray[np.float32],
    lattice: RasterGrid,
    tile: Tile,
    *,
    reaches: gpd.GeoDataFrame,
    catchments: gpd.GeoDataFrame,
    settings: VectorizeSettings,
) -> gpd.GeoDataFrame:
    """Turn the water of many catchments into segments.

    Parameters
    ----------
    probability, elevation : (y, x) float32
        Pixels of `tile`; NaN where missing.
    lattice : RasterGrid
        Grid that the tile counts from.
    tile : Tile
        Pixels read: at least `union_tile`. The result is the same for any.
    reaches, catchments : GeoDataFrame
        Rows of the backbone. A reach without catchment stays uncut.
    settings : VectorizeSettings
        Thresholds and limits.

    Returns
    -------
    GeoDataFrame
        SEGMENT_COLUMNS, by link and local index. `downstream_index` is a local index, -1 for the downstream link.
    """
    shapes = dict(zip(catchments["link_id"], catchments.geometry, strict=True))
    results: list[tuple[int, Segments]] = []
    rows = zip(reaches["link_id"], reaches["downstream_link_id"], reaches.geometry, strict=True)
    for link, downstream_link, reach in sorted(rows, key=lambda row: int(row[0])):
        if link not in shapes:
            results.append((int(link), whole_reach(reach)))
            continue
        own = catchment_tile(shapes[link], reach, lattice)
        window = Tile(own.row - tile.row, own.column - tile.column, own.height, own.width).slices
        segments = vectorize_catchment(
            np.ascontiguousarray(probability[window]),
            np.ascontiguousarray(elevation[window]),
            tile_grid(lattice, own),
            catchment=shapes[link],
            reach=reach,
            flows_on=int(downstream_link) != NO_LINK,
            settings=settings,
        )
        results.append((int(link), segments))
    return segment_table(results)


def vectorize_catchment(
    probability: NDArray[np.float32],
    elevation: NDArray[np.float32],
    grid: RasterGrid,
    *,
    catchment: BaseGeometry,
    reach: shapely.LineString,
    flows_on: bool,
    settings: VectorizeSettings,
) -> Segments:
    """Turn the water of one catchment into lines that flow to its reach.

    Parameters
    ----------
    probability : (y, x) float32
        0 to 1, NaN where missing: the catchment's box with its margin.
    elevation : (y, x) float32
        Meters on the same grid, NaN where missing.
    grid : RasterGrid
        Of both arrays.
    catchment : Polygon or MultiPolygon
        All of the catchment.
    reach : LineString
        Drawn downstream.
    flows_on : bool
        Whether the link has a downstream link.
    settings : VectorizeSettings
        Thresholds and limits.
    """
    transform = grid.transform
    vertices = shapely.get_coordinates(reach)
    catchment_cells = burn_polygon(catchment, transform, grid.shape)
    reach_cells = np.zeros(grid.shape, dtype=bool)
    reach_cells.ravel()[burn_line(to_pixels(vertices, transform), grid.shape)] = True
    inside = catchment_cells | reach_cells
    valid = np.isfinite(probability)
    lines = _lines_of_cells(np.where(valid, probability, 0.0), _filled(elevation), inside, reach_cells, settings)
    traces = trace(lines, reach_cells, _filled(elevation), min_component_px=MIN_COMPONENT_PX)

    terminal = np.flatnonzero(traces.downstream == TO_REACH)
    coordinates = [_centers(cells, grid) for cells in traces.cells]
    ends = np.array([coordinates[i][-1] for i in terminal]).reshape(-1, 2)
    # Pixels are square in meters, so the shape of a pixel is the ratio of a degree of longitude to one of latitude.
    split = split_reach(vertices, ends, flows_on=flows_on, aspect=grid.dy / grid.dx)
    for i, point in zip(terminal, split.joins, strict=True):
        coordinates[i] = np.vstack([coordinates[i], point])
    pieces = len(split.pieces)
    into = traces.downstream + pieces
    into[terminal] = split.into
    chain = np.append(np.arange(1, pieces), -1)
    piece_cells = [burn_line(to_pixels(piece, transform), grid.shape) for piece in split.pieces]
    own_cells = [
        cells if below == TO_REACH else cells[:-1] for cells, below in zip(traces.cells, traces.downstream, strict=True)
    ]
    return Segments(
        lines=[shapely.LineString(points) for points in (*split.pieces, *coordinates)],
        from_backbone=np.arange(pieces + len(coordinates)) < pieces,
        downstream_index=np.concatenate([chain, into]).astype(np.int64),
        mean_probability=np.array([_mean(probability, cells) for cells in (*piece_cells, *own_cells)]),
        missing_share=float(1 - valid[catchment_cells].mean()) if catchment_cells.any() else math.nan,
    )


def _lines_of_cells(
    probability: NDArray[np.float32],
    elevation: NDArray[np.float32],
    inside: NDArray[np.bool_],
    reach: NDArray[np.bool_],
    settings: VectorizeSettings,
) -> NDArray[np.bool_]:
    burned = np.where(reach, np.float32(1), probability)
    water = drop_foreign(burned >= settings.threshold, inside, reach, elevation)
    bits = cost_bits(
        burned,
        threshold=settings.threshold,
        floor=settings.floor,
        cost_below_floor=math.inf,
    )
    connected = connect_to_reach(water, reach, inside, bits, elevation, limits=settings.cost_limits)
    return thin(fill_holes(connected, inside, elevation), elevation, reach)


def _filled(elevation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill missing elevation from the nearest cell."""
    missing = ~np.isfinite(elevation)
    if not missing.any():
        return elevation
    if missing.all():
        return np.zeros_like(elevation)
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(elevation[tuple(nearest)])


def _centers(cells: NDArray[np.int64], grid: RasterGrid) -> NDArray[np.float64]:
    """Return longitude and latitude of cells' centers, without those inside a straight stretch."""
    rows, columns = np.divmod(cells, grid.width)
    steps = np.column_stack([np.diff(columns), np.diff(rows)])
    bends = np.ones(len(cells), dtype=bool)
    bends[1:-1] = (steps[1:] != steps[:-1]).any(axis=1)
    centers = np.column_stack(
        [grid.west + (columns[bends] + 0.5) * grid.dx, grid.north - (rows[bends] + 0.5) * grid.dy]
    )
    # A hundredth of a millimeter: the window's origin does not change the last bits.
    return centers.round(10)


def _mean(probability: NDArray[np.float32], cells: NDArray[np.int64]) -> float:
    values = probability.ravel()[cells]
    values = values[np.isfinite(values)]
    return float(values.mean(dtype=np.float64)) if len(values) else math.nan
