"""Pixel scores, by hand and by property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headwater.evaluate.pixel_counts import PixelCounts, count_pixels


def mask(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


def test_a_line_drawn_thicker_is_tolerated():
    target = mask(".....", "#####", ".....", ".....", ".....")
    predicted = mask(".....", "#####", "#####", ".....", ".....")
    counts = count_pixels(predicted, target)
    assert counts == PixelCounts(true_positive=5, false_positive=5, tolerable_false_positive=5)
    scores = counts.scores()
    assert scores["precision"] == 0.5
    assert scores["precision*"] == 1
    assert scores["recall*"] == 1


def test_a_line_drawn_thinner_is_tolerated():
    target = mask(".....", "#####", "#####", ".....", ".....")
    predicted = mask(".....", "#####", ".....", ".....", ".....")
    counts = count_pixels(predicted, target)
    assert counts == PixelCounts(true_positive=5, false_negative=5, tolerable_false_negative=5)
    assert counts.scores()["recall"] == 0.5
    assert counts.scores()["recall*"] == 1


def test_errors_far_from_the_line_are_not_tolerated():
    target = mask("#....", "#....", "#....", "#....", "#....")
    predicted = mask("#...#", "#...#", "#...#", "#...#", "#...#")
    assert count_pixels(predicted, target) == PixelCounts(true_positive=5, false_positive=5)
    assert count_pixels(target, predicted) == PixelCounts(true_positive=5, false_negative=5)


def test_the_middle_of_a_blob_is_not_a_matter_of_thickness():
    # The false positives touch a target pixel, but the inner one has no unpredicted pixel in its window.
    target = mask(".....", ".....", "..#..", ".....", ".....")
    predicted = mask("#####", "#####", "#####", "#####", "#####")
    counts = count_pixels(predicted, target)
    assert counts == PixelCounts(true_positive=1, false_positive=24, tolerable_false_positive=0)


def test_a_missed_line_of_one_pixel_touching_a_hit():
    # The missed pixel next to a hit has a predicted pixel and land in its window; the others have none.
    target = mask(".....", "#####", ".....")
    predicted = mask(".....", "##...", ".....")
    counts = count_pixels(predicted, target)
    assert counts == PixelCounts(true_positive=2, false_negative=3, tolerable_false_negative=1)
    assert counts.scores()["recall"] == pytest.approx(2 / 5)
    assert counts.scores()["recall*"] == pytest.approx(2 / (2 + 3 - 1))


def test_starred_recall_uses_tolerable_false_positives_too():
    counts = PixelCounts(
        true_positive=6,
        false_positive=4,
        false_negative=5,
        tolerable_false_positive=3,
        tolerable_false_negative=2,
    )
    scores = counts.scores()
    assert scores["precision*"] == pytest.approx((6 + 3) / (6 + 4))
    assert scores["recall*"] == pytest.approx((6 + 3) / (6 + 5 + 3 - 2))
    assert scores["f1*"] == pytest.approx(2 * 0.9 * 0.75 / (0.9 + 0.75))


def test_pixels_left_out_are_not_counted():
    target = mask("##..", "....", "....")
    predicted = mask("#..#", "....", "....")
    counted = mask("#...", "####", "####")
    assert count_pixels(predicted, target, counted) == PixelCounts(true_positive=1)


def test_nothing_to_find_and_nothing_found_is_zero_not_an_error():
    empty = np.zeros((3, 3), dtype=bool)
    assert set(count_pixels(empty, empty).scores().values()) == {0.0}


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes"):
        count_pixels(np.zeros((2, 2), dtype=bool), np.zeros((2, 3), dtype=bool))


masks = hnp.arrays(bool, (7, 9))


@given(predicted=masks, target=masks, symmetry=st.integers(0, 3))
def test_properties(predicted, target, symmetry):
    counts = count_pixels(predicted, target)
    assert counts.true_positive + counts.false_positive == predicted.sum()
    assert counts.true_positive + counts.false_negative == target.sum()
    assert counts.tolerable_false_positive <= counts.false_positive
    assert counts.tolerable_false_negative <= counts.false_negative
    scores = counts.scores()
    assert all(0 <= value <= 1 for value in scores.values())
    assert scores["precision*"] >= scores["precision"]
    assert scores["recall*"] >= scores["recall"]
    rotated = count_pixels(np.rot90(predicted, symmetry), np.rot90(target, symmetry))
    assert rotated == counts
    # Swapping the masks swaps the kinds of error.
    swapped = count_pixels(target, predicted)
    assert swapped.false_positive == counts.false_negative
    assert swapped.tolerable_false_positive == counts.tolerable_false_negative


@settings(max_examples=20, deadline=None)
@given(mask=masks)
def test_a_perfect_prediction_scores_one(mask):
    scores = count_pixels(mask, mask).scores()
    assert set(scores.values()) == ({1.0} if mask.any() else {0.0})
