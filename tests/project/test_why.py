import os
import shutil
import subprocess
import sys

import geopandas as gpd
import pytest
import yaml
from shapely import box

from headwater.cli import main
from headwater.geo.plan import write_plan
from headwater.project.why import Job, jobs_in, reason_lines
from support.places import ROOT

CELLS = ("N05.0E010.0", "N05.0E010.1")
FILES = ("scenes.json", "dem.json", "composite.tif", "elevation.tif", "probability.tif", "waterways.parquet")
DRY_RUN = """\
rule plan:
    output: results/1/plan.json
    reason: Missing output files: results/1/plan.json
    wildcards: basin=1

[Sat Nov 21 17:33:11 2026]
rule composite:
    input: a
    reason: Updated input files: a, b, c, d; Params have changed since last execution
    wildcards: basin=1, cell=N00E001

localrule composite:
    reason: Missing output files: x
    wildcards: basin=1, cell=N00E002
"""


def test_jobs_of_a_dry_run_are_listed_in_flow_order():
    jobs = jobs_in(DRY_RUN)
    assert jobs[0] == Job("plan", None, "Missing output files: results/1/plan.json")
    assert reason_lines(jobs[::-1], "N00E001") == [
        "plan       basin: Missing output files: results/1/plan.json",
        "composite  N00E001: Updated input files: a, b, c and 1 more; Params have changed since last execution",
        "composite  1 neighbors as well: N00E002",
    ]
    assert reason_lines(jobs_in("Nothing to be done\n"), "N00E001") == ["N00E001: nothing to do."]


@pytest.fixture
def finished(tmp_path):
    """A results folder with every file, as Snakemake records it (`--touch`)."""
    table = gpd.GeoDataFrame({"HYBAS_ID": [1]}, geometry=[box(10, 5, 10.2, 5.1)], crs=4326)
    table.to_file(tmp_path / "basins.gpkg", layer="b")
    config = {
        "basins": {"polygons": "basins.gpkg", "ids": ["1"]},
        "grid": {"cell_degrees": 0.1},
        "catalog": {"url": "http://127.0.0.1:9", "signing": "none"},
        "search": {"datetime": "2023-01-01/2023-12-31"},
        "backbone": {"kind": "dem"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    results = tmp_path / "results" / "1"
    write_plan([tmp_path / "basins.gpkg"], "1", results / "plan.json", cell_degrees=0.1, margin_px=64)
    names = ["items.parquet", "reaches.parquet", "catchments.parquet"]
    for name in names + [f"cells/{cell}/{file}" for cell in CELLS for file in FILES]:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text(name)
    targets = [f"results/1/cells/{cell}/waterways.parquet" for cell in CELLS]
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path),
        "--configfile", str(tmp_path / "config.yaml"), "--touch", "--cores", "1", "--", *targets,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tmp_path


def ask(folder, cell, basin="1"):
    options = ["--basin", basin, "--directory", str(folder), "--config", "config.yaml"]
    return main(["why", cell, *options, "--snakefile", str(ROOT / "Snakefile")])


def test_a_changed_scene_list_is_named_and_affects_the_neighbor(finished, capsys):
    assert ask(finished, CELLS[0]) == 0
    assert capsys.readouterr().out == f"{CELLS[0]}: nothing to do.\n"
    scenes = finished / "results" / "1" / "cells" / CELLS[0] / "scenes.json"
    scenes.write_text("other scenes")
    later = scenes.stat().st_mtime + 100
    os.utime(scenes, (later, later))
    assert ask(finished, CELLS[0]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["composite", "predict", "vectorize"]
    assert "scenes.json" in lines[0]
    assert ask(finished, CELLS[1]) == 0
    assert f"predict    1 neighbors as well: {CELLS[0]}" in capsys.readouterr().out


def test_a_missing_cell_or_configuration_is_reported(finished, capsys):
    assert ask(finished, "N60E000.0") == 2
    assert "not in the plan" in capsys.readouterr().err
    assert ask(finished, CELLS[0], basin="2") == 2
    assert "Basin 2 is not in" in capsys.readouterr().err
    shutil.rmtree(finished / "results")
    assert ask(finished, "N60E000.0") == 1
    assert "dry run failed" in capsys.readouterr().err
    (finished / "config.yaml").unlink()
    assert ask(finished, CELLS[0]) == 2
