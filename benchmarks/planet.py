"""A simulated planet: all cells of the world through plan and scene selection, without network or rasters.

    python benchmarks/planet.py --tiles glo30_tile_index.parquet --json planet.json

Every GLO-30 tile is a cell, including Antarctica's. A quarter, a half and all of them pass through the costs of
`plan --all`, the neighbors of each cell (which the DAG requests from the grid) and the choice of `select` among 24
synthetic scenes per cell, whose clear views are arrays of 32 x 32 pixels. Each count runs in a separate process. Not
included: reading items.parquet and the scenes' statistics, and Snakemake's own DAG, which benchmarks/dag.py measures
per basin. The baseline is the quarter: `linear` is CPU seconds per cell of all cells over those of the quarter; 1 is
linear.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.geo.grid import Cell, neighborhoods
from headwater.imagery.selection import choose_scenes
from headwater.imagery.settings import SelectSettings
from headwater.project.budget import basin_cost, read_land_tiles
from headwater.stac.items import Scene

SCENES, VIEW_PX, PARTS = 24, 32, (4, 2, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiles", type=Path, required=True, help="index of GLO-30's tiles")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        cells = [Cell(south, west, 1.0) for south, west in read_land_tiles(options.tiles)]
        print(json.dumps(push(sorted(cells, key=lambda cell: (cell.row, cell.column))[-len(cells) // options.part :])))
        return
    runs = []
    for part in PARTS:
        command = [sys.executable, __file__, "--tiles", str(options.tiles), "--part", str(part)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print("  ".join(f"{key} {value}" for key, value in runs[-1].items()))
    linear = {
        key: round(runs[-1][key] / runs[-1]["cells"] * runs[0]["cells"] / runs[0][key], 2)
        for key in ("plan_cpu_s", "neighbours_cpu_s", "select_cpu_s")
    }
    print("linear", linear)
    if options.json:
        options.json.write_text(json.dumps({"runs": runs, "linear": linear}, indent=1) + "\n")


def push(cells: Sequence[Cell]) -> dict[str, float]:
    """Return CPU seconds of each step for these cells, and the peak memory."""
    times = [time.process_time()]
    basin_cost(cells, margin_px=64)
    names = [cell.name for cell in cells]
    times.append(time.process_time())
    neighborhoods(cells)
    times.append(time.process_time())
    chosen = sum(len(choose_scenes([scenes_of(name)], clear_view, SelectSettings())) for name in names)
    times.append(time.process_time())
    plan_s, neighbours_s, select_s = (round(float(value), 3) for value in np.diff(times))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "cells": len(cells), "plan_cpu_s": plan_s, "neighbours_cpu_s": neighbours_s, "select_cpu_s": select_s,
        "scenes_chosen": chosen, "peak_mb": round(peak, 1),
    }  # fmt: skip


def scenes_of(name: str) -> list[Scene]:
    """Make synthetic candidates of a cell, the same each time."""
    seed = sum(map(ord, name))
    return [
        Scene(
            id=f"{name}_{number}", collection="sentinel-2-l2a", datetime=f"2023-06-{number + 1:02}T00:00:00Z",
            mgrs_tile="33TWM", baseline="05.09", offset=1000, epsg=32633, cloud_cover=float(seed * (number + 7) % 100),
            nodata_percentage=0.0, updated="", assets={},
        )
        for number in range(SCENES)
    ]  # fmt: skip


def clear_view(scene: Scene) -> NDArray[np.bool_]:
    """Return a view with the scene's cloud cover."""
    cloudy = np.random.default_rng(len(scene.id) + int(scene.cloud_cover)).uniform(0, 100, (VIEW_PX, VIEW_PX))
    clear: NDArray[np.bool_] = cloudy >= scene.cloud_cover
    return clear


if __name__ == "__main__":
    main()
