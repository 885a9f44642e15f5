"""A small network memorizes twenty chips: the loop, the loss and the channels work together."""

from dataclasses import replace

import numpy as np
import torch

from headwater.models.channels import PAPER
from headwater.models.registry import build_network
from headwater.train.loop import train_network, validation_scores
from headwater.train.settings import LoopSettings, Stage

SIDE = 64


def chip(number):
    """Two crossing rivers of random course in noise, darker in the near infrared and in valleys."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    bends = rng.uniform(4, 10, 2)
    lines = (columns - rng.uniform(16, 48) - bends[0] * np.sin(rows / rng.uniform(6, 12)),
             rows - rng.uniform(16, 48) - bends[1] * np.sin(columns / rng.uniform(6, 12)))  # fmt: skip
    distance = np.minimum(np.abs(lines[0]), np.abs(lines[1]))
    composite = rng.integers(90, 150, (4, SIDE, SIDE))
    composite[0] -= ((distance < 2) * rng.integers(20, 80, (SIDE, SIDE))).astype(int)
    elevation = 200 + np.minimum(distance, 12) + rng.normal(0, 0.3, (SIDE, SIDE))
    return composite.astype(np.uint8), elevation.astype(np.float32), np.where(distance < 2, 19, 0).astype(np.uint8)


def test_twenty_chips_are_memorized(tmp_path):
    chips = [chip(number) for number in range(20)]
    settings = LoopSettings(
        stages=(Stage(chip_px=SIDE, batch_size=4, steps=100, learning_rate=0.01, warmup_steps=10),),
        precision="float32",
        ema_decay=0.95,
        pixel_dropout=0.0,
        clip_norm=1.0,
        validate_every=50,
    )
    torch.manual_seed(0)
    network = build_network("waternet", {"base_channels": 4, "encoders": 2, "decoders": 1})
    found = {}
    train_network(
        network,
        lambda side, missing, rng: chips[int(rng.integers(20))],
        PAPER,
        replace(settings, threads=1),
        state_path=tmp_path / "state.pt",
        validate=lambda average: validation_scores(average, chips, PAPER),
        keep=lambda average, step, scores: found.update(scores),
    )
    assert found["f1"] > 0.95
