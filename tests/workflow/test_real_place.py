"""A real place end to end: Sentinel-2 bands without SCL and SRTM of Lommel, Belgium, with a backbone from the DEM."""

import json
import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml

from headwater.geo.parquet import read_terms
from headwater.models.shipped import DEMO_WARNING
from support.places import ROOT
from support.small_run import LIGHT_CHECKPOINT

BIN = Path(sys.executable).parent
pytestmark = [pytest.mark.e2e, pytest.mark.real]


@pytest.fixture(scope="module")
def lommel(tmp_path_factory, shared_data):
    folder = tmp_path_factory.mktemp("lommel")
    source = shared_data / "s2-lommel-dem"
    environment = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")

    def run(*command):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(
        "headwater", "items", str(source), "--dem", str(source / "srtm_gl1_crop.tif"),
        "--datetime", "2019-06-01", "--basin", "9000000001", "--out", "data/place",
    )  # fmt: skip
    config = yaml.safe_load((ROOT / "config/own-rasters.yaml").read_text())
    config["predict"]["checkpoint"] = LIGHT_CHECKPOINT
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    text = run("snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2")
    (folder / "run.txt").write_text(text)
    return folder / "results" / "9000000001"


def test_the_network_is_valid_and_inside_the_place(lommel):
    checks = json.loads((lommel / "waterways.checks.json").read_text())
    assert checks["faults"] == 0
    network = gpd.read_parquet(lommel / "waterways.parquet")
    west, south, east, north = network.total_bounds
    assert 5.22 < west < east < 5.31
    assert 51.21 < south < north < 51.31
    assert network["from_tdx"].any()


def test_scenes_without_scl_are_named(lommel):
    for path in lommel.glob("cells/*/composite.tif"):
        with rasterio.open(path) as dataset:
            assert dataset.tags()["without_scl"].startswith("S2_20190601")


def test_probability_exists_wherever_there_is_imagery(lommel):
    for path in lommel.glob("cells/*/probability.tif"):
        with rasterio.open(path) as dataset, rasterio.open(path.with_name("composite.tif")) as composite:
            valid = dataset.dataset_mask() > 0
            seen = composite.read(5)[64:-64, 64:-64] > 0
        blocks = seen.reshape(valid.shape[0], 2, valid.shape[1], 2).any(axis=(1, 3))
        assert np.array_equal(valid, blocks)


def test_weights_for_demo_planets_are_named_in_the_terminal_the_report_and_the_files(lommel):
    text = (lommel.parents[1] / "run.txt").read_text()
    assert 2 <= text.count(DEMO_WARNING) <= 3, "at the beginning and in the summary, not for each job"
    assert DEMO_WARNING in (lommel / "report/index.html").read_text()
    for path in lommel.glob("cells/*/probability.tif"):
        with rasterio.open(path) as dataset:
            assert dataset.tags()["weights"] == "demo"
    assert read_terms(lommel / "waterways.parquet").warning == (DEMO_WARNING,)
