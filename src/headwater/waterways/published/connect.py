"""Water of a catchment and its connection to the reach (Pierson and Mehrabi 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headwater.waterways.published.paths import least_cost_paths

EIGHT = np.ones((3, 3), dtype=np.int8)
"""Structuring element of 8-connected water."""


def drop_foreign(
    water: NDArray[np.bool_], inside: NDArray[np.bool_], reach: NDArray[np.bool_], elevation: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Drop components whose lowest cell and most of whose cells lie outside the catchment, then all cells outside.

    Water that hangs on the reach without leaving the catchment always stays. The text does not say so; but rivers that
    are found well are one component with the waters of all catchments downstream, whose lowest cell and most of whose
    cells lie outside: to the letter they would be dropped whole.

    Parameters
    ----------
    water : (y, x) bool
        Water of the catchment's box, its reach included.
    inside : (y, x) bool
        Cells of the catchment and of its reach.
    reach : (y, x) bool
        Cells of the reach.
    elevation : (y, x) float32
        Metres.

    Returns
    -------
    (y, x) bool
        Water inside that belongs to the catchment. Source: Pierson and Mehrabi (2024), vectorization.
    """
    within, _ = ndimage.label(water & inside, structure=EIGHT)
    on_reach = np.isin(within, np.setdiff1d(within[reach], [0]))
    labels, count = ndimage.label(water & ~on_reach, structure=EIGHT)
    if count == 0:
        return on_reach
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    outside = np.bincount(labels[~inside], minlength=count + 1)
    lowest = lowest_cells(labels, count, elevation)
    foreign = np.zeros(count + 1, dtype=bool)
    foreign[1:] = ~inside.ravel()[lowest] & (outside[1:] > 0.5 * sizes[1:])
    return np.asarray(on_reach | (water & inside & ~foreign[labels]))


def lowest_cells(labels: NDArray[np.int32], count: int, elevation: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the flat index of the cell of lowest 3x3 mean elevation of each component 1..count."""
    smooth = ndimage.uniform_filter(elevation.astype(np.float64), size=3, mode="nearest").ravel()
    cells = np.flatnonzero(labels.ravel())
    # By component, then height, then place: ties do not depend on how the sort works.
    order = np.lexsort((cells, smooth[cells], labels.ravel()[cells]))
    cells = cells[order]
    _, first = np.unique(labels.ravel()[cells], return_index=True)
    return cells[first].astype(np.int64)


def connect_to_reach(
    water: NDArray[np.bool_],
    reach: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    bits: NDArray[np.float64],
    elevation: NDArray[np.float32],
    *,
    limits: Sequence[float],
) -> NDArray[np.bool_]:
    """Join components of water to the reach by least-cost paths; what is not reached is dropped.

    The search starts at the reach and at all that is joined to it, with growing limits: near water is joined first
    and carries the search on.

    Parameters
    ----------
    water : (y, x) bool
        Water, the reach included.
    reach, inside : (y, x) bool
        Cells of the reach; cells that paths may use.
    bits, elevation : (y, x) float
        See `least_cost_paths`.
    limits : sequence of float
        Largest cost of a path, growing.

    Returns
    -------
    (y, x) bool
        Water and paths, one 8-connected piece with the reach if the reach is one.
    """
    labels, count = ndimage.label(water, structure=EIGHT)
    if count == 0:
        return water
    lowest = lowest_cells(labels, count, elevation)
    joined = np.zeros(count + 1, dtype=bool)
    joined[np.unique(labels[reach])] = True
    joined[0] = False
    connected = reach | joined[labels]
    flat = connected.ravel()
    for limit in limits:
        while not joined[1:].all():
            _, downstream, _ = least_cost_paths(bits, elevation, inside, connected, limit, True)
            found = [i for i in range(1, count + 1) if not joined[i] and downstream[lowest[i - 1]] >= 0]
            if not found:
                break
            for component in found:
                cell = lowest[component - 1]
                while not flat[cell]:
                    flat[cell] = True
                    # A path may run through water that is joined with it then.
                    joined[labels.ravel()[cell]] = True
                    cell = downstream[cell]
                joined[component] = True
            joined[0] = False
            connected |= joined[labels]
    return np.asarray(connected)
