import numpy as np
from scipy import ndimage

from headwater.waterways.published.connect import EIGHT, connect_to_reach, drop_foreign, lowest_cells


def picture(text):
    """# water, = reach, . land; the outer rows and columns are added."""
    rows = [list(line) for line in text.split()]
    cells = np.pad(np.array(rows), 1, constant_values=".")
    return (cells == "#") | (cells == "="), cells == "="


def test_lowest_cell_is_of_the_smoothed_elevation_and_ties_take_the_first():
    labels = np.zeros((5, 9), np.int32)
    labels[2, 1:8] = 1
    elevation = np.full((5, 9), 10.0, np.float32)
    assert lowest_cells(labels, 1, elevation).tolist() == [2 * 9 + 1]
    elevation[1:4, 5:8] = 3
    # A single low pixel is noise against a low neighbourhood.
    elevation[2, 2] = 0
    assert lowest_cells(labels, 1, elevation).tolist() == [2 * 9 + 6]


def test_foreign_water_is_dropped_and_the_rest_is_cut():
    water = np.zeros((7, 20), bool)
    inside = np.zeros((7, 20), bool)
    inside[:, :10] = True
    water[1, 8:18] = True  # mostly outside
    water[3, 2:14] = True  # mostly inside
    water[5, 8:18] = True  # mostly outside, yet it flows in
    elevation = np.tile(np.arange(20, 0, -1, dtype=np.float32), (7, 1))
    elevation[4:] = np.arange(20)
    kept = drop_foreign(water, inside, np.zeros_like(water), elevation)
    assert not kept[1].any()
    assert np.flatnonzero(kept[3]).tolist() == list(range(2, 10))
    assert np.flatnonzero(kept[5]).tolist() == [8, 9]


def test_water_on_the_reach_stays_although_most_of_its_river_lies_outside():
    water, reach = picture(
        """
        ..#...........
        ..=###########
        ..#..#...#...#
        .....#...#...#
        """
    )
    inside = np.zeros(water.shape, bool)
    inside[1:-1, 1:5] = True
    elevation = np.tile(np.linspace(20, 0, water.shape[1], dtype=np.float32), (water.shape[0], 1))
    kept = drop_foreign(water, inside, reach, elevation)
    assert np.array_equal(kept, water & inside)
    # Without hold on the reach it is the neighbour's river.
    assert not drop_foreign(water, inside, np.zeros_like(reach), elevation).any()


def test_near_water_carries_the_search_to_far_water():
    water, reach = picture("=..##..##.......##")
    inside = np.zeros(water.shape, bool)
    inside[1:-1, 1:-1] = True
    bits = np.where(water, 0.0, 1.0)
    level = np.zeros(water.shape, np.float32)
    # Gaps of 2, 2 and 7 cells: the first two fall to a limit of 3, the last needs the second limit.
    first = connect_to_reach(water, reach, inside, bits, level, limits=(3,))
    assert np.flatnonzero(first[1]).tolist() == list(range(1, 10))
    both = connect_to_reach(water, reach, inside, bits, level, limits=(3, 8))
    assert np.flatnonzero(both[1]).tolist() == list(range(1, 19))
    assert not connect_to_reach(water, reach, inside, bits, level, limits=(1,))[1, 2:].any()


def test_what_is_connected_is_one_piece():
    random = np.random.default_rng(7)
    for _ in range(20):
        inside = np.zeros((30, 30), bool)
        inside[1:-1, 1:-1] = True
        reach = np.zeros_like(inside)
        reach[15, 3:25] = True
        probability = ndimage.gaussian_filter(random.random(inside.shape), 1)
        water = (inside & (probability > 0.55)) | reach
        elevation = ndimage.gaussian_filter(random.random(inside.shape), 3).astype(np.float32) * 100
        connected = connect_to_reach(water, reach, inside, np.where(water, 0.0, 2.0), elevation, limits=(4, 50, 1e9))
        assert ndimage.label(connected, structure=EIGHT)[1] == 1
        assert (connected >= water).all()
        assert not (connected & ~inside).any()
