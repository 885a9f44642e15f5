"""Scores against water types, compared with plain loops and cases by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headwater.evaluate.nhd import WATER_TYPES
from headwater.evaluate.tiles import SCORES, count_tile, score_table, sum_tiles, type_table
from headwater.evaluate.water_types import UNKNOWN_TYPE

SHAPE = (8, 10)
PERENNIAL, SWAMP, CANAL, PLAYA, DRY_LAKE = 19, 5, 15, 1, 7
masks = hnp.arrays(bool, SHAPE)
types_of_pixels = hnp.arrays(
    np.uint8, SHAPE, elements=st.sampled_from([0, PLAYA, SWAMP, DRY_LAKE, CANAL, PERENNIAL, 16, UNKNOWN_TYPE])
)


def brute_force(predicted, types, valid, *, leave_masked_out):
    """Scores by loops over pixels and windows, straight from their definition."""
    rows, columns = types.shape
    value = {number: value for number, (_, value) in WATER_TYPES.items()} | {0: 0}

    def scored(r, c):
        if not valid[r, c] or types[r, c] == UNKNOWN_TYPE:
            return False
        return not (leave_masked_out and 0 < value[types[r, c]] < 1)

    def target(r, c):
        return value[types[r, c]] > 0

    tp = fp = fn = tfp = tfn = 0
    for r in range(rows):
        for c in range(columns):
            if not scored(r, c):
                continue
            window = [
                (i, j)
                for i in range(max(r - 1, 0), min(r + 2, rows))
                for j in range(max(c - 1, 0), min(c + 2, columns))
                if scored(i, j)
            ]
            if predicted[r, c] and target(r, c):
                tp += 1
            elif predicted[r, c]:
                fp += 1
                tfp += any(target(*w) for w in window) and any(not predicted[w] for w in window)
            elif target(r, c):
                fn += 1
                tfn += any(not target(*w) for w in window) and any(predicted[w] for w in window)

    def ratio(a, b):
        return a / b if b else 0.0

    def f1(p, r):
        return ratio(2 * p * r, p + r)

    p, r = ratio(tp, tp + fp), ratio(tp, tp + fn)
    ps, rs = ratio(tp + tfp, tp + fp), ratio(tp + tfp, tp + fn + tfp - tfn)
    return [p, r, f1(p, r), ps, rs, f1(ps, rs)]


@given(predicted=masks, types=types_of_pixels, valid=masks)
def test_scores_are_those_of_the_definition(predicted, types, valid):
    scores = count_tile(predicted, types, valid).scores()
    plain = brute_force(predicted, types, valid, leave_masked_out=False)
    unmasked = brute_force(predicted, types, valid, leave_masked_out=True)
    assert [scores[name] for name in SCORES[:9]] == pytest.approx(plain + unmasked[:3])


@given(predicted=masks, types=types_of_pixels, turns=st.integers(0, 3), mirrored=st.booleans())
def test_properties(predicted, types, turns, mirrored):
    counts = count_tile(predicted, types)
    scores = counts.scores()
    assert all(0 <= score <= 1 for score in scores.values())
    assert scores["P*"] >= scores["P"]
    assert scores["R*"] >= scores["R"]
    assert (counts.predicted_of_type <= counts.of_type).all()
    assert counts.of_type.sum() == ((types > 0) & (types != UNKNOWN_TYPE)).sum()
    water = [number for number, (_, value) in WATER_TYPES.items() if value > 0]
    assert counts.plain.true_positive == counts.predicted_of_type[water].sum()

    def turn(image):
        return np.rot90(image[:, ::-1] if mirrored else image, turns)

    rotated = count_tile(turn(predicted), turn(types))
    assert rotated.plain == counts.plain
    assert rotated.unmasked == counts.unmasked


@given(predicted=hnp.arrays(bool, (12, 14)), types=hnp.arrays(np.uint8, (12, 14), elements=st.sampled_from([0, 5, 19])))
def test_tiles_with_a_halo_add_up_to_the_raster(predicted, types):
    total = None
    for top in (0, 5):
        for left in (0, 7):
            bottom, right = (5 if top == 0 else 12), (7 if left == 0 else 14)
            rows = slice(max(top - 1, 0), min(bottom + 1, 12))
            columns = slice(max(left - 1, 0), min(right + 1, 14))
            core = (slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start))
            counts = count_tile(predicted[rows, columns], types[rows, columns], core=core)
            total = counts if total is None else total + counts
    whole = count_tile(predicted, types)
    assert total.plain == whole.plain
    assert total.unmasked == whole.unmasked
    assert total.pixels == whole.pixels
    np.testing.assert_array_equal(total.of_type, whole.of_type)


def test_masked_types_are_water_in_the_plain_scores_and_nothing_in_the_double_starred():
    types = np.array([[PERENNIAL, PERENNIAL, SWAMP, SWAMP, 0, PLAYA]], np.uint8)
    predicted = np.array([[True, False, True, False, False, True]])
    scores = count_tile(predicted, types).scores()
    assert (scores["P"], scores["R"]) == (pytest.approx(2 / 3), 0.5)
    assert (scores["P**"], scores["R**"]) == (0.5, 0.5)


def test_cldice_by_hand():
    types = np.zeros((7, 12), np.uint8)
    types[3] = PERENNIAL
    thick = np.zeros(types.shape, bool)
    thick[2:5] = True
    # A line drawn thrice as thick has the same middle, though most of it is wrong pixel by pixel.
    assert count_tile(thick, types).scores()["clDice"] == 1
    assert count_tile(thick, types).scores()["P"] == pytest.approx(1 / 3)
    half = np.zeros(types.shape, bool)
    half[3, :6] = True
    assert count_tile(half, types).scores()["clDice"] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert count_tile(~thick, np.zeros_like(types)).scores()["clDice"] == 0


def line(number, predicted=True):
    types = np.zeros((4, 5), np.uint8)
    types[2] = number
    return count_tile(predicted & (types > 0), types)


def test_tables_in_the_papers_layout():
    tiles = [("HU4 103", line(PERENNIAL)), ("HU4 103", line(CANAL, False)), ("HU4 204", line(SWAMP))]
    nobody = count_tile(np.ones((4, 5), bool), np.full((4, 5), UNKNOWN_TYPE, np.uint8))
    subsets, regions = sum_tiles(iter([*tiles, ("HU4 309", nobody)]))
    table = score_table(subsets, pixels=60)
    assert list(table.columns) == list(SCORES)
    assert table["data_percent"].round(1).to_dict() == {
        "All Data Included": 100.0,
        "Data With Any Mask Type Excluded": 33.3,
        "Canals Excluded": 66.7,
        "Canals Included": 33.3,
        "Intermittent Lakes Excluded": 100.0,
        "Swamps Excluded": 66.7,
        "Swamps Included": 33.3,
    }
    assert table.loc["All Data Included", "R"] == pytest.approx(2 / 3)
    assert table.loc["Canals Excluded", "R"] == 1
    assert table.loc["Canals Included", "F1"] == 0
    assert list(score_table(regions, pixels=60).index) == ["HU4 103", "HU4 204"]
    types = type_table(subsets["All Data Included"])
    assert types.loc["canal"].tolist() == ["masked", 5, 0.0]
    assert types.loc["perennial stream"].tolist() == ["water", 5, 1.0]
    assert len(types) == 3
