"""Batches: the same whether made ahead or not, drawn from their own numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from headwater.models.channels import PAPER, RECIPES, make_channels
from headwater.train.augment import turn
from headwater.train.batches import Batch, Batches, Directions, draw_batch
from headwater.train.settings import Stage

STAGE = Stage(chip_px=16, batch_size=3, steps=2, learning_rate=0.1)


def draw(side_px, max_missing_share, rng):
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
    # The elevation is turned like the channels: the recipe's shifted elevation is made of it.
    for channels, elevation in zip(batch.channels, batch.elevation, strict=True):
        torch.testing.assert_close(channels[6], elevation[0] - elevation.min())


def test_a_fifth_of_the_pixels_is_dropped():
    kept, dropped = (
        draw_batch(draw, PAPER, STAGE, share, np.random.default_rng(0), Directions()) for share in (0.0, 0.2)
    )
    share = (kept.channels[0] != dropped.channels[0]).all(dim=0).float().mean()
    assert share == pytest.approx(0.2, abs=0.08)


def test_zeros_behind_a_seed_do_not_count():
    # The first batch of a step is drawn as if there were only one, as before steps took in several.
    assert np.random.default_rng([3, 7]).random() == np.random.default_rng([3, 7, 0]).random()
    assert np.random.default_rng([3, 7]).random() != np.random.default_rng([3, 7, 1]).random()


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_come_in_order_also_when_a_step_takes_in_more_or_fewer(threads):
    def make(step, number):
        assert step < 5
        return Batch(torch.tensor([step, number]), torch.empty(0), torch.empty(0), ())

    batches = Batches(make, steps=5, threads=threads)
    counts = [1, 1, 3, 3, 2]
    got = [[b.channels.tolist() for b in batches.of_step(step, count)] for step, count in enumerate(counts)]
    batches.close()
    assert got == [[[step, number] for number in range(count)] for step, count in enumerate(counts)]


def test_a_failure_while_making_ahead_is_told():
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
    turned = [np.rot90(array, symmetry & 3, axes=(-2, -1)) for array in (composite, elevation)]
    if symmetry & 4:
        turned = [array[..., ::-1] for array in turned]
    channels, _ = make_channels(*turned, PAPER)
    np.testing.assert_array_equal(batch.channels[0].numpy(), channels)


def test_a_halo_is_read_for_the_channels_and_not_handed_on():
    def around(side_px, max_missing_share, rng):
        rng = np.random.default_rng(side_px)
        composite = rng.integers(1, 256, (4, side_px, side_px), dtype=np.uint8)
        return composite, rng.normal(50, 9, (side_px, side_px)).astype("f4"), np.zeros((side_px, side_px), np.uint8)

    recipe = RECIPES["drainage"]
    stage = replace(STAGE, batch_size=1)
    batch = draw_batch(around, recipe, stage, 0.0, np.random.default_rng(1), Directions(), 6)
    assert batch.channels.shape == (1, 10, 16, 16)
    assert batch.values.shape == batch.elevation.shape == (1, 1, 16, 16)
    symmetry = int(np.random.default_rng(1).integers(8))
    composite, elevation, _ = (turn(array, symmetry) for array in around(28, 0.5, None))
    whole, _ = make_channels(composite, elevation, recipe)
    np.testing.assert_allclose(batch.channels[0], whole[:, 6:-6, 6:-6], atol=1e-4)
