"""The doors through which something comes in, each with a corpus of hostile inputs.

A door is a function of a `random.Random`, which yields inputs without end: first the fixed ones, then drawn ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from hostile.doors.catalogs import catalog_replies, token_replies
from hostile.doors.checkpoints import checkpoints
from hostile.doors.intermediates import damaged_intermediates
from hostile.doors.rasters import elevation_tiles, remote_rasters, scenes
from hostile.doors.tables import tables
from hostile.doors.values import configurations, options
from hostile.lab import Input


class Door(NamedTuple):
    """Inputs without end, and how many of them are tried."""

    inputs: Callable[[Random], Iterator[Input]]
    campaign: int
    short: int


DOORS: dict[str, Door] = {
    "catalog": Door(catalog_replies, 230, 14),
    "tokens": Door(token_replies, 60, 6),
    "scenes": Door(scenes, 140, 10),
    "elevation": Door(elevation_tiles, 120, 8),
    "remote": Door(remote_rasters, 60, 6),
    "checkpoints": Door(checkpoints, 130, 10),
    "tables": Door(tables, 140, 10),
    "configuration": Door(configurations, 140, 12),
    "options": Door(options, 80, 8),
    "intermediates": Door(damaged_intermediates, 252, 28),
}
