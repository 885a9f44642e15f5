import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.vector.join import NEXT_LINK, SAME_PLACE_DEGREES, split_reach

REACH = np.array([[0.0, 3.0], [1.0, 3.0], [1.0, 2.0], [2.0, 2.0], [2.0, 0.0]])

degree = st.integers(0, 40).map(lambda n: n / 10)
point = st.tuples(degree, degree)


def test_a_reach_without_joins_stays_whole():
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
