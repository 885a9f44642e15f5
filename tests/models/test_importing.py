"""Import of published weights: exact, and only tensors are read."""

import argparse
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from headwater.core.errors import InputError
from headwater.models.channels import RELEASE
from headwater.models.checkpoint import load_checkpoint
from headwater.models.importing import import_checkpoint, read_state_dict
from headwater.models.registry import build_network

SIZES = {"in_channels": 10, "base_channels": 2, "encoders": 3, "decoders": 2, "out_channels": 1}


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return build_network("waternet", SIZES).state_dict()


def nest_plain(tensors):
    return tensors


def nest_lightning(tensors):
    return {"epoch": 3, "state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}, "loops": {"a": 1}}


def nest_parallel(tensors):
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


def nest_training(tensors):
    return {"model": tensors, "optimizer": {"state": {}, "param_groups": []}, "epoch": 1}


def nest_compiled_lightning(tensors):
    return {"state_dict": {f"model._orig_mod.{name}": tensor for name, tensor in tensors.items()}}


@pytest.mark.parametrize("nest", [nest_plain, nest_lightning, nest_parallel, nest_training, nest_compiled_lightning])
@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_tensors_are_found_wherever_training_programs_put_them(weights, nest, suffix, tmp_path):
    source, out = tmp_path / f"published{suffix}", tmp_path / "ours.safetensors"
    torch.save(nest(weights), source)
    metadata = import_checkpoint("waternet", source, out)
    assert metadata.config == SIZES
    assert metadata.recipe == RELEASE
    assert metadata.training["imported_from"] == source.name
    ours = load_checkpoint(out).model.state_dict()
    assert ours.keys() == weights.keys()
    assert all(torch.equal(ours[name], weights[name]) for name in weights)


def test_values_stay_exact_whatever_their_type(weights, tmp_path):
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        source, out = tmp_path / "published.safetensors", tmp_path / "ours.safetensors"
        stored = {name: tensor.to(dtype).contiguous() for name, tensor in weights.items()}
        save_file(stored, source)
        import_checkpoint("waternet", source, out)
        ours = load_checkpoint(out).model.state_dict()
        assert all(torch.equal(ours[name], stored[name].float()) for name in weights)
        kept = {tensor.dtype for tensor in load_file(out).values()}
        assert kept == {torch.float32 if dtype == torch.float64 else dtype}


def test_recipe_license_and_pixel_size_are_recorded(weights, tmp_path):
    source, out = tmp_path / "published.pt", tmp_path / "ours.safetensors"
    torch.save(weights, source)
    import_checkpoint("waternet", source, out, recipe="paper", license="GPL-3.0", pixel_m=5)
    metadata = load_checkpoint(out).metadata
    assert metadata.recipe.name == "paper"
    assert metadata.license == "GPL-3.0"
    assert metadata.input_pixel_m == metadata.recipe.pixel_m == 5
    with pytest.raises(InputError, match="no channel recipe 'mine'"):
        import_checkpoint("waternet", source, out, recipe="mine")
    with pytest.raises(InputError, match="takes 10"):
        import_checkpoint("waternet", source, out, recipe="evanet")
    with pytest.raises(InputError, match="no import of 'unet'"):
        import_checkpoint("unet", source, out)


@pytest.mark.real
@pytest.mark.parametrize("pair", ["pair", "pair_small"])
def test_published_waternet_gives_its_published_output(pair, shared_data, tmp_path):
    folder, out = shared_data / "waternet_golden", tmp_path / "waternet.safetensors"
    import_checkpoint("waternet", folder / "state_dict.safetensors", out)
    checkpoint = load_checkpoint(out)
    golden = load_file(folder / f"{pair}.safetensors")
    with torch.inference_mode():
        output = checkpoint.model(golden["input"])
    assert output.shape == golden["output"].shape
    assert (output - golden["output"]).abs().max() < 2e-5
    assert checkpoint.metadata.recipe == RELEASE
    published = load_file(folder / "state_dict.safetensors")
    ours = checkpoint.model.state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in published.items()
    }


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["HEADWATER_TEST_EVIL"],)


@pytest.mark.parametrize("where", ["alone", "nested", "raw"])
def test_pickled_code_is_refused_and_not_run(weights, where, tmp_path, monkeypatch):
    trace, source = tmp_path / "trace", tmp_path / "published.pt"
    monkeypatch.setenv("HEADWATER_TEST_EVIL", str(trace))
    if where == "raw":
        source.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save(Evil() if where == "alone" else {"state_dict": weights, "hyper_parameters": Evil()}, source)
    message = "which is not read" if where == "raw" else r"pickled code \(posix\.mkdir\), which is not run"
    with pytest.raises(InputError, match=message):
        import_checkpoint("waternet", source, tmp_path / "ours.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published.pt"]


def test_harmless_objects_are_refused_by_name_as_well(weights, tmp_path):
    source = tmp_path / "published.ckpt"
    torch.save({"state_dict": weights, "hyper_parameters": argparse.Namespace(a=1)}, source)
    with pytest.raises(InputError, match=r"pickled code \(argparse\.Namespace\)"):
        read_state_dict(source)


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files_are_refused(weights, legacy, tmp_path):
    source = tmp_path / "published.pt"
    torch.save(weights, source, _use_new_zipfile_serialization=not legacy)
    content = source.read_bytes()
    for damaged in (content[: len(content) // 2], content[:50], b"", b"weights"):
        source.write_bytes(damaged)
        with pytest.raises(InputError, match=r"not a complete file|other data than plain tensors"):
            read_state_dict(source)
    safe = tmp_path / "published.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, safe)
    safe.write_bytes(safe.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a complete safetensors file"):
        read_state_dict(safe)
    with pytest.raises(InputError, match="do not exist"):
        read_state_dict(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, [1, 2], {"state_dict": {"a": 1}}, {"model": {}}])
def test_files_without_tensors_are_refused(content, tmp_path):
    source = tmp_path / "published.pt"
    torch.save(content, source)
    with pytest.raises(InputError, match="holds no state_dict"):
        read_state_dict(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(extra=torch.zeros(1)), "unknown tensor extra"),
        (lambda t: t.pop("encoders.1.decrease_conv.bias"), r"lacks encoders\.1\.decrease_conv\.bias"),
        (
            lambda t: t.update({"encoders.1.decrease_conv.bias": torch.zeros(9)}),
            r"encoders\.1\.decrease_conv\.bias as \(9,\) where the network has \(4,\)",
        ),
        (lambda t: t["fully_connected.layers.0.bias"].fill_(float("nan")), r"fully_connected\.layers\.0\.bias that"),
        (lambda t: t.pop("fully_connected.layers.3.weight"), r"no complete waternet.*layers\.3\.weight"),
        (lambda t: t.pop("attention.conv_block1.conv_1.weight"), "holds no waternet"),
        (
            lambda t: t.update({"encoders.1.decrease_conv.bias": torch.zeros(4, dtype=torch.int64)}),
            r"encoders\.1\.decrease_conv\.bias as torch\.int64",
        ),
    ],
)
def test_what_is_not_the_network_is_refused_by_the_tensors_name(weights, change, message, tmp_path):
    change(weights)
    source = tmp_path / "published.pt"
    torch.save(weights, source)
    with pytest.raises(InputError, match=message):
        import_checkpoint("waternet", source, tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()


def test_a_name_without_the_common_prefix_is_refused(weights, tmp_path):
    source = tmp_path / "published.pt"
    torch.save({**nest_parallel(weights), "criterion.weight": torch.ones(1)}, source)
    with pytest.raises(InputError, match=r"unknown tensor criterion\.weight"):
        import_checkpoint("waternet", source, tmp_path / "ours.safetensors")


def test_weights_of_another_network_are_refused(weights, tmp_path):
    source = tmp_path / "published.pt"
    torch.save(build_network("evanet", {}).state_dict(), source)
    with pytest.raises(InputError, match=r"holds no waternet: there is no tensor attention\.conv_block1"):
        import_checkpoint("waternet", source, tmp_path / "ours.safetensors")
    assert import_checkpoint("evanet", source, tmp_path / "ours.safetensors").network == "evanet"
