"""The loop learns, can be interrupted anywhere, and raises its learning rate gradually."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from headwater.core.errors import InputError
from headwater.models.channels import PAPER, Recipe
from headwater.models.registry import build_network
from headwater.train.chips import CellChips, random_chip
from headwater.train.distributed import Distributed
from headwater.train.loop import _made_with, _update_average, train_network, validation_scores
from headwater.train.settings import LoopSettings, Stage
from headwater.train.state import learning_rate, stage_at

SIZES = {"base_channels": 2, "encoders": 2, "decoders": 1}
SETTINGS = LoopSettings(
    stages=(Stage(chip_px=32, batch_size=2, steps=4, learning_rate=0.01), Stage(64, 1, 3, 0.001)),
    ema_decay=0.9,
    precision="float32",
    validate_every=3,
)


@pytest.fixture
def cells(tmp_path):
    """Two cells with a river that is dark in the near infrared and is in a valley."""
    made = []
    for number in range(2):
        rng = np.random.default_rng(number)
        rows, columns = np.mgrid[:96, :96]
        distance = np.abs(columns - 48 - 20 * np.sin(rows / 15 + number))
        composite = rng.integers(100, 140, (4, 96, 96))
        composite[0] -= (distance < 3) * 80
        made.append(
            CellChips.save(
                tmp_path / f"cell{number}",
                composite=composite.astype(np.uint8),
                elevation=np.minimum(distance, 30).astype(np.float32) + 200,
                types=np.where(distance < 3, 19, 0).astype(np.uint8),
            )
        )
    return made


def network():
    torch.manual_seed(0)
    return build_network("waternet", SIZES)


def windows(cells):
    return (cell.middle(96, 4) for cell in cells)


def run(model, cells, settings, state_path, kept=None):
    return train_network(
        model,
        partial(random_chip, cells),
        PAPER,
        settings,
        state_path=state_path,
        validate=lambda average: validation_scores(average, windows(cells), PAPER),
        keep=lambda average, step, scores: kept.append((step, scores)) if kept is not None else None,
    )


def test_it_learns_a_river(tmp_path, cells):
    settings = replace(SETTINGS, stages=(Stage(48, 2, 40, 0.02, warmup_steps=5),), validate_every=40)
    kept = []
    run(network(), cells, settings, tmp_path / "state.pt", kept)
    ((step, scores),) = kept
    assert step == 40
    assert scores["f1"] > 0.9


def test_an_interrupted_training_ends_the_same(tmp_path, cells):
    whole = run(network(), cells, SETTINGS, tmp_path / "whole.pt")

    class KilledError(Exception):
        pass

    def dies(average):
        raise KilledError

    often = replace(SETTINGS, save_minutes=0)
    with pytest.raises(KilledError):
        train_network(
            network(),
            partial(random_chip, cells),
            PAPER,
            often,
            state_path=tmp_path / "parts.pt",
            validate=dies,
            keep=lambda *a: None,
        )
    assert torch.load(tmp_path / "parts.pt", weights_only=True)["progress"]["step"] == 2
    torch.manual_seed(99)  # other first weights, which the state overwrites
    parts = run(build_network("waternet", SIZES), cells, often, tmp_path / "parts.pt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name


def test_finished_training_is_not_repeated(tmp_path, cells):
    first = run(network(), cells, SETTINGS, tmp_path / "state.pt")
    kept = []
    second = run(network(), cells, SETTINGS, tmp_path / "state.pt", kept)
    assert not kept
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


@pytest.mark.parametrize("change", [{"optimizer": "sgd"}, {"precision": "bfloat16"}, {"ema_decay": 0.0}])
def test_other_settings_change_the_weights_and_stay_finite(tmp_path, cells, change):
    torch.manual_seed(0)
    first = run(network(), cells, SETTINGS, tmp_path / "plain.pt").state_dict()
    torch.manual_seed(0)
    after = run(network(), cells, replace(SETTINGS, **change), tmp_path / "state.pt").state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    assert any(not torch.equal(first[name], after[name]) for name in first)


def test_learning_rate_rises_then_falls_to_its_final_fraction():
    stage = Stage(chip_px=64, batch_size=1, steps=100, learning_rate=1.0, final_fraction=0.1, warmup_steps=10)
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1)
    assert all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


def test_stages_follow_each_other():
    first, second = SETTINGS.stages
    assert [stage_at(SETTINGS.stages, step) for step in (0, 3, 4, 6)] == [
        (first, 0),
        (first, 3),
        (second, 0),
        (second, 2),
    ]
    assert SETTINGS.steps == 7
    with pytest.raises(ValueError, match="after the last stage"):
        stage_at(SETTINGS.stages, 7)


def test_validation_excludes_what_training_does_not_count(cells, tmp_path):
    model = network().eval()
    unmapped = CellChips.save(
        tmp_path / "unmapped",
        composite=np.array(cells[0].composite),
        elevation=np.array(cells[0].elevation),
        types=np.full(cells[0].shape, 255, dtype=np.uint8),
    )
    assert set(validation_scores(model, windows([unmapped]), PAPER).values()) == {0.0}


def test_a_state_of_other_settings_is_refused_and_kept(cells, tmp_path):
    run(network(), cells, SETTINGS, tmp_path / "state.pt")
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(InputError, match="another network, recipe, data or settings"):
        run(network(), cells, replace(SETTINGS, pixel_dropout=0.5), tmp_path / "state.pt")
    assert (tmp_path / "state.pt").read_bytes() == before


def test_states_of_older_versions_can_be_resumed():
    model = build_network("waternet", SIZES)
    recipe = Recipe(name="two", channels=("N", "R"))
    assert _made_with(SETTINGS, recipe, model, "data", Distributed()) == (
        "(LoopSettings(stages=(Stage(chip_px=32, batch_size=2, steps=4, learning_rate=0.01, final_share=0.0, "
        "warmup_steps=50, accumulate=1), Stage(chip_px=64, batch_size=1, steps=3, learning_rate=0.001, "
        "final_share=0.0, warmup_steps=50, accumulate=1)), losses=Losses(waternet=1.0, elevation=0.0, "
        "elevation_weighting='constant', orientation=0.0), seed=0, optimizer='adamw', weight_decay=0.0001, "
        "clip_norm=1.0, average_decay=0.9, halo_px=0, drop_share=0.2, grow_after=0, precision='float32', "
        "validate_every=3, save_minutes=0.0, threads=1, loaders=0, device='', deterministic=None), "
        "Recipe(name='two', channels=(Channel(name='N', quantity='N', parameters={}, scaling=Scaling(low=None, "
        "high=None, levels=0, gain=1.0, offset=0.0)), Channel(name='R', quantity='R', parameters={}, "
        "scaling=Scaling(low=None, high=None, levels=0, gain=1.0, offset=0.0))), index_epsilon=0.0, dy_sign=1, "
        "max_missing_share=0.5, pixel_m=10.0), WaterNetConfig(in_channels=10, base_channels=2, encoders=2, "
        "decoders=1, out_channels=1), 'data', 1)"
    )


def test_the_average_has_the_statistics_of_batch_norms():
    torch.manual_seed(0)
    model = build_network("unet", {"base_channels": 2, "encoders": 2, "decoders": 1})
    average = copy.deepcopy(model)
    model.train().logits(torch.rand(2, 10, 16, 16) + 3)
    _update_average(average, model, 0.9, 1000)
    for seen, latest in zip(average.buffers(), model.buffers(), strict=True):
        assert torch.equal(seen, latest)
    assert average.first.first_norm.running_mean.abs().max() > 0
