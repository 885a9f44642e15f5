"""Where new lines meet the reach: exact joins, and the reach split at them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

from headwater.geo.geodesy import METERS_PER_DEGREE
from headwater.geo.grid import RasterGrid
from headwater.waterways.lines.burn import cells_of_vertices
from headwater.waterways.lines.trace import TO_REACH, Traces

SAME_PLACE_DEGREES = 0.001 / METERS_PER_DEGREE
"""Joins nearer than a millimeter have one point."""
NEXT_LINK = -1
"""Piece that stands for the first piece of the downstream link."""


@dataclass(frozen=True)
class SplitReach:
    """A reach cut at the joins of new lines."""

    pieces: list[NDArray[np.float64]]
    """(n, 2) vertices of each piece, from the head to the tail; neighbors share a vertex exactly."""
    joins: NDArray[np.float64]
    """(m, 2) point at which each new line ends: the first vertex of the piece it flows into."""
    into: NDArray[np.int64]
    """Piece each new line flows into; NEXT_LINK for the head of the downstream link."""


@dataclass(frozen=True)
class JoinedLines:
    """Pieces of reaches and the new lines that flow to them, by reach."""

    lines: NDArray[Any]
    """(n,) LineString, drawn downstream."""
    label: NDArray[np.int64]
    """(n,) row of the reach."""
    from_backbone: NDArray[np.bool_]
    """(n,) whether it is a piece of the reach."""
    downstream: NDArray[np.int64]
    """(n,) row of the line it flows into; NEXT_LINK for the first piece of the downstream link."""
    divergence: NDArray[np.bool_]
    """(n,) whether it is a second arm around an island."""
    cells: NDArray[np.int64]
    """Cells under the lines, line after line; of new lines without the one they end on."""
    start: NDArray[np.int64]
    """(n + 1,) where each line's cells begin."""


def join_lines(
    traces: Traces, reaches: NDArray[Any], flows_on: NDArray[np.bool_], own: NDArray[np.bool_], grid: RasterGrid
) -> JoinedLines:
    """Turn runs of cells into lines, join those that end next to their reach to it, and cut the reaches there.

    Parameters
    ----------
    traces : Traces
        Of the own catchments.
    reaches : (n,) array of LineString
        Drawn downstream, EPSG:4326.
    flows_on : (n,) bool
        Whether a link follows.
    own : (n,) bool
        Reaches wanted.
    grid : RasterGrid
        Of the traces' cells.
    """
    # Pixels are square in meters, so the shape of a pixel is the ratio of a degree of longitude to one of latitude.
    aspect = grid.dy / grid.dx
    traces = _reverse_uphill_arms(traces, reaches, grid, aspect)
    points, vertex = _centers(traces.cells, traces.start, grid)
    by_label = np.argsort(traces.label, kind="stable")
    of_label = np.searchsorted(traces.label[by_label], np.arange(len(reaches) + 1))
    trace_row = np.full(len(traces.label), -1, dtype=np.int64)
    parts: list[_ReachLines] = []
    first = 0
    for reach in np.flatnonzero(own):
        rows = by_label[of_label[reach] : of_label[reach + 1]]
        split = _split_at_traces(
            shapely.get_coordinates(reaches[reach]),
            rows,
            traces,
            points,
            vertex,
            flows_on=bool(flows_on[reach]),
            aspect=aspect,
        )
        trace_row[rows] = first + len(split.pieces) + np.arange(len(rows))
        parts.append(_lines_of_reach(first, split, rows, traces, points, vertex, trace_row))
        first += len(parts[-1].lines)
    lines = [line for part in parts for line in part.lines]
    # The trace of each line; -1 for pieces of reaches.
    row_of = np.concatenate([np.zeros(0, np.int64), *(part.trace for part in parts)])
    label = np.repeat(np.flatnonzero(own), [len(part.lines) for part in parts])
    downstream = np.concatenate([np.zeros(0, np.int64), *(part.downstream for part in parts)])
    backbone = row_of < 0
    line_vertex = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int64)
    coordinates = np.concatenate(lines) if lines else np.zeros((0, 2))
    cells, start = _cells_under(coordinates, line_vertex, backbone, row_of, traces, grid)
    return JoinedLines(
        lines=_linestrings(coordinates, line_vertex),
        label=label,
        from_backbone=backbone,
        downstream=downstream,
        divergence=np.where(backbone, False, traces.divergence[row_of])
        if len(traces.label)
        else np.zeros(len(lines), bool),
        cells=cells,
        start=start,
    )


@dataclass(frozen=True)
class _ReachLines:
    """The pieces of a reach and then its new lines, as rows of `JoinedLines`."""

    lines: list[NDArray[np.float64]]
    """Vertices of each line."""
    downstream: NDArray[np.int64]
    """Row that each flows into; NEXT_LINK for the first piece of the downstream link."""
    trace: NDArray[np.int64]
    """Trace that each was drawn from; -1 for pieces of the reach."""


def _split_at_traces(
    reach: NDArray[np.float64],
    rows: NDArray[np.int64],
    traces: Traces,
    points: NDArray[np.float64],
    vertex: NDArray[np.int64],
    *,
    flows_on: bool,
    aspect: float,
) -> SplitReach:
    """Cut a reach where its traces, given as `rows`, end and then where its divergences begin; see `_joined_ends`."""
    if len(rows) == 0:
        return SplitReach([reach], np.zeros((0, 2)), np.zeros(0, np.int64))
    ends, heads = _joined_ends(rows, traces)
    places = np.concatenate([points[vertex[ends + 1] - 1], points[vertex[heads]]])
    return split_reach(reach, places, flows_on=flows_on, aspect=aspect)


def _joined_ends(rows: NDArray[np.int64], traces: Traces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which traces of a reach end at it, and which divergences begin at it: the order of its joins."""
    ends = rows[traces.downstream[rows] == TO_REACH]
    heads = rows[traces.divergence[rows] & (traces.head[rows] == TO_REACH)]
    return ends, heads


def _lines_of_reach(
    first: int,
    split: SplitReach,
    rows: NDArray[np.int64],
    traces: Traces,
    points: NDArray[np.float64],
    vertex: NDArray[np.int64],
    trace_row: NDArray[np.int64],
) -> _ReachLines:
    """Draw the lines of a reach, whose rows begin at `first`; `trace_row` is the row of each trace."""
    pieces = len(split.pieces)
    ends, heads = (part.tolist() for part in _joined_ends(rows, traces))
    join_of_end = dict(zip(ends, range(len(ends)), strict=True))
    join_of_head = dict(zip(heads, range(len(ends), len(ends) + len(heads)), strict=True))
    lines = list(split.pieces)
    downstream = [*range(first + 1, first + pieces), NEXT_LINK]
    for row in rows.tolist():
        line = points[vertex[row] : vertex[row + 1]]
        if row in join_of_head:
            line = np.vstack([split.joins[join_of_head[row]], line])
        if row in join_of_end:
            line = np.vstack([line, split.joins[join_of_end[row]]])
            into = int(split.into[join_of_end[row]])
            downstream.append(NEXT_LINK if into == NEXT_LINK else first + into)
        else:
            downstream.append(int(trace_row[traces.downstream[row]]))
        lines.append(line)
    trace = np.concatenate([np.full(pieces, -1, dtype=np.int64), rows])
    return _ReachLines(lines, np.array(downstream, dtype=np.int64), trace)


def _linestrings(points: NDArray[np.float64], vertex: NDArray[np.int64]) -> NDArray[Any]:
    if len(vertex) == 1:
        return np.array([], dtype=object)
    return np.asarray(shapely.linestrings(points, indices=np.repeat(np.arange(len(vertex) - 1), np.diff(vertex))))


def _reverse_uphill_arms(traces: Traces, reaches: NDArray[Any], grid: RasterGrid, aspect: float) -> Traces:
    """Reverse divergences that end at a reach above the place where the water of their head comes to it."""
    arms = np.flatnonzero(traces.divergence & (traces.downstream == TO_REACH))
    if len(arms) == 0:
        return traces
    cells, downstream, head = traces.cells.copy(), traces.downstream.copy(), traces.head.copy()

    def place(cell: int, reach: NDArray[np.float64]) -> float:
        row, column = divmod(cell, grid.width)
        end = np.array([[grid.west + (column + 0.5) * grid.dx, grid.north - (row + 0.5) * grid.dy]])
        return float(_nearest_places(reach, end, aspect)[0])

    for arm in arms.tolist():
        reach = shapely.get_coordinates(reaches[traces.label[arm]])
        run = slice(traces.start[arm], traces.start[arm + 1])
        if head[arm] == TO_REACH:
            above = place(int(cells[run][0]), reach)
        else:
            last = head[arm]
            while traces.downstream[last] != TO_REACH:
                last = traces.downstream[last]
            above = place(int(traces.cells[traces.start[last + 1] - 1]), reach)
        if place(int(cells[run][-1]), reach) < above:
            cells[run] = cells[run][::-1].copy()
            downstream[arm], head[arm] = head[arm], TO_REACH
    return replace(traces, cells=cells, downstream=downstream, head=head)


def _centers(
    cells: NDArray[np.int64], start: NDArray[np.int64], grid: RasterGrid
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return longitude and latitude of the cells of runs, without those inside a straight stretch.

    Returns the points (m, 2), and where those of each run begin.
    """
    rows, columns = np.divmod(cells, grid.width)
    bends = np.ones(len(cells), dtype=bool)
    if len(cells) > 2:
        step = np.column_stack([np.diff(columns), np.diff(rows)])
        bends[1:-1] = (step[1:] != step[:-1]).any(axis=1)
        bends[start[:-1]] = True
        bends[start[1:] - 1] = True
    centers = np.column_stack(
        [grid.west + (columns[bends] + 0.5) * grid.dx, grid.north - (rows[bends] + 0.5) * grid.dy]
    )
    vertex = np.concatenate([[0], np.cumsum(bends)])[start].astype(np.int64)
    # A hundredth of a millimeter: the window's origin does not change the last bits.
    return centers.round(10), vertex


def _cells_under(
    points: NDArray[np.float64],
    vertex: NDArray[np.int64],
    backbone: NDArray[np.bool_],
    row_of: NDArray[np.int64],
    traces: Traces,
    grid: RasterGrid,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells under lines: those that a piece of a reach runs through, and the own cells of new lines."""
    burned, burned_start = cells_of_vertices(points, np.where(backbone, vertex[:-1], vertex[1:]), vertex[1:], grid)
    length = np.diff(burned_start)
    first = burned_start[:-1].copy()
    new = np.flatnonzero(~backbone)
    own = np.diff(traces.start)[row_of[new]] - (traces.downstream[row_of[new]] != TO_REACH)
    length[new], first[new] = own, len(burned) + traces.start[row_of[new]]
    start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    at = np.repeat(first - start[:-1], length) + np.arange(start[-1])
    return np.concatenate([burned, traces.cells])[at], start


def split_reach(
    reach: NDArray[np.float64], ends: NDArray[np.float64], *, flows_on: bool, aspect: float = 1.0
) -> SplitReach:
    """Join new lines to a reach, each at the point of the reach nearest to its end, and cut the reach there.

    The leg from the end to the nearest point cannot cross the reach. A join at the head vertex cuts nothing; one at the
    tail vertex flows into the downstream link or, where there is none, joins halfway along the last stretch.

    Parameters
    ----------
    reach : (n, 2) float64
        Longitude, latitude of the vertices, drawn downstream.
    ends : (m, 2) float64
        Last vertex of each new line.
    flows_on : bool
        Whether there is a downstream link, whose first vertex is the reach's last.
    aspect : float
        Length of a degree of longitude in degrees of latitude.

    Returns
    -------
    SplitReach
    """
    last = len(reach) - 1
    # A place on the reach is the number of a vertex plus the fraction of the way to the next one.
    places = np.asarray(_nearest_places(reach, np.ascontiguousarray(ends, dtype=np.float64), aspect))
    # Within a millimeter of a vertex it is the vertex.
    vertices = np.rint(places)
    near_vertex = _apart(_points(reach, places), reach[vertices.astype(np.int64)]) <= SAME_PLACE_DEGREES
    places = np.where(near_vertex, vertices, places)
    at = _points(reach, places)
    at_head = _apart(at, reach[0]) <= SAME_PLACE_DEGREES
    at_tail = (_apart(at, reach[last]) <= SAME_PLACE_DEGREES) & ~at_head
    if not flows_on and at_tail.any():
        places[at_tail] = _before_tail(reach, places[~at_head & ~at_tail])
        at = _points(reach, places)
        at_tail[:] = False
    between = np.flatnonzero(~at_head & ~at_tail)
    cuts: list[int] = []
    cut_of = np.full(len(places), -1, dtype=np.int64)
    for i in between[np.argsort(places[between], kind="stable")].tolist():
        if not cuts or math.dist(at[cuts[-1]], at[i]) > SAME_PLACE_DEGREES:
            cuts.append(i)
        cut_of[i] = len(cuts) - 1
    points = np.vstack([reach[:1], at[cuts], reach[last:]])
    stations = [0.0, *places[cuts].tolist(), float(last)]
    pieces = [
        np.concatenate([points[k : k + 1], reach[math.floor(head) + 1 : math.ceil(tail)], points[k + 1 : k + 2]])
        for k, (head, tail) in enumerate(itertools.pairwise(stations))
    ]
    into = np.where(at_head, 0, np.where(at_tail, NEXT_LINK, cut_of + 1))
    return SplitReach(pieces, points[into], into.astype(np.int64))


@njit(cache=True)
def _nearest_places(reach: Any, ends: Any, aspect: float) -> Any:
    """Place of the point of a reach nearest to each end; of equally near ones the first."""
    places = np.zeros(len(ends))
    for i in range(len(ends)):
        nearest = np.inf
        for k in range(len(reach) - 1):
            x, y = (reach[k + 1, 0] - reach[k, 0]) * aspect, reach[k + 1, 1] - reach[k, 1]
            dx, dy = (ends[i, 0] - reach[k, 0]) * aspect, ends[i, 1] - reach[k, 1]
            squared = x * x + y * y
            fraction = min(max((dx * x + dy * y) / squared, 0.0), 1.0) if squared > 0 else 0.0
            distance = np.hypot(fraction * x - dx, fraction * y - dy)
            if distance < nearest:
                nearest, places[i] = distance, k + fraction
    return places


def _points(reach: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    vertex = np.floor(places).astype(np.int64)
    on_vertex = (places == vertex)[:, np.newaxis]
    following = np.minimum(vertex + 1, len(reach) - 1)
    between = reach[vertex] + (places - vertex)[:, np.newaxis] * (reach[following] - reach[vertex])
    return np.where(on_vertex, reach[vertex], between)


def _apart(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.hypot(*(points - others).T))


def _before_tail(reach: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Place halfway between the tail and what comes before it: a vertex, or the last other join."""
    last = len(reach) - 1
    vertex = int(np.flatnonzero(_apart(reach[:-1], reach[last]) > SAME_PLACE_DEGREES)[-1])
    return float(max([float(vertex), *others]) + vertex + 1) / 2
