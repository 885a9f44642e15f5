"""Many catchments, one by one."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from headwater.geo.grid import RasterGrid, Tile
from headwater.waterways.backbone.tdx import NO_LINK
from headwater.waterways.published.catchment import vectorize_catchment
from headwater.waterways.segments import Segments, segment_table, whole_reach
from headwater.waterways.settings import Settings
from headwater.waterways.windows import catchment_tile, tile_grid


def vectorize_catchments(
    probability: NDArray[np.float32],
    elevation: NDArray[np.float32],
    lattice: RasterGrid,
    tile: Tile,
    *,
    reaches: gpd.GeoDataFrame,
    catchments: gpd.GeoDataFrame,
    settings: Settings,
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
        Rows of the backbone. A reach without catchment stays whole.
    settings : Settings
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
