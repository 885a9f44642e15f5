"""The training loop: random chips in, weights out, with a state on disk to go on from after a kill."""

from __future__ import annotations

import copy
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.events import progress as reported
from headwater.evaluate.pixels import PixelCounts, count_pixels
from headwater.evaluate.water_types import water_and_counted
from headwater.models.base import Network
from headwater.models.channels import Recipe, make_channels
from headwater.train.arithmetic import torch_as_set
from headwater.train.batches import Batch, Batches, Draw, draw_batch
from headwater.train.chips import Chip
from headwater.train.objective import Objective
from headwater.train.processes import Processes, without_sharing
from headwater.train.records import Records
from headwater.train.schedule import learning_rate, stage_at
from headwater.train.settings import LoopSettings
from headwater.train.state import load_state, save_state

Validation = Callable[[Network], dict[str, float]]


def train_network(
    model: Network,
    draw: Draw,
    recipe: Recipe,
    settings: LoopSettings,
    *,
    state_path: Path,
    validate: Validation,
    keep: Callable[[Network, int, dict[str, float]], None],
    data: str = "",
    together: Processes | None = None,
    records: Records | None = None,
) -> Network:
    """Train a network and return the averaged weights of the last step.

    Every batch is drawn from its own number, so a run that was killed goes on as if nothing had happened, and several
    processes train as one that accumulates the batches of all.

    Parameters
    ----------
    model : Network
        Network with its first weights; changed in place.
    draw : callable
        Draws a chip.
    recipe : Recipe
        How channels are made.
    settings : LoopSettings
        Stages, optimizer and the rest.
    state_path : Path
        State of the training; read if it exists, removed by nobody.
    validate : callable
        Scores of a network on data not trained on; must have "f1*".
    keep : callable
        Called with the averaged network, the step and its scores whenever "f1*" is the best so far.
    data : str
        What the chips are drawn from; a state made with other data is refused.
    together : Processes, optional
        The processes that train it together; this one alone if not given.
    records : Records, optional
        Takes scalars and images.
    """
    together = together or Processes()
    objective = Objective(model, settings.losses, settings.precision).to(settings.device)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = make_optimizer(model, settings)
    # When to save and where to compute may change on the way; all else makes another training of it.
    same = replace(settings, save_minutes=0.0, threads=1, loaders=0, device="", deterministic=None)
    made_with = repr((same, recipe, model.config, data, together.size))
    done = load_state(state_path, model, average, optimizer, made_with)
    shared = together.share(objective, all_used=bool(settings.losses.orientation) or not hasattr(model, "tasks"))
    losses = deque[float](maxlen=100)
    steps: Iterable[int] = range(done.step, settings.steps)
    if together.first:
        if 0 < done.step < settings.steps:
            say(f"going on from step {done.step}")
        steps = reported(
            steps,
            description="training step",
            total=settings.steps,
            start=done.step,
            note=lambda: f"loss {np.mean(losses):.4f}",
        )

    def make(step: int, number: int) -> Batch:
        # Batch 0 has the numbers of a training that accumulates none: trailing zeros of a seed do not count.
        rng = np.random.default_rng([settings.seed, step, number * together.size + together.rank])
        stage, _ = stage_at(settings.stages, step)
        return draw_batch(draw, recipe, stage, settings.drop_share, rng, objective.directions, settings.halo_px)

    batches = Batches(make, steps=settings.steps, threads=settings.loaders)
    last_save = time.monotonic()
    with torch_as_set(settings):
        for step in steps:
            stage, stage_step = stage_at(settings.stages, step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(stage, stage_step)
            count = done.batches(stage)
            losses.append(train_step(shared, optimizer, batches.of_step(step, count), count, settings))
            done = replace(done, step=step + 1)
            _update_average(average, model, settings.average_decay, done.step)

            last = done.step == settings.steps
            if records and together.first:
                records.step(done.step, loss=losses[-1], learning_rate=optimizer.param_groups[0]["lr"], batches=count)
            if done.step % settings.validate_every == 0 or last:
                scores = validate(average) if together.first else {}
                score = together.value_of_first(scores.get("f1*", 0.0), settings.device)
                if together.first:
                    say(f"step {done.step}, validation: {', '.join(f'{k} {v:.4f}' for k, v in scores.items())}")
                    if score > done.best:
                        keep(average, done.step, scores)
                    if records:
                        records.validation(done.step, scores, average)
                done = done.validated(score, settings.grow_after)
            if together.first and (last or time.monotonic() - last_save >= 60 * settings.save_minutes):
                save_state(state_path, model, average, optimizer, done, made_with)
                last_save = time.monotonic()
    batches.close()
    return average


def train_step(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    count: int,
    settings: LoopSettings,
) -> float:
    """Average the gradients of so many batches, move the weights; return the mean loss."""
    objective.train()
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=settings.device)
    for number, batch in enumerate(batches, start=1):
        # Processes meet once a step, at its last batch.
        with nullcontext() if number == count else without_sharing(objective):
            loss: Tensor = objective(batch.to(settings.device)) / count
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(objective.parameters(), settings.clip_norm or float("inf"))
    # One bad batch must not end hours of training: its gradient is thrown away.
    if torch.isfinite(norm):
        optimizer.step()
    return float(total)


def validation_scores(
    model: Network, chips: Iterable[Chip], recipe: Recipe, *, device: str = "cpu"
) -> dict[str, float]:
    """Score a network on chips whose sides divide by its `multiple_px`.

    Label types that training masks are left out, as in P** and R** of the paper.
    """
    total = PixelCounts()
    model.eval()
    for composite, elevation, types in chips:
        channels, missing_share = make_channels(composite, elevation, recipe)
        if missing_share > recipe.max_missing_share:
            continue
        with torch.inference_mode():
            probability = model.probability(torch.from_numpy(channels)[None].to(device)).cpu()
        total += count_pixels((probability[0, 0] >= 0.5).numpy(), *water_and_counted(types, model.config.scale))
    return total.scores()


def make_optimizer(model: Network, settings: LoopSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the settings."""
    rate = settings.stages[0].learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=settings.weight_decay)


def say(line: str) -> None:
    """Tell the user a line."""
    print(line, file=sys.stderr, flush=True)


@torch.no_grad()
def _update_average(average: Network, model: Network, decay: float, step: int) -> None:
    # Early on the average follows closely, or it would remember the first weights for long.
    share = 1 - min(decay, step / (step + 10))
    for kept, current in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(current, share)
    # What batch norms have seen is an average already.
    for seen, latest in zip(average.buffers(), model.buffers(), strict=True):
        seen.copy_(latest)
