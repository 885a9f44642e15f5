"""Repairing shapes that cross themselves, in bounded time: few crossings are damage, thousands are no shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError

MAX_CROSSINGS = 1500
"""About how often a shape may cross itself: the time of its repair grows with the square, a second is needed here."""
MAX_REPAIRED_POINTS = 5_000_000
REMEDY = "Repair the polygon, or remove it from the file."
_SAMPLE = 400
"""Edges that are tested against all others."""


class TooTangled(ValueError):
    """A shape crosses itself too often to be repaired."""


def repaired(shape: BaseGeometry) -> BaseGeometry:
    """Return a shape, made valid if it is not.

    Raises
    ------
    TooTangled
        It crosses itself about `MAX_CROSSINGS` times or more.
    """
    if shapely.is_valid(shape):
        return shape
    refuse_tangles(shape)
    fixed: BaseGeometry = shapely.make_valid(shape)
    return fixed


def repaired_all(shapes: NDArray[Any], what: str) -> NDArray[Any]:
    """Return shapes made valid; `what` names one of them in messages.

    Raises
    ------
    InputError
        One crosses itself about `MAX_CROSSINGS` times or more.
    """
    # Missing ones are not valid either.
    for row in np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)):
        try:
            refuse_tangles(shapes[row])
        except TooTangled as error:
            west, south, *_ = shapely.bounds(shapes[row])
            raise InputError(f"{what} at {west:.6g}, {south:.6g} cannot be repaired: {error}.", REMEDY) from None
    return np.asarray(shapely.make_valid(shapes))


def refuse_tangles(shape: BaseGeometry | None) -> None:
    """Refuse a shape that crosses itself too often; from a sample of its edges, the same each time.

    Raises
    ------
    TooTangled
        It does.
    """
    if shape is None or shapely.get_num_coordinates(shape) < 2 * int(MAX_CROSSINGS**0.5):
        return  # too few edges for so many crossings
    rings = shapely.get_rings(shapely.get_parts(shapely.get_parts(shape)))
    points, part = shapely.get_coordinates(rings, return_index=True)
    if len(points) > MAX_REPAIRED_POINTS:
        raise TooTangled(f"it is not valid and has {len(points)} points")
    same = part[1:] == part[:-1]
    edges = np.asarray(shapely.linestrings(np.stack([points[:-1][same], points[1:][same]], axis=1)))
    edges = edges[shapely.length(edges) > 0]
    if not len(edges):
        return
    sample = edges[:: max(1, len(edges) // _SAMPLE)]
    hits = 0
    tree = shapely.STRtree(edges)
    for start in range(0, len(sample), 16):
        hits += tree.query(sample[start : start + 16], predicate="crosses").shape[1]
        crossings = hits * len(edges) / len(sample) / 2
        if crossings > MAX_CROSSINGS:
            raise TooTangled("it crosses itself thousands of times")
