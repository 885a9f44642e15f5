import heapq
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from headwater.waterways.lines.components import find_components, reassign_across_divides
from headwater.waterways.lines.connect import UNITS_PER_BIT, VALLEY_RADIUS_PX, cell_costs, connect, max_costs
from support.small_windows import EIGHT, burn, connected_to, drawing, picture, reach_of, text, windows

FAR = 2**31


def random_costs(window, highest=8.0):
    """Costs of cells, and maximum costs of components: random, many of them 0."""
    components = find_components(window.water, window.elevation, window.labels)
    cell_cost = window.random.choice([0, 0.25, 1, 4], window.grid.shape).astype(np.float32)
    cell_cost[window.water] = 0
    max_cost = window.random.choice([0, 0.5 * highest, highest], len(components.label)).astype(np.float32)
    return components, cell_cost, max_cost


def paths_from(sources, through, cell_cost, elevation):
    """Costs, in units, of paths from some cells (y, x) outwards against the flow; Dijkstra."""
    height, width = cell_cost.shape
    flat, heights, free = cell_cost.ravel(), elevation.ravel(), through.ravel()
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
                total = so_far + int(np.float32(step) * UNITS_PER_BIT) + (7 if down and right else 5)
                if total < cost[above]:
                    cost[above] = total
                    heapq.heappush(queue, (total, above))
    return cost.reshape(height, width)


@given(windows())
def test_joined_water_is_connected_to_its_reach(window):
    labels = window.labels
    components, cell_cost, max_cost = random_costs(window)
    joined = connect(cell_cost, window.elevation, labels, components, max_cost=max_cost)
    assert not joined[labels.reach_mask].any()
    assert not joined[labels.catchment < 0].any()
    for label in range(labels.count):
        own = joined & (labels.catchment == label)
        assert connected_to(own, reach_of(labels, label))[own].all()
    # Components are joined completely or not at all, and those that touch their reach are.
    for component, anchored in enumerate(components.anchored):
        cells = joined[components.component == component]
        assert cells.all() or not cells.any()
        assert cells.all() or not anchored


@given(windows(most=60))
def test_water_that_lost_its_catchment_is_not_joined(window):
    labels = replace(window.labels, catchment=window.labels.catchment.copy())
    components = find_components(window.water, window.elevation, labels)
    reassign_across_divides(components, window.elevation, labels, max_rise_m=1000.0)
    max_cost = max_costs(components, per_px=16.0, max_cost=400.0, min_px=1)
    joined = connect(np.zeros_like(window.elevation), window.elevation, labels, components, max_cost=max_cost)
    assert (labels.catchment[joined] >= 0).all()


@given(windows())
def test_components_that_cost_too_much_are_not_joined(window):
    labels = window.labels
    components, cell_cost, max_cost = random_costs(window)
    joined = connect(cell_cost, window.elevation, labels, components, max_cost=max_cost)
    for label in range(labels.count):
        own = (labels.catchment == label) & ~labels.reach_mask
        sources = reach_of(labels, label) | (own & joined)
        cost = paths_from(sources, own & ~joined, cell_cost, window.elevation).ravel()
        for component in np.flatnonzero(components.label == label):
            if not joined.ravel()[components.lowest[component]] and max_cost[component] > 0:
                assert cost[components.lowest[component]] > max_cost[component] * UNITS_PER_BIT


@given(windows())
def test_joined_components_cost_at_most_their_maximum(window):
    """Paths through what is joined, from the reach outwards, component after component."""
    labels = window.labels
    components, cell_cost, max_cost = random_costs(window)
    joined = connect(cell_cost, window.elevation, labels, components, max_cost=max_cost)
    first = np.zeros(joined.shape, bool)
    first[components.component >= 0] = components.anchored[components.component[components.component >= 0]]
    for label in range(labels.count):
        own = joined & (labels.catchment == label)
        reached = (own & first) | reach_of(labels, label)
        waiting = set(np.unique(components.component[own & ~reached])) - {-1}
        joined_components = len(waiting)
        while waiting:
            cost = paths_from(reached, own & ~reached, cell_cost, window.elevation).ravel()
            paid = {c for c in waiting if cost[components.lowest[c]] <= max_cost[c] * UNITS_PER_BIT}
            if not paid:
                break
            for component in paid:
                reached |= components.component == component
            # With the paths across gaps that are connected to it.
            reached |= own & ndimage.binary_propagation(reached, EIGHT, (own & (components.component < 0)) | reached)
            waiting -= paid
        # Others are on a path to a component that is cheap enough.
        assert not waiting or len(waiting) < joined_components


@given(windows())
def test_components_with_a_maximum_of_zero_are_not_joined(window):
    components, cell_cost, max_cost = random_costs(window)
    joined = connect(cell_cost, window.elevation, window.labels, components, max_cost=np.zeros_like(max_cost))
    wet = components.component >= 0
    assert np.array_equal(joined, wet & np.append(components.anchored, False)[components.component])


@given(windows(), st.integers(0, 3), st.integers(0, 3))
def test_paths_do_not_depend_on_the_window(window, north, west):
    components, cell_cost, max_cost = random_costs(window)
    joined = connect(cell_cost, window.elevation, window.labels, components, max_cost=max_cost)
    around = ((north, north), (west, west))
    labels = burn(window.drawn, window.reaches, window.grid, north=north, west=west)
    elevation = np.pad(window.elevation, around)
    larger = connect(
        np.pad(cell_cost, around),
        elevation,
        labels,
        find_components(np.pad(window.water, around), elevation, labels),
        max_cost=max_cost,
    )
    assert np.array_equal(larger, np.pad(joined, around))


@given(windows(), st.integers(0, 2**16))
def test_a_cell_costs_what_its_probability_and_the_valley_say(window, seed):
    probability = np.random.default_rng(seed).integers(0, 256, window.grid.shape).astype(np.uint8)
    cell_cost = cell_costs(probability, window.elevation, threshold=0.5, floor=0.1, cost_below_floor=4.0)
    assert (cell_cost >= 0).all()
    assert (cell_cost <= 32).all()
    assert (cell_cost[probability >= 128] == 0).all()
    assert (cell_cost[probability < 128] > 0).all()
    r = VALLEY_RADIUS_PX
    for row, column in np.random.default_rng(seed).integers(0, window.grid.shape, (10, 2)):
        box = window.elevation[max(row - r, 0) : row + r + 1, max(column - r, 0) : column + r + 1].astype(float)
        scaled = np.clip((probability[row, column] / 255 - 0.1) / 0.4, 2**-4, 1)
        above = window.elevation[row, column] - box.mean()
        expected = -np.log2(scaled) * np.clip(np.exp(0.6 * above), 1 / 8, 8)
        np.testing.assert_allclose(cell_cost[row, column], expected, rtol=1e-5)


@given(windows())
def test_worth_grows_with_length_up_to_a_limit(window):
    components = find_components(window.water, window.elevation, window.labels)
    area = np.diff(components.start)
    max_cost = max_costs(components, per_px=2.0, max_cost=9.0, min_px=3)
    assert (max_cost[area < 3] == 0).all()
    assert ((max_cost >= 0) & (max_cost <= 9)).all()
    # The maximum cost of a line grows with its length.
    lines = (area == components.extent_px) & (area >= 3)
    np.testing.assert_allclose(max_cost[lines], np.minimum(2.0 * components.extent_px[lines], 9))


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
    cell_cost = np.where(water, 0, 4).astype(np.float32)
    cell_cost[4, 4:6] = 0.25
    cell_cost[3, [3, 6]] = 0.25
    components = find_components(water, flat, labels)
    assert components.lowest.tolist() == [24, 29]

    def drawn(max_cost):
        joined = connect(cell_cost, flat, labels, components, max_cost=np.full(2, max_cost, np.float32))
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
