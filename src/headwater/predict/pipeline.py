"""Prediction of a cell of any size in bounded memory: reading, channels, networks and writing run concurrently.

One thread reads strips of the cell, as high as a tile and its halo; each pixel is read once. Threads make the channels
of its tiles, the networks run on batches of fixed shape, tiles are blended in their order into a strip as high as a
tile, and another thread writes the rows that no later tile reaches. So the result does not depend on the number of
threads, and memory grows with the width of the cell, not with its height.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headwater.core.errors import InputError, WorkError
from headwater.models.base import Network
from headwater.models.channels import Float32Array, Recipe
from headwater.predict.blending import WINDOWS, BlendingStrip
from headwater.predict.devices import resolve_dtype, single_threaded
from headwater.predict.ensemble import SYMMETRIES, Ensemble, EnsembleMember, check_symmetries
from headwater.predict.settings import PredictSettings
from headwater.predict.strips import BoolArray, Read, Strip, TileChannels, halo_px, make_tiles, read_strips
from headwater.predict.tiling import Tiling

GPU_CHANNEL_THREADS = 8
"""Threads that make channels for a GPU, which is faster than one of them."""

Write = Callable[[int, Float32Array, BoolArray], None]
_T = TypeVar("_T")


_DEFAULTS = PredictSettings()


@dataclass(frozen=True)
class Options:
    """How a prediction is computed."""

    tile_px: int = _DEFAULTS.tile_px
    """Side of a tile in 10 m pixels; even."""
    overlap_px: int = _DEFAULTS.overlap_px
    """Minimum overlap of neighboring tiles in 10 m pixels."""
    device: str = "cpu"
    """PyTorch's name of the device to compute on."""
    dtype: str = "float32"
    """auto, float32, bf16 or fp16: the type the networks compute in."""
    compile: bool = _DEFAULTS.compile
    """Whether torch.compile optimizes the networks first."""
    batch_size: int = _DEFAULTS.batch_size
    """Tiles computed together; 0: one on the CPU, as many as fit on a GPU. Changes the last bits only."""
    threads: int = _DEFAULTS.threads
    """Batches computed in parallel on the CPU; does not change the result."""
    tta: bool = _DEFAULTS.tta
    """Test-time augmentation: the mean over the eight symmetries of the square."""
    window: str = "smooth"
    """Blending weights of a tile, a key of `headwater.predict.blending.WINDOWS`."""


def predict_probability(
    model: Network,
    recipe: Recipe,
    composite: npt.NDArray[np.uint8],
    elevation: Float32Array,
    **options: Any,
) -> tuple[Float32Array, BoolArray]:
    """Run a network over overlapping tiles of arrays in memory and blend them.

    Tiles are squares of `tile_px`. `Tiling.over` places them: the first starts at row 0 and column 0 of the arrays, the
    last ends at their last row and column, those between are spread evenly, start at even rows and columns and overlap
    by at least `overlap_px`. An array smaller than a tile is one tile, reflected to a size the network accepts.

    An output pixel depends only on the tiles that contain it: on pixels less than `tile_px` away and, for the channels,
    on `recipe.support_px` (256 px at most) around these tiles. So a window of a larger raster gives the values of the
    complete raster where its tiles start at the same rows and columns of that raster and the halo is there too.
    `Tiling.over(shape, ...)` returns these positions. Tiles at other positions give other values as far as the network
    depends on the rest of its tile.

    Parameters
    ----------
    model : Network
        In evaluation mode; its call gives probabilities (`Network.predictor`).
    recipe : Recipe
        The channels it was trained with.
    composite : (4, y, x) uint8
        N, R, G, B at 10 m; 0 is nodata.
    elevation : (y, x) float32
        Meters on the same grid; NaN where unknown.
    **options
        Fields of `Options`.

    Returns
    -------
    probability : (y / s, x / s) float32
        0 to 1, s being the model's scale (2); 0 where not valid.
    valid : (y / s, x / s) bool
        False where no predicted tile reaches, and where the composite has no data in any pixel of the s x s block.

    Raises
    ------
    InputError, WorkError
        See `predict_strips`.
    """
    return predict_arrays(
        [EnsembleMember(model, recipe)],
        composite,
        elevation,
        Options(**options),
    )


def predict_arrays(
    members: Sequence[EnsembleMember],
    composite: npt.NDArray[np.uint8],
    elevation: Float32Array,
    options: Options | None = None,
) -> tuple[Float32Array, BoolArray]:
    """Predict like `predict_probability` with one or several networks, whose probabilities are averaged.

    Parameters
    ----------
    members : sequence of EnsembleMember
        Networks of one scale with their recipes.
    composite : (4, y, x) uint8
        N, R, G, B at 10 m; 0 is nodata.
    elevation : (y, x) float32
        Meters on the same grid; NaN where unknown.
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

    predict_strips(members, (height, width), read, write, options)
    return probability, valid


def quantize(probability: Float32Array) -> npt.NDArray[np.uint8]:
    """Return probabilities as uint8, p * 255 rounded to the nearest."""
    quantized: npt.NDArray[np.uint8] = np.rint(probability * np.float32(255)).astype(np.uint8)
    return quantized


def predict_strips(
    members: Sequence[EnsembleMember], shape: tuple[int, int], read: Read, write: Write, options: Options | None = None
) -> None:
    """Run networks over overlapping tiles of a cell and blend them, strip by strip.

    The last tiles clamp inward; a raster smaller than a tile is one tile of its own size, reflected to a multiple that
    the networks accept. A tile with too much missing (`max_missing_fraction` of any recipe) is skipped.

    Parameters
    ----------
    members : sequence of EnsembleMember
        One network, or several whose probabilities are averaged.
    shape : (rows, columns)
        Size of the cell in 10 m pixels.
    read : callable
        Takes the first and last row (exclusive) and returns the full width of these rows: the composite (4, y, x)
        uint8 N, R, G, B with 0 as nodata and the elevation (y, x) float32 in meters, NaN where unknown. Called in one
        thread, each row once, from north to south.
    write : callable
        Takes the first row of a strip, its probabilities (y / s, x / s) float32, 0 where not valid, and what is valid
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


def _run(
    ensemble: Ensemble, tiling: Tiling, shape: tuple[int, int], read: Read, write: Write, options: Options
) -> None:
    """Read, make channels, compute and write, each in threads of its own; this thread blends."""
    on_gpu = options.device.startswith("cuda")
    parallel_batches = 1 if on_gpu else options.threads
    channel_threads = GPU_CHANNEL_THREADS if on_gpu else 1
    with _thread_pools(1, channel_threads, parallel_batches, 1) as (reading, making, computing, writing):
        ensemble.settle_batch_size(tiling.tile, len(tiling.rows) * len(tiling.columns))
        output = _Output(ensemble.scale, tiling, shape, write, writing, options)
        halo = max(halo_px(recipe) for recipe in ensemble.recipes)
        strips = _prefetch(read_strips(read, tiling, shape, halo_px=halo, scale=ensemble.scale), reading)
        ahead = 2 * ensemble.batch_size + (channel_threads if on_gpu else parallel_batches)
        tiles = make_tiles(output.expect(strips), tiling, ensemble.recipes, making, ahead=ahead)

        running: deque[tuple[list[TileChannels], Future[list[Tensor]]]] = deque()
        for batch in _batches(tiles, ensemble):
            running.append((batch, computing.submit(ensemble.start, [tile.channels for tile in batch])))
            if len(running) > parallel_batches + 1:
                output.add(*running.popleft())
        while running:
            output.add(*running.popleft())
        output.finish()


@contextmanager
def _thread_pools(*sizes: int) -> Iterator[list[ThreadPoolExecutor]]:
    """Open pools of threads in which PyTorch computes with one thread each; cancel what waits when the block ends."""
    with single_threaded(), ExitStack() as stack:
        pools = [ThreadPoolExecutor(size, initializer=torch.set_num_threads, initargs=(1,)) for size in sizes]
        for pool in pools:
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        yield pools


def _prefetch(items: Iterator[_T], pool: ThreadPoolExecutor) -> Iterator[_T]:
    """Yield items while another thread makes the next one."""
    end = object()
    following: Future[_T | object] = pool.submit(next, items, end)
    while (item := following.result()) is not end:
        following = pool.submit(next, items, end)
        yield item  # type: ignore[misc]


def _batches(tiles: Iterator[TileChannels], ensemble: Ensemble) -> Iterator[list[TileChannels]]:
    """Yield batches of the ensemble's size, which shrinks where memory does not suffice; the last may be smaller."""
    batch: list[TileChannels] = []
    for tile in tiles:
        batch.append(tile)
        if len(batch) >= ensemble.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


class _Output:
    """Blends predicted tiles in their order, and writes the rows of the map that are finished."""

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
        self._blend = BlendingStrip(weights, tiling.padded[1] // scale)
        self._scale, self._tiling, self._shape = scale, tiling, shape
        self._write, self._writing, self._dtype = write, writing, options.dtype
        self._written: Future[None] | None = None
        self._has_data: deque[BoolArray] = deque()
        self._tile_row = 0

    def expect(self, strips: Iterator[Strip]) -> Iterator[Strip]:
        """Pass strips on, remembering where each row of tiles has data."""
        for strip in strips:
            self._has_data.append(strip.has_data)
            yield strip

    def add(self, tiles: list[TileChannels], outputs: Future[list[Tensor]]) -> None:
        """Blend a batch."""
        probabilities = [part.cpu().numpy() for part in outputs.result()]
        for tile, probability in zip(tiles, (one for part in probabilities for one in part), strict=True):
            if not np.isfinite(probability).all():
                raise WorkError(
                    f"The network's output is not finite in {self._dtype}.",
                    "Set dtype to float32 (predict.dtype); if it is float32, the weights are damaged.",
                )
            self._finish_rows(tile.number // len(self._tiling.columns))
            self._blend.add(tile.row // self._scale, tile.column // self._scale, probability[0])

    def finish(self) -> None:
        """Write the remaining rows."""
        self._finish_rows(len(self._tiling.rows))
        self._wait()

    def _finish_rows(self, until: int) -> None:
        """Write the rows of the map that only rows of tiles before this one reach."""
        while self._tile_row < until:
            first = self._tiling.rows[self._tile_row] // self._scale
            self._tile_row += 1
            is_last = self._tile_row == len(self._tiling.rows)
            end = (self._tiling.padded[0] if is_last else self._tiling.rows[self._tile_row]) // self._scale
            probability, reached = self._blend.take(end)
            height, width = self._shape[0] // self._scale, self._shape[1] // self._scale
            probability, reached = probability[: height - first, :width], reached[: height - first, :width]
            valid = reached & self._has_data.popleft()
            probability[~valid] = 0
            # At most one strip waits: a slow disk slows the computation down instead of filling the memory.
            self._wait()
            self._written = self._writing.submit(self._write, first, probability, valid)

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()
