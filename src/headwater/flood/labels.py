"""Labels of floods: spreading few of them along the terrain, and scoring maps by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.flood.hidden_markov import DRY, FLOODED, UNKNOWN


def spread_labels(
    labels: NDArray[np.integer[Any]], elevation: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.int8], int]:
    """Label what labels imply: flood spreads to lower neighbors, dry to higher ones, breadth-first.

    As annotators of the EvaNet paper do (Sami et al. 2024): if a pixel is flooded, so is each neighbor that is not
    higher, and so on; if it is dry, so is each that is not lower.

    Parameters
    ----------
    labels : (y, x) int
        FLOODED, DRY or UNKNOWN.
    elevation : (y, x) float
        Meters; nothing spreads to or from a pixel without elevation (NaN).

    Returns
    -------
    spread : (y, x) int8
        Labels that were given stay. A pixel that both spread to stays UNKNOWN.
    conflicts : int
        How many such pixels there are: the labels, or the elevation, contradict each other there.

    Raises
    ------
    InputError
        The arrays differ in shape.
    """
    if labels.shape != elevation.shape or labels.ndim != 2:
        raise InputError(
            f"Labels of {labels.shape} and elevation of {elevation.shape} do not fit.", "Give both on one grid."
        )
    heights = np.ascontiguousarray(elevation, dtype=np.float64)
    flat = np.ascontiguousarray(labels).ravel()
    wet = _reached(flat == FLOODED, heights.ravel(), elevation.shape[1])
    dry = _reached(flat == DRY, -heights.ravel(), elevation.shape[1])
    made = np.where(wet & ~dry, FLOODED, np.where(dry & ~wet, DRY, UNKNOWN))
    given = (flat == FLOODED) | (flat == DRY)
    made[given] = flat[given]
    return made.reshape(labels.shape).astype(np.int8), int((wet & dry & ~given).sum())


def score_labels(found: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]]) -> pd.DataFrame:
    """Score a flood map over labeled pixels, for both classes as the positive one, as the EvaNet paper does.

    Parameters
    ----------
    found, truth : (...,) int
        FLOODED, DRY or UNKNOWN. Pixels whose truth is unknown do not count; an unknown of the map is never right.

    Returns
    -------
    DataFrame
        Rows dry, flood; columns accuracy (of both, the same), precision, recall, f1: percent, NaN where nothing
        is of the class.

    Raises
    ------
    InputError
        The arrays differ in shape, or no pixel is labeled.
    """
    if found.shape != truth.shape:
        raise InputError(f"A map of {found.shape} and labels of {truth.shape} do not fit.", "Give both on one grid.")
    known = (truth == FLOODED) | (truth == DRY)
    if not known.any():
        raise InputError("No pixel is labeled flood or dry.", "Give labels: 1 flood, 0 dry.")
    given, right = found[known], truth[known]
    rows = {}
    for name, value in (("dry", DRY), ("flood", FLOODED)):
        hit = float(((given == value) & (right == value)).sum())
        said, there = float((given == value).sum()), float((right == value).sum())
        rows[name] = {
            "accuracy": 100 * float((given == right).mean()),
            "precision": 100 * hit / said if said else np.nan,
            "recall": 100 * hit / there if there else np.nan,
            "f1": 200 * hit / (said + there) if there else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


@njit(cache=True)
def _reached(start: Any, heights: Any, width: int) -> Any:
    """Return what is reached from some pixels by steps to neighbors that are not higher; NaN is never reached."""
    reached = start & ~np.isnan(heights)
    queue = np.empty(len(heights), np.int64)
    end = 0
    for pixel in range(len(heights)):
        if reached[pixel]:
            queue[end] = pixel
            end += 1
    rows = len(heights) // width
    first = 0
    while first < end:
        pixel = queue[first]
        first += 1
        row, column = pixel // width, pixel % width
        for y in range(max(row - 1, 0), min(row + 2, rows)):
            for x in range(max(column - 1, 0), min(column + 2, width)):
                other = y * width + x
                if not reached[other] and heights[other] <= heights[pixel]:
                    reached[other] = True
                    queue[end] = other
                    end += 1
    return reached
