"""Batches: chips drawn, turned, made to channels and stacked, each from its own number; if wanted, ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.evaluate.water_types import values_of_types
from headwater.models.channels import Recipe, make_channels
from headwater.train.augment import drop_pixels, turn
from headwater.train.chips import Chip
from headwater.train.orientation import orientation_classes
from headwater.train.settings import Stage

Draw = Callable[[int, float, np.random.Generator], Chip]
"""A chip of a side in pixels with at most a share of missing pixels, drawn at random."""


class Batch(NamedTuple):
    """What a step of training takes in."""

    channels: Tensor
    """(batch, channel, y, x) float32."""
    values: Tensor
    """(batch, 1, y, x) float32 label values, see `headwater.train.losses.targets_of_values`."""
    elevation: Tensor
    """(batch, 1, y, x) float32 metres."""
    orientation: tuple[Tensor, ...]
    """(batch, y / scale, x / scale) int64 classes of direction, for each scale asked for."""

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        return Batch(
            self.channels.to(device),
            self.values.to(device),
            self.elevation.to(device),
            tuple(classes.to(device) for classes in self.orientation),
        )


class Directions(NamedTuple):
    """Which classes of direction a batch brings."""

    scales: tuple[int, ...] = ()
    """How many times smaller than the input they are, one set for each."""
    bin_degrees: int = 20
    """Width of a bin."""


def draw_batch(
    draw: Draw,
    recipe: Recipe,
    stage: Stage,
    drop_share: float,
    rng: np.random.Generator,
    directions: Directions,
    halo_px: int = 0,
) -> Batch:
    """Return random turned chips as a batch; the channels are made after turning, so slopes point the right way."""
    parts = []
    core = (slice(halo_px, halo_px + stage.chip_px),) * 2
    for _ in range(stage.batch_size):
        chip = draw(stage.chip_px + 2 * halo_px, recipe.max_missing_share, rng)
        symmetry = int(rng.integers(8))
        composite, around, types = (turn(array, symmetry) for array in chip)
        channels, _ = make_channels(composite, around, recipe, halo_px=(halo_px,) * 4)
        elevation, types = around[core], types[core]
        drop_pixels(channels, drop_share, rng)
        parts.append((channels, values_of_types(types)[None], np.array(elevation, dtype=np.float32)[None]))
    inputs, values, heights = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*parts, strict=True))
    classes = tuple(_orientation(values, heights, scale, directions.bin_degrees) for scale in directions.scales)
    return Batch(inputs, values, heights, classes)


class Batches:
    """Batches by step and number, made when asked for or ahead by threads: the same ones either way."""

    def __init__(self, make: Callable[[int, int], Batch], *, steps: int, threads: int) -> None:
        self._make, self._steps, self._threads = make, steps, threads
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._ahead: dict[tuple[int, int], Future[Batch]] = {}

    def of_step(self, step: int, count: int) -> Iterator[Batch]:
        """Yield the batches of a step."""
        for number in range(count):
            if self._pool is None:
                yield self._make(step, number)
                continue
            first = step * count + number
            for key in (divmod(n, count) for n in range(first, first + 1 + 2 * self._threads)):
                if key not in self._ahead and key[0] < self._steps:
                    self._ahead[key] = self._pool.submit(self._make, *key)
            yield self._ahead.pop((step, number)).result()
        # Where a step takes in fewer batches than the last, some were made in vain.
        self._ahead = {key: batch for key, batch in self._ahead.items() if key[0] > step}

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _orientation(values: Tensor, elevation: Tensor, scale: int, bin_degrees: int) -> Tensor:
    water = F.max_pool2d((values >= 1).float(), scale)[:, 0].numpy() > 0
    heights = F.avg_pool2d(elevation, scale)[:, 0].numpy()
    pairs = zip(water, heights, strict=True)
    return torch.from_numpy(np.stack([orientation_classes(*pair, bin_degrees) for pair in pairs]))
