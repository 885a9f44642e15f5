"""Shapes that cross themselves: a few times is damage and repaired, thousands of times is refused at once."""

import time

import numpy as np
import pytest
import shapely

from headwater.core.errors import InputError
from headwater.geo.longitudes import footprint
from headwater.geo.repair import TooTangled, repaired, repaired_all

BOW = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


def tangled(points=20_000):
    return shapely.Polygon(np.random.default_rng(0).random((points, 2)))


def zigzag(points=20_000):
    x = np.concatenate([np.linspace(0, 1, points // 2), np.linspace(1, 0, points // 2)])
    return shapely.Polygon(np.column_stack([x, np.arange(points) % 2]))


@pytest.mark.parametrize("make", [tangled, zigzag])
def test_a_tangle_is_refused_in_seconds(make):
    start = time.monotonic()
    shape = make()
    with pytest.raises(TooTangled):
        repaired(shape)
    with pytest.raises(InputError, match=r"The lake at .* cannot be repaired: it crosses itself"):
        repaired_all(np.array([BOW, None, shape], dtype=object), "The lake")
    assert time.monotonic() - start < 30


def test_an_item_of_a_tangle_has_no_valid_geometry():
    with pytest.raises(ValueError, match="crosses itself"):
        footprint(shapely.geometry.mapping(zigzag()))


def test_damage_is_repaired_and_what_is_valid_stays():
    assert repaired(BOW).equals(shapely.make_valid(BOW))
    box = shapely.box(0, 0, 1, 1)
    assert repaired(box) is box
    # Many points, few crossings.
    circle = shapely.get_coordinates(shapely.Point(0, 0).buffer(1, quad_segs=5000))
    circle[100] = (0, 0.999)
    assert repaired(shapely.Polygon(circle)).is_valid
