"""The learning-rate finder."""

import math

import pytest
import torch
import yaml

from headwater.cli import main
from headwater.train.lr_finder import MAX_RATE, MIN_RATE, Trial, rate_table, suggested_rate


def test_the_rate_where_the_loss_falls_fastest_is_suggested():
    rates = [10 ** (power / 10) for power in range(-60, 1)]
    # Flat, then falling around 1e-2, then diverging.
    trials = [Trial(rate, 1 / (1 + (rate / 1e-2) ** 2) + (rate / 0.3) ** 4) for rate in rates]
    assert suggested_rate(trials) == pytest.approx(1e-2, rel=0.3)
    assert suggested_rate([*trials, Trial(1.1, math.nan)]) == suggested_rate(trials)
    assert suggested_rate(trials[:1]) == MIN_RATE
    assert rate_table(trials).splitlines()[-1].startswith("suggested learning_rate: ")


def test_the_command_prints_a_table_and_trains_nothing(tmp_path, configure, capsys):
    config = configure(optimizer="sgd")
    assert main(["train", str(config), "--find-lr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "learning rate  loss"
    assert 10 <= len(lines) <= 30
    suggestion = float(lines[-1].split(":")[1])
    assert MIN_RATE <= suggestion <= MAX_RATE
    assert not (tmp_path / "a" / "work").exists()
    assert yaml.safe_load(config.read_text())["loop"]["stages"][0]["learning_rate"] == 0.01
    assert not torch.are_deterministic_algorithms_enabled()
