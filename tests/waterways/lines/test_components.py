from copy import deepcopy

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage

from headwater.waterways.lines.catchment_raster import NO_LABEL
from headwater.waterways.lines.components import NO_COMPONENT, find_components, reassign_across_divides
from support.small_windows import EIGHT, checkered, picture, reach_of, windows


def cells_of(components, component):
    return components.cells[components.start[component] : components.start[component + 1]]


@given(windows())
def test_components_are_what_is_connected_within_a_catchment(window):
    labels = window.labels
    components = find_components(window.water, window.elevation, labels)
    wet = window.water & ~labels.reach_mask
    assert np.array_equal(components.component != NO_COMPONENT, wet & (labels.catchment >= 0))
    count = 0
    for label in range(labels.count):
        number, here = ndimage.label(wet & (labels.catchment == label), EIGHT)
        pairs = np.unique(np.column_stack([number[number > 0], components.component[number > 0]]), axis=0)
        # One to one.
        assert len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == here
        assert (components.label[pairs[:, 1]] == label).all()
        count += here
    assert len(components.label) == count
    # Numbers go by first cell.
    firsts = [cells_of(components, component)[0] for component in range(count)]
    assert firsts == sorted(firsts)


@given(windows())
def test_facts_of_components(window):
    labels = window.labels
    components = find_components(window.water, window.elevation, labels)
    assert np.array_equal(np.sort(components.cells), np.flatnonzero(components.component >= 0))
    assert components.start[0] == 0
    assert components.start[-1] == len(components.cells)
    flat = window.elevation.ravel()
    adjacent = [ndimage.binary_dilation(reach_of(labels, label), EIGHT) for label in range(labels.count)]
    for component in range(len(components.label)):
        cells = cells_of(components, component)
        assert len(cells)
        assert (components.component.ravel()[cells] == component).all()
        assert components.height_m[component] == flat[cells].min() == flat[components.lowest[component]]
        assert components.lowest[component] in cells
        rows, columns = np.divmod(cells, window.grid.width)
        assert components.extent_px[component] == max(np.ptp(rows), np.ptp(columns)) + 1
        assert components.anchored[component] == adjacent[components.label[component]].ravel()[cells].any()


def moved(window, max_rise_m):
    """Components and labels before and after."""
    before = find_components(window.water, window.elevation, window.labels)
    components, labels = deepcopy((before, window.labels))
    reassign_across_divides(components, window.elevation, labels, max_rise_m=max_rise_m)
    return before, components, labels


@given(windows(), st.sampled_from([0.0, 2.0, 1000.0]))
def test_only_components_without_a_reach_flow_over_borders_and_then_they_have_one(window, max_rise_m):
    before, after, labels = moved(window, max_rise_m)
    gone = before.label != after.label
    assert not before.anchored[gone].any()
    assert np.array_equal(after.anchored, before.anchored | gone)
    for name in ("component", "cells", "start", "lowest", "height_m", "extent_px"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert np.array_equal(labels.reach_mask, window.labels.reach_mask)
    if not gone.any():
        assert np.array_equal(labels.catchment, window.labels.catchment)
    for row, column in checkered(labels.catchment):
        assert labels.reach_mask[row : row + 2, column : column + 2].all()


@given(windows(), st.sampled_from([0.0, 2.0, 1000.0]))
def test_components_go_where_water_is_deeper_or_to_a_reach(window, max_rise_m):
    before, after, _ = moved(window, max_rise_m)
    catchment, heights = window.labels.catchment, window.elevation
    for component in range(len(before.label)):
        own = before.component == component
        adjacent = ndimage.binary_dilation(own, EIGHT) & (catchment >= 0) & (catchment != before.label[component])
        low = heights <= before.height_m[component] + np.float32(max_rise_m)
        there = before.component
        deeper = there >= 0
        deeper[deeper] = before.anchored[there[deeper]] & (before.height_m[there[deeper]] < before.height_m[component])
        onto_reach = adjacent & low & window.labels.reach_mask
        crossings = onto_reach if onto_reach.any() else adjacent & low & deeper
        if before.anchored[component] or not crossings.any():
            assert after.label[component] == before.label[component]
        else:
            # Across the lowest divide.
            assert after.label[component] in catchment[crossings & (heights == heights[crossings].min())]


@given(windows(), st.sampled_from([0.0, 2.0, 1000.0]))
def test_cells_have_the_catchment_of_their_piece(window, max_rise_m):
    _, components, labels = moved(window, max_rise_m)
    wet = components.component >= 0
    # Where no square could be repaired otherwise, a cell of water has lost its catchment.
    lost = labels.catchment[wet] == NO_LABEL
    assert np.array_equal(labels.catchment[wet][~lost], components.label[components.component[wet]][~lost])
    assert lost.sum() <= 0.1 * wet.sum()


def test_two_components_that_change_places_keep_their_catchments():
    labels, water = picture(
        """
        AbaB
        A,.B
        """
    )
    elevation = np.zeros(water.shape, np.float32)
    components = find_components(water, elevation, labels)
    reassign_across_divides(components, elevation, labels, max_rise_m=2.0)
    assert components.label.tolist() == [0, 1]
    assert labels.catchment[1, 2:4].tolist() == [0, 1]


@given(windows())
def test_nothing_changes_where_all_components_touch_their_reach(window):
    components = find_components(window.water, window.elevation, window.labels)
    anchored = components.component >= 0
    anchored[anchored] = components.anchored[components.component[anchored]]
    assume(anchored.any())
    before, labels = find_components(anchored, window.elevation, window.labels), deepcopy(window.labels)
    assert before.anchored.all()
    after = deepcopy(before)
    reassign_across_divides(after, window.elevation, labels, max_rise_m=1000.0)
    assert np.array_equal(after.label, before.label)
    assert np.array_equal(labels.catchment, window.labels.catchment)


def test_a_stream_over_the_border():
    labels, water = picture(
        """
        A....,,,B
        A..aabbbB
        A....,,,B
        Aaaa.,,,B
        A....,,,B
        """
    )
    slope = np.tile(np.arange(11, 0, -1, dtype=np.float32), (7, 1))
    for max_rise_m, height, goes in ((2.0, 0, True), (2.0, 5, False), (6.0, 5, True)):
        elevation = slope.copy()
        elevation[:, 6] += height
        components, own = find_components(water, elevation, labels), deepcopy(labels)
        assert components.label.tolist() == [0, 1, 0]
        assert components.anchored.tolist() == [False, True, True]
        reassign_across_divides(components, elevation, own, max_rise_m=max_rise_m)
        assert components.label.tolist() == [1 if goes else 0, 1, 0]
        assert components.anchored.tolist() == [goes, True, True]
        assert (own.catchment[2, 4:6] == (1 if goes else 0)).all()
    # Never uphill.
    components = find_components(water, -slope, labels)
    reassign_across_divides(components, -slope, labels, max_rise_m=2.0)
    assert components.label.tolist() == [0, 1, 0]


@pytest.mark.parametrize("water", [False, True])
def test_all_land_and_all_water(water):
    labels, _ = picture("...A...\n" * 5)
    components = find_components(np.full((7, 9), water), np.zeros((7, 9), np.float32), labels)
    assert components.label.tolist() == ([0, 0] if water else [])
    assert components.start.tolist() == ([0, 15, 30] if water else [0])
    assert components.anchored.all()
