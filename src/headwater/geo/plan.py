"""plan: the cells of a basin, from its polygon and the grid alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import InputError
from headwater.core.files import read_json, write_json
from headwater.geo.antimeridian_boxes import enclosing_box
from headwater.geo.basins import basin_polygon
from headwater.geo.grid import Bounds, Cell, cell_grid, cells_intersecting

MOST_MARGIN_PX = 1024
CELL_IN_PATH = "{cell}"
"""Stands for the name of a cell in a path."""


@dataclass(frozen=True)
class Plan:
    """What plan.json holds."""

    basin_id: str
    cell_degrees: float
    margin_px: int
    basin_bounds: Bounds
    """West, south, east, north of the polygon."""
    cells: tuple[Cell, ...]

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of all cells."""
        edges = [cell.bounds for cell in self.cells]
        return (
            min(edge[0] for edge in edges),
            min(edge[1] for edge in edges),
            max(edge[2] for edge in edges),
            max(edge[3] for edge in edges),
        )

    @property
    def bounds_in_one_piece(self) -> Bounds:
        """Box around all cells; with cells on both sides of 180 degrees its east lies beyond."""
        west, south, east, north = enclosing_box(cell.bounds for cell in self.cells)
        return (west, south, east if east > west else east + 360.0, north)

    def cell(self, name: str) -> Cell:
        """Return the cell of that name.

        Raises
        ------
        InputError
            The plan has no such cell.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise InputError(f"Cell {name} is not in the plan of basin {self.basin_id}.", "Take a name from plan.json.")


def plan_basin(polygons: Sequence[Path], basin_id: str, *, cell_degrees: float, margin_px: int) -> Plan:
    """Return the plan of a basin without writing it (the workflow does so while it is parsed)."""
    if not 0 <= margin_px <= MOST_MARGIN_PX or margin_px % 2:
        raise InputError(
            f"The margin of {margin_px} px is out of range or not even.",
            f"Use an even number of pixels from 0 to {MOST_MARGIN_PX}.",
        )
    polygon = basin_polygon(polygons, basin_id)
    cells = cells_intersecting(polygon, cell_degrees)
    if not cells:
        raise InputError(f"The polygon of basin {basin_id} is smaller than a pixel.", "Give a polygon with an area.")
    return Plan(
        basin_id=str(basin_id),
        cell_degrees=cell_degrees,
        margin_px=margin_px,
        basin_bounds=polygon.bounds,
        cells=tuple(cells),
    )


def write_plan(polygons: Sequence[Path], basin_id: str, out: Path, *, cell_degrees: float, margin_px: int) -> None:
    """Write plan.json.

    Parameters
    ----------
    polygons : sequence of Path
        Files of HydroBASINS polygons.
    basin_id : str
        HYBAS_ID.
    out : Path
        plan.json to write.
    cell_degrees : float
        Side of a cell.
    margin_px : int
        Pixels of the 10 m grid by which composite and elevation reach beyond the cell.
    """
    plan = plan_basin(polygons, basin_id, cell_degrees=cell_degrees, margin_px=margin_px)
    write_json(
        out,
        {
            "basin_bounds": list(plan.basin_bounds),
            "basin_id": plan.basin_id,
            "bounds": list(plan.bounds),
            "cell_degrees": plan.cell_degrees,
            "cells": [
                {
                    "bounds": list(cell.bounds),
                    "height": cell_grid(cell).height,
                    "name": cell.name,
                    "width": cell_grid(cell).width,
                }
                for cell in plan.cells
            ],
            "margin_px": plan.margin_px,
        },
    )


def read_plan(path: Path) -> Plan:
    """Read plan.json.

    Raises
    ------
    InputError
        The file is missing or is not a plan.
    """
    value = read_json(path)
    try:
        degrees = float(value["cell_degrees"])
        return Plan(
            basin_id=str(value["basin_id"]),
            cell_degrees=degrees,
            margin_px=int(value["margin_px"]),
            basin_bounds=_bounds(value["basin_bounds"]),
            cells=tuple(Cell.from_name(cell["name"], degrees) for cell in value["cells"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _no_plan(path) from error


def check_grid(path: Path, *, cell_degrees: float, margin_px: int) -> None:
    """Refuse a grid other than the one that a basin was begun with; reads, and writes nothing.

    Parameters
    ----------
    path : Path
        plan.json of the basin; may not be there yet.
    cell_degrees, margin_px
        The grid that is asked for, see `write_plan`.

    Raises
    ------
    InputError
        The plan has another grid: its cells' files would lie beside those of other cells.
    """
    if not Path(path).is_file():
        return
    value = read_json(path)
    try:
        begun = {"cell_degrees": float(value["cell_degrees"]), "margin_px": int(value["margin_px"])}
    except (KeyError, TypeError, ValueError) as error:
        raise _no_plan(path) from error
    for key, now in {"cell_degrees": cell_degrees, "margin_px": margin_px}.items():
        if begun[key] != now:
            raise InputError(
                f"{path.parent} was begun with grid.{key} {begun[key]:g}, and the configuration says {now:g}:"
                " what is there would be of no use; nothing was changed.",
                f"Set grid.{key} back, set `results` to another folder, or remove {path.parent} yourself.",
            )


def cell_paths(paths: Sequence[Path], plan: Path | None) -> list[Path]:
    """Return paths with each one that holds {cell} replaced by one for every cell of a plan.

    A basin may have more cells than fit on a command line.

    Raises
    ------
    InputError
        A path holds {cell}, and no plan is given.
    """
    if not any(CELL_IN_PATH in str(path) for path in paths):
        return list(paths)
    if plan is None:
        raise InputError(f"A path holds {CELL_IN_PATH}, but no plan is given.", "Give --plan as well.")
    names = [cell.name for cell in read_plan(plan).cells]
    found: list[Path] = []
    for path in paths:
        text = str(path)
        found += [Path(text.replace(CELL_IN_PATH, name)) for name in names] if CELL_IN_PATH in text else [path]
    return found


def _no_plan(path: Path) -> InputError:
    return InputError(f"{path} is not a plan.", "Run `headwater plan` again.")


def _bounds(value: Sequence[float]) -> Bounds:
    west, south, east, north = (float(edge) for edge in value)
    return (west, south, east, north)
