from copy import deepcopy

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage

from headwater.waterways.lines.catchment_raster import NO_LABEL
from headwater.waterways.lines.components import NO_PIECE, find_pieces, over_borders
from support.small_windows import EIGHT, checkered, picture, reach_of, windows


def cells_of(pieces, piece):
    return pieces.cells[pieces.start[piece] : pieces.start[piece + 1]]


@given(windows())
def test_pieces_are_what_hangs_together_within_a_catchment(window):
    labels = window.labels
    pieces = find_pieces(window.water, window.elevation, labels)
    wet = window.water & ~labels.mouth
    assert np.array_equal(pieces.piece != NO_PIECE, wet & (labels.catchment >= 0))
    count = 0
    for label in range(labels.count):
        number, here = ndimage.label(wet & (labels.catchment == label), EIGHT)
        pairs = np.unique(np.column_stack([number[number > 0], pieces.piece[number > 0]]), axis=0)
        # One to one.
        assert len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == here
        assert (pieces.label[pairs[:, 1]] == label).all()
        count += here
    assert len(pieces.label) == count
    # Numbers go by first cell.
    firsts = [cells_of(pieces, piece)[0] for piece in range(count)]
    assert firsts == sorted(firsts)


@given(windows())
def test_facts_of_pieces(window):
    labels = window.labels
    pieces = find_pieces(window.water, window.elevation, labels)
    assert np.array_equal(np.sort(pieces.cells), np.flatnonzero(pieces.piece >= 0))
    assert pieces.start[0] == 0
    assert pieces.start[-1] == len(pieces.cells)
    flat = window.elevation.ravel()
    beside = [ndimage.binary_dilation(reach_of(labels, label), EIGHT) for label in range(labels.count)]
    for piece in range(len(pieces.label)):
        cells = cells_of(pieces, piece)
        assert len(cells)
        assert (pieces.piece.ravel()[cells] == piece).all()
        assert pieces.height_m[piece] == flat[cells].min() == flat[pieces.lowest[piece]]
        assert pieces.lowest[piece] in cells
        rows, columns = np.divmod(cells, window.grid.width)
        assert pieces.extent_px[piece] == max(np.ptp(rows), np.ptp(columns)) + 1
        assert pieces.anchored[piece] == beside[pieces.label[piece]].ravel()[cells].any()


def moved(window, max_rise_m):
    """Pieces and labels before and after."""
    before = find_pieces(window.water, window.elevation, window.labels)
    pieces, labels = deepcopy((before, window.labels))
    over_borders(pieces, window.elevation, labels, max_rise_m=max_rise_m)
    return before, pieces, labels


@given(windows(), st.sampled_from([0.0, 2.0, 1000.0]))
def test_only_pieces_without_a_reach_flow_over_borders_and_then_they_have_one(window, max_rise_m):
    before, after, labels = moved(window, max_rise_m)
    gone = before.label != after.label
    assert not before.anchored[gone].any()
    assert np.array_equal(after.anchored, before.anchored | gone)
    for name in ("piece", "cells", "start", "lowest", "height_m", "extent_px"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert np.array_equal(labels.mouth, window.labels.mouth)
    if not gone.any():
        assert np.array_equal(labels.catchment, window.labels.catchment)
    for row, column in checkered(labels.catchment):
        assert labels.mouth[row : row + 2, column : column + 2].all()


@given(windows(), st.sampled_from([0.0, 2.0, 1000.0]))
def test_pieces_go_where_water_is_deeper_or_to_a_reach(window, max_rise_m):
    before, after, _ = moved(window, max_rise_m)
    catchment, heights = window.labels.catchment, window.elevation
    for piece in range(len(before.label)):
        own = before.piece == piece
        beside = ndimage.binary_dilation(own, EIGHT) & (catchment >= 0) & (catchment != before.label[piece])
        low = heights <= before.height_m[piece] + np.float32(max_rise_m)
        there = before.piece
        deeper = there >= 0
        deeper[deeper] = before.anchored[there[deeper]] & (before.height_m[there[deeper]] < before.height_m[piece])
        onto_reach = beside & low & window.labels.mouth
        ways = onto_reach if onto_reach.any() else beside & low & deeper
        if before.anchored[piece] or not ways.any():
            assert after.label[piece] == before.label[piece]
        else:
            # Over the lowest border.
            assert after.label[piece] in catchment[ways & (heights == heights[ways].min())]


@given(windows(), st.sampled_from([0.0, 2.0, 1000.0]))
def test_cells_have_the_catchment_of_their_piece(window, max_rise_m):
    _, pieces, labels = moved(window, max_rise_m)
    wet = pieces.piece >= 0
    # Where no square could be mended otherwise, a cell of water has lost its catchment.
    lost = labels.catchment[wet] == NO_LABEL
    assert np.array_equal(labels.catchment[wet][~lost], pieces.label[pieces.piece[wet]][~lost])
    assert lost.sum() <= 0.1 * wet.sum()


def test_two_pieces_that_change_places_keep_their_catchments():
    labels, water = picture(
        """
        AbaB
        A,.B
        """
    )
    elevation = np.zeros(water.shape, np.float32)
    pieces = find_pieces(water, elevation, labels)
    over_borders(pieces, elevation, labels, max_rise_m=2.0)
    assert pieces.label.tolist() == [0, 1]
    assert labels.catchment[1, 2:4].tolist() == [0, 1]


@given(windows())
def test_nothing_changes_where_all_pieces_touch_their_reach(window):
    pieces = find_pieces(window.water, window.elevation, window.labels)
    anchored = pieces.piece >= 0
    anchored[anchored] = pieces.anchored[pieces.piece[anchored]]
    assume(anchored.any())
    before, labels = find_pieces(anchored, window.elevation, window.labels), deepcopy(window.labels)
    assert before.anchored.all()
    after = deepcopy(before)
    over_borders(after, window.elevation, labels, max_rise_m=1000.0)
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
        pieces, own = find_pieces(water, elevation, labels), deepcopy(labels)
        assert pieces.label.tolist() == [0, 1, 0]
        assert pieces.anchored.tolist() == [False, True, True]
        over_borders(pieces, elevation, own, max_rise_m=max_rise_m)
        assert pieces.label.tolist() == [1 if goes else 0, 1, 0]
        assert pieces.anchored.tolist() == [goes, True, True]
        assert (own.catchment[2, 4:6] == (1 if goes else 0)).all()
    # Never uphill.
    pieces = find_pieces(water, -slope, labels)
    over_borders(pieces, -slope, labels, max_rise_m=2.0)
    assert pieces.label.tolist() == [0, 1, 0]


@pytest.mark.parametrize("water", [False, True])
def test_all_land_and_all_water(water):
    labels, _ = picture("...A...\n" * 5)
    pieces = find_pieces(np.full((7, 9), water), np.zeros((7, 9), np.float32), labels)
    assert pieces.label.tolist() == ([0, 0] if water else [])
    assert pieces.start.tolist() == ([0, 15, 30] if water else [0])
    assert pieces.anchored.all()
