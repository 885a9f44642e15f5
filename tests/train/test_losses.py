"""The loss, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from headwater.train.losses import tanimoto, tanimoto_loss, targets_of_values, waternet_loss


def test_targets_and_weights_are_pooled_as_the_method_says():
    # Four blocks: land; land beside water of weight 7; masked throughout; masked beside land.
    values = torch.tensor([[[[0.0, 0, 0, 7], [0, 0, 1, 0], [0.5, 0.5, 0.5, 0], [0.5, 0.5, 0.5, 0.5]]]])
    targets = targets_of_values(values)
    assert targets.target.tolist() == [[[[0, 1], [0, 0]]]]
    assert targets.weight.tolist() == [[[[1, 7], [0, 1]]]]
    assert targets.counted.tolist() == [[[[1, 1], [0, 1]]]]


def test_scale_one_leaves_the_resolution():
    values = torch.tensor([[[[0.0, 0.5], [1, 2]]]])
    targets = targets_of_values(values, scale=1)
    assert targets.target.tolist() == [[[[0, 0], [1, 1]]]]
    assert targets.weight.tolist() == [[[[1, 0], [1, 2]]]]


def test_tanimoto_by_hand():
    p, t = torch.tensor([0.5, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
    # sum(pt) = 0.5; sum(p^2) = 1.25; sum(t^2) = 1.
    assert tanimoto(p, t).item() == pytest.approx(0.5 / (1.25 + 1 - 0.5), rel=1e-4)


def test_loss_by_hand():
    probability = torch.tensor([0.8, 0.4, 0.9])
    values = torch.tensor([6.0, 0.0, 0.5]).reshape(1, 1, 1, 3)
    targets = targets_of_values(values, scale=1)
    water = 0.8 / (0.64 + 0.16 + 1 - 0.8)
    land = 0.6 / (0.04 + 0.36 + 1 - 0.6)
    bce = (6 * -math.log(0.8) - math.log(0.6)) / 3
    expected = 0.3 * bce + 0.7 * (1 - (water + land) / 2)
    loss = waternet_loss(torch.logit(probability).reshape(1, 1, 1, 3), targets)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_masked_pixels_have_no_gradient():
    values = torch.tensor([1.0, 0.0, 0.5]).reshape(1, 1, 1, 3)
    logits = torch.tensor([0.3, -0.2, 2.0]).reshape(1, 1, 1, 3).requires_grad_()
    waternet_loss(logits, targets_of_values(values, scale=1)).backward()
    assert logits.grad[0, 0, 0, 2] == 0
    assert (logits.grad[0, 0, 0, :2] != 0).all()


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_a_perfect_prediction_costs_nothing_also_without_any_water_or_land(fill):
    target = torch.full((1, 1, 4, 4), fill)
    assert tanimoto_loss(target, target, torch.ones_like(target)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scale", [1, 2])
def test_loss_against_the_paper_in_another_arithmetic(scale):
    # 0.3 BCE + 0.7 (1 - (T(wp, wt) + T(w - wp, w - wt)) / 2), T(p, t) = sum(pt) / sum(p^2 + t^2 - pt), in numpy.
    rng = np.random.default_rng(scale)
    values = rng.choice([0, 0.5, 1, 2, 6.5, 7.5], (3, 8, 12))
    logits = rng.normal(0, 2, (3, 8 // scale, 12 // scale))

    def pooled(array):
        return array.reshape(3, 8 // scale, scale, 12 // scale, scale).max(axis=(2, 4))

    t = pooled(np.where(values >= 1, 1.0, 0.0))
    weight = pooled(np.where(values >= 1, values, np.where(values == 0, 1.0, 0.0)))
    w = (weight > 0).astype(float)
    p = 1 / (1 + np.exp(-logits))

    def coefficient(a, b):
        return (a * b).sum() / (a**2 + b**2 - a * b).sum()

    bce = -(weight * (t * np.log(p) + (1 - t) * np.log(1 - p))).mean()
    similar = (coefficient(w * p, w * t) + coefficient(w - w * p, w - w * t)) / 2
    expected = 0.3 * bce + 0.7 * (1 - similar)
    targets = targets_of_values(torch.tensor(values, dtype=torch.float32)[:, None], scale=scale)
    loss = waternet_loss(torch.tensor(logits, dtype=torch.float32)[:, None], targets)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
