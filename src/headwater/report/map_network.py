"""The network as the map page reads it: tiles to draw, an index to find and sum, and blocks of attributes to show."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from headwater.core.files import atomic_path
from headwater.geo.grid import Bounds
from headwater.waterways.network.map_longitudes import cut_rows
from headwater.waterways.network.vector_tiles import write_zooms

LAST_ZOOM = 12
"""Tiles of this zoom are enlarged from there on; a vertex is 1.2 m off at most."""
TILE_SEGMENTS = 12_000
"""Segments of a tile of the last zoom at most, some 300 kB: where more begin in one, streams of the lowest orders are
left out."""
FAR_TILE_SEGMENTS = 4_000
"""Those of a tile of the zooms before: lines of more are one color."""
BLOCK_ROWS = 256
"""Rows of a block of attributes: what a click reads."""
NO_CONFIDENCE = 255
"""Percent of segments without a confidence, in tiles and index."""


def confidence_column(network: pd.DataFrame) -> str:
    """Return the column that the page's slider is about."""
    has_own = "confidence" in network and network["confidence"].notna().any()
    return "confidence" if has_own else "mean_probability"


def sorted_network(network: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a network ordered by stream_id: the number of a row is what tiles, index and attributes share."""
    return network.sort_values("stream_id", ignore_index=True)


def percent(network: pd.DataFrame) -> NDArray[np.uint8]:
    """Return the confidence of each row in whole percent, rounded down; NO_CONFIDENCE where it has none."""
    values = network[confidence_column(network)].to_numpy(np.float64, na_value=np.nan)
    # The smallest step of a float32 below 0.29 is still 29 percent.
    whole = np.floor(np.clip(values, 0, 1) * 100 + 1e-6)
    return np.where(np.isnan(values), NO_CONFIDENCE, np.nan_to_num(whole)).astype(np.uint8)


def downstream_rows(network: pd.DataFrame) -> NDArray[np.int32]:
    """Return the row that each row flows into, -1 at outlets; rows are ordered by stream_id."""
    rows = pd.Index(network["stream_id"]).get_indexer(network["target_stream_id"])
    return np.asarray(rows, np.int32)


def write_network_tiles(network: gpd.GeoDataFrame, path: Path, *, first_zoom: int) -> None:
    """Write the tiles of a sorted network: attributes `row`, `order`, `new` and `percent`.

    Parameters
    ----------
    network : GeoDataFrame
        Result of `sorted_network`, at least one row.
    path : Path
        PMTiles file to write.
    first_zoom : int
        The first zoom with tiles.
    """
    drawn = gpd.GeoDataFrame(
        {
            "row": np.arange(len(network), dtype=np.int32),
            "order": network["strahler_order"].to_numpy(np.int32),
            "new": (~network["from_tdx"].to_numpy(bool)).astype(np.int32),
            "percent": percent(network).astype(np.int32),
        },
        geometry=network.geometry.to_numpy(),
        crs=network.crs,
    )
    drawn = cut_rows(drawn)
    bounds = tuple(drawn.total_bounds.tolist())
    starts = shapely.get_coordinates(shapely.get_point(drawn.geometry.to_numpy(), 0))
    order = drawn["order"].to_numpy()
    zooms = range(min(first_zoom, LAST_ZOOM), LAST_ZOOM + 1)
    most = {zoom: TILE_SEGMENTS if zoom == LAST_ZOOM else FAR_TILE_SEGMENTS for zoom in zooms}
    shown = {zoom: order >= lowest_order(starts, order, zoom, most[zoom]) for zoom in zooms}
    write_zooms(drawn.to_crs(3857), shown, path, bounds=bounds, metadata={"name": "waterways"})


def lowest_order(starts: NDArray[np.float64], order: NDArray[np.int32], zoom: int, most: int = TILE_SEGMENTS) -> int:
    """Return the lowest order that a zoom shows, so that no tile has more segments than `most`; the highest always is.

    Parameters
    ----------
    starts : (n, 2) float64
        Longitude and latitude where segments begin.
    order : (n,) int32
        Strahler orders.
    zoom : int
        Zoom of the tiles.
    most : int
        Segments that begin in a tile.
    """
    side = 2**zoom
    latitudes = np.radians(np.clip(starts[:, 1], -85.05, 85.05))
    column = np.floor((starts[:, 0] + 180) / 360 * side).astype(np.int64)
    row = np.floor((1 - np.arcsinh(np.tan(latitudes)) / np.pi) / 2 * side).astype(np.int64)
    tile = row * side + column
    for lowest in range(int(order.min()), int(order.max())):
        counts = np.unique(tile[order >= lowest], return_counts=True)[1]
        if counts.max() <= most:
            return lowest
    return int(order.max())


def write_index(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write the columns that the page has in memory, one after another, little-endian and gzipped.

    In this order: stream_id int64, row downstream int32, longitude and latitude of the lower end float32, length in
    meters float32, percent uint8, Strahler order uint8, new uint8.
    """
    ends = shapely.get_coordinates(shapely.get_point(network.geometry.to_numpy(), -1))
    columns = [
        network["stream_id"].to_numpy("<i8"),
        downstream_rows(network).astype("<i4"),
        ends[:, 0].astype("<f4"),
        ends[:, 1].astype("<f4"),
        network["length_m"].to_numpy("<f4"),
        percent(network),
        np.clip(network["strahler_order"].to_numpy(), 0, 255).astype(np.uint8),
        (~network["from_tdx"].to_numpy(bool)).astype(np.uint8),
    ]
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(b"".join(column.tobytes() for column in columns), 6, mtime=0))


def write_attributes(network: gpd.GeoDataFrame, path: Path) -> tuple[list[str], list[int]]:
    """Write all columns but the geometry, in blocks of gzipped JSON; return the columns and where blocks begin and end.

    Ids are texts: the numbers of a browser are exact up to 2^53 only.
    """
    names = [name for name in network.columns if name not in (network.geometry.name, "bbox")]
    starts = [0]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for first in range(0, len(network), BLOCK_ROWS):
            part = network.iloc[first : first + BLOCK_ROWS]
            values = zip(*(_plain(part[name]) for name in names), strict=True)
            block = gzip.compress(json.dumps(list(values), separators=(",", ":")).encode(), 6, mtime=0)
            file.write(block)
            starts.append(starts[-1] + len(block))
    return names, starts


def _plain(column: pd.Series) -> Iterator[Any]:
    """Yield the values of a column as JSON has them."""
    is_id = column.name == "source_stream_ids" or str(column.name).endswith("_id")
    for value in column.tolist():
        if isinstance(value, (list, tuple, np.ndarray)):
            yield [str(each) if is_id else each for each in value]
        elif value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
            yield None
        elif is_id:
            yield str(value)
        else:
            yield value


def first_zoom(bounds: Bounds) -> int:
    """Return the first zoom of the page: a box fills an eighth of a tile or two, and a small screen shows it."""
    west, south, east, north = bounds
    # A degree of latitude is longer on the map than one of longitude.
    stretched = (north - south) / max(math.cos(math.radians((north + south) / 2)), 0.05)
    return max(math.floor(math.log2(360 / max(east - west, stretched, 1e-6))) - 3, 0)
