"""Lines of two rows of cells that cross, since each row has pixels of another width.

Within a row no line crosses another one, whatever cell it is from. At the border of two rows both may see the same
water, in pixels that differ by a fraction of a pixel, and each may draw it on its side of a divide.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.core.events import say
from headwater.waterways.network.crossings import crossing_pairs


def without_border_crossings(table: gpd.GeoDataFrame, lattice: NDArray[np.int64]) -> gpd.GeoDataFrame:
    """Leave out new lines that cross or repeat a line of another row of cells, with all that flows into them.

    Of a pair of new lines the one with less length upstream goes, of equal ones that of the later reach.

    Parameters
    ----------
    table : GeoDataFrame
        SEGMENT_COLUMNS of `headwater.waterways.segments`.
    lattice : (n,) int64
        Lattice of each segment.

    Returns
    -------
    GeoDataFrame
        The rows that stay, with their index.
    """
    lines = np.asarray(table.geometry.to_numpy(), dtype=object)
    near = _near_other_lattice(lines, lattice)
    of_reach = table["from_backbone"].to_numpy(bool)

    def wanted(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
        both_given = of_reach[near[one]] & of_reach[near[other]]
        return np.asarray((lattice[near[one]] != lattice[near[other]]) & ~both_given)

    pairs = near[crossing_pairs(lines[near], wanted, copies=True)]
    if not pairs.size:
        return table
    link, local = table["link_id"].to_numpy(np.int64), table["local_index"].to_numpy(np.int64)
    target, length = table["downstream_index"].to_numpy(np.int64), table["length_m"].to_numpy(np.float64)

    def upstream(row: int) -> NDArray[np.int64]:
        """Return a new segment and all that flow into it: they are of the same reach."""
        of_link = np.flatnonzero((link == link[row]) & ~of_reach)
        rows = front = np.array([row])
        while len(front):
            front = of_link[np.isin(target[of_link], local[front]) & ~np.isin(of_link, rows)]
            rows = np.concatenate([rows, front])
        return rows

    dropped = np.zeros(len(table), dtype=np.bool_)
    order = np.lexsort((local[pairs[1]], link[pairs[1]], local[pairs[0]], link[pairs[0]]))
    for pair in pairs[:, order].T:
        if dropped[pair].any():
            continue
        branches = [upstream(int(row)) for row in pair if not of_reach[row]]
        least = min(branches, key=lambda rows: (length[rows].sum(), -link[rows[0]], -local[rows[0]]))
        dropped[least] = True
    say(
        f"{int(dropped.sum())} new segments ({length[dropped].sum() / 1000:.1f} km) that cross those of another row of"
        " cells are left out."
    )
    return table[~dropped]


def _near_other_lattice(lines: NDArray[Any], lattice: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lines that are at the latitudes of another lattice's lines."""
    bounds = shapely.bounds(lines)
    near = np.zeros(len(lines), dtype=np.bool_)
    ranges = [(number, bounds[lattice == number]) for number in np.unique(lattice)]
    for number, own in ranges if len(ranges) > 1 else ():
        south, north = np.nanmin(own[:, 1]), np.nanmax(own[:, 3])
        near |= (lattice != number) & (bounds[:, 3] >= south) & (bounds[:, 1] <= north)
    return np.flatnonzero(near)
