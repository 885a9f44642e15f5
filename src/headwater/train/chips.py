"""Chips: windows cut from cells on disk, which are memory-mapped arrays of composite, elevation and water types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.errors import InputError

Chip = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.uint8]]
"""Composite (4, y, x), elevation (y, x) in meters and water types (y, x)."""

_MAX_DRAWS = 50


@dataclass(frozen=True)
class CellChips:
    """One cell's arrays on disk, on the 10 m grid with its margin."""

    folder: Path
    """Contains composite.npy, elevation.npy and types.npy."""

    @cached_property
    def composite(self) -> npt.NDArray[np.uint8]:
        """(4, y, x), memory-mapped."""
        return self._array("composite")

    @cached_property
    def elevation(self) -> npt.NDArray[np.float32]:
        """(y, x) meters, memory-mapped."""
        return self._array("elevation")

    @cached_property
    def types(self) -> npt.NDArray[np.uint8]:
        """(y, x) water types, memory-mapped."""
        return self._array("types")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.types.shape
        return rows, columns

    def chip(self, row: int, column: int, height: int, width: int) -> Chip:
        """Return the three arrays of a window."""
        return window_of((self.composite, self.elevation, self.types), row, column, height, width)

    def middle(self, side_px: int, multiple: int) -> Chip:
        """Return the central window, at most `side_px` long and with sides that are multiples of `multiple`."""
        return middle_of((self.composite, self.elevation, self.types), side_px, multiple)

    @staticmethod
    def save(
        folder: Path,
        *,
        composite: npt.NDArray[np.uint8],
        elevation: npt.NDArray[np.float32],
        types: npt.NDArray[np.uint8],
    ) -> CellChips:
        """Write a cell's arrays into a new folder."""
        folder.mkdir(parents=True)
        np.save(folder / "composite.npy", composite)
        np.save(folder / "elevation.npy", elevation.astype(np.float32, copy=False))
        np.save(folder / "types.npy", types)
        return CellChips(folder)

    def _array(self, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return array


def window_of(chip: Chip, row: int, column: int, height: int, width: int) -> Chip:
    """Return a window of the three arrays."""
    composite, elevation, types = chip
    window = (slice(row, row + height), slice(column, column + width))
    return composite[(slice(None), *window)], elevation[window], types[window]


def middle_of(chip: Chip, side_px: int, multiple: int) -> Chip:
    """Return the central window, at most `side_px` long and with sides that are multiples of `multiple`."""
    shape = chip[2].shape
    height, width = (min(side_px, length) // multiple * multiple for length in shape)
    row, column = ((outer - inner) // 4 * 2 for outer, inner in zip(shape, (height, width), strict=True))
    return window_of(chip, row, column, height, width)


def random_chip(
    cells: Sequence[CellChips], side_px: int, max_missing_fraction: float, rng: np.random.Generator
) -> Chip:
    """Cut a square chip at a random place, each cell weighted by its area; redraw chips with too much missing.

    Parameters
    ----------
    cells : sequence of CellChips
        Cells to cut from.
    side_px : int
        Side of the chip; smaller cells are skipped.
    max_missing_fraction : float
        Maximum fraction of pixels without composite.
    rng : numpy Generator
        Source of randomness.

    Raises
    ------
    InputError
        No cell is large enough, or none has enough data.
    """
    large = [cell for cell in cells if min(cell.shape) >= side_px]
    if not large:
        raise InputError(
            f"No cell is as large as a chip of {side_px} px.", "Use larger cells, or smaller chips in the stages."
        )
    areas = np.array([rows * columns for rows, columns in (cell.shape for cell in large)], dtype=np.float64)
    for _ in range(_MAX_DRAWS):
        cell = large[int(rng.choice(len(large), p=areas / areas.sum()))]
        # Starts are even, so that no 20 m pixel is cut.
        row, column = (2 * int(rng.integers((length - side_px) // 2 + 1)) for length in cell.shape)
        chip = cell.chip(row, column, side_px, side_px)
        if (chip[0] == 0).any(axis=0).mean() <= max_missing_fraction:
            return chip
    raise InputError("The cells contain hardly any data.", "Look at the composites in the training's work folder.")
