"""What every network here has in common."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

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


class Network(nn.Module):
    """A segmentation network: channels in, log-odds of water out."""

    config: Sizes
    """Its sizes; with the name in the registry they are all that is needed to build it again."""
    keeps_within_float16: ClassVar[bool] = False
    """Whether `lower_precision` to float16, which ends at 65504, is made not to overflow."""

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
        """Make this network compute in a shorter type, in place, and return it; what needs float32 keeps it.

        Its input must be of the type of its first parameter.
        """
        return self.to(dtype)
