"""The complete workflow on a demo planet of 4 x 4 cells (those with land), with one core and with more: the speed-up.

    python benchmarks/cores.py --work .cores --cores 1 2

The planet is built once into --work and served from here; each run starts from nothing, in its own folder. The baseline
is the first number of cores: the ratio is wall time against it. Memory is the sampled proportional share of all
processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from headwater.core.files import read_json, write_json
from headwater.demo.build import build_planet
from headwater.demo.server.serve import running_catalog
from headwater.evaluate.score_tables import markdown_table

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SIDE_DEGREES, CELL_DEGREES = 0.4, 0.1
SAMPLE_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the planet and the runs; runs are replaced")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, os.cpu_count() or 1], help="(default 1 and all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    planet = options.work.resolve() / f"planet-{options.seed}"
    build_planet(options.seed, planet, size_degrees=(SIDE_DEGREES, SIDE_DEGREES), cell_degrees=CELL_DEGREES)
    rows = []
    with running_catalog([planet]) as url:
        for cores in options.cores:
            rows.append(measure(planet, url, options.work.resolve() / f"cores-{cores}", cores))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    for row in rows:
        row["ratio"] = round(rows[0]["wall_s"] / row["wall_s"], 2)
    print(markdown_table(pd.DataFrame(rows).set_index("cores"), digits=2), end="")
    if options.json:
        write_json(options.json, {"runs": rows})


def measure(planet: Path, url: str, folder: Path, cores: int) -> dict[str, Any]:
    """Map the planet from nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    basin = str(read_json(planet / "planet.json")["basin_id"])
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config["basins"] = {"polygons": str(planet / "hydrobasins.gpkg"), "ids": [basin]}
    config["catalog"] |= {"url": f"{url}/stac", "token_url": f"{url}/api/sas/v1/token"}
    config["backbone"] |= {
        "streams": f"{planet}/TDX_streamnet_{{basin_id}}_01.gpkg",
        "catchments": f"{planet}/TDX_streamreach_basins_{{basin_id}}_01.gpkg",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "config.yaml"), "--cores", str(cores),
    ]  # fmt: skip
    environment = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    with (folder / "said").open("w") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        peak = Peak(process.pid)
        peak.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'said').read_text()[-2000:]}")
    return {
        "cores": cores,
        "cells": len(read_json(folder / "results" / basin / "plan.json")["cells"]),
        "wall_s": round(seconds, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(peak.most / 1e6),
    }


class Peak(threading.Thread):
    """Peak memory of a process and its children together, bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most = pid, 0

    def run(self) -> None:
        """Sample until the process has ended."""
        while psutil.pid_exists(self.pid):
            try:
                root = psutil.Process(self.pid)
                self.most = max(self.most, sum(map(share, [root, *root.children(recursive=True)])))
            except psutil.NoSuchProcess:
                return
            time.sleep(SAMPLE_S)


def share(process: psutil.Process) -> int:
    """Return a process's proportional share of memory, 0 once it has ended."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


if __name__ == "__main__":
    main()
