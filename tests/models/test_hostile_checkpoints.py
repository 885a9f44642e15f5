"""Checkpoints of other people: small files that ask for much, and values of other types."""

import hashlib
import json
import math
import resource
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from headwater.core.errors import InputError
from headwater.models.channels import ESRI_STREAMS, PAPER, RECIPES, RELATIVE, Channel, Recipe, Scaling
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.registry import NETWORKS, build_network

SIZES = {"base_channels": 1, "encoders": 2, "decoders": 1}
HOSTILE = [
    None, True, -1, 0, 1.5, 64.0, 10**30, 10**400, math.nan, math.inf, "", "a", "\x1b[2J", "false", [], [[]], {},
    {"a": 1},
]  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_checkpoint(path, build_network("waternet", SIZES), recipe=RELATIVE, license="CC0-1.0")
    return path, json.loads(path.with_suffix(".json").read_text())


def with_changes(saved, place, value):
    """The path of the weights, with one value of their JSON replaced."""
    path, values = saved
    changed = json.loads(json.dumps(values))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.with_suffix(".json").write_text(json.dumps(changed))
    return path


@pytest.mark.parametrize("network", NETWORKS.names())
@pytest.mark.parametrize("size", [2**10, 2**12, 2**31, 10**30])
def test_a_small_file_asks_for_no_memory(network, size, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    config = {"base_channels": size} | ({"encoders": 10} if network in ("waternet", "unet") else {})
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    recipe = RECIPES.load(NETWORKS.load(network).default_recipe).to_dict()
    made = {"network": network, "config": config, "recipe": recipe, "sha256": sha256, "license": "x"}
    path.with_suffix(".json").write_text(json.dumps(made))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(InputError, match=r"lacks|unknown tensor|These sizes make no|The size base_channels"):
        load_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "config", [{"encoders": 11}, {"decoders": 10**9}, {"in_channels": 5000}, {"base_channels": True}, {"encoders": 2.0}]
)
def test_sizes_are_bounded_whole_numbers(config):
    with pytest.raises(InputError, match="The size"):
        build_network("waternet", config)


def test_weights_that_are_larger_than_their_network_are_not_read(saved, tmp_path):
    path = tmp_path / "w.safetensors"
    path.with_suffix(".json").write_text(json.dumps(saved[1]))
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="is larger than the network"):
        load_checkpoint(path)


PLACES = [
    *[(key,) for key in ("network", "config", "recipe", "sha256", "license", "input_pixel_m")],
    *[(key,) for key in ("training", "scores", "channels")],
    *[("config", key) for key in SIZES],
    *[("recipe", key) for key in ("name", "channels", "index_epsilon", "dy_sign", "max_missing_share", "pixel_m")],
    *[("recipe", "channels", 6, key) for key in ("name", "quantity", "parameters", "scaling")],
    ("recipe", "channels", 6, "parameters", "radius_px"),
    ("recipe", "channels", 0),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_value_of_another_type_is_used_or_refused_in_one_sentence(place, saved):
    for value in HOSTILE:
        message = refusal(with_changes(saved, place, value))
        if message is None:
            assert value in ("a", {}, [], [[]], {"a": 1}, -1, 0, 1.5, 64.0, "", "false"), (place, value)
        else:
            assert len(message) < 600
            assert "\x1b" not in message


def refusal(path):
    """What a checkpoint is refused with, None where it loads."""
    try:
        checkpoint = load_checkpoint(path)
    except InputError as error:
        return str(error)
    assert isinstance(checkpoint.metadata.recipe.support_px, int)
    return None


@given(st.sampled_from(["low", "high", "gain", "offset", "levels"]), st.sampled_from(HOSTILE[4:]))
def test_a_scaling_has_numbers_only(name, value):
    try:
        made = Scaling(**{"low": 0.0, "high": 1e6, name: value})
    except InputError:
        return
    assert math.isfinite(getattr(made, name))


@pytest.mark.parametrize(
    ("feature", "parameter", "value"),
    [
        ("relative_elevation", "radius_px", 10**6),
        ("relative_elevation", "radius_px", 0),
        ("TPI", "inner_px", 2.5),
        ("TPI", "square", "false"),
        ("geomorphon", "search_px", 10**9),
        ("geomorphon", "flat_degrees", math.nan),
        ("upslope_area", "smoothing_px", 1e6),
        ("upslope_area", "most_km2", 0),
        ("TWI", "min_slope", math.inf),
        ("min_max_elevation", "low_m", "0"),
    ],
)
def test_parameters_of_channels_are_bounded(feature, parameter, value):
    with pytest.raises(InputError, match=f"The parameter {parameter} of a channel"):
        Channel("x", feature=feature, parameters={parameter: value})


def test_a_recipe_has_a_bounded_number_of_channels():
    many = tuple(Channel(f"c{number}", feature="N") for number in range(65))
    with pytest.raises(InputError, match="lists 65 channels"):
        Recipe("x", channels=many)
    Recipe("x", channels=many[:64])
    for recipe in (PAPER, ESRI_STREAMS):
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
