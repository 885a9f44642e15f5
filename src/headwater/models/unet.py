"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597), the baseline, plain or with elevation-regulated convolutions.

Like WaterNet it halves the resolution once more than it doubles it: the last doubling is omitted, so its output has
half the input's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.base import Network
from headwater.models.elevation_regulated import ElevationRegulatedConv


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a U-Net."""

    in_channels: int = 10
    """Channels of the input."""
    base_channels: int = 16
    """Channels of the first block; every encoder doubles them."""
    encoders: int = 4
    """Halvings of the resolution on the way down."""
    decoders: int = 3
    """Doublings on the way up; the output is 2 ** (encoders - decoders) times smaller than the input."""
    out_channels: int = 1
    """Maps of log-odds."""
    elevation_channel: int | None = None
    """Position of the channel that regulates all convolutions (EvaNet's idea; on 0..1); None for a plain U-Net."""

    def __post_init__(self) -> None:
        if min(self.in_channels, self.base_channels, self.encoders, self.out_channels) < 1:
            raise ValueError("a U-Net needs at least one channel, one encoder and one output")
        if not 0 <= self.decoders <= self.encoders:
            raise ValueError(f"{self.decoders} decoders do not fit {self.encoders} encoders")
        if self.elevation_channel is not None and not (0 <= self.elevation_channel < self.in_channels > 1):
            raise ValueError(f"there is no channel {self.elevation_channel} next to another among {self.in_channels}")

    @property
    def multiple_px(self) -> int:
        """Both sides of an input must be multiples of this, in pixels."""
        return int(2**self.encoders)

    @property
    def scale(self) -> int:
        """How many times smaller than the input the output is."""
        return int(2 ** (self.encoders - self.decoders))


class UNet(Network):
    """Convolution blocks down and up with skips, and a 1 x 1 head."""

    config_type = UNetConfig
    summary = "U-Net (Ronneberger et al. 2015), baseline; elevation_channel regulates it"
    config: UNetConfig

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UNetConfig()
        regulated = config.elevation_channel is not None
        widths = [config.base_channels * 2**level for level in range(config.encoders + 1)]
        self.first = Block(config.in_channels - regulated, widths[0], gate_channels=1 if regulated else 0)
        self.encoders = nn.ModuleList(
            Block(widths[level], widths[level + 1], gate_channels=widths[level] if regulated else 0)
            for level in range(config.encoders)
        )
        levels = range(config.encoders - 1, config.encoders - 1 - config.decoders, -1)
        self.upsamplings = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in levels
        )
        self.decoders = nn.ModuleList(
            Block(2 * widths[level], widths[level], gate_channels=widths[level] if regulated else 0) for level in levels
        )
        self.head = nn.Conv2d(widths[config.encoders - config.decoders], config.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (batch, out, y / scale, x / scale) of channels (batch, in, y, x)."""
        return self.probability(x)

    def logits(self, x: Tensor) -> Tensor:
        """Log-odds, which `forward` passes through the sigmoid."""
        elevation, position = None, self.config.elevation_channel
        if position is not None:
            elevation = x[:, position : position + 1]
            x = torch.cat([x[:, :position], x[:, position + 1 :]], dim=1)
        x, gate = self.first(x, elevation)
        skips = [(x, gate)]
        for encoder in self.encoders:
            x, gate = encoder(F.max_pool2d(x, 2), None if gate is None else F.avg_pool2d(gate, 2))
            skips.append((x, gate))
        skips.pop()
        for upsampling, decoder in zip(self.upsamplings, self.decoders, strict=True):
            # The gate of the way down, made from the elevation at this resolution, also regulates the way up.
            skip, gate = skips.pop()
            x, _ = decoder(torch.cat([skip, upsampling(x)], dim=1), gate)
        logits: Tensor = self.head(x)
        return logits


class Block(nn.Module):
    """Twice a 3 x 3 convolution, batch norm and ReLU; with `gate_channels` a gate regulates the convolutions."""

    def __init__(self, channels: int, out_channels: int, *, gate_channels: int) -> None:
        super().__init__()
        self.regulated = gate_channels > 0
        if self.regulated:
            self.first: nn.Module = ElevationRegulatedConv(channels, gate_channels, out_channels)
            self.second: nn.Module = ElevationRegulatedConv(out_channels, out_channels, out_channels)
        else:
            self.first = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
            self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, gate: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(batch, channels, y, x) and the gate of the layer before -> (batch, out_channels, y, x) and the new gate."""
        x, gate = self.first(x, gate) if self.regulated else (self.first(x), None)
        x = F.relu(self.first_norm(x))
        x, gate = self.second(x, gate) if self.regulated else (self.second(x), None)
        return F.relu(self.second_norm(x)), gate
