import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.waterways.orders import forest_orders, strahler_orders


def by_recursion(target, outside):
    def order(i):
        inflow = sorted((order(j) for j in range(len(target)) if target[j] == i), reverse=True)
        own = 1 if not inflow else inflow[0] + (len(inflow) > 1 and inflow[0] == inflow[1])
        return max(own, outside[i])

    return [order(i) for i in range(len(target))]


@st.composite
def forests(draw):
    """Every segment flows to a later one or out; rows are then shuffled."""
    count = draw(st.integers(1, 25))
    target = [draw(st.integers(i + 1, count)) for i in range(count)]
    target = [-1 if t == count else t for t in target]
    place = draw(st.permutations(range(count)))
    shuffled = np.full(count, -1)
    for i, t in enumerate(target):
        shuffled[place[i]] = -1 if t < 0 else place[t]
    return shuffled


@given(forests(), st.data())
@settings(deadline=None)
def test_orders_equal_the_definition(target, data):
    outside = np.array(
        data.draw(st.lists(st.sampled_from([0, 0, 0, 2, 4]), min_size=len(target), max_size=len(target)))
    )
    assert strahler_orders(target, outside.astype(np.int32)).tolist() == by_recursion(target, outside)


@given(forests())
@settings(deadline=None)
def test_the_water_meets_segments_in_topological_order_and_leaves_by_the_terminal(target):
    orders = forest_orders(target, np.zeros(len(target), np.int32))
    assert sorted(orders.topological) == list(range(len(target)))
    flows = target >= 0
    assert (orders.topological[flows] < orders.topological[target[flows]]).all()
    assert (orders.terminal[~flows] == np.flatnonzero(~flows)).all()
    assert (orders.terminal[flows] == orders.terminal[target[flows]]).all()


def test_one_one_two_is_two():
    # Two sources make order 2, a third source joining below does not raise it.
    target = np.array([3, 3, 4, 4, -1])
    assert strahler_orders(target, np.zeros(5, np.int32)).tolist() == [1, 1, 1, 2, 2]


def test_circles_and_what_lies_below_them_have_no_order():
    target = np.array([1, 2, 1, 1, -1])
    orders = forest_orders(target, np.zeros(5, np.int32))
    assert orders.strahler.tolist() == [1, 0, 0, 1, 1]
    assert orders.topological.tolist() == [0, -1, -1, 1, 2]
    assert orders.terminal.tolist() == [-1, -1, -1, -1, 4]
