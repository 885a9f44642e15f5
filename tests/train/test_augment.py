"""Symmetries and dropped pixels."""

import numpy as np
import pytest

from headwater.models.channels import PAPER, RELEASE, make_channels
from headwater.train.augment import drop_pixels, turn


def test_the_eight_symmetries_are_all_different():
    array = np.arange(9).reshape(3, 3)
    turned = {turn(array, symmetry).tobytes() for symmetry in range(8)}
    assert len(turned) == 8
    np.testing.assert_array_equal(turn(array, 0), array)


def test_bands_turn_together():
    stack = np.arange(18).reshape(2, 3, 3)
    for symmetry in range(8):
        np.testing.assert_array_equal(turn(stack, symmetry)[1], turn(stack[1], symmetry))


@pytest.mark.parametrize("symmetry", [-1, 8])
def test_there_is_no_ninth(symmetry):
    with pytest.raises(ValueError, match="0 to 7"):
        turn(np.zeros((2, 2)), symmetry)


@pytest.mark.parametrize("recipe", [PAPER, RELEASE])
def test_slopes_point_the_right_way_after_turning(recipe):
    # A plane that rises 3 m a column eastward and 5 m a row southward; turned, its slopes turn with it.
    rows, columns = np.mgrid[:6, :6].astype(np.float32)
    composite = np.full((4, 6, 6), 100, dtype=np.uint8)
    elevation = 3 * columns + 5 * rows
    slopes = set()
    for symmetry in range(8):
        channels, _ = make_channels(turn(composite, symmetry), turn(elevation, symmetry), recipe)
        dx, dy = channels[7, 3, 3], channels[8, 3, 3] * recipe.dy_sign
        slopes.add((float(dx), float(dy)))
        assert channels[9, 3, 3] == pytest.approx(np.hypot(3, 5), rel=1e-5)
    assert slopes == {(a * x, b * y) for x, y in ((3, 5), (5, 3)) for a in (1, -1) for b in (1, -1)}


def test_dropped_pixels_hold_the_mean_and_the_others_stay():
    rng = np.random.default_rng(0)
    channels = rng.normal(5, 2, (10, 40, 40)).astype(np.float32)
    before = channels.copy()
    drop_pixels(channels, 0.2, np.random.default_rng(1))
    changed = channels != before
    share = changed[0].mean()
    assert 0.15 < share < 0.25
    assert (changed == changed[0]).all()
    for channel, old in zip(channels, before, strict=True):
        np.testing.assert_allclose(channel[changed[0]], old.mean(), rtol=1e-5)


def test_nothing_dropped_changes_nothing_and_draws_nothing():
    channels = np.ones((10, 4, 4), dtype=np.float32)
    rng = np.random.default_rng(2)
    drop_pixels(channels, 0, rng)
    assert rng.random() == np.random.default_rng(2).random()
