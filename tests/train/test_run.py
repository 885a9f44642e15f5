"""Training configurations, and a complete training in small."""

import numpy as np
import pytest
import torch
import yaml

from headwater.core.errors import InputError
from headwater.models.checkpoint import load_checkpoint
from headwater.models.registry import build_network
from headwater.train import run
from headwater.train.chips import CellChips
from support.places import ROOT

CONFIG = ROOT / "config" / "train-demo.yaml"


@pytest.fixture
def values():
    return yaml.safe_load(CONFIG.read_text())


def write(folder, values):
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("name", ["train-demo.yaml", "train-demo-unet.yaml"])
def test_the_packages_trainings_are_valid_and_fit_the_limit(name):
    config = run.read_config(CONFIG.with_name(name))
    network = build_network(config.network["name"], {k: v for k, v in config.network.items() if k != "name"})
    assert network.config.scale == 2
    assert 2 * sum(parameter.numel() for parameter in network.parameters()) < 11.9e6
    for stage in config.loop.stages:
        assert stage.chip_px % network.config.multiple_px == 0
    assert config.validation_window_px % network.config.multiple_px == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(epochs=3), "epochs"),
        (lambda v: v.pop("license"), "license"),
        (lambda v: v.update(recipe="mine"), "no channel recipe 'mine'"),
        (lambda v: v["planets"].update(sky="blue"), "sky"),
        (lambda v: v["planets"].update(test=v["planets"]["training"][:1]), "lists a planet twice"),
        (lambda v: v["planets"].update(training=[7], test=["plain-7"]), "lists a planet twice"),
        (lambda v: v["planets"].update(training=[]), "none for training"),
        (lambda v: v["planets"].update(training=["odd-1"]), "no planet 'odd-1'"),
        (lambda v: v["planets"].update(training=["wide"]), "no planet 'wide'"),
        (lambda v: v["planets"].update(training=[True]), r"planets.training is \[True\]"),
        (lambda v: v["loop"].update(halo_px=-1), "halo_px"),
        (lambda v: v["loop"].update(momentum=0.9), "momentum"),
        (lambda v: v["loop"]["stages"][0].pop("steps"), "steps"),
        (lambda v: v["loop"]["stages"][0].update(chip_px=244), "244 px do not divide by 16"),
        (lambda v: v["loop"]["stages"][0].update(learning_rate="1e-3"), "learning_rate is '1e-3'"),
        (lambda v: v["loop"].update(optimizer="adam"), "optimizer is 'adam'"),
        (lambda v: v["loop"].update(losses={"dice": 1}), "dice"),
        (lambda v: v["loop"].update(losses={"orientation": 1}), "no orientation head"),
        (lambda v: v["network"].update(in_channels=4), "makes 10 channels, the network takes 4"),
        (lambda v: v.update(chips="chips"), "both planets and chips"),
        (lambda v: v["network"].pop("name"), "does not name a network"),
        (lambda v: v["planets"].update(test=None), "planets.test is None"),
        (lambda v: v["planets"].update(training=3), "planets.training is 3"),
        (lambda v: v["loop"].update(stages=None), "loop.stages is None"),
        (lambda v: v["loop"].update(stages=[3]), r"loop.stages is \[3\]"),
        (lambda v: v["loop"].update(seed=-1), "a number too small"),
        (lambda v: v["loop"]["stages"][0].update(warmup_steps=-1), "negative warmup_steps"),
        (lambda v: v.update(work=None), "work is None"),
        (lambda v: v.update(out="model.pt"), "out is model.pt"),
        (lambda v: v.update(validation_window_px="832"), "validation_window_px is '832'"),
        (lambda v: v.update(recipe=["paper"]), "no channel recipe"),
        (lambda v: v["network"].update(name=["waternet"]), "does not name a network"),
        (lambda v: v["network"].update(out_channels=2), r"gives 2 map\(s\)"),
        (lambda v: v["network"].update(decoders=1), "8 times smaller than its input"),
        (lambda v: v["loop"].update(device=["cpu"]), r"device is \['cpu'\]"),
        (lambda v: v["loop"].update(deterministic="false"), "deterministic is 'false'"),
        (lambda v: v["loop"].update(halo_px=2000), "64 px to spare"),
        (lambda v: v["planets"].update(method="medain"), "got 'medain'"),
        (lambda v: v["planets"].update(cell_degrees=0.3), "cell_degrees is 0.3"),
    ],
)
def test_bad_configurations_are_refused(tmp_path, values, change, message):
    change(values)
    with pytest.raises(InputError, match=message):
        run.read_config(write(tmp_path, values))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        run.read_config(tmp_path / "none.yaml")


def test_a_complete_training_in_small(tmp_path, values, monkeypatch):
    def planet(seed, work, settings):
        folder = work / f"{settings.variety}-{seed}"
        if folder.is_dir():
            return [CellChips(folder / "cell")]
        rng = np.random.default_rng(seed)
        types = np.zeros((64, 64), dtype=np.uint8)
        types[:, 30:34] = 19
        return [
            CellChips.save(
                folder / "cell",
                composite=rng.integers(1, 256, (4, 64, 64), dtype=np.uint8),
                elevation=rng.normal(100, 5, (64, 64)).astype(np.float32),
                types=types,
            )
        ]

    monkeypatch.setattr(run, "prepare_planet", planet)
    values.update(work=str(tmp_path / "work"), out=str(tmp_path / "out" / "net.safetensors"), validation_window_px=64)
    values["network"] = {"name": "waternet", "base_channels": 1, "encoders": 2, "decoders": 1}
    values["planets"].update(training=[1, "wide-2"], validation=[3], test=[4])
    stages = [{"chip_px": 32, "batch_size": 1, "steps": 3, "learning_rate": 0.01}]
    values["loop"].update(stages=stages, halo_px=8, threads=1)
    path = write(tmp_path, values)
    before = torch.get_num_threads()
    try:
        run.train(path)
        first = (tmp_path / "out" / "net.safetensors").read_bytes()
        sidecar = (tmp_path / "out" / "net.json").read_bytes()
        run.train(path)
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "out" / "net.safetensors").read_bytes() == first
    assert (tmp_path / "out" / "net.json").read_bytes() == sidecar
    metadata = load_checkpoint(tmp_path / "out" / "net.safetensors").metadata
    assert metadata.training["planets"] == {
        "training": ["plain-1", "wide-2"],
        "validation": ["plain-3"],
        "test": ["plain-4"],
    }
    assert metadata.training["steps_done"] == 3
    assert {"f1", "f1*", "precision", "recall"} <= set(metadata.scores["test"])
    assert str(tmp_path) not in sidecar.decode()


def test_a_halo_wider_than_the_chips_is_refused_before_training(configure, tmp_path):
    with pytest.raises(InputError, match="no training chips of 80 px or more"):
        run.train(configure(halo_px=8))
    assert not (tmp_path / "a" / "work" / "state.pt").exists()
