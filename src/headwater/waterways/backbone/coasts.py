"""Land that drains to no reach, such as coasts: where its water leaves, and what drains there, from elevation."""

from __future__ import annotations

from collections.abc import Iterable

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from headwater.core.elevations import refuse_no_elevation
from headwater.core.errors import InputError
from headwater.geo.grid import CRS, Bounds, RasterGrid
from headwater.geo.longitudes import FULL_CIRCLE, shift_longitudes
from headwater.waterways.backbone.dem import flow, polygons_of, sea
from headwater.waterways.backbone.found import spread_and_end
from headwater.waterways.backbone.stream_columns import SOURCE_COAST
from headwater.waterways.backbone.tdx import NO_LINK, Backbone, assemble, cell_of_points
from headwater.waterways.link_ids import LINKS_PER_REGION

FIRST_LINK_ID = 9_000_000
"""Links of coasts are numbered from here on; the links of a region of TDX-Hydro are fewer."""


def coast_links(
    elevation: NDArray[np.float32],
    uncovered: NDArray[np.bool_],
    grid: RasterGrid,
    *,
    min_area_km2: float,
    first_link_id: int = FIRST_LINK_ID,
    cells: Iterable[tuple[str, Bounds]] = (),
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Return a link of length 0 where the water of uncovered land leaves it, and the land that drains there.

    Water flows along the elevation, and leaves at the sea or where the land is covered. Found water of each piece of
    land is traced to its link later; a link that none flows to is in no network.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where missing.
    uncovered : (y, x) bool
        Land or sea in no catchment. Its sea (`headwater.waterways.backbone.dem.sea`) is left out.
    grid : RasterGrid
        Of both, EPSG:4326.
    min_area_km2 : float
        Smaller pieces of land have no link: the strips between the mouths of larger ones.
    first_link_id : int
        The links are numbered from it, in the order of their cells, row by row.
    cells : iterable of (name, bounds)
        Cells of the plan.

    Returns
    -------
    reaches : GeoDataFrame
        REACH_COLUMNS; `source` is SOURCE_COAST.
    catchments : GeoDataFrame
        link_id and geometry. They reach one pixel into covered land, so that no gap is between them and it.

    Raises
    ------
    InputError
        An elevation cannot be one.
    """
    ocean = sea(elevation)
    land = uncovered & np.isfinite(elevation) & ~ocean
    refuse_no_elevation(np.where(land, elevation, np.nan), "The elevation")
    if not land.any():
        return _tables(np.zeros(0, np.int64), np.zeros(0), np.full(land.shape, -1), grid, first_link_id, cells)
    water = flow(elevation, land, grid)
    inside = land.ravel()
    of_cell = np.full(inside.size, -1, dtype=np.int64)
    of_cell, outlets = spread_and_end(water.downstream_index, water.sequence, of_cell, inside, 0)
    area = water.upstream_area_km2[outlets]
    kept = np.flatnonzero(area >= min_area_km2)
    kept = kept[np.argsort(outlets[kept], kind="stable")]
    number = np.full(len(outlets) + 1, -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    label = number[of_cell].reshape(grid.shape)
    # Gaps between catchments would hide from each window what is next to it.
    beyond = ~uncovered & ~ocean
    label = np.where(beyond, ndimage.maximum_filter(label, 3), label)
    return _tables(outlets[kept], area[kept], label, grid, first_link_id, cells)


def _tables(
    outlets: NDArray[np.int64],
    area_km2: NDArray[np.float64],
    label: NDArray[np.int64],
    grid: RasterGrid,
    first_link_id: int,
    cells: Iterable[tuple[str, Bounds]],
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    rows, columns = np.divmod(outlets, grid.width)
    points = np.column_stack([grid.west + (columns + 0.5) * grid.dx, grid.north - (rows + 0.5) * grid.dy]).round(10)
    ids = np.arange(first_link_id, first_link_id + len(outlets))
    # On the map from -180 to 180 degrees, as outlets are; the grid may reach beyond.
    turns = -np.floor((points[:, 0] + 180) / FULL_CIRCLE) if len(points) else np.zeros(0)
    lines = shift_longitudes(np.array([shapely.LineString([p, p]) for p in points], dtype=object), turns)
    reaches = gpd.GeoDataFrame(
        {
            "link_id": ids,
            "downstream_link_id": np.full(len(ids), NO_LINK),
            "strahler_order": np.ones(len(ids), np.int32),
            "upstream_area_km2": area_km2,
            "length_m": np.zeros(len(ids)),
            "has_catchment": np.ones(len(ids), bool),
            "upstream_outside": np.zeros(len(ids), bool),
            "upstream_cut": np.zeros(len(ids), bool),
            "source": np.full(len(ids), SOURCE_COAST, dtype=object),
            "cell": cell_of_points(points.reshape(-1, 2), cells),
        },
        geometry=lines,
        crs=CRS,
    )
    catchments = polygons_of(label, grid)
    row = catchments["link_id"].to_numpy(np.int64) - 1
    moved = shift_longitudes(np.array(catchments.geometry.to_numpy(), dtype=object), turns[row])
    return reaches, gpd.GeoDataFrame({"link_id": row + first_link_id}, geometry=moved, crs=CRS)


def with_links(backbone: Backbone, parts: Iterable[tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]]) -> Backbone:
    """Return a backbone with the links of coasts.

    Raises
    ------
    InputError
        Links of the backbone have the numbers of those of coasts.
    """
    taken = backbone.reaches["link_id"].to_numpy(np.int64)
    if ((taken >= FIRST_LINK_ID) & (taken < LINKS_PER_REGION)).any():
        raise InputError(
            f"The streams have links of {FIRST_LINK_ID:,} and more, which are the ids of coasts.",
            "Renumber the links, or set backbone.coasts to false.",
        )
    links, lands = zip(*parts, strict=True)
    reaches = gpd.GeoDataFrame(pd.concat([backbone.reaches, *links], ignore_index=True), crs=CRS)
    if reaches["link_id"].max() >= LINKS_PER_REGION and taken.max(initial=0) < LINKS_PER_REGION:
        raise InputError(
            f"There are more than {LINKS_PER_REGION - FIRST_LINK_ID:,} coasts.", "Raise backbone.coast_min_area_km2."
        )
    covered = backbone.catchments[["link_id", "geometry"]]
    catchments = gpd.GeoDataFrame(pd.concat([covered, *lands], ignore_index=True), crs=CRS)
    return assemble(reaches, catchments, dict(backbone.notes))
