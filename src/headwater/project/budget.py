"""plan --all: cells, downloads, storage and hours of every basin, before anything is downloaded or made."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from headwater.core.errors import InputError
from headwater.core.files import write_if_changed
from headwater.geo.basins import basin_polygon, read_basins, tdx_header_numbers
from headwater.geo.grid import Cell, cells_intersecting
from headwater.geo.settings import GridSettings
from headwater.project.costs import Cost, basin_cost, machines
from headwater.project.placeholder_basins import LandTile, stand_in_basins

HYDROBASINS, STAND_IN = "hydrobasins", "stand-in"
"""What the cells of a basin were made from."""
_TILE_ID = re.compile(r"Copernicus_DSM_COG_\d+_([NS])(\d{2})_00_([EW])(\d{3})_00_DEM")


def plan_all(
    tile_index: Path,
    out: Path,
    *,
    polygons: Sequence[Path] = (),
    basin_ids: Sequence[str] = (),
    grid: GridSettings | None = None,
) -> None:
    """Write summary.csv, a row a basin and one for all, and machines.csv beside it; print the latter as a table.

    Parameters
    ----------
    tile_index : Path
        GeoParquet with the names of GLO-30's tiles in its column `tile_id`.
    out : Path
        summary.csv to write.
    polygons : sequence of Path
        Files of HydroBASINS polygons, for any of the basins.
    basin_ids : sequence of str
        Basins to plan (default: all of TDX-Hydro's).
    grid : GridSettings, optional
        Size and margin of the cells.
    """
    grid = grid or GridSettings()
    wanted = known_basins(basin_ids)
    cells = cells_of_basins(read_land_tiles(tile_index), polygons, cell_degrees=grid.cell_degrees)
    rows: list[dict[str, object]] = []
    total = Cost()
    for basin_id in wanted:
        origin, of_basin = cells[basin_id]
        cost = basin_cost(of_basin, margin_px=grid.margin_px)
        total += cost
        rows.append({"basin_id": basin_id, "polygon": origin} | _rounded(cost))
    rows.append({"basin_id": "all", "polygon": ""} | _rounded(total))
    write_if_changed(out, _csv(rows).encode())
    table: list[dict[str, object]] = [
        {"machine": machine.name, "cores": machine.cores, "gpus": machine.gpus, "download_mb_s": machine.download_mb_s}
        | {name: f"{days:.1f}" for name, days in machine.days(total).items()}
        for machine in machines()
    ]
    write_if_changed(out.with_name("machines.csv"), _csv(table).encode())
    print(markdown(table))


def known_basins(basin_ids: Sequence[str]) -> list[str]:
    """Return the basins asked for, all of TDX-Hydro's if none is named.

    Raises
    ------
    InputError
        One of them is not a basin of TDX-Hydro.
    """
    known = tdx_header_numbers()
    for basin_id in basin_ids:
        if basin_id not in known:
            raise InputError(
                f"Basin {basin_id} is not one of the {len(known)} level-2 basins of TDX-Hydro.",
                f"Use their HYBAS_ID, such as {next(iter(known))}.",
            )
    return sorted(set(basin_ids)) or sorted(known)


def read_land_tiles(tile_index: Path) -> list[LandTile]:
    """Return south and west of each GLO-30 tile of an index.

    Raises
    ------
    InputError
        The file cannot be read, or has no names of tiles.
    """
    import pyarrow
    import pyarrow.parquet

    remedy = "Give the index of GLO-30's tiles as GeoParquet with a column `tile_id`."
    try:
        names = pyarrow.parquet.read_table(tile_index, columns=["tile_id"])["tile_id"].to_pylist()
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise InputError(f"{tile_index} cannot be read as an index of tiles ({error}).", remedy) from error
    found = []
    for name in names:
        match = _TILE_ID.fullmatch(str(name))
        if match is None:
            raise InputError(f"{name!r} in {tile_index} is not the name of a GLO-30 tile.", remedy)
        found.append((int(match[2]) * (-1 if match[1] == "S" else 1), int(match[4]) * (-1 if match[3] == "W" else 1)))
    return found


def cells_of_basins(
    land: Iterable[LandTile], polygons: Sequence[Path], *, cell_degrees: float
) -> dict[str, tuple[str, list[Cell]]]:
    """Return for each basin of TDX-Hydro what its cells were made from, and the cells.

    A basin with a polygon has the cells that this meets. Land tiles that no polygon meets are shared out among the
    other basins (`headwater.project.placeholder_basins`).
    """
    known = tdx_header_numbers()
    found: dict[str, tuple[str, list[Cell]]] = {}
    covered: set[LandTile] = set()
    if polygons:
        given = set(read_basins(polygons)["basin_id"])
        if not given & set(known):
            raise InputError(
                f"None of the polygons in {', '.join(str(path) for path in polygons)} is a basin of TDX-Hydro.",
                "Give HydroBASINS polygons of level 2.",
            )
        for basin_id in sorted(given & set(known)):
            polygon = basin_polygon(polygons, basin_id)
            found[basin_id] = (HYDROBASINS, cells_intersecting(polygon, cell_degrees))
            covered.update((cell.row, cell.column) for cell in cells_intersecting(polygon, 1.0))
    land = set(land) - covered
    shared = stand_in_basins(sorted(land), set(known) - set(found))
    left = len(land) - sum(map(len, shared.values()))
    print(f"headwater: {left} land tiles are in no basin (Antarctica, for the most part).", file=sys.stderr)
    parts = round(1 / cell_degrees)
    for basin_id, tiles in shared.items():
        found[basin_id] = (
            STAND_IN,
            [
                Cell(row, column, cell_degrees)
                for south, west in tiles
                for row in range(south * parts, (south + 1) * parts)
                for column in range(west * parts, (west + 1) * parts)
            ],
        )
    return found


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """Return rows of the same keys as a table in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(map(str, row.values())) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rounded(cost: Cost) -> dict[str, object]:
    values = asdict(cost)
    return {
        field.name: f"{values[field.name]:.1f}" if "_" in field.name else values[field.name] for field in fields(cost)
    }


def _csv(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
