import heapq
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from headwater.waterways.lines.components import find_pieces, over_borders
from headwater.waterways.lines.connect import UNITS, VALLEY_RADIUS_PX, connect, price_of_cells, worth_bits
from support.small_windows import EIGHT, burn, connected_to, drawing, picture, reach_of, text, windows

FAR = 2**31


def prices(window, most=8.0):
    """Of cells, and the worth of pieces: random, many of them 0."""
    pieces = find_pieces(window.water, window.elevation, window.labels)
    price = window.random.choice([0, 0.25, 1, 4], window.grid.shape).astype(np.float32)
    price[window.water] = 0
    worth = window.random.choice([0, 0.5 * most, most], len(pieces.label)).astype(np.float32)
    return pieces, price, worth


def ways_from(sources, through, price, elevation):
    """Costs, in units, of ways from some cells (y, x) outwards against the flow; Dijkstra."""
    height, width = price.shape
    flat, heights, free = price.ravel(), elevation.ravel(), through.ravel()
    cost = np.where(sources.ravel(), 0, FAR)
    queue = [(0, int(cell)) for cell in np.flatnonzero(cost == 0)]
    while queue:
        so_far, below = heapq.heappop(queue)
        if so_far > cost[below]:
            continue
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                above = below + down * width + right
                if not free[above]:
                    continue
                step, rise = flat[above], heights[below] - heights[above]
                if rise > 0:
                    step = max(step * max(rise, np.float32(1)), np.float32(10) * rise)
                total = so_far + int(np.float32(step) * UNITS) + (7 if down and right else 5)
                if total < cost[above]:
                    cost[above] = total
                    heapq.heappush(queue, (total, above))
    return cost.reshape(height, width)


@given(windows())
def test_joined_water_hangs_together_with_its_reach(window):
    labels = window.labels
    pieces, price, worth = prices(window)
    joined = connect(price, window.elevation, labels, pieces, worth=worth)
    assert not joined[labels.mouth].any()
    assert not joined[labels.catchment < 0].any()
    for label in range(labels.count):
        own = joined & (labels.catchment == label)
        assert connected_to(own, reach_of(labels, label))[own].all()
    # Pieces are joined whole or not at all, and those that touch their reach are.
    for piece, anchored in enumerate(pieces.anchored):
        cells = joined[pieces.piece == piece]
        assert cells.all() or not cells.any()
        assert cells.all() or not anchored


@given(windows(most=60))
def test_water_that_lost_its_catchment_is_not_joined(window):
    labels = replace(window.labels, catchment=window.labels.catchment.copy())
    pieces = find_pieces(window.water, window.elevation, labels)
    over_borders(pieces, window.elevation, labels, max_rise_m=1000.0)
    worth = worth_bits(pieces, per_px=16.0, most=400.0, least_px=1)
    joined = connect(np.zeros_like(window.elevation), window.elevation, labels, pieces, worth=worth)
    assert (labels.catchment[joined] >= 0).all()


@given(windows())
def test_what_is_not_joined_is_not_worth_its_way(window):
    labels = window.labels
    pieces, price, worth = prices(window)
    joined = connect(price, window.elevation, labels, pieces, worth=worth)
    for label in range(labels.count):
        own = (labels.catchment == label) & ~labels.mouth
        sources = reach_of(labels, label) | (own & joined)
        cost = ways_from(sources, own & ~joined, price, window.elevation).ravel()
        for piece in np.flatnonzero(pieces.label == label):
            if not joined.ravel()[pieces.lowest[piece]] and worth[piece] > 0:
                assert cost[pieces.lowest[piece]] > worth[piece] * UNITS


@given(windows())
def test_what_is_joined_is_worth_its_way(window):
    """Ways through what is joined, from the reach outwards, piece after piece."""
    labels = window.labels
    pieces, price, worth = prices(window)
    joined = connect(price, window.elevation, labels, pieces, worth=worth)
    first = np.zeros(joined.shape, bool)
    first[pieces.piece >= 0] = pieces.anchored[pieces.piece[pieces.piece >= 0]]
    for label in range(labels.count):
        own = joined & (labels.catchment == label)
        reached = (own & first) | reach_of(labels, label)
        waiting = set(np.unique(pieces.piece[own & ~reached])) - {-1}
        joined_pieces = len(waiting)
        while waiting:
            cost = ways_from(reached, own & ~reached, price, window.elevation).ravel()
            paid = {piece for piece in waiting if cost[pieces.lowest[piece]] <= worth[piece] * UNITS}
            if not paid:
                break
            for piece in paid:
                reached |= pieces.piece == piece
            # With the ways over gaps that hang on to it.
            reached |= own & ndimage.binary_propagation(reached, EIGHT, (own & (pieces.piece < 0)) | reached)
            waiting -= paid
        # Others lie on a way to a piece that is worth it.
        assert not waiting or len(waiting) < joined_pieces


@given(windows())
def test_what_is_worth_nothing_is_not_joined(window):
    pieces, price, worth = prices(window)
    joined = connect(price, window.elevation, window.labels, pieces, worth=np.zeros_like(worth))
    wet = pieces.piece >= 0
    assert np.array_equal(joined, wet & np.append(pieces.anchored, False)[pieces.piece])


@given(windows(), st.integers(0, 3), st.integers(0, 3))
def test_ways_do_not_hang_on_the_window(window, north, west):
    pieces, price, worth = prices(window)
    joined = connect(price, window.elevation, window.labels, pieces, worth=worth)
    around = ((north, north), (west, west))
    labels = burn(window.drawn, window.reaches, window.grid, north=north, west=west)
    elevation = np.pad(window.elevation, around)
    larger = connect(
        np.pad(price, around),
        elevation,
        labels,
        find_pieces(np.pad(window.water, around), elevation, labels),
        worth=worth,
    )
    assert np.array_equal(larger, np.pad(joined, around))


@given(windows(), st.integers(0, 2**16))
def test_a_cell_costs_what_its_probability_and_the_valley_say(window, seed):
    probability = np.random.default_rng(seed).integers(0, 256, window.grid.shape).astype(np.uint8)
    price = price_of_cells(probability, window.elevation, threshold=0.5, floor=0.1, cost_below_floor=4.0)
    assert (price >= 0).all()
    assert (price <= 32).all()
    assert (price[probability >= 128] == 0).all()
    assert (price[probability < 128] > 0).all()
    r = VALLEY_RADIUS_PX
    for row, column in np.random.default_rng(seed).integers(0, window.grid.shape, (10, 2)):
        box = window.elevation[max(row - r, 0) : row + r + 1, max(column - r, 0) : column + r + 1].astype(float)
        scaled = np.clip((probability[row, column] / 255 - 0.1) / 0.4, 2**-4, 1)
        above = window.elevation[row, column] - box.mean()
        expected = -np.log2(scaled) * np.clip(np.exp(0.6 * above), 1 / 8, 8)
        np.testing.assert_allclose(price[row, column], expected, rtol=1e-5)


@given(windows())
def test_worth_grows_with_length_up_to_a_limit(window):
    pieces = find_pieces(window.water, window.elevation, window.labels)
    area = np.diff(pieces.start)
    worth = worth_bits(pieces, per_px=2.0, most=9.0, least_px=3)
    assert (worth[area < 3] == 0).all()
    assert ((worth >= 0) & (worth <= 9)).all()
    # A line is worth its length.
    lines = (area == pieces.extent_px) & (area >= 3)
    np.testing.assert_allclose(worth[lines], np.minimum(2.0 * pieces.extent_px[lines], 9))


def test_a_gap_is_crossed_where_it_costs_least():
    labels, water = picture(
        """
        A........
        Aaa...aaa
        A........
        A........
        """
    )
    flat = np.zeros(water.shape, np.float32)
    price = np.where(water, 0, 4).astype(np.float32)
    price[4, 4:6] = 0.25
    price[3, [3, 6]] = 0.25
    pieces = find_pieces(water, flat, labels)
    assert pieces.lowest.tolist() == [24, 29]

    def drawn(worth):
        joined = connect(price, flat, labels, pieces, worth=np.full(2, worth, np.float32))
        return drawing(joined, water, labels)

    assert drawn(0.9) == text(
        """
        A........
        A##...ooo
        A........
        A........
        """
    )
    assert drawn(1.2) == text(
        """
        A........
        A##...###
        A.#..#...
        A..##....
        """
    )
