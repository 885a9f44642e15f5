"""The objective: each network with each loss that it supports."""

import numpy as np
import pytest
import torch

from headwater.core.errors import InputError
from headwater.models.channels import RECIPES
from headwater.models.registry import NETWORKS, build_network
from headwater.train.batches import draw_batch
from headwater.train.losses import evanet_loss, labels_of_water, targets_of_values, waternet_loss
from headwater.train.objective import Objective
from headwater.train.settings import Losses, Stage

SIZES = {
    "waternet": {"base_channels": 2, "encoders": 2, "decoders": 1},
    "evanet": {"base_channels": 2, "depth": 2, "scale": 2},
    "hourglass": {"base_channels": 4, "stacks": 2, "depth": 1},
    "unet": {"base_channels": 2, "encoders": 2, "decoders": 1},
    "fcn8s": {"base_channels": 2},
}


def draw(side_px, max_missing_fraction, rng):
    rows, columns = np.mgrid[:side_px, :side_px]
    distance = np.abs(columns - side_px // 2 - 5 * np.sin(rows / 8))
    types = np.where(distance < 2, 19, 0).astype(np.uint8)
    composite = rng.integers(1, 256, (4, side_px, side_px), dtype=np.uint8)
    return composite, (100 + np.minimum(distance, 9) - rows / 10).astype(np.float32), types


def batch_for(objective, name, side_px=32):
    stage = Stage(chip_px=side_px, batch_size=2, steps=1, learning_rate=0.1)
    recipe = RECIPES.load(NETWORKS.load(name).default_recipe)
    return draw_batch(draw, recipe, stage, 0.0, np.random.default_rng(0), objective.directions)


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("guided", [0.0, 0.5])
def test_every_network_learns_by_its_own_recipe(name, guided):
    torch.manual_seed(0)
    losses = Losses(elevation=guided, orientation=1.0 if name == "hourglass" else 0.0)
    objective = Objective(build_network(name, SIZES[name]), losses, "float32").train()
    batch = batch_for(objective, name)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.005)
    met = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = objective(batch)
        loss.backward()
        optimizer.step()
        met.append(loss.item())
    assert np.isfinite(met).all()
    assert met[-1] < met[0]
    for parameter, tensor in objective.named_parameters():
        assert tensor.grad is not None, parameter


def test_losses_add_up_by_their_weights():
    torch.manual_seed(0)
    network = build_network("waternet", SIZES["waternet"]).eval()
    batch = batch_for(Objective(network, Losses(), "float32"), "waternet")
    logits = network.logits(batch.channels)
    targets = targets_of_values(batch.values)
    heights = torch.nn.functional.avg_pool2d(batch.elevation, 2)
    labels = labels_of_water(targets.target, targets.counted)
    guided = evanet_loss(logits, heights, labels, weighting="difference") / (8 * targets.counted.sum())
    expected = 0.5 * waternet_loss(logits, targets) + 2 * guided
    losses = Losses(waternet=0.5, elevation=2, elevation_weighting="difference")
    torch.testing.assert_close(Objective(network, losses, "float32")(batch), expected)


def test_a_published_size_evanet_is_guided_by_both_its_scores():
    torch.manual_seed(0)
    network = build_network("evanet", {"base_channels": 2, "depth": 2}).eval()
    batch = batch_for(Objective(network, Losses(), "float32"), "evanet")
    targets = targets_of_values(batch.values, scale=1)
    scores = network(batch.channels[:, :-1], batch.channels[:, -1:])
    labels = labels_of_water(targets.target, targets.counted)
    expected = evanet_loss(scores, batch.elevation, labels) / (8 * targets.counted.sum())
    torch.testing.assert_close(Objective(network, Losses(waternet=0, elevation=1), "float32")(batch), expected)


def test_impossible_losses_are_refused():
    with pytest.raises(InputError, match="WaterNet has no orientation head"):
        Objective(build_network("waternet", SIZES["waternet"]), Losses(orientation=1), "float32")
    with pytest.raises(InputError, match="none above 0"):
        Losses(waternet=0)
    with pytest.raises(InputError, match="elevation_weighting is 'square'"):
        Losses(elevation_weighting="square")
