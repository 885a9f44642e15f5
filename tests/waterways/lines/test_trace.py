from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from headwater.waterways.lines.thin import thin
from headwater.waterways.lines.trace import TO_REACH, of_labels, trace
from support.small_windows import EIGHT, joined_water, picture, reach_of, windows

least = st.sampled_from([1, 2, 4, 8])


def traced(window, min_component_px):
    labels = window.labels
    lines = thin(joined_water(window), window.elevation, labels, min_end_px=min_component_px)
    return lines, trace(lines, window.elevation, labels, min_component_px=min_component_px)


def runs_of(traces):
    return [traces.cells[first:end].tolist() for first, end in pairwise(traces.start)]


def next_to_reaches(labels):
    return [ndimage.binary_dilation(reach_of(labels, label), EIGHT).ravel() for label in range(labels.count)]


def ends_and_junctions(lines, labels):
    """Cells with at most one neighbor, or where at least three lines meet; (y, x) bool."""
    nodes = np.zeros(lines.shape, bool)
    for label in range(labels.count):
        own = lines & (labels.catchment == label)
        whole = own | reach_of(labels, label)
        for row, column in np.argwhere(own):
            around = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
            ring = [bool(whole[row + down, column + right]) for down, right in around]
            crossings = sum(not ring[k - 1] and ring[k] for k in range(8))
            nodes[row, column] = sum(ring) <= 1 or crossings >= 3
    return nodes


@given(windows(), least)
def test_runs_are_steps_between_neighbours_of_one_catchment(window, min_component_px):
    lines, traces = traced(window, min_component_px)
    width = window.grid.width
    runs = runs_of(traces)
    for label, run in zip(traces.label, runs, strict=True):
        assert len(set(run)) == len(run)
        assert lines.ravel()[run].all()
        assert (window.labels.catchment.ravel()[run] == label).all()
        for one, other in pairwise(run):
            assert abs(one // width - other // width) <= 1
            assert abs(one % width - other % width) <= 1


@given(windows(), least)
def test_all_runs_flow_to_their_reach(window, min_component_px):
    _, traces = traced(window, min_component_px)
    runs, adjacent = runs_of(traces), next_to_reaches(window.labels)
    for row, run in enumerate(runs):
        below = traces.downstream[row]
        if below == TO_REACH:
            assert adjacent[traces.label[row]][run[-1]]
        else:
            assert run[-1] == runs[below][0]
            assert traces.label[below] == traces.label[row]
            assert not traces.divergence[below]
        steps = 0
        while below != TO_REACH:
            below, steps = traces.downstream[below], steps + 1
            assert steps <= len(runs)


@given(windows(), least)
def test_divergences_leave_a_line_or_the_reach(window, min_component_px):
    _, traces = traced(window, min_component_px)
    runs, adjacent = runs_of(traces), next_to_reaches(window.labels)
    assert (traces.head[~traces.divergence] == TO_REACH).all()
    for row in np.flatnonzero(traces.divergence):
        head, own = traces.head[row], runs[row]
        if head == TO_REACH:
            assert adjacent[traces.label[row]][own[0]]
        else:
            assert own[0] == runs[head][0]
            assert not traces.divergence[head]
        # Without the cells it begins and ends on.
        own = own[int(head != TO_REACH) : len(own) - int(traces.downstream[row] != TO_REACH)]
        assert len(own) >= min_component_px
        # And it flows down: what it leaves comes by where it ends.
        if head != TO_REACH and traces.downstream[row] != TO_REACH:
            assert head != traces.downstream[row]
            while head != traces.downstream[row]:
                head = traces.downstream[head]
                assert head != TO_REACH


def crossings(traces, width, rows):
    """Pairs of cells of steps that cross another step."""
    runs = runs_of(traces)
    steps = {frozenset(step) for row in rows for step in pairwise(runs[row])}
    for step in steps:
        one, other = sorted(step)
        if other - one in (width - 1, width + 1):
            side = 1 if other - one == width + 1 else -1
            if frozenset((one + side, other - side)) in steps:
                yield one, other


@given(windows(), least)
def test_no_two_ways_down_cross(window, min_component_px):
    _, traces = traced(window, min_component_px)
    assert not list(crossings(traces, window.grid.width, np.flatnonzero(~traces.divergence)))


@given(windows(), least)
def test_no_divergence_crosses_another_line(window, min_component_px):
    _, traces = traced(window, min_component_px)
    assert not list(crossings(traces, window.grid.width, range(len(traces.label))))


@given(windows(), least)
def test_runs_share_no_cells_but_first_and_last_ones(window, min_component_px):
    _, traces = traced(window, min_component_px)
    runs = runs_of(traces)
    own = []
    for row in np.flatnonzero(~traces.divergence):
        own.extend(runs[row][: len(runs[row]) - int(traces.downstream[row] != TO_REACH)])
    assert len(set(own)) == len(own)
    for row in np.flatnonzero(traces.divergence):
        first, last = int(traces.head[row] != TO_REACH), int(traces.downstream[row] != TO_REACH)
        assert not set(own) & set(runs[row][first : len(runs[row]) - last])


@given(windows(), least)
def test_runs_begin_at_ends_and_junctions(window, min_component_px):
    _, traces = traced(window, min_component_px)
    arms = traces.divergence
    inflows = np.bincount(traces.downstream[~arms & (traces.downstream >= 0)], minlength=len(arms))
    of_arms = np.zeros(len(arms), bool)
    of_arms[traces.downstream[arms & (traces.downstream >= 0)]] = True
    of_arms[traces.head[arms & (traces.head >= 0)]] = True
    assert ((inflows != 1) | of_arms)[~arms].all()


@given(windows())
def test_every_end_and_junction_lies_on_a_line(window):
    lines, traces = traced(window, 1)
    covered = np.zeros(lines.size, bool)
    covered[traces.cells] = True
    assert covered[ends_and_junctions(lines, window.labels).ravel()].all()
    assert not covered[~lines.ravel()].any()


@given(windows(), least)
def test_no_ends_are_shorter_than_the_shortest(window, min_component_px):
    _, traces = traced(window, min_component_px)
    arms = traces.divergence
    inflows = np.bincount(traces.downstream[~arms & (traces.downstream >= 0)], minlength=len(arms))
    for row in np.flatnonzero(~arms & (inflows == 0)):
        below, length = row, 0
        # Down to where another line comes in.
        while True:
            length += traces.start[below + 1] - traces.start[below]
            below = traces.downstream[below]
            length -= int(below != TO_REACH)
            if below == TO_REACH or inflows[below] > 1:
                break
        assert length >= min_component_px


@given(windows(), st.integers(0, 15))
def test_catchments_apart_are_the_same_as_together(window, chosen):
    _, traces = traced(window, 2)
    wanted = np.array([bool(chosen >> label & 1) for label in range(window.labels.count)])
    part = of_labels(traces, wanted)
    rows = np.flatnonzero(wanted[traces.label])
    runs = runs_of(traces)
    assert runs_of(part) == [runs[row] for row in rows]
    for name in ("downstream", "head"):
        for mine, its in zip(getattr(part, name), getattr(traces, name)[rows], strict=True):
            assert (mine == TO_REACH) == (its == TO_REACH)
            assert mine == TO_REACH or rows[mine] == its
    assert part.divergence.tolist() == traces.divergence[rows].tolist()


def along(text, min_component_px=2):
    labels, lines = picture(text)
    slope = np.tile(np.arange(lines.shape[1], dtype=np.float32), (lines.shape[0], 1))
    traces = trace(lines, slope, labels, min_component_px=min_component_px)
    width = lines.shape[1]
    # Rows and columns of the picture.
    runs = [[(cell // width - 1, cell % width - 1) for cell in run] for run in runs_of(traces)]
    return runs, traces


@given(windows(), least, st.sampled_from([0.0, 0.5, 2.0]))
def test_no_stream_begins_deeper_than_it_may_below_what_it_flows_to(window, min_component_px, max_rise_m):
    lines, whole = traced(window, min_component_px)
    heights = window.elevation.ravel()
    traces = trace(lines, window.elevation, window.labels, min_component_px=min_component_px, max_rise_m=max_rise_m)
    runs = runs_of(traces)
    rivers = np.flatnonzero(~traces.divergence)
    inflows = np.bincount(traces.downstream[rivers][traces.downstream[rivers] >= 0], minlength=len(runs))
    for head in rivers[inflows[rivers] == 0]:
        last = head
        while (following := traces.downstream[last]) >= 0 and inflows[following] < 2:
            last = following
        assert heights[runs[head][0]] >= heights[runs[last][-1]] - max_rise_m
    kept, before = set(traces.cells.tolist()), set(whole.cells.tolist())
    # Second arms may be dropped with the lines they begin on; otherwise every cell is either kept or reported.
    assert kept <= before or whole.divergence.any() or traces.divergence.any()
    if not whole.divergence.any():
        assert len(kept) + len(traces.cut_label) == len(before)


def test_a_stream_that_would_flow_uphill_loses_its_deep_end():
    labels, water = picture(
        """
        ...........
        aaaaaaaaaA.
        .........A.
        """
    )
    elevation = np.full(water.shape, 100, np.float32)
    elevation[2, 1:10] = [90, 90, 95, 98, 99, 100, 100, 100, 100]
    traces = trace(water, elevation, labels, min_component_px=4, max_rise_m=2)
    width = water.shape[1]
    assert runs_of(traces) == [[2 * width + column for column in range(4, 10)]]
    assert traces.cut_label.tolist() == [0, 0, 0]
    traces = trace(water, elevation, labels, min_component_px=7, max_rise_m=2)
    assert runs_of(traces) == []
    assert len(traces.cut_label) == 9


def test_a_confluence():
    runs, traces = along(
        """
        A.....a
        A....a.
        Aaaaa..
        A....a.
        A.....a
        """
    )
    assert runs == [
        [(0, 6), (1, 5), (2, 4)],
        [(2, 4), (2, 3), (2, 2), (2, 1)],
        [(4, 6), (3, 5), (2, 4)],
    ]
    assert traces.downstream.tolist() == [1, TO_REACH, 1]
    assert not traces.divergence.any()


def test_a_short_end_is_dropped():
    drawn = """
        A..a....
        A..a....
        Aaaaaaaa
        A.......
        """
    runs, _ = along(drawn, min_component_px=2)
    assert len(runs) == 3
    runs, _ = along(drawn, min_component_px=4)
    assert runs == [[(2, column) for column in range(7, 0, -1)]]


def test_an_island_has_a_second_arm():
    runs, traces = along(
        """
        A...aaa....
        A..a...a...
        Aaa.....aaa
        A..a...a...
        A...aaa....
        """
    )
    assert traces.divergence.tolist() == [False, False, False, True]
    arm = runs[3]
    assert arm[0] == runs[traces.head[3]][0] == (2, 8)
    assert arm[-1] == runs[traces.downstream[3]][0] == (2, 2)
    assert {row for row, _ in arm} in ({0, 1, 2}, {2, 3, 4})


def test_an_arm_of_the_reach_begins_and_ends_next_to_it():
    runs, traces = along(
        """
        Aaaa...
        A...a..
        A...a..
        Aaaa...
        A......
        """
    )
    assert traces.divergence.tolist() == [True]
    assert traces.head.tolist() == traces.downstream.tolist() == [TO_REACH]
    assert {runs[0][0], runs[0][-1]} == {(0, 1), (3, 1)}
    assert len(runs[0]) == 8


def test_arms_share_no_cells():
    labels, lines = picture(
        """
        AAAAA
        A.aa.
        Aa..a
        Aa.a.
        A.a.a
        """
    )
    elevation = np.zeros(lines.shape, np.float32)
    elevation[1:-1, 1:-1] = [[0, 3, 3, 3, 1], [3, 2, 2, 2, 3], [3, 1, 1, 3, 1], [0, 0, 3, 0, 2], [2, 1, 2, 0, 2]]
    traces = trace(lines, elevation, labels, min_component_px=1)
    arms = [run for run, arm in zip(runs_of(traces), traces.divergence, strict=True) if arm]
    assert len(arms) == 1 or not set(arms[0][1:]) & set(arms[1])
