"""Training-loop settings: stages, optimizer, losses, each with its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from headwater.core.errors import InputError
from headwater.train.losses import Weighting

OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("bfloat16", "float32")
RENAMED_KEYS = {
    "drop_share": "pixel_dropout",
    "average_decay": "ema_decay",
    "grow_after": "batch_growth_patience",
    "loaders": "num_workers",
    "final_share": "final_fraction",
}
"""Keys of configurations by their former names, which are still read, with a warning."""


@dataclass(frozen=True)
class Losses:
    """Weights of the losses, whose weighted sum is minimized."""

    waternet: float = 1.0
    """Weight of 0.3 cross-entropy + 0.7 Tanimoto (Pierson and Mehrabi 2024)."""
    elevation: float = 0.0
    """Weight of the elevation-guided loss per pair of neighbors (Sami et al. 2024)."""
    elevation_weighting: Weighting = "constant"
    """Weights of its pairs: "constant", "difference" or "logarithm"."""
    orientation: float = 0.0
    """Weight of the cross-entropy of binned directions (Batra et al. 2019); for networks with an orientation head."""

    def __post_init__(self) -> None:
        weights = (self.waternet, self.elevation, self.orientation)
        if min(weights) < 0 or max(weights) == 0:
            raise InputError("The losses have a negative weight, or none above 0.", "Set loop.losses.waternet to 1.")
        _one_of("loop.losses.elevation_weighting", self.elevation_weighting, get_args(Weighting))


@dataclass(frozen=True)
class Stage:
    """One stage of training, with chips of one size."""

    chip_px: int
    """Side of a chip in 10 m pixels."""
    batch_size: int
    """Chips computed together."""
    steps: int
    """Number of steps."""
    learning_rate: float
    """Highest learning rate; it rises during the warmup and then falls on a cosine to `final_fraction` of it."""
    final_fraction: float = 0.0
    """Learning rate at the end of the stage relative to the highest; 1 keeps it constant, as in the paper."""
    warmup_steps: int = 50
    """Steps during which the learning rate rises."""
    accumulate: int = 1
    """Batches per step and process whose gradients are averaged."""

    def __post_init__(self) -> None:
        if min(self.chip_px, self.batch_size, self.steps, self.accumulate) < 1 or self.learning_rate <= 0:
            raise InputError("A stage has a size, number or learning rate of 0 or less.", "Correct loop.stages.")
        if self.warmup_steps < 0 or self.final_fraction < 0:
            raise InputError("A stage has negative warmup_steps or final_fraction.", "Correct loop.stages.")


@dataclass(frozen=True)
class LoopSettings:
    """All settings of the loop; chips and network are separate."""

    stages: tuple[Stage, ...]
    """Stages in order; small chips first."""
    losses: Losses = field(default_factory=Losses)
    """Weights of the losses."""
    seed: int = 0
    """Seed of the initial weights (set by the caller) and of the chips."""
    optimizer: str = "adamw"
    """"adamw", or "sgd" with momentum 0.9 as in the paper."""
    weight_decay: float = 1e-4
    """Weight decay of the optimizer."""
    clip_norm: float = 1.0
    """Maximum norm of the gradient; 0 for no limit."""
    ema_decay: float = 0.998
    """Decay per step of the exponential moving average of the weights, which is kept; 0 keeps the last weights."""
    halo_px: int = 0
    """Pixels read on each side of a chip for channels that look around themselves; the data must reach as far."""
    pixel_dropout: float = 0.2
    """Fraction of a chip's pixels set to the channel mean."""
    batch_growth_patience: int = 0
    """Validations without a better F1* after which each step takes two more times its initial batches; 0 for never (15
    in the paper)."""
    precision: str = "bfloat16"
    """Precision of the network: "bfloat16" (autocast) or "float32". Losses are always float32."""
    validate_every: int = 500
    """Steps between validations; the weights with the best F1* are kept."""
    save_minutes: float = 3.0
    """Minutes between states on disk."""
    threads: int = 1
    """Threads on the CPU; on a busy machine two wait for each other and are slower than one."""
    num_workers: int = 0
    """Threads that prefetch batches, so that a GPU never waits; 0 makes each batch when it is needed."""
    device: str = "cpu"
    """Device: "auto" (a GPU if there is one), "cpu" or "cuda"."""
    deterministic: bool | None = None
    """Whether only deterministic algorithms are used; by default only on the CPU."""

    def __post_init__(self) -> None:
        _one_of("loop.optimizer", self.optimizer, OPTIMIZERS)
        _one_of("loop.precision", self.precision, PRECISIONS)
        if (
            not self.stages
            or min(self.validate_every, self.threads) < 1
            or min(self.num_workers, self.batch_growth_patience, self.halo_px, self.seed) < 0
            or min(self.weight_decay, self.clip_norm) < 0
        ):
            raise InputError(
                "The loop has no stage, or a number too small.",
                "Give at least one stage, validate_every and threads from 1; num_workers, batch_growth_patience, "
                "halo_px, seed, weight_decay and clip_norm from 0.",
            )
        if not 0 <= self.ema_decay < 1 or not 0 <= self.pixel_dropout <= 1:
            raise InputError(
                "loop.ema_decay or loop.pixel_dropout is out of range.",
                "Give a decay from 0 to below 1 and a fraction from 0 to 1.",
            )

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{key} is {value!r}.", f"Use one of: {', '.join(known)}.")
