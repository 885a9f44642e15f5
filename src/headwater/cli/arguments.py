"""Arguments that several subcommands have."""

from __future__ import annotations

import argparse
from pathlib import Path

EACH_CELL = "of each cell, or one path with {cell} in place of its name"


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
