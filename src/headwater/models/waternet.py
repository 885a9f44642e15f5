"""WaterNet: the segmentation network of Pierson and Mehrabi (2024, arXiv 2412.00050), any width and depth.

Written from the published description. Tensor names are those of published checkpoints, so these load by name. The
input is (batch, 10, y, x) channels at 10 m, the output (batch, 1, y / 2, x / 2) probabilities if there is one encoder
more than decoders. Both sides of the input must be multiples of 2 ** encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.base import Network

LEAK = 0.01
NORM_EPSILON = 1e-5
GATE_SHRINK = 0.25
"""Factor on the weights of each convolution of a gate in float16."""


@dataclass(frozen=True)
class WaterNetConfig:
    """Sizes of a WaterNet; the defaults with ``base_channels=16`` are the published network."""

    in_channels: int = 10
    """Channels of the input, see `headwater.models.channels`."""
    base_channels: int = 4
    """Channels after the attention; every encoder doubles them."""
    encoders: int = 5
    """Halvings of the resolution on the way down."""
    decoders: int = 4
    """Doublings on the way up; the output is 2 ** (encoders - decoders) times smaller than the input."""
    out_channels: int = 1
    """Maps of probability."""

    def __post_init__(self) -> None:
        if min(self.in_channels, self.base_channels, self.encoders, self.out_channels) < 1:
            raise ValueError("WaterNet needs at least one channel, one encoder and one output")
        if not 0 <= self.decoders <= self.encoders:
            raise ValueError(f"{self.decoders} decoders do not fit {self.encoders} encoders")

    @property
    def multiple_px(self) -> int:
        """Both sides of an input must be multiples of this, in pixels."""
        return int(2**self.encoders)

    @property
    def scale(self) -> int:
        """How many times smaller than the input the output is."""
        return int(2 ** (self.encoders - self.decoders))


class WaterNet(Network):
    """Attention over channels, encoders and decoders with skips, and a 1 x 1 head."""

    config_type = WaterNetConfig
    summary = "WaterNet (Pierson and Mehrabi 2024), the main network"
    keeps_within_float16 = True
    config: WaterNetConfig

    def __init__(self, config: WaterNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or WaterNetConfig()
        self.shorter: torch.dtype | None = None
        widths = [config.base_channels * 2**depth for depth in range(config.encoders + 1)]
        self.attention = ChannelAttention(config.in_channels, widths[0])
        self.encoders = nn.ModuleList(
            Encoder(width, max_kernel=max(15 - 2 * depth, 3)) for depth, width in enumerate(widths[:-1])
        )
        self.decoders = nn.ModuleList(
            Decoder(widths[config.encoders - step], max_kernel=3 + 2 * step) for step in range(config.decoders)
        )
        last = widths[config.encoders - config.decoders]
        head = [last, 2 * last, 4 * last, 8 * last, config.out_channels]
        self.fully_connected = PointwiseLayers(head, last_bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (batch, out, y / scale, x / scale) of channels (batch, in, y, x)."""
        return self.probability(x)

    def logits(self, x: Tensor) -> Tensor:
        """Log-odds, which `forward` passes through the sigmoid; losses use them."""
        x = self.attention(x.contiguous(memory_format=torch.channels_last))
        if self.shorter is not None:
            x = x.to(self.shorter)
        skips = [x]
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
        skips.pop()
        for decoder in self.decoders:
            x = decoder(x, skips.pop())
        logits: Tensor = self.fully_connected(x)
        return logits

    def lower_precision(self, dtype: torch.dtype) -> WaterNet:
        """Compute all but the attention in a shorter type: elevations in meters need more than bfloat16's 8 bits."""
        if dtype == torch.float16:
            for module in self.modules():
                if isinstance(module, MultiplicationBlock):
                    module.shrink_gate()
        self.to(dtype)
        self.attention.float()
        self.shorter = dtype
        return self


class ChannelAttention(nn.Module):
    """Weights the input's channels by their own values and by the mean and spread of the complete image."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_block1 = ConvBlock(channels, int(2.5 * channels), 5 * channels, kernel=1)
        self.conv_block2 = ConvBlock(11 * channels, 6 * channels, channels, kernel=1)
        self.norm = InstanceNorm(channels, affine=False)
        self.channel_increase_conv = ConvBlock(channels, channels, out_channels, kernel=3, reflect=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> (batch, out_channels, y, x)."""
        # 1 x 1 convolutions are matrix products over pixels: (batch, pixels, channels).
        _, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        mean, spread = self._statistics(pixels)
        # The statistics are the same in every pixel: the part of the layer that reads them is one vector per image,
        # added to the product with the input, instead of a product with 110 channels.
        weight = self.conv_block2.conv_1.weight[:, :, 0, 0]
        constant = F.linear(torch.cat([mean, spread], dim=1), weight[:, channels:])
        hidden = F.linear(pixels, weight[:, :channels]).add_(constant[:, None])
        gate = torch.sigmoid(F.linear(leaky_relu_(hidden), self.conv_block2.conv_2.weight[:, :, 0, 0]))
        weighted = (gate * pixels).view(-1, height, width, channels).permute(0, 3, 1, 2)
        out: Tensor = self.channel_increase_conv(self.norm(weighted))
        return out

    def _statistics(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and unbiased standard deviation over space of the first block's output, each (batch, 5 * channels).

        The block's last layer is linear, so both follow from the mean and the covariance of its input, which has half
        the channels: the widest map of the network is never computed.
        """
        hidden = leaky_relu_(F.linear(pixels, self.conv_block1.conv_1.weight[:, :, 0, 0])).float()
        weight = self.conv_block1.conv_2.weight[:, :, 0, 0].float()
        with torch.autocast(pixels.device.type, enabled=False):
            hidden_mean = hidden.mean(dim=1, keepdim=True)
            centered = hidden - hidden_mean
            covariance = centered.transpose(1, 2) @ centered / (pixels.shape[1] - 1)
            variance = ((weight @ covariance) * weight).sum(dim=2)
            # The floor keeps the gradient of the root finite on a constant image.
            mean, spread = hidden_mean[:, 0] @ weight.T, variance.clamp_min(1e-12).sqrt()
        return mean.to(pixels.dtype), spread.to(pixels.dtype)


class Encoder(nn.Module):
    """Halves the resolution and doubles the channels."""

    def __init__(self, channels: int, *, max_kernel: int) -> None:
        super().__init__()
        self.decrease_conv = nn.Conv2d(channels, channels, 2, stride=2)
        self.norm_0 = InstanceNorm(channels, affine=False)
        self.multi_res_blocks = ResidualBlocks(channels, max_kernel=max_kernel, reflect=False)
        self.norm_1 = InstanceNorm(channels, affine=False)
        self.multiplication_blocks = MultiplicationBlock(channels, max_kernel=max_kernel, reflect=False)
        self.norm_2 = InstanceNorm(channels, affine=False)
        self.middle_connected = PointwiseLayers(narrowing(3 * channels, 2 * channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> (batch, 2 * channels, y / 2, x / 2)."""
        x = self.norm_0(self.decrease_conv(x))
        residual = self.norm_1(self.multi_res_blocks(x))
        product = self.norm_2(self.multiplication_blocks(x))
        out: Tensor = self.middle_connected(torch.cat([x, residual, product], dim=1))
        return out


class Decoder(nn.Module):
    """Doubles the resolution, halves the channels and merges the encoder's output of that resolution."""

    def __init__(self, channels: int, *, max_kernel: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv_trans = nn.ConvTranspose2d(channels, half, 2, stride=2)
        self.normalization_layers0 = InstanceNorm(half, affine=True)
        self.multi_res_blocks = ResidualBlocks(channels, max_kernel=max_kernel, reflect=True)
        self.normalization_layers1 = InstanceNorm(channels, affine=False)
        self.multiplication_blocks = MultiplicationBlock(channels, max_kernel=max_kernel, reflect=True)
        self.normalization_layers2 = InstanceNorm(channels, affine=False)
        self.middle_connected = PointwiseLayers(narrowing(2 * channels, channels))
        self.normalization_layers3 = InstanceNorm(channels, affine=True)
        self.conv_blocks = ConvBlock(channels, channels, half, kernel=min(5, max_kernel), reflect=True)
        self.normalization_layers4 = InstanceNorm(half, affine=True)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(batch, channels, y, x) and skip (batch, channels / 2, 2 y, 2 x) -> (batch, channels / 2, 2 y, 2 x)."""
        x = torch.cat([self.normalization_layers0(self.conv_trans(x)), skip], dim=1)
        residual = self.normalization_layers1(self.multi_res_blocks(x))
        product = self.normalization_layers2(self.multiplication_blocks(x))
        x = self.middle_connected(torch.cat([residual, product], dim=1))
        out: Tensor = self.normalization_layers4(self.conv_blocks(self.normalization_layers3(x)))
        return out


class ResidualBlocks(nn.Module):
    """Three residual blocks in sequence, with kernels of at most 5 pixels."""

    def __init__(self, channels: int, *, max_kernel: int, reflect: bool) -> None:
        super().__init__()
        kernel = min(5, max_kernel)
        self.res_blocks = nn.Sequential(*(ResidualBlock(channels, kernel, reflect=reflect) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> the same shape."""
        out: Tensor = self.res_blocks(x)
        return out


class MultiplicationBlock(nn.Module):
    """The input times a gate in 0..1, which three convolution blocks of decreasing kernel size compute from it."""

    def __init__(self, channels: int, *, max_kernel: int, reflect: bool) -> None:
        super().__init__()
        kernels = [min(kernel, max_kernel) for kernel in (7, 5, 3)]
        self.multi_conv_block = ConvBlocks(channels, kernels, reflect=reflect)
        self.gate_gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> the same shape."""
        gate = self.multi_conv_block(x)
        if self.gate_gain != 1:
            gate = gate.float() * self.gate_gain
        return x * torch.sigmoid(gate).to(x.dtype)

    def shrink_gate(self) -> None:
        """Keep the gate within float16, whose largest value is 65504: six convolutions without norms reach millions.

        They have no bias, and leaky ReLU is linear on rays from 0. So the gate shrinks with the weights, which are
        scaled by powers of two, and is enlarged again before the sigmoid: nothing else changes.
        """
        for convolution_ in self.modules():
            if isinstance(convolution_, nn.Conv2d):
                convolution_.weight.data *= GATE_SHRINK
                self.gate_gain /= GATE_SHRINK


class ConvBlocks(nn.Module):
    """Convolution blocks of equal width with leaky ReLU between."""

    def __init__(self, channels: int, kernels: Sequence[int], *, reflect: bool) -> None:
        super().__init__()
        self.conv_blocks = nn.ModuleList(
            ConvBlock(channels, channels, channels, kernel=kernel, reflect=reflect) for kernel in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> the same shape."""
        for position, block in enumerate(self.conv_blocks):
            x = block(leaky_relu_(x) if position else x)
        return x


class ConvBlock(nn.Module):
    """Convolution, leaky ReLU, convolution, without bias; zero or reflection padding keeps the size."""

    def __init__(self, channels: int, hidden: int, out_channels: int, *, kernel: int, reflect: bool = False) -> None:
        super().__init__()
        self.conv_1 = convolution(channels, hidden, kernel, reflect=reflect)
        self.conv_2 = convolution(hidden, out_channels, kernel, reflect=reflect)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> (batch, out_channels, y, x)."""
        out: Tensor = self.conv_2(leaky_relu_(self.conv_1(x)))
        return out


class ResidualBlock(ConvBlock):
    """Convolution block plus its input, then instance norm."""

    def __init__(self, channels: int, kernel: int, *, reflect: bool) -> None:
        super().__init__(channels, channels, channels, kernel=kernel, reflect=reflect)
        self.norm_2 = InstanceNorm(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> the same shape."""
        out: Tensor = self.norm_2(super().forward(x) + x)
        return out


class PointwiseLayers(nn.Module):
    """1 x 1 convolutions with bias and leaky ReLU between: a small network for every pixel."""

    def __init__(self, widths: Sequence[int], *, last_bias: bool = True) -> None:
        super().__init__()
        last = len(widths) - 2
        self.layers = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 1, bias=last_bias or i < last) for i in range(last + 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, widths[0], y, x) -> (batch, widths[-1], y, x)."""
        for position, layer in enumerate(self.layers):
            x = layer(leaky_relu_(x) if position else x)
        return x


class InstanceNorm(nn.Module):
    """Instance normalization without running statistics.

    PyTorch's own leaves the channels-last format, in which this network runs twice as fast on a CPU.
    """

    def __init__(self, channels: int, *, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) -> the same shape, mean 0 and variance 1 over (y, x) before weight and bias."""
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
        scale = torch.rsqrt(variance + NORM_EPSILON)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        return torch.addcmul(shift[:, :, None, None].to(x.dtype), x, scale[:, :, None, None].to(x.dtype))


def convolution(channels: int, out_channels: int, kernel: int, *, reflect: bool) -> nn.Conv2d:
    """Convolution without bias that keeps the size."""
    mode: Literal["reflect", "zeros"] = "reflect" if reflect and kernel > 1 else "zeros"
    return nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, padding_mode=mode, bias=False)


def leaky_relu_(x: Tensor) -> Tensor:
    """Leaky ReLU in place, for outputs of convolutions, whose values no gradient needs."""
    return F.leaky_relu(x, LEAK, inplace=True)


def narrowing(channels: int, out_channels: int) -> list[int]:
    """Widths of the three 1 x 1 layers that reduce concatenated blocks to `out_channels`."""
    first = int(0.75 * channels)
    return [channels, first, int(0.75 * first), out_channels]
