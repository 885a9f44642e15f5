"""Thinned water to a forest of lines, each flowing to the reach.

Source: docs/explanation/method.md, vectorization steps 7 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.published.paths import NO_CELL, least_cost_paths

TO_REACH = -1
"""Downstream line of a line that ends at the reach."""


@dataclass(frozen=True)
class Traces:
    """Lines of cells between junctions, drawn downstream."""

    cells: list[NDArray[np.int64]]
    """Flat indices of each line's cells; a line that flows into another one ends with the other's first cell."""
    downstream: NDArray[np.int64]
    """Index of the line each flows into; TO_REACH where it ends beside the reach."""


def trace(
    lines: NDArray[np.bool_], reach: NDArray[np.bool_], elevation: NDArray[np.float32], *, min_piece_px: int
) -> Traces:
    """Make a forest of thinned water and cut it into lines between junctions.

    Every cell flows down the path of least rise to the reach (cost max(0, rise)). What lies on no path from a node,
    that is from an end or a junction, is dropped: rings open there. Pieces under `min_piece_px` cells are dropped.

    Parameters
    ----------
    lines : (y, x) bool
        Thinned water with the reach. Border cells of the array must be False.
    reach : (y, x) bool
        Cells of the reach.
    elevation : (y, x) float32
        Metres.
    min_piece_px : int
        Shortest piece kept, in cells from its end to the junction.
    """
    free = np.zeros(lines.shape)
    _, downstream, order = least_cost_paths(free, elevation, lines, reach, np.inf)
    kept = _kept(lines, reach, downstream, order, min_piece_px)
    flat_reach = reach.ravel()
    sources = np.flatnonzero(kept & ~flat_reach)
    inflows = np.bincount(downstream[sources], minlength=kept.size)
    starts = sources[inflows[sources] != 1]
    number = np.full(kept.size, NO_CELL, dtype=np.int64)
    number[starts] = np.arange(len(starts))
    cells: list[NDArray[np.int64]] = []
    into = np.full(len(starts), TO_REACH, dtype=np.int64)
    for i, start in enumerate(starts):
        line = [int(start)]
        cell = int(downstream[start])
        while not flat_reach[cell]:
            line.append(cell)
            if number[cell] != NO_CELL:
                into[i] = number[cell]
                break
            cell = int(downstream[cell])
        cells.append(np.array(line, dtype=np.int64))
    return Traces(cells, into)


@njit(cache=True)
def _kept(lines: Any, reach: Any, downstream: Any, order: Any, min_piece_px: int) -> Any:
    """Cells on a path from a node, without short pieces; flat bool."""
    width = lines.shape[1]
    flat, stop = lines.ravel(), reach.ravel()
    used = np.zeros(flat.size, np.bool_)
    longest = np.zeros(flat.size, np.int64)
    main = np.full(flat.size, -1, np.int64)
    # Up- to downstream: how many cells lie upstream on the longest way, and which inflow it comes by.
    for i in range(len(order) - 1, -1, -1):
        cell = order[i]
        if stop[cell]:
            continue
        used[cell] = used[cell] or is_node(flat, cell, width)
        if not used[cell]:
            continue
        longest[cell] += 1
        below = downstream[cell]
        used[below] = True
        if longest[cell] > longest[below] or (longest[cell] == longest[below] and cell < main[below]):
            longest[below] = longest[cell]
            main[below] = cell
    # Down- to upstream: an inflow stays if it is the longest, or long enough by itself.
    kept = np.zeros(flat.size, np.bool_)
    for cell in order:
        if stop[cell]:
            kept[cell] = True
            continue
        below = downstream[cell]
        goes_on = main[below] == cell and not stop[below]
        kept[cell] = used[cell] and kept[below] and (goes_on or longest[cell] >= min_piece_px)
    return kept


@njit(cache=True)
def is_node(water: Any, cell: Any, width: int) -> bool:
    """Whether a cell of flat thinned `water` is an end (at most one neighbour) or a junction (three lines meet)."""
    around = np.array(
        [
            water[cell + 1],
            water[cell - width + 1],
            water[cell - width],
            water[cell - width - 1],
            water[cell - 1],
            water[cell + width - 1],
            water[cell + width],
            water[cell + width + 1],
        ]
    )
    crossings = 0
    for k in range(8):
        if not around[k] and around[(k + 1) % 8]:
            crossings += 1
    return around.sum() <= 1 or crossings >= 3
