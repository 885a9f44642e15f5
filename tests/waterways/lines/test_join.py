import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.geo.grid import RasterGrid
from headwater.waterways.lines.catchment_raster import Labels
from headwater.waterways.lines.join import NEXT_LINK, SAME_PLACE_DEGREES, join_lines, split_reach
from headwater.waterways.lines.thin import thin
from headwater.waterways.lines.trace import TO_REACH, of_labels, trace
from support.small_windows import joined_water, windows

REACH = np.array([[0.0, 3.0], [1.0, 3.0], [1.0, 2.0], [2.0, 2.0], [2.0, 0.0]])

degree = st.integers(0, 40).map(lambda n: n / 10)
point = st.tuples(degree, degree)


def test_a_reach_without_joins_stays_uncut():
    split = split_reach(REACH, np.zeros((0, 2)), flows_on=True)
    assert len(split.pieces) == 1
    assert split.pieces[0].tolist() == REACH.tolist()


def test_joins_cut_the_reach_at_their_points():
    split = split_reach(REACH, np.array([[3.0, 1.0], [0.5, 4.0], [0.0, 2.25]]), flows_on=True)
    assert split.joins.tolist() == [[2.0, 1.0], [0.5, 3.0], [0.0, 3.0]]
    assert split.into.tolist() == [2, 1, 0]
    assert [piece.tolist() for piece in split.pieces] == [
        [[0.0, 3.0], [0.5, 3.0]],
        [[0.5, 3.0], [1.0, 3.0], [1.0, 2.0], [2.0, 2.0], [2.0, 1.0]],
        [[2.0, 1.0], [2.0, 0.0]],
    ]


def test_a_join_at_a_vertex_does_not_repeat_it():
    split = split_reach(REACH, np.array([[3.0, 3.0]]), flows_on=True)
    assert split.joins.tolist() == [[2.0, 2.0]]
    assert [len(piece) for piece in split.pieces] == [4, 2]


def test_the_tail_flows_into_the_next_link_or_joins_before_the_outlet():
    end = np.array([[2.0, -1.0]])
    on = split_reach(REACH, end, flows_on=True)
    assert on.into.tolist() == [NEXT_LINK]
    assert on.joins.tolist() == [[2.0, 0.0]]
    assert len(on.pieces) == 1
    out = split_reach(REACH, end, flows_on=False)
    assert out.into.tolist() == [1]
    assert out.joins.tolist() == [[2.0, 1.0]]
    assert out.pieces[1].tolist() == [[2.0, 1.0], [2.0, 0.0]]


def test_joins_within_a_millimetre_share_a_point():
    near = SAME_PLACE_DEGREES / 3
    split = split_reach(REACH, np.array([[3.0, 1.0], [3.0, 1.0 + near], [3.0, 2.0 + near], [3.0, near]]), flows_on=True)
    assert split.into.tolist() == [2, 2, 1, NEXT_LINK]
    assert (split.joins[0] == split.joins[1]).all()


def test_a_reach_of_zero_length_takes_joins_at_its_point():
    split = split_reach(np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([[2.0, 2.0]]), flows_on=False)
    assert split.into.tolist() == [0]
    assert split.joins.tolist() == [[1.0, 1.0]]
    assert len(split.pieces) == 1


def test_nearest_counts_metres_not_degrees():
    corner = np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    # At 60 degrees of latitude half a degree of longitude is as far as a quarter of latitude.
    end = np.array([[0.5, 0.4]])
    assert split_reach(corner, end, flows_on=True, aspect=0.5).joins.tolist() == [[0.0, 0.4]]
    assert split_reach(corner, end, flows_on=True, aspect=1.0).joins.tolist() == [[0.5, 0.0]]


@given(st.lists(point, min_size=2, max_size=6), st.lists(point, max_size=6), st.booleans())
@settings(deadline=None)
def test_pieces_are_the_reach_and_joins_are_their_heads(vertices, ends, flows_on):
    reach = np.array(vertices)
    split = split_reach(reach, np.array(ends).reshape(-1, 2), flows_on=flows_on)
    assert split.pieces[0][0].tolist() == reach[0].tolist()
    assert split.pieces[-1][-1].tolist() == reach[-1].tolist()
    for above, below in zip(split.pieces, split.pieces[1:], strict=False):
        assert above[-1].tolist() == below[0].tolist()
    assert sum(shapely.LineString(p).length for p in split.pieces) == pytest.approx(
        shapely.LineString(reach).length, abs=1e-9
    )
    if len(split.pieces) > 1:
        assert all(shapely.LineString(piece).length > 0 for piece in split.pieces)
    for index, join, end in zip(split.into, split.joins, ends, strict=True):
        if index == NEXT_LINK:
            assert flows_on
            assert join.tolist() == reach[-1].tolist()
        else:
            assert split.pieces[index][0].tolist() == join.tolist()
        if flows_on:
            # The leg is the shortest way, so it cannot cross the reach.
            line = shapely.LineString(reach)
            assert shapely.Point(end).distance(shapely.Point(join)) == pytest.approx(
                line.distance(shapely.Point(end)), abs=1e-7
            )


def joined(window, own, min_component_px=2):
    """Traces of the own catchments and their lines; each reach flows on if its number is even."""
    labels = window.labels
    lines = thin(joined_water(window), window.elevation, labels, min_end_px=min_component_px)
    traces = of_labels(trace(lines, window.elevation, labels, min_component_px=min_component_px), own)
    flows_on = np.arange(labels.count) % 2 == 0
    return traces, flows_on, join_lines(traces, window.reaches, flows_on, own, window.grid)


def own_reaches(window, chosen):
    return np.array([bool(chosen >> label & 1) for label in range(window.labels.count)])


@given(windows(), st.integers(0, 15))
@settings(deadline=None)
def test_lines_are_the_pieces_of_each_reach_and_then_its_new_lines(window, chosen):
    own = own_reaches(window, chosen)
    traces, _, lines = joined(window, own)
    assert (np.diff(lines.label) >= 0).all()
    assert len(lines.start) == len(lines.lines) + 1
    assert set(lines.label) == set(np.flatnonzero(own))
    for reach in np.flatnonzero(own):
        rows = np.flatnonzero(lines.label == reach)
        pieces = rows[lines.from_backbone[rows]]
        assert rows[: len(pieces)].tolist() == pieces.tolist()
        assert len(rows) - len(pieces) == (traces.label == reach).sum()
        # From the head down, each flows into the next; the last into the downstream link.
        assert lines.downstream[pieces].tolist() == [*pieces[1:].tolist(), NEXT_LINK]
        ends = shapely.get_coordinates(window.reaches[reach])[[0, -1]].tolist()
        assert [list(lines.lines[pieces[0]].coords[0]), list(lines.lines[pieces[-1]].coords[-1])] == ends
        assert shapely.length(lines.lines[pieces]).sum() == pytest.approx(window.reaches[reach].length)
        assert not lines.divergence[pieces].any()


@given(windows(), st.integers(0, 15))
@settings(deadline=None)
def test_each_line_ends_where_the_next_one_begins(window, chosen):
    _, flows_on, lines = joined(window, own_reaches(window, chosen))
    for row, below in enumerate(lines.downstream.tolist()):
        end = lines.lines[row].coords[-1]
        assert shapely.is_valid(lines.lines[row])
        if below == NEXT_LINK:
            assert end == window.reaches[lines.label[row]].coords[-1]
            assert lines.from_backbone[row] or flows_on[lines.label[row]]
        else:
            assert end == lines.lines[below].coords[0]
            assert lines.label[below] == lines.label[row]
        steps = 0
        while below != NEXT_LINK:
            below, steps = lines.downstream[below], steps + 1
            assert steps <= len(lines.lines)
    # A divergence leaves another line where that one begins.
    for row in np.flatnonzero(lines.divergence):
        others = (lines.label == lines.label[row]) & ~lines.divergence
        heads = {line.coords[0] for line in lines.lines[others]}
        assert lines.lines[row].coords[0] in heads | {window.reaches[lines.label[row]].coords[-1]}


@given(windows(), st.integers(0, 15))
@settings(deadline=None)
def test_new_lines_run_through_their_cells(window, chosen):
    traces, _, lines = joined(window, own_reaches(window, chosen))
    new = np.flatnonzero(~lines.from_backbone)
    rows, columns = np.divmod(traces.cells, window.grid.width)
    centers = np.column_stack([columns + 0.5, -rows - 0.5])
    # In order of reaches, as the traces are within each.
    order = np.argsort(traces.label, kind="stable")
    for row, run in zip(new, order, strict=True):
        cells = traces.cells[traces.start[run] : traces.start[run + 1]]
        own = cells[: len(cells) - int(traces.downstream[run] != TO_REACH)]
        assert set(lines.cells[lines.start[row] : lines.start[row + 1]]) <= set(cells)
        if not traces.divergence[run]:
            assert lines.cells[lines.start[row] : lines.start[row + 1]].tolist() == own.tolist()
            assert lines.divergence[row] == traces.divergence[run]
        places = shapely.points(centers[traces.start[run] : traces.start[run + 1]])
        assert (shapely.distance(lines.lines[row], places) < 1e-9).all()
        # Straight stretches have no vertices between their ends.
        assert len(lines.lines[row].coords) <= len(cells) + 2


def test_a_line_without_traces_is_its_reach():
    grid = RasterGrid(west=0.0, north=4.0, dx=1.0, dy=1.0, width=4, height=4)
    nothing = np.zeros(0, np.int64)
    reaches = np.array([shapely.LineString([(1.5, 3.5), (1.5, 0.5)])])
    empty = trace(np.zeros((4, 4), bool), np.zeros((4, 4), np.float32), _one_reach(), min_component_px=1)
    assert empty.label.tolist() == nothing.tolist()
    lines = join_lines(empty, reaches, np.array([False]), np.array([True]), grid)
    assert lines.lines.tolist() == reaches.tolist()
    assert lines.downstream.tolist() == [NEXT_LINK]
    assert lines.from_backbone.tolist() == [True]
    assert set(lines.cells) == {1, 5, 9, 13}
    none = join_lines(empty, reaches, np.array([False]), np.array([False]), grid)
    assert len(none.lines) == len(none.cells) == 0
    assert none.start.tolist() == [0]


def _one_reach():
    return Labels(
        np.pad(np.zeros((2, 2), np.int32), 1, constant_values=-1),
        np.zeros((4, 4), bool),
        np.zeros(0, np.int64),
        np.array([5, 9]),
        np.array([0, 2]),
    )
