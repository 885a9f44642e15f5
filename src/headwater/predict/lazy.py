"""A prediction on dask arrays: every tile of the complete raster is one task, and a block blends the tiles it meets.

The tiles are placed on the complete raster as `headwater.predict.pipeline` places them, and blended in the same order:
on the CPU the result is the same bit for bit, whatever the chunks of the input are. A tile reads its own window with
the halo of its channels; it is predicted once and released when the blocks that it reaches are done.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from headwater.core.errors import InputError, WorkError
from headwater.core.sentinel2 import COMPOSITE_NODATA
from headwater.geo.grid import Tile
from headwater.models.channels import Float32Array, make_channels
from headwater.predict.blending import WINDOWS, weighted_mean
from headwater.predict.devices import resolve_dtype, single_threaded
from headwater.predict.ensemble import SYMMETRIES, Ensemble, EnsembleMember, check_symmetries
from headwater.predict.pipeline import Options
from headwater.predict.strips import halo_px, pad_to
from headwater.predict.tiling import Tiling
from headwater.raster.arrays import blocks_to_array

_ONE_NETWORK_AT_A_TIME = threading.Lock()
"""The order of sums in a network depends on its threads: each tile is computed in one, alone in its process."""


def predict_lazily(
    members: Sequence[EnsembleMember], composite: da.Array, elevation: da.Array, options: Options | None = None
) -> da.Array:
    """Return the probability of water as a dask array, equal to that of the complete arrays.

    Parameters
    ----------
    members : sequence of EnsembleMember
        One network, or several whose probabilities are averaged.
    composite : (4, y, x) uint8 dask array
        N, R, G, B; 0 is nodata.
    elevation : (y, x) float32 dask array
        Meters on the same grid; NaN where unknown.
    options : Options, optional
        How to compute; `threads`, `batch_size` and `compile` have no effect here.

    Returns
    -------
    (y / s, x / s) float32 dask array
        0 to 1; NaN where no predicted tile reaches, and where the composite has no data in any pixel of the s x s
        block, s being the networks' scale (2). A block lies between the starts of neighboring tiles.

    Raises
    ------
    InputError
        Sizes, options or networks do not fit.
    """
    options = options or Options()
    if options.window not in WINDOWS:
        raise InputError(f"There is no window {options.window!r}.", f"Use {', '.join(WINDOWS)}.")
    ensemble = Ensemble(
        members,
        device=options.device,
        dtype=resolve_dtype(options.dtype, options.device, [member.model for member in members]),
        batch_size=1,
        symmetries=SYMMETRIES if options.tta else 1,
    )
    if options.tta:
        check_symmetries(ensemble.recipes)
    rows, columns = elevation.shape
    scale = ensemble.scale
    if rows % scale or columns % scale or not rows or not columns:
        raise InputError(
            f"The composite of {rows} x {columns} pixels does not divide by {scale}.", "Cut it to even sides first."
        )
    tiling = Tiling.over(
        (rows, columns), tile_px=options.tile_px, overlap_px=options.overlap_px, multiple=ensemble.multiple_px
    )
    return _Graph(ensemble, tiling, composite, elevation, options).blocks()


class _Graph:
    """The tasks of a prediction."""

    def __init__(
        self, ensemble: Ensemble, tiling: Tiling, composite: da.Array, elevation: da.Array, options: Options
    ) -> None:
        self._tiling, self._scale = tiling, ensemble.scale
        self._composite, self._elevation = composite, elevation
        self._halo = max(halo_px(recipe) for recipe in ensemble.recipes)
        sides = (tiling.tile[0] // self._scale, tiling.tile[1] // self._scale)
        overlap = options.overlap_px // self._scale
        self._weights = delayed(WINDOWS[options.window], pure=True)(sides, (overlap, overlap))
        # Named here: dask would hash the weights of the networks.
        self._ensemble = delayed(ensemble, name=f"networks-{uuid4().hex}", traverse=False)
        self._tiles: dict[tuple[int, int], Any] = {}

    def blocks(self) -> da.Array:
        """Return the blocks between the starts of tiles as one array."""
        scale, shape = self._scale, self._elevation.shape
        heights, widths = (
            [(end - start) // scale for start, end in pairwise([*starts, length])]
            for starts, length in zip((self._tiling.rows, self._tiling.columns), shape, strict=True)
        )
        return blocks_to_array(self._block, (heights, widths), dtype=np.float32)

    def _block(self, window: Tile) -> Any:
        (height, width), scale = self._tiling.tile, self._scale
        rows = slice(window.row * scale, (window.row + window.height) * scale)
        columns = slice(window.column * scale, (window.column + window.width) * scale)
        # In the order of the tiles, which is that of the sums.
        touching = [
            (row, column)
            for row in self._tiling.rows
            if row < rows.stop and row + height > rows.start
            for column in self._tiling.columns
            if column < columns.stop and column + width > columns.start
        ]
        return delayed(_blend)(
            [self._tile(*place) for place in touching],
            touching,
            _Block(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start, scale),
            self._weights,
            self._composite[:, rows, columns],
        )

    def _tile(self, row: int, column: int) -> Any:
        """Return the task of a tile, made once for all blocks that it reaches."""
        if (row, column) not in self._tiles:
            (height, width), halo, (rows, columns) = self._tiling.tile, self._halo, self._elevation.shape
            window = (
                slice(max(0, row - halo), min(rows, row + height + halo)),
                slice(max(0, column - halo), min(columns, column + width + halo)),
            )
            self._tiles[row, column] = delayed(_predict_tile)(
                self._ensemble,
                self._composite[(slice(None), *window)],
                self._elevation[window],
                (row - window[0].start, column - window[1].start),
                self._tiling.tile,
            )
        return self._tiles[row, column]


@dataclass(frozen=True)
class _Block:
    """A block of the result, in pixels of the input."""

    row: int
    column: int
    height: int
    width: int
    scale: int


def _predict_tile(
    ensemble: Ensemble,
    composite: npt.NDArray[np.uint8],
    elevation: Float32Array,
    place: tuple[int, int],
    tile: tuple[int, int],
) -> Float32Array | None:
    """Predict one tile from its window; None where any recipe misses too much."""
    (row, column), (height, width) = place, tile
    # Only a raster smaller than a tile is padded, and then the window is the raster.
    shape = (max(elevation.shape[0], row + height), max(elevation.shape[1], column + width))
    composite, elevation = pad_to(composite, shape), pad_to(elevation, shape)
    if not composite[:, row : row + height, column : column + width].any():
        return None
    channels = []
    for recipe in ensemble.recipes:
        halo = halo_px(recipe)
        top, left = min(halo, row), min(halo, column)
        bottom, right = min(halo, shape[0] - row - height), min(halo, shape[1] - column - width)
        window = (slice(row - top, row + height + bottom), slice(column - left, column + width + right))
        made, missing_fraction = make_channels(
            composite[(slice(None), *window)], elevation[window], recipe, halo_px=(top, bottom, left, right)
        )
        if missing_fraction > recipe.max_missing_fraction or missing_fraction == 1:
            return None
        channels.append(made)
    with _ONE_NETWORK_AT_A_TIME, single_threaded():
        (probabilities,) = ensemble.start([channels])
    probability: Float32Array = probabilities.cpu().numpy()[0, 0]
    if not np.isfinite(probability).all():
        raise WorkError("The network's output is not finite.", "Use dtype float32; if it is that, the weights are bad.")
    return probability


def _blend(
    tiles: Sequence[Float32Array | None],
    places: Sequence[tuple[int, int]],
    block: _Block,
    weights: Float32Array,
    composite: npt.NDArray[np.uint8],
) -> Float32Array:
    """Return the weighted mean of tiles over a block, NaN where it has no data."""
    scale = block.scale
    height, width = block.height // scale, block.width // scale
    total, weight = np.zeros((2, height, width), dtype=np.float32)
    for probability, (row, column) in zip(tiles, places, strict=True):
        if probability is None:
            continue
        # Where the block's first pixel is in the tile, and what the two share.
        top, left = (block.row - row) // scale, (block.column - column) // scale
        rows = slice(max(0, top), min(len(probability), top + height))
        columns = slice(max(0, left), min(probability.shape[1], left + width))
        there = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        total[there] += weights[rows, columns] * probability[rows, columns]
        weight[there] += weights[rows, columns]
    mean, reached = weighted_mean(total, weight)
    has_data = (composite != COMPOSITE_NODATA).any(axis=0)
    has_data = has_data.reshape(height, scale, width, scale).any(axis=(1, 3))
    return np.where(reached & has_data, mean, np.float32(np.nan))
