"""Trees over the pixels of an elevation model: which pixel must be flooded before which.

Pixels are ordered by height, equal ones by their index. A *parent* is lower than its *child*: what floods the child
floods its parents. In the split tree (Xie, Jiang and Sainju 2018, HMT) each pixel has one child, in the contour tree
(Jiang and Sainju 2019, HMCT; Carr, Snoeyink and Axen 2003) it may have several. Pixels without height are in no tree.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.core.elevations import refuse_no_elevation
from headwater.core.errors import InputError

MAX_PIXELS = 2**31 - 2
"""Pixels are numbered in 32 bits."""


class Tree(NamedTuple):
    """A forest over n nodes, one tree for each connected area, rooted for passing messages.

    Each node is joined to one neighbor, `toward`, nearer to the root of its tree; that neighbor is lower or higher.
    """

    sequence: NDArray[np.int32]
    """(m,) the nodes, leaves first: each before the one it is joined to. Roots, too, are in it."""
    toward: NDArray[np.int32]
    """(n,) the neighbor nearer to the root; -1 for roots and for what is in no tree."""
    is_child: NDArray[np.bool_]
    """(n,) whether the node is the child of that neighbor: higher than it."""

    @property
    def edges(self) -> NDArray[np.int32]:
        """(k, 2) parent and child, the lower one first; k is the number of nodes less that of trees."""
        joined = self.sequence[self.toward[self.sequence] >= 0]
        other, up = self.toward[joined], self.is_child[joined]
        return np.column_stack([np.where(up, other, joined), np.where(up, joined, other)])


def split_tree(elevation: NDArray[np.floating[Any]]) -> Tree:
    """Return the tree of HMT: each pixel's child is the next higher pixel of the area that it floods into.

    Parameters
    ----------
    elevation : (y, x) float
        Meters, NaN where unknown. Depressions are not to be filled: they are where floods begin.

    Raises
    ------
    InputError
        There is no pixel with elevation, there are too many, or one cannot be an elevation.
    """
    order, rank = _ordered(elevation)
    child = _sweep(order, rank, elevation.shape[1])[0]
    return Tree(order, child, np.zeros(len(child), dtype=bool))


def contour_tree(elevation: NDArray[np.floating[Any]]) -> Tree:
    """Return the tree of HMCT: the contour tree, whose branches are the connected parts of each water level.

    The split tree (swept upward) and the join tree (swept downward) are merged leaf by leaf (Carr, Snoeyink and Axen
    2003); the order of that is the one in which messages are passed. Time and memory are linear after sorting.

    Parameters
    ----------
    elevation : (y, x) float
        Meters, NaN where unknown.

    Raises
    ------
    InputError
        See `split_tree`.
    """
    order, rank = _ordered(elevation)
    width = elevation.shape[1]
    above, parents, parent_sum = _sweep(order, rank, width)
    # Downward: the same sweep over the pixels in the opposite order.
    reverse = np.where(rank >= 0, np.int32(len(order) - 1) - rank, np.int32(-1))
    below, children, child_sum = _sweep(order[::-1].copy(), reverse, width)
    sequence, toward, is_child = _merge(order, above, parents, parent_sum, below, children, child_sum)
    return Tree(sequence, toward, is_child)


def make_tree(elevation: NDArray[np.floating[Any]], kind: Literal["hmt", "hmct"]) -> Tree:
    """Return the tree of a method: hmt is the split tree, hmct the contour tree."""
    return split_tree(elevation) if kind == "hmt" else contour_tree(elevation)


def collapse(tree: Tree, elevation: NDArray[np.floating[Any]]) -> tuple[Tree, NDArray[np.int32]]:
    """Join neighbors of a tree that are equally high to one node, for elevation in whole meters.

    Returns
    -------
    tree : Tree
        Of the nodes 0..k-1.
    node : (n,) int32
        Node of each pixel; -1 for what is in no tree.
    """
    heights = np.ascontiguousarray(elevation).ravel()
    node, count = _groups(tree.sequence, tree.toward, heights)
    joined = tree.sequence[(tree.toward[tree.sequence] < 0) | (node[tree.sequence] != node[tree.toward[tree.sequence]])]
    toward = np.full(count, -1, dtype=np.int32)
    is_child = np.zeros(count, dtype=bool)
    # Of each group one pixel is joined to another group, or is a root: the last of the group in the sequence.
    inner = joined[tree.toward[joined] >= 0]
    toward[node[inner]] = node[tree.toward[inner]]
    is_child[node[inner]] = tree.is_child[inner]
    return Tree(node[joined], toward, is_child), node


def _ordered(elevation: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the pixels with elevation from low to high, and the rank of each pixel, -1 without elevation."""
    if elevation.ndim != 2 or elevation.size > MAX_PIXELS:
        raise InputError(
            f"The elevation has the shape {elevation.shape}.", f"Give rows and columns, {MAX_PIXELS:,} pixels at most."
        )
    refuse_no_elevation(elevation, "The elevation")
    heights = np.ascontiguousarray(elevation).ravel()
    order = np.argsort(heights, kind="stable")[: int(np.isfinite(heights).sum())].astype(np.int32)
    if not len(order):
        raise InputError("No pixel has an elevation.", "Give the elevation of the place.")
    rank = np.full(heights.size, -1, dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return order, rank


@njit(cache=True)
def _find(roots: Any, node: int) -> int:
    """Return the root of a node's component, halving the path to it."""
    while roots[node] != node:
        roots[node] = roots[roots[node]]
        node = roots[node]
    return node


@njit(cache=True)
def _sweep(order: Any, rank: Any, width: int) -> Any:
    """Join pixels in an order to those before them: the last of each component that a pixel touches leads to it.

    Returns, for each pixel, the one it leads to (-1: none), how many lead to it, and the sum of these.
    """
    size = len(rank)
    height = size // width
    onward = np.full(size, -1, np.int32)
    count = np.zeros(size, np.int8)
    total = np.zeros(size, np.int64)
    roots = np.arange(size).astype(np.int32)
    last = np.arange(size).astype(np.int32)
    members = np.ones(size, np.int32)
    for place in range(len(order)):
        pixel = order[place]
        row, column = pixel // width, pixel % width
        own = np.int64(pixel)
        for y in range(max(row - 1, 0), min(row + 2, height)):
            for x in range(max(column - 1, 0), min(column + 2, width)):
                other = y * width + x
                if rank[other] < 0 or rank[other] >= place:
                    continue
                root = np.int64(_find(roots, other))
                if root == own:
                    continue
                end = last[root]
                onward[end] = pixel
                count[pixel] += 1
                total[pixel] += end
                # The larger component's root stays: paths are short.
                if members[root] > members[own]:
                    root, own = own, root
                roots[root] = own
                members[own] += members[root]
        last[own] = pixel
    return onward, count, total


@njit(cache=True)
def _merge(order: Any, above: Any, parents: Any, parent_sum: Any, below: Any, children: Any, child_sum: Any) -> Any:
    """Merge split and join tree: take leaves of both one by one (Carr, Snoeyink and Axen 2003).

    `above` and `below` lead up the split tree and down the join tree; `parents` and `children` count what leads to a
    pixel in each, and their sums name it where it is one. All are changed.
    """
    sequence = np.empty(len(order), np.int32)
    toward = np.full(len(above), -1, np.int32)
    is_child = np.zeros(len(above), np.bool_)
    queue = np.empty(len(order) + 1, np.int32)
    first, end, taken = 0, 0, 0
    for pixel in order:
        if parents[pixel] + children[pixel] == 1:
            queue[end] = pixel
            end += 1
    while first < end:
        pixel = queue[first]
        first += 1
        if parents[pixel] + children[pixel] != 1:
            continue  # the last of its area
        if children[pixel] == 0:
            near = below[pixel]
            is_child[pixel] = True
            children[near] -= 1
            child_sum[near] -= pixel
            lower, upper = np.int64(parent_sum[pixel]), above[pixel]
            above[lower] = upper
            if upper >= 0:
                parent_sum[upper] += lower - pixel
            parents[pixel] = 0
        else:
            near = above[pixel]
            parents[near] -= 1
            parent_sum[near] -= pixel
            upper_one, lower_one = np.int64(child_sum[pixel]), below[pixel]
            below[upper_one] = lower_one
            if lower_one >= 0:
                child_sum[lower_one] += upper_one - pixel
            children[pixel] = 0
        toward[pixel] = near
        sequence[taken] = pixel
        taken += 1
        if parents[near] + children[near] == 1:
            queue[end] = near
            end += 1
    # Roots: what is left of each area.
    for pixel in order:
        if toward[pixel] < 0:
            sequence[taken] = pixel
            taken += 1
    return sequence, toward, is_child


@njit(cache=True)
def _groups(sequence: Any, toward: Any, heights: Any) -> Any:
    """Return the number of each pixel's group of equally high neighbors in a tree, and how many there are."""
    node = np.full(len(toward), -1, np.int32)
    count = 0
    # Root outward: the neighbor has its group.
    for place in range(len(sequence) - 1, -1, -1):
        pixel = sequence[place]
        near = toward[pixel]
        if near >= 0 and heights[near] == heights[pixel]:
            node[pixel] = node[near]
        else:
            node[pixel] = count
            count += 1
    return node, count
