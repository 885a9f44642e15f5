"""plan: the cells of a basin, from its polygon and the grid alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.core.files import read_json, write_json
from headwater.geo.basins import basin_polygon, is_area
from headwater.geo.geodesy import METERS_PER_DEGREE
from headwater.geo.grid import Bounds, Cell, cell_grid, cells_intersecting, elevation_grid
from headwater.geo.longitudes import Box, cut_to_map, enclosing_box, end_of_span

MAX_MARGIN_PX = 1024
MAX_CELLS = 1_000_000
"""Cells of a basin that are listed at all, which takes a minute; the land of the world has 26,000 of one degree."""
BUFFER_KM = 10.0
"""How far beyond an area its elevation is used, so that rivers that enter it have an upstream; a basin needs none."""
CELL_IN_PATH = "{cell}"
"""Placeholder for the name of a cell in a path."""
EDGE_DEGREES = 0.002
"""Two GLO-30 postings and more: interpolation at the edge of a cell's margin needs the pixels beyond it."""


@dataclass(frozen=True)
class Plan:
    """The contents of plan.json."""

    basin_id: str
    cell_degrees: float
    margin_px: int
    basin_bounds: Bounds
    """West, south, east, north of the polygon."""
    cells: tuple[Cell, ...]
    buffer_cells: tuple[Cell, ...] = ()
    """Further cells, of which only the elevation is used: those within BUFFER_KM of an area; none around a basin."""

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
        """Box around all cells; with cells on both sides of 180 degrees its east is beyond 180."""
        west, south, east, north = enclosing_box(cell.bounds for cell in self.cells)
        return (west, south, end_of_span(west, east), north)

    def cell(self, name: str) -> Cell:
        """Return the cell of that name.

        Raises
        ------
        InputError
            The plan has no such cell.
        """
        for cell in (*self.cells, *self.buffer_cells):
            if cell.name == name:
                return cell
        raise InputError(f"Cell {name} is not in the plan of basin {self.basin_id}.", "Take a name from plan.json.")


class ManyCells(InputError):
    """A basin has more cells than are to be listed.

    Parameters
    ----------
    basin_id : str
        HYBAS_ID.
    count : int
        Its area in cells: there are at least so many.
    example : Cell
        One in its middle.
    """

    def __init__(self, basin_id: str, count: int, example: Cell) -> None:
        super().__init__(
            f"Basin {basin_id} has {count} cells of {example.degrees:g} degrees or more.",
            "Check its polygon and grid.cell_degrees.",
        )
        self.count, self.example = count, example


def plan_basin(
    polygons: Sequence[Path], basin_id: str, *, cell_degrees: float, margin_px: int, max_cells: int = MAX_CELLS
) -> Plan:
    """Return the plan of a basin without writing it (the workflow does this while it is parsed).

    Parameters
    ----------
    polygons, basin_id, cell_degrees, margin_px
        See `write_plan`.
    max_cells : int
        Cells of a larger area are not listed, which may take minutes; at most `MAX_CELLS`.

    Raises
    ------
    ManyCells
        The area of the basin is more than `max_cells` cells.
    InputError
        The basin has no valid polygon, or the margin is out of range.
    """
    if not 0 <= margin_px <= MAX_MARGIN_PX or margin_px % 2:
        raise InputError(
            f"The margin of {margin_px} px is out of range or not even.",
            f"Use an even number of pixels from 0 to {MAX_MARGIN_PX}.",
        )
    polygon = basin_polygon(polygons, basin_id)
    if polygon.area > min(max_cells, MAX_CELLS) * cell_degrees**2:
        middle = polygon.representative_point()
        row, column = math.floor(middle.y / cell_degrees), math.floor(middle.x / cell_degrees)
        raise ManyCells(basin_id, math.ceil(polygon.area / cell_degrees**2), Cell(row, column, cell_degrees))
    cells = cells_intersecting(polygon, cell_degrees)
    if not cells:
        raise InputError(f"The polygon of basin {basin_id} is smaller than a pixel.", "Give a polygon with an area.")
    return Plan(
        basin_id=str(basin_id),
        cell_degrees=cell_degrees,
        margin_px=margin_px,
        basin_bounds=polygon.bounds,
        cells=tuple(cells),
        buffer_cells=_buffer_cells(polygon, cells) if is_area(basin_id) else (),
    )


def with_buffer(polygon: BaseGeometry, km: float) -> BaseGeometry:
    """Return a polygon and all that is within some kilometers of it, between -180 and 180 degrees.

    East and west the buffer is as wide in degrees as it must be at the polygon's edge nearest to a pole.

    Parameters
    ----------
    polygon : shapely geometry
        Polygons in EPSG:4326, between -180 and 180 degrees.
    km : float
        Width of the buffer.
    """
    _, south, _, north = polygon.bounds
    stretch = max(0.01, math.cos(math.radians(min(89.0, max(abs(south), abs(north))))))
    flat = shapely.transform(polygon, lambda points: points * [stretch, 1])
    wide: BaseGeometry = shapely.buffer(flat, km * 1000 / METERS_PER_DEGREE, join_style="mitre", quad_segs=4)
    wide = shapely.transform(wide, lambda points: points / [stretch, 1])
    # Around the whole globe there is nothing more to the east or west.
    wide = shapely.intersection(wide, shapely.box(-540, -90, 540, 90))
    parts, _ = cut_to_map(shapely.get_parts(wide), dimension=2)
    united: BaseGeometry = shapely.union_all(parts)
    return united


def _buffer_cells(polygon: BaseGeometry, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    own = set(cells)
    return tuple(
        cell for cell in cells_intersecting(with_buffer(polygon, BUFFER_KM), cells[0].degrees) if cell not in own
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
        }
        | ({"buffer_cells": [cell.name for cell in plan.buffer_cells]} if plan.buffer_cells else {}),
        sealed=True,
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
            buffer_cells=tuple(Cell.from_name(name, degrees) for name in value.get("buffer_cells", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _no_plan(path) from error


def check_grid(path: Path, *, cell_degrees: float, margin_px: int) -> None:
    """Refuse a grid other than the one that a basin was started with; only reads.

    Parameters
    ----------
    path : Path
        plan.json of the basin; need not exist yet.
    cell_degrees, margin_px
        The requested grid, see `write_plan`.

    Raises
    ------
    InputError
        The plan has another grid: files of different cells would be mixed.
    """
    if not Path(path).is_file():
        return
    value = read_json(path)
    try:
        started = {"cell_degrees": float(value["cell_degrees"]), "margin_px": int(value["margin_px"])}
    except (KeyError, TypeError, ValueError) as error:
        raise _no_plan(path) from error
    for key, now in {"cell_degrees": cell_degrees, "margin_px": margin_px}.items():
        if started[key] != now:
            raise InputError(
                f"{path.parent} was started with grid.{key} {started[key]:g}, and the configuration sets {now:g}:"
                " the existing files would be useless; nothing was changed.",
                f"Set grid.{key} back, set `results` to another folder, or remove {path.parent} yourself.",
            )


def cell_boxes(plan: Plan, names: Iterable[str] | None = None) -> list[Box]:
    """Return the box of each cell with its margin and the pixels that interpolation at its edge needs.

    Parameters
    ----------
    plan : Plan
        The basin's plan.
    names : iterable of str, optional
        Only these cells; they may be of the buffer.
    """
    cells = plan.cells if names is None else [plan.cell(name) for name in names]
    boxes = []
    for cell in cells:
        west, south, east, north = cell_grid(cell, margin_px=plan.margin_px).bounds
        low, high = max(-90.0, south - EDGE_DEGREES), min(90.0, north + EDGE_DEGREES)
        # GLO-30's columns are far apart near the poles, and elevation has two beyond the margin.
        wide = max(EDGE_DEGREES, 4 * elevation_grid(cell, margin_px=plan.margin_px).dx)
        boxes.append((west - wide, low, east + wide, high))
    return boxes


def cell_paths(paths: Sequence[Path], plan: Path | None, *, buffer: bool = False) -> list[Path]:
    """Return paths in which each one that contains {cell} is replaced by one path per cell of a plan.

    A basin may have more cells than fit on a command line.

    Parameters
    ----------
    paths : sequence of Path
        Any paths.
    plan : Path, optional
        plan.json.
    buffer : bool
        Whether the cells around an area are wanted too.

    Raises
    ------
    InputError
        A path contains {cell}, and no plan is given.
    """
    if not any(CELL_IN_PATH in str(path) for path in paths):
        return list(paths)
    if plan is None:
        raise InputError(f"A path contains {CELL_IN_PATH}, but no plan is given.", "Give --plan as well.")
    the_plan = read_plan(plan)
    names = [cell.name for cell in (*the_plan.cells, *(the_plan.buffer_cells if buffer else ()))]
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
