"""plan --all: cells, downloads, storage and hours of every basin, before anything is downloaded or computed.

The cost model scales measured rates (data/rates.json) linearly with what each step touches: pixels of the 10 m grid
with the margin (composite), posts (elevation), tiles (prediction), pixels of the 20 m grid (vectors), and one process
start per job (docs/explanation/scale.md).
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError
from headwater.core.files import write_if_changed
from headwater.core.markdown import markdown_table
from headwater.geo.basins import basin_polygon, read_basins, tdx_header_numbers
from headwater.geo.grid import (
    Cell,
    cell_grid,
    cells_intersecting,
    elevation_grid,
    prediction_grid,
    tiles,
)
from headwater.geo.settings import GridSettings
from headwater.predict.settings import PredictSettings
from headwater.project.placeholder_basins import LandTile, placeholder_basins

CELL_STEPS = ("select", "composite", "elevation", "predict", "vectorize")
"""Steps that run once per cell."""
BASIN_STEPS = ("plan", "search", "backbone", "mosaic", "network", "report")
"""Steps that run once per basin."""
HYDROBASINS, PLACEHOLDER = "hydrobasins", "stand-in"
"""Where the cells of a basin come from: its polygon, or `headwater.project.placeholder_basins`."""
_TILE_ID = re.compile(r"Copernicus_DSM_COG_\d+_([NS])(\d{2})_00_([EW])(\d{3})_00_DEM")


@dataclass(frozen=True)
class Cost:
    """Expected work for one cell or many."""

    cells: int = 0
    """Cells."""
    tiles: int = 0
    """Prediction tiles."""
    sentinel2_gb: float = 0.0
    """Sentinel-2 read over the network, 10^9 bytes."""
    dem_gb: float = 0.0
    """Copernicus DEM read over the network, 10^9 bytes."""
    storage_gb: float = 0.0
    """Files in results, 10^9 bytes."""
    cpu_hours: float = 0.0
    """Core hours of everything except the neural networks."""
    gpu_hours: float = 0.0
    """Hours of one GPU for the neural networks, where there is one."""
    predict_cpu_hours: float = 0.0
    """Core hours for the neural networks, where there is no GPU."""

    def __add__(self, other: Cost) -> Cost:
        """Return the sum of two costs."""
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def times(self, count: int) -> Cost:
        """Return the cost multiplied by a count."""
        return Cost(*(getattr(self, field.name) * count for field in fields(self)))


@dataclass(frozen=True)
class Machine:
    """A machine, or a group of machines."""

    name: str
    """Its label in the table."""
    cores: int
    """Cores that can be busy at the same time."""
    gpus: int
    """GPUs; without one the neural networks run on the cores."""
    download_mb_s: float
    """Download rate, 10^6 bytes per second."""

    def days(self, cost: Cost) -> dict[str, float]:
        """Return the days of download, CPU and GPU work, and the total: the slowest, since they run in parallel."""
        cpu_hours = cost.cpu_hours + (0 if self.gpus else cost.predict_cpu_hours)
        parts = {
            "download_days": (cost.sentinel2_gb + cost.dem_gb) * 1000 / self.download_mb_s / 86_400,
            "cpu_days": cpu_hours / self.cores / 24,
            "gpu_days": cost.gpu_hours / self.gpus / 24 if self.gpus else 0.0,
        }
        return parts | {"days": max(parts.values())}


def plan_all(
    tile_index: Path,
    out: Path,
    *,
    polygons: Sequence[Path] = (),
    basin_ids: Sequence[str] = (),
    grid: GridSettings | None = None,
) -> None:
    """Write summary.csv (one row per basin and a total) and machines.csv; print the latter as a table.

    Parameters
    ----------
    tile_index : Path
        GeoParquet with the names of the GLO-30 tiles in its column `tile_id`.
    out : Path
        summary.csv to write; machines.csv goes into the same folder.
    polygons : sequence of Path
        Files of HydroBASINS polygons, for any of the basins.
    basin_ids : sequence of str
        Basins to plan (default: all of TDX-Hydro).
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
    print(markdown_table(list(table[0]), [list(map(str, row.values())) for row in table]), end="")


def known_basins(basin_ids: Sequence[str]) -> list[str]:
    """Return the requested basins, sorted; all basins of TDX-Hydro if none is named.

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
    """Return the south and west edge of each GLO-30 tile in an index.

    Raises
    ------
    InputError
        The file cannot be read, or has no tile names.
    """
    import pyarrow
    import pyarrow.parquet

    remedy = "Give the GLO-30 tile index as GeoParquet with a column `tile_id`."
    try:
        names = pyarrow.parquet.read_table(tile_index, columns=["tile_id"])["tile_id"].to_pylist()
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise InputError(f"{tile_index} cannot be read as a tile index ({error}).", remedy) from error
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
    """Return the cells of each TDX-Hydro basin and where they come from (`HYDROBASINS` or `PLACEHOLDER`).

    A basin with a polygon has the cells that intersect it. The land tiles that intersect no polygon are divided among
    the other basins (`headwater.project.placeholder_basins`).
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
    placeholders = placeholder_basins(sorted(land), set(known) - set(found))
    left = len(land) - sum(map(len, placeholders.values()))
    print(f"headwater: {left} land tiles are in no basin (mostly Antarctica).", file=sys.stderr)
    parts = round(1 / cell_degrees)
    for basin_id, land_tiles in placeholders.items():
        found[basin_id] = (
            PLACEHOLDER,
            [
                Cell(row, column, cell_degrees)
                for south, west in land_tiles
                for row in range(south * parts, (south + 1) * parts)
                for column in range(west * parts, (west + 1) * parts)
            ],
        )
    return found


@cache
def rates() -> dict[str, float]:
    """Return the value of each measured rate; data/rates.json has units, machines and commands."""
    return {name: float(rate["value"]) for name, rate in _rates_file()["rates"].items()}


@cache
def machines() -> tuple[Machine, ...]:
    """Return the machines of the table."""
    return tuple(Machine(**machine) for machine in _rates_file()["machines"])


def basin_cost(cells: Iterable[Cell], *, margin_px: int, published: bool = False) -> Cost:
    """Return the cost of a basin with these cells; `published`: from published rasters, without scenes and network."""
    rows: dict[int, tuple[Cell, int]] = {}
    for cell in cells:
        rows[cell.row] = (cell, rows.get(cell.row, (cell, 0))[1] + 1)
    starts = sum(rates()[f"start_{step}_cpu_s"] for step in BASIN_STEPS)
    total = Cost(cpu_hours=starts / 3600)
    for cell, count in rows.values():
        total += _cell_cost(cell.row, cell.degrees, margin_px, published).times(count)
    return total


@lru_cache(maxsize=4096)
def _cell_cost(row: int, degrees: float, margin_px: int, published: bool) -> Cost:
    """Return the cost of one cell: all cells at the same latitude have the same grid."""
    cell, rate = Cell(row, 0, degrees), rates()
    grid = cell_grid(cell, margin_px=margin_px)
    pixels = grid.width * grid.height
    posts = math.prod(elevation_grid(cell, margin_px=margin_px).shape)
    pixels_20m = math.prod(prediction_grid(cell).shape)
    settings = PredictSettings()
    tile_count = len(tiles((grid.height, grid.width), tile_px=settings.tile_px, overlap_px=settings.overlap_px))
    cpu_s = (
        sum(rate[f"start_{step}_cpu_s"] for step in CELL_STEPS)
        + rate["select_cpu_s"]
        + pixels * rate["composite_cpu_s_per_px"]
        + posts * rate["elevation_cpu_s_per_post"]
        + pixels_20m * (rate["vectorize_cpu_s_per_px"] + rate["backbone_cpu_s_per_px"] + rate["network_cpu_s_per_px"])
    )
    stored = (
        pixels * rate["composite_bytes_per_px"]
        + posts * rate["elevation_bytes_per_post"]
        + pixels_20m * (rate["probability_bytes_per_px"] + rate["vector_bytes_per_px"])
    )
    if published:
        read = pixels_20m * rate["probability_bytes_per_px"]
        return Cost(
            cells=1,
            # Of images in the wider sense: the published rasters are made of Sentinel-2.
            sentinel2_gb=read / 1e9,
            dem_gb=posts * rate["dem_bytes_per_post"] / 1e9,
            storage_gb=(stored - pixels * rate["composite_bytes_per_px"]) / 1e9,
            cpu_hours=(cpu_s - pixels * rate["composite_cpu_s_per_px"] - rate["start_composite_cpu_s"]) / 3600,
        )
    return Cost(
        cells=1,
        tiles=tile_count,
        sentinel2_gb=pixels * rate["sentinel2_bytes_per_px"] / 1e9,
        dem_gb=posts * rate["dem_bytes_per_post"] / 1e9,
        storage_gb=stored / 1e9,
        cpu_hours=cpu_s / 3600,
        gpu_hours=tile_count * rate["predict_gpu_s_per_tile"] / 3600,
        predict_cpu_hours=tile_count * rate["predict_cpu_s_per_tile"] / 3600,
    )


@cache
def _rates_file() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((files("headwater") / "data" / "rates.json").read_text())
    return table


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
