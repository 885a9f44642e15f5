"""Arguments that several subcommands have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

EACH_CELL = "of each cell, or one path with {cell} in place of its name"


def number(low: float, high: float) -> Callable[[str], float]:
    """Return what reads a number of the command line and refuses one that is not from `low` to `high`, such as nan."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        # NaN is not between anything.
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from {low:g} to {high:g}")
        return value

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number of the command line and refuses one that is not from `low` to `high`."""

    def read(text: str) -> int:
        value = number(low, high)(text)
        if value != int(value):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number")
        return int(value)

    return read


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the file to write."""
    parser.add_argument("--out", type=Path, required=True, help=f"{name} to write")


def add_plan(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the basin's plan."""
    which = "" if required else ", where {cell} is used"
    parser.add_argument("--plan", type=Path, required=required, help=f"plan.json of the basin{which}")


def add_cell(parser: argparse.ArgumentParser) -> None:
    """Add the cell's name."""
    parser.add_argument("--cell", required=True, help="name of the cell")
