"""Batches: chips are drawn, augmented, made into channels and stacked, each batch from its own number.

Augmentation applies one of the eight symmetries of the square and sets random pixels to the channel's mean. Composite,
elevation and label are transformed before the channels are made, so that the differences of elevation point in the
right direction in every orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.evaluate.water_types import values_of_types
from headwater.models.base import Directions
from headwater.models.channels import Float32Array, Recipe, make_channels
from headwater.train.chips import Chip
from headwater.train.orientation import orientation_classes
from headwater.train.settings import Stage

Draw = Callable[[int, float, np.random.Generator], Chip]
"""Draws a random chip, given its side in pixels and the maximum fraction of missing pixels."""


class Batch(NamedTuple):
    """Input of a training step."""

    channels: Tensor
    """(batch, channel, y, x) float32."""
    values: Tensor
    """(batch, 1, y, x) float32 label values, see `headwater.train.losses.targets_of_values`."""
    elevation: Tensor
    """(batch, 1, y, x) float32 meters."""
    orientation: tuple[Tensor, ...]
    """(batch, y / scale, x / scale) int64 classes of direction, for each scale requested."""

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        return Batch(
            self.channels.to(device),
            self.values.to(device),
            self.elevation.to(device),
            tuple(classes.to(device) for classes in self.orientation),
        )


def draw_batch(
    draw: Draw,
    recipe: Recipe,
    stage: Stage,
    pixel_dropout: float,
    rng: np.random.Generator,
    directions: Directions,
    halo_px: int = 0,
) -> Batch:
    """Draw random chips, transform them, make their channels and return them as a batch.

    Parameters
    ----------
    draw : callable
        Draws a chip.
    recipe : Recipe
        How channels are made.
    stage : Stage
        Size of chips and batches.
    pixel_dropout : float
        Expected fraction of pixels set to the channel mean.
    rng : numpy Generator
        Source of randomness.
    directions : Directions
        Scales of the classes of direction; none by default.
    halo_px : int
        Pixels read on each side of a chip for the channels, which are not part of the batch.
    """
    parts = []
    core = (slice(halo_px, halo_px + stage.chip_px),) * 2
    for _ in range(stage.batch_size):
        chip = draw(stage.chip_px + 2 * halo_px, recipe.max_missing_fraction, rng)
        symmetry = int(rng.integers(8))
        composite, around, types = (apply_symmetry(array, symmetry) for array in chip)
        channels, _ = make_channels(composite, around, recipe, halo_px=(halo_px,) * 4)
        elevation, types = around[core], types[core]
        drop_pixels(channels, pixel_dropout, rng)
        parts.append((channels, values_of_types(types)[None], np.array(elevation, dtype=np.float32)[None]))
    inputs, values, heights = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*parts, strict=True))
    classes = tuple(_orientation(values, heights, scale, directions.bin_degrees) for scale in directions.scales)
    return Batch(inputs, values, heights, classes)


class Batches:
    """Batches by step and number, made when requested or prefetched by threads; the batches are the same."""

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
        # If a step has fewer batches than the last one, some were made in vain.
        self._ahead = {key: batch for key, batch in self._ahead.items() if key[0] > step}

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def apply_symmetry(array: npt.NDArray[Any], symmetry: int) -> npt.NDArray[Any]:
    """Return a view of an array (..., y, x), rotated by quarter turns and mirrored.

    Parameters
    ----------
    array : (..., y, x)
        Any array whose last two axes have the same length.
    symmetry : int
        0 to 7: the low two bits are quarter turns, the third mirrors left and right; 0 changes nothing.
    """
    if not 0 <= symmetry < 8:
        raise ValueError(f"a square has symmetries 0 to 7, not {symmetry}")
    rotated = np.rot90(array, symmetry & 3, axes=(-2, -1))
    return rotated[..., ::-1] if symmetry & 4 else rotated


def drop_pixels(channels: Float32Array, fraction: float, rng: np.random.Generator) -> None:
    """Set a random fraction of pixels, the same in all channels, to each channel's mean, in place.

    Parameters
    ----------
    channels : (channel, y, x) float32
        Finished channels.
    fraction : float
        Expected fraction of pixels dropped, 0 to 1.
    rng : numpy Generator
        Source of randomness.
    """
    if fraction <= 0:
        return
    dropped = rng.random(channels.shape[1:], dtype=np.float32) < fraction
    for channel in channels:
        channel[dropped] = channel.mean(dtype=np.float64)


def _orientation(values: Tensor, elevation: Tensor, scale: int, bin_degrees: int) -> Tensor:
    water = F.max_pool2d((values >= 1).float(), scale)[:, 0].numpy() > 0
    heights = F.avg_pool2d(elevation, scale)[:, 0].numpy()
    pairs = zip(water, heights, strict=True)
    return torch.from_numpy(np.stack([orientation_classes(*pair, bin_degrees) for pair in pairs]))
