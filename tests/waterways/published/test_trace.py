import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from headwater.waterways.lines.neighbors import removable_rings, water_ring
from headwater.waterways.published.connect import EIGHT
from headwater.waterways.published.trace import TO_REACH, fill_holes, thin, trace

SHAPE = (14, 16)


def picture(text):
    rows = [list(line) for line in text.split()]
    cells = np.pad(np.array(rows), 1, constant_values=".")
    return (cells == "#") | (cells == "="), cells == "="


def level(lines):
    return np.zeros(lines.shape, np.float32)


@given(
    npst.arrays(np.bool_, SHAPE, elements=st.sampled_from([True, True, False])),
    npst.arrays(np.float32, SHAPE, elements=st.integers(0, 9).map(float)),
    st.integers(1, 5),
)
def test_lines_are_a_forest_that_ends_at_the_reach(water, elevation, min_component_px):
    water = water.copy()
    water[[0, -1]] = water[:, [0, -1]] = False
    reach = np.zeros(SHAPE, bool)
    reach[7, 1:-1] = True
    labels, _ = ndimage.label(water | reach, structure=EIGHT)
    lines = thin(labels == labels[7, 1], elevation, reach)
    traces = trace(lines, reach, elevation, min_component_px=min_component_px)
    seen = np.zeros(SHAPE, int).ravel()
    for i, (cells, below) in enumerate(zip(traces.cells, traces.downstream, strict=True)):
        rows, columns = np.divmod(cells, SHAPE[1])
        assert (np.maximum(abs(np.diff(rows)), abs(np.diff(columns))) == 1).all()
        assert lines.ravel()[cells].all()
        assert not reach.ravel()[cells].any()
        if below == TO_REACH:
            assert ndimage.binary_dilation(reach, EIGHT).ravel()[cells[-1]]
        else:
            assert traces.cells[below][0] == cells[-1]
        seen[cells if below == TO_REACH else cells[:-1]] += 1
        # Down the targets, every line ends at the reach.
        at, steps = i, 0
        while traces.downstream[at] != TO_REACH:
            at, steps = traces.downstream[at], steps + 1
            assert steps <= len(traces.cells)
    # Each cell belongs to one line.
    assert seen.max(initial=0) <= 1
    inflows = np.bincount(traces.downstream[traces.downstream >= 0], minlength=len(traces.cells))
    assert set(inflows.tolist()) <= {0, 2, 3, 4, 5, 6, 7}
    assert all(
        len(c) >= min_component_px
        for c, n, d in zip(traces.cells, inflows, traces.downstream, strict=True)
        if not n and d < 0
    )


def test_two_streams_meet():
    lines, reach = picture(
        """
        #....#
        .#..#.
        ..##..
        ..#...
        ..#...
        ======
        """
    )
    traces = trace(lines, reach, level(lines), min_component_px=1)
    assert sorted(len(cells) for cells in traces.cells) == [2, 4, 4]
    stem = int(np.flatnonzero(traces.downstream == TO_REACH)[0])
    assert (traces.downstream == stem).sum() == 2


def test_a_ring_opens_where_the_water_parts():
    lines, reach = picture(
        """
        ....#....
        ....#....
        ....#....
        ...#.#...
        ..#...#..
        ..#...#..
        ...#.#...
        ....#....
        ....#....
        =========
        """
    )
    elevation = level(lines)
    elevation[:, :5] = 0.5
    elevation[5:7, 7:9] = 9
    traces = trace(lines, reach, elevation, min_component_px=1)
    assert len(traces.cells) == 1
    # The path over the hill on the right is dropped.
    assert (traces.cells[0] % lines.shape[1]).max() == 5


def test_short_pieces_go_and_the_longest_inflow_stays():
    lines, reach = picture(
        """
        #.......
        .#......
        ..#..##.
        ...##...
        ...#....
        ...#....
        ...#....
        =======.
        """
    )
    everything = trace(lines, reach, level(lines), min_component_px=1)
    assert len(everything.cells) == 3
    pruned = trace(lines, reach, level(lines), min_component_px=4)
    assert [len(cells) for cells in pruned.cells] == [7]
    assert trace(lines, reach, level(lines), min_component_px=8).cells == []


THIN_SHAPE = (9, 11)
field = npst.arrays(np.float32, THIN_SHAPE, elements=st.integers(0, 5).map(float))
blob = npst.arrays(np.bool_, THIN_SHAPE, elements=st.booleans())


def is_removable(water, cell, width):
    return removable_rings()[1, water_ring(water, cell, width)]


def cleared(water):
    """The outer cells are never water: the catchment is cut with a margin."""
    water = water.copy()
    water[[0, -1]] = water[:, [0, -1]] = False
    return water


@given(blob, field, blob)
def test_thinning_keeps_topology_and_the_reach(water, elevation, reach):
    reach = cleared(reach) & (elevation > 3)
    water = cleared(water) | reach
    lines = thin(water, elevation, reach)
    assert not (lines & ~water).any()
    assert (lines >= reach).all()
    assert ndimage.label(lines, structure=EIGHT)[1] == ndimage.label(water, structure=EIGHT)[1]
    assert ndimage.label(~lines)[1] == ndimage.label(~water)[1]
    # Nothing that could go is left.
    flat = lines.ravel()
    left = [
        cell for cell in np.flatnonzero(flat) if is_removable(flat, cell, THIN_SHAPE[1]) and not reach.ravel()[cell]
    ]
    assert left == []


@given(npst.arrays(np.bool_, (3, 3)))
@settings(deadline=None)
def test_a_removable_cell_splits_nothing_and_opens_no_hole(around):
    water = np.zeros((5, 5), bool)
    water[1:4, 1:4] = around
    water[2, 2] = True
    without = water.copy()
    without[2, 2] = False
    same = (
        ndimage.label(water, structure=EIGHT)[1] == ndimage.label(without, structure=EIGHT)[1]
        and ndimage.label(~water)[1] == ndimage.label(~without)[1]
    )
    assert is_removable(water.ravel(), 12, 5) == (same and around.sum() - around[1, 1] > 1)


def test_lines_follow_the_lowest_cells():
    water = np.zeros((9, 20), bool)
    water[2:7, 2:18] = True
    elevation = np.tile(np.abs(np.arange(9) - 5.0)[:, None], (1, 20)).astype(np.float32)
    lines = thin(water, elevation, np.zeros_like(water))
    assert lines[5, 3:17].all()
    assert lines.sum() < 30


def test_flat_water_is_thinned_to_its_middle():
    water = np.zeros((9, 30), bool)
    water[2:7, 2:28] = True
    lines = thin(water, np.zeros(water.shape, np.float32), np.zeros_like(water))
    assert lines[4, 6:24].all()
    assert lines[:, 6:24].sum() == 18


def test_holes():
    inside = np.ones((60, 60), bool)
    inside[[0, -1]] = inside[:, [0, -1]] = False
    water = np.zeros_like(inside)
    water[2:8, 2:8] = True
    water[4:6, 4:6] = False  # small
    water[10:32, 2:24] = True
    water[12:30, 4:22] = False  # 324 cells
    elevation = np.zeros(inside.shape, np.float32)
    filled = fill_holes(water, inside, elevation)
    assert filled[2:8, 2:8].all()
    assert filled[10:32, 2:24].all()
    elevation[20, 10] = 4
    hilly = fill_holes(water, inside, elevation)
    assert hilly[4:6, 4:6].all()
    assert not hilly[12:30, 4:22].any()
    # A hole that is not all inside stays.
    inside[5, 5] = False
    assert not fill_holes(water, inside, elevation)[4:6, 4:6].any()
