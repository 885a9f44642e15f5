"""Skeletons of water masks: lines one pixel wide that hang together as the water does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


def skeleton(water: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Thin water to its middle lines.

    Layer by layer, the shores of the four sides in turn, pixels go whose removal parts nothing, opens no hole and
    shortens no line (simple points by the connectivity number of Yokoi et al. 1975, doi:10.1016/0146-664X(75)90028-7).

    Parameters
    ----------
    water : (y, x) bool
        Water, 8-connected.

    Returns
    -------
    (y, x) bool
        Part of the water, with as many pieces and as many holes.
    """
    padded = np.pad(water, 1)
    _thin(padded.ravel(), np.flatnonzero(padded), padded.shape[1], _REMOVABLE)
    return padded[1:-1, 1:-1].copy()


def _removable() -> npt.NDArray[np.bool_]:
    """Tell of each ring of eight neighbours, bits from the east against the clock, whether its middle can go."""
    bit = np.arange(256)[:, np.newaxis] >> np.arange(8) & 1
    # Each land side followed by water begins another part of the water that the middle holds together.
    number = sum((bit[:, k] == 0) & (bit[:, k + 1] | bit[:, (k + 2) % 8]).astype(bool) for k in range(0, 8, 2))
    return np.asarray((number == 1) & (bit.sum(axis=1) > 1), dtype=np.bool_)


_REMOVABLE = _removable()


@njit(cache=True)
def _thin(water: Any, cells: Any, width: int, removable: Any) -> None:
    around = np.array([1, 1 - width, -width, -width - 1, -1, width - 1, width, width + 1])
    shore = np.empty(len(cells), np.int64)
    left, changed = len(cells), True
    while changed:
        changed = False
        for side in (-width, width, -1, 1):
            count = 0
            for i in range(left):
                if water[cells[i]] and not water[cells[i] + side]:
                    shore[count] = cells[i]
                    count += 1
            for i in range(count):
                ring = 0
                for k in range(8):
                    ring |= int(water[shore[i] + around[k]]) << k
                if removable[ring]:
                    water[shore[i]] = False
                    changed = True
        kept = 0
        for i in range(left):
            if water[cells[i]]:
                cells[kept] = cells[i]
                kept += 1
        left = kept
