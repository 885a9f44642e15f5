import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.geo.longitudes import Box, enclosing_box, split_box
from headwater.stac.boxes import MAX_BOXES, cover_boxes

cells = st.lists(
    st.builds(
        lambda west, south, side: (float(west), float(south), west + side, min(90.0, south + side)),
        st.integers(-180, 179),
        st.integers(-90, 88),
        st.sampled_from([0.1, 1.0, 1.01]),
    ),
    min_size=1,
    max_size=60,
)


def contains(box: Box, part: Box) -> bool:
    return box[0] <= part[0] and box[1] <= part[1] and box[2] >= part[2] and box[3] >= part[3]


def area(boxes: list[Box]) -> float:
    return sum((east - west) * (north - south) for west, south, east, north in boxes)


@given(cells, st.integers(1, 20))
def test_every_cell_is_in_one_of_the_boxes_and_none_crosses_180(some: list[Box], most: int) -> None:
    boxes = cover_boxes(some, max_boxes=most)
    assert 1 <= len(boxes) <= most
    assert all(-180 <= west <= east <= 180 and -90 <= south <= north <= 90 for west, south, east, north in boxes)
    for cell in some:
        for part in split_box(cell):
            assert any(contains(box, part) for box in boxes)


@given(cells, st.randoms(use_true_random=False))
def test_order_does_not_matter(some: list[Box], random: object) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert cover_boxes(shuffled) == cover_boxes(some)


def test_a_small_basin_is_one_box() -> None:
    some = [(10.0 + x, 40.0 + y, 11.0 + x, 41.0 + y) for x in range(4) for y in range(4) if x + y < 5]
    assert cover_boxes(some) == [(10, 40, 14, 44)]


def test_a_crooked_basin_costs_far_less_than_its_box() -> None:
    """A river that runs diagonally through 30 x 30 degrees."""
    some = [(float(k), k + dy, k + 1.0, k + dy + 1.0) for k in range(30) for dy in (0.0, 1.0)]
    boxes = cover_boxes(some)
    assert 4 < len(boxes) <= MAX_BOXES
    assert area(boxes) < 0.3 * area([(0, 0, 30, 31)])


@pytest.mark.parametrize(
    "some",
    [
        [(179.0, -18.0, 180.0, -17.0), (-180.0, -17.0, -179.0, -16.0)],  # Fiji
        [(177.0, 66.0, 178.0, 67.0), (179.95, 66.0, 180.05, 67.0), (-176.0, 66.0, -175.0, 67.0)],  # Chukotka
    ],
)
def test_a_basin_on_both_sides_of_180_is_not_the_whole_world(some: list[Box]) -> None:
    boxes = cover_boxes(some)
    assert len(boxes) == 2
    assert boxes[0][0] == -180
    assert boxes[1][2] == 180
    west, _, east, _ = enclosing_box(some)
    assert boxes[0][2] >= east
    assert boxes[1][0] <= west
    # A scene of 110 km whose corner is across 180 may be anywhere else to a server that reads it as around the world.
    reach = 110 / 111.3 / math.cos(math.radians(abs(some[0][1])))
    assert all(box[2] - box[0] >= reach for box in boxes)
    assert sum(box[2] - box[0] for box in boxes) < 15
