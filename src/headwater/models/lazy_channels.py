"""The channels of a recipe on dask arrays, block by block, equal to those of the complete arrays."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from headwater.core.elevations import is_elevation
from headwater.core.errors import InputError
from headwater.geo.grid import Tile
from headwater.models.channels import Channel, Float32Array, Recipe, make_channels
from headwater.models.features import ELEVATION
from headwater.raster.arrays import blocks_to_array


def lazy_channels(composite: da.Array, elevation: da.Array, recipe: Recipe) -> da.Array:
    """Return the channels of a recipe as a dask array; missing pixels are NaN.

    A block is computed with the pixels around it that its channels see. The lowest and the highest elevation, for
    channels that depend on them, are those of the complete array. Channels that see everything upstream (TWI, upslope
    area) are computed in one block.

    Parameters
    ----------
    composite : (4, y, x) uint8 dask array
        N, R, G, B; 0 is nodata. Its blocks of rows and columns become those of the result.
    elevation : (y, x) float32 dask array
        Meters on the same grid; NaN where unknown.
    recipe : Recipe
        Channels, their order, signs and constants.

    Returns
    -------
    (channel, y, x) float32 dask array
    """
    if composite.shape[1:] != elevation.shape:
        raise InputError(
            f"The composite has {composite.shape[1:]} pixels and the elevation {elevation.shape}.",
            "Give both on the same grid.",
        )
    extremes = delayed(_extremes)(delayed(_stacked_extremes)(_block_extremes(elevation)))
    made = [_lazy_channel(composite, elevation, extremes, recipe, channel) for channel in recipe.channels]
    stacked: da.Array = da.concatenate(made)
    return stacked


def _lazy_channel(
    composite: da.Array, elevation: da.Array, extremes: Any, recipe: Recipe, channel: Channel
) -> da.Array:
    """Return one channel (1, y, x)."""
    sources = channel.definition.sources
    alone = replace(recipe, channels=(channel,))
    rows, columns = elevation.shape
    one_block = math.isinf(alone.support_px)
    halo = 0 if one_block else math.ceil(alone.support_px)

    def make(block: Tile) -> Any:
        top, left = min(halo, block.row), min(halo, block.column)
        bottom = min(halo, rows - block.row - block.height)
        right = min(halo, columns - block.column - block.width)
        window = (
            slice(block.row - top, block.row + block.height + bottom),
            slice(block.column - left, block.column + block.width + right),
        )
        return delayed(_channel_block)(
            None if sources == (ELEVATION,) else composite[(slice(None), *window)],
            elevation[window] if ELEVATION in sources else None,
            alone,
            (top, bottom, left, right),
            extremes if alone.reads_entire_tile else None,
        )

    chunks = ((rows,), (columns,)) if one_block else (composite.chunks[1], composite.chunks[2])
    return blocks_to_array(make, chunks, dtype=np.float32, leading=(1,))


def _channel_block(
    composite: npt.NDArray[np.uint8] | None,
    elevation: Float32Array | None,
    recipe: Recipe,
    halo_px: tuple[int, int, int, int],
    extremes: tuple[np.float32, np.float32] | None,
) -> Float32Array:
    """Return one channel (1, y, x) of a block without its halo."""
    if extremes is None or elevation is None:
        return make_channels(composite, elevation, recipe, halo_px=halo_px, fill=False)[0]
    # A channel that depends on the extremes sees no neighbors (its support is 0): two rows more, which hold the lowest
    # and the highest elevation of the complete array, make a block know them.
    rows = np.repeat(np.array(extremes, dtype=np.float32)[:, None], elevation.shape[1], axis=1)
    taller = np.concatenate([elevation, rows])
    if composite is not None:
        composite = np.concatenate([composite, composite[:, :1], composite[:, :1]], axis=1)
    return make_channels(composite, taller, recipe, halo_px=halo_px, fill=False)[0][:, :-2]


def _block_extremes(elevation: da.Array) -> list[Any]:
    return [delayed(_low_and_high)(block) for block in elevation.to_delayed().ravel()]


def _low_and_high(elevation: Float32Array) -> Float32Array:
    known = elevation[is_elevation(elevation)]
    return np.array([known.min(), known.max()] if known.size else [np.nan, np.nan], dtype=np.float32)


def _stacked_extremes(parts: list[Float32Array]) -> Float32Array:
    return np.stack(parts)


def _extremes(parts: Float32Array) -> tuple[np.float32, np.float32]:
    """Return the lowest and the highest known elevation, NaN where none is known."""
    known = parts[np.isfinite(parts[:, 0])]
    return (known[:, 0].min(), known[:, 1].max()) if len(known) else (np.float32(np.nan), np.float32(np.nan))
