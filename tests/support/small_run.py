"""A run of the complete workflow on the small planet of tests/workflow, in its own folder."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pandas as pd
import yaml
from shapely import box

from headwater.models.shipped import default_checkpoints
from support.places import ROOT

BIN = Path(sys.executable).parent
KINDS = ("composite.tif", "elevation.tif", "probability.tif", "scenes.json", "dem.json", "waterways.parquet")
SECOND = "9990000099"
LIGHT_CHECKPOINT = str(next(path for path in default_checkpoints() if "unet" in path.name))
"""One of the two networks that ship, which predicts in half the time of both."""


def configure(folder, planet, served, **changes):
    basin = json.loads((planet / "planet.json").read_text())["basin_id"]
    config = {
        "basins": {"polygons": str(planet / "hydrobasins.gpkg"), "ids": [basin]},
        "grid": {"cell_degrees": 0.05},
        "catalog": {"url": f"{served}/stac", "signing": "token", "token_url": f"{served}/api/sas/v1/token"},
        "search": {"datetime": "2023-01-01/2023-12-31", "years_back": 0},
        "backbone": {
            "kind": "tdx",
            "streams": f"{planet}/TDX_streamnet_{{basin_id}}_01.gpkg",
            "catchments": f"{planet}/TDX_streamreach_basins_{{basin_id}}_01.gpkg",
        },
        "predict": {"checkpoint": LIGHT_CHECKPOINT},
    }
    for key, change in changes.items():
        config[key] = config[key] | change if key in config else change
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return basin


def configure_two(folder, planet, served):
    """Configure the planet's basin and SECOND, a small one in its east cell; the folder contains the basins' files."""
    basin = configure(folder, planet, served)
    polygons = gpd.read_file(planet / "hydrobasins.gpkg")
    west, south, east, north = polygons.total_bounds
    corner = box((west + 3 * east) / 4, (south + north) / 2, east, north)
    second = gpd.GeoDataFrame({"HYBAS_ID": [int(SECOND)]}, geometry=[corner], crs=polygons.crs)
    pd.concat([polygons[["HYBAS_ID", "geometry"]], second]).to_file(folder / "basins.gpkg", layer="basins")
    (folder / "tdx").mkdir()
    for name in (basin, SECOND):
        shutil.copy(planet / f"TDX_streamnet_{basin}_01.gpkg", folder / f"tdx/streams_{name}.gpkg")
        shutil.copy(planet / f"TDX_streamreach_basins_{basin}_01.gpkg", folder / f"tdx/catchments_{name}.gpkg")
    change_config(
        folder, basins={"polygons": "basins.gpkg", "ids": [basin, SECOND]},
        backbone={"streams": "tdx/streams_{basin_id}.gpkg", "catchments": "tdx/catchments_{basin_id}.gpkg"},
    )  # fmt: skip
    return basin


def change_config(folder, **changes):
    """Change keys of a run's configuration, by group."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for key, change in changes.items():
        config[key] = config.get(key, {}) | change if isinstance(change, dict) else change
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def jobs_in(text):
    """Return the jobs in Snakemake's output of a run or dry run: (rule, basin, cell or None) of each."""
    block = r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    wildcards: basin=(\w+)(?:, cell=(\S+))?\n"
    jobs = re.findall(block, text, flags=re.M)
    return {(rule, basin, cell or None) for rule, basin, cell in jobs}


def command(folder, *arguments, cores=2):
    """Return Snakemake's command; without `cores` a profile specifies where and how many jobs run."""
    return [
        str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "config.yaml"), *(["--cores", str(cores)] if cores else []),
        # Its own text is kept off the terminal otherwise.
        "--printshellcmds", *arguments,
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
