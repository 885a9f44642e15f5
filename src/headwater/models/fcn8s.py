"""FCN-8s (Long, Shelhamer and Darrell 2015, arXiv 1411.4038), a baseline.

Five stages of convolutions and pooling. The scores of the last stage are enlarged twofold and added to those of the
fourth, again enlarged and added to those of the third, at an eighth of the input's size, and then enlarged bilinearly
to half of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.base import Network

_STAGES = 5
_STRIDE = 8
"""How many times smaller than the input the sum of scores is; it gives the network its name."""


@dataclass(frozen=True)
class FCN8sConfig:
    """Sizes of an FCN-8s; the original has 64 base channels."""

    in_channels: int = 10
    """Channels of the input."""
    base_channels: int = 16
    """Channels of the first stage; the next three double them, the fifth keeps the fourth's."""
    out_channels: int = 1
    """Maps of log-odds."""
    scale: int = 2
    """How many times smaller than the input the output is: 1, 2, 4 or 8."""

    def __post_init__(self) -> None:
        if min(self.in_channels, self.base_channels, self.out_channels) < 1:
            raise ValueError("an FCN-8s needs at least one channel and one output")
        if self.scale not in (1, 2, 4, _STRIDE):
            raise ValueError(f"a scale of {self.scale} is not 1, 2, 4 or 8")

    @property
    def multiple_px(self) -> int:
        """Both sides of an input must be multiples of this, in pixels."""
        return int(2**_STAGES)


class FCN8s(Network):
    """Stages down, scores of the last three added on the way up."""

    config_type = FCN8sConfig
    summary = "FCN-8s (Long et al. 2015), baseline"
    config: FCN8sConfig

    def __init__(self, config: FCN8sConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FCN8sConfig()
        widths = [config.base_channels * factor for factor in (1, 2, 4, 8, 8)]
        convolutions = (2, 2, 3, 3, 3)
        self.stages = nn.ModuleList(
            stage(before, width, count)
            for before, width, count in zip([config.in_channels, *widths[:-1]], widths, convolutions, strict=True)
        )
        # The fully connected layers of the original as 1 x 1 convolutions.
        self.top = nn.Sequential(
            nn.Conv2d(widths[4], widths[4], 1), nn.ReLU(), nn.Conv2d(widths[4], widths[4], 1), nn.ReLU()
        )
        outputs = config.out_channels
        self.scores = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in (widths[4], widths[3], widths[2]))
        self.upsamplings = nn.ModuleList(nn.ConvTranspose2d(outputs, outputs, 4, stride=2, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (batch, out, y / scale, x / scale) of channels (batch, in, y, x)."""
        return self.probability(x)

    def logits(self, x: Tensor) -> Tensor:
        """Log-odds, which `forward` passes through the sigmoid."""
        pooled = []
        for each in self.stages:
            x = each(x)
            pooled.append(x)
        score = self.scores[0](self.top(x))
        for upsampling, head, features in zip(self.upsamplings, list(self.scores)[1:], pooled[-2:-4:-1], strict=True):
            score = upsampling(score) + head(features)
        factor = _STRIDE // self.config.scale
        return F.interpolate(score, scale_factor=factor, mode="bilinear", align_corners=False) if factor > 1 else score


def stage(channels: int, out_channels: int, count: int) -> nn.Sequential:
    """3 x 3 convolutions with batch norm and ReLU, then 2 x 2 pooling."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
        channels = out_channels
    return nn.Sequential(*layers, nn.MaxPool2d(2))
