"""The segments of many catchments: rows of a cell's `waterways.parquet`."""

from __future__ import annotations

from collections.abc import Iterable

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from headwater.errors import WorkError
from headwater.grid import CRS, RasterGrid, Tile
from headwater.vector.backbone import NO_LINK
from headwater.vector.catchment import Segments, Settings, catchment_bounds, vectorize_catchment, whole_reach
from headwater.vector.geodesy import geodesic_length_m

SEGMENT_COLUMNS = (
    "link_id",
    "local_index",
    "from_backbone",
    "downstream_index",
    "mean_probability",
    "missing_share",
    "intersects_lake",
    "length_m",
    "geometry",
)
MAX_SEGMENTS = 100_000
"""Segments a link can have: local ids have five digits."""


def catchment_tile(catchment: BaseGeometry, reach: BaseGeometry, lattice: RasterGrid) -> Tile:
    """Return the pixels of a lattice that hold a catchment with its reach and margin.

    Parameters
    ----------
    catchment, reach : shapely geometry
        EPSG:4326.
    lattice : RasterGrid
        Grid whose pixels are continued beyond its edges; rows and columns count from its corner, and may be negative.
    """
    west, south, east, north = catchment_bounds(catchment, reach, lattice)
    row = int(np.floor((lattice.north - north) / lattice.dy))
    column = int(np.floor((west - lattice.west) / lattice.dx))
    return Tile(
        row=row,
        column=column,
        height=int(np.ceil((lattice.north - south) / lattice.dy)) - row,
        width=int(np.ceil((east - lattice.west) / lattice.dx)) - column,
    )


def union_tile(reaches: gpd.GeoDataFrame, catchments: gpd.GeoDataFrame, lattice: RasterGrid) -> Tile:
    """Return the pixels of a lattice that hold all catchments; none at all without catchments."""
    lines = dict(zip(reaches["link_id"], reaches.geometry, strict=True))
    parts = [
        catchment_tile(shape, lines[link], lattice)
        for link, shape in zip(catchments["link_id"], catchments.geometry, strict=True)
    ]
    if not parts:
        return Tile(0, 0, 0, 0)
    row, column = min(part.row for part in parts), min(part.column for part in parts)
    return Tile(
        row=row,
        column=column,
        height=max(part.row + part.height for part in parts) - row,
        width=max(part.column + part.width for part in parts) - column,
    )


def tile_grid(lattice: RasterGrid, tile: Tile) -> RasterGrid:
    """Return the grid of some pixels of a lattice."""
    return lattice.crop(row=tile.row, column=tile.column, height=tile.height, width=tile.width)


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


def segment_table(results: Iterable[tuple[int, Segments]]) -> gpd.GeoDataFrame:
    """Return the segments of links as one table with SEGMENT_COLUMNS.

    Raises
    ------
    WorkError
        A link has more segments than ids have digits for.
    """
    results = list(results)
    counts = [len(segments.lines) for _, segments in results]
    for (link, _), count in zip(results, counts, strict=True):
        if count > MAX_SEGMENTS:
            raise WorkError(f"Link {link} has {count} segments.", "Raise min_piece_px, or cut its catchment.")
    lines = np.array([line for _, segments in results for line in segments.lines], dtype=object)
    links = np.repeat(np.array([link for link, _ in results], dtype=np.int64), counts)
    missing = np.repeat(np.array([segments.missing_share for _, segments in results], dtype=np.float64), counts)
    return gpd.GeoDataFrame(
        {
            "link_id": links,
            "local_index": _stacked([np.arange(n) for n in counts], np.int32),
            "from_backbone": _stacked([s.from_backbone for _, s in results], np.bool_),
            "downstream_index": _stacked([s.downstream_index for _, s in results], np.int32),
            "mean_probability": _stacked([s.mean_probability for _, s in results], np.float64),
            "missing_share": missing,
            "intersects_lake": np.zeros(len(links), dtype=bool),
            "length_m": geodesic_length_m(lines),
        },
        geometry=shapely.force_2d(lines),
        crs=CRS,
    )


def _stacked(parts: list[NDArray[np.generic]], dtype: type[np.generic]) -> NDArray[np.generic]:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
