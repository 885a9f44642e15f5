"""The networks of a prediction: one or several, each with its recipe, and the symmetries they are asked in."""

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
_MEMORY_SHARE = 0.8
_MOST_AT_ONCE = 32


@dataclass(frozen=True)
class Member:
    """A network and how its channels are made."""

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
        """Make the network compute in a shorter type, in place, and return this."""
        self.model = self.model.lower_precision(dtype)
        return self


def at_scale(model: Network, scale: int) -> Network:
    """Return a network whose output is `scale` times smaller than its input: itself, or its averages.

    Raises
    ------
    InputError
        Its own output is coarser than that, or does not divide by it.
    """
    own = model.config.scale
    if own == scale:
        return model
    if scale % own:
        raise InputError(
            f"The network's output is {own} times smaller than its input; {scale} is needed.",
            "Use a network whose output is finer: one encoder more than decoders.",
        )
    return Pooled(model, scale)


class Ensemble:
    """Networks on a device, called with batches of one size; the mean of their probabilities.

    Parameters
    ----------
    members : sequence of Member
        All of one output scale.
    device : str
        PyTorch's name.
    dtype : torch.dtype
        Type to compute in.
    batch_size : int
        Tiles at once; 0: one on the CPU, as many as fit on a GPU. Halved where memory does not suffice.
    compiled : bool
        Whether torch.compile makes the networks faster first.
    symmetries : int
        1, or 8 for the mean over the symmetries of the square.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch_size: int = 0,
        compiled: bool = False,
        symmetries: int = 1,
    ) -> None:
        self.recipes: list[Recipe] = []
        """Those of the members, each once."""
        for member in members:
            if member.recipe not in self.recipes:
                self.recipes.append(member.recipe)
        self.scale, self.multiple_px = _common_sizes(members)
        self.device, self.batch_size, self.symmetries = device, batch_size, symmetries
        self._recipe_of = [self.recipes.index(member.recipe) for member in members]
        self._models = [_prepared(member.model, device, dtype, compiled) for member in members]

    def settle_batch_size(self, tile: tuple[int, int], tiles: int) -> None:
        """Find how many tiles fit at once, unless a number was given; never more than there are.

        Parameters
        ----------
        tile : (rows, columns)
            Size of a tile.
        tiles : int
            How many there are.
        """
        if self.batch_size == 0:
            self.batch_size = self._that_fit(tile) if self.device.startswith("cuda") else 1
        self.batch_size = max(1, min(self.batch_size, tiles))

    def start(self, channels: Sequence[Sequence[Float32Array]]) -> list[Tensor]:
        """Start the networks on some tiles; a GPU goes on computing after this returns.

        Parameters
        ----------
        channels : sequence of tiles, each a sequence over `recipes` of (channel, y, x) float32
            At most `batch_size`; the last tile is repeated up to it, so that shapes stay fixed.

        Returns
        -------
        list of Tensor
            Parts (tiles, 1, y / scale, x / scale) float32 on the device, one after the other all tiles given.

        Raises
        ------
        OutOfMemory
            Not even one tile fits the device's memory.
        """
        size = self.batch_size
        parts: list[Tensor] = []
        first = 0
        while first < len(channels):
            some = channels[first : first + size]
            try:
                parts.append(self._mean([*some, *[some[-1]] * (size - len(some))])[: len(some)])
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise OutOfMemory(
                        f"A tile does not fit the memory of {self.device}.",
                        "Set a smaller tile_px, or compute on the CPU (device: cpu).",
                    ) from error
            else:
                first += size
                continue
            # Outside of `except`: the error's traceback keeps the tensors of the failed try alive.
            size = self.batch_size = max(1, size // 2)
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()
        return parts

    @torch.inference_mode()
    def _mean(self, tiles: Sequence[Sequence[Float32Array]]) -> Tensor:
        batches = [self._on_device([tile[index] for tile in tiles]) for index in range(len(self.recipes))]
        total: Tensor | None = None
        for symmetry in range(self.symmetries):
            turned = [
                turn_channels(batch, recipe, symmetry) for batch, recipe in zip(batches, self.recipes, strict=True)
            ]
            for model, index in zip(self._models, self._recipe_of, strict=True):
                image = turned[index].to(next(model.parameters(), turned[index]).dtype)
                output = turn_back(model(image).float(), symmetry)
                total = output if total is None else total + output
        assert total is not None
        return total / (self.symmetries * len(self._models)) if self.symmetries * len(self._models) > 1 else total

    def _on_device(self, channels: Sequence[Float32Array]) -> Tensor:
        batch = torch.from_numpy(np.stack(channels))
        if self.device.startswith("cuda"):
            batch = batch.pin_memory()
        on_device = batch.to(self.device, non_blocking=True)
        return on_device.contiguous(memory_format=torch.channels_last)

    def _that_fit(self, tile: tuple[int, int]) -> int:
        """As many tiles as a share of the free memory holds, from what one and two of them take; a power of two."""
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
        fit = int(free * _MEMORY_SHARE // max(1, peaks[1] - peaks[0]))
        return min(_MOST_AT_ONCE, 1 << max(0, fit.bit_length() - 1))


def turn_channels(channels: Tensor, recipe: Recipe, symmetry: int) -> Tensor:
    """Return the channels of the turned terrain, from those of the terrain.

    Every channel turns like the map; the two derivatives are a vector, which turns as well: mirrored left and right the
    terrain rises to the east where it rose to the west.

    Parameters
    ----------
    channels : (batch, channel, y, x)
        As the recipe makes them.
    recipe : Recipe
        Says which channels are derivatives.
    symmetry : int
        0 to 7: the low two bits are quarter turns against the clock, the third mirrors left and right after them.

    Raises
    ------
    InputError
        The recipe has one derivative without the other, or scales them so that they cannot change places.
    """
    if symmetry == 0:
        return channels
    turned = torch.rot90(channels, symmetry & 3, dims=(-2, -1))
    turned = turned.flip(-1) if symmetry & 4 else turned
    vector = _derivatives(recipe)
    if vector is None:
        return turned
    x, y = vector
    turned = turned.clone()
    east, south = turned[:, x].clone(), turned[:, y] * recipe.dy_sign
    for _ in range(symmetry & 3):
        east, south = south, -east
    turned[:, x] = -east if symmetry & 4 else east
    turned[:, y] = south * recipe.dy_sign
    return turned


def turn_back(output: Tensor, symmetry: int) -> Tensor:
    """Undo the symmetry on a map (batch, channel, y, x) that was made from turned channels."""
    output = output.flip(-1) if symmetry & 4 else output
    return torch.rot90(output, -(symmetry & 3), dims=(-2, -1))


def _derivatives(recipe: Recipe) -> tuple[int, int] | None:
    """Positions of dE/dx and dE/dy in a recipe, None where it has neither."""
    of_quantity = {
        name: [number for number, channel in enumerate(recipe.channels) if channel.quantity == name]
        for name in ("dE/dx", "dE/dy")
    }
    found = [*of_quantity["dE/dx"], *of_quantity["dE/dy"]]
    if not found:
        return None
    scalings = {recipe.channels[number].scaling for number in found}
    scaling = next(iter(scalings))
    even = (scaling.low is None) == (scaling.high is None) and (scaling.low or 0) == -(scaling.high or 0)
    lopsided = scaling.offset != 0 or scaling.levels or not even
    if any(len(numbers) != 1 for numbers in of_quantity.values()) or len(scalings) != 1 or lopsided:
        raise InputError(
            f"The derivatives in the channel recipe {recipe.name!r} cannot be turned: it takes both, scaled alike.",
            "Leave test-time augmentation off with this checkpoint.",
        )
    return found[0], found[1]


def check_symmetries(recipes: Sequence[Recipe]) -> None:
    """Refuse recipes whose channels cannot be turned, with an InputError."""
    for recipe in recipes:
        _derivatives(recipe)


def _prepared(model: Network, device: str, dtype: torch.dtype, compiled: bool) -> torch.nn.Module:
    if dtype != torch.float32:
        # The caller's network stays as it is.
        model = copy.deepcopy(model).lower_precision(dtype)
    model = model.to(device)
    if compiled:
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]
    return model


def _common_sizes(members: Sequence[Member]) -> tuple[int, int]:
    """Scale of the output and what the sides of a tile must divide by, for all members."""
    if not members:
        raise InputError("There is no network to predict with.", "Give at least one checkpoint.")
    scales = {member.model.config.scale for member in members}
    if len(scales) > 1:
        raise InputError(
            f"The outputs of the networks are {', '.join(f'{scale}' for scale in sorted(scales))} times smaller "
            "than their inputs.",
            "Use checkpoints of one scale together.",
        )
    return scales.pop(), int(np.lcm.reduce([member.model.config.multiple_px for member in members]))
