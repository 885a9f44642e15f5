"""EvaNet: a U-Net of elevation-regulated convolutions (Sami et al. 2024, arXiv 2404.17917).

Written from the published description and the behavior of the published program; tensor names are those of published
checkpoints, so these load by name. The inputs are an image and its elevation (min-max normalized to 0..1); both pass
through every layer. The outputs are two maps of scores, flood and dry, at the input's size. Where the paper specifies
3 x 3 transposed convolutions the checkpoints have 2 x 2, as here. The deepest block has no normalization, the last no
ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.base import Network
from headwater.models.elevation_regulated import ElevationRegulatedConv, ElevationRegulatedUpsampling

CLASSES = 2
"""Flood and dry, in this order."""


@dataclass(frozen=True)
class EvaNetConfig:
    """Sizes of an EvaNet; the defaults are the published small network."""

    image_channels: int = 3
    """Channels of the image, without the elevation."""
    base_channels: int = 8
    """Channels of the first block; every block down doubles them."""
    depth: int = 3
    """Blocks down, and as many up."""
    scale: int = 1
    """How many times smaller than the input the map of `EvaNet.logits` is, by averaging."""

    def __post_init__(self) -> None:
        if min(self.image_channels, self.base_channels, self.depth) < 1:
            raise ValueError("EvaNet needs at least one channel and one block down")
        if self.scale < 1 or self.multiple_px % self.scale:
            raise ValueError(f"a scale of {self.scale} does not divide {self.multiple_px} px")

    @property
    def in_channels(self) -> int:
        """Channels of the stacked input: the image's, then the elevation."""
        return self.image_channels + 1

    @property
    def multiple_px(self) -> int:
        """Both sides of an input must be multiples of this, in pixels."""
        return int(2**self.depth)


class EvaNet(Network):
    """Blocks down and up over image and elevation, with skips of both."""

    config_type = EvaNetConfig
    summary = "EvaNet (Sami et al. 2024), regulated by elevation"
    default_recipe = "evanet"
    config: EvaNetConfig

    def __init__(self, config: EvaNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EvaNetConfig()
        widths = [config.base_channels * 2**level for level in range(config.depth + 1)]
        self.inc = Stage(config.image_channels, 1, widths[0])
        for level in range(1, config.depth + 1):
            stage = Stage(widths[level - 1], widths[level - 1], widths[level], normalize=level < config.depth)
            self.add_module(f"down{level}", stage)
        for step, level in enumerate(range(config.depth, 0, -1), start=1):
            self.add_module(f"up{step}", Up(widths[level], widths[level - 1], activate=level > 1))
        self.outc = Output(widths[0])

    def forward(self, image: Tensor, elevation: Tensor) -> Tensor:
        """Scores of flood and dry.

        Parameters
        ----------
        image : (batch, image_channels, y, x)
        elevation : (batch, 1, y, x)
            0 to 1.

        Returns
        -------
        (batch, 2, y, x)
            Before the sigmoid.
        """
        y, gate = self.inc(image, elevation)
        skips = []
        for level in range(1, self.config.depth + 1):
            skips.append((y, gate))
            y, gate = self.get_submodule(f"down{level}")(F.max_pool2d(y, 2), F.avg_pool2d(gate, 2))
        for step in range(1, self.config.depth + 1):
            y, gate = self.get_submodule(f"up{step}")(y, gate, *skips.pop())
        scores: Tensor = self.outc(y, gate)
        return scores

    def logits(self, x: Tensor) -> Tensor:
        """Log-odds of flood (batch, 1, y / scale, x / scale); the last channel of x is the elevation.

        A pixel is flood where flood has the larger score, as in the published program.
        """
        scores = self(x[:, :-1], x[:, -1:])
        log_odds = scores[:, :1] - scores[:, 1:]
        return F.avg_pool2d(log_odds, self.config.scale) if self.config.scale > 1 else log_odds

    def training_scores(self, x: Tensor) -> Tensor:
        """Scores of flood and dry (batch, 2, y / scale, x / scale); the last channel of x is the elevation."""
        scores: Tensor = self(x[:, :-1], x[:, -1:])
        return F.avg_pool2d(scores, self.config.scale) if self.config.scale > 1 else scores

    def scores_to_log_odds(self, scores: Tensor) -> Tensor:
        """Log-odds of flood, the difference of its score and that of dry."""
        return scores[:, :1] - scores[:, 1:]

    def predictor(self) -> Network:
        """Return a network that takes the channels as one stack and returns the probability of flood."""
        return _Stacked(self)


class _Stacked(Network):
    def __init__(self, network: EvaNet) -> None:
        super().__init__()
        self.network = network
        self.config = network.config

    def forward(self, x: Tensor) -> Tensor:
        return self.probability(x)

    def logits(self, x: Tensor) -> Tensor:
        return self.network.logits(x)


class DoubleConv(nn.Module):
    """Two elevation-regulated convolutions; image and elevation each normalized and passed through ReLU after both."""

    def __init__(
        self, channels: int, elevation_channels: int, out_channels: int, *, normalize: bool, activate: bool
    ) -> None:
        super().__init__()
        self.activate = activate
        self.first_Conv = ElevationRegulatedConv(channels, elevation_channels, out_channels)
        self.sec_conv = ElevationRegulatedConv(out_channels, out_channels, out_channels)
        self.first_batch_norm_img = _norm(out_channels, normalize)
        self.first_batch_norm_elev = _norm(out_channels, normalize)
        self.sec_batch_norm_img = _norm(out_channels, normalize)
        self.sec_batch_norm_elev = _norm(out_channels, normalize)

    def forward(self, y: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, y, x) and (batch, elevation_channels, y, x) -> two of (batch, out_channels, y, x)."""
        y, gate = self.first_Conv(y, gate)
        y, gate = self.first_batch_norm_img(y), self.first_batch_norm_elev(gate)
        y, gate = self.sec_conv(*((F.relu(y), F.relu(gate)) if self.activate else (y, gate)))
        y, gate = self.sec_batch_norm_img(y), self.sec_batch_norm_elev(gate)
        return (F.relu(y), F.relu(gate)) if self.activate else (y, gate)


class Stage(nn.Module):
    """One level on the way down."""

    def __init__(self, channels: int, elevation_channels: int, out_channels: int, *, normalize: bool = True) -> None:
        super().__init__()
        self.conv = DoubleConv(channels, elevation_channels, out_channels, normalize=normalize, activate=True)

    def forward(self, y: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """See `DoubleConv`."""
        out: tuple[Tensor, Tensor] = self.conv(y, gate)
        return out


class Up(nn.Module):
    """One level on the way up: doubles the sides and merges the skip of that level."""

    def __init__(self, channels: int, skip_channels: int, *, activate: bool) -> None:
        super().__init__()
        self.activate = activate
        self.up_conv = ElevationRegulatedUpsampling(channels, channels)
        self.first_batch_norm_img = _norm(channels, True)
        self.first_batch_norm_elev = _norm(channels, True)
        both = channels + skip_channels
        self.conv = DoubleConv(both, both, skip_channels, normalize=True, activate=activate)

    def forward(self, y: Tensor, gate: Tensor, skip: Tensor, skip_gate: Tensor) -> tuple[Tensor, Tensor]:
        """Two of (batch, channels, y, x), two of (batch, skip, 2 y, 2 x) -> two of (batch, skip, 2 y, 2 x)."""
        y, gate = self.up_conv(y, gate)
        y, gate = self.first_batch_norm_img(y), self.first_batch_norm_elev(gate)
        if self.activate:
            y, gate = F.relu(y), F.relu(gate)
        out: tuple[Tensor, Tensor] = self.conv(torch.cat([skip, y], dim=1), torch.cat([skip_gate, gate], dim=1))
        return out


class Output(nn.Module):
    """1 x 1 elevation-regulated convolution to the scores."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ElevationRegulatedConv(channels, channels, CLASSES, kernel=1)

    def forward(self, y: Tensor, gate: Tensor) -> Tensor:
        """Two of (batch, channels, y, x) -> (batch, 2, y, x)."""
        scores: Tensor = self.conv(y, gate)[0]
        return scores


def _norm(channels: int, normalize: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if normalize else nn.Identity()
