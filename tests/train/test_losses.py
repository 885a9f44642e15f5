"""The losses: numbers worked out by hand, a slow reference, and the published program's numbers."""

import itertools
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from headwater.core.errors import InputError
from headwater.models.registry import build_network
from headwater.train.losses import (
    elevation_guided_loss,
    evanet_loss,
    labels_of_water,
    orientation_loss,
    tanimoto,
    tanimoto_loss,
    targets_of_values,
    waternet_loss,
)

WEIGHT = {"constant": lambda dh: 1.0, "difference": abs, "logarithm": lambda dh: math.log(1 + abs(dh))}


def test_targets_and_weights_are_pooled_as_the_method_says():
    # Four blocks: land; land next to water of weight 7; masked throughout; masked next to land.
    values = torch.tensor([[[[0.0, 0, 0, 7], [0, 0, 1, 0], [0.5, 0.5, 0.5, 0], [0.5, 0.5, 0.5, 0.5]]]])
    targets = targets_of_values(values)
    assert targets.target.tolist() == [[[[0, 1], [0, 0]]]]
    assert targets.weight.tolist() == [[[[1, 7], [0, 1]]]]
    assert targets.counted.tolist() == [[[[1, 1], [0, 1]]]]


def test_scale_one_keeps_the_resolution():
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


def slow_loss(prediction, elevation, label, weighting="constant", *, as_program=False):
    """Equations 2 to 4 pixel by pixel; `as_program` with the differences of the published program."""
    total = 0.0
    rows, columns = label.shape[-2:]
    for image in range(len(label)):
        flood, dry = prediction[image].double().tolist()
        h, gt = elevation[image, 0].double().tolist(), label[image, 0].tolist()
        for y, x in itertools.product(range(rows), range(columns)):
            if gt[y][x] == 0 and not as_program:
                continue
            f = flood[y][x] if flood[y][x] >= dry[y][x] else -dry[y][x]
            for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                there = (y + dy, x + dx)
                if not (0 <= there[0] < rows and 0 <= there[1] < columns):
                    continue
                dh, neighbor = h[y][x] - h[there[0]][there[1]], gt[there[0]][there[1]]
                if as_program:
                    counts = neighbor != 0 and -neighbor * dh >= 0
                else:
                    counts = (dy, dx) != (0, 0) and -neighbor * dh > 0
                if counts:
                    total += WEIGHT[weighting](dh) * (1 - neighbor * f)
    return total


def case(seed=0, batch=2, shape=(9, 11)):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.rand((batch, 2, *shape), generator=generator, dtype=torch.float64)
    # Integer meters give many ties.
    elevation = torch.randint(0, 6, (batch, 1, *shape), generator=generator).double()
    label = torch.randint(-1, 2, (batch, 1, *shape), generator=generator).double()
    return prediction, elevation, label


@pytest.mark.parametrize("weighting", WEIGHT)
def test_it_equals_the_written_out_sum(weighting):
    prediction, elevation, label = case()
    loss = elevation_guided_loss(prediction, elevation, label, weighting=weighting)
    assert loss.item() == pytest.approx(slow_loss(prediction, elevation, label, weighting), rel=1e-9)


@pytest.mark.real
def test_golden_loss_of_the_paper(shared_data):
    golden = load_file(shared_data / "evanet_golden" / "loss.safetensors")
    inputs = [golden[name].double() for name in ("prediction", "elevation", "label")]
    assert elevation_guided_loss(*inputs).item() == pytest.approx(golden["paper_loss"].item(), rel=1e-6)
    single = [golden[name] for name in ("prediction", "elevation", "label")]
    assert elevation_guided_loss(*single).item() == pytest.approx(golden["paper_loss"].item(), rel=1e-5)


@pytest.mark.real
def test_the_program_differs_only_in_what_is_known_to_differ(shared_data):
    golden = load_file(shared_data / "evanet_golden" / "loss.safetensors")
    alone = []
    for image in range(2):
        one = [golden[name][image : image + 1] for name in ("prediction", "elevation", "label")]
        alone.append(slow_loss(*one, as_program=True))
    assert alone == pytest.approx(golden["code_loss_per_item"].tolist(), rel=1e-5)
    # The loss of the batch is larger: the program mixes images.
    assert sum(alone) < golden["code_loss"].item()


def test_images_of_a_batch_are_not_mixed():
    inputs = case(1, batch=3)
    apart = sum(elevation_guided_loss(*(values[i : i + 1] for values in inputs)) for i in range(3))
    assert elevation_guided_loss(*inputs).item() == pytest.approx(apart.item())


def test_ties_unlabeled_pixels_and_the_pixel_itself_do_not_count():
    prediction, elevation, label = case(2)
    assert elevation_guided_loss(prediction, torch.zeros_like(elevation), label) == 0
    assert elevation_guided_loss(prediction, elevation, torch.zeros_like(label)) == 0
    # One labeled pixel alone has no labeled neighbor.
    lonely = torch.zeros_like(label)
    lonely[:, :, 4, 4] = 1
    assert elevation_guided_loss(prediction, elevation, lonely) == 0


def test_it_favors_flood_below_flood_and_dry_above_dry():
    elevation = torch.tensor([[[[2.0, 1.0]]]])
    both_flood = torch.ones(1, 1, 1, 2)

    def loss(label, flood):
        prediction = torch.stack([torch.tensor(flood), 1 - torch.tensor(flood)])[None, :, None]
        return elevation_guided_loss(prediction, elevation, label).item()

    # Only the lower pixel has a flooded neighbor above it.
    assert loss(both_flood, [0.1, 0.9]) == pytest.approx(1 - 0.9)
    assert loss(both_flood, [0.9, 0.1]) == pytest.approx(1 + 0.9)
    # Only the upper pixel has a dry neighbor below it.
    assert loss(-both_flood, [0.1, 0.9]) == pytest.approx(1 - 0.9)
    assert loss(-both_flood, [0.9, 0.1]) == pytest.approx(1 + 0.9)


@pytest.mark.parametrize("weighting", WEIGHT)
def test_gradients_are_those_of_differences(weighting):
    prediction, elevation, label = case(3, batch=1, shape=(4, 5))
    # No two scores so close that the decision changes.
    prediction[:, 1] = (prediction[:, 0] + 0.3).where(prediction[:, 0] < 0.5, prediction[:, 0] - 0.3)
    assert torch.autograd.gradcheck(
        lambda p: elevation_guided_loss(p, elevation, label, weighting=weighting), prediction.requires_grad_()
    )


def test_rotating_all_inputs_changes_nothing():
    inputs = case(4)
    expected = elevation_guided_loss(*inputs, weighting="difference").item()
    for quarter_turns in range(1, 4):
        rotated = [torch.rot90(values, quarter_turns, (-2, -1)) for values in inputs]
        assert elevation_guided_loss(*rotated, weighting="difference").item() == pytest.approx(expected)


def test_unknown_heights_do_not_count_and_leave_the_gradient_finite():
    prediction, elevation, label = case(5)
    elevation[0, 0, 3, 3] = float("nan")
    prediction.requires_grad_()
    for weighting in WEIGHT:
        loss = elevation_guided_loss(prediction, elevation, label, weighting=weighting)
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, prediction)[0]).all()


def test_one_map_of_log_odds_counts_as_two_opposite_scores():
    _, elevation, label = case(6)
    log_odds = torch.randn(2, 1, 9, 11, dtype=torch.float64)
    flood = torch.sigmoid(log_odds)
    expected = elevation_guided_loss(torch.cat([flood, 1 - flood], dim=1), elevation, label)
    torch.testing.assert_close(evanet_loss(log_odds, elevation, label), expected)


def test_cross_entropy_of_labeled_pixels_is_added():
    scores, elevation, label = case(7)
    softmax = torch.log_softmax(scores, dim=1)
    entropy = -(softmax[:, :1] * (label == 1) + softmax[:, 1:] * (label == -1)).sum()
    guided = elevation_guided_loss(torch.sigmoid(scores), elevation, label)
    torch.testing.assert_close(evanet_loss(scores, elevation, label, cross_entropy_weight=0.5), guided + entropy / 2)


@pytest.mark.parametrize("name", ["unet", "evanet", "waternet"])
def test_it_trains_any_network_here(name):
    torch.manual_seed(0)
    sizes = {"evanet": {"base_channels": 2}, "unet": {"in_channels": 4, "base_channels": 2}}
    model = build_network(name, sizes.get(name, {"in_channels": 4, "base_channels": 1, "encoders": 2, "decoders": 1}))
    logits = model.logits(torch.rand(1, 4, 32, 32))
    target = (torch.rand(logits.shape) < 0.4).float()
    label = labels_of_water(target, torch.ones_like(target))
    assert set(label.unique().tolist()) == {-1.0, 1.0}
    evanet_loss(logits, torch.rand(logits.shape) * 50, label, weighting="logarithm", cross_entropy_weight=1).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None) > 0


def test_what_is_not_counted_has_no_label():
    target, counted = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert labels_of_water(target, counted).tolist() == [1, -1, 0, 0]


def test_another_weighting_is_refused():
    with pytest.raises(InputError, match="no weighting 'square'"):
        elevation_guided_loss(*case(), weighting="square")


def test_orientation_loss_is_the_mean_cross_entropy_of_what_counts():
    scores = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(18).reshape(2, 3, 3) % 5
    counted = (torch.arange(18).reshape(2, 3, 3) % 3 > 0).float()
    logs = torch.log(torch.exp(scores) / torch.exp(scores).sum(dim=1, keepdim=True))
    picked = -torch.gather(logs, 1, classes[:, None])[:, 0]
    expected = (picked * counted).sum() / counted.sum()
    torch.testing.assert_close(orientation_loss(scores, classes, counted), expected)
    assert orientation_loss(scores, classes, torch.zeros_like(counted)) == 0
