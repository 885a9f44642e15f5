"""Tiles in, blended probability out: a network run over a whole composite. Arrays only, no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from headwater.bands import COMPOSITE_NODATA
from headwater.channels import Float32Array, Recipe, make_channels
from headwater.errors import InputError
from headwater.grid import TILE_PX, tiles
from headwater.models.network import Network

OVERLAP_PX = 208
"""Least overlap of neighbouring tiles on the 10 m grid."""
THREADS = 1
"""Threads of a network on the CPU. The order of its sums, and so the last bits of a probability, depends on their
number: it is a setting, never the number of cores at hand, and more cores run more cells side by side."""

BoolArray = npt.NDArray[np.bool_]
_T = TypeVar("_T", bound=np.generic)


def predict_probability(
    model: Network,
    recipe: Recipe,
    composite: npt.NDArray[np.uint8],
    elevation: Float32Array,
    *,
    tile_px: int = TILE_PX,
    overlap_px: int = OVERLAP_PX,
    device: str = "cpu",
    batch_size: int = 1,
    threads: int = THREADS,
) -> tuple[Float32Array, BoolArray]:
    """Run a network over overlapping tiles and blend them.

    Every tile weighs most at its centre (`blend_weights`); the result is the weighted mean. The last tiles clamp
    inward; a raster smaller than a tile is one tile of its own size, reflected to what the network divides by. A tile
    with too much missing (the recipe's `max_missing_share`) is left out.

    Parameters
    ----------
    model : Network
        In evaluation mode.
    recipe : Recipe
        The channels it was trained with.
    composite : (4, y, x) uint8
        N, R, G, B at 10 m; 0 is nodata.
    elevation : (y, x) float32
        Metres on the same grid; NaN where unknown.
    tile_px, overlap_px : int
        Side of a tile and least overlap, even numbers of 10 m pixels.
    device : str
        PyTorch's name of where to compute.
    batch_size : int
        Tiles computed together; changes the last bits of the result only.
    threads : int
        Threads on the CPU, see `THREADS`.

    Returns
    -------
    probability : (y / s, x / s) float32
        0 to 1, s being the model's scale (2); 0 where not valid.
    valid : (y / s, x / s) bool
        False where no predicted tile reaches, and where the composite has no data in any pixel of the s x s block.
    """
    scale = model.config.scale
    height, width = elevation.shape
    if height % scale or width % scale or not height or not width:
        raise InputError(
            f"The composite of {height} x {width} pixels does not divide by {scale}.", "Cut it to even sides first."
        )
    tiling = _Tiling.over((height, width), tile_px=tile_px, overlap_px=overlap_px, multiple=model.config.multiple_px)
    padded_composite = _pad(composite, tiling.padded)
    padded_elevation = _pad(elevation, tiling.padded)

    out_shape = (tiling.padded[0] // scale, tiling.padded[1] // scale)
    weighted_sum = np.zeros(out_shape, dtype=np.float32)
    weight_sum = np.zeros(out_shape, dtype=np.float32)
    weights = blend_weights((tiling.tile[0] // scale, tiling.tile[1] // scale))
    model = model.to(device)
    with _threads(threads), torch.inference_mode():
        for starts, batch in _batches(tiling, padded_composite, padded_elevation, recipe, batch_size):
            outputs = model(torch.from_numpy(batch).to(device)).float().cpu().numpy()
            for (row, column), output in zip(starts, outputs, strict=True):
                rows = slice(row // scale, row // scale + weights.shape[0])
                columns = slice(column // scale, column // scale + weights.shape[1])
                weighted_sum[rows, columns] += weights * output[0]
                weight_sum[rows, columns] += weights

    weighted_sum = weighted_sum[: height // scale, : width // scale]
    weight_sum = weight_sum[: height // scale, : width // scale]
    valid = (weight_sum > 0) & _any_in_block((composite != COMPOSITE_NODATA).any(axis=0), scale)
    probability = np.zeros(valid.shape, dtype=np.float32)
    np.divide(weighted_sum, weight_sum, out=probability, where=valid)
    return np.minimum(probability, np.float32(1)), valid


def blend_weights(shape: tuple[int, int]) -> Float32Array:
    """Return weights that fall from the centre of a tile but never vanish: 1 / (1 + d).

    d is the 10-norm distance to the centre in pixels, close to the larger of the two offsets (the release of Pierson
    and Mehrabi 2024).

    Parameters
    ----------
    shape : (rows, columns)
        Size of the tile.

    Returns
    -------
    (rows, columns) float32, 0 < weight <= 1
    """
    rows, columns = (np.abs(np.arange(length) - (length - 1) / 2) for length in shape)
    distance = (rows[:, None] ** 10 + columns[None, :] ** 10) ** 0.1
    weights: Float32Array = (1 / (1 + distance)).astype(np.float32)
    return weights


def quantise(probability: Float32Array) -> npt.NDArray[np.uint8]:
    """Return probabilities as uint8, p * 255 rounded to the nearest."""
    quantised: npt.NDArray[np.uint8] = np.rint(probability * np.float32(255)).astype(np.uint8)
    return quantised


def resolve_device(device: str) -> str:
    """Return the device to compute on: "auto" is the first GPU where there is one, else the CPU.

    Raises
    ------
    InputError
        The device does not exist on this machine.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"There is no device {device!r} on this machine.", "Use auto, cpu or cuda.") from error
    return device


@dataclass(frozen=True)
class _Tiling:
    tile: tuple[int, int]
    """Rows and columns of every tile."""
    padded: tuple[int, int]
    """Rows and columns of the raster after padding."""
    starts: tuple[tuple[int, int], ...]
    """First row and column of each tile."""

    @staticmethod
    def over(shape: tuple[int, int], *, tile_px: int, overlap_px: int, multiple: int) -> _Tiling:
        """Lay tiles over a raster."""
        if tile_px < 2 * multiple or tile_px % multiple:
            raise InputError(
                f"A tile of {tile_px} px does not suit a network that halves {multiple.bit_length() - 1} times.",
                f"Use a multiple of {multiple} px, at least {2 * multiple}.",
            )
        sides, padded, starts = [], [], []
        for length in shape:
            # Two pixels at the deepest level at least: the variance of one is not defined.
            small = max(2, -(-length // multiple)) * multiple
            side = min(tile_px, small)
            size = max(length, side)
            sides.append(side)
            padded.append(size)
            # One axis at a time: tiles over a strip as wide as a tile.
            strip = tiles((size, side), tile_px=side, overlap_px=min(overlap_px, side - 2))
            starts.append([tile.row for tile in strip])
        pairs = tuple((row, column) for row in starts[0] for column in starts[1])
        return _Tiling(tile=(sides[0], sides[1]), padded=(padded[0], padded[1]), starts=pairs)


def _batches(
    tiling: _Tiling, composite: npt.NDArray[np.uint8], elevation: Float32Array, recipe: Recipe, batch_size: int
) -> Iterator[tuple[Sequence[tuple[int, int]], Float32Array]]:
    """Yield first pixels and channels (batch, 10, y, x) of the tiles that have enough data, in order."""
    starts: list[tuple[int, int]] = []
    channels: list[Float32Array] = []
    for row, column in tiling.starts:
        window = (slice(row, row + tiling.tile[0]), slice(column, column + tiling.tile[1]))
        tile_composite = composite[(slice(None), *window)]
        if not tile_composite.any():
            continue
        made, missing_share = make_channels(tile_composite, elevation[window], recipe)
        if missing_share > recipe.max_missing_share or missing_share == 1:
            continue
        starts.append((row, column))
        channels.append(made)
        if len(starts) == batch_size:
            yield starts, np.stack(channels)
            starts, channels = [], []
    if starts:
        yield starts, np.stack(channels)


def _pad(array: npt.NDArray[_T], shape: tuple[int, int]) -> npt.NDArray[_T]:
    """Reflect an array (..., y, x) down and to the right until its last two axes have `shape`."""
    missing = [wanted - have for wanted, have in zip(shape, array.shape[-2:], strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, more) for more in missing], mode="reflect")


def _any_in_block(mask: BoolArray, scale: int) -> BoolArray:
    height, width = mask.shape
    return np.asarray(mask.reshape(height // scale, scale, width // scale, scale).any(axis=(1, 3)))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
