import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.waterways.backbone.link_parts import MAX_GAP_M, one_line

METER = 1 / 111_195


@given(st.lists(st.floats(20, 900), min_size=2, max_size=5), st.randoms())
def test_parts_in_any_order_and_direction_are_one_line(lengths, random):
    """A straight link to the east, with gaps of less than a third of the shortest part."""
    gap = min(lengths) / 3
    parts, x = [], 0.0
    for length in lengths:
        parts.append(shapely.LineString([(x * METER, 0), ((x + length) * METER, 0)]))
        x += length + gap
    shuffled = [part.reverse() if random.random() < 0.5 else part for part in random.sample(parts, len(parts))]
    line, gaps = one_line(shapely.multilinestrings(shuffled), 5)
    assert gaps == len(parts) - 1
    assert line.is_simple
    assert line.length == pytest.approx((x - gap) * METER)


def parts(*lines):
    return shapely.multilinestrings([shapely.LineString(np.array(line) * METER) for line in lines])


@pytest.mark.parametrize(
    ("shape", "cause"),
    [
        (parts([(0, 0), (100, 0)], [(118_000, 0), (118_100, 0)]), r"Link 5 is in parts that are 118.0 km apart"),
        (parts([(0, 0), (100, 0)], [(0, 200), (100, 0)], [(100, 0), (200, 0)]), "Link 5 branches at"),
        # A spur from the middle of a line, one that nearly touches a fork, and a loop.
        (parts([(0, 0), (100, 0)], [(50, 0), (50, 80)]), "Link 5 branches at"),
        (parts([(0, 0), (100, 0)], [(0, 200), (101, 1)], [(101, -1), (200, 0)]), "Link 5 branches near"),
        (
            parts([(0, 0), (50, 50), (100, 0)], [(0, 0), (50, -50), (100, 0)], [(100, 0), (200, 0)]),
            "Link 5 branches at",
        ),
    ],
)
def test_branches_and_far_parts_are_refused_with_id_and_place(shape, cause):
    with pytest.raises(InputError, match=cause):
        one_line(shape, 5)


def test_parts_without_length_are_no_branches():
    line, gaps = one_line(parts([(0, 0), (0, 0)], [(0, 0), (100, 0)], [(100, 0), (200, 0)]), 5)
    assert (len(line.coords), gaps) == (3, 0)
    assert one_line(parts([(0, 0), (0, 0)]), 5)[0].length == 0
    assert MAX_GAP_M == 1000
