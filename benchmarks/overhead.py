"""CPU seconds that each subcommand takes before its first work, and their sum for a cell.

    python benchmarks/overhead.py --json overhead.json

Each command starts as in the workflow, in a separate process, and ends at a missing input: at that point it has loaded
what the step loads at once. What every run of a step loads later is added by name (LATER). `plan` is run completely.
The minimum of --repeats counts; seconds are user plus system. The baseline is the limit of each command in this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
from shapely import box

from headwater.project.budget import CELL_STEPS

MOST_S = {"predict": 5.0}
"""Limit of a start, seconds; 1 for commands not listed."""
COMMANDS = {
    "plan": "--polygons basins.gpkg --basin 1 --out plan.json",
    "search": "--plan none.json --url http://127.0.0.1:9 --datetime 2023-01-01/2023-12-31 --out o",
    "select": "--items none --plan none.json --cell N00E000 --scenes-out o --dem-out o --cache c",
    "composite": "--scenes none --plan none.json --cell N00E000 --out o",
    "elevation": "--dem none --plan none.json --cell N00E000 --out o",
    "predict": "--composite none --elevation none --plan none.json --cell N00E000 --out o",
    "mosaic": "--plan none.json --rasters {cell}.tif --out o",
    "backbone": "--plan none.json --kind tdx --streams none --catchments none --reaches-out o --catchments-out o",
    "vectorize": "--probability none --elevation none --reaches none --catchments none --cell N00E000 --out o",
    "network": "--plan none.json --segments {cell} --reaches none --basin 1 --out o --checks o",
    "report": "--plan none.json --network none --checks none --composite {cell} --elevation {cell}"
    " --probability {cell} --summary o --page o",
}
LATER = {
    "search": ("requests", "pystac_client", "stac_geoparquet"),
    "select": ("stac_geoparquet", "rasterio.warp"),
    "composite": ("rasterio.warp", "rasterio.shutil"),
    # The polygon, and its reader, only where elevation is missing.
    "elevation": ("scipy.ndimage", "rasterio.features"),
    "predict": ("torch", "safetensors.torch", "scipy.ndimage"),
    "backbone": ("geopandas", "pyogrio", "scipy.sparse.csgraph"),
    "vectorize": ("geopandas", "rasterio.features", "numba"),
    "network": ("geopandas", "numba"),
    "report": ("geopandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "jinja2"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=3, help="starts of each command; the minimum counts (default 3)")
    parser.add_argument("--steps", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        gpd.GeoDataFrame({"HYBAS_ID": [1]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_file(f"{name}/basins.gpkg")
        seconds = {step: min(start_cpu_s(step, Path(name)) for _ in range(options.repeats)) for step in options.steps}
    for step, value in seconds.items():
        most = MOST_S.get(step, 1.0)
        print(f"{step:10} {value:5.2f} s{'' if value <= most else f'  more than {most:g} s'}")
    of_cell = sum(seconds.get(step, 0.0) for step in CELL_STEPS)
    print(f"a cell's {len(CELL_STEPS)} starts {of_cell:.2f} s; 26,000 cells {of_cell * 26_000 / 3600:.1f} core hours")
    if options.json:
        options.json.write_text(json.dumps({"start_cpu_s": seconds, "cell_starts_cpu_s": of_cell}, indent=1) + "\n")


def start_cpu_s(step: str, folder: Path) -> float:
    """Return CPU seconds of one start."""
    code = "import importlib, sys\nfrom headwater.cli import main\ncode = main(sys.argv[2:])\n"
    code += "for name in filter(None, sys.argv[1].split()): importlib.import_module(name)\nsys.exit(code)\n"
    command = [sys.executable, "-c", code, " ".join(LATER.get(step, ())), step, *COMMANDS[step].split()]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ((0,) if step == "plan" else (1, 2)) or "Traceback" in said or "usage:" in said:
        raise SystemExit(f"headwater {step} did not start as it should:\n{said}")
    return round(usage.ru_utime + usage.ru_stime, 2)


if __name__ == "__main__":
    main()
