"""The training loop: random chips in, weights out, with a state on disk to go on from after a kill."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.channels import Recipe, make_channels
from headwater.errors import InputError
from headwater.evaluate.pixels import PixelCounts, count_pixels
from headwater.files import atomic_path
from headwater.models.network import Network
from headwater.train.augment import drop_pixels, turn
from headwater.train.chips import CellChips, random_chip
from headwater.train.labels import values_of_types
from headwater.train.losses import targets_of_values, waternet_loss

_SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class Stage:
    """One stretch of training with chips of one size."""

    chip_px: int
    """Side of a chip at 10 m."""
    batch_size: int
    """Chips in a step."""
    steps: int
    """Steps of the stage."""
    learning_rate: float
    """Highest learning rate; it rises over the first steps and then falls on a cosine to `final_share` of it."""
    final_share: float = 0.0
    """Learning rate at the end of the stage relative to the highest."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises."""


@dataclass(frozen=True)
class LoopSettings:
    """Everything the loop needs to know besides chips and network."""

    stages: tuple[Stage, ...]
    """In order; small chips first."""
    seed: int = 0
    """Of the initial weights (set by the caller) and of the chips."""
    optimizer: str = "adamw"
    """"adamw", or "sgd" with momentum 0.9 as in the paper."""
    weight_decay: float = 1e-4
    """Weight decay of the optimizer."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    average_decay: float = 0.998
    """The weights kept are an exponential moving average with this decay a step; 0 keeps the last ones."""
    drop_share: float = 0.2
    """Share of a chip's pixels dropped to the channel mean."""
    precision: str = "bfloat16"
    """Of the network's arithmetic: "bfloat16" (autocast) or "float32". Losses are always float32."""
    validate_every: int = 500
    """Steps between validations; the best weights by F1* are kept."""
    save_minutes: float = 3.0
    """Minutes between states on disk."""
    threads: int = 1
    """Threads on the CPU; two on a busy machine wait for each other and are slower than one."""
    device: str = "cpu"
    """Where to compute: "auto" (a GPU where there is one), "cpu" or "cuda"."""

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)


Validation = Callable[[Network], dict[str, float]]


def train_network(
    model: Network,
    cells: Sequence[CellChips],
    recipe: Recipe,
    settings: LoopSettings,
    *,
    state_path: Path,
    validate: Validation,
    keep: Callable[[Network, int, dict[str, float]], None],
) -> Network:
    """Train a network and return the averaged weights of the last step.

    Every step draws its chips from its own number, so a run that was killed goes on as if nothing had happened.

    Parameters
    ----------
    model : Network
        Network with its first weights; changed in place.
    cells : sequence of CellChips
        Where chips are cut.
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
    """
    torch.set_num_threads(settings.threads)
    model.to(settings.device)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = _optimizer(model, settings)
    # How often to look and where to compute may change on the way; all else makes another training of it.
    same = replace(settings, validate_every=0, save_minutes=0.0, threads=0, device="")
    made_with = repr((same, recipe, model.config))
    step, best = _resume(state_path, model, average, optimizer, made_with)
    last_line = last_save = time.monotonic()
    steps_then, losses = step, list[float]()
    while step < settings.steps:
        stage, stage_step = _stage_at(settings.stages, step)
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(stage, stage_step)
        loss = _train_step(
            model, optimizer, cells, recipe, stage, settings, np.random.default_rng([settings.seed, step])
        )
        losses.append(loss)
        step += 1
        _update_average(average, model, settings.average_decay, step)

        now = time.monotonic()
        if now - last_line >= _SECONDS_BETWEEN_LINES:
            pace = (now - last_line) / (step - steps_then)
            _say(f"step {step} of {settings.steps}, loss {np.mean(losses):.4f}, {pace:.2f} s a step")
            last_line, steps_then, losses = now, step, []
        if step % settings.validate_every == 0 or step == settings.steps:
            scores = validate(average)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            _say(f"step {step}, validation: {shown}")
            if scores["f1*"] > best:
                best = scores["f1*"]
                keep(average, step, scores)
            last_line, steps_then, losses = time.monotonic(), step, []
        if now - last_save >= 60 * settings.save_minutes or step == settings.steps:
            _save_state(state_path, model, average, optimizer, step, best, made_with)
            last_save = time.monotonic()
    return average


def validation_scores(
    model: Network, cells: Sequence[CellChips], recipe: Recipe, *, window_px: int, device: str = "cpu"
) -> dict[str, float]:
    """Score a network on the window in the middle of each cell.

    Label types that training does not count are left out, as in P** and R** of the paper.
    """
    total = PixelCounts()
    model.eval()
    for cell in cells:
        composite, elevation, types = cell.middle(window_px, model.config.multiple_px)
        channels, missing_share = make_channels(composite, elevation, recipe)
        if missing_share > recipe.max_missing_share:
            continue
        with torch.inference_mode():
            probability = model.probability(torch.from_numpy(channels)[None].to(device)).cpu()
        values = torch.from_numpy(values_of_types(types))[None, None]
        targets = targets_of_values(values, scale=model.config.scale)
        total += count_pixels(
            (probability[0, 0] >= 0.5).numpy(),
            (targets.target[0, 0] > 0).numpy(),
            (targets.counted[0, 0] > 0).numpy(),
        )
    return total.scores()


def _train_step(
    model: Network,
    optimizer: torch.optim.Optimizer,
    cells: Sequence[CellChips],
    recipe: Recipe,
    stage: Stage,
    settings: LoopSettings,
    rng: np.random.Generator,
) -> float:
    """Draw a batch, compute its loss, move the weights; return the loss."""
    channels, values = _draw_batch(cells, recipe, stage, settings.drop_share, rng)
    channels, values = channels.to(settings.device), values.to(settings.device)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    device_type = torch.device(settings.device).type
    with torch.autocast(device_type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        logits = model.logits(channels)
    loss = waternet_loss(logits.float(), targets_of_values(values, scale=model.config.scale))
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    # One bad batch must not end hours of training: its gradient is thrown away.
    if torch.isfinite(norm):
        optimizer.step()
    return float(loss.detach())


def _draw_batch(
    cells: Sequence[CellChips], recipe: Recipe, stage: Stage, drop_share: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return channels (batch, 10, y, x) and label values (batch, 1, y, x) of random turned chips."""
    inputs, labels = [], []
    for _ in range(stage.batch_size):
        composite, elevation, types = random_chip(cells, stage.chip_px, recipe.max_missing_share, rng)
        symmetry = int(rng.integers(8))
        channels, _ = make_channels(turn(composite, symmetry), turn(elevation, symmetry), recipe)
        drop_pixels(channels, drop_share, rng)
        inputs.append(channels)
        labels.append(values_of_types(turn(types, symmetry))[None])
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(labels))


def _optimizer(model: Network, settings: LoopSettings) -> torch.optim.Optimizer:
    rate = settings.stages[0].learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=settings.weight_decay)


def _stage_at(stages: Sequence[Stage], step: int) -> tuple[Stage, int]:
    """Return the stage a step belongs to, and the step's number within it."""
    for stage in stages:
        if step < stage.steps:
            return stage, step
        step -= stage.steps
    raise ValueError("the step lies behind the last stage")


def _learning_rate(stage: Stage, step: int) -> float:
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return stage.learning_rate * (stage.final_share + (1 - stage.final_share) * cosine)


@torch.no_grad()
def _update_average(average: Network, model: Network, decay: float, step: int) -> None:
    # Early on the average follows closely, or it would remember the first weights for long.
    share = 1 - min(decay, step / (step + 10))
    for kept, current in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(current, share)
    # What batch norms have seen is an average already.
    for seen, latest in zip(average.buffers(), model.buffers(), strict=True):
        seen.copy_(latest)


def _resume(
    path: Path, model: Network, average: Network, optimizer: torch.optim.Optimizer, made_with: str
) -> tuple[int, float]:
    """Load the state, if there is one; return the steps done and the best F1* so far."""
    if not path.is_file():
        return 0, -1.0
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if state["made_with"] != made_with:
        raise InputError(
            f"{path} is the state of a training with another network, recipe or settings.",
            "Give the training another work folder, or delete the state to start afresh.",
        )
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    _say(f"going on from step {state['step']}")
    return int(state["step"]), float(state["best"])


def _save_state(
    path: Path,
    model: Network,
    average: Network,
    optimizer: torch.optim.Optimizer,
    step: int,
    best: float,
    made_with: str,
) -> None:
    with atomic_path(path) as temporary:
        torch.save(
            {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "best": best,
                "made_with": made_with,
            },
            temporary,
        )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
