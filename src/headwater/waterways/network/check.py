"""The checks of a network, each with the count and the ids of its violations.

Works on our own files and on others' with the published columns (docs/explanation/method.md,
"Columns of the published data").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.geo.geodesy import geodesic_length_m
from headwater.waterways.downstream import last_rows, rows_on_cycles
from headwater.waterways.network.build import NO_STREAM, rows_of
from headwater.waterways.network.crossings import meet_in_ends
from headwater.waterways.orders import strahler_orders

MAX_IDS_LISTED = 20
LENGTH_TOLERANCE_M = 0.01
LENGTH_TOLERANCE = 1e-5
"""Fraction of a length: a vertex inserted into a straight line of degrees is not on the geodesic."""

_LINES_AT_ONCE = 50_000
_ENDS_ONLY = "FF*F*****"
"""DE-9IM: neither interior meets the other line, so that two lines share only end points, or nothing."""

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
    is_line: NDArray[np.bool_]
    """Whether the geometry is a line with vertices that are all finite."""
    first: NDArray[np.float64]
    """(n, 2) first vertex; NaN where the geometry is not a line."""
    last: NDArray[np.float64]

    @cached_property
    def length_m(self) -> NDArray[np.float64]:
        """(n,) geodesic lengths, measured here, whatever the table contains."""
        return geodesic_length_m(self.lines)

    @cached_property
    def drawn(self) -> NDArray[np.int64]:
        """Rows that are lines with an extent: checks of geometry between lines apply to them."""
        return np.flatnonzero(self.is_line & (shapely.length(self.lines) > 0))

    def given(self, reaches: gpd.GeoDataFrame | None) -> NDArray[np.bool_]:
        """Whether a segment is drawn as the backbone has it: how such lines cross each other is not ours to repair."""
        if reaches is None or not self.has("from_tdx"):
            return np.zeros(len(self.ids), dtype=bool)
        return np.asarray(self.table["from_tdx"].to_numpy(bool))

    def ids_where(self, broken: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(self.ids[broken], dtype=np.int64)

    def has(self, *columns: str) -> bool:
        return set(columns) <= set(self.table.columns)


def check_network(table: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame | None = None) -> dict[str, Any]:
    """Run every check of a network.

    Parameters
    ----------
    table : GeoDataFrame
        stream_id, target_stream_id, geometry; checked if present: source_stream_ids (lists or text), strahler_order
        (or stream_order), from_tdx, tdx_stream_id, tdx_strahler_order, length_m, mean_probability, divergence,
        topological_order, terminal_stream_id.
    reaches : GeoDataFrame, optional
        The backbone it was built on. How its own lines cross each other is then not checked: they stay as given.

    Returns
    -------
    dict
        `segments`, `length_km`, `backbone_length_km`, `new_length_km` (0 without from_tdx);
        `laws`: by the name of each check {"faults": count of violations, "ids": the first twenty};
        `not_checked`: checks for which a column, or the backbone, is missing; `faults`: the sum of violations.

    Raises
    ------
    InputError
        stream_id, target_stream_id or the geometry is missing.
    """
    network = _as_network(table)
    results: dict[str, dict[str, Any]] = {}
    not_checked: list[str] = []
    for name, check in _CHECKS.items():
        violations = check(network, reaches)
        if violations is None:
            not_checked.append(name)
            continue
        ids = np.unique(violations).tolist()
        results[name] = {"faults": len(violations), "ids": ids[:MAX_IDS_LISTED]}
    length, has_source = network.length_m, network.has("from_tdx")
    own = network.table["from_tdx"].to_numpy(bool) if has_source else np.zeros(len(length), bool)
    return {
        "segments": len(network.ids),
        "length_km": round(float(length.sum()) / 1000, 3),
        "backbone_length_km": round(float(length[own].sum()) / 1000, 3),
        "new_length_km": round(float(length[~own].sum()) / 1000, 3) if has_source else 0.0,
        "faults": int(sum(result["faults"] for result in results.values())),
        "laws": results,
        "not_checked": not_checked,
    }


def strahler_order(table: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame | None = None) -> NDArray[np.int32]:
    """Return the Strahler order of each segment of a network.

    Parameters
    ----------
    table : GeoDataFrame
        stream_id, target_stream_id, geometry; with from_tdx, tdx_stream_id and tdx_strahler_order, links with an
        upstream outside the area start with the order of their backbone.
    reaches : GeoDataFrame, optional
        The backbone, whose upstream_outside then decides which links these are.

    Returns
    -------
    (n,) int32
        0 for segments in a circle or downstream of one.

    Raises
    ------
    InputError
        stream_id, target_stream_id or the geometry is missing.
    """
    network = _as_network(table)
    return strahler_orders(network.target_row, _outside_orders(network, reaches).astype(np.int32))


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
    points, owner = shapely.get_coordinates(lines, return_index=True)
    ends = np.searchsorted(owner, np.flatnonzero(is_line), side="right")
    starts = np.searchsorted(owner, np.flatnonzero(is_line))
    first, last = np.full((len(ids), 2), np.nan), np.full((len(ids), 2), np.nan)
    first[is_line], last[is_line] = points[starts], points[ends - 1]
    is_line[owner[~np.isfinite(points).all(axis=1)]] = False
    return _Network(table, ids, target, rows_of(ids, target), lines, is_line, first, last)


def _unique_ids(network: _Network, _: Any) -> NDArray[np.int64]:
    values, counts = np.unique(network.ids, return_counts=True)
    return np.asarray(values[(counts > 1) | (values < 0) | (values >= 2**53)])


def _target_exists(network: _Network, _: Any) -> NDArray[np.int64]:
    lost = (network.target != NO_STREAM) & (network.target_row < 0)
    return network.ids_where(lost | (network.target == network.ids))


def _sources_mirror_targets(network: _Network, _: Any) -> NDArray[np.int64] | None:
    if not network.has("source_stream_ids"):
        return None
    counts, stated_from = _flat_lists(network.table["source_stream_ids"])
    stated_by = np.repeat(network.ids, counts)
    stated_by, stated_from = stated_by[stated_from != NO_STREAM], stated_from[stated_from != NO_STREAM]
    flows = network.target != NO_STREAM
    # Each stated pair must match one true pair: sorted together, correct pairs are adjacent.
    below = np.concatenate([stated_by, network.target[flows]])
    above = np.concatenate([stated_from, network.ids[flows]])
    true = np.repeat([False, True], [len(stated_by), int(flows.sum())])
    order = np.lexsort((true, above, below))
    below, above, true = below[order], above[order], true[order]
    pair = np.flatnonzero((below[1:] == below[:-1]) & (above[1:] == above[:-1]) & true[1:] & ~true[:-1])
    right = np.zeros(len(below), dtype=bool)
    right[pair] = right[pair + 1] = True
    return np.asarray(below[~right], dtype=np.int64)


def _flat_lists(column: pd.Series[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many ids each row has, and all of them one after the other."""
    if isinstance(column.array, pd.arrays.ArrowExtensionArray) and not pd.api.types.is_string_dtype(column.dtype):
        lists = pa.chunked_array(pa.array(column.array)).combine_chunks()
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return lengths.astype(np.int64), lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    stated = [_id_list(value) for value in column]
    flat = np.concatenate([np.zeros(0, dtype=np.int64), *stated])
    return np.array([len(ids) for ids in stated], dtype=np.int64), flat


def _id_list(value: Any) -> NDArray[np.int64]:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return np.zeros(0, dtype=np.int64)
    if isinstance(value, str):
        # Formats without lists store them as text: "[1, 2]" or "1,2".
        value = [int(part) for part in value.strip("[]() ").replace(",", " ").split()]
    return np.asarray(value, dtype=np.int64)


def _reaches_outlet(network: _Network, _: Any) -> NDArray[np.int64]:
    """Ids from which the path down does not end at an outlet: a cycle, or a target that is missing."""
    last = last_rows(network.target_row)
    return network.ids_where(network.target[last] != NO_STREAM)


def _no_cycle(network: _Network, _: Any) -> NDArray[np.int64]:
    return network.ids_where(rows_on_cycles(network.target_row))


def _exact_joins(network: _Network, _: Any) -> NDArray[np.int64]:
    flows = np.flatnonzero(network.target_row >= 0)
    meets = (network.last[flows] == network.first[network.target_row[flows]]).all(axis=1)
    return network.ids_where(flows[~meets])


def _drawn_downstream(network: _Network, _: Any) -> NDArray[np.int64]:
    """Ids whose first vertex touches the target although the last one does not: drawn in the wrong direction."""
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

    Without the backbone: in TDX-Hydro every link that is not a source has two inflows, so the first segment of a link
    of higher order with fewer than two segments of the backbone flowing in has an upstream outside the area.
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
    continues = np.zeros(count, dtype=bool)
    continues[below[link[source] == link[below]]] = True
    head = from_tdx & ~continues
    if reaches is not None:
        outside = reaches["link_id"].to_numpy()[reaches["upstream_outside"].to_numpy(bool)]
        return np.where(head & np.isin(link, outside), tdx_order, 0)
    return np.where(head & (inflows < 2) & (tdx_order > 1), tdx_order, 0)


def _orders_by_levels(target_row: NDArray[np.int64], at_least: NDArray[np.int64]) -> NDArray[np.int64]:
    """Strahler orders, computed another way than the network's own: level by level, over sorted inflows.

    Segments on a cycle keep 0.
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
    off = np.abs(given - network.length_m)
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
    total = pd.Series(network.length_m[own]).groupby(links).sum()
    given = pd.Series(reaches["length_m"].to_numpy(np.float64), index=reaches["link_id"].to_numpy(np.int64))
    off = (total.reindex(given.index).fillna(0) - given).abs()
    return np.asarray(given.index[off > LENGTH_TOLERANCE_M + LENGTH_TOLERANCE * given], dtype=np.int64)


def _geometry(network: _Network, _: Any) -> NDArray[np.int64]:
    lines = network.lines
    ok = network.is_line
    zero = ok & (network.length_m == 0)
    may_be_zero = network.table["from_tdx"].to_numpy(bool) if network.has("from_tdx") else np.zeros(len(lines), bool)
    return network.ids_where(~ok | (zero & ~may_be_zero) | (ok & ~zero & ~shapely.is_valid(lines)))


def _no_crossing(network: _Network, reaches: gpd.GeoDataFrame | None) -> NDArray[np.int64]:
    """Ids of lines that meet another one elsewhere than where both end.

    A new stream that joins in the middle of a line without cutting it is found too; the head of a divergence is not,
    because other segments end there.
    """
    lines, given = network.lines[network.drawn], network.given(reaches)[network.drawn]
    tree = shapely.STRtree(lines)
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(lines), _LINES_AT_ONCE):
        own, other = tree.query(lines[start : start + _LINES_AT_ONCE])
        own += start
        candidates = (own < other) & ~(given[own] & given[other])
        own, other = own[candidates], other[candidates]
        # The general predicate is slow, and few pairs need it.
        unsure = ~meet_in_ends(lines, own, other)
        own, other = own[unsure], other[unsure]
        meets_elsewhere = ~shapely.relate_pattern(lines[own], lines[other], _ENDS_ONLY)
        found += [own[meets_elsewhere], other[meets_elsewhere]]
    return np.unique(network.ids[network.drawn[np.concatenate(found)]])


def _no_duplicate(network: _Network, reaches: gpd.GeoDataFrame | None) -> NDArray[np.int64]:
    """Ids of lines that are drawn more than once, in one direction or both."""
    rows = network.drawn
    ends = np.concatenate([network.first[rows], network.last[rows]], axis=1)
    backward = (ends[:, 0] > ends[:, 2]) | ((ends[:, 0] == ends[:, 2]) & (ends[:, 1] > ends[:, 3]))
    ends[backward] = ends[backward][:, [2, 3, 0, 1]]
    # Few lines share both ends; only those are compared vertex by vertex.
    rows = rows[pd.DataFrame(ends).duplicated(keep=False).to_numpy()]
    drawn = pd.DataFrame({"line": shapely.to_wkb(shapely.normalize(network.lines[rows]))}, dtype=object)
    drawn["ours"] = ~network.given(reaches)[rows]
    same = drawn.groupby("line")["ours"]
    return network.ids_where(rows[(same.transform("size") > 1).to_numpy() & same.transform("any").to_numpy()])


def _no_self_crossing(network: _Network, reaches: gpd.GeoDataFrame | None) -> NDArray[np.int64]:
    """Ids of lines that meet themselves; one that ends where it begins does."""
    rows = network.drawn[~network.given(reaches)[network.drawn]]
    closed = (network.first[rows] == network.last[rows]).all(axis=1)
    return network.ids_where(rows[closed | ~shapely.is_simple(network.lines[rows])])


def _topological_order(network: _Network, _: Any) -> NDArray[np.int64] | None:
    """Ids of segments that do not come before their target, or have the same order as another."""
    if not network.has("topological_order"):
        return None
    place = network.table["topological_order"].to_numpy(np.int64)
    flows = np.flatnonzero(network.target_row >= 0)
    late = flows[place[flows] >= place[network.target_row[flows]]]
    shared = pd.Series(place).duplicated(keep=False).to_numpy()
    return np.concatenate([network.ids[late], network.ids[shared]])


def _points(xy: NDArray[np.float64]) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([xy[:, 0], xy[:, 1]])


def _terminal(network: _Network, _: Any) -> NDArray[np.int64] | None:
    if not network.has("terminal_stream_id"):
        return None
    terminal = network.table["terminal_stream_id"].to_numpy(np.int64)
    return network.ids_where(terminal != network.ids[last_rows(network.target_row)])


def _divergence(network: _Network, _: Any) -> NDArray[np.int64] | None:
    """Ids of divergences that have inflows, or whose head is where no other segment begins or ends."""
    if not network.has("divergence"):
        return None
    rows = np.flatnonzero(network.table["divergence"].to_numpy(bool))
    others = np.delete(np.arange(len(network.ids)), rows)
    nodes = _points(np.concatenate([network.first[others], network.last[others]]))
    loose = ~_points(network.first[rows]).isin(nodes)
    return network.ids_where(rows[loose | np.isin(rows, network.target_row)])


def _crs(network: _Network, _: Any) -> NDArray[np.int64]:
    crs = network.table.crs
    geographic = crs is not None and (crs.to_epsg() == 4326 or crs.to_authority() == ("OGC", "CRS84"))
    return network.ids[:0] if geographic else network.ids


def _probability(network: _Network, _: Any) -> NDArray[np.int64] | None:
    if not network.has("mean_probability"):
        return None
    value = network.table["mean_probability"].to_numpy(np.float64)
    return network.ids_where(~(np.isnan(value) | ((value >= 0) & (value <= 1))))


_CHECKS: dict[str, Callable[[_Network, gpd.GeoDataFrame | None], NDArray[np.int64] | None]] = {
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
    "no crossing without a node": _no_crossing,
    "no duplicate": _no_duplicate,
    "no self-crossing": _no_self_crossing,
    "topological order goes downstream": _topological_order,
    "terminal is the outlet": _terminal,
    "divergences start at a node": _divergence,
    "coordinates are EPSG:4326": _crs,
    "probability is from 0 to 1": _probability,
}
