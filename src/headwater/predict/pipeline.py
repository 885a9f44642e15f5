"""Prediction of a cell of any size in bounded memory: read, channels, networks and writing run beside one another.

A thread reads strips of the cell, as high as a tile and its halo; each pixel is read once. Threads make the channels of
its tiles, the networks run on batches of fixed shape, tiles are blended in their order into a band as high as a tile,
and what no later tile reaches is written by another thread. So the result knows nothing of how many threads there were,
and memory grows with the width of the cell, not with its height.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headwater.core.errors import InputError, WorkError
from headwater.core.sentinel2 import COMPOSITE_NODATA
from headwater.geo.grid import TILE_PX
from headwater.models.channels import Float32Array, Recipe, make_channels
from headwater.predict.blending import WINDOWS, BlendingBand
from headwater.predict.devices import THREADS, resolve_dtype, single_threaded
from headwater.predict.ensemble import SYMMETRIES, Ensemble, Member, check_symmetries
from headwater.predict.tiling import OVERLAP_PX, Tiling

MOST_HALO_PX = 256
"""Channels that look farther around a tile see only so far."""
GPU_MAKERS = 8
"""Threads that make channels for a GPU, which is faster than one of them."""

BoolArray = npt.NDArray[np.bool_]
Read = Callable[[int, int], tuple[npt.NDArray[np.uint8], Float32Array]]
Write = Callable[[int, Float32Array, BoolArray], None]
_T = TypeVar("_T")
_S = TypeVar("_S", bound=np.generic)


@dataclass(frozen=True)
class Options:
    """How a prediction is computed."""

    tile_px: int = TILE_PX
    """Side of a tile in 10 m pixels; even."""
    overlap_px: int = OVERLAP_PX
    """Least overlap of neighbouring tiles in 10 m pixels."""
    device: str = "cpu"
    """PyTorch's name of where to compute."""
    dtype: str = "float32"
    """auto, float32, bf16 or fp16: what the networks compute in."""
    compile: bool = False
    """Whether torch.compile makes the networks faster first."""
    batch_size: int = 0
    """Tiles computed together; 0: one on the CPU, as many as fit on a GPU. Changes the last bits only."""
    threads: int = THREADS
    """On the CPU, batches computed side by side; changes nothing in the result."""
    tta: bool = False
    """Whether the mean over the eight symmetries of the square is taken."""
    window: str = "smooth"
    """Weights of a tile, see `headwater.predict.WINDOWS`."""


def predict_bands(
    members: Sequence[Member], shape: tuple[int, int], read: Read, write: Write, options: Options | None = None
) -> None:
    """Run networks over overlapping tiles of a cell and blend them, band by band.

    The last tiles clamp inward; a raster smaller than a tile is one tile of its own size, reflected to what the
    networks divide by. A tile with too much missing (`max_missing_share` of any recipe) is left out.

    Parameters
    ----------
    members : sequence of Member
        One network, or several whose probabilities are averaged.
    shape : (rows, columns)
        Size of the cell in 10 m pixels.
    read : callable
        Takes first and last row (exclusive) and returns of these rows, whole, the composite (4, y, x) uint8 N, R, G, B
        with 0 as nodata and the elevation (y, x) float32 in metres, NaN where unknown. Called in one thread, each row
        once, from north to south.
    write : callable
        Takes the first row of a band, its probabilities (y / s, x / s) float32, 0 where not valid, and what is valid
        (y / s, x / s) bool: False where no predicted tile reaches, and where the composite has no data in any pixel of
        the s x s block, s being the networks' scale (2). Called in one thread, from north to south.
    options : Options, optional
        How to compute.

    Raises
    ------
    InputError
        Sizes, options or networks do not fit.
    WorkError
        A tile does not fit the device's memory, or a network's output is not finite.
    """
    options = options or Options()
    if options.window not in WINDOWS:
        raise InputError(f"There is no window {options.window!r}.", f"Use {', '.join(WINDOWS)}.")
    if options.threads < 1 or options.batch_size < 0:
        raise InputError("Threads and batch size of a prediction are too small.", "Use 1 thread and batch size 0.")
    ensemble = Ensemble(
        members,
        device=options.device,
        dtype=resolve_dtype(options.dtype, options.device, [member.model for member in members]),
        batch_size=options.batch_size,
        compiled=options.compile,
        symmetries=SYMMETRIES if options.tta else 1,
    )
    if options.tta:
        check_symmetries(ensemble.recipes)
    if shape[0] % ensemble.scale or shape[1] % ensemble.scale or not shape[0] or not shape[1]:
        raise InputError(
            f"The composite of {shape[0]} x {shape[1]} pixels does not divide by {ensemble.scale}.",
            "Cut it to even sides first.",
        )
    tiling = Tiling.over(shape, tile_px=options.tile_px, overlap_px=options.overlap_px, multiple=ensemble.multiple_px)
    _run(ensemble, tiling, shape, read, write, options)


def predict_arrays(
    members: Sequence[Member], composite: npt.NDArray[np.uint8], elevation: Float32Array, options: Options | None = None
) -> tuple[Float32Array, BoolArray]:
    """Predict from arrays in memory, to arrays; see `predict_bands`.

    Parameters
    ----------
    members : sequence of Member
        One network, or several whose probabilities are averaged.
    composite : (4, y, x) uint8
        N, R, G, B at 10 m; 0 is nodata.
    elevation : (y, x) float32
        Metres on the same grid; NaN where unknown.
    options : Options, optional
        How to compute.

    Returns
    -------
    probability : (y / s, x / s) float32
        0 to 1, s being the networks' scale (2); 0 where not valid.
    valid : (y / s, x / s) bool
        False where no predicted tile reaches, and where the composite has no data in any pixel of the s x s block.
    """
    if not members:
        raise InputError("There is no network to predict with.", "Give at least one checkpoint.")
    scale = members[0].model.config.scale
    height, width = elevation.shape
    probability = np.zeros((height // scale, width // scale), dtype=np.float32)
    valid = np.zeros(probability.shape, dtype=bool)

    def read(first: int, end: int) -> tuple[npt.NDArray[np.uint8], Float32Array]:
        return composite[:, first:end], elevation[first:end]

    def write(row: int, values: Float32Array, known: BoolArray) -> None:
        probability[row : row + len(values)], valid[row : row + len(known)] = values, known

    predict_bands(members, (height, width), read, write, options)
    return probability, valid


def _run(
    ensemble: Ensemble, tiling: Tiling, shape: tuple[int, int], read: Read, write: Write, options: Options
) -> None:
    """Read, make, compute, blend and write, each in its threads; this one blends."""
    on_gpu = options.device.startswith("cuda")
    computing = 1 if on_gpu else options.threads
    with single_threaded(), ExitStack() as stack:

        def pool(threads: int) -> ThreadPoolExecutor:
            executor = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
            stack.callback(executor.shutdown, wait=True, cancel_futures=True)
            return executor

        reading, making, networks, writing = pool(1), pool(GPU_MAKERS if on_gpu else 1), pool(computing), pool(1)
        ensemble.settle_batch_size(tiling.tile, len(tiling.rows) * len(tiling.columns))
        strips = _ahead(_strips(tiling, shape, ensemble, read), reading)
        blender = _Blender(ensemble.scale, tiling, shape, write, writing, options)
        ahead = 2 * ensemble.batch_size + (GPU_MAKERS if on_gpu else computing)
        batch: list[_Made] = []
        running: deque[tuple[list[_Made], Future[list[Tensor]]]] = deque()

        def start() -> None:
            channels = [made.channels for made in batch]
            running.append((batch.copy(), networks.submit(ensemble.start, channels)))
            batch.clear()

        for made in _made(strips, tiling, ensemble.recipes, making, ahead, blender):
            batch.append(made)
            if len(batch) >= ensemble.batch_size:
                start()
            while len(running) > computing + 1:
                blender.add(*running.popleft())
        if batch:
            start()
        while running:
            blender.add(*running.popleft())
        blender.finish()


@dataclass(frozen=True)
class _Strip:
    """Rows of the cell that a row of tiles reads, with its halo."""

    number: int
    """Of the row of tiles."""
    first_row: int
    composite: npt.NDArray[np.uint8]
    elevation: Float32Array
    has_data: BoolArray
    """By pixels of the output, from the first row of these tiles to that of the next."""


@dataclass(frozen=True)
class _Made:
    """A tile to be predicted."""

    number: int
    """In the order of all tiles, left out or not."""
    row: int
    column: int
    channels: Sequence[Float32Array]
    """Of each recipe."""


class _Blender:
    """Puts predicted tiles into the band in their order, and hands on what is finished."""

    def __init__(
        self,
        scale: int,
        tiling: Tiling,
        shape: tuple[int, int],
        write: Write,
        writing: ThreadPoolExecutor,
        options: Options,
    ) -> None:
        sides = (tiling.tile[0] // scale, tiling.tile[1] // scale)
        overlap = options.overlap_px // scale
        weights = WINDOWS[options.window](sides, (overlap, overlap))
        self._band = BlendingBand(weights, tiling.padded[1] // scale)
        self._scale, self._tiling, self._shape = scale, tiling, shape
        self._write, self._writing, self._dtype = write, writing, options.dtype
        self._written: Future[None] | None = None
        self._has_data: deque[BoolArray] = deque()
        self._row = 0

    def expect(self, strip: _Strip) -> None:
        """Remember where a row of tiles has data."""
        self._has_data.append(strip.has_data)

    def add(self, tiles: list[_Made], outputs: Future[list[Tensor]]) -> None:
        """Blend a batch."""
        probabilities = [part.cpu().numpy() for part in outputs.result()]
        for made, probability in zip(tiles, (tile for part in probabilities for tile in part), strict=True):
            if not np.isfinite(probability).all():
                raise WorkError(
                    f"The network's output is not finite in {self._dtype}.",
                    "Set dtype to float32 (predict.dtype); if it is that, the weights are damaged.",
                )
            self._finish_rows(made.number // len(self._tiling.columns))
            self._band.add(made.row // self._scale, made.column // self._scale, probability[0])

    def finish(self) -> None:
        """Write what is left."""
        self._finish_rows(len(self._tiling.rows))
        self._wait()

    def _finish_rows(self, until: int) -> None:
        """Write the rows of the map that only rows of tiles before this one reach."""
        while self._row < until:
            first = self._tiling.rows[self._row] // self._scale
            self._row += 1
            last_row = self._row == len(self._tiling.rows)
            end = (self._tiling.padded[0] if last_row else self._tiling.rows[self._row]) // self._scale
            probability, reached = self._band.take(end)
            height, width = self._shape[0] // self._scale, self._shape[1] // self._scale
            probability, reached = probability[: height - first, :width], reached[: height - first, :width]
            valid = reached & self._has_data.popleft()
            probability[~valid] = 0
            # One band waits at most: a slow disk slows the rest down instead of filling the memory.
            self._wait()
            self._written = self._writing.submit(self._write, first, probability, valid)

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()


def _strips(tiling: Tiling, shape: tuple[int, int], ensemble: Ensemble, read: Read) -> Iterator[_Strip]:
    """Read the strips of the rows of tiles; rows of two strips are read once."""
    halo = max(_halo_px(recipe) for recipe in ensemble.recipes)
    height, scale = shape[0], ensemble.scale
    first = end = 0
    composite: npt.NDArray[np.uint8] | None = None
    elevation: Float32Array | None = None
    for number, row in enumerate(tiling.rows):
        wanted = (max(0, row - halo), min(height, row + tiling.tile[0] + halo))
        new_composite, new_elevation = read(end, wanted[1])
        if composite is None or elevation is None:
            composite, elevation = new_composite, new_elevation
        else:
            kept = slice(wanted[0] - first, None)
            composite = np.concatenate([composite[:, kept], new_composite], axis=1)
            elevation = np.concatenate([elevation[kept], new_elevation])
        first, end = wanted
        until = tiling.rows[number + 1] if number + 1 < len(tiling.rows) else height
        has_data = (composite[:, row - first : until - first] != COMPOSITE_NODATA).any(axis=0)
        # Padding is for an axis of one tile: where rows are padded, this is the only strip.
        padded = (max(end, tiling.padded[0]) - first if tiling.padded[0] > height else end - first, tiling.padded[1])
        yield _Strip(number, first, _pad(composite, padded), _pad(elevation, padded), _any_in_block(has_data, scale))


def _made(
    strips: Iterator[_Strip],
    tiling: Tiling,
    recipes: Sequence[Recipe],
    making: ThreadPoolExecutor,
    ahead: int,
    blender: _Blender,
) -> Iterator[_Made]:
    """Make the channels of all tiles, some ahead of their use, and yield those that are to be predicted in order."""
    pending: deque[Future[_Made | None]] = deque()
    for strip in strips:
        blender.expect(strip)
        for position, column in enumerate(tiling.columns):
            number = strip.number * len(tiling.columns) + position
            pending.append(making.submit(_make_tile, strip, number, column, tiling, recipes))
            if len(pending) > ahead:
                yield from _only_made(pending.popleft())
    while pending:
        yield from _only_made(pending.popleft())


def _only_made(tile: Future[_Made | None]) -> Iterator[_Made]:
    made = tile.result()
    if made is not None:
        yield made


def _make_tile(strip: _Strip, number: int, column: int, tiling: Tiling, recipes: Sequence[Recipe]) -> _Made | None:
    """Make the channels of one tile by every recipe; None where any of them misses too much."""
    row = tiling.rows[strip.number]
    first, (rows, columns) = row - strip.first_row, tiling.tile
    if not strip.composite[:, first : first + rows, column : column + columns].any():
        return None
    channels = []
    for recipe in recipes:
        halo = _halo_px(recipe)
        top, left = min(halo, first), min(halo, column)
        bottom = min(halo, strip.elevation.shape[0] - first - rows)
        right = min(halo, strip.elevation.shape[1] - column - columns)
        window = (slice(first - top, first + rows + bottom), slice(column - left, column + columns + right))
        made, missing_share = make_channels(
            strip.composite[(slice(None), *window)],
            strip.elevation[window],
            recipe,
            halo_px=(top, bottom, left, right),
        )
        if missing_share > recipe.max_missing_share or missing_share == 1:
            return None
        channels.append(made)
    return _Made(number, row, column, channels)


def _halo_px(recipe: Recipe) -> int:
    return int(min(recipe.reach_px, MOST_HALO_PX))


def _ahead(items: Iterator[_T], reading: ThreadPoolExecutor) -> Iterator[_T]:
    """Yield items while the next one is made in another thread."""
    end = object()
    following: Future[_T | object] = reading.submit(next, items, end)
    while (item := following.result()) is not end:
        following = reading.submit(next, items, end)
        yield item  # type: ignore[misc]


def _pad(array: npt.NDArray[_S], shape: tuple[int, int]) -> npt.NDArray[_S]:
    """Reflect an array (..., y, x) down and to the right until its last two axes have `shape`."""
    missing = [wanted - have for wanted, have in zip(shape, array.shape[-2:], strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, more) for more in missing], mode="reflect")


def _any_in_block(mask: BoolArray, scale: int) -> BoolArray:
    height, width = mask.shape
    return np.asarray(mask.reshape(height // scale, scale, width // scale, scale).any(axis=(1, 3)))
