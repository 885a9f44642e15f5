import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headwater.composite import METHODS, Compositor, clear_mask, harmonise, sigmoid_scale
from headwater.errors import InputError

SHAPE = (6, 7)
scenes = st.lists(
    st.tuples(
        hnp.arrays(np.uint8, (4, *SHAPE), elements=st.integers(0, 255)),
        hnp.arrays(bool, SHAPE),
    ),
    min_size=1,
    max_size=5,
)


def composite(stack, method):
    compositor = Compositor(SHAPE, bands=4, method=method)
    for scene, clear in stack:
        compositor.add(scene, clear)
    return compositor.result()


def test_the_offset_goes_and_nodata_stays():
    dn = np.array([0, 1, 999, 1000, 1001, 5000, 65535], np.uint16)
    assert harmonise(dn, offset=1000).tolist() == [0, 1, 1, 1, 1, 4000, 64535]
    assert harmonise(dn, offset=0) is dn


def test_the_sigmoid_is_the_formula_of_the_release():
    dn = np.array([[[0, 500, 1000, 2500]]], np.uint16)
    scaled = sigmoid_scale(dn, mean=[1000.0], std=[500.0])[0, 0]
    expected = [0] + [round(255 / (1 + np.exp(-0.6 * (v - 1000) / 500))) for v in (500, 1000, 2500)]
    assert scaled.tolist() == expected


@given(hnp.arrays(np.uint16, (1, 5, 5)), st.floats(1, 20000), st.floats(0.1, 5000))
def test_only_nodata_becomes_nodata_and_order_is_kept(dn, mean, std):
    scaled = sigmoid_scale(dn, mean=[mean], std=[std])
    assert np.array_equal(scaled == 0, dn == 0)
    order = np.argsort(dn, axis=None, kind="stable")
    assert np.all(np.diff(scaled.ravel()[order].astype(int)) >= 0)


def test_clear_classes_are_those_of_the_method():
    scl = np.arange(12, dtype=np.uint8)[np.newaxis]
    assert np.flatnonzero(clear_mask(scl, dilate_px=0)).tolist() == [2, 4, 5, 6, 7, 11]


def test_clouds_grow_but_the_swath_edge_does_not():
    scl = np.full((9, 9), 4, np.uint8)
    scl[4, 4] = 9
    scl[:, 0] = 0
    clear = clear_mask(scl, dilate_px=2)
    assert (~clear[:, 1:]).sum() == 13
    assert clear[:, 1].all()


@given(scenes, st.sampled_from(METHODS))
def test_nothing_is_made_up_where_no_scene_is_clear(stack, method):
    image, views = composite(stack, method)
    seen = [clear & (scene != 0).all(axis=0) for scene, clear in stack]
    assert np.array_equal(views, np.sum(seen, axis=0))
    assert np.array_equal(views == 0, (image == 0).all(axis=0))


@given(scenes, st.sampled_from(METHODS))
def test_each_value_lies_between_the_clear_views(stack, method):
    image, views = composite(stack, method)
    seen = np.stack([clear & (scene != 0).all(axis=0) for scene, clear in stack])[:, np.newaxis]
    values = np.stack([scene for scene, _ in stack]).astype(int)
    lowest = np.where(seen, values, 999).min(axis=0)
    highest = np.where(seen, values, -1).max(axis=0)
    ok = np.broadcast_to(views > 0, image.shape)
    assert (image[ok] >= lowest[ok]).all()
    assert (image[ok] <= highest[ok]).all()


@given(scenes, st.randoms())
def test_mean_and_median_do_not_depend_on_the_order_of_scenes(stack, random):
    shuffled = list(stack)
    random.shuffle(shuffled)
    for method in ("mean", "median"):
        assert np.array_equal(composite(stack, method)[0], composite(shuffled, method)[0])


@given(scenes)
@settings(max_examples=30)
def test_best_first_takes_the_first_clear_scene_and_median_and_mean_are_numpys(stack):
    seen = [clear & (scene != 0).all(axis=0) for scene, clear in stack]
    best, views = composite(stack, "best_first")
    mean, _ = composite(stack, "mean")
    median, _ = composite(stack, "median")
    for row, column in zip(*np.nonzero(views), strict=True):
        values = [scene[:, row, column] for (scene, _), ok in zip(stack, seen, strict=True) if ok[row, column]]
        assert np.array_equal(best[:, row, column], values[0])
        assert np.array_equal(mean[:, row, column], np.floor(np.mean(values, axis=0) + 0.5))
        assert np.array_equal(median[:, row, column], np.quantile(values, 0.5, axis=0, method="lower"))


def test_best_first_stops_when_nothing_is_left_to_fill():
    compositor = Compositor(SHAPE, bands=4, method="best_first")
    assert not compositor.is_full
    compositor.add(np.full((4, *SHAPE), 9, np.uint8), np.ones(SHAPE, bool))
    assert compositor.is_full


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="brightest"):
        Compositor(SHAPE, bands=4, method="brightest")
