"""The training loop: random chips in, weights out, and a state on disk from which an interrupted training resumes."""

from __future__ import annotations

import copy
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import deterministic as deterministic_memory

from headwater.core.events import progress as reported
from headwater.evaluate.pixel_counts import PixelCounts, count_pixels
from headwater.evaluate.water_types import water_and_counted
from headwater.models.base import Directions, Network
from headwater.models.channels import Recipe, make_channels
from headwater.train.batches import Batch, Batches, Draw, draw_batch
from headwater.train.chips import Chip
from headwater.train.distributed import Distributed, without_gradient_sync
from headwater.train.objective import Objective
from headwater.train.records import Records
from headwater.train.settings import RENAMED_KEYS, LoopSettings
from headwater.train.state import Progress, learning_rate, load_state, save_state, stage_at

Validation = Callable[[Network], dict[str, float]]
Keep = Callable[[Network, int, dict[str, float]], None]

_FILL = "fill_uninitialized_memory"
"""Set by PyTorch through a class of modules that type checkers do not see."""
_FORMER_NAMES = {**RENAMED_KEYS, "max_missing_share": "max_missing_fraction", "quantity": "feature"}
"""Names of fields, by those in states of older versions."""


def train_network(
    model: Network,
    draw: Draw,
    recipe: Recipe,
    settings: LoopSettings,
    *,
    state_path: Path,
    validate: Validation,
    keep: Keep,
    data: str = "",
    distributed: Distributed | None = None,
    records: Records | None = None,
) -> Network:
    """Train a network and return the averaged weights of the last step.

    Every batch is drawn from its own number, so an interrupted training resumes as if nothing had happened, and several
    processes train like one process that accumulates the batches of all.

    Parameters
    ----------
    model : Network
        Network with its initial weights; changed in place.
    draw : callable
        Draws a chip.
    recipe : Recipe
        How channels are made.
    settings : LoopSettings
        Stages, optimizer, losses and other settings.
    state_path : Path
        State of the training; read if it exists, never removed.
    validate : callable
        Returns the scores of a network on data it is not trained on; they include "f1*".
    keep : callable
        Called with the averaged network, the step and its scores whenever "f1*" is the best so far.
    data : str
        What the chips are drawn from; a state made with other data is refused.
    distributed : Distributed, optional
        The processes that train the network; by default only this one.
    records : Records, optional
        Receives scalars and images.

    Raises
    ------
    InputError
        The state belongs to another training, or cannot be read.
    WorkError
        The state cannot be written.
    """
    distributed = distributed or Distributed()
    objective = Objective(model, settings.losses, settings.precision).to(settings.device)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = make_optimizer(model, settings)
    made_with = _made_with(settings, recipe, model, data, distributed)
    done = load_state(state_path, model, average, optimizer, made_with)
    # The orientation head has no gradient where its loss is off.
    all_used = bool(settings.losses.orientation) or model.directions is None
    parallel = distributed.wrap(objective, all_used=all_used)
    make_batch = _batch_maker(draw, recipe, settings, objective.directions, distributed)
    losses = deque[float](maxlen=100)
    last_save = time.monotonic()
    with (
        closing(Batches(make_batch, steps=settings.steps, threads=settings.num_workers)) as batches,
        torch_settings(settings),
    ):
        for step in _steps(done.step, settings.steps, losses, distributed):
            stage, stage_step = stage_at(settings.stages, step)
            rate = learning_rate(stage, stage_step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            count = done.batches(stage)
            losses.append(train_step(parallel, optimizer, batches.of_step(step, count), count, settings))
            done = replace(done, step=step + 1)
            _update_average(average, model, settings.ema_decay, done.step)

            if records and distributed.is_main:
                records.step(done.step, loss=losses[-1], learning_rate=rate, batches=count)
            is_last = done.step == settings.steps
            if done.step % settings.validate_every == 0 or is_last:
                done = _validated(done, average, settings, validate, keep, distributed, records)
            save_due = is_last or time.monotonic() - last_save >= 60 * settings.save_minutes
            if distributed.is_main and save_due:
                save_state(state_path, model, average, optimizer, done, made_with)
                last_save = time.monotonic()
    return average


def train_step(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    count: int,
    settings: LoopSettings,
) -> float:
    """Average the gradients of `count` batches and update the weights; return the mean loss."""
    objective.train()
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=settings.device)
    for number, batch in enumerate(batches, start=1):
        # Processes exchange gradients once a step, at its last batch.
        with nullcontext() if number == count else without_gradient_sync(objective):
            loss: Tensor = objective(batch.to(settings.device)) / count
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(objective.parameters(), settings.clip_norm or float("inf"))
    # One bad batch must not end hours of training: its gradient is discarded.
    if torch.isfinite(norm):
        optimizer.step()
    return float(total)


def validation_scores(
    model: Network, chips: Iterable[Chip], recipe: Recipe, *, device: str = "cpu"
) -> dict[str, float]:
    """Score a network on chips whose sides are multiples of its `multiple_px`.

    Pixels whose label types training masks do not count, as in P** and R** of the paper.
    """
    total = PixelCounts()
    model.eval()
    for composite, elevation, types in chips:
        channels, missing_fraction = make_channels(composite, elevation, recipe)
        if missing_fraction > recipe.max_missing_fraction:
            continue
        with torch.inference_mode():
            probability = model.probability(torch.from_numpy(channels)[None].to(device)).cpu()
        total += count_pixels((probability[0, 0] >= 0.5).numpy(), *water_and_counted(types, model.config.scale))
    return total.scores()


def make_optimizer(model: Network, settings: LoopSettings) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name."""
    rate = settings.stages[0].learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=settings.weight_decay)


@contextmanager
def torch_settings(settings: LoopSettings) -> Iterator[None]:
    """Set PyTorch's threads and, if requested, deterministic algorithms; restore both afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    on_cpu = settings.device == "cpu"
    wanted = on_cpu if settings.deterministic is None else settings.deterministic
    if wanted and not on_cpu:
        # cuBLAS needs it for determinism, and reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(wanted)
    # Nothing here reads memory before it is written; filling it first takes a fifteenth of a step.
    filled = getattr(deterministic_memory, _FILL)
    setattr(deterministic_memory, _FILL, False)
    try:
        yield
    finally:
        setattr(deterministic_memory, _FILL, filled)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def print_status(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)


def _made_with(settings: LoopSettings, recipe: Recipe, model: Network, data: str, distributed: Distributed) -> str:
    """Return everything that defines a training; a state made with anything else is refused."""
    # When to save and where to compute may change between runs of one training.
    same = replace(settings, save_minutes=0.0, threads=1, num_workers=0, device="", deterministic=None)
    text = repr((same, recipe, model.config, data, distributed.size))
    # States of older versions contain the former names, and can be resumed.
    for former, name in _FORMER_NAMES.items():
        text = re.sub(rf"\b{name}=", f"{former}=", text)
    return text


def _batch_maker(
    draw: Draw, recipe: Recipe, settings: LoopSettings, directions: Directions, distributed: Distributed
) -> Callable[[int, int], Batch]:
    """Return a function that makes the batch of a step and its number within the step, in this process."""

    def make(step: int, number: int) -> Batch:
        # Trailing zeros of a seed do not count: batch 0 has the seed of a training with one batch a step.
        rng = np.random.default_rng([settings.seed, step, number * distributed.size + distributed.rank])
        stage, _ = stage_at(settings.stages, step)
        return draw_batch(draw, recipe, stage, settings.pixel_dropout, rng, directions, settings.halo_px)

    return make


def _steps(start: int, end: int, losses: deque[float], distributed: Distributed) -> Iterable[int]:
    """Return the remaining steps; the main process reports its progress."""
    steps = range(start, end)
    if not distributed.is_main:
        return steps
    if 0 < start < end:
        print_status(f"resuming at step {start}")
    return reported(
        steps, description="training step", total=end, start=start, note=lambda: f"loss {np.mean(losses):.4f}"
    )


def _validated(
    done: Progress,
    average: Network,
    settings: LoopSettings,
    validate: Validation,
    keep: Keep,
    distributed: Distributed,
    records: Records | None,
) -> Progress:
    """Validate the averaged weights in the main process, keep the best, and return the progress with the score."""
    scores = validate(average) if distributed.is_main else {}
    score = distributed.broadcast(scores.get("f1*", 0.0), settings.device)
    if distributed.is_main:
        print_status(f"step {done.step}, validation: {', '.join(f'{k} {v:.4f}' for k, v in scores.items())}")
        if score > done.best:
            keep(average, done.step, scores)
        if records:
            records.validation(done.step, scores, average)
    return done.validated(score, settings.batch_growth_patience)


@torch.no_grad()
def _update_average(average: Network, model: Network, decay: float, step: int) -> None:
    # At first the average follows closely, or it would retain the initial weights for long.
    fraction = 1 - min(decay, step / (step + 10))
    for kept, current in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(current, fraction)
    # The statistics of batch norms are averages already.
    for seen, latest in zip(average.buffers(), model.buffers(), strict=True):
        seen.copy_(latest)
