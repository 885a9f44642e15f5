import itertools

import numpy as np
import shapely
from shapely import LineString

from headwater.waterways.network.crossings import meet_in_ends

ENDS_ONLY = "FF*F*****"


def both(one, other):
    lines = np.array([LineString(one), LineString(other)])
    return bool(meet_in_ends(lines, np.array([0]), np.array([1]))[0])


def test_lines_that_share_an_end_or_nothing():
    assert both([(0, 0), (1, 1)], [(1, 1), (2, 0)])
    assert both([(0, 0), (1, 1)], [(0, 1), (1, 2)])
    assert both([(0, 0), (2, 1)], [(0, 0), (1, 1)])
    assert both([(0, 0), (1, 0)], [(1, 0), (3, 0)])


def test_lines_that_meet_elsewhere():
    assert not both([(0, 0), (2, 2)], [(0, 2), (2, 0)])
    assert not both([(0, 0), (1, 1), (2, 0)], [(1, 1), (1, 2)])
    assert not both([(0, 0), (2, 0)], [(1, 0), (1, 1)])
    assert not both([(0, 0), (2, 0)], [(0, 0), (1, 0)])
    assert not both([(0, 0), (2, 0)], [(2, 0), (0, 0)])


def test_rings_have_no_ends():
    assert not both([(0, 0), (1, 1), (1, 0), (0, 0)], [(0, 0), (-1, 0)])


def test_what_is_sure_the_general_predicate_finds_too():
    rng = np.random.default_rng(5)
    lines = shapely.linestrings(rng.integers(0, 7, (150, 3, 2)).astype(float))
    lines = lines[shapely.length(lines) > 0]
    one, other = np.array(list(itertools.combinations(range(len(lines)), 2))).T
    sure = meet_in_ends(lines, one, other)
    assert sure.any()
    assert shapely.relate_pattern(lines[one[sure]], lines[other[sure]], ENDS_ONLY).all()
