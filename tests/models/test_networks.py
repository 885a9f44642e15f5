"""Laws of every network of the registry."""

import json

import numpy as np
import pytest
import torch

from headwater.core.errors import InputError
from headwater.models.base import Network
from headwater.models.channels import RECIPES, Recipe
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.registry import NETWORKS, build_network, describe_network
from headwater.predict.pipeline import predict_probability

SMALL = {
    "waternet": {"in_channels": 4, "base_channels": 1, "encoders": 2, "decoders": 1},
    "evanet": {"base_channels": 2, "depth": 2},
    "hourglass": {"in_channels": 4, "base_channels": 4, "stacks": 2, "depth": 2},
    "unet": {"in_channels": 4, "base_channels": 2, "encoders": 3, "decoders": 2},
    "fcn8s": {"in_channels": 4, "base_channels": 2},
}
OTHERS = [
    ("evanet", {"base_channels": 2, "depth": 1, "scale": 2}),
    ("hourglass", {"in_channels": 4, "base_channels": 4, "stacks": 1, "depth": 1, "scale": 1, "bin_degrees": 10}),
    ("unet", {"in_channels": 4, "base_channels": 2, "encoders": 2, "decoders": 2}),
    ("unet", {"in_channels": 4, "base_channels": 2, "encoders": 3, "decoders": 2, "elevation_channel": 3}),
    ("unet", {"in_channels": 4, "base_channels": 2, "encoders": 2, "decoders": 0, "elevation_channel": 0}),
    *(("fcn8s", {"in_channels": 4, "base_channels": 1, "scale": scale}) for scale in (1, 4, 8)),
]
ALL = [*SMALL.items(), *OTHERS]


def small(name, sizes, seed=0):
    torch.manual_seed(seed)
    return build_network(name, sizes)


def test_every_registered_network_is_tried():
    assert set(SMALL) == set(NETWORKS.names())


@pytest.mark.parametrize(("name", "sizes"), ALL)
def test_shapes_and_range_are_as_the_sizes_say(name, sizes):
    model = small(name, sizes).eval()
    assert isinstance(model, Network)
    config = model.config
    assert config.in_channels == 4
    side = 2 * config.multiple_px
    x = torch.rand(2, 4, side, 2 * side)
    with torch.inference_mode():
        logits, probability = model.logits(x), model.predictor()(x)
    assert logits.shape == probability.shape == (2, 1, side // config.scale, 2 * side // config.scale)
    assert probability.dtype == torch.float32
    torch.testing.assert_close(probability, torch.sigmoid(logits))
    torch.testing.assert_close(probability, model.probability(x))


@pytest.mark.parametrize("name", [name for name in NETWORKS.names() if name != "evanet"])
def test_baselines_give_half_the_inputs_size_by_default_like_waternet(name):
    with torch.device("meta"):
        model = build_network(name, {})
    assert model.config.scale == 2


@pytest.mark.parametrize(("name", "sizes"), ALL)
def test_gradients_reach_every_tensor_and_the_input(name, sizes):
    model = small(name, sizes)
    side = 2 * model.config.multiple_px
    x = torch.rand(2, 4, side, side, requires_grad=True)
    loss = model.logits(x).square().mean()
    if name == "hourglass":
        tasks = model.tasks(x)
        loss = sum(score.square().mean() for score in (*tasks.segmentation, *tasks.orientation))
    loss.backward()
    assert x.grad.abs().sum(dim=(0, 2, 3)).min() > 0
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize(("name", "sizes"), ALL)
def test_images_of_a_batch_do_not_see_each_other(name, sizes):
    model = small(name, sizes).eval()
    side = 2 * model.config.multiple_px
    x = torch.rand(3, 4, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(
            model.probability(x), torch.cat([model.probability(image[None]) for image in x]), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(("name", "sizes"), ALL)
def test_name_and_sizes_build_it_again_and_its_checkpoint_is_the_same_network(name, sizes, tmp_path):
    model = small(name, sizes)
    registered, config = describe_network(model)
    assert registered == name
    assert build_network(name, json.loads(json.dumps(config))).config == model.config
    recipe = Recipe(name="four", channels=("R", "G", "B", "min_max_elevation"))
    path = tmp_path / "n.safetensors"
    # Batch norms that have seen data.
    model.train()
    model.logits(torch.rand(2, 4, 2 * model.config.multiple_px, 2 * model.config.multiple_px))
    save_checkpoint(path, model, recipe=recipe, license="CC0-1.0", dtype=torch.float32)
    checkpoint = load_checkpoint(path)
    assert checkpoint.metadata.recipe == recipe
    for key, tensor in model.state_dict().items():
        again = checkpoint.model.state_dict()[key]
        assert again.dtype == tensor.dtype
        assert torch.equal(again, tensor), key


@pytest.mark.parametrize("name", NETWORKS.names())
def test_each_plugs_into_prediction(name):
    rng = np.random.default_rng(0)
    composite = rng.integers(1, 256, (4, 96, 80), dtype=np.uint8)
    elevation = rng.normal(100, 9, (96, 80)).astype(np.float32)
    model = small(name, SMALL[name]).eval()
    probability, valid = predict_probability(
        model.predictor(), RECIPES.load("evanet"), composite, elevation, tile_px=64, overlap_px=16
    )
    scale = model.config.scale
    assert probability.shape == (96 // scale, 80 // scale)
    assert valid.all()
    assert np.isfinite(probability).all()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("evanet", {"depth": 0}),
        ("evanet", {"depth": 2, "scale": 3}),
        ("hourglass", {"bin_degrees": 7}),
        ("hourglass", {"base_channels": 5}),
        ("hourglass", {"scale": 4}),
        ("hourglass", {"stacks": 0}),
        ("unet", {"encoders": 1, "decoders": 2}),
        ("unet", {"elevation_channel": 10}),
        ("unet", {"in_channels": 1, "elevation_channel": 0}),
        ("unet", {"base_channels": 0}),
        ("fcn8s", {"scale": 16}),
        ("fcn8s", {"out_channels": 0}),
    ],
)
def test_impossible_sizes_are_refused(name, sizes):
    with pytest.raises(InputError, match=f"make no {name}"):
        build_network(name, sizes)


@pytest.mark.parametrize(("degrees", "classes"), [(10, 37), (20, 19)])
def test_orientation_has_a_class_per_bin_and_one_for_none(degrees, classes):
    model = small("hourglass", {**SMALL["hourglass"], "bin_degrees": degrees}).eval()
    assert model.config.orientation_classes == classes
    with torch.inference_mode():
        tasks = model.tasks(torch.rand(1, 4, 64, 32))
    assert [tuple(score.shape) for score in tasks.orientation] == [(1, classes, 16, 8)] * 2 + [(1, classes, 32, 16)]
    assert [tuple(score.shape) for score in tasks.segmentation] == [(1, 1, 16, 8)] * 2 + [(1, 1, 32, 16)]


def test_a_regulated_unet_uses_its_elevation_channel_at_any_position():
    x = torch.rand(1, 4, 16, 16)
    sizes = {**SMALL["unet"], "base_channels": 8, "encoders": 2, "decoders": 1}
    front, back = (small("unet", {**sizes, "elevation_channel": at}).eval() for at in (0, 3))
    back.load_state_dict(front.state_dict())
    moved = torch.cat([x[:, 1:], x[:, :1]], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(back.logits(moved), front.logits(x))
        other = x.clone()
        other[:, 0] = x[:, 0].flip(-1)
        assert (front.logits(other) - front.logits(x)).abs().max() > 1e-6
