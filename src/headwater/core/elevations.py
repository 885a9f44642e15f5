"""What an elevation can be, in meters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.core.errors import InputError

MIN_ELEVATION_M, MAX_ELEVATION_M = -9_000.0, 9_000.0
"""No land is higher, or deeper below sea level. Trenches are, but -9999 is far more often a void without a tag."""


def is_elevation(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where values can be elevations in meters; NaN cannot."""
    return np.asarray((values >= MIN_ELEVATION_M) & (values <= MAX_ELEVATION_M))


def in_range(values: NDArray[Any]) -> bool:
    """Return whether all values, at least one, can be elevations in meters."""
    return bool(values.min() >= MIN_ELEVATION_M and values.max() <= MAX_ELEVATION_M)


def refuse_no_elevation(values: NDArray[Any], what: str) -> None:
    """Refuse values that are no elevation in meters; NaN is not known, and passes.

    Parameters
    ----------
    values : array of numbers
        Meters.
    what : str
        What the values are of, for the message.

    Raises
    ------
    InputError
        A value is infinite, or outside of MIN_ELEVATION_M to MAX_ELEVATION_M.
    """
    if not values.size:
        return
    # NaN is skipped; where all is NaN nothing is outside.
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if low < MIN_ELEVATION_M or high > MAX_ELEVATION_M:
        raise InputError(
            f"{what} holds {low if low < MIN_ELEVATION_M else high:g}, which is not an elevation in meters.",
            f"Give meters from {MIN_ELEVATION_M:,.0f} to {MAX_ELEVATION_M:,.0f}, with the value of voids in the file's"
            " nodata tag.",
        )
