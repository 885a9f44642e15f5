"""Checkpoints: what is written is read back, and what does not fit is refused by name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from headwater.core.errors import InputError
from headwater.models.channels import PAPER, RELEASE
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.registry import build_network, describe_network
from headwater.models.shipped import default_checkpoints
from headwater.models.waternet import WaterNet, WaterNetConfig

SIZES = {"base_channels": 1, "encoders": 2, "decoders": 1}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    model = build_network("waternet", SIZES)
    save_checkpoint(
        path,
        model,
        recipe=RELEASE,
        license="CC0-1.0",
        training={"seeds": [1]},
        scores={"f1": 0.5},
        dtype=torch.bfloat16,
    )
    return path, model


def rewrite(path, tensors):
    """Replace the weights and write their hash into the JSON, as a careless person might."""
    import hashlib

    save_file(tensors, path)
    sidecar = path.with_suffix(".json")
    values = json.loads(sidecar.read_text())
    values["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    sidecar.write_text(json.dumps(values))


def test_round_trip_casts_to_float32_and_keeps_the_metadata(saved):
    path, model = saved
    checkpoint = load_checkpoint(path)
    assert checkpoint.metadata.recipe == RELEASE
    assert checkpoint.metadata.network == "waternet"
    assert checkpoint.metadata.license == "CC0-1.0"
    assert checkpoint.metadata.training == {"seeds": [1]}
    assert checkpoint.metadata.input_pixel_m == 10
    assert [channel["name"] for channel in checkpoint.metadata.channels] == list(RELEASE.names)
    assert checkpoint.metadata.channels[4]["formula"] == "(G - N) / (G + N + 1e-09) on v / 255"
    assert not checkpoint.model.training
    for name, tensor in checkpoint.model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, model.state_dict()[name].bfloat16().float())
    assert checkpoint.model(torch.rand(1, 10, 8, 8)).shape == (1, 1, 4, 4)


def test_the_former_key_of_the_license_is_read(saved):
    path, _ = saved
    sidecar = path.with_suffix(".json")
    values = json.loads(sidecar.read_text())
    values["licence"] = values.pop("license")
    sidecar.write_text(json.dumps(values))
    assert load_checkpoint(path).metadata.license == "CC0-1.0"


def test_same_weights_give_the_same_bytes(saved, tmp_path):
    path, model = saved
    again = tmp_path / "again.safetensors"
    metadata = save_checkpoint(again, model, recipe=PAPER, license="CC0-1.0", dtype=torch.bfloat16)
    assert again.read_bytes() == path.read_bytes()
    assert metadata.sha256 == load_checkpoint(path).metadata.sha256


def test_a_missing_tensor_is_named(saved):
    path, _ = saved
    tensors = load_file(path)
    del tensors["decoders.0.conv_trans.bias"]
    rewrite(path, tensors)
    with pytest.raises(InputError, match=r"lacks decoders\.0\.conv_trans\.bias"):
        load_checkpoint(path)


def test_an_unknown_tensor_is_named(saved):
    path, _ = saved
    rewrite(path, {**load_file(path), "extra.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"unknown tensor extra\.weight"):
        load_checkpoint(path)


def test_a_tensor_of_another_shape_is_named(saved):
    path, _ = saved
    rewrite(path, {**load_file(path), "encoders.1.decrease_conv.bias": torch.zeros(7)})
    with pytest.raises(InputError, match=r"encoders\.1\.decrease_conv\.bias as \(7,\)"):
        load_checkpoint(path)


def test_a_tensor_that_is_not_finite_is_named(saved):
    path, _ = saved
    tensors = load_file(path)
    tensors["encoders.0.decrease_conv.bias"][0] = float("nan")
    rewrite(path, tensors)
    with pytest.raises(InputError, match=r"values in encoders\.0\.decrease_conv\.bias"):
        load_checkpoint(path)


def test_truncated_and_changed_weights_are_refused(saved):
    path, _ = saved
    content = path.read_bytes()
    for damaged in (content[:-10], content[:-1] + b"\x7f", b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="sha256 differs"):
            load_checkpoint(path)


def test_a_file_that_is_no_safetensors_is_refused(saved):
    import hashlib

    path, _ = saved
    path.write_bytes(b"not weights")
    sidecar = path.with_suffix(".json")
    values = json.loads(sidecar.read_text())
    values["sha256"] = hashlib.sha256(b"not weights").hexdigest()
    sidecar.write_text(json.dumps(values))
    with pytest.raises(InputError, match="not a complete safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "linknet"}, "no network 'linknet'"),
        ({"network": "unet"}, "lacks|unknown tensor"),
        ({"config": {**SIZES, "in_channels": 9}}, "makes 10 channels, the network takes 9"),
        ({"recipe": {"name": "x", "channels": ["N", "SWIR"]}}, "no channel 'SWIR'"),
        ({"config": {**SIZES, "depth": 3}}, "no size depth"),
        ({"config": {**SIZES, "decoders": 9}}, "do not fit"),
        ({"comment": "x"}, "does not describe a checkpoint"),
    ],
)
def test_a_bad_description_is_refused(saved, change, message):
    path, _ = saved
    sidecar = path.with_suffix(".json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


def test_messages_name_the_missing_file(saved):
    path, _ = saved
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"has no w\.json"):
        load_checkpoint(path)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(path)


def test_weights_beyond_the_stored_type_are_refused(tmp_path):
    model = build_network("waternet", SIZES)
    with torch.no_grad():
        model.encoders[0].decrease_conv.bias[0] = 1e6
    with pytest.raises(InputError, match=r"encoders\.0\.decrease_conv\.bias"):
        save_checkpoint(tmp_path / "w.safetensors", model, recipe=PAPER, license="CC0-1.0", dtype=torch.float16)


def test_variances_of_batch_norms_are_stored_unchanged(tmp_path):
    model = build_network("unet", {"in_channels": 10, "base_channels": 4})
    name = next(name for name, _ in model.named_buffers() if name.endswith("running_var"))
    model.get_buffer(name)[0] = 123456.789
    save_checkpoint(tmp_path / "w.safetensors", model, recipe=PAPER, license="CC0-1.0", dtype=torch.float16)
    again = load_checkpoint(tmp_path / "w.safetensors").model
    assert torch.equal(again.get_buffer(name), model.get_buffer(name))


def test_registry_describes_what_it_builds():
    config = WaterNetConfig(base_channels=2, encoders=3, decoders=2)
    name, sizes = describe_network(WaterNet(config))
    assert build_network(name, sizes).config == config


def test_the_packages_weights_load_and_are_small():
    assert sum(path.stat().st_size for path in default_checkpoints()) <= 25e6
    for path in default_checkpoints():
        checkpoint = load_checkpoint(path)
        assert checkpoint.model.config.scale == 2
        assert {"test", "validation"} <= set(checkpoint.metadata.scores)
        assert checkpoint.metadata.license


def test_a_recipe_that_does_not_fit_the_network_is_refused_when_saving(tmp_path):
    model = build_network("unet", {"in_channels": 3, "base_channels": 2})
    with pytest.raises(InputError, match="makes 10 channels, the network takes 3"):
        save_checkpoint(tmp_path / "w.safetensors", model, recipe=PAPER, license="CC0-1.0")


def test_the_packages_json_is_what_older_versions_wrote():
    for path in default_checkpoints():
        values = json.loads(path.with_suffix(".json").read_text())
        assert load_checkpoint(path).metadata.recipe.to_dict() == values["recipe"]
