"""The state of a training: how far it is, what changes in its course, and its file on disk.

The file is written completely or not at all, and read without executing code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from headwater.core.errors import InputError, WorkError
from headwater.core.files import atomic_path
from headwater.models.base import Network
from headwater.train.settings import Stage

GROWTH = 2
"""Each growth adds this many times a step's initial number of batches (Pierson and Mehrabi 2024)."""


@dataclass(frozen=True)
class Progress:
    """How far a training is; stored in its state."""

    step: int = 0
    """Completed steps."""
    best: float = -1.0
    """Best F1* so far."""
    stale: int = 0
    """Validations since the best, or since the last growth."""
    growths: int = 0
    """Number of times the batch has grown."""

    def validated(self, score: float, batch_growth_patience: int) -> Progress:
        """Count a validation: a better score becomes the best; the last of so many others lets the batch grow."""
        if score > self.best:
            return replace(self, best=score, stale=0)
        if batch_growth_patience and self.stale + 1 >= batch_growth_patience:
            return replace(self, stale=0, growths=self.growths + 1)
        return replace(self, stale=self.stale + 1)

    def batches(self, stage: Stage) -> int:
        """Return the number of batches of a step of a stage, in each process."""
        return stage.accumulate * (1 + GROWTH * self.growths)


def stage_at(stages: Sequence[Stage], step: int) -> tuple[Stage, int]:
    """Return the stage of a step, and the step's number within it."""
    for stage in stages:
        if step < stage.steps:
            return stage, step
        step -= stage.steps
    raise ValueError("the step is after the last stage")


def learning_rate(stage: Stage, step: int) -> float:
    """Return the learning rate of a step of a stage: a linear rise, then a fall on a cosine."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return stage.learning_rate * (stage.final_fraction + (1 - stage.final_fraction) * cosine)


def load_state(
    path: Path, model: Network, average: Network, optimizer: torch.optim.Optimizer, made_with: str
) -> Progress:
    """Load the state, if there is one, into networks and optimizer; return its progress.

    Raises
    ------
    InputError
        The state belongs to another training, or cannot be read.
    """
    if not path.is_file():
        return Progress()
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        same = state["made_with"] == made_with
    except Exception as error:
        raise InputError(
            f"{path} is not the state of a training ({type(error).__name__}).", "Delete it to start anew."
        ) from error
    if not same:
        raise InputError(
            f"{path} is the state of a training with another network, recipe, data or settings.",
            "Give the training another work folder, or delete the state to start anew.",
        )
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def save_state(
    path: Path, model: Network, average: Network, optimizer: torch.optim.Optimizer, progress: Progress, made_with: str
) -> None:
    """Write the state to a temporary file, then replace the old one.

    Raises
    ------
    WorkError
        The disk is full or fails; the old state is unchanged.
    """
    try:
        with atomic_path(path) as temporary:
            torch.save(
                {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "progress": asdict(progress),
                    "made_with": made_with,
                },
                temporary,
            )
    # torch's own writer raises RuntimeError on a full disk.
    except (OSError, RuntimeError) as error:
        raise WorkError(
            f"The state of the training could not be written to {path} ({error}).",
            "Make room on the disk and start again: training resumes from the last state that was written.",
        ) from error
