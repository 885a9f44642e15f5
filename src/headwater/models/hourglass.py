"""Stacked hourglass with two tasks: where lines are and in which direction they run.

After Batra et al. 2019 (Improved road connectivity by joint learning of orientation and segmentation, CVPR) on the
stacked hourglass of Newell, Yang and Deng 2016 (arXiv 1603.06937). Directions come in bins, the last class is "none".
The output is at half the input's size: the last doubling of the resolution is left out unless `scale` is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.base import Directions, Network, Tasks

_STEM_STRIDE = 4
"""How many times smaller than the input the hourglasses and their predictions are."""
_EXPANSION = 2


@dataclass(frozen=True)
class HourglassConfig:
    """Sizes of a stacked hourglass."""

    in_channels: int = 3
    """Channels of the input, see the recipe esri_streams."""
    base_channels: int = 64
    """Channels of the hourglasses; even."""
    stacks: int = 2
    """Hourglasses in sequence, each with its own two predictions."""
    depth: int = 3
    """Halvings of the resolution in each hourglass."""
    bin_degrees: int = 20
    """Width of a bin of direction, a divisor of 360."""
    out_channels: int = 1
    """Maps of log-odds."""
    scale: int = 2
    """How many times smaller than the input the output is: 1 or 2."""

    def __post_init__(self) -> None:
        if min(self.in_channels, self.stacks, self.depth, self.out_channels) < 1:
            raise ValueError("an hourglass needs at least one channel, stack, halving and output")
        if self.base_channels < 2 or self.base_channels % 2:
            raise ValueError(f"{self.base_channels} base channels are not an even number")
        if self.bin_degrees < 1 or 360 % self.bin_degrees:
            raise ValueError(f"bins of {self.bin_degrees} degrees do not divide the circle")
        if self.scale not in (1, 2):
            raise ValueError(f"a scale of {self.scale} is not 1 or 2")

    @property
    def multiple_px(self) -> int:
        """Both sides of an input must be multiples of this, in pixels."""
        return int(_STEM_STRIDE * 2**self.depth)

    @property
    def orientation_classes(self) -> int:
        """Bins of direction, and one class for "none"."""
        return 360 // self.bin_degrees + 1


class Hourglass(Network):
    """Stem, stacked hourglasses with two heads each, and a decoder for each task."""

    config_type = HourglassConfig
    summary = "stacked hourglass with an orientation head (Batra et al. 2019)"
    default_recipe = "esri_streams"
    config: HourglassConfig

    def __init__(self, config: HourglassConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HourglassConfig()
        width, outputs = config.base_channels, (config.out_channels, config.orientation_classes)
        self.stem = nn.Sequential(
            nn.Conv2d(config.in_channels, width // 2, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(inplace=True),
            Residual(width // 2, width),
            nn.MaxPool2d(2),
            Residual(width, width),
        )
        self.stacks = nn.ModuleList(Stack(width, config.depth, outputs) for _ in range(config.stacks))
        doublings = 2 if config.scale == 1 else 1
        self.segmentation = decoder(width, outputs[0], doublings)
        self.orientation = decoder(width, outputs[1], doublings)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (batch, out, y / scale, x / scale) of channels (batch, in, y, x)."""
        return self.probability(x)

    def logits(self, x: Tensor) -> Tensor:
        """Log-odds, which `forward` passes through the sigmoid."""
        return self.tasks(x).segmentation[-1]

    @property
    def directions(self) -> Directions:
        """Directions at the size of the stacks' predictions and at that of the output."""
        return Directions((_STEM_STRIDE, self.config.scale), self.config.bin_degrees)

    def tasks(self, x: Tensor) -> Tasks:
        """Scores of both tasks for training: after every stack, at a quarter of the input's size, and at the end."""
        x = self.stem(x)
        segmentation, orientation = [], []
        for stack in self.stacks:
            x, lines, directions = stack(x)
            segmentation.append(lines)
            orientation.append(directions)
        return Tasks((*segmentation, self.segmentation(x)), (*orientation, self.orientation(x)))


class Stack(nn.Module):
    """An hourglass and a prediction of both tasks, which are merged back into the features."""

    def __init__(self, channels: int, depth: int, outputs: tuple[int, int]) -> None:
        super().__init__()
        self.hourglass = HourglassModule(channels, depth)
        self.features = nn.Sequential(
            Residual(channels, channels), nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Conv2d(channels, out, 1) for out in outputs)
        self.back = nn.ModuleList(nn.Conv2d(out, channels, 1) for out in outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, channels, y, x) -> the same for the next stack, and the scores of both tasks."""
        features = self.features(self.hourglass(x))
        lines, directions = (head(features) for head in self.heads)
        return x + features + self.back[0](lines) + self.back[1](directions), lines, directions


class HourglassModule(nn.Module):
    """Goes down to the lowest resolution and up again, adding a branch at every resolution."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.branch = Residual(channels, channels)
        self.down = Residual(channels, channels)
        self.inner: nn.Module = HourglassModule(channels, depth - 1) if depth > 1 else Residual(channels, channels)
        self.up = Residual(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> the same shape."""
        low = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        out: Tensor = self.branch(x) + F.interpolate(low, scale_factor=2, mode="nearest")
        return out


class Residual(nn.Module):
    """Bottleneck with batch norm and ReLU before each convolution, plus the input."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        middle = out_channels // _EXPANSION
        self.path = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, middle, 1),
            nn.BatchNorm2d(middle), nn.ReLU(), nn.Conv2d(middle, middle, 3, padding=1),
            nn.BatchNorm2d(middle), nn.ReLU(), nn.Conv2d(middle, out_channels, 1),
        )  # fmt: skip
        self.same = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> (batch, out_channels, y, x)."""
        out: Tensor = self.path(x) + self.same(x)
        return out


def decoder(channels: int, out_channels: int, doublings: int) -> nn.Sequential:
    """Transposed convolutions that double both sides, then 1 x 1 to the scores."""
    layers: list[nn.Module] = []
    for _ in range(doublings):
        layers += [
            nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
        ]
        channels //= 2
    return nn.Sequential(*layers, nn.Conv2d(channels, out_channels, 1))
