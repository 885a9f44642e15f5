"""The learning-rate finder (Smith 2017, Cyclical learning rates, arXiv 1506.01186): a short run at rising rates."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from headwater.core.events import progress
from headwater.models.base import Network
from headwater.models.channels import Recipe
from headwater.train.batches import Draw, draw_batch
from headwater.train.loop import make_optimizer, torch_settings, train_step
from headwater.train.objective import Objective
from headwater.train.settings import LoopSettings

MIN_RATE, MAX_RATE, STEPS = 1e-6, 1.0, 100
_MEMORY = 0.9
_DIVERGED = 4.0
"""The run ends when the loss exceeds the lowest by this factor."""


class Trial(NamedTuple):
    """A rate and the loss at it."""

    rate: float
    """Learning rate."""
    loss: float
    """Running mean of the loss, before the step at this rate."""


def try_rates(model: Network, draw: Draw, recipe: Recipe, settings: LoopSettings, *, steps: int = STEPS) -> list[Trial]:
    """Train a copy of a network with a rate that rises from 1e-6 to 1 by the same factor each step.

    Parameters
    ----------
    model : Network
        With fresh weights; stays unchanged.
    draw : callable
        Draws a chip.
    recipe : Recipe
        How channels are made.
    settings : LoopSettings
        Of these the chips and batches of the first stage, the optimizer and the losses are used.
    steps : int
        Number of rates.

    Returns
    -------
    list of Trial
        Ends where the loss diverges.
    """
    stage = replace(settings.stages[0], steps=steps)
    objective = Objective(copy.deepcopy(model), settings.losses, settings.precision).to(settings.device)
    optimizer = make_optimizer(objective.network, settings)
    trials, mean = [], 0.0
    with torch_settings(settings):
        for step in progress(range(steps), description="learning rate"):
            rate = MIN_RATE * (MAX_RATE / MIN_RATE) ** (step / max(1, steps - 1))
            for group in optimizer.param_groups:
                group["lr"] = rate
            rng = np.random.default_rng([settings.seed, step])
            batch = draw_batch(draw, recipe, stage, settings.pixel_dropout, rng, objective.directions, settings.halo_px)
            loss = train_step(objective, optimizer, [batch], 1, settings)
            mean = _MEMORY * mean + (1 - _MEMORY) * loss
            trials.append(Trial(rate, mean / (1 - _MEMORY ** (step + 1))))
            if not math.isfinite(loss) or trials[-1].loss > _DIVERGED * min(trial.loss for trial in trials):
                break
    return trials


def suggested_rate(trials: Sequence[Trial]) -> float:
    """Return the rate at which the loss falls fastest over the logarithm of the rate."""
    known = [trial for trial in trials if math.isfinite(trial.loss)]
    if len(known) < 2:
        return MIN_RATE
    slopes = np.gradient([trial.loss for trial in known], np.log([trial.rate for trial in known]))
    return known[int(np.argmin(slopes))].rate


def rate_table(trials: Sequence[Trial], rows: int = 20) -> str:
    """Return a table of at least `rows` rates and losses, if there are as many, and the suggestion below."""
    every = max(1, len(trials) // rows)
    lines = [f"{trial.rate:>13.2e}  {trial.loss:.4f}" for trial in trials[::every]]
    return "\n".join(["learning rate  loss", *lines, f"suggested learning_rate: {suggested_rate(trials):.1e}"])
