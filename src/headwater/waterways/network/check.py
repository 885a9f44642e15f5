"""The checks of a network, each with the count and the ids of its violations.

Works on our own files and on others' with the published columns (docs/explanation/method.md,
"Columns of the published data").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.geo.features import TableKind, extent_of, refuse_no_degrees, some
from headwater.geo.geodesy import GEOD, geodesic_length_m
from headwater.waterways.downstream import last_rows, rows_on_cycles
from headwater.waterways.network.build import NO_STREAM, rows_of
from headwater.waterways.network.check_input import (
    booleans_of,
    id_lists_of,
    ids_of,
    in_degrees,
    integers_of,
    numbers_of,
    single_lines,
)
from headwater.waterways.network.crossings import crossing_pairs
from headwater.waterways.orders import strahler_orders

MAX_IDS_LISTED = 20
LENGTH_TOLERANCE_M = 0.01
LENGTH_TOLERANCE = 1e-5
"""Fraction of a length: a vertex inserted into a straight line of degrees is not on the geodesic."""

"""DE-9IM: neither interior meets the other line, so that two lines share only end points, or nothing."""

_ALIASES = {"stream_order": "strahler_order"}
_REQUIRED = ("stream_id", "target_stream_id")
_BOOLEANS = ("from_tdx", "divergence", "upstream_cut", "without_backbone")
_INTEGERS = ("strahler_order", "tdx_stream_id", "tdx_strahler_order", "topological_order", "terminal_stream_id")
_NUMBERS = ("length_m", "mean_probability", "upstream_area_km2")
_NHDPLUS_NO_ORDER = -9
MAX_DESCRIBED = 5
NETWORK = TableKind(
    "a network",
    "Give a GeoPackage or GeoParquet of lines with the columns stream_id and target_stream_id.",
    "lines",
    (("stream_id",), ("target_stream_id",)),
)
"""A network to be checked."""


@dataclass(frozen=True)
class _Violations:
    """What a check found."""

    ids: NDArray[np.int64]
    describe: Callable[[int], str] | None = None
    """What was found and what was expected, of the violation at a position of `ids`."""
    faults: int | None = None
    """Number of violations, where it is not that of the ids."""

    def as_result(self) -> dict[str, Any]:
        ids, first = np.unique(self.ids, return_index=True)
        result: dict[str, Any] = {
            "faults": len(self.ids) if self.faults is None else self.faults,
            "ids": ids[:MAX_IDS_LISTED].tolist(),
        }
        if len(ids) and self.describe is not None:
            described = [self.describe(int(position)) for position in first[:MAX_DESCRIBED]]
            result["found"] = list(dict.fromkeys(described))
        return result


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
    notes: list[str] = field(default_factory=list)
    """What is not checked, or read by a rule."""

    @cached_property
    def degrees(self) -> NDArray[Any] | None:
        """Lines in EPSG:4326; None where it is not known where they are."""
        crs = self.table.crs
        return self.lines if crs is not None and crs.to_epsg() == 4326 else in_degrees(self.lines, crs)

    @cached_property
    def length_m(self) -> NDArray[np.float64]:
        """(n,) geodesic lengths, measured here, whatever the table contains; NaN where they cannot be measured."""
        if self.degrees is None:
            return np.full(len(self.ids), np.nan)
        return geodesic_length_m(self.degrees)

    @cached_property
    def drawn(self) -> NDArray[np.int64]:
        """Rows that are lines with an extent: checks of geometry between lines apply to them."""
        return np.flatnonzero(self.is_line & (shapely.length(self.lines) > 0))

    @cached_property
    def flows(self) -> NDArray[np.int64]:
        """Rows with a target, where both are lines: an absent line is counted once, as such."""
        flows = np.flatnonzero(self.target_row >= 0)
        return flows[self.is_line[flows] & self.is_line[self.target_row[flows]]]

    @cached_property
    def backwards(self) -> NDArray[np.bool_]:
        """Whether a line is drawn in the wrong direction, by which of its ends its target and its sources touch."""
        score = np.zeros(len(self.ids), dtype=np.int64)
        flows, below = self.flows, self.target_row[self.flows]
        if _same(self.last[flows], self.first[below]).all():
            return score < 0

        def touches(point: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
            return (_same(point, self.first[rows]) | _same(point, self.last[rows])).astype(np.int64)

        np.add.at(score, flows, touches(self.last[flows], below) - touches(self.first[flows], below))
        np.add.at(score, below, touches(self.first[below], flows) - touches(self.last[below], flows))
        return score < 0

    @cached_property
    def head(self) -> NDArray[np.float64]:
        """(n, 2) upper end: the first vertex, or the last of a line that is drawn in the wrong direction."""
        return np.where(self.backwards[:, np.newaxis], self.last, self.first)

    @cached_property
    def tail(self) -> NDArray[np.float64]:
        """(n, 2) lower end."""
        return np.where(self.backwards[:, np.newaxis], self.first, self.last)

    @cached_property
    def on_cycle(self) -> NDArray[np.bool_]:
        """Whether the water of a segment returns to it: that is one cause, whatever follows from it."""
        on_cycle = np.zeros(len(self.ids), dtype=bool)
        on_cycle[rows_on_cycles(self.target_row)] = True
        return on_cycle

    @cached_property
    def apart(self) -> NDArray[np.int64]:
        """Rows of lines that do not end where their target begins, other than those that flow along a cycle."""
        flows = self.flows[~(self.on_cycle[self.flows] & self.on_cycle[self.target_row[self.flows]])]
        return flows[~_same(self.tail[flows], self.head[self.target_row[flows]])]

    @cached_property
    def drawn_target_row(self) -> NDArray[np.int64]:
        """Targets as the lines are drawn, where the stated one is absent or elsewhere and one segment begins there."""
        lost = np.flatnonzero(self.without_target & self.is_line)
        rows = np.concatenate([lost, self.apart])
        if not len(rows):
            return self.target_row
        heads = np.flatnonzero(self.is_line)
        begins = pd.Series(heads, index=_points(self.head[heads]))
        begins = begins[~begins.index.duplicated(keep=False)]
        there = begins.reindex(_points(self.tail[rows])).to_numpy()
        target_row = self.target_row.copy()
        target_row[lost] = NO_STREAM
        target_row[rows[~np.isnan(there)]] = there[~np.isnan(there)].astype(np.int64)
        return target_row

    @cached_property
    def without_target(self) -> NDArray[np.bool_]:
        """Whether the target of a segment is absent, or the segment itself."""
        return np.asarray(((self.target != NO_STREAM) & (self.target_row < 0)) | (self.target == self.ids))

    def given(self, reaches: gpd.GeoDataFrame | None) -> NDArray[np.bool_]:
        """Whether a segment is drawn as the backbone has it: how such lines cross each other is not ours to repair."""
        if reaches is None or not self.has("from_tdx"):
            return np.zeros(len(self.ids), dtype=bool)
        return np.asarray(self.table["from_tdx"].to_numpy(bool))

    def found(self, broken: NDArray[Any], describe: Callable[[int], str]) -> _Violations:
        """Return the violations of rows, or of those where a mask is true; `describe` takes a row."""
        rows = np.flatnonzero(broken) if broken.dtype == bool else broken
        return _Violations(self.ids[rows], lambda position: f"{self.ids[rows[position]]} {describe(rows[position])}")

    def has(self, *columns: str) -> bool:
        return set(columns) <= set(self.table.columns)


def _same(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((points == others).all(axis=1))


def check_network(table: gpd.GeoDataFrame, reaches: gpd.GeoDataFrame | None = None) -> dict[str, Any]:
    """Run every check of a network.

    Each cause is counted once: what only follows from it is not. Lines that flow to an absent target are violations,
    not the segments upstream of them; a line that is drawn upstream is one, not the joins at its ends.

    Parameters
    ----------
    table : GeoDataFrame
        stream_id, target_stream_id, geometry; checked if present: source_stream_ids (lists or text), strahler_order
        (or stream_order), from_tdx, tdx_stream_id, tdx_strahler_order, length_m, mean_probability, divergence,
        topological_order, terminal_stream_id. Any CRS; integers and booleans may be text.
    reaches : GeoDataFrame, optional
        The backbone it was built on. How its own lines cross each other is then not checked: they stay as given.

    Returns
    -------
    dict
        `segments`, `length_km`, `backbone_length_km`, `new_length_km` (0 without from_tdx);
        `laws`: by the name of each check {"faults": count of violations, "ids": the first twenty, "found": sentences on
        the first five, what was found and what was expected, where there are any};
        `not_checked`: checks for which a column, or the backbone, is missing; `faults`: the sum of violations;
        `notes`: sentences on what is not checked or was read by a rule, where there are any.

    Raises
    ------
    InputError
        stream_id, target_stream_id or the geometry is missing, or a column contains what cannot be read.
    """
    network = _as_network(table)
    results: dict[str, dict[str, Any]] = {}
    not_checked: list[str] = []
    for name, check in _CHECKS.items():
        violations = check(network, reaches)
        if violations is None:
            not_checked.append(name)
        else:
            results[name] = violations.as_result()
    length, has_source = np.nan_to_num(network.length_m, posinf=0), network.has("from_tdx")
    own = network.table["from_tdx"].to_numpy(bool) if has_source else np.zeros(len(length), bool)
    return {
        "segments": len(network.ids),
        "length_km": round(float(length.sum()) / 1000, 3),
        "backbone_length_km": round(float(length[own].sum()) / 1000, 3),
        "new_length_km": round(float(length[~own].sum()) / 1000, 3) if has_source else 0.0,
        "faults": int(sum(result["faults"] for result in results.values())),
        "laws": results,
        "not_checked": not_checked,
    } | ({"notes": network.notes} if network.notes else {})


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
    if not isinstance(table, gpd.GeoDataFrame) or table.active_geometry_name is None:
        raise InputError("The network has no geometry.", "Give a table with lines.")
    ids, target = ids_of(table, "stream_id"), ids_of(table, "target_stream_id")
    notes: list[str] = []
    columns: dict[str, NDArray[Any]] = {}
    for name in set(_BOOLEANS) & set(table.columns):
        columns[name] = booleans_of(table, name, ids)
        missing = table[name].isna().to_numpy()
        if missing.any():
            notes.append(f"{missing.sum()} segments without a value in {name} count as false: {some(ids[missing])}.")
    columns |= {name: integers_of(table, name, ids) for name in set(_INTEGERS) & set(table.columns)}
    columns |= {name: numbers_of(table, name, ids) for name in set(_NUMBERS) & set(table.columns)}
    lines, merged = single_lines(np.asarray(table.geometry.to_numpy(), dtype=object))
    if merged:
        notes.append(f"{merged} segments of several parts, which meet end to end, are taken as lines.")
    is_line = (shapely.get_type_id(lines) == 1) & ~shapely.is_empty(lines)
    points, owner = shapely.get_coordinates(lines, return_index=True)
    ends = np.searchsorted(owner, np.flatnonzero(is_line), side="right")
    starts = np.searchsorted(owner, np.flatnonzero(is_line))
    first, last = np.full((len(ids), 2), np.nan), np.full((len(ids), 2), np.nan)
    first[is_line], last[is_line] = points[starts], points[ends - 1]
    is_line[owner[~np.isfinite(points).all(axis=1)]] = False
    return _Network(table.assign(**columns), ids, target, rows_of(ids, target), lines, is_line, first, last, notes)


def _unique_ids(network: _Network, _: Any) -> _Violations:
    values, counts = np.unique(network.ids, return_counts=True)
    wrong = (counts > 1) | (values < 0) | (values >= 2**53)
    values, counts = values[wrong], counts[wrong]

    def describe(position: int) -> str:
        if counts[position] > 1:
            return f"{values[position]} is the id of {counts[position]} segments."
        return f"{values[position]} is not from 0 to 2**53."

    return _Violations(values, describe)


def _target_exists(network: _Network, _: Any) -> _Violations:
    upstream: dict[int, int] = {}

    def describe(row: int) -> str:
        if not upstream:
            upstream.update(zip(*np.unique(last_rows(network.target_row), return_counts=True), strict=True))
        target = network.target[row]
        found = "itself" if target == network.ids[row] else f"{target}, which is not in the table"
        follows = f"; {upstream[row] - 1} segments upstream reach no outlet" if upstream.get(row, 1) > 1 else ""
        return f"flows to {found}; another id of the table, or {NO_STREAM} at an outlet, is expected{follows}."

    return network.found(network.without_target, describe)


def _sources_mirror_targets(network: _Network, _: Any) -> _Violations | None:
    if not network.has("source_stream_ids"):
        return None
    counts, stated_from = id_lists_of(network.table, "source_stream_ids", network.ids)
    stated_by = np.repeat(network.ids, counts)
    # A source whose target is absent is counted there.
    used = (stated_from != NO_STREAM) & ~np.isin(stated_from, network.ids[network.without_target])
    stated_by, stated_from = stated_by[used], stated_from[used]
    flows = (network.target != NO_STREAM) & ~network.without_target
    if network.on_cycle.any():
        around = network.ids[network.on_cycle]
        used = ~(np.isin(stated_by, around) & np.isin(stated_from, around))
        stated_by, stated_from = stated_by[used], stated_from[used]
        flows &= ~(network.on_cycle & np.isin(network.target, around))
    # Each stated pair must match one true pair: sorted together, correct pairs are adjacent.
    below = np.concatenate([stated_by, network.target[flows]])
    above = np.concatenate([stated_from, network.ids[flows]])
    true = np.repeat([False, True], [len(stated_by), int(flows.sum())])
    order = np.lexsort((true, above, below))
    below, above, true = below[order], above[order], true[order]
    pair = np.flatnonzero((below[1:] == below[:-1]) & (above[1:] == above[:-1]) & true[1:] & ~true[:-1])
    right = np.zeros(len(below), dtype=bool)
    right[pair] = right[pair + 1] = True
    wrong = np.asarray(below[~right], dtype=np.int64)

    def describe(position: int) -> str:
        stated = stated_from[stated_by == wrong[position]]
        true_sources = network.ids[network.target == wrong[position]]
        return (
            f"{wrong[position]} names the sources {some(stated) or 'none'}; {some(true_sources) or 'none'} flow to it."
        )

    return _Violations(wrong, describe)


def _reaches_outlet(network: _Network, _: Any) -> _Violations:
    """Ids from which the path down does not end at an outlet, for another cause than an absent target or a cycle.

    Those are violations of their own checks; this one makes sure that there is no third cause.
    """
    last = last_rows(network.target_row)
    return network.found(
        (network.target[last] != NO_STREAM) & ~(network.without_target | network.on_cycle)[last],
        lambda row: f"flows to {network.ids[last[row]]}, which is no outlet.",
    )


def _no_cycle(network: _Network, _: Any) -> _Violations:
    rows = network.on_cycle & (network.target != network.ids)
    return network.found(rows, lambda row: f"is on a cycle: its water flows to {network.target[row]} and returns.")


def _exact_joins(network: _Network, _: Any) -> _Violations:
    """Ids of lines that do not end where their target begins; lines that are drawn upstream are counted elsewhere."""

    def describe(row: int) -> str:
        target = network.target_row[row]
        return f"ends {_distance(network, row, target)} from where {network.ids[target]} begins; it must end there."

    return network.found(network.apart, describe)


def _distance(network: _Network, upper: int, lower: int) -> str:
    """Return the distance between the lower end of a line and the upper end of another, in meters if possible."""
    if network.degrees is None:
        away = float(np.hypot(*(network.tail[upper] - network.head[lower])))
        return f"{away:.3g} units of its coordinates"
    end = shapely.get_point(network.degrees[upper], 0 if network.backwards[upper] else -1)
    start = shapely.get_point(network.degrees[lower], -1 if network.backwards[lower] else 0)
    return f"{GEOD.inv(end.x, end.y, start.x, start.y)[2]:.6g} m"


def _drawn_downstream(network: _Network, _: Any) -> _Violations:
    return network.found(
        network.backwards,
        lambda row: "is drawn upstream: its first vertex, not its last, is where the water leaves it.",
    )


def _strahler(network: _Network, reaches: gpd.GeoDataFrame | None) -> _Violations | None:
    if not network.has("strahler_order"):
        return None
    given = network.table["strahler_order"].to_numpy(np.int64)
    expected = _orders_by_levels(network.target_row, _outside_orders(network, reaches))
    # No order is right on a cycle or downstream of one.
    wrong = (given != expected) & (expected > 0)
    if wrong.any():
        # A wrong target is counted as such, not again in the orders.
        wrong &= given != _orders_by_levels(network.drawn_target_row, _outside_orders(network, reaches))
    if not network.has("from_tdx"):
        wrong = _without_foreign_orders(network, given, expected, wrong)
    return network.found(wrong, lambda row: f"has order {given[row]}; {expected[row]} is expected by its sources.")


def _without_foreign_orders(
    network: _Network, given: NDArray[np.int64], expected: NDArray[np.int64], wrong: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Leave out orders by other rules than ours, and note them: those of NHDPlus where water parts."""
    no_order = wrong & (given == _NHDPLUS_NO_ORDER)
    if no_order.any():
        network.notes.append(
            f"Not checked: {no_order.sum()} segments of order {_NHDPLUS_NO_ORDER}, which in NHDPlus have none, such as "
            f"coastlines: {some(network.ids[no_order])}."
        )
    second = _second_arms(network)
    # Second arms have the order of the stream they leave, and add nothing where they join again.
    without = _orders_by_levels(np.where(second, NO_STREAM, network.target_row), np.zeros_like(given))
    foreign = wrong & ~no_order & (second | (given == without))
    if foreign.any():
        rows = np.flatnonzero(foreign)
        named = some([f"{network.ids[row]} (given {given[row]}, as a source {expected[row]})" for row in rows])
        network.notes.append(
            f"Not checked: the orders of {len(rows)} segments where water parts, such as NHDPlus' minor paths: {named}."
        )
    return np.asarray(wrong & ~no_order & ~foreign)


def _second_arms(network: _Network) -> NDArray[np.bool_]:
    """Whether all water of a segment comes from where another one parts: sources that begin where others end."""
    source = np.ones(len(network.ids), dtype=bool)
    source[network.target_row[network.target_row >= 0]] = False
    heads = np.flatnonzero(source & network.is_line)
    parting = heads[_points(network.head[heads]).isin(_points(network.tail[network.is_line]))]
    main = source.copy()
    main[parting] = False
    # Up- to downstream: what a main stream flows into is one too.
    front = np.flatnonzero(main)
    while len(front):
        front = np.unique(network.target_row[front])
        front = front[front >= 0]
        front = front[~main[front]]
        main[front] = True
    second = ~main
    second[network.on_cycle] = False
    return second


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
    marked = network.table["upstream_cut"].to_numpy(bool) if network.has("upstream_cut") else np.zeros(count, bool)
    return np.where(head & ((inflows < 2) & (tdx_order > 1) | marked), tdx_order, 0)


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


def _lengths(network: _Network, _: Any) -> _Violations | None:
    if not network.has("length_m") or network.degrees is None:
        return None
    given = network.table["length_m"].to_numpy(np.float64)
    off = np.abs(given - network.length_m)
    return network.found(
        network.is_line & ~(off <= LENGTH_TOLERANCE_M + 1e-6 * np.abs(given)),
        lambda row: f"has length_m {given[row]:.2f}; its line is {network.length_m[row]:.2f} m long.",
    )


def _backbone_present(network: _Network, reaches: gpd.GeoDataFrame | None) -> _Violations | None:
    if reaches is None or not network.has("from_tdx", "tdx_stream_id"):
        return None
    own = network.table["tdx_stream_id"][network.table["from_tdx"].to_numpy(bool)].to_numpy(np.int64)
    links = reaches["link_id"].to_numpy(np.int64)
    wrong = np.setxor1d(links, own)
    absent = np.isin(wrong, links)
    return _Violations(
        wrong, lambda at: f"Link {wrong[at]} is not in the {'network' if absent[at] else 'backbone'}, but in the other."
    )


def _backbone_length(network: _Network, reaches: gpd.GeoDataFrame | None) -> _Violations | None:
    if reaches is None or not network.has("from_tdx", "tdx_stream_id"):
        return None
    own = network.table["from_tdx"].to_numpy(bool)
    links = network.table["tdx_stream_id"].to_numpy(np.int64)[own]
    total = pd.Series(network.length_m[own]).groupby(links).sum()
    given = pd.Series(reaches["length_m"].to_numpy(np.float64), index=reaches["link_id"].to_numpy(np.int64))
    total = total.reindex(given.index).fillna(0)
    wrong = given.index[(total - given).abs() > LENGTH_TOLERANCE_M + LENGTH_TOLERANCE * given]

    def describe(position: int) -> str:
        link = wrong[position]
        return f"Link {link} is {total[link]:.2f} m long; {given[link]:.2f} m are expected."

    return _Violations(np.asarray(wrong, dtype=np.int64), describe)


def _geometry(network: _Network, _: Any) -> _Violations:
    lines = network.lines
    ok = network.is_line
    zero = ok & (shapely.length(lines) == 0)
    may_be_zero = network.table["from_tdx"].to_numpy(bool) if network.has("from_tdx") else np.zeros(len(lines), bool)

    def describe(row: int) -> str:
        line = lines[row]
        if line is None or line.is_empty:
            return "has no geometry."
        if line.geom_type != "LineString":
            parts = f" of {len(line.geoms)} parts that are apart or branch" if hasattr(line, "geoms") else ""
            return f"is a {line.geom_type}{parts}; one line is expected."
        return "has length 0." if zero[row] else "has coordinates that are not finite, or is not valid."

    return network.found(~ok | (zero & ~may_be_zero) | (ok & ~zero & ~shapely.is_valid(lines)), describe)


def _no_crossing(network: _Network, reaches: gpd.GeoDataFrame | None) -> _Violations:
    """Ids of lines that meet another one elsewhere than where both end.

    A new stream that joins in the middle of a line without cutting it is found too; the head of a divergence is not,
    because other segments end there.
    """
    lines, given = network.lines[network.drawn], network.given(reaches)[network.drawn]
    # Copies are counted as such.
    pairs = crossing_pairs(lines, lambda own, other: ~(given[own] & given[other]))
    both = np.concatenate([pairs, pairs[::-1]], axis=1)
    rows, at = np.unique(both[0], return_index=True)

    def describe(position: int) -> str:
        own, other = both[:, at[position]]
        x, y = shapely.get_coordinates(shapely.intersection(lines[own], lines[other]))[0]
        ids = network.ids[network.drawn[[own, other]]]
        return f"{ids[0]} meets {ids[1]} at {x:.7g}, {y:.7g}, where not both end."

    return _Violations(network.ids[network.drawn[rows]], describe)


def _no_duplicate(network: _Network, reaches: gpd.GeoDataFrame | None) -> _Violations:
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
    twice = rows[(same.transform("size") > 1).to_numpy() & same.transform("any").to_numpy()]
    return network.found(twice, lambda row: "is drawn as another segment is, vertex by vertex.")


def _no_self_crossing(network: _Network, reaches: gpd.GeoDataFrame | None) -> _Violations:
    """Ids of lines that meet themselves; one that ends where it begins does."""
    rows = network.drawn[~network.given(reaches)[network.drawn]]
    closed = _same(network.first[rows], network.last[rows])
    return network.found(rows[closed | ~shapely.is_simple(network.lines[rows])], lambda row: "meets itself.")


def _topological_order(network: _Network, _: Any) -> _Violations | None:
    """Ids of segments that do not come before their target, or have the same order as another."""
    if not network.has("topological_order"):
        return None
    place = network.table["topological_order"].to_numpy(np.int64)
    flows = np.flatnonzero((network.target_row >= 0) & ~network.on_cycle)
    late = flows[place[flows] >= place[network.target_row[flows]]]
    shared = np.flatnonzero(pd.Series(place).duplicated(keep=False).to_numpy())
    shared = np.setdiff1d(shared, late)
    return network.found(
        np.concatenate([late, shared]),
        lambda row: f"has topological order {place[row]}, not before its target or not its own.",
    )


def _points(xy: NDArray[np.float64]) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([xy[:, 0], xy[:, 1]])


def _terminal(network: _Network, _: Any) -> _Violations | None:
    if not network.has("terminal_stream_id"):
        return None
    terminal = network.table["terminal_stream_id"].to_numpy(np.int64)
    last = last_rows(network.target_row)
    return network.found(
        (terminal != network.ids[last]) & (network.target[last] == NO_STREAM),
        lambda row: f"names the outlet {terminal[row]}; its water leaves by {network.ids[last[row]]}.",
    )


def _divergence(network: _Network, _: Any) -> _Violations | None:
    """Ids of divergences that have inflows, or whose head is where no other segment begins or ends."""
    if not network.has("divergence"):
        return None
    rows = np.flatnonzero(network.table["divergence"].to_numpy(bool))
    others = np.delete(np.arange(len(network.ids)), rows)
    nodes = _points(np.concatenate([network.first[others], network.last[others]]))
    loose = ~_points(network.head[rows]).isin(nodes)
    return network.found(
        rows[loose | np.isin(rows, network.target_row)],
        lambda row: "is a divergence, but has a source or begins where no other segment begins or ends.",
    )


def _upstream_cut(network: _Network, reaches: gpd.GeoDataFrame | None) -> _Violations | None:
    """Ids of segments with a mark that is not at the head of a reach; with the backbone, of reaches without theirs."""
    if not network.has("upstream_cut", "from_tdx", "tdx_stream_id", "upstream_area_km2"):
        return None
    marked = network.table["upstream_cut"].to_numpy(bool)
    from_tdx = network.table["from_tdx"].to_numpy(bool)
    link = np.where(from_tdx, network.table["tdx_stream_id"].to_numpy(np.int64), NO_STREAM)
    flows = np.flatnonzero((network.target_row >= 0) & from_tdx)
    below = network.target_row[flows]
    continues = np.zeros(len(link), dtype=bool)
    continues[below[link[flows] == link[below]]] = True
    off_reach = ~from_tdx & np.isnan(network.table["upstream_area_km2"].to_numpy(np.float64))
    wrong = marked & (continues | off_reach)
    if reaches is not None:
        cut = reaches["link_id"].to_numpy()[reaches["upstream_cut"].to_numpy(bool)]
        wrong |= from_tdx & ~continues & (marked != np.isin(link, cut))
    return network.found(
        wrong, lambda row: f"has upstream_cut {marked[row]}, which only the head of a reach that is cut has."
    )


def _crs(network: _Network, _: Any) -> _Violations | None:
    crs = network.table.crs
    if crs is not None and (crs.to_epsg() == 4326 or crs.to_authority() == ("OGC", "CRS84")):
        try:
            refuse_no_degrees(extent_of(network.lines))
        except ValueError as error:
            found = str(error)
            return _Violations(network.ids, lambda _: f"The table has EPSG:4326, but {found}.", faults=1)
        return _Violations(network.ids[:0])
    if crs is not None and not network.has("from_tdx"):
        # Only our own format, and the published one, promise degrees.
        network.notes.append(f"Coordinates are in {crs.name}; lengths and distances are on WGS84.")
        return None
    found = "no CRS" if crs is None else crs.name
    # One cause, whatever the number of segments.
    return _Violations(network.ids, lambda _: f"The table has {found}; EPSG:4326 is expected.", faults=1)


def _probability(network: _Network, _: Any) -> _Violations | None:
    if not network.has("mean_probability"):
        return None
    value = network.table["mean_probability"].to_numpy(np.float64)
    return network.found(
        ~(np.isnan(value) | ((value >= 0) & (value <= 1))), lambda row: f"has the probability {value[row]:g}."
    )


_CHECKS: dict[str, Callable[[_Network, gpd.GeoDataFrame | None], _Violations | None]] = {
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
    "upstream is cut at heads of reaches": _upstream_cut,
    "coordinates are EPSG:4326": _crs,
    "probability is from 0 to 1": _probability,
}
