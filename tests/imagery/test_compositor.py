import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headwater.core.errors import InputError
from headwater.imagery.compositor import METHODS, Compositor, harmonize, scaling_tables, sigmoid_scale

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
    assert harmonize(dn, offset=1000).tolist() == [0, 1, 1, 1, 1, 4000, 64535]
    assert harmonize(dn, offset=0) is dn


def test_the_sigmoid_is_the_formula_of_the_release():
    dn = np.array([[[0, 500, 1000, 2500]]], np.uint16)
    scaled = sigmoid_scale(dn, scaling_tables(mean=[1000.0], std=[500.0], offset=0))[0, 0]
    expected = [0] + [round(255 / (1 + np.exp(-0.6 * (v - 1000) / 500))) for v in (500, 1000, 2500)]
    assert scaled.tolist() == expected


@given(hnp.arrays(np.uint16, (1, 5, 5)), st.floats(1, 20000), st.floats(0.1, 5000))
def test_only_nodata_becomes_nodata_and_order_is_kept(dn, mean, std):
    scaled = sigmoid_scale(dn, scaling_tables(mean=[mean], std=[std], offset=0))
    assert np.array_equal(scaled == 0, dn == 0)
    order = np.argsort(dn, axis=None, kind="stable")
    assert np.all(np.diff(scaled.ravel()[order].astype(int)) >= 0)


@given(scenes, st.sampled_from(METHODS))
def test_nothing_is_made_up_where_no_scene_is_clear(stack, method):
    image, views = composite(stack, method)
    seen = [clear & (scene != 0).all(axis=0) for scene, clear in stack]
    assert np.array_equal(views, np.sum(seen, axis=0))
    assert np.array_equal(views == 0, (image == 0).all(axis=0))


@given(scenes, st.sampled_from(METHODS))
def test_each_value_is_between_the_clear_views(stack, method):
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
        assert np.array_equal(median[:, row, column], np.floor(np.median(values, axis=0) + 0.5))


def test_best_first_wants_a_part_only_where_something_is_missing():
    compositor = Compositor(SHAPE, bands=4, method="best_first")
    everywhere = np.ones(SHAPE, bool)
    assert compositor.wants(everywhere, everywhere)
    compositor.add(np.full((4, 6, 6), 9, np.uint8), everywhere[:, :6])
    assert not compositor.wants(everywhere[:, :6], everywhere[:, :6])
    assert compositor.wants(everywhere[:, :1], everywhere[:, :1], column=6)
    compositor.count(everywhere)
    assert compositor.result()[1].tolist() == [[2] * 6 + [0]] * 6


@given(scenes, st.sampled_from(METHODS), st.booleans(), st.integers(1, 5), st.integers(1, 6))
def test_parts_give_the_same_as_all_at_once(stack, method, allow_cloud, row, column):
    at_once = Compositor(SHAPE, bands=4, method=method, allow_cloud=allow_cloud)
    parted = Compositor(SHAPE, bands=4, method=method, allow_cloud=allow_cloud)
    for scene, clear in stack:
        at_once.add(scene, clear)
        for number, (ys, xs) in enumerate(
            [(slice(0, row), slice(None)), (slice(row, 6), slice(0, column)), (slice(row, 6), slice(column, 7))]
        ):
            parted.add(scene[:, ys, xs], clear[ys, xs], row=ys.start, column=xs.start or 0, new_scene=number == 0)
    assert all(np.array_equal(a, b) for a, b in zip(at_once.result(), parted.result(), strict=True))


@given(scenes, st.sampled_from(METHODS))
def test_allowed_clouds_only_fill_what_no_clear_view_does_and_are_flagged(stack, method):
    strict, views = composite(stack, method)
    compositor = Compositor(SHAPE, bands=4, method=method, allow_cloud=True)
    for scene, clear in stack:
        compositor.add(scene, clear)
    image, flagged = compositor.result()
    assert np.array_equal(flagged, views)
    assert np.array_equal(image[:, views > 0], strict[:, views > 0])
    # What is left empty no scene shows at all; the rest is what the method makes of the cloudy views alone.
    shown = np.any([(scene != 0).all(axis=0) for scene, _ in stack], axis=0)
    assert np.array_equal(shown, (image != 0).all(axis=0))
    clouds, _ = composite([(scene, ~clear) for scene, clear in stack], method)
    assert np.array_equal(image[:, views == 0], clouds[:, views == 0])


def test_more_views_than_a_byte_counts_do_not_overflow():
    compositor = Compositor((1, 1), bands=1, method="mean")
    for _ in range(300):
        compositor.add(np.full((1, 1, 1), 255, np.uint8), np.ones((1, 1), bool))
    assert [int(part.item()) for part in compositor.result()] == [255, 255]


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="brightest"):
        Compositor(SHAPE, bands=4, method="brightest")
