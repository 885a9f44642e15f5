"""Components of water: what is connected within one catchment, and components that flow across a divide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.lines.catchment_raster import NO_LABEL, Labels, by_label, without_checkers
from headwater.waterways.lines.neighbors import offsets_by_row

NO_COMPONENT = -1


@dataclass(frozen=True)
class Components:
    """Water of a window in components connected (8 neighbors) within one catchment; reaches belong to none."""

    component: NDArray[np.int32]
    """(y, x) number of a cell's component; NO_COMPONENT where there is no water, and on reaches."""
    label: NDArray[np.int32]
    """(n,) catchment of each component."""
    cells: NDArray[np.int64]
    """Flat indices of all cells, component after component."""
    start: NDArray[np.int64]
    """(n + 1,) where each component's cells begin."""
    lowest: NDArray[np.int64]
    """(n,) flat index of the lowest cell."""
    height_m: NDArray[np.float32]
    """(n,) its elevation."""
    extent_px: NDArray[np.int32]
    """(n,) longer side of the box around it."""
    anchored: NDArray[np.bool_]
    """(n,) whether it touches its catchment's reach."""


def find_components(water: NDArray[np.bool_], elevation: NDArray[np.float32], labels: Labels) -> Components:
    """Find the components of water of each catchment.

    Parameters
    ----------
    water : (y, x) bool
        Cells detected as water.
    elevation : (y, x) float32
        Meters, without NaN; means of 3x3 cells.
    labels : Labels
        Of the window.
    """
    component, count = _label(water.ravel(), labels.catchment, labels.reach_mask.ravel())
    cells = by_label(np.flatnonzero(component >= 0), component.ravel(), count)
    start = np.searchsorted(component.ravel()[cells], np.arange(count + 1)).astype(np.int64)
    width = elevation.shape[1]
    lowest, height, extent = _lowest_and_extent(cells, start, elevation.ravel(), width)
    flat_labels = labels.catchment.ravel()
    anchored = _anchored(component.ravel(), flat_labels, labels.reach_cells, labels.reach_start, count, width)
    own_label = flat_labels[cells[start[:-1]]] if count else np.zeros(0, np.int32)
    return Components(component, own_label, cells, start, lowest, height, extent, anchored)


def reassign_across_divides(
    components: Components,
    elevation: NDArray[np.float32],
    labels: Labels,
    *,
    max_rise_m: float,
    lattice: NDArray[np.int64] | None = None,
) -> None:
    """Give components that flow out of their catchment to the one they flow into, in place in both tables.

    A component that does not touch its own reach goes to another catchment if it touches that one's reach; or else if
    it touches water there that does and that is deeper than its own lowest cell, across a divide at most `max_rise_m`
    above that cell. Either way it is anchored then. Only the component and its neighbors decide, so windows that hold
    them agree.

    Parameters
    ----------
    components : Components
        Of the window.
    elevation : (y, x) float32
        Meters, without NaN; means of 3x3 cells.
    labels : Labels
        Of the window.
    max_rise_m : float
        Limit of the divide's height.
    lattice : (labels,) int64, optional
        Number of the lattice that each catchment is vectorized on; one for all if not given. Two lattices see the water
        at their border in other pixels and would decide differently, so none of it is handed over between them.
    """
    one = np.zeros(labels.count, np.int64)
    changed = _reassign(
        _Table(
            components.cells,
            components.start,
            components.label,
            components.height_m,
            components.anchored,
            one if lattice is None else lattice,
        ),
        components.component.ravel(),
        elevation.ravel(),
        labels.catchment.ravel(),
        labels.reach_mask.ravel(),
        max_rise_m,
        elevation.shape[1],
    )
    if changed:
        without_checkers(labels, components.component >= 0)


class _Table(NamedTuple):
    """Components as kernels take them; see `Components`."""

    cells: Any
    start: Any
    label: Any
    height_m: Any
    anchored: Any
    lattice: Any
    """(labels,) int64, see `reassign_across_divides`."""


@njit(cache=True)
def _root(parent: Any, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True)
def _label(water: Any, labels: Any, reach_mask: Any) -> Any:
    """Label water within catchments, in two passes (Rosenfeld and Pfaltz 1966); numbers go by first cell."""
    height, width = labels.shape
    flat = labels.ravel()
    component = np.full(height * width, NO_COMPONENT, np.int32)
    parent = np.empty(height * width // 4 + height + width, np.int32)
    provisional = 0
    back = np.array([-width - 1, -width, -width + 1, -1])
    for row in range(1, height - 1):
        for cell in range(row * width + 1, row * width + width - 1):
            if not water[cell] or reach_mask[cell] or flat[cell] < 0:
                continue
            own = NO_COMPONENT
            for k in range(4):
                other = component[cell + back[k]]
                if other >= 0 and flat[cell + back[k]] == flat[cell]:
                    other = _root(parent, other)
                    if own < 0:
                        own = other
                    elif other < own:
                        parent[own] = other
                        own = other
                    elif own < other:
                        parent[other] = own
            if own < 0:
                own = provisional
                if provisional == len(parent):
                    more = np.empty(2 * len(parent), np.int32)
                    more[:provisional] = parent
                    parent = more
                parent[provisional] = provisional
                provisional += 1
            component[cell] = own
    number = np.full(provisional, NO_COMPONENT, np.int32)
    count = 0
    for i in range(provisional):
        if parent[i] == i:
            number[i] = count
            count += 1
    for cell in range(height * width):
        if component[cell] >= 0:
            component[cell] = number[_root(parent, component[cell])]
    return component.reshape(height, width), count


@njit(cache=True)
def _lowest_and_extent(cells: Any, start: Any, elevation: Any, width: int) -> Any:
    count = len(start) - 1
    lowest, height = np.empty(count, np.int64), np.empty(count, np.float32)
    extent = np.empty(count, np.int32)
    for component in range(count):
        north, south, west, east = np.int64(2**40), np.int64(-1), np.int64(2**40), np.int64(-1)
        least, at = np.inf, cells[start[component]]
        for k in range(start[component], start[component + 1]):
            cell = cells[k]
            row, column = cell // width, cell % width
            north, south, west, east = min(north, row), max(south, row), min(west, column), max(east, column)
            here = elevation[cell]
            if here < least:
                least, at = here, cell
        lowest[component], height[component] = at, least
        extent[component] = max(south - north, east - west) + 1
    return lowest, height, extent


@njit(cache=True)
def _anchored(component_of: Any, labels: Any, reach_cells: Any, reach_start: Any, count: int, width: int) -> Any:
    """Return whether components touch the reach of their catchment."""
    anchored = np.zeros(count, np.bool_)
    offsets = offsets_by_row(width)
    for label in range(len(reach_start) - 1):
        for k in range(reach_start[label], reach_start[label + 1]):
            for offset in offsets:
                neighbor = reach_cells[k] + offset
                if component_of[neighbor] >= 0 and labels[neighbor] == label:
                    anchored[component_of[neighbor]] = True
    return anchored


@njit(cache=True)
def _reassign(
    table: _Table,
    component_of: Any,
    elevation: Any,
    labels: Any,
    reach_mask: Any,
    max_rise_m: float,
    width: int,
) -> int:
    """Reassign components, in place in `table` and `labels`; return how many."""
    count = len(table.label)
    target = np.full(count, NO_LABEL, np.int64)
    # All targets first: no component may see what another one's reassignment changed.
    for component in range(count):
        if not table.anchored[component]:
            target[component] = _label_across(
                component, table, component_of, elevation, labels, reach_mask, max_rise_m, width
            )
    changed = 0
    for component in range(count):
        if target[component] == NO_LABEL:
            continue
        changed += 1
        table.label[component] = target[component]
        table.anchored[component] = True
        for k in range(table.start[component], table.start[component + 1]):
            labels[table.cells[k]] = target[component]
    return changed


@njit(cache=True)
def _label_across(
    component: int,
    table: _Table,
    component_of: Any,
    elevation: Any,
    labels: Any,
    reach_mask: Any,
    max_rise_m: float,
    width: int,
) -> Any:
    """Return the catchment that a component flows into across the lowest divide, reaches first; NO_LABEL for none."""
    offsets = offsets_by_row(width)
    own_height = table.height_m[component]
    lowest_divide, onto_reach, target = np.inf, False, np.int64(NO_LABEL)
    for k in range(table.start[component], table.start[component + 1]):
        for o in range(8):
            other = table.cells[k] + offsets[o]
            if labels[other] < 0 or labels[other] == table.label[component]:
                continue
            if table.lattice[labels[other]] != table.lattice[table.label[component]]:
                continue
            is_reach = reach_mask[other]
            if not is_reach:
                water = component_of[other]
                if water < 0 or not table.anchored[water] or not table.height_m[water] < own_height:
                    continue
            divide = elevation[other]
            if divide > own_height + max_rise_m or (onto_reach and not is_reach):
                continue
            if divide < lowest_divide or (is_reach and not onto_reach):
                lowest_divide, onto_reach = divide, is_reach
                target = np.int64(labels[other])
    return target
