"""What the training loop is told: stages, optimizer, losses and the rest, each with its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from headwater.core.errors import InputError
from headwater.train.elevation_guided import Weighting

OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("bfloat16", "float32")


@dataclass(frozen=True)
class Losses:
    """Weights of the losses, which are added."""

    waternet: float = 1.0
    """Of 0.3 cross-entropy + 0.7 Tanimoto (Pierson and Mehrabi 2024)."""
    elevation: float = 0.0
    """Of the elevation-guided loss a pair of neighbours (Sami et al. 2024)."""
    elevation_weighting: Weighting = "constant"
    """Of its pairs: "constant", "difference" or "logarithm"."""
    orientation: float = 0.0
    """Of the cross-entropy of binned directions (Batra et al. 2019); for networks with an orientation head."""

    def __post_init__(self) -> None:
        weights = (self.waternet, self.elevation, self.orientation)
        if min(weights) < 0 or max(weights) == 0:
            raise InputError("The losses have a negative weight, or none above 0.", "Set loop.losses.waternet to 1.")
        _one_of("loop.losses.elevation_weighting", self.elevation_weighting, get_args(Weighting))


@dataclass(frozen=True)
class Stage:
    """One stretch of training with chips of one size."""

    chip_px: int
    """Side of a chip at 10 m."""
    batch_size: int
    """Chips that go through the network together."""
    steps: int
    """Steps of the stage."""
    learning_rate: float
    """Highest learning rate; it rises over the first steps and then falls on a cosine to `final_share` of it."""
    final_share: float = 0.0
    """Learning rate at the end of the stage relative to the highest; 1 keeps it constant, as in the paper."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises."""
    accumulate: int = 1
    """Batches a step whose gradients are averaged, in each process."""

    def __post_init__(self) -> None:
        if min(self.chip_px, self.batch_size, self.steps, self.accumulate) < 1 or self.learning_rate <= 0:
            raise InputError("A stage has a size, number or learning rate of 0 or less.", "Correct loop.stages.")
        if self.warmup_steps < 0 or self.final_share < 0:
            raise InputError("A stage has negative warmup_steps or final_share.", "Correct loop.stages.")


@dataclass(frozen=True)
class LoopSettings:
    """Everything the loop needs to know besides chips and network."""

    stages: tuple[Stage, ...]
    """In order; small chips first."""
    losses: Losses = field(default_factory=Losses)
    """What is minimised."""
    seed: int = 0
    """Of the initial weights (set by the caller) and of the chips."""
    optimizer: str = "adamw"
    """"adamw", or "sgd" with momentum 0.9 as in the paper."""
    weight_decay: float = 1e-4
    """Weight decay of the optimizer."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 lets it be."""
    average_decay: float = 0.998
    """The weights kept are an exponential moving average with this decay a step; 0 keeps the last ones."""
    halo_px: int = 0
    """Pixels read on each side of a chip for channels that look around; the data must reach so far."""
    drop_share: float = 0.2
    """Share of a chip's pixels dropped to the channel mean."""
    grow_after: int = 0
    """Validations without a better F1* after which a step takes in two more times its first batches; 0 for never (15 in
    the paper)."""
    precision: str = "bfloat16"
    """Of the network's arithmetic: "bfloat16" (autocast) or "float32". Losses are always float32."""
    validate_every: int = 500
    """Steps between validations; the best weights by F1* are kept."""
    save_minutes: float = 3.0
    """Minutes between states on disk."""
    threads: int = 1
    """Threads on the CPU; two on a busy machine wait for each other and are slower than one."""
    loaders: int = 0
    """Threads that make batches ahead, so that a GPU never waits; 0 makes each when it is needed."""
    device: str = "cpu"
    """Where to compute: "auto" (a GPU where there is one), "cpu" or "cuda"."""
    deterministic: bool | None = None
    """Only algorithms that give the same bits each time; by default on the CPU."""

    def __post_init__(self) -> None:
        _one_of("loop.optimizer", self.optimizer, OPTIMIZERS)
        _one_of("loop.precision", self.precision, PRECISIONS)
        if (
            not self.stages
            or min(self.validate_every, self.threads) < 1
            or min(self.loaders, self.grow_after, self.halo_px, self.seed, self.weight_decay, self.clip_norm) < 0
        ):
            raise InputError(
                "The loop has no stage, or a number too small.",
                "Give one stage at least, validate_every and threads from 1; loaders, grow_after, halo_px, seed, "
                "weight_decay and clip_norm from 0.",
            )
        if not 0 <= self.average_decay < 1 or not 0 <= self.drop_share <= 1:
            raise InputError(
                "loop.average_decay or loop.drop_share is out of range.", "Give a decay below 1, a share up to 1."
            )

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{key} is {value!r}.", f"Use one of: {', '.join(known)}.")
