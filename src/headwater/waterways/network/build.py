"""Segments of all cells become one network: ids, targets, Strahler orders.

Its columns are described in `headwater.waterways.network.columns`.
"""

from __future__ import annotations

import json
import zlib
from functools import lru_cache
from importlib.resources import files
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import CRS
from headwater.waterways.backbone.tdx import NO_LINK
from headwater.waterways.orders import forest_orders
from headwater.waterways.segments import MAX_SEGMENTS, segment_table, whole_reach

LINKS_PER_REGION = 10_000_000
"""A global link id is LINKNO + header * 10,000,000, as GEOGLOWS publishes them."""
NO_STREAM = -1


def region_header(basin_id: str) -> int:
    """Return the number that makes link ids of a basin globally unique.

    The 62 regions of TDX-Hydro have headers 11 to 91 (geoglows/tdxhydro-postprocessing, BSD-3-Clear); any other basin
    gets 100 to 899 from the CRC-32 of its id.
    """
    known = _tdx_headers().get(basin_id)
    return known if known is not None else 100 + zlib.crc32(basin_id.encode()) % 800


def global_stream_ids(link_ids: NDArray[np.int64], local_index: NDArray[np.int64], basin_id: str) -> NDArray[np.int64]:
    """Return (header * 10,000,000 + link_id) * 100,000 + local index, below 2**53.

    Link ids of 10,000,000 and more include their header already and keep it.

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
        SEGMENT_COLUMNS of `headwater.waterways.segments`, of all cells, in any order. Without `divergence` it is False.
    reaches : GeoDataFrame
        The backbone. Reaches that end outside every cell (cell "") need no segments: they stay uncut.
    basin_id : str
        HYBAS_ID.

    Returns
    -------
    GeoDataFrame
        NETWORK_COLUMNS, sorted along a Hilbert curve; the same for the same segments in another order. For new
        streams `tdx_stream_id` and `tdx_strahler_order` are -1 and `upstream_area_km2` is NaN. `upstream_area_km2` of
        a backbone segment is that of its complete reach: it is exact at the reach's downstream end.

    Raises
    ------
    WorkError
        A link of a cell has no segments, or segments are of no link.
    """
    table = _with_whole_reaches(segments, reaches)
    ids = global_stream_ids(table["link_id"].to_numpy(np.int64), table["local_index"].to_numpy(np.int64), basin_id)
    order = _along_hilbert(table.geometry, ids)
    ids = ids[order]

    def column(name: str, dtype: Any) -> NDArray[Any]:
        return np.asarray(table[name].to_numpy(dtype)[order])

    link, local, from_tdx = column("link_id", np.int64), column("local_index", np.int64), column("from_backbone", bool)
    row = rows_of(reaches["link_id"].to_numpy(np.int64), link)
    target = _targets(
        column("downstream_index", np.int64), link, reaches["downstream_link_id"].to_numpy()[row], basin_id
    )
    target_row = rows_of(ids, target)
    tdx_order = np.where(from_tdx, reaches["strahler_order"].to_numpy(np.int32)[row], NO_STREAM).astype(np.int32)
    starts_outside = from_tdx & (local == 0) & reaches["upstream_outside"].to_numpy(bool)[row]
    orders = forest_orders(target_row, np.where(starts_outside, tdx_order, 0).astype(np.int32))
    reaches_outlet = orders.terminal >= 0
    return gpd.GeoDataFrame(
        {
            "stream_id": ids,
            "target_stream_id": target,
            "source_stream_ids": pd.arrays.ArrowExtensionArray(source_lists(ids, target_row)),
            "strahler_order": orders.strahler,
            "from_tdx": from_tdx,
            "tdx_stream_id": np.where(from_tdx, link, NO_STREAM),
            "tdx_strahler_order": tdx_order,
            "basin_id": np.full(len(ids), basin_id, dtype=object),
            "intersects_lake": column("intersects_lake", bool),
            "length_m": column("length_m", np.float64),
            "mean_probability": column("mean_probability", np.float64),
            "divergence": column("divergence", bool),
            "upstream_area_km2": np.where(from_tdx, reaches["upstream_area_km2"].to_numpy(np.float64)[row], np.nan),
            "topological_order": orders.topological,
            "terminal_stream_id": np.where(reaches_outlet, ids[orders.terminal], NO_STREAM),
        },
        geometry=table.geometry.to_numpy()[order],
        crs=CRS,
    )


def rows_of(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of each wanted id in `ids`; -1 where it is not there."""
    if len(ids) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    rows = order[at]
    return np.where(ids[rows] == wanted, rows, -1).astype(np.int64)


def source_lists(ids: NDArray[np.int64], target_row: NDArray[np.int64]) -> pa.ListArray:
    """Return, for each row, the ascending ids of the segments that flow into it: a list array of int64."""
    flows = np.flatnonzero(target_row >= 0)
    order = flows[np.lexsort((ids[flows], target_row[flows]))]
    ends = np.cumsum(np.bincount(target_row[flows], minlength=len(ids)))
    return pa.ListArray.from_arrays(np.concatenate([[0], ends]).astype(np.int32), pa.array(ids[order], pa.int64()))


def _with_whole_reaches(segments: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    unknown = ~segments["link_id"].isin(reaches["link_id"])
    if unknown.any():
        raise WorkError(
            f"Link {segments['link_id'][unknown].iloc[0]} has segments but is not in the backbone.",
            "Run vectorize again with this backbone.",
        )
    absent = reaches[~reaches["link_id"].isin(segments["link_id"])]
    lost = absent[absent["cell"] != ""]
    if len(lost):
        raise WorkError(
            f"{len(lost)} links have no segments, such as {lost['link_id'].iloc[0]} of cell {lost['cell'].iloc[0]}.",
            "Give the segments of every cell of the plan.",
        )
    uncut = segment_table(
        (int(link), whole_reach(line)) for link, line in zip(absent["link_id"], absent.geometry, strict=True)
    )
    parts = [table for table in (segments, uncut) if len(table)]
    table = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=CRS) if parts else uncut
    # Some tables may lack the column: no value means no divergence.
    divergence = table["divergence"].eq(True) if "divergence" in table.columns else False
    return table.assign(divergence=divergence)


def _targets(
    inside: NDArray[np.int64], link: NDArray[np.int64], next_link: NDArray[np.int64], basin_id: str
) -> NDArray[np.int64]:
    """Return the id each segment flows into: one of its own link, the first of the next one, or none."""
    own = global_stream_ids(link, np.maximum(inside, 0), basin_id)
    next_first = global_stream_ids(np.maximum(next_link, 0), np.zeros_like(link), basin_id)
    return np.where(inside >= 0, own, np.where(next_link == NO_LINK, NO_STREAM, next_first))


def _along_hilbert(lines: gpd.GeoSeries, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows in the order of a Hilbert curve through the boxes' middles; ids break ties."""
    if len(lines) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.lexsort((ids, lines.hilbert_distance().to_numpy()))


@lru_cache(maxsize=1)
def _tdx_headers() -> dict[str, int]:
    text = files("headwater").joinpath("data/tdx_header_numbers.json").read_text(encoding="utf-8")
    headers: dict[str, Any] = json.loads(text)
    return {basin: int(header) for basin, header in headers.items()}
