"""Skeletons keep what is connected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_cdt, label

from headwater.evaluate.skeleton import skeleton


def components(mask):
    return label(mask, np.ones((3, 3)))[1]


def holes(mask):
    return label(np.pad(~mask, 1, constant_values=True))[1]


@given(hnp.arrays(bool, (9, 11)))
def test_pieces_and_holes_stay_and_it_is_thin(water):
    lines = skeleton(water)
    assert not (lines & ~water).any()
    assert components(lines) == components(water)
    assert holes(lines) == holes(water)
    np.testing.assert_array_equal(skeleton(lines), lines)


def test_a_band_becomes_its_middle():
    water = np.zeros((11, 60), bool)
    water[3:8, 5:55] = True
    lines = skeleton(water)
    np.testing.assert_array_equal(np.flatnonzero(lines[:, 30]), [5])
    assert 40 <= lines.sum() <= 60
    assert distance_transform_cdt(water)[lines].mean() > 2.5


@pytest.mark.parametrize("shape", [(1, 9), (9, 1)])
def test_lines_stay_as_they_are(shape):
    line = np.ones(shape, bool)
    np.testing.assert_array_equal(skeleton(line), line)


def test_nothing_stays_nothing():
    assert not skeleton(np.zeros((4, 5), bool)).any()
