"""Segments of all cells become one network: ids, targets, Strahler orders (design.md, "Network columns")."""

from __future__ import annotations

import json
import zlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from headwater.errors import InputError, WorkError
from headwater.files import atomic_path
from headwater.grid import CRS
from headwater.vector.backbone import NO_LINK
from headwater.vector.segments import MAX_SEGMENTS, SEGMENT_COLUMNS, segment_table, whole_reach
from headwater.vector.strahler import strahler_orders

LINKS_PER_REGION = 10_000_000
"""A global link id is LINKNO + header * 10,000,000, as GEOGLOWS publishes them."""
NO_STREAM = -1
NETWORK_COLUMNS = (
    "stream_id",
    "target_stream_id",
    "source_stream_ids",
    "strahler_order",
    "from_tdx",
    "tdx_stream_id",
    "tdx_strahler_order",
    "basin_id",
    "intersects_lake",
    "length_m",
    "mean_probability",
    "geometry",
)


def region_header(basin_id: str) -> int:
    """Return the number that makes link ids of a basin globally unique.

    The 62 regions of TDX-Hydro have headers 11 to 91 (geoglows/tdxhydro-postprocessing, BSD-3-Clear); any other basin
    gets 100 to 899 from the CRC-32 of its id.
    """
    known = _tdx_headers().get(basin_id)
    return known if known is not None else 100 + zlib.crc32(basin_id.encode()) % 800


def global_stream_ids(link_ids: NDArray[np.int64], local_index: NDArray[np.int64], basin_id: str) -> NDArray[np.int64]:
    """Return (header * 10,000,000 + link_id) * 100,000 + local index, below 2**53.

    Link ids of 10,000,000 and more carry their header already and keep it.

    Raises
    ------
    InputError
        A link id is too large for an id that JavaScript can hold.
    """
    link_ids = np.asarray(link_ids, dtype=np.int64)
    links = np.where(link_ids < LINKS_PER_REGION, region_header(basin_id) * LINKS_PER_REGION + link_ids, link_ids)
    if len(links) and links.max() >= 2**53 // MAX_SEGMENTS:
        raise InputError(f"Link id {links.max()} is too large.", "Number links below 10,000,000.")
    return links * MAX_SEGMENTS + np.asarray(local_index, dtype=np.int64)


def build_network(segments: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame, basin_id: str) -> gpd.GeoDataFrame:
    """Make one network of the segments of all cells.

    Parameters
    ----------
    segments : GeoDataFrame
        SEGMENT_COLUMNS of `headwater.vector.segments`, of all cells.
    reaches : GeoDataFrame
        The backbone. Reaches that end outside every cell (cell "") need no segments: they stay whole.
    basin_id : str
        HYBAS_ID.

    Returns
    -------
    GeoDataFrame
        NETWORK_COLUMNS, sorted along a Hilbert curve. `tdx_stream_id` and `tdx_strahler_order` are -1 for new streams.

    Raises
    ------
    WorkError
        A link of a cell has no segments, or segments are of no link.
    """
    pieces = _with_whole_reaches(segments, reaches)
    order = np.lexsort((pieces["local_index"], pieces["link_id"]))
    pieces = pieces.iloc[order].reset_index(drop=True)
    link, local = pieces["link_id"].to_numpy(np.int64), pieces["local_index"].to_numpy(np.int64)
    ids = global_stream_ids(link, local, basin_id)
    row = reaches.set_index("link_id").loc[link]
    next_link = row["downstream_link_id"].to_numpy(np.int64)
    inside = pieces["downstream_index"].to_numpy(np.int64)
    target = np.where(
        inside >= 0,
        global_stream_ids(link, np.maximum(inside, 0), basin_id),
        np.where(
            next_link == NO_LINK,
            NO_STREAM,
            global_stream_ids(np.maximum(next_link, 0), np.zeros_like(local), basin_id),
        ),
    )
    from_tdx = pieces["from_backbone"].to_numpy(bool)
    tdx_order = np.where(from_tdx, row["strahler_order"].to_numpy(np.int32), NO_STREAM).astype(np.int32)
    starts_outside = from_tdx & (local == 0) & row["upstream_outside"].to_numpy(bool)
    target_row = rows_of(ids, target)
    network = gpd.GeoDataFrame(
        {
            "stream_id": ids,
            "target_stream_id": target,
            "source_stream_ids": source_lists(ids, target_row),
            "strahler_order": strahler_orders(target_row, np.where(starts_outside, tdx_order, 0).astype(np.int32)),
            "from_tdx": from_tdx,
            "tdx_stream_id": np.where(from_tdx, link, NO_STREAM),
            "tdx_strahler_order": tdx_order,
            "basin_id": pd.Series([basin_id] * len(ids), dtype="object"),
            "intersects_lake": pieces["intersects_lake"].to_numpy(bool),
            "length_m": pieces["length_m"].to_numpy(np.float64),
            "mean_probability": pieces["mean_probability"].to_numpy(np.float64),
        },
        geometry=pieces.geometry.to_numpy(),
        crs=CRS,
    )
    return _along_hilbert(network)


def rows_of(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of each wanted id in `ids`; -1 where it is not there."""
    if len(ids) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    rows = order[at]
    return np.where(ids[rows] == wanted, rows, -1).astype(np.int64)


def source_lists(ids: NDArray[np.int64], target_row: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return, for each row, the ascending ids of the segments that flow into it."""
    flows = np.flatnonzero(target_row >= 0)
    order = flows[np.lexsort((ids[flows], target_row[flows]))]
    ends = np.cumsum(np.bincount(target_row[flows], minlength=len(ids)))
    return np.split(ids[order], ends[:-1]) if len(ids) else []


def write_network(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet 1.1 with a bbox column, whole or not at all, with the same bytes for the same table."""
    with atomic_path(path) as temporary:
        network.to_parquet(temporary, compression="zstd", schema_version="1.1.0", write_covering_bbox=True, index=False)


def _with_whole_reaches(segments: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    strange = ~segments["link_id"].isin(reaches["link_id"])
    if strange.any():
        raise WorkError(
            f"Link {segments['link_id'][strange].iloc[0]} has segments but is not in the backbone.",
            "Run vectorize again with this backbone.",
        )
    absent = reaches[~reaches["link_id"].isin(segments["link_id"])]
    forgotten = absent[absent["cell"] != ""]
    if len(forgotten):
        raise WorkError(
            f"{len(forgotten)} links have no segments, such as {forgotten['link_id'].iloc[0]} "
            f"of cell {forgotten['cell'].iloc[0]}.",
            "Give the segments of every cell of the plan.",
        )
    whole = segment_table(
        (int(link), whole_reach(line)) for link, line in zip(absent["link_id"], absent.geometry, strict=True)
    )
    parts = [table[list(SEGMENT_COLUMNS)] for table in (segments, whole) if len(table)]
    return gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=CRS) if parts else whole


def _along_hilbert(network: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    if len(network) == 0:
        return network
    boxes = shapely.bounds(network.geometry.to_numpy())
    middles = gpd.GeoSeries(gpd.points_from_xy(boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)))
    distance = middles.hilbert_distance(total_bounds=network.total_bounds).to_numpy()
    return network.iloc[np.lexsort((network["stream_id"], distance))].reset_index(drop=True)


@lru_cache(maxsize=1)
def _tdx_headers() -> dict[str, int]:
    text = files("headwater").joinpath("data/tdx_header_numbers.json").read_text(encoding="utf-8")
    headers: dict[str, Any] = json.loads(text)
    return {basin: int(header) for basin, header in headers.items()}
