import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from headwater.waterways.lines.thin import FLAT_HOLE_PX, SMALL_HOLE_PX, fill_holes, thin, wide_water
from support.small_windows import EIGHT, drawing, joined_water, picture, reach_of, text, windows


def ring_of(water, row, column):
    """The neighbors of a cell, from the east counterclockwise."""
    around = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
    return [bool(water[row + down, column + right]) for down, right in around]


def connectivity(ring):
    """Yokoi's number for 8-connected water."""
    dry = [not wet for wet in ring]
    return sum(dry[k] - (dry[k] and dry[k + 1] and dry[(k + 2) % 8]) for k in (0, 2, 4, 6))


def topology(water):
    """Parts of water, 8-connected, and of land, 4-connected."""
    return ndimage.label(water, EIGHT)[1], ndimage.label(~water)[1]


@given(windows(), st.integers(1, 8))
def test_thinning_keeps_what_is_connected_and_every_hole(window, min_end_px):
    labels, water = window.labels, joined_water(window)
    lines = thin(water, window.elevation, labels, min_end_px=min_end_px)
    assert not (lines & ~water).any()
    for label in range(labels.count):
        own, reach = labels.catchment == label, reach_of(labels, label)
        assert topology((lines & own) | reach) == topology((water & own & ~labels.reach_mask) | reach)


@given(windows(), st.integers(1, 8))
def test_no_more_can_be_taken_away(window, min_end_px):
    labels, water = window.labels, joined_water(window)
    lines = thin(water, window.elevation, labels, min_end_px=min_end_px)
    wide = wide_water(water, labels)
    for label in range(labels.count):
        whole = (lines & (labels.catchment == label)) | reach_of(labels, label)
        beside_wide = ndimage.binary_dilation(wide & (labels.catchment == label), EIGHT)
        for row, column in np.argwhere(lines & (labels.catchment == label) & ~beside_wide):
            ring = ring_of(whole, row, column)
            assert sum(ring) <= 1 or connectivity(ring) != 1


@given(windows())
def test_thin_lines_stay_as_they_are(window):
    """But for wide water, and ends that have become free."""
    labels, water = window.labels, joined_water(window)
    lines = thin(water, window.elevation, labels, min_end_px=1)
    if not (wide_water(water, labels)).any():
        assert np.array_equal(thin(lines, window.elevation, labels, min_end_px=1), lines)


def opened(window):
    """Wide water, and what it should be: all cells of squares of water, reaches included, of four cells by four."""
    labels, water = window.labels, joined_water(window)
    squares = ndimage.binary_opening(water | labels.reach_mask, np.ones((4, 4)))
    return wide_water(water, labels), squares & water & ~labels.reach_mask


@given(windows())
def test_wide_water_holds_a_square_of_four_cells_by_four(window):
    wide, expected = opened(window)
    assert np.array_equal(wide, expected)


@given(windows())
def test_holes_are_filled_completely(window):
    labels, water = window.labels, joined_water(window)
    filled = water.copy()
    fill_holes(filled, window.elevation, labels)
    assert not (water & ~filled).any()
    full = water | labels.reach_mask
    wide = wide_water(water, labels)
    holes, count = ndimage.label(~full)
    for hole in range(1, count + 1):
        cells = holes == hole
        catchment = np.unique(labels.catchment[cells])
        adjacent = ndimage.binary_dilation(cells) & full
        own_shore = len(catchment) == 1 and (water & adjacent & (labels.catchment == catchment[0])).any()
        if len(catchment) > 1 or catchment[0] < 0 or not own_shore or cells.sum() >= FLAT_HOLE_PX:
            assert not filled[cells].any()
        elif cells.sum() < SMALL_HOLE_PX:
            assert filled[cells].all()
        else:
            sides = [(np.roll(cells, step, axis) & adjacent) for axis in (0, 1) for step in (1, -1)]
            borders, wide_borders = (sum(int((s & w).sum()) for s in sides) for w in (full, wide))
            flat = np.ptp(window.elevation[cells]) < 4 and 2 * wide_borders < borders
            assert (filled[cells] == flat).all()


def bar(width, length, slope):
    """A bar across from a reach in the west; terrain that falls or rises along it, or across it."""
    labels, water = picture("\n".join(["A" + "." * (length + 3)] * (width + 6)))
    water[4 : 4 + width, 2 : 2 + length] = True
    rows, columns = np.indices(water.shape)
    elevation = {"flat": 0 * rows, "to": columns, "from": -columns, "across": rows, "askew": rows - 2 * columns}[slope]
    return labels, water, elevation.astype(np.float32)


@pytest.mark.parametrize("slope", ["flat", "to", "from", "across", "askew"])
@pytest.mark.parametrize("width", range(1, 8))
@pytest.mark.parametrize("length", [1, 2, 5, 17, 40])
def test_a_bar_keeps_its_length(width, length, slope):
    labels, water, elevation = bar(width, length, slope)
    lines = thin(water, elevation, labels, min_end_px=4)
    if width > 3 and length < 4 * (width + 1) // 2:
        # A lake is no channel.
        assert lines.sum() <= max(width, length)
    else:
        assert np.flatnonzero(lines.any(axis=0)).max(initial=1) >= 1 + length - 2


@pytest.mark.parametrize("slope", ["flat", "to", "from", "across", "askew"])
@pytest.mark.parametrize(
    ("width", "length"),
    [
        *((width, length) for width in (1, 2, 3) for length in (5, 17, 40)),
        (4, 16),
        (5, 24),
        (7, 30),
        (5, 40),
        (7, 40),
    ],
)
def test_a_bar_becomes_one_line(width, length, slope):
    labels, water, elevation = bar(width, length, slope)
    lines = thin(water, elevation, labels, min_end_px=4)
    # Except for forks as long as it is wide next to the reach and at the end.
    assert (lines.sum(axis=0)[2 + width : 2 + length - width] == 1).all()


@pytest.mark.parametrize("slope", [-1, 0, 1])
def test_a_ring_round_an_island_stays_until_it_is_filled(slope):
    labels, water = picture(
        """
        A...........
        A..aaaaa....
        A..aaaaa....
        Aaaaa.aaaaaa
        A..aaaaa....
        A..aaaaa....
        A...........
        """
    )
    elevation = (slope * np.indices(water.shape)[1]).astype(np.float32)
    lines = thin(water, elevation, labels, min_end_px=4)
    assert topology(lines | labels.reach_mask) == (1, 2)
    assert lines[4, 12]
    fill_holes(water, elevation, labels)
    assert water[4, 6]
    lines = thin(water, elevation, labels, min_end_px=4)
    assert topology(lines | labels.reach_mask) == (1, 1)
    assert lines[4, 12]


def test_catchments_are_thinned_as_if_they_did_not_touch():
    labels, water = picture(
        """
        A.......B
        AaaaabbbB
        A.......B
        """
    )
    lines = thin(water, np.zeros(water.shape, np.float32), labels, min_end_px=4)
    assert drawing(lines, water, labels) == text(
        """
        A.......B
        A#######B
        A.......B
        """
    )
