"""A project of an area that is no basin, from `headwater init` to the report, and the same from a checkout."""

import json
import subprocess
import sys

import geopandas as gpd
import pytest
import yaml

from headwater.cli import main
from support.places import ROOT
from support.small_run import BIN, change_config, configure, environment

pytestmark = pytest.mark.e2e


def call(folder, *words):
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_box_is_mapped_once_and_the_same_from_a_checkout(tmp_path, planet, served, monkeypatch):
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("Snakefile", "workflow", "profiles"):
        (clone / name).symlink_to(ROOT / name)
    configure(tmp_path / "base", planet, served)
    west, south, east, north = gpd.read_file(planet / "hydrobasins.gpkg").total_bounds
    # In the east cell alone.
    box = [(west + 3 * east) / 4, (3 * south + north) / 4, east, north]
    monkeypatch.chdir(clone)
    base = ["--base", str(tmp_path / "base/config.yaml")]
    assert main(["init", "place", "--bbox", *map(str, box), *base]) == 0
    (area,) = yaml.safe_load((clone / "place/config.yaml").read_text())["basins"]["ids"]

    run = [sys.executable, "-m", "headwater", "run", "place", "--cores", "2"]
    code, text = call(clone, *run)
    assert code == 0, text
    results = clone / "place/results" / area
    assert (results / "report/index.html").is_file()
    assert (results / "report/network.png").is_file()
    assert json.loads((results / "waterways.checks.json").read_text())["faults"] == 0
    network = gpd.read_parquet(results / "waterways.parquet")
    assert len(network) > 3
    code, text = call(clone, *run, "-n")
    assert code == 0, text
    assert "Nothing to be done" in text

    snakemake = [str(BIN / "snakemake"), "--cores", "2", "--configfile", "place/config.yaml", "--printshellcmds"]
    code, text = call(clone, *snakemake, "-n")
    assert code == 0, text
    assert "Nothing to be done" in text
    # Its records are next to the results, so a change is noticed either way.
    change_config(clone / "place", vectorize={"threshold": 0.6})
    code, text = call(clone, *snakemake, "-n")
    assert "rule vectorize" in text
    change_config(clone / "place", vectorize={"threshold": 0.5})

    before = (results / "waterways.parquet").read_bytes()
    (results / "waterways.parquet").unlink()
    (results / "waterways.checks.json").unlink()
    code, text = call(clone, *snakemake)
    assert code == 0, text
    assert "rule network" in text
    assert "rule predict" not in text
    assert (results / "waterways.parquet").read_bytes() == before
    assert not (clone / "results").exists()
