"""Arguments that several subcommands have."""

from __future__ import annotations

import argparse
from pathlib import Path

EACH_CELL = "of each cell, or one path with {cell} in place of its name"
FORMATS = ("gpkg", "fgb", "pmtiles", "published")
SIGNING = ("planetary_computer", "token", "none")


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the file to write."""
    parser.add_argument("--out", type=Path, required=True, help=f"{name} to write")


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the basin's plan."""
    parser.add_argument("--plan", type=Path, required=True, help="plan.json of the basin")


def add_cell(parser: argparse.ArgumentParser) -> None:
    """Add the cell's name."""
    parser.add_argument("--cell", required=True, help="name of the cell")


def add_signing(parser: argparse.ArgumentParser) -> None:
    """Add how assets are signed."""
    parser.add_argument("--signing", choices=SIGNING, default="none", help="how assets are signed (default none)")
    parser.add_argument("--token-url", help="token endpoint, for --signing token")
