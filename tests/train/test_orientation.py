"""Directions of center lines, against lines of known direction."""

import numpy as np
import pytest
from scipy.ndimage import label

from headwater.train.batches import apply_symmetry
from headwater.train.orientation import center_lines, orientation_classes

SIDE = 61
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(float)
NORTH, EAST = 30 - ROWS, COLUMNS - 30


def straight(degrees, width=1.0):
    """A line through the middle, and terrain that falls towards `degrees` from east over north."""
    angle = np.radians(degrees)
    along, across = EAST * np.cos(angle) + NORTH * np.sin(angle), EAST * np.sin(angle) - NORTH * np.cos(angle)
    return np.abs(across) <= width / 2, 500 - along


@pytest.mark.parametrize("bin_degrees", [10, 20])
@pytest.mark.parametrize("degrees", range(0, 360, 20))
def test_a_line_has_the_direction_in_which_it_leads_down(degrees, bin_degrees):
    water, elevation = straight(degrees, 1.5)
    classes = orientation_classes(water, elevation, bin_degrees)
    middle = classes[10:-10, 10:-10][water[10:-10, 10:-10]]
    off = (middle * bin_degrees - degrees + 180) % 360 - 180
    assert np.median(off) == pytest.approx(0, abs=bin_degrees / 2)
    assert (np.abs(off) <= bin_degrees).mean() > 0.9


def test_away_from_lines_the_class_is_none():
    water, elevation = straight(30)
    classes = orientation_classes(water, elevation, 20)
    assert (classes[~water] == 18).all()
    assert (classes[water] < 18).all()
    assert classes.dtype == np.int64
    assert (orientation_classes(np.zeros_like(water), elevation, 10) == 36).all()


@pytest.mark.parametrize("symmetry", range(8))
def test_directions_rotate_with_the_chip(symmetry):
    water, elevation = straight(40, 1.5)
    angle = np.radians(40)
    # The new direction of a step towards 40 degrees, from a transformed map of heights that rise in that direction.
    heights = apply_symmetry(EAST * np.cos(angle) + NORTH * np.sin(angle), symmetry)
    south, east = np.gradient(heights)
    expected = np.degrees(np.arctan2(-south[30, 30], east[30, 30])) % 360
    classes = orientation_classes(apply_symmetry(water, symmetry), apply_symmetry(elevation, symmetry), 20)
    middle = classes[25:36, 25:36][apply_symmetry(water, symmetry)[25:36, 25:36]]
    off = (middle * 20 - expected + 180) % 360 - 180
    assert (np.abs(off) <= 20).all()


def test_a_wide_river_has_one_line_and_a_lake_none():
    river = np.abs(NORTH) <= 4
    lines = center_lines(river)
    assert (lines[:, 10:-10].sum(axis=0) == 1).all()
    assert (lines & ~river).sum() == 0
    assert not center_lines(np.hypot(NORTH, EAST) <= 28)[20:40, 20:40].any()


def test_thin_lines_stay_connected():
    bend = np.abs(NORTH - 12 * np.sin(EAST / 8)) <= 1.2
    lines = center_lines(bend)
    assert label(lines, np.ones((3, 3)))[1] == label(bend, np.ones((3, 3)))[1] == 1


def test_with_unknown_elevation_the_direction_follows_the_axis():
    water, elevation = straight(40)
    classes = orientation_classes(water, np.full_like(elevation, np.nan), 20)
    assert np.median(classes[10:-10, 10:-10][water[10:-10, 10:-10]]) == 2


def test_one_unknown_height_changes_no_other_line():
    water, elevation = straight(40)
    whole = orientation_classes(water, elevation, 20)
    elevation[2, 2] = np.nan
    np.testing.assert_array_equal(orientation_classes(water, elevation, 20)[8:, 8:], whole[8:, 8:])
