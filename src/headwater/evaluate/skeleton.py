"""Skeletons of water masks: lines one pixel wide that are connected as the water is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from headwater.waterways.lines.neighbors import removable_rings, water_ring


def skeleton(water: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Thin water to its middle lines.

    Layer by layer, the shores of the four sides in turn, pixels are removed where that splits nothing, opens no hole
    and shortens no line (simple points by the connectivity number of Yokoi et al. 1975,
    doi:10.1016/0146-664X(75)90028-7).

    Parameters
    ----------
    water : (y, x) bool
        Water, 8-connected.

    Returns
    -------
    (y, x) bool
        Part of the water, with as many components and as many holes.
    """
    padded = np.pad(water, 1)
    _thin(padded.ravel(), np.flatnonzero(padded), padded.shape[1])
    return padded[1:-1, 1:-1].copy()


@njit(cache=True)
def _thin(water: Any, cells: Any, width: int) -> None:
    removable = removable_rings()[1]
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
                if removable[water_ring(water, shore[i], width)]:
                    water[shore[i]] = False
                    changed = True
        kept = 0
        for i in range(left):
            if water[cells[i]]:
                cells[kept] = cells[i]
                kept += 1
        left = kept
