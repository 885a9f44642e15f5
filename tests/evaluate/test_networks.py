"""Scores by order and connection, compared with slow and plain computations."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.evaluate.line_matching import line_scores
from headwater.evaluate.networks import connected_fraction, length_near, order_scores

METER = 1 / 111_194.9


def lines(*points):
    return gpd.GeoSeries([shapely.LineString(np.array(p) * METER + (20, 0)) for p in points], crs="EPSG:4326")


TRUTH = lines([(0, 0), (1000, 0)], [(0, 500), (1000, 500)])


def test_orders_and_distances_by_hand():
    # The first is found 30 m away and as order 2; of the second, of order 2, half is found; the third is wrong.
    found = lines([(0, 30), (1000, 30)], [(0, 500), (500, 500)], [(0, 2000), (1000, 2000)])
    table = order_scores(found, np.array([2, 2, 1]), TRUTH, np.array([1, 2]))
    assert table["distance_m"].tolist() == [20.0] * 3 + [40.0] * 3 + [60.0] * 3
    assert table["strahler_order"].tolist() == ["all", "1", "2"] * 3
    at = table.set_index(["strahler_order", "distance_m"])
    assert at.loc[("1", 20), "completeness"] == 0
    assert at.loc[("1", 40), "completeness"] == pytest.approx(1, abs=0.001)
    assert at.loc[("2", 20), "completeness"] == pytest.approx(0.52, abs=0.005)
    assert at.loc[("1", 60), "correctness"] == 0
    assert at.loc[("2", 20), "correctness"] == pytest.approx(1 / 3, abs=0.001)
    assert at.loc[("2", 60), "correctness"] == pytest.approx(1)
    assert at.loc[("all", 60), "quality"] == pytest.approx(1500 / (2500 + 440), rel=0.005)


def test_sides_without_orders_have_no_scores_of_orders():
    table = order_scores(TRUTH, np.array([1, 3]), TRUTH, None, distances_m=[20])
    assert table["correctness"].tolist() == [1, 1, 1]
    assert table["completeness"].isna().tolist() == [False, True, True]
    nothing = order_scores(TRUTH.iloc[:0], None, TRUTH, None, distances_m=[20])
    assert nothing["completeness"].tolist() == [0]


coordinates = st.tuples(st.integers(0, 400), st.integers(0, 400))
networks = st.lists(st.lists(coordinates, min_size=2, max_size=4, unique=True), min_size=1, max_size=6)


@given(found=networks, truth=networks, orders=st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_properties(found, truth, orders):
    found, truth = lines(*found), lines(*truth)
    table = order_scores(found, np.array(orders[: len(found)]), truth, np.array(orders[: len(truth)]))
    whole = table[table["strahler_order"] == "all"].set_index("distance_m")
    # A wider buffer finds no less, and the orders add up to all.
    assert whole["completeness"].is_monotonic_increasing
    parts = table[table["strahler_order"] != "all"]
    matched = (parts["completeness"].fillna(0) * parts["true_length_m"]).groupby(parts["distance_m"]).sum()
    assert matched.tolist() == pytest.approx((whole["completeness"] * whole["true_length_m"]).tolist(), abs=1e-6)
    # What is complete one way is correct the other way.
    swapped = order_scores(truth, None, found, None).set_index("distance_m")
    assert swapped["correctness"].tolist() == pytest.approx(whole["completeness"].tolist())


def test_all_orders_agree_with_the_other_way_of_scoring():
    rng = np.random.default_rng(4)
    # Lines that are not on one another, which the other way would count once.
    found, truth = (lines(*(rng.random((3, 2)) * 2000 for _ in range(15))) for _ in range(2))
    ours = order_scores(found, None, truth, None, distances_m=[40]).iloc[0]
    theirs = line_scores(found, truth, distance_m=40)
    assert ours["completeness"] == pytest.approx(theirs.completeness, abs=1e-9)
    assert ours["correctness"] == pytest.approx(theirs.correctness, abs=1e-9)
    assert ours["quality"] == pytest.approx(theirs.quality, abs=1e-9)


def test_length_near_a_crossing_line():
    line = np.array([shapely.LineString([(0, 0), (100, 0)])], object)
    crossing = np.array([shapely.LineString([(50, -50), (50, 50)]), shapely.LineString([(55, -50), (55, 50)])], object)
    assert length_near(line, crossing, distance=10)[0] == pytest.approx(25)
    assert length_near(line, crossing[:0], distance=10)[0] == 0


def network(*rows):
    return pd.DataFrame(rows, columns=["stream_id", "target_stream_id", "from_tdx", "length_m"])


def test_connected_fraction_by_hand():
    table = network(
        (10, -1, True, 100.0),  # the backbone's outlet
        (20, 10, True, 50.0),
        (30, 20, False, 30.0),
        (40, -1, False, 20.0),  # ends on its own
        (50, 40, False, 10.0),
        (60, 999, False, 5.0),  # flows into what is not there
        (70, 80, False, 3.0),  # a circle
        (80, 70, False, 2.0),
    )
    fractions = connected_fraction(table)
    assert fractions["backbone"] == 1
    assert fractions["new"] == pytest.approx(30 / 70)
    assert fractions["all"] == pytest.approx(180 / 220)
    assert np.isnan(connected_fraction(table.iloc[:0])["all"])


@given(st.lists(st.integers(-1, 11), min_size=12, max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_connection_is_what_walking_finds(targets, backbone):
    table = network(*((k, targets[k], backbone[k], 1.0 + k) for k in range(12)))

    def arrives(k):
        for _ in range(13):
            if targets[k] == -1:
                return backbone[k]
            k = targets[k]
        return False

    length = sum(1.0 + k for k in range(12) if arrives(k))
    assert connected_fraction(table)["all"] == pytest.approx(length / table["length_m"].sum())
