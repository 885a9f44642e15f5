"""The networks of a prediction, each with its recipe, averaged over networks and over symmetries of the square."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import InputError, OutOfMemory
from headwater.models.base import Network
from headwater.models.channels import Float32Array, Recipe

SYMMETRIES = 8
"""Quarter turns of a square, and their mirror images."""
_MEMORY_FRACTION = 0.8
_MAX_BATCH_SIZE = 32


@dataclass(frozen=True)
class EnsembleMember:
    """A network and the recipe of its channels."""

    model: Network
    """In evaluation mode; its call gives probabilities."""
    recipe: Recipe
    """The channels it was trained with."""


@dataclass(frozen=True)
class PooledSizes:
    """Sizes of a network whose output is averaged to a coarser grid."""

    in_channels: int
    """Channels of the input."""
    multiple_px: int
    """Both sides of an input must be multiples of this, in pixels."""
    scale: int
    """How many times smaller than the input the output is."""


class Pooled(Network):
    """A network's probabilities averaged over blocks, so that one of the input's size can make the 20 m map.

    Parameters
    ----------
    model : Network
        Its call gives probabilities.
    scale : int
        A multiple of the model's own.
    """

    def __init__(self, model: Network, scale: int) -> None:
        super().__init__()
        sizes = model.config
        self.config = PooledSizes(sizes.in_channels, int(np.lcm(sizes.multiple_px, scale)), scale)
        self.model = model
        self._block = scale // sizes.scale

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (batch, 1, y / scale, x / scale) of channels (batch, in_channels, y, x)."""
        return F.avg_pool2d(self.model(x).float(), self._block)

    def lower_precision(self, dtype: torch.dtype) -> Network:
        """Let the network compute in a shorter type, in place; return this."""
        self.model = self.model.lower_precision(dtype)
        return self


def at_scale(model: Network, scale: int) -> Network:
    """Return a network whose output is `scale` times smaller than its input: the network itself, or its averages.

    Raises
    ------
    InputError
        Its own output is coarser, or `scale` is not a multiple of its scale.
    """
    own = model.config.scale
    if own == scale:
        return model
    if scale % own:
        raise InputError(
            f"The network's output is {own} times smaller than its input; {scale} is needed.",
            "Use a network with a finer output: one encoder more than decoders.",
        )
    return Pooled(model, scale)


class Ensemble:
    """Networks on a device that take batches of one size and return the mean of their probabilities.

    Parameters
    ----------
    members : sequence of EnsembleMember
        All have the same output scale.
    device : str
        PyTorch's name of the device.
    dtype : torch.dtype
        Type to compute in.
    batch_size : int
        Tiles computed together; 0: one on the CPU, as many as fit on a GPU. Halved if memory does not suffice.
    compiled : bool
        Whether torch.compile optimizes the networks first.
    symmetries : int
        1, or 8 for the mean over the symmetries of the square.
    """

    def __init__(
        self,
        members: Sequence[EnsembleMember],
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch_size: int = 0,
        compiled: bool = False,
        symmetries: int = 1,
    ) -> None:
        self.recipes: list[Recipe] = []
        """The recipes of the members, each once."""
        for member in members:
            if member.recipe not in self.recipes:
                self.recipes.append(member.recipe)
        self.scale, self.multiple_px = _common_sizes(members)
        self.device, self.batch_size, self.symmetries = device, batch_size, symmetries
        self._recipe_of = [self.recipes.index(member.recipe) for member in members]
        self._models = [_prepared(member.model, device, dtype, compiled) for member in members]

    def settle_batch_size(self, tile: tuple[int, int], tiles: int) -> None:
        """Choose the number of tiles computed together, unless it was given; at most `tiles`.

        Parameters
        ----------
        tile : (rows, columns)
            Size of a tile.
        tiles : int
            Number of tiles of the prediction.
        """
        if self.batch_size == 0:
            self.batch_size = self._max_tiles(tile) if self.device.startswith("cuda") else 1
        self.batch_size = max(1, min(self.batch_size, tiles))

    def start(self, channels: Sequence[Sequence[Float32Array]]) -> list[Tensor]:
        """Start the networks on some tiles; a GPU continues to compute after this returns.

        Parameters
        ----------
        channels : sequence of tiles, each a sequence over `recipes` of (channel, y, x) float32
            At most `batch_size`; the last tile is repeated to fill the batch, so that shapes stay fixed.

        Returns
        -------
        list of Tensor
            Parts (tiles, 1, y / scale, x / scale) float32 on the device; together they hold all tiles, in order.

        Raises
        ------
        OutOfMemory
            Not even one tile fits the device's memory.
        """
        size = self.batch_size
        parts: list[Tensor] = []
        first = 0
        while first < len(channels):
            tiles = channels[first : first + size]
            try:
                parts.append(self._mean([*tiles, *[tiles[-1]] * (size - len(tiles))])[: len(tiles)])
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise OutOfMemory(
                        f"A tile does not fit the memory of {self.device}.",
                        "Set a smaller tile_px, or compute on the CPU (device: cpu).",
                    ) from error
            else:
                first += size
                continue
            # Outside of `except`: the error's traceback keeps the tensors of the failed attempt alive.
            size = self.batch_size = max(1, size // 2)
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()
        return parts

    @torch.inference_mode()
    def _mean(self, tiles: Sequence[Sequence[Float32Array]]) -> Tensor:
        batches = [self._on_device([tile[index] for tile in tiles]) for index in range(len(self.recipes))]
        total: Tensor | None = None
        for symmetry in range(self.symmetries):
            transformed = [
                transform_channels(batch, recipe, symmetry) for batch, recipe in zip(batches, self.recipes, strict=True)
            ]
            for model, index in zip(self._models, self._recipe_of, strict=True):
                image = transformed[index].to(next(model.parameters(), transformed[index]).dtype)
                output = undo_symmetry(model(image).float(), symmetry)
                total = output if total is None else total + output
        assert total is not None
        return total / (self.symmetries * len(self._models)) if self.symmetries * len(self._models) > 1 else total

    def _on_device(self, channels: Sequence[Float32Array]) -> Tensor:
        batch = torch.from_numpy(np.stack(channels))
        if self.device.startswith("cuda"):
            batch = batch.pin_memory()
        on_device = batch.to(self.device, non_blocking=True)
        return on_device.contiguous(memory_format=torch.channels_last)

    def _max_tiles(self, tile: tuple[int, int]) -> int:
        """Return how many tiles fit a fraction of the free memory, a power of two; one and two tiles are measured."""
        empty = [np.zeros((len(recipe.channels), *tile), dtype=np.float32) for recipe in self.recipes]
        peaks = []
        for count in (1, 2):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            self.batch_size = count
            try:
                self.start([empty] * count)
                torch.cuda.synchronize(self.device)
            finally:
                self.batch_size = 0
            peaks.append(torch.cuda.max_memory_allocated(self.device))
        free, _ = torch.cuda.mem_get_info(self.device)
        fit = int(free * _MEMORY_FRACTION // max(1, peaks[1] - peaks[0]))
        return min(_MAX_BATCH_SIZE, 1 << max(0, fit.bit_length() - 1))


def transform_channels(channels: Tensor, recipe: Recipe, symmetry: int) -> Tensor:
    """Return the channels of the rotated and mirrored terrain, from those of the terrain.

    Every channel rotates like the map. The two derivatives are a vector, whose direction changes too: after mirroring
    left and right the terrain rises to the east where it rose to the west.

    Parameters
    ----------
    channels : (batch, channel, y, x)
        As the recipe makes them.
    recipe : Recipe
        Names the channels that are derivatives.
    symmetry : int
        0 to 7: the low two bits are counterclockwise quarter turns, the third mirrors left and right after them.

    Raises
    ------
    InputError
        The recipe has one derivative without the other, or their scalings differ or are not symmetric about 0.
    """
    if symmetry == 0:
        return channels
    rotated = torch.rot90(channels, symmetry & 3, dims=(-2, -1))
    rotated = rotated.flip(-1) if symmetry & 4 else rotated
    vector = _derivatives(recipe)
    if vector is None:
        return rotated
    x, y = vector
    rotated = rotated.clone()
    east, south = rotated[:, x].clone(), rotated[:, y] * recipe.dy_sign
    for _ in range(symmetry & 3):
        east, south = south, -east
    rotated[:, x] = -east if symmetry & 4 else east
    rotated[:, y] = south * recipe.dy_sign
    return rotated


def undo_symmetry(output: Tensor, symmetry: int) -> Tensor:
    """Undo the symmetry on a map (batch, channel, y, x) made from transformed channels."""
    output = output.flip(-1) if symmetry & 4 else output
    return torch.rot90(output, -(symmetry & 3), dims=(-2, -1))


def _derivatives(recipe: Recipe) -> tuple[int, int] | None:
    """Positions of dE/dx and dE/dy in a recipe, None if it has neither."""
    of_feature = {
        name: [number for number, channel in enumerate(recipe.channels) if channel.feature == name]
        for name in ("dE/dx", "dE/dy")
    }
    found = [*of_feature["dE/dx"], *of_feature["dE/dy"]]
    if not found:
        return None
    scalings = {recipe.channels[number].scaling for number in found}
    scaling = next(iter(scalings))
    symmetric = (scaling.low is None) == (scaling.high is None) and (scaling.low or 0) == -(scaling.high or 0)
    asymmetric = scaling.offset != 0 or scaling.levels or not symmetric
    if any(len(numbers) != 1 for numbers in of_feature.values()) or len(scalings) != 1 or asymmetric:
        raise InputError(
            f"The derivatives in the channel recipe {recipe.name!r} cannot be rotated: that takes both, scaled alike.",
            "Leave test-time augmentation off with this checkpoint.",
        )
    return found[0], found[1]


def check_symmetries(recipes: Sequence[Recipe]) -> None:
    """Refuse recipes whose channels cannot be rotated, with an InputError."""
    for recipe in recipes:
        _derivatives(recipe)


def _prepared(model: Network, device: str, dtype: torch.dtype, compiled: bool) -> torch.nn.Module:
    if dtype != torch.float32:
        # The caller's network stays unchanged.
        model = copy.deepcopy(model).lower_precision(dtype)
    model = model.to(device)
    if compiled:
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]
    return model


def _common_sizes(members: Sequence[EnsembleMember]) -> tuple[int, int]:
    """Return the scale of the output, and the number of which the sides of a tile are multiples, for all members."""
    if not members:
        raise InputError("There is no network to predict with.", "Give at least one checkpoint.")
    scales = {member.model.config.scale for member in members}
    if len(scales) > 1:
        raise InputError(
            f"The outputs of the networks are {', '.join(f'{scale}' for scale in sorted(scales))} times smaller "
            "than their inputs.",
            "Combine only checkpoints of one scale.",
        )
    return scales.pop(), int(np.lcm.reduce([member.model.config.multiple_px for member in members]))
