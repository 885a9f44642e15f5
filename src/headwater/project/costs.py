"""What a cell, a basin and the planet cost: measured rates (data/rates.json), scaled by their pixels.

The model is linear in what each step touches: pixels of the 10 m grid with the margin (composite), posts (elevation),
tiles (prediction), pixels of the 20 m grid (vectors), and the start of a process for each job
(docs/explanation/scale.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from pathlib import Path

from headwater.geo.grid import TILE_PX, Cell, cell_grid, elevation_grid, prediction_grid, tiles

OVERLAP_PX = 208
"""Least overlap of prediction tiles (predict.overlap_px)."""
CELL_STEPS = ("select", "composite", "elevation", "predict", "vectorize")
"""Jobs of a cell."""
BASIN_STEPS = ("plan", "search", "backbone", "mosaic", "network", "report")
"""Jobs of a basin."""


@dataclass(frozen=True)
class Cost:
    """Expected work, of a cell or of many."""

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
    """Core hours of everything but the networks."""
    gpu_hours: float = 0.0
    """Hours of one GPU for the networks, where there is one."""
    predict_cpu_hours: float = 0.0
    """Core hours for the networks, where there is no GPU."""

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def times(self, count: int) -> Cost:
        """Return the cost of that many."""
        return Cost(*(getattr(self, field.name) * count for field in fields(self)))


@dataclass(frozen=True)
class Machine:
    """A machine or a group of them to run on."""

    name: str
    """What to call it."""
    cores: int
    """Cores that may be busy at the same time."""
    gpus: int
    """GPUs; without one the networks run on the cores."""
    download_mb_s: float
    """What the network brings, 10^6 bytes a second."""

    def days(self, cost: Cost) -> dict[str, float]:
        """Return days of download, of cores, of GPUs, and in all: the slowest, since cells run beside each other."""
        cpu_hours = cost.cpu_hours + (0 if self.gpus else cost.predict_cpu_hours)
        parts = {
            "download_days": (cost.sentinel2_gb + cost.dem_gb) * 1000 / self.download_mb_s / 86_400,
            "cpu_days": cpu_hours / self.cores / 24,
            "gpu_days": cost.gpu_hours / self.gpus / 24 if self.gpus else 0.0,
        }
        return parts | {"days": max(parts.values())}


@cache
def rates() -> dict[str, float]:
    """Return the value of each measured rate; data/rates.json tells units, machines and commands."""
    table = json.loads(_FILE.read_text())["rates"]
    return {name: float(rate["value"]) for name, rate in table.items()}


@cache
def machines() -> tuple[Machine, ...]:
    """Return the machines whose days are told."""
    return tuple(Machine(**machine) for machine in json.loads(_FILE.read_text())["machines"])


def basin_cost(cells: Iterable[Cell], *, margin_px: int) -> Cost:
    """Return the cost of a basin with these cells."""
    rows: dict[int, tuple[Cell, int]] = {}
    for cell in cells:
        rows[cell.row] = (cell, rows.get(cell.row, (cell, 0))[1] + 1)
    starts = sum(rates()[f"start_{step}_cpu_s"] for step in BASIN_STEPS)
    total = Cost(cpu_hours=starts / 3600)
    for cell, count in rows.values():
        total += _row_cost(cell.row, cell.degrees, margin_px).times(count)
    return total


@lru_cache(maxsize=4096)
def _row_cost(row: int, degrees: float, margin_px: int) -> Cost:
    """Return the cost of one cell: all cells of a row of the world have the same grid."""
    cell, rate = Cell(row, 0, degrees), rates()
    grid = cell_grid(cell, margin_px=margin_px)
    pixels = grid.width * grid.height
    posts = math.prod(elevation_grid(cell, margin_px=margin_px).shape)
    fine = math.prod(prediction_grid(cell).shape)
    count = len(tiles((grid.height, grid.width), tile_px=TILE_PX, overlap_px=OVERLAP_PX))
    cpu_s = (
        sum(rate[f"start_{step}_cpu_s"] for step in CELL_STEPS)
        + rate["select_cpu_s"]
        + pixels * rate["composite_cpu_s_per_px"]
        + posts * rate["elevation_cpu_s_per_post"]
        + fine * (rate["vectorize_cpu_s_per_px"] + rate["backbone_cpu_s_per_px"] + rate["network_cpu_s_per_px"])
    )
    stored = (
        pixels * rate["composite_bytes_per_px"]
        + posts * rate["elevation_bytes_per_post"]
        + fine * (rate["probability_bytes_per_px"] + rate["vector_bytes_per_px"])
    )
    return Cost(
        cells=1,
        tiles=count,
        sentinel2_gb=pixels * rate["sentinel2_bytes_per_px"] / 1e9,
        dem_gb=posts * rate["dem_bytes_per_post"] / 1e9,
        storage_gb=stored / 1e9,
        cpu_hours=cpu_s / 3600,
        gpu_hours=count * rate["predict_gpu_s_per_tile"] / 3600,
        predict_cpu_hours=count * rate["predict_cpu_s_per_tile"] / 3600,
    )


_FILE = Path(__file__).with_name("data") / "rates.json"
