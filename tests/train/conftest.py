"""A few small regions with a river each, cut to chips, and a configuration that trains on them."""

import numpy as np
import pytest
import torch
import yaml

from headwater.train.chips import CellChips
from headwater.train.cut import CutSettings, cut_chips

PARTS = {"north": "training", "south": "training", "east": "validation", "west": "test"}


@pytest.fixture(autouse=True)
def _one_thread():
    # Threads of a small network wait for each other longer than they work.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def river_cell(folder, seed, side_px=96, kind=19):
    """A river that is dark in the near infrared and is in a valley."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side_px, :side_px]
    distance = np.abs(columns - side_px // 2 - side_px // 5 * np.sin(rows / 15 + seed))
    composite = rng.integers(100, 140, (4, side_px, side_px))
    composite[0] -= (distance < 3) * 80
    return CellChips.save(
        folder,
        composite=composite.astype(np.uint8),
        elevation=(np.minimum(distance, 30) + 200 - rows / 10).astype(np.float32),
        types=np.where(distance < 3, kind, 0).astype(np.uint8),
    )


@pytest.fixture
def river():
    return river_cell


@pytest.fixture
def chip_folder(tmp_path):
    cells = {name: [river_cell(tmp_path / "cells" / name, seed)] for seed, name in enumerate(PARTS)}
    settings = CutSettings(sides_px=(32, 64), chips_per_region=(10, 4))
    cut_chips([(name, PARTS[name], places) for name, places in cells.items()], tmp_path / "chips", settings)
    return tmp_path / "chips"


@pytest.fixture
def configure(tmp_path, chip_folder):
    """Write a configuration that trains on the chips for a second or two, with changes; return its path."""

    def write(name="a", network=None, **loop):
        values = {
            "work": str(tmp_path / name / "work"),
            "out": str(tmp_path / name / "net.safetensors"),
            "license": "Apache-2.0",
            "chips": str(chip_folder),
            "validation_window_px": 64,
            "network": network or {"name": "waternet", "base_channels": 1, "encoders": 2, "decoders": 1},
            "loop": {
                "precision": "float32",
                "ema_decay": 0.9,
                "validate_every": 10,
                "save_minutes": 0,
                "stages": [
                    {"chip_px": 24, "batch_size": 2, "steps": 40, "learning_rate": 0.01},
                    {"chip_px": 64, "batch_size": 1, "steps": 6, "learning_rate": 0.001},
                ],
                **loop,
            },
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write
