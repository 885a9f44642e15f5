"""Trees join all pixels of an area, from low to high."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from headwater.core.errors import InputError
from headwater.flood.trees import collapse, contour_tree, make_tree, split_tree


def elevation_of(seed, shape=(7, 9), steps=0, holes=0):
    rng = np.random.default_rng(seed)
    elevation = ndimage.gaussian_filter(rng.normal(size=shape), 1) * 20
    if steps:
        elevation = np.round(elevation * steps)
    elevation.ravel()[rng.integers(0, elevation.size, holes)] = np.nan
    return elevation


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["hmt", "hmct"]), st.sampled_from([0, 1]), st.sampled_from([0, 25]))
def test_edges_go_up_and_join_each_area(seed, kind, steps, holes):
    elevation = elevation_of(seed, steps=steps, holes=holes)
    tree = make_tree(elevation, kind)
    known = np.flatnonzero(np.isfinite(elevation))
    areas, count = ndimage.label(np.isfinite(elevation), np.ones((3, 3)))
    assert sorted(tree.sequence.tolist()) == known.tolist()
    low, high = tree.edges.T
    assert len(low) == len(known) - count
    heights = elevation.ravel()
    assert ((heights[low] < heights[high]) | ((heights[low] == heights[high]) & (low < high))).all()
    assert (areas.ravel()[low] == areas.ravel()[high]).all()
    # Leaves first: a node is joined to one that comes later.
    place = np.full(elevation.size, -1)
    place[tree.sequence] = np.arange(len(known))
    inner = tree.sequence[tree.toward[tree.sequence] >= 0]
    assert (place[inner] < place[tree.toward[inner]]).all()
    # In the split tree each pixel has one child at most.
    if kind == "hmt":
        assert len(np.unique(low)) == len(low)


def test_a_slope_is_a_chain_and_two_hills_split_the_contour_tree():
    slope = np.arange(12.0).reshape(1, 12)
    for tree in (split_tree(slope), contour_tree(slope)):
        assert sorted(map(tuple, tree.edges.tolist())) == [(k, k + 1) for k in range(11)]
    hills = np.array([[0.0, 5, 1, 7, 0.5]])
    low, _ = contour_tree(hills).edges.T
    assert np.bincount(low).max() == 2
    assert np.bincount(split_tree(hills).edges[:, 0]).max() == 1


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(["hmt", "hmct"]))
def test_equal_neighbors_become_one_node(seed, kind):
    elevation = elevation_of(seed, steps=0.3)
    tree = make_tree(elevation, kind)
    joined, node = collapse(tree, elevation)
    count = node.max() + 1
    assert sorted(joined.sequence.tolist()) == list(range(count))
    assert len(joined.edges) == count - 1
    heights = np.full(count, np.nan)
    heights[node] = elevation.ravel()
    assert (heights[node] == elevation.ravel()).all()
    low, high = joined.edges.T
    assert (heights[low] < heights[high]).all()
    flat = np.zeros((3, 4))
    assert len(collapse(make_tree(flat, kind), flat)[0].sequence) == 1


def test_elevation_that_is_none_is_refused():
    for elevation, message in (
        (np.full((2, 2), np.nan), "No pixel has an elevation"),
        (np.full((2, 2), -32768.0), "not an elevation"),
        (np.zeros(4), "has the shape"),
    ):
        with pytest.raises(InputError, match=message):
            split_tree(elevation)
