"""A run of the whole workflow on the small planet of tests/workflow, in a folder of its own."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
KINDS = ("composite.tif", "elevation.tif", "probability.tif", "scenes.json", "dem.json", "waterways.parquet")


def configure(folder, planet, served, **changes):
    basin = json.loads((planet / "planet.json").read_text())["basin_id"]
    config = {
        "basins": {"polygons": str(planet / "hydrobasins.gpkg"), "ids": [basin]},
        "grid": {"cell_degrees": 0.05},
        "catalog": {"url": f"{served}/stac", "signing": "token", "token_url": f"{served}/api/sas/v1/token"},
        "search": {"datetime": "2023-01-01/2023-12-31"},
        "backbone": {
            "kind": "tdx",
            "streams": f"{planet}/TDX_streamnet_{{basin_id}}_01.gpkg",
            "catchments": f"{planet}/TDX_streamreach_basins_{{basin_id}}_01.gpkg",
        },
    }
    for key, change in changes.items():
        config[key] = config[key] | change if key in config else change
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return basin


def command(folder, *arguments, cores=2):
    """Return snakemake's command; without `cores` a profile says where jobs run and how many."""
    return [
        str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "config.yaml"), *(["--cores", str(cores)] if cores else []), *arguments,
    ]  # fmt: skip


def environment():
    return dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}", PYTHONWARNINGS="default")


def run(folder, *arguments, cores=2):
    done = subprocess.run(
        command(folder, *arguments, cores=cores), env=environment(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def digests(folder, basin):
    found = {}
    for path in sorted((folder / "results" / basin).rglob("*")):
        if path.name in (*KINDS, "mosaic.vrt", "items.parquet", "summary.csv", "waterways.checks.json"):
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
