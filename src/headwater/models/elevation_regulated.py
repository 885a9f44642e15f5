"""Elevation-regulated convolution, for any encoder-decoder (Sami et al. 2024, arXiv 2404.17917).

A second convolution makes a gate in 0..1 from the elevation; the convolution of the image is multiplied by it. The next
layer takes the product as its image and the gate as its elevation. Tensor names are those of published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ElevationRegulatedConv(nn.Module):
    """Y = conv(X) * Ye with Ye = sigmoid(conv(Xe)); replicate padding keeps the size."""

    def __init__(self, channels: int, elevation_channels: int, out_channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        padding = kernel // 2
        self.conv_layer_img = nn.Conv2d(channels, out_channels, kernel, padding=padding, padding_mode="replicate")
        self.conv_layer_elev = nn.Conv2d(
            elevation_channels, out_channels, kernel, padding=padding, padding_mode="replicate"
        )

    def forward(self, image: Tensor, elevation: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, y, x) and (batch, elevation_channels, y, x) -> Y and Ye, each (batch, out, y, x)."""
        gate = torch.sigmoid(self.conv_layer_elev(elevation))
        return self.conv_layer_img(image) * gate, gate


class ElevationRegulatedUpsampling(nn.Module):
    """The same with 2 x 2 transposed convolutions of stride 2, which double both sides."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.trans_conv_layer_img = nn.ConvTranspose2d(channels, out_channels, 2, stride=2)
        self.trans_conv_layer_elev = nn.ConvTranspose2d(channels, out_channels, 2, stride=2)

    def forward(self, image: Tensor, elevation: Tensor) -> tuple[Tensor, Tensor]:
        """Two of (batch, channels, y, x) -> Y and Ye, each (batch, out, 2 y, 2 x)."""
        gate = torch.sigmoid(self.trans_conv_layer_elev(elevation))
        return self.trans_conv_layer_img(image) * gate, gate
