"""Time and memory of parsing the workflow: dry runs of the largest basin, of each basin, and of a finished basin.

    python benchmarks/dag.py --tiles glo30_tile_index.parquet --json dag.json
    python benchmarks/dag.py --tiles glo30_tile_index.parquet --basins 3

Basins are the placeholder basins of `headwater plan --all`, as polygons whose edges have a point every 15 arc seconds,
like those of HydroBASINS, in one file. The workflow is the real one with `backbone.kind: tdx` and empty files for
TDX-Hydro.
    largest_basin_s, _mb   dry run of the basin with most cells, without results; jobs: their number
    parse_s                of those, `snakemake --list-rules`: reading the workflow alone
    all_basins_s           dry runs of all basins in sequence, without results
    nothing_to_do_s        dry run of the largest basin with every output present. Its files are empty; Snakemake's
                           own `--touch` dates them in order and writes the metadata of a run
The baseline is `parse_s`: the rest of a dry run is the DAG. Seconds are wall time with one process, `_cpu_s` CPU time;
memory is the peak of that process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import shapely
import yaml

from headwater.geo.grid import Cell
from headwater.project.budget import cells_of_basins, read_land_tiles

ROOT = Path(__file__).parents[1]
CELL_OUTPUTS = (
    "scenes.json", "dem.json", "composite.tif", "elevation.tif", "probability.tif", "waterways.parquet",
)  # fmt: skip
BASIN_OUTPUTS = (
    "items.parquet", "reaches.parquet", "catchments.parquet", "mosaic.vrt", "waterways.parquet",
    "waterways.checks.json", "summary.csv", "report/index.html",
    *(f"report/{name}.png" for name in ("network", "sources", "composite", "elevation", "probability")),
)  # fmt: skip
BIN = Path(sys.executable).parent
"""Folder of this environment's programs, independent of PATH."""
DRY_RUN = ("--dry-run", "--quiet", "rules")
VERTEX_DEGREES = 1 / 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiles", type=Path, required=True, help="index of GLO-30's tiles")
    parser.add_argument("--basins", type=int, help="number of basins to measure, the largest first (default: all)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    planet = cells_of_basins(read_land_tiles(options.tiles), [], cell_degrees=1)
    cells = {basin: part for basin, (_, part) in planet.items()}
    largest = max(cells, key=lambda basin: len(cells[basin]))
    ordered = sorted(cells, key=lambda basin: -len(cells[basin]))[: options.basins]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(folder, {basin: cells[basin] for basin in cells})
        figures: dict[str, object] = {"basin": largest, "cells": len(cells[largest])}
        write_plan(folder, largest)
        figures["parse_s"] = snakemake(folder, largest, "--list-rules").wall_s
        run = snakemake(folder, largest, *DRY_RUN)
        figures |= {"largest_basin_s": run.wall_s, "largest_basin_cpu_s": run.cpu_s, "largest_basin_mb": run.peak_mb}
        figures["jobs"] = jobs_of(run.text)
        finish(folder, largest, cells[largest])
        run = snakemake(folder, largest, *DRY_RUN)
        figures |= {"nothing_to_do_s": run.wall_s, "nothing_to_do_cpu_s": run.cpu_s, "nothing_to_do_mb": run.peak_mb}
        if jobs_of(run.text):
            raise SystemExit(f"there was something to do:\n{run.text[-2000:]}")
        shutil.rmtree(folder / "results")
        print(json.dumps(figures), file=sys.stderr, flush=True)
        runs = [snakemake(folder, basin, *DRY_RUN) for basin in ordered]
        figures |= {"all_basins": len(runs), "all_basins_s": round(sum(run.wall_s for run in runs), 1)}
        figures["all_basins_cpu_s"] = round(sum(run.cpu_s for run in runs), 1)
    for key, value in figures.items():
        print(f"{key:20} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def write_project(folder: Path, cells: dict[str, list[Cell]]) -> None:
    """Write polygons, empty backbone files and the configuration of each basin."""
    shapes = [
        shapely.segmentize(shapely.union_all([shapely.box(*cell.bounds) for cell in part]), VERTEX_DEGREES)
        for part in cells.values()
    ]
    table = gpd.GeoDataFrame({"HYBAS_ID": [int(basin) for basin in cells]}, geometry=shapes, crs=4326)
    table.to_file(folder / "basins.gpkg", layer="basins")
    for basin in cells:
        for kind in ("streams", "catchments"):
            (folder / f"{kind}_{basin}.gpkg").touch()
        config = {
            "basins": {"polygons": "basins.gpkg", "ids": [basin]},
            "catalog": {"url": "http://127.0.0.1:9", "signing": "none"},
            "search": {"datetime": "2023-01-01/2023-12-31"},
            "backbone": {
                "kind": "tdx", "streams": "streams_{basin_id}.gpkg", "catchments": "catchments_{basin_id}.gpkg",
            },
        }  # fmt: skip
        (folder / f"{basin}.yaml").write_text(yaml.safe_dump(config))


def write_plan(folder: Path, basin: str) -> None:
    plan = folder / "results" / basin / "plan.json"
    command = [str(BIN / "headwater"), "plan", "--polygons", "basins.gpkg", "--basin", basin, "--out", str(plan)]
    subprocess.run(command, cwd=folder, check=True)


def finish(folder: Path, basin: str, cells: list[Cell]) -> None:
    """Create every output of a basin, empty, and let Snakemake date them and write its metadata."""
    write_plan(folder, basin)
    results = folder / "results" / basin
    for path in [results / name for name in BASIN_OUTPUTS] + [
        results / "cells" / cell.name / name for cell in cells for name in CELL_OUTPUTS
    ]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    snakemake(folder, basin, "--touch", "--quiet", "all")


class Run(NamedTuple):
    """Cost and output of a run of Snakemake."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    text: str


def snakemake(folder: Path, basin: str, *arguments: str) -> Run:
    """Run Snakemake on a basin of the project in `folder`."""
    command = [
        str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / f"{basin}.yaml"), "--cores", "1", *arguments,
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Run(round(seconds, 2), round(usage.ru_utime + usage.ru_stime, 2), round(usage.ru_maxrss / unit, 1), text)


def jobs_of(text: str) -> int:
    total = re.search(r"^total +(\d+)$", text, flags=re.M)
    return int(total[1]) if total else 0


if __name__ == "__main__":
    main()
