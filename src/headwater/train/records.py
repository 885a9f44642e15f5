"""Scalars and example images for TensorBoard, if it is installed (the extra `train`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headwater.evaluate.water_types import values_of_types
from headwater.models.base import Network
from headwater.models.channels import Recipe, make_channels
from headwater.train.chips import Chip
from headwater.train.losses import targets_of_values


class Records:
    """Writes scalars and images during training."""

    def __init__(self, writer: Any, example: Callable[[Network], npt.NDArray[np.float32]]) -> None:
        self._writer, self._example = writer, example

    def step(self, step: int, **values: float) -> None:
        """Write the values of a step."""
        for name, value in values.items():
            self._writer.add_scalar(f"training/{name}", value, step)

    def validation(self, step: int, scores: Mapping[str, float], network: Network) -> None:
        """Write scores and the example: image, label and probability side by side."""
        for name, value in scores.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        self._writer.add_image("validation/image, label, probability", self._example(network), step)
        self._writer.flush()


def open_records(folder: Path, example: Callable[[Network], npt.NDArray[np.float32]]) -> Records | None:
    """Return records written to a folder; None, after a message, if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print(
            "TensorBoard is not installed, so no curves are written: pip install '.[train]' in the clone of Headwater.",
            file=sys.stderr,
        )
        return None
    return Records(SummaryWriter(str(folder)), example)


def example_image(network: Network, chip: Chip, recipe: Recipe, device: str) -> npt.NDArray[np.float32]:
    """Return a chip's image in natural colors, its label and the probability side by side, (3, y, 3 x) of 0 to 1."""
    composite, elevation, types = chip
    channels, _ = make_channels(composite, elevation, recipe)
    network.eval()
    with torch.inference_mode():
        probability = network.probability(torch.from_numpy(channels)[None].to(device)).cpu()[0]
    scale = network.config.scale
    label = targets_of_values(torch.from_numpy(values_of_types(types))[None, None], scale=scale).target[0]
    # Bands are N, R, G, B; colors have the size of the output.
    colors = composite[1:4, ::scale, ::scale].astype(np.float32) / 255
    maps = (np.broadcast_to(values.numpy(), colors.shape) for values in (label, probability))
    return np.concatenate([colors, *maps], axis=2)
