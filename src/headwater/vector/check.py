"""The laws of a network, each counted with the ids that break it.

Works on our own files and on others' with the published columns (method.md, "Columns of the published data").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.vector.geodesy import geodesic_length_m
from headwater.vector.network import NO_STREAM, rows_of

MAX_IDS_LISTED = 20
LENGTH_TOLERANCE_M = 0.01
LENGTH_TOLERANCE = 1e-5
"""Share of a length: a vertex put into a straight line of degrees lies beside the geodesic."""

_ALIASES = {"stream_order": "strahler_order"}
_REQUIRED = ("stream_id", "target_stream_id")


@dataclass(frozen=True)
class _Network:
    """Columns of a network as arrays."""

    table: gpd.GeoDataFrame
    ids: NDArray[np.int64]
    target: NDArray[np.int64]
    target_row: NDArray[np.int64]
    lines: NDArray[Any]
    first: NDArray[np.float64]
    """(n, 2) first vertex; NaN where the geometry is not a line."""
    last: NDArray[np.float64]

    def ids_where(self, broken: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(self.ids[broken], dtype=np.int64)

    def has(self, *columns: str) -> bool:
        return set(columns) <= set(self.table.columns)


def check_network(table: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame | None = None) -> dict[str, Any]:
    """Check every law of a network.

    Parameters
    ----------
    table : GeoDataFrame
        stream_id, target_stream_id, geometry; checked if present: source_stream_ids (lists or text), strahler_order
        (or stream_order), from_tdx, tdx_stream_id, tdx_strahler_order, length_m, mean_probability.
    reaches : GeoDataFrame, optional
        The backbone it was built on.

    Returns
    -------
    dict
        `segments`, `length_km`, `backbone_length_km`; `laws`: by name {"faults": count, "ids": the first twenty};
        `not_checked`: laws for which a column, or the backbone, is missing; `faults`: their sum.

    Raises
    ------
    InputError
        stream_id, target_stream_id or the geometry is missing.
    """
    network = _as_network(table)
    laws: dict[str, dict[str, Any]] = {}
    not_checked: list[str] = []
    for name, law in _LAWS.items():
        broken = law(network, reaches)
        if broken is None:
            not_checked.append(name)
            continue
        ids = np.unique(broken).tolist()
        laws[name] = {"faults": len(broken), "ids": ids[:MAX_IDS_LISTED]}
    length = geodesic_length_m(network.lines)
    own = network.table["from_tdx"].to_numpy(bool) if network.has("from_tdx") else np.zeros(len(length), bool)
    return {
        "segments": len(network.ids),
        "length_km": round(float(length.sum()) / 1000, 3),
        "backbone_length_km": round(float(length[own].sum()) / 1000, 3),
        "faults": int(sum(law["faults"] for law in laws.values())),
        "laws": laws,
        "not_checked": not_checked,
    }


def _as_network(table: gpd.GeoDataFrame) -> _Network:
    table = table.rename(columns={old: new for old, new in _ALIASES.items() if new not in table.columns})
    for column in _REQUIRED:
        if column not in table.columns:
            raise InputError(f"The network has no column {column}.", "Give a table with the published columns.")
        if table[column].isna().any():
            raise InputError(f"Column {column} has rows without a value.", "Give -1 where there is no target.")
    if not isinstance(table, gpd.GeoDataFrame) or table.active_geometry_name is None:
        raise InputError("The network has no geometry.", "Give a table with lines.")
    ids = table["stream_id"].to_numpy(np.int64)
    target = table["target_stream_id"].to_numpy(np.int64)
    lines = np.asarray(table.geometry.to_numpy(), dtype=object)
    is_line = (shapely.get_type_id(lines) == 1) & ~shapely.is_empty(lines)
    first, last = np.full((len(ids), 2), np.nan), np.full((len(ids), 2), np.nan)
    first[is_line] = shapely.get_coordinates(shapely.get_point(lines[is_line], 0)).reshape(-1, 2)
    last[is_line] = shapely.get_coordinates(shapely.get_point(lines[is_line], -1)).reshape(-1, 2)
    return _Network(table, ids, target, rows_of(ids, target), lines, first, last)


def _unique_ids(network: _Network, _: Any) -> NDArray[np.int64]:
    values, counts = np.unique(network.ids, return_counts=True)
    return np.asarray(values[(counts > 1) | (values < 0) | (values >= 2**53)])


def _target_exists(network: _Network, _: Any) -> NDArray[np.int64]:
    lost = (network.target != NO_STREAM) & (network.target_row < 0)
    return network.ids_where(lost | (network.target == network.ids))


def _sources_mirror_targets(network: _Network, _: Any) -> NDArray[np.int64] | None:
    if not network.has("source_stream_ids"):
        return None
    said = [_id_list(value) for value in network.table["source_stream_ids"]]
    said_by = np.repeat(network.ids, [len(ids) for ids in said])
    said_from = np.array([source for ids in said for source in ids], dtype=np.int64)
    flows = network.target != NO_STREAM
    said_pairs = pd.MultiIndex.from_arrays([said_by, said_from])
    true_pairs = pd.MultiIndex.from_arrays([network.target[flows], network.ids[flows]])
    wrong = said_pairs.symmetric_difference(true_pairs)
    return np.concatenate(
        [
            np.asarray(wrong.get_level_values(0), dtype=np.int64),
            np.asarray(said_pairs[said_pairs.duplicated()].get_level_values(0), dtype=np.int64),
        ]
    )


def _id_list(value: Any) -> list[int]:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    if isinstance(value, str):
        # Formats without lists hold them as text: "[1, 2]" or "1,2".
        return [int(part) for part in value.strip("[]() ").replace(",", " ").split() if int(part) != NO_STREAM]
    return [int(part) for part in value if int(part) != NO_STREAM]


def _reaches_outlet(network: _Network, _: Any) -> NDArray[np.int64]:
    """Ids from which the way down does not end at an outlet: a circle, or a target that is missing."""
    count = len(network.ids)
    lost = (network.target != NO_STREAM) & (network.target_row < 0)
    # Pointer doubling: after k rounds `far` is 2**k steps down. Two absorbing rows: outlet reached, way lost.
    step = np.where(network.target_row >= 0, network.target_row, np.where(lost, count + 1, count))
    far = np.append(step, [count, count + 1])
    for _round in range(max(count, 1).bit_length()):
        far = far[far]
    return network.ids_where(far[:-2] != count)


def _no_cycle(network: _Network, _: Any) -> NDArray[np.int64]:
    count = len(network.ids)
    far = np.append(np.where(network.target_row >= 0, network.target_row, count), count)
    for _round in range(max(count, 1).bit_length()):
        far = far[far]
    # Far enough down, what has not left is on a circle.
    return network.ids_where(np.unique(far[:-1][far[:-1] != count]))


def _exact_joins(network: _Network, _: Any) -> NDArray[np.int64]:
    flows = np.flatnonzero(network.target_row >= 0)
    meets = (network.last[flows] == network.first[network.target_row[flows]]).all(axis=1)
    return network.ids_where(flows[~meets])


def _drawn_downstream(network: _Network, _: Any) -> NDArray[np.int64]:
    """Ids whose first vertex touches the target although the last one does not: drawn the wrong way."""
    flows = np.flatnonzero(network.target_row >= 0)
    below = network.target_row[flows]

    def touches(point: NDArray[np.float64]) -> NDArray[np.bool_]:
        at_first = (point[flows] == network.first[below]).all(axis=1)
        return np.asarray(at_first | (point[flows] == network.last[below]).all(axis=1))

    to_end_of_target = (network.last[flows] != network.first[below]).any(axis=1)
    return network.ids_where(flows[touches(network.first) & to_end_of_target])


def _strahler(network: _Network, reaches: gpd.GeoDataFrame | None) -> NDArray[np.int64] | None:
    if not network.has("strahler_order"):
        return None
    given = network.table["strahler_order"].to_numpy(np.int64)
    at_least = _outside_orders(network, reaches)
    return network.ids_where(given != _orders_by_levels(network.target_row, at_least))


def _outside_orders(network: _Network, reaches: gpd.GeoDataFrame | None) -> NDArray[np.int64]:
    """Order that links at the edge of the area start with.

    Without the backbone: in TDX-Hydro every link that is no source has two inflows, so the first segment of a link of
    higher order with fewer than two segments of the backbone flowing in has an upstream outside the area.
    """
    count = len(network.ids)
    if not network.has("from_tdx", "tdx_stream_id", "tdx_strahler_order"):
        return np.zeros(count, dtype=np.int64)
    from_tdx = network.table["from_tdx"].to_numpy(bool)
    link = network.table["tdx_stream_id"].to_numpy(np.int64)
    tdx_order = network.table["tdx_strahler_order"].to_numpy(np.int64)
    source = np.flatnonzero((network.target_row >= 0) & from_tdx)
    below = network.target_row[source]
    inflows = np.bincount(below, minlength=count)
    goes_on = np.zeros(count, dtype=bool)
    goes_on[below[link[source] == link[below]]] = True
    head = from_tdx & ~goes_on
    if reaches is not None:
        outside = reaches["link_id"].to_numpy()[reaches["upstream_outside"].to_numpy(bool)]
        return np.where(head & np.isin(link, outside), tdx_order, 0)
    return np.where(head & (inflows < 2) & (tdx_order > 1), tdx_order, 0)


def _orders_by_levels(target_row: NDArray[np.int64], at_least: NDArray[np.int64]) -> NDArray[np.int64]:
    """Strahler orders, written another way than the network's own: level by level, over sorted inflows.

    Segments in a circle keep 0.
    """
    count = len(target_row)
    orders = np.zeros(count, dtype=np.int64)
    inflow = np.flatnonzero(target_row >= 0)
    inflow = inflow[np.argsort(target_row[inflow], kind="stable")]
    number = np.bincount(target_row[inflow], minlength=count)
    start = np.cumsum(number) - number
    waiting = number.copy()
    level = np.flatnonzero(number == 0)
    orders[level] = np.maximum(1, at_least[level])
    while len(level):
        below = target_row[level][target_row[level] >= 0]
        np.subtract.at(waiting, below, 1)
        level = np.unique(below[waiting[below] == 0])
        if not len(level):
            break
        cut = np.cumsum(number[level]) - number[level]
        # The inflows of all segments of this level, one run after the other.
        runs = np.arange(number[level].sum()) - np.repeat(cut, number[level]) + np.repeat(start[level], number[level])
        into = orders[inflow[runs]]
        highest = np.maximum.reduceat(into, cut)
        ties = np.add.reduceat(into == np.repeat(highest, number[level]), cut, dtype=np.int64)
        orders[level] = np.maximum(highest + (ties >= 2), at_least[level])
    return orders


def _lengths(network: _Network, _: Any) -> NDArray[np.int64] | None:
    if not network.has("length_m"):
        return None
    given = network.table["length_m"].to_numpy(np.float64)
    off = np.abs(given - geodesic_length_m(network.lines))
    return network.ids_where(~(off <= LENGTH_TOLERANCE_M + 1e-6 * np.abs(given)))


def _backbone_present(network: _Network, reaches: gpd.GeoDataFrame | None) -> NDArray[np.int64] | None:
    if reaches is None or not network.has("from_tdx", "tdx_stream_id"):
        return None
    own = network.table["tdx_stream_id"][network.table["from_tdx"].to_numpy(bool)].to_numpy(np.int64)
    return np.setxor1d(reaches["link_id"].to_numpy(np.int64), own)


def _backbone_length(network: _Network, reaches: gpd.GeoDataFrame | None) -> NDArray[np.int64] | None:
    if reaches is None or not network.has("from_tdx", "tdx_stream_id"):
        return None
    own = network.table["from_tdx"].to_numpy(bool)
    links = network.table["tdx_stream_id"].to_numpy(np.int64)[own]
    total = pd.Series(geodesic_length_m(network.lines[own])).groupby(links).sum()
    told = pd.Series(reaches["length_m"].to_numpy(np.float64), index=reaches["link_id"].to_numpy(np.int64))
    off = (total.reindex(told.index).fillna(0) - told).abs()
    return np.asarray(told.index[off > LENGTH_TOLERANCE_M + LENGTH_TOLERANCE * told], dtype=np.int64)


def _geometry(network: _Network, _: Any) -> NDArray[np.int64]:
    lines = network.lines
    is_line = (shapely.get_type_id(lines) == 1) & ~shapely.is_empty(lines)
    points, owner = shapely.get_coordinates(lines, return_index=True)
    endless = np.unique(owner[~np.isfinite(points).all(axis=1)])
    ok = is_line.copy()
    ok[endless] = False
    zero = ok & (geodesic_length_m(lines) == 0)
    may_be_zero = network.table["from_tdx"].to_numpy(bool) if network.has("from_tdx") else np.zeros(len(lines), bool)
    return network.ids_where(~ok | (zero & ~may_be_zero) | (ok & ~zero & ~shapely.is_valid(lines)))


def _crs(network: _Network, _: Any) -> NDArray[np.int64]:
    crs = network.table.crs
    geographic = crs is not None and (crs.to_epsg() == 4326 or crs.to_authority() == ("OGC", "CRS84"))
    return network.ids[:0] if geographic else network.ids


def _probability(network: _Network, _: Any) -> NDArray[np.int64] | None:
    if not network.has("mean_probability"):
        return None
    value = network.table["mean_probability"].to_numpy(np.float64)
    return network.ids_where(~(np.isnan(value) | ((value >= 0) & (value <= 1))))


_LAWS: dict[str, Callable[[_Network, gpd.GeoDataFrame | None], NDArray[np.int64] | None]] = {
    "ids are unique": _unique_ids,
    "target exists": _target_exists,
    "sources mirror targets": _sources_mirror_targets,
    "no cycle": _no_cycle,
    "every segment reaches an outlet": _reaches_outlet,
    "joins are exact": _exact_joins,
    "drawn downstream": _drawn_downstream,
    "strahler order is right": _strahler,
    "lengths are geodesic": _lengths,
    "every backbone link is present": _backbone_present,
    "backbone length is conserved": _backbone_length,
    "geometry is valid": _geometry,
    "coordinates are EPSG:4326": _crs,
    "probability is from 0 to 1": _probability,
}
