import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from headwater.waterways.published.connect import (
    EIGHT,
    connect_to_reach,
    cost_bits,
    drop_foreign,
    least_cost_paths,
    lowest_cells,
)


def picture(text):
    """# water, = reach, . land; the outer rows and columns are added."""
    rows = [list(line) for line in text.split()]
    cells = np.pad(np.array(rows), 1, constant_values=".")
    return (cells == "#") | (cells == "="), cells == "="


def test_lowest_cell_is_of_the_smoothed_elevation_and_ties_take_the_first():
    labels = np.zeros((5, 9), np.int32)
    labels[2, 1:8] = 1
    elevation = np.full((5, 9), 10.0, np.float32)
    assert lowest_cells(labels, 1, elevation).tolist() == [2 * 9 + 1]
    elevation[1:4, 5:8] = 3
    # A single low pixel is noise against a low neighborhood.
    elevation[2, 2] = 0
    assert lowest_cells(labels, 1, elevation).tolist() == [2 * 9 + 6]


def test_foreign_water_is_dropped_and_the_rest_is_cut():
    water = np.zeros((7, 20), bool)
    inside = np.zeros((7, 20), bool)
    inside[:, :10] = True
    water[1, 8:18] = True  # mostly outside
    water[3, 2:14] = True  # mostly inside
    water[5, 8:18] = True  # mostly outside, yet it flows in
    elevation = np.tile(np.arange(20, 0, -1, dtype=np.float32), (7, 1))
    elevation[4:] = np.arange(20)
    kept = drop_foreign(water, inside, np.zeros_like(water), elevation)
    assert not kept[1].any()
    assert np.flatnonzero(kept[3]).tolist() == list(range(2, 10))
    assert np.flatnonzero(kept[5]).tolist() == [8, 9]


def test_water_on_the_reach_stays_although_most_of_its_river_lies_outside():
    water, reach = picture(
        """
        ..#...........
        ..=###########
        ..#..#...#...#
        .....#...#...#
        """
    )
    inside = np.zeros(water.shape, bool)
    inside[1:-1, 1:5] = True
    elevation = np.tile(np.linspace(20, 0, water.shape[1], dtype=np.float32), (water.shape[0], 1))
    kept = drop_foreign(water, inside, reach, elevation)
    assert np.array_equal(kept, water & inside)
    # Unconnected to the reach it is the neighbor's river.
    assert not drop_foreign(water, inside, np.zeros_like(reach), elevation).any()


def test_near_water_carries_the_search_to_far_water():
    water, reach = picture("=..##..##.......##")
    inside = np.zeros(water.shape, bool)
    inside[1:-1, 1:-1] = True
    bits = np.where(water, 0.0, 1.0)
    level = np.zeros(water.shape, np.float32)
    # Gaps of 2, 2 and 7 cells: the first two fall to a limit of 3, the last needs the second limit.
    first = connect_to_reach(water, reach, inside, bits, level, limits=(3,))
    assert np.flatnonzero(first[1]).tolist() == list(range(1, 10))
    both = connect_to_reach(water, reach, inside, bits, level, limits=(3, 8))
    assert np.flatnonzero(both[1]).tolist() == list(range(1, 19))
    assert not connect_to_reach(water, reach, inside, bits, level, limits=(1,))[1, 2:].any()


def test_what_is_connected_is_one_piece():
    random = np.random.default_rng(7)
    for _ in range(20):
        inside = np.zeros((30, 30), bool)
        inside[1:-1, 1:-1] = True
        reach = np.zeros_like(inside)
        reach[15, 3:25] = True
        probability = ndimage.gaussian_filter(random.random(inside.shape), 1)
        water = (inside & (probability > 0.55)) | reach
        elevation = ndimage.gaussian_filter(random.random(inside.shape), 3).astype(np.float32) * 100
        connected = connect_to_reach(water, reach, inside, np.where(water, 0.0, 2.0), elevation, limits=(4, 50, 1e9))
        assert ndimage.label(connected, structure=EIGHT)[1] == 1
        assert (connected >= water).all()
        assert not (connected & ~inside).any()


SHAPE = (6, 7)


@given(
    npst.arrays(np.float64, SHAPE, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0, np.inf])),
    npst.arrays(np.float64, SHAPE, elements=st.integers(0, 6).map(float)),
)
def test_costs_equal_those_of_networkx(bits, elevation):
    passable = np.zeros(SHAPE, bool)
    passable[1:-1, 1:-1] = True
    targets = np.zeros(SHAPE, bool)
    targets[4, 3] = True
    cost, downstream, order = least_cost_paths(bits, elevation, passable, targets, np.inf)

    graph = nx.DiGraph()
    for row, column in np.argwhere(passable):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                other = (row + down, column + right)
                if (down or right) and passable[other] and np.isfinite(bits[other]):
                    # Water flows from `other` to here; the search goes the other way.
                    rise = elevation[row, column] - elevation[other]
                    cost_of_step = bits[other] if rise <= 0 else max(bits[other] * rise, rise)
                    graph.add_edge((row, column), other, weight=cost_of_step + 1e-3 * np.hypot(down, right))
    expected = nx.single_source_dijkstra_path_length(graph, (4, 3)) if (4, 3) in graph else {(4, 3): 0}
    expected = {cell[0] * SHAPE[1] + cell[1]: value for cell, value in expected.items()}
    assert set(order.tolist()) == set(expected)
    assert cost[order] == pytest.approx([expected[cell] for cell in order.tolist()])
    # A cell comes after the one it flows to.
    place = {cell: i for i, cell in enumerate(order.tolist())}
    assert all(place[downstream[cell]] < place[cell] for cell in order.tolist() if cell != 4 * SHAPE[1] + 3)


def test_the_way_down_is_cheaper_than_the_way_up():
    bits = np.ones((3, 5))
    passable = np.zeros((3, 5), bool)
    passable[1, 1:4] = True
    target = np.zeros((3, 5), bool)
    target[1, 1] = True
    rising_upstream = np.tile(np.arange(5.0) * 10, (3, 1))
    down, _, _ = least_cost_paths(bits, rising_upstream, passable, target, np.inf)
    up, _, _ = least_cost_paths(bits, -rising_upstream, passable, target, np.inf)
    assert down.reshape(3, 5)[1, 3] == pytest.approx(2.002)
    assert up.reshape(3, 5)[1, 3] == pytest.approx(20.002)
    level, _, _ = least_cost_paths(bits, np.full((3, 5), np.nan), passable, target, np.inf)
    assert level.reshape(3, 5)[1, 3] == pytest.approx(2.002)


def test_limit_ends_the_search():
    bits = np.ones((3, 9))
    passable = np.zeros((3, 9), bool)
    passable[1, 1:8] = True
    target = np.zeros((3, 9), bool)
    target[1, 1] = True
    _, downstream, order = least_cost_paths(bits, np.zeros((3, 9)), passable, target, 3.5)
    assert len(order) == 4
    assert downstream.reshape(3, 9)[1].tolist() == [-1, 10, 10, 11, 12, -1, -1, -1, -1]


def test_bits_of_probability():
    probability = np.array([[0.0, 0.1, 0.2, 0.3, 0.5, 0.9]], np.float32)
    bits = cost_bits(probability, threshold=0.5, floor=0.1, cost_below_floor=8)
    assert bits[0] == pytest.approx([8, 8, 2, 1, 0, 0], abs=1e-5)
    assert not np.signbit(bits).any()
    closed = cost_bits(probability, threshold=0.5, floor=0.1, cost_below_floor=np.inf)
    assert np.isinf(closed[0, 0])
