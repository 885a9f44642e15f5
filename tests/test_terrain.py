import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headwater.terrain import extend_edges, fill_seams, merge_elevation

layers = st.lists(
    st.tuples(hnp.arrays(np.float32, (8, 9), elements=st.floats(-100, 4000, width=32)), hnp.arrays(bool, (8, 9))),
    min_size=1,
    max_size=3,
)


def test_a_seam_of_one_pixel_is_filled_from_both_sides():
    elevation = np.tile(np.arange(20, dtype=np.float32), (15, 1))
    valid = np.ones((15, 20), bool)
    valid[:, 9] = False
    filled, known = fill_seams(elevation * valid, valid)
    assert known.all()
    assert np.allclose(filled[3:-3, 9], 9, atol=0.01)


def test_the_open_sea_beyond_a_coast_is_not_a_seam():
    valid = np.zeros((30, 30), bool)
    valid[:, :12] = True
    _, known = fill_seams(np.ones((30, 30), np.float32), valid)
    assert np.array_equal(known, valid)


@given(layers)
def test_the_first_model_wins_and_the_rest_is_sea(stack):
    elevation, source = merge_elevation(stack)
    first_values, first_valid = stack[0]
    assert np.array_equal(elevation[first_valid], first_values[first_valid])
    assert (source[first_valid] == 1).all()
    assert (elevation[source == 0] == 0).all()
    assert source.max() <= len(stack)


def test_edges_are_extended_with_the_nearest_elevation():
    source = np.zeros((5, 5), np.uint8)
    source[:, :2] = 1
    elevation = np.where(source == 1, np.arange(5, dtype=np.float32)[:, np.newaxis], 0).astype(np.float32)
    assert np.array_equal(extend_edges(elevation, source), np.repeat(np.arange(5.0)[:, np.newaxis], 5, axis=1))
