"""A cloud-free composite from scenes on one grid: pure arrays (docs/explanation/method.md, Imagery).

Arrays are (band, y, x) with bands N, R, G, B. Scenes are added one after the other, in parts; memory does not grow with
their number, except for the median, for which the caller uses smaller blocks the more scenes there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.sentinel2 import COMPOSITE_NODATA

METHODS = ("best_first", "mean", "median")
SIGMOID_SLOPE = 0.6
MAX_VIEWS = 255
_DN_VALUES = 65_536
_NO_VIEW, _CLOUDY, _CLEAR = 0, 1, 2


def harmonize(dn: NDArray[np.uint16], *, offset: int) -> NDArray[np.uint16]:
    """Subtract the additive offset of processing baseline 04.00 and later from reflectance.

    Parameters
    ----------
    dn : uint16 array
        Digital numbers; 0 is nodata and stays so.
    offset : int
        What the baseline added: 1000 or 0.

    Returns
    -------
    uint16 array
        Valid pixels are at least 1, so that none becomes nodata.
    """
    if offset == 0:
        return dn
    lowered = np.maximum(dn, offset + 1) - np.uint16(offset)
    return np.where(dn == 0, np.uint16(0), lowered).astype(np.uint16, copy=False)


def scaling_tables(*, mean: Sequence[float], std: Sequence[float], offset: int) -> NDArray[np.uint8]:
    """Return the 8-bit value of every digital number: f(z) = 255 / (1 + exp(-0.6 z)), z = (DN - mean) / std.

    uint16 has 65,536 values: a table is exact and far cheaper than an exponential per pixel.

    Parameters
    ----------
    mean, std : sequence of float
        One per band, of harmonized DN over the clear pixels of the complete scene.
    offset : int
        What the processing baseline added to DN: 1000 or 0.

    Returns
    -------
    (band, 65536) uint8
        1 to 255; 0 for DN 0. Source: docs/explanation/method.md (release's normalization).
    """
    dn = harmonize(np.arange(_DN_VALUES, dtype=np.uint16), offset=offset).astype(np.float64)
    tables = np.empty((len(mean), _DN_VALUES), np.uint8)
    for table, m, s in zip(tables, mean, std, strict=True):
        z = np.clip((dn - m) / max(s, 1e-6), -50.0, 50.0)
        table[:] = np.clip(np.rint(255.0 / (1.0 + np.exp(-SIGMOID_SLOPE * z))), 1, 255)
        table[0] = COMPOSITE_NODATA
    return tables


@njit(cache=True, nogil=True)
def sigmoid_scale(dn: NDArray[np.uint16], tables: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale digital numbers (band, y, x) to 8 bits with one table per band (see `scaling_tables`)."""
    scaled = np.empty(dn.shape, np.uint8)
    for band in range(dn.shape[0]):
        for y in range(dn.shape[1]):
            for x in range(dn.shape[2]):
                scaled[band, y, x] = tables[band, dn[band, y, x]]
    return scaled


class Compositor:
    """Adds scenes one by one, best first, each in parts.

    Parameters
    ----------
    shape : (rows, columns)
        Size of the block that is composited.
    bands : int
        Number of bands.
    method : str
        best_first (paper: the best scene that is clear), mean (release) or median of the clear views.
    allow_cloud : bool
        Where no scene is clear, take the cloudy views by the same method instead of nodata; their count of clear
        views stays 0.

    Raises
    ------
    InputError
        The method is unknown.

    Notes
    -----
    Memory per pixel of four bands: 5 bytes (best_first), 9 (mean), 1 + 5 per scene (median); one more if clouds are
    allowed.
    """

    def __init__(self, shape: tuple[int, int], *, bands: int, method: str, allow_cloud: bool = False) -> None:
        if method not in METHODS:
            raise InputError(f"Composite method {method!r} is unknown.", f"Use one of {', '.join(METHODS)}.")
        self._method = method
        self._shape = (bands, *shape)
        self._allow_cloud = allow_cloud
        self._views = np.zeros(shape, np.uint8)
        self._clouds = np.zeros(shape if allow_cloud else (0, 0), np.uint8)
        self._kept = np.zeros((0, 0, 0) if method == "median" else self._shape, _DTYPES.get(method, np.uint8))
        self._stack: list[NDArray[np.uint8]] = []
        self._states: list[NDArray[np.uint8]] = []

    def wants(self, clear: NDArray[np.bool_], inside: NDArray[np.bool_], *, row: int = 0, column: int = 0) -> bool:
        """Return whether the bands of a part could change the composite.

        Parameters
        ----------
        clear, inside : (y, x) bool
            Where the part shows the ground; where it is in the swath.
        row, column : int
            Where the part starts in the block.
        """
        usable = inside if self._allow_cloud else clear
        if self._method != "best_first":
            return bool(usable.any())
        return bool((usable & (self._views[_part(clear.shape, row, column)] == 0)).any())

    def add(
        self,
        scene: NDArray[np.uint8],
        clear: NDArray[np.bool_],
        inside: NDArray[np.bool_] | None = None,
        *,
        row: int = 0,
        column: int = 0,
        new_scene: bool = True,
    ) -> None:
        """Add a part of the next best scene.

        Parameters
        ----------
        scene : (band, y, x) uint8
            Scaled scene, 0 = nodata.
        clear : (y, x) bool
            Where it shows the ground.
        inside : (y, x) bool, optional
            Where it is in the swath, cloudy or not; everywhere if not given.
        row, column : int
            Where the part starts in the block.
        new_scene : bool
            Whether the part is the first one of its scene (for the median, which keeps scenes separate).
        """
        place = _part(clear.shape, row, column)
        if inside is None:
            inside = np.ones(clear.shape, bool)
        clouds = self._clouds[place] if self._allow_cloud else self._clouds
        if self._method == "best_first":
            _take_first(self._kept[:, *place], self._views[place], clouds, scene, clear, inside)
        elif self._method == "mean":
            _take_sum(self._kept[:, *place], self._views[place], clouds, scene, clear, inside)
        else:
            if new_scene or not self._stack:
                self._stack.append(np.zeros(self._shape, np.uint8))
                self._states.append(np.zeros(self._shape[1:], np.uint8))
            self._stack[-1][:, *place] = scene
            seen = np.all(scene != COMPOSITE_NODATA, axis=0)
            state = np.where(clear, np.uint8(_CLEAR), np.uint8(_CLOUDY if self._allow_cloud else _NO_VIEW))
            self._states[-1][place] = np.where(seen & (inside | clear), state, np.uint8(_NO_VIEW))

    def count(self, clear: NDArray[np.bool_], *, row: int = 0, column: int = 0) -> None:
        """Count the clear views of a part whose bands are not needed (best_first), where a pixel has its value.

        Parameters
        ----------
        clear : (y, x) bool
            Where the part shows the ground.
        row, column : int
            Where the part starts in the block.
        """
        views = self._views[_part(clear.shape, row, column)]
        views += clear & (views > 0) & (views < MAX_VIEWS)

    def result(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the composite and the count of clear views.

        Returns
        -------
        composite : (band, y, x) uint8
            0 where no scene is clear: clouds are averaged in only if they are allowed.
        clear_views : (y, x) uint8
            0 where no scene is clear.
        """
        if self._method == "best_first":
            return self._kept, self._views
        if self._method == "mean":
            return _divide(self._kept, self._views, self._clouds), self._views
        if not self._stack:
            return np.zeros(self._shape, np.uint8), self._views
        return _median(tuple(self._stack), tuple(self._states), self._shape)


_DTYPES: dict[str, type[np.unsignedinteger[Any]]] = {"mean": np.uint16}
"""Type in which a pixel and band is kept: a sum of 255 views of 8 bits fits 16 bits."""


def _part(shape: tuple[int, ...], row: int, column: int) -> tuple[slice, slice]:
    return (slice(row, row + shape[0]), slice(column, column + shape[1]))


# The kernels work row by row and band by band, without branches in the inner loops: the compiler then vectorizes them.


@njit(cache=True, nogil=True)
def _take_first(
    best: NDArray[np.uint8],
    views: NDArray[np.uint8],
    clouds: NDArray[np.uint8],
    scene: NDArray[np.uint8],
    clear: NDArray[np.bool_],
    inside: NDArray[np.bool_],
) -> None:
    """Fill what no better scene has filled; a clear view replaces a cloudy one."""
    allow_cloud = clouds.size > 0
    for y in range(clear.shape[0]):
        valid = _valid_row(scene, y)
        seen = valid & clear[y]
        fill = seen & (views[y] == 0)
        if allow_cloud:
            cloudy = valid & inside[y] & ~clear[y] & (views[y] == 0) & (clouds[y] == 0)
            clouds[y] |= cloudy.astype(np.uint8)
            fill |= cloudy
        for band in range(scene.shape[0]):
            for x in range(fill.size):
                best[band, y, x] = scene[band, y, x] if fill[x] else best[band, y, x]
        for x in range(fill.size):
            views[y, x] += np.uint8(seen[x] and views[y, x] < MAX_VIEWS)


@njit(cache=True, nogil=True)
def _take_sum(
    total: NDArray[np.uint16],
    views: NDArray[np.uint8],
    clouds: NDArray[np.uint8],
    scene: NDArray[np.uint8],
    clear: NDArray[np.bool_],
    inside: NDArray[np.bool_],
) -> None:
    """Add up clear views; until there is one, cloudy views where they are allowed."""
    allow_cloud = clouds.size > 0
    for y in range(clear.shape[0]):
        valid = _valid_row(scene, y)
        # A sum of 255 views of 8 bits fits 16 bits: no more are added.
        seen = valid & clear[y] & (views[y] < MAX_VIEWS)
        take = seen
        if allow_cloud:
            cloudy = valid & inside[y] & ~clear[y] & (views[y] == 0) & (clouds[y] < MAX_VIEWS)
            take = seen | cloudy
            for x in range(seen.size):
                if seen[x] and views[y, x] == 0:
                    # The first clear view drops the sum of cloudy views.
                    for band in range(total.shape[0]):
                        total[band, y, x] = 0
                clouds[y, x] += np.uint8(cloudy[x])
        for band in range(scene.shape[0]):
            for x in range(take.size):
                total[band, y, x] += np.uint16(scene[band, y, x]) * np.uint16(take[x])
        for x in range(seen.size):
            views[y, x] += np.uint8(seen[x])


@njit(cache=True, nogil=True)
def _valid_row(scene: NDArray[np.uint8], y: int) -> NDArray[np.bool_]:
    """Return where all bands of a row have a value."""
    valid: NDArray[np.bool_] = scene[0, y] != COMPOSITE_NODATA
    for band in range(1, scene.shape[0]):
        for x in range(valid.size):
            valid[x] &= scene[band, y, x] != COMPOSITE_NODATA
    return valid


@njit(cache=True, nogil=True)
def _divide(total: NDArray[np.uint16], views: NDArray[np.uint8], clouds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean, rounded half up in integers: the same on every machine."""
    mean = np.zeros(total.shape, np.uint8)
    for y in range(views.shape[0]):
        for x in range(views.shape[1]):
            count = np.uint32(views[y, x])
            if count == 0 and clouds.size > 0:
                count = np.uint32(clouds[y, x])
            if count > 0:
                for band in range(total.shape[0]):
                    mean[band, y, x] = (np.uint32(total[band, y, x]) + count // 2) // count
    return mean


def _median(
    stack: tuple[NDArray[np.uint8], ...], states: tuple[NDArray[np.uint8], ...], shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the median over the clear views (the mean of two middle ones, rounded half up), and their count."""
    image, views = np.zeros(shape, np.uint8), np.zeros(shape[1:], np.uint8)
    for y in range(shape[1]):
        # Row by row: no second copy of the stack.
        _median_row(np.stack([scene[:, y] for scene in stack]), np.stack([s[y] for s in states]), image[:, y], views[y])
    return image, views


@njit(cache=True, nogil=True)
def _median_row(
    row: NDArray[np.uint8], states: NDArray[np.uint8], image: NDArray[np.uint8], views: NDArray[np.uint8]
) -> None:
    values = np.empty(row.shape[0], np.uint8)
    for x in range(row.shape[2]):
        clear = 0
        for scene in range(row.shape[0]):
            clear += states[scene, x] == _CLEAR
        wanted = _CLEAR if clear > 0 else _CLOUDY
        for band in range(row.shape[1]):
            count = 0
            for scene in range(row.shape[0]):
                if states[scene, x] == wanted:
                    # Insertion sort: a pixel has a handful of views.
                    place = count
                    while place > 0 and values[place - 1] > row[scene, band, x]:
                        values[place] = values[place - 1]
                        place -= 1
                    values[place] = row[scene, band, x]
                    count += 1
            if count > 0:
                # The lower of two middle values alone would make a step where tiles overlap and views are doubled.
                image[band, x] = (np.uint16(values[(count - 1) // 2]) + values[count // 2] + 1) // 2
        views[x] = min(clear, MAX_VIEWS)
