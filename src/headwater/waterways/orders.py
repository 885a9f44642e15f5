"""Orders on a directed forest of segments: Strahler's, and the topological order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.waterways.downstream import refuse_wrong_rows


@dataclass(frozen=True)
class ForestOrders:
    """Orders of each segment, from one walk down a forest."""

    strahler: NDArray[np.int32]
    """Strahler order; 0 for segments on a cycle or downstream of one."""
    topological: NDArray[np.int64]
    """Place in a list in which every segment comes after all that flow into it; -1 on a cycle or downstream of one."""
    terminal: NDArray[np.int64]
    """Row of the outlet that the water leaves by; -1 for segments that reach none."""


def forest_orders(target: NDArray[np.int64], outside_order: NDArray[np.int32]) -> ForestOrders:
    """Return the Strahler order (Strahler 1957, doi:10.1029/TR038i006p00913), the topological one and the outlet.

    A source has Strahler order 1. Where two or more inflows share the highest order the segment has one more, else it
    has the highest. A segment whose upstream is outside the area has at least its known order.

    Parameters
    ----------
    target : (n,) int64
        Row of the segment each flows into; -1 at an outlet.
    outside_order : (n,) int32
        Strahler order that a segment has at least because of upstream outside the area; 0 where there is none.

    Returns
    -------
    ForestOrders
        Arrays of n values. The topological order depends on the order of the rows.

    Raises
    ------
    InputError
        A target is not a row.
    """
    refuse_wrong_rows(target)
    return ForestOrders(*_orders(np.ascontiguousarray(target, np.int64), np.ascontiguousarray(outside_order, np.int32)))


def strahler_orders(target: NDArray[np.int64], outside_order: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the Strahler order of each segment alone; see `forest_orders`."""
    return forest_orders(target, outside_order).strahler


@njit(cache=True)
def _orders(target: Any, outside_order: Any) -> Any:
    count = len(target)
    waiting = np.zeros(count, np.int64)
    for i in range(count):
        if target[i] >= 0:
            waiting[target[i]] += 1
    orders = np.zeros(count, np.int32)
    highest = np.zeros(count, np.int32)
    times = np.zeros(count, np.int32)
    ready = np.empty(count, np.int64)
    topological = np.full(count, -1, np.int64)
    last = 0
    for i in range(count):
        if waiting[i] == 0:
            ready[last] = i
            last += 1
    first = 0
    # Up- to downstream: a segment is ready when all that flow into it are done.
    while first < last:
        i = ready[first]
        topological[i] = first
        first += 1
        order = max(1, highest[i] + (1 if times[i] > 1 else 0))
        orders[i] = max(order, outside_order[i])
        following = target[i]
        if following < 0:
            continue
        if orders[i] > highest[following]:
            highest[following], times[following] = orders[i], 1
        elif orders[i] == highest[following]:
            times[following] += 1
        waiting[following] -= 1
        if waiting[following] == 0:
            ready[last] = following
            last += 1
    terminal = np.full(count, -1, np.int64)
    # Down- to upstream: the outlet of what a segment flows into is its own. What flows into a cycle keeps -1.
    for place in range(last - 1, -1, -1):
        i = ready[place]
        terminal[i] = i if target[i] < 0 else terminal[target[i]]
    return orders, topological, terminal
