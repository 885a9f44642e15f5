"""Which catchment each cell of a window belongs to, and which cells its reach runs through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.geo.grid import RasterGrid
from headwater.waterways.lines.burn import cells_of_lines, label_polygons

NO_LABEL = -1


class ReachOwners(NamedTuple):
    """What kernels need to know whose reach runs through a cell."""

    labels: Any
    """(cells,) int32 catchment of each cell."""
    shared: Any
    """int64, see `Labels.shared`."""
    size: int
    """Number of labels."""


@dataclass(frozen=True)
class Labels:
    """Catchments and reaches burned into a window; the label of a catchment is the row of its reach."""

    catchment: NDArray[np.int32]
    """(y, x) label of the catchment that holds a cell's center, or whose reach runs through it; NO_LABEL elsewhere and
    in the window's outermost cells."""
    reach_mask: NDArray[np.bool_]
    """(y, x) cells that a reach runs through."""
    shared: NDArray[np.int64]
    """Sorted keys cell * (number of labels) + label of cells that several reaches run through."""
    reach_cells: NDArray[np.int64]
    """Flat indices of the cells each reach runs through, reach after reach, each once."""
    reach_start: NDArray[np.int64]
    """(count + 1,) where each reach's cells begin."""

    @property
    def count(self) -> int:
        """Number of labels."""
        return len(self.reach_start) - 1

    @property
    def owners(self) -> ReachOwners:
        """What kernels need to know whose reach runs through a cell."""
        return ReachOwners(self.catchment.ravel(), self.shared, self.count)


def burn_labels(catchments: NDArray[Any], labels: NDArray[np.int64], reaches: NDArray[Any], grid: RasterGrid) -> Labels:
    """Burn catchments and reaches into a window.

    Parameters
    ----------
    catchments : (m,) array of Polygon or MultiPolygon
        EPSG:4326. They should not overlap; of two at one cell the later wins.
    labels : (m,) int64
        Label of each catchment.
    reaches : (n,) array of LineString
        Reach of each label, drawn downstream.
    grid : RasterGrid
        The window.

    Returns
    -------
    Labels
    """
    label = label_polygons(catchments, labels, grid, NO_LABEL)
    label[[0, -1] if label.size else []] = NO_LABEL
    label[:, [0, -1] if label.size else []] = NO_LABEL
    cells, start = cells_of_lines(reaches, grid)
    rows, columns = np.divmod(cells, grid.width)
    inner = (rows > 0) & (rows < grid.height - 1) & (columns > 0) & (columns < grid.width - 1)
    owner = np.repeat(np.arange(len(reaches), dtype=np.int64), np.diff(start))[inner]
    owner, cells = np.divmod(np.unique(owner * grid.width * grid.height + cells[inner]), grid.width * grid.height)
    order = np.lexsort((owner, cells))
    at, by = cells[order], owner[order]
    again = at[1:] == at[:-1]
    several = np.append(again, False)[: len(at)] | np.append(False, again)[: len(at)]
    reach_mask = np.zeros(grid.shape, dtype=bool)
    reach_mask.ravel()[cells] = True
    # The label of a cell with several reaches is that of the first.
    label.ravel()[at[::-1]] = by[::-1]
    _without_checkers(label, reach_mask, reach_mask.copy())
    return Labels(
        label,
        reach_mask,
        at[several] * len(reaches) + by[several],
        cells,
        np.searchsorted(owner, np.arange(len(reaches) + 1)).astype(np.int64),
    )


@njit(cache=True)
def owns_reach_cell(cell: int, label: int, owners: ReachOwners) -> bool:
    """Return whether the reach of a label runs through a cell that some reach runs through."""
    if owners.labels[cell] == label:
        return True
    key = cell * owners.size + label
    at = np.searchsorted(owners.shared, key)
    return bool(at < len(owners.shared) and owners.shared[at] == key)


@njit(cache=True)
def by_label(cells: Any, labels: Any, count: int) -> Any:
    """Return cells by their label (flat), otherwise in the order given: a counting sort."""
    place = np.zeros(count + 1, np.int64)
    for cell in cells:
        place[labels[cell] + 1] += 1
    place = np.cumsum(place)
    out = np.empty_like(cells)
    for cell in cells:
        out[place[labels[cell]]] = cell
        place[labels[cell]] += 1
    return out


def without_checkers(labels: Labels, water: NDArray[np.bool_]) -> None:
    """Repair squares in which two catchments cross, in place, after labels of water (y, x) were changed."""
    _without_checkers(labels.catchment, labels.reach_mask, labels.reach_mask | water)


@njit(cache=True)
def _without_checkers(labels: Any, reach_mask: Any, fixed: Any) -> None:
    """Change labels, in place, so that no two catchments cross each other's diagonal in a square of four cells.

    Lines run through centers and stay in their catchment: without checkered squares no two lines can cross. A cell
    changes at most once; if relabeling fails, one cell of the square loses its label. Reach cells never change.
    """
    height, width = labels.shape
    changed = True
    while changed:
        changed = False
        for row in range(1, height - 2):
            for column in range(1, width - 2):
                a, b = labels[row, column], labels[row, column + 1]
                if a == b or a < 0 or b < 0 or a != labels[row + 1, column + 1] or b != labels[row + 1, column]:
                    continue
                repaired = False
                for loses in (False, True):
                    for k in range(4):
                        r, c = row + (k == 1 or k == 3), column + (k == 0 or k == 3)
                        if not repaired and not (reach_mask[r, c] if loses else fixed[r, c]):
                            labels[r, c] = NO_LABEL if loses else (a if k < 2 else b)
                            fixed[r, c] = True
                            repaired = True
                # Reaches may touch at a corner: no line runs through them.
                changed = changed or repaired
