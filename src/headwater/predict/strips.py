"""Strips of a cell: rows are read once, from north to south, cut into tiles, and each tile is made into channels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from headwater.core.sentinel2 import COMPOSITE_NODATA
from headwater.models.channels import Float32Array, Recipe, make_channels
from headwater.predict.tiling import Tiling

MAX_HALO_PX = 256
"""Channels with a larger support (`Recipe.support_px`) see only this far around a tile."""

BoolArray = npt.NDArray[np.bool_]
Read = Callable[[int, int], tuple[npt.NDArray[np.uint8], Float32Array]]
_S = TypeVar("_S", bound=np.generic)


@dataclass(frozen=True)
class Strip:
    """Rows of the cell that one row of tiles reads, including its halo."""

    number: int
    """Number of the row of tiles."""
    first_row: int
    """Row of the cell at which the arrays start."""
    composite: npt.NDArray[np.uint8]
    """(4, y, x), 0 is nodata."""
    elevation: Float32Array
    """(y, x) meters, NaN where unknown."""
    has_data: BoolArray
    """(y / s, x / s) at the output's scale s, from the first row of these tiles to that of the next."""


@dataclass(frozen=True)
class TileChannels:
    """A tile to predict."""

    number: int
    """Number among all tiles, row by row, including those that are skipped."""
    row: int
    """First row in the cell."""
    column: int
    """First column in the cell."""
    channels: Sequence[Float32Array]
    """(channel, y, x) for each recipe."""


def read_strips(read: Read, tiling: Tiling, shape: tuple[int, int], *, halo_px: int, scale: int) -> Iterator[Strip]:
    """Yield the strip of each row of tiles, from north to south; rows that two strips share are read once.

    Parameters
    ----------
    read : callable
        Takes the first and last row (exclusive); returns composite (4, y, x) uint8 and elevation (y, x) float32.
    tiling : Tiling
        Positions of the tiles.
    shape : (rows, columns)
        Size of the cell.
    halo_px : int
        Rows read above and below the tiles, where the cell has them.
    scale : int
        How many times smaller than the input the output is.
    """
    height = shape[0]
    rows = _RowReader(read)
    for number, row in enumerate(tiling.rows):
        first, end = max(0, row - halo_px), min(height, row + tiling.tile[0] + halo_px)
        composite, elevation = rows.read(first, end)
        next_row = tiling.rows[number + 1] if number + 1 < len(tiling.rows) else height
        has_data = (composite[:, row - first : next_row - first] != COMPOSITE_NODATA).any(axis=0)
        # Only an axis of one tile is padded: where rows are padded, this is the only strip.
        padded = (max(end, tiling.padded[0]) - first if tiling.padded[0] > height else end - first, tiling.padded[1])
        yield Strip(number, first, pad_to(composite, padded), pad_to(elevation, padded), _any_in_block(has_data, scale))


def make_tiles(
    strips: Iterator[Strip], tiling: Tiling, recipes: Sequence[Recipe], pool: ThreadPoolExecutor, *, ahead: int
) -> Iterator[TileChannels]:
    """Make the channels of all tiles in threads, and yield in order the tiles to predict.

    Tiles without an image, and tiles of which a recipe lacks too much (`Recipe.max_missing_fraction`), are skipped.

    Parameters
    ----------
    strips : iterator of Strip
        From north to south.
    tiling : Tiling
        Positions of the tiles.
    recipes : sequence of Recipe
        Each makes the channels of every tile.
    pool : ThreadPoolExecutor
        Threads that make channels.
    ahead : int
        How many tiles are made before they are used.
    """
    pending: deque[Future[TileChannels | None]] = deque()
    for strip in strips:
        for position, column in enumerate(tiling.columns):
            number = strip.number * len(tiling.columns) + position
            pending.append(pool.submit(_make_tile, strip, number, column, tiling, recipes))
            if len(pending) > ahead and (tile := pending.popleft().result()) is not None:
                yield tile
    while pending:
        if (tile := pending.popleft().result()) is not None:
            yield tile


def halo_px(recipe: Recipe) -> int:
    """Return how many pixels around a tile are read for a recipe."""
    return int(min(recipe.support_px, MAX_HALO_PX))


class _RowReader:
    """Reads each row once and keeps the rows that the next strip needs again."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._first = self._end = 0
        self._composite: npt.NDArray[np.uint8] | None = None
        self._elevation: Float32Array | None = None

    def read(self, first: int, end: int) -> tuple[npt.NDArray[np.uint8], Float32Array]:
        """Return the rows from first to end (exclusive); neither may decrease from call to call."""
        composite, elevation = self._read(self._end, end)
        if self._composite is not None and self._elevation is not None:
            kept = slice(first - self._first, None)
            composite = np.concatenate([self._composite[:, kept], composite], axis=1)
            elevation = np.concatenate([self._elevation[kept], elevation])
        self._composite, self._elevation = composite, elevation
        self._first, self._end = first, end
        return composite, elevation


def _make_tile(
    strip: Strip, number: int, column: int, tiling: Tiling, recipes: Sequence[Recipe]
) -> TileChannels | None:
    """Make the channels of one tile by every recipe; None where too much is missing for any of them."""
    row = tiling.rows[strip.number]
    first, (rows, columns) = row - strip.first_row, tiling.tile
    if not strip.composite[:, first : first + rows, column : column + columns].any():
        return None
    channels = []
    for recipe in recipes:
        halo = halo_px(recipe)
        top, left = min(halo, first), min(halo, column)
        bottom = min(halo, strip.elevation.shape[0] - first - rows)
        right = min(halo, strip.elevation.shape[1] - column - columns)
        window = (slice(first - top, first + rows + bottom), slice(column - left, column + columns + right))
        made, missing_fraction = make_channels(
            strip.composite[(slice(None), *window)],
            strip.elevation[window],
            recipe,
            halo_px=(top, bottom, left, right),
        )
        if missing_fraction > recipe.max_missing_fraction or missing_fraction == 1:
            return None
        channels.append(made)
    return TileChannels(number, row, column, channels)


def pad_to(array: npt.NDArray[_S], shape: tuple[int, int]) -> npt.NDArray[_S]:
    """Reflect an array (..., y, x) down and to the right until its last two axes have `shape`."""
    missing = [target - size for target, size in zip(shape, array.shape[-2:], strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, more) for more in missing], mode="reflect")


def _any_in_block(mask: BoolArray, scale: int) -> BoolArray:
    height, width = mask.shape
    return np.asarray(mask.reshape(height // scale, scale, width // scale, scale).any(axis=(1, 3)))
