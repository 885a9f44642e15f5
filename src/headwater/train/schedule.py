"""What changes in the course of a training: stage, learning rate, batch; and what must be remembered for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headwater.train.settings import Stage

GROWTH = 2
"""Each growth adds so many times the batches a step began with (Pierson and Mehrabi 2024)."""


@dataclass(frozen=True)
class Progress:
    """How far a training is; kept in its state."""

    step: int = 0
    """Steps done."""
    best: float = -1.0
    """Best F1* so far."""
    stale: int = 0
    """Validations since the best, or since the last growth."""
    growths: int = 0
    """How often the batch has grown."""

    def validated(self, score: float, grow_after: int) -> Progress:
        """Take in a validation: a better score is the best, the last of `grow_after` others lets the batch grow."""
        if score > self.best:
            return replace(self, best=score, stale=0)
        if grow_after and self.stale + 1 >= grow_after:
            return replace(self, stale=0, growths=self.growths + 1)
        return replace(self, stale=self.stale + 1)

    def batches(self, stage: Stage) -> int:
        """Return the batches a step of a stage takes in, in each process."""
        return stage.accumulate * (1 + GROWTH * self.growths)


def stage_at(stages: Sequence[Stage], step: int) -> tuple[Stage, int]:
    """Return the stage a step belongs to, and the step's number within it."""
    for stage in stages:
        if step < stage.steps:
            return stage, step
        step -= stage.steps
    raise ValueError("the step lies behind the last stage")


def learning_rate(stage: Stage, step: int) -> float:
    """Return the learning rate of a step of a stage: a straight rise, then a cosine down."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return stage.learning_rate * (stage.final_share + (1 - stage.final_share) * cosine)
