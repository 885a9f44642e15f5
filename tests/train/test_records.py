"""Curves and images, with TensorBoard and without."""

import sys

import numpy as np
import pytest
import torch
import yaml

from headwater.cli import main
from headwater.models.channels import PAPER
from headwater.models.registry import build_network
from headwater.train.records import Records, example_image, open_records

STAGES = [{"chip_px": 24, "batch_size": 1, "steps": 4, "learning_rate": 0.01}]


class Written:
    def __init__(self):
        self.scalars, self.images = [], []

    def add_scalar(self, name, value, step):
        self.scalars.append((name, step))

    def add_image(self, name, image, step):
        self.images.append((image, step))

    def flush(self):
        pass


def test_the_example_shows_image_label_and_probability(tmp_path, river):
    cell = river(tmp_path / "cell", 0)
    torch.manual_seed(0)
    network = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 1})
    image = example_image(network, (cell.composite, cell.elevation, cell.types), PAPER, "cpu")
    assert image.shape == (3, 48, 144)
    assert image.min() >= 0
    assert image.max() <= 1
    np.testing.assert_allclose(image[0, :, :48], cell.composite[1, ::2, ::2] / 255, rtol=1e-6)
    assert set(np.unique(image[:, :, 48:96])) == {0, 1}
    written = Written()
    records = Records(written, lambda network: image)
    records.step(1, loss=0.5, batches=1)
    records.validation(1, {"f1*": 0.3}, network)
    assert written.scalars == [("training/loss", 1), ("training/batches", 1), ("validation/f1*", 1)]
    assert written.images[0][1] == 1


def with_tensorboard(path):
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "tensorboard": True}))
    return str(path)


def test_without_tensorboard_one_line_reports_it_and_training_continues(configure, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main(["train", with_tensorboard(configure(stages=STAGES))]) == 0
    assert capsys.readouterr().err.count("TensorBoard is not installed") == 1


def test_curves_are_written(tmp_path, configure):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["train", with_tensorboard(configure(stages=STAGES))]) == 0
    events = EventAccumulator(str(tmp_path / "a" / "work" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == [1, 2, 3, 4]
    assert "validation/f1*" in events.Tags()["scalars"]
    assert events.Tags()["images"]
    assert open_records(tmp_path / "b", lambda network: None) is not None
