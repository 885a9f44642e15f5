"""What every network has in common, and what the training loop and prediction may ask of it.

To add a network, write one file with a frozen dataclass of its sizes and a subclass of `Network`, and register the
class: a line in `headwater.models.registry.NETWORKS`, or an entry point of another package. A subclass sets
`config_type`, `summary` and, if it is not the paper's, `default_recipe`, and implements `logits`.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Sizes(Protocol):
    """Frozen dataclass of a network's sizes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def in_channels(self) -> int:
        """Channels of the input, as many as the recipe makes."""

    @property
    def multiple_px(self) -> int:
        """Both sides of an input must be multiples of this, in pixels."""

    @property
    def scale(self) -> int:
        """How many times smaller than the input the output is."""


class Directions(NamedTuple):
    """Classes of direction that a network with an orientation head predicts."""

    scales: tuple[int, ...] = ()
    """How many times smaller than the input its intermediate and its final maps are, in this order."""
    bin_degrees: int = 20
    """Width of a bin, a divisor of 360."""


class Tasks(NamedTuple):
    """Scores of two tasks, where lines are and which way they run: intermediate ones, then the final pair."""

    segmentation: tuple[Tensor, ...]
    """(batch, out, y, x) log-odds each."""
    orientation: tuple[Tensor, ...]
    """(batch, class, y, x) logits each."""


class Network(nn.Module):
    """A segmentation network: channels in, log-odds of water out."""

    config_type: ClassVar[type[Any]]
    """Frozen dataclass of its sizes; the network is built from one alone."""
    summary: ClassVar[str] = ""
    """What it is, in one line."""
    default_recipe: ClassVar[str] = "paper"
    """Channel recipe it is trained with if a configuration names none."""
    keeps_within_float16: ClassVar[bool] = False
    """Whether `lower_precision` prevents overflow in float16, whose largest value is 65504."""

    config: Sizes
    """Its sizes; with the name in the registry they suffice to build it again."""

    @property
    def directions(self) -> Directions | None:
        """Directions that `tasks` also scores; None without an orientation head."""
        return None

    def logits(self, x: Tensor) -> Tensor:
        """Log-odds (batch, out, y / scale, x / scale) of channels (batch, in_channels, y, x)."""
        raise NotImplementedError

    def probability(self, x: Tensor) -> Tensor:
        """Probabilities (batch, out, y / scale, x / scale) of channels (batch, in_channels, y, x), in float32."""
        return torch.sigmoid(self.logits(x).float())

    def predictor(self) -> Network:
        """Return a network with this network's weights and config whose call is `probability`."""
        return self

    def lower_precision(self, dtype: torch.dtype) -> Network:
        """Let this network compute in a shorter type, in place, and return it; what needs float32 keeps it.

        Its input must be of the type of its first parameter.
        """
        return self.to(dtype)

    def training_scores(self, x: Tensor) -> Tensor:
        """Scores (batch, k, y / scale, x / scale) that the losses compare with the label; by default `logits`."""
        return self.logits(x)

    def scores_to_log_odds(self, scores: Tensor) -> Tensor:
        """Log-odds of water (batch, out, y, x) of what `training_scores` returns."""
        return scores

    def tasks(self, x: Tensor) -> Tasks:
        """Scores of segmentation and orientation; only networks with `directions` have them."""
        raise NotImplementedError
