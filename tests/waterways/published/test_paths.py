import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from headwater.waterways.published.paths import cost_bits, least_cost_paths

SHAPE = (6, 7)


@given(
    npst.arrays(np.float64, SHAPE, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0, np.inf])),
    npst.arrays(np.float64, SHAPE, elements=st.integers(0, 6).map(float)),
)
@settings(max_examples=60, deadline=None)
def test_costs_equal_those_of_networkx(bits, elevation):
    passable = np.zeros(SHAPE, bool)
    passable[1:-1, 1:-1] = True
    mouths = np.zeros(SHAPE, bool)
    mouths[4, 3] = True
    cost, downstream, order = least_cost_paths(bits, elevation, passable, mouths, np.inf)

    graph = nx.DiGraph()
    for row, column in np.argwhere(passable):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                other = (row + down, column + right)
                if (down or right) and passable[other] and np.isfinite(bits[other]):
                    # Water flows from `other` to here; the search goes the other way.
                    rise = elevation[row, column] - elevation[other]
                    price = bits[other] if rise <= 0 else max(bits[other] * rise, rise)
                    graph.add_edge((row, column), other, weight=price + 1e-3 * np.hypot(down, right))
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
    mouth = np.zeros((3, 5), bool)
    mouth[1, 1] = True
    rising_upstream = np.tile(np.arange(5.0) * 10, (3, 1))
    down, _, _ = least_cost_paths(bits, rising_upstream, passable, mouth, np.inf)
    up, _, _ = least_cost_paths(bits, -rising_upstream, passable, mouth, np.inf)
    assert down.reshape(3, 5)[1, 3] == pytest.approx(2.002)
    assert up.reshape(3, 5)[1, 3] == pytest.approx(20.002)
    level, _, _ = least_cost_paths(bits, np.full((3, 5), np.nan), passable, mouth, np.inf)
    assert level.reshape(3, 5)[1, 3] == pytest.approx(2.002)


def test_limit_ends_the_search():
    bits = np.ones((3, 9))
    passable = np.zeros((3, 9), bool)
    passable[1, 1:8] = True
    mouth = np.zeros((3, 9), bool)
    mouth[1, 1] = True
    _, downstream, order = least_cost_paths(bits, np.zeros((3, 9)), passable, mouth, 3.5)
    assert len(order) == 4
    assert downstream.reshape(3, 9)[1].tolist() == [-1, 10, 10, 11, 12, -1, -1, -1, -1]


def test_bits_of_probability():
    probability = np.array([[0.0, 0.1, 0.2, 0.3, 0.5, 0.9]], np.float32)
    bits = cost_bits(probability, threshold=0.5, floor=0.1, cost_below_floor=8)
    assert bits[0] == pytest.approx([8, 8, 2, 1, 0, 0], abs=1e-5)
    assert not np.signbit(bits).any()
    closed = cost_bits(probability, threshold=0.5, floor=0.1, cost_below_floor=np.inf)
    assert np.isinf(closed[0, 0])
