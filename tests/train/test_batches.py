"""Batches: the same whether prefetched or not, drawn from their own numbers; symmetries and dropped pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from headwater.models.base import Directions
from headwater.models.channels import PAPER, RECIPES, RELEASE, make_channels
from headwater.train.batches import Batch, Batches, apply_symmetry, draw_batch, drop_pixels
from headwater.train.settings import Stage

STAGE = Stage(chip_px=16, batch_size=3, steps=2, learning_rate=0.1)


def draw(side_px, max_missing_fraction, rng):
    types = np.zeros((side_px, side_px), dtype=np.uint8)
    types[:, 6] = 19
    composite = rng.integers(1, 256, (4, side_px, side_px), dtype=np.uint8)
    return composite, rng.normal(100, 5, (side_px, side_px)).astype(np.float32), types


def test_a_batch_holds_what_was_drawn():
    batch = draw_batch(draw, PAPER, STAGE, 0.0, np.random.default_rng(0), Directions((4, 2), 10))
    assert batch.channels.shape == (3, 10, 16, 16)
    assert batch.values.shape == batch.elevation.shape == (3, 1, 16, 16)
    assert [classes.shape for classes in batch.orientation] == [(3, 4, 4), (3, 8, 8)]
    assert (batch.orientation[1] < 36).any()
    assert batch.values.sum() == 3 * 16 * 6.5
    # The elevation is transformed like the channels: the recipe's shifted elevation is made from it.
    for channels, elevation in zip(batch.channels, batch.elevation, strict=True):
        torch.testing.assert_close(channels[6], elevation[0] - elevation.min())


def test_a_fifth_of_the_pixels_is_dropped():
    kept, dropped = (
        draw_batch(draw, PAPER, STAGE, dropout, np.random.default_rng(0), Directions()) for dropout in (0.0, 0.2)
    )
    fraction = (kept.channels[0] != dropped.channels[0]).all(dim=0).float().mean()
    assert fraction == pytest.approx(0.2, abs=0.08)


def test_zeros_behind_a_seed_do_not_count():
    # The first batch of a step is drawn as if there were only one, as before steps could have several.
    assert np.random.default_rng([3, 7]).random() == np.random.default_rng([3, 7, 0]).random()
    assert np.random.default_rng([3, 7]).random() != np.random.default_rng([3, 7, 1]).random()


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_come_in_order_even_if_a_step_has_more_or_fewer(threads):
    def make(step, number):
        assert step < 5
        return Batch(torch.tensor([step, number]), torch.empty(0), torch.empty(0), ())

    batches = Batches(make, steps=5, threads=threads)
    counts = [1, 1, 3, 3, 2]
    got = [[b.channels.tolist() for b in batches.of_step(step, count)] for step, count in enumerate(counts)]
    batches.close()
    assert got == [[[step, number] for number in range(count)] for step, count in enumerate(counts)]


def test_a_failure_while_prefetching_is_raised():
    def make(step, number):
        raise ValueError("no chip")

    batches = Batches(make, steps=5, threads=1)
    with pytest.raises(ValueError, match="no chip"):
        next(batches.of_step(0, 1))
    batches.close()


def test_channels_of_a_batch_are_those_of_prediction():
    batch = draw_batch(draw, PAPER, STAGE, 0.0, np.random.default_rng(5), Directions())
    rng = np.random.default_rng(5)
    composite, elevation, _ = draw(16, 0.5, rng)
    symmetry = int(rng.integers(8))
    rotated = [np.rot90(array, symmetry & 3, axes=(-2, -1)) for array in (composite, elevation)]
    if symmetry & 4:
        rotated = [array[..., ::-1] for array in rotated]
    channels, _ = make_channels(*rotated, PAPER)
    np.testing.assert_array_equal(batch.channels[0].numpy(), channels)


def test_a_halo_is_read_for_the_channels_and_is_not_part_of_the_batch():
    def around(side_px, max_missing_fraction, rng):
        rng = np.random.default_rng(side_px)
        composite = rng.integers(1, 256, (4, side_px, side_px), dtype=np.uint8)
        return composite, rng.normal(50, 9, (side_px, side_px)).astype("f4"), np.zeros((side_px, side_px), np.uint8)

    recipe = RECIPES.load("drainage")
    stage = replace(STAGE, batch_size=1)
    batch = draw_batch(around, recipe, stage, 0.0, np.random.default_rng(1), Directions(), 6)
    assert batch.channels.shape == (1, 10, 16, 16)
    assert batch.values.shape == batch.elevation.shape == (1, 1, 16, 16)
    symmetry = int(np.random.default_rng(1).integers(8))
    composite, elevation, _ = (apply_symmetry(array, symmetry) for array in around(28, 0.5, None))
    whole, _ = make_channels(composite, elevation, recipe)
    np.testing.assert_allclose(batch.channels[0], whole[:, 6:-6, 6:-6], atol=1e-4)


def test_the_eight_symmetries_are_all_different():
    array = np.arange(9).reshape(3, 3)
    transformed = {apply_symmetry(array, symmetry).tobytes() for symmetry in range(8)}
    assert len(transformed) == 8
    np.testing.assert_array_equal(apply_symmetry(array, 0), array)


def test_bands_are_transformed_alike():
    stack = np.arange(18).reshape(2, 3, 3)
    for symmetry in range(8):
        np.testing.assert_array_equal(apply_symmetry(stack, symmetry)[1], apply_symmetry(stack[1], symmetry))


@pytest.mark.parametrize("symmetry", [-1, 8])
def test_there_is_no_ninth_symmetry(symmetry):
    with pytest.raises(ValueError, match="0 to 7"):
        apply_symmetry(np.zeros((2, 2)), symmetry)


@pytest.mark.parametrize("recipe", [PAPER, RELEASE])
def test_slopes_point_in_the_right_direction_after_a_symmetry(recipe):
    # A plane that rises 3 m per column eastward and 5 m per row southward; its slopes rotate with it.
    rows, columns = np.mgrid[:6, :6].astype(np.float32)
    composite = np.full((4, 6, 6), 100, dtype=np.uint8)
    elevation = 3 * columns + 5 * rows
    slopes = set()
    for symmetry in range(8):
        channels, _ = make_channels(apply_symmetry(composite, symmetry), apply_symmetry(elevation, symmetry), recipe)
        dx, dy = channels[7, 3, 3], channels[8, 3, 3] * recipe.dy_sign
        slopes.add((float(dx), float(dy)))
        assert channels[9, 3, 3] == pytest.approx(np.hypot(3, 5), rel=1e-5)
    assert slopes == {(a * x, b * y) for x, y in ((3, 5), (5, 3)) for a in (1, -1) for b in (1, -1)}


def test_dropped_pixels_hold_the_mean_and_the_others_stay_unchanged():
    rng = np.random.default_rng(0)
    channels = rng.normal(5, 2, (10, 40, 40)).astype(np.float32)
    before = channels.copy()
    drop_pixels(channels, 0.2, np.random.default_rng(1))
    changed = channels != before
    fraction = changed[0].mean()
    assert 0.15 < fraction < 0.25
    assert (changed == changed[0]).all()
    for channel, old in zip(channels, before, strict=True):
        np.testing.assert_allclose(channel[changed[0]], old.mean(), rtol=1e-5)


def test_nothing_dropped_changes_nothing_and_draws_nothing():
    channels = np.ones((10, 4, 4), dtype=np.float32)
    rng = np.random.default_rng(2)
    drop_pixels(channels, 0, rng)
    assert rng.random() == np.random.default_rng(2).random()
