"""Segments of all cells become one network: ids, targets, Strahler orders.

Its columns are described in `headwater.waterways.network.columns`.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import CRS
from headwater.waterways.backbone.stream_columns import SOURCE_COAST, SOURCE_FOUND, SOURCE_GIVEN
from headwater.waterways.backbone.tdx import NO_LINK
from headwater.waterways.link_ids import global_link_ids
from headwater.waterways.network.cell_rows import without_border_crossings
from headwater.waterways.orders import forest_orders
from headwater.waterways.segments import MAX_SEGMENTS, segment_table, whole_reach
from headwater.waterways.windows import lattice_numbers

NO_STREAM = -1
END = -2
"""`downstream_index` of a segment that flows out of the network, whatever its reach does."""


def global_stream_ids(link_ids: NDArray[np.int64], local_index: NDArray[np.int64], basin_id: str) -> NDArray[np.int64]:
    """Return (header * 10,000,000 + link_id) * 100,000 + local index, below 2**53.

    Link ids of 10,000,000 and more include their header already and keep it.

    Raises
    ------
    InputError
        A link id is too large for an id that JavaScript can hold.
    """
    links = global_link_ids(link_ids, basin_id)
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
        HYBAS_ID, or the id of an area.

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
    cell = reaches["cell"].to_numpy(object)[rows_of(reaches["link_id"].to_numpy(np.int64), table["link_id"].to_numpy())]
    apart = without_border_crossings(table, lattice_numbers(cell))
    if len(apart) < len(table):
        table = _with_divergences_at_nodes(apart.reset_index(drop=True))
    if not (reaches["source"] == SOURCE_GIVEN).all():
        table = _found_only(table, reaches)
    ids = global_stream_ids(table["link_id"].to_numpy(np.int64), table["local_index"].to_numpy(np.int64), basin_id)
    order = _along_hilbert(table.geometry, ids)
    ids = ids[order]

    def column(name: str, dtype: Any) -> NDArray[Any]:
        return np.asarray(table[name].to_numpy(dtype)[order])

    link, local, of_reach = column("link_id", np.int64), column("local_index", np.int64), column("from_backbone", bool)
    row = rows_of(reaches["link_id"].to_numpy(np.int64), link)
    from_tdx = of_reach & (reaches["source"].to_numpy(object)[row] == SOURCE_GIVEN)
    target = _targets(
        column("downstream_index", np.int64), link, reaches["downstream_link_id"].to_numpy()[row], basin_id
    )
    target_row = rows_of(ids, target)
    tdx_order = np.where(from_tdx, reaches["strahler_order"].to_numpy(np.int32)[row], NO_STREAM).astype(np.int32)
    is_head = of_reach & (local == 0)
    starts_outside = from_tdx & is_head & reaches["upstream_outside"].to_numpy(bool)[row]
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
            "upstream_area_km2": np.where(of_reach, reaches["upstream_area_km2"].to_numpy(np.float64)[row], np.nan),
            "upstream_cut": is_head & reaches["upstream_cut"].to_numpy(bool)[row],
            "without_backbone": reaches["source"].to_numpy(object)[row] == SOURCE_COAST,
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


def _found_only(table: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Leave out what of reaches that are not given no found water flows along, and what of them has no length.

    Kept are all new lines, the reaches on which water is found, and what is downstream of either: so each part of the
    network begins with found water, and flows to an end of a reach.
    """
    link, local = table["link_id"].to_numpy(np.int64), table["local_index"].to_numpy(np.int64)
    row = rows_of(reaches["link_id"].to_numpy(np.int64), link)
    source = reaches["source"].to_numpy(object)[row]
    of_reach = table["from_backbone"].to_numpy(bool) & (source != SOURCE_GIVEN)
    # Ids of this table alone.
    next_link = reaches["downstream_link_id"].to_numpy(np.int64)[row]
    inside = table["downstream_index"].to_numpy(np.int64)
    target = np.where(
        inside >= 0, link * MAX_SEGMENTS + inside, np.where(next_link == NO_LINK, NO_STREAM, next_link * MAX_SEGMENTS)
    )
    target_row = rows_of(link * MAX_SEGMENTS + local, target)
    kept = ~of_reach | (source == SOURCE_FOUND)
    front = np.flatnonzero(kept)
    while len(front):
        front = np.unique(target_row[front])
        front = front[front >= 0]
        front = front[~kept[front]]
        kept[front] = True
    # Reaches of length 0 are where water leaves the area: there the network ends.
    ends = of_reach & (table["length_m"].to_numpy(np.float64) == 0)
    kept &= ~ends
    to_end = (target_row >= 0) & ends[target_row]
    table = table.assign(downstream_index=np.where(to_end, END, inside))[kept].reset_index(drop=True)
    return _with_divergences_at_nodes(table)


def _with_divergences_at_nodes(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a table of which rows were left out: arms that begin at no node any more are no divergences."""
    return table.assign(divergence=table["divergence"].to_numpy(bool) & _starts_at_node(table))


def _starts_at_node(table: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Return whether a line that is no divergence begins or ends where each line begins."""
    lines = np.asarray(table.geometry.to_numpy(), dtype=object)
    first, last = (shapely.get_coordinates(shapely.get_point(lines, at)).reshape(-1, 2) for at in (0, -1))
    others = ~table["divergence"].to_numpy(bool)
    nodes = pd.MultiIndex.from_arrays(list(np.concatenate([first[others], last[others]]).T))
    return np.asarray(pd.MultiIndex.from_arrays(list(first.T)).isin(nodes))


def _targets(
    inside: NDArray[np.int64], link: NDArray[np.int64], next_link: NDArray[np.int64], basin_id: str
) -> NDArray[np.int64]:
    """Return the id each segment flows into: one of its own link, the first of the next one, or none."""
    own = global_stream_ids(link, np.maximum(inside, 0), basin_id)
    next_first = global_stream_ids(np.maximum(next_link, 0), np.zeros_like(link), basin_id)
    return np.where(inside >= 0, own, np.where((next_link == NO_LINK) | (inside == END), NO_STREAM, next_first))


def _along_hilbert(lines: gpd.GeoSeries, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows in the order of a Hilbert curve through the boxes' middles; ids break ties."""
    if len(lines) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.lexsort((ids, lines.hilbert_distance().to_numpy()))
