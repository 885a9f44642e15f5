"""The complete workflow: a small planet behind its own catalog, Snakemake in a separate process."""

import json
import os
import signal
import subprocess
import time

import geopandas as gpd
import pytest
import rasterio

from support.small_run import BIN, command, configure, digests, environment, run

pytestmark = pytest.mark.e2e


def test_the_network_exists_and_is_valid(finished):
    folder, basin = finished
    results = folder / "results" / basin
    network = gpd.read_parquet(results / "waterways.parquet")
    checks = json.loads((results / "waterways.checks.json").read_text())
    assert checks["faults"] == 0
    assert network["from_tdx"].any()
    assert (~network["from_tdx"]).any()
    assert network.crs.to_epsg() == 4326
    done = subprocess.run(
        [str(BIN / "headwater"), "network", "check", str(results / "waterways.parquet")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_backbone_reach_is_in_the_network(finished, planet):
    folder, basin = finished
    network = gpd.read_parquet(folder / "results" / basin / "waterways.parquet")
    streams = gpd.read_file(planet / f"TDX_streamnet_{basin}_01.gpkg")
    assert set(network["tdx_stream_id"][network["from_tdx"]]) == set(streams["LINKNO"])


def test_rasters_cover_their_cells_and_the_mosaic_their_union(finished):
    folder, basin = finished
    plan = json.loads((folder / "results" / basin / "plan.json").read_text())
    for cell in plan["cells"]:
        path = folder / "results" / basin / "cells" / cell["name"] / "probability.tif"
        with rasterio.open(path) as dataset:
            assert dataset.bounds == pytest.approx(tuple(cell["bounds"]), abs=1e-6)
            assert dataset.shape == (cell["height"] // 2, cell["width"] // 2)
            assert dataset.overviews(1) or max(dataset.shape) <= 512
            assert [len(each) for each in dataset.tags()["checkpoint_sha256"].split(", ")] == [64]
            assert "weights" not in dataset.tags(), "the weights that ship suit a demo planet"
    with rasterio.open(folder / "results" / basin / "mosaic.vrt") as dataset:
        assert dataset.bounds == pytest.approx(tuple(plan["bounds"]), abs=dataset.res[0])


def test_the_report_shows_the_network(finished):
    folder, basin = finished
    page = (folder / "results" / basin / "report/index.html").read_text()
    assert basin in page
    for name in ("network", "sources", "composite", "elevation", "probability"):
        assert (folder / "results" / basin / "report" / f"{name}.png").stat().st_size > 10_000


def test_a_second_run_has_nothing_to_do(finished):
    code, text = run(finished[0])
    assert code == 0
    assert "Nothing to be done" in text


def test_a_refresh_without_news_leaves_nothing_to_do(finished):
    folder, basin = finished
    before = digests(folder, basin)
    code, text = run(folder, "refresh")
    assert code == 0, text
    assert "refresh_scenes" in text
    code, text = run(folder)
    assert "Nothing to be done" in text
    assert digests(folder, basin) == before


def test_the_summary_and_the_page_report_what_the_run_took(finished):
    folder, basin = finished
    # Later summaries come from other tests.
    summary = json.loads(min((folder / "results/logs").glob("run-*.json")).read_text())
    assert (summary["outcome"], summary["failures"], summary["failed"]) == ("done", {}, [])
    steps = {step["step"]: step for step in summary["steps"]}
    of_cells = ("select", "composite", "elevation", "predict", "vectorize")
    of_basins = ("plan", "search", "mosaic", "backbone", "network", "report")
    # Two basins, of two cells and of one.
    expected = dict.fromkeys(of_cells, 3) | dict.fromkeys(of_basins, 2)
    assert {name: step["jobs"] for name, step in steps.items()} == expected
    for name, step in steps.items():
        assert (step["bytes_down"] > 0) == (name in ("search", "select", "composite", "elevation")), name
        assert step["cpu_s"] > 0
    assert {row["rule"]: row["jobs"] for row in summary["costs"]} == {name: s["jobs"] for name, s in steps.items()}
    page = (folder / "results" / basin / "report/index.html").read_text()
    # The report's own job has not ended at that time.
    own = dict.fromkeys(of_cells, 2) | dict.fromkeys(of_basins, 1)
    assert all(f"<td>{name}</td><td>{own[name]}</td>" in page for name in set(own) - {"report", "mosaic"})


def test_each_job_records_its_events_and_no_secret(finished):
    """Assets of the small planet are signed with tokens of st=, se= and sig=."""
    folder, basin = finished
    files = [path for path in (folder / "results/logs" / basin).rglob("*.jsonl") if "refresh" not in str(path)]
    assert len(files) == 16
    for path in files:
        text = path.read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert [lines[0]["event"], lines[-1]["event"]] == ["begun", "done"], path
        assert all(line["basin"] == basin and line["rule"] == line["step"] for line in lines)
        assert not [word for word in ("sig=", "st=", "se=", "?") if word in text], path


def test_no_signature_is_in_any_file(finished):
    folder, _ = finished
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"sig=" not in path.read_bytes(), path


@pytest.mark.long
def test_one_core_and_kills_give_the_same_bytes(tmp_path, planet, served, finished):
    """Killed several times, on one core: the outputs equal those of the undisturbed run."""
    basin = configure(tmp_path, planet, served)
    for seconds in (6, 11, 17):
        process = subprocess.Popen(
            command(tmp_path, cores=1), env=environment(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        run(tmp_path, "--unlock")
    code, text = run(tmp_path, cores=1)
    assert code == 0, text
    assert digests(tmp_path, basin) == digests(finished[0], basin)
    assert not list((tmp_path / "results" / basin).rglob(".*.part*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": {"river": "blue"}}, "colour"),
        ({"basins": {"ids": ["12345"]}}, "12345 is not in"),
        ({"basins": {"ids": ["9990000003", "12345"]}}, "12345 is not in"),
        ({"search": {"datetime": "2023-12-31/2023-01-01"}}, "empty"),
        ({"backbone": {"streams": "nowhere/{basin_id}.gpkg"}}, "no file"),
    ],
)
def test_bad_configuration_is_refused_before_anything_runs(tmp_path, planet, served, changes, words):
    configure(tmp_path, planet, served, **changes)
    code, text = run(tmp_path)
    assert code != 0
    assert words in text
    assert not (tmp_path / "results").exists()


def test_an_unreachable_catalog_ends_the_run_with_its_cause(tmp_path, planet):
    configure(tmp_path, planet, "http://127.0.0.1:9", search={"patience_s": 1})
    code, text = run(tmp_path)
    assert code != 0
    assert "127.0.0.1:9" in text
    assert not list(tmp_path.rglob("items.parquet"))


def test_streams_without_linkno_are_refused(tmp_path, planet, served):
    basin = json.loads((planet / "planet.json").read_text())["basin_id"]
    streams = gpd.read_file(planet / f"TDX_streamnet_{basin}_01.gpkg").rename(columns={"LINKNO": "link"})
    streams.to_file(tmp_path / "streams.gpkg", layer="streams")
    configure(tmp_path, planet, served, backbone={"streams": str(tmp_path / "streams.gpkg")})
    code, text = run(tmp_path)
    assert code != 0
    assert "The streams have no column LINKNO" in text
    assert "Traceback" not in text
    assert not list(tmp_path.rglob("elevation.tif"))


def test_the_backbone_can_come_from_the_elevation(tmp_path, planet, finished):
    """Read from disk, without a server: a planet's folder is a catalog as well."""
    basin = configure(
        tmp_path, planet, "", catalog={"url": str(planet), "signing": "none", "token_url": None},
        backbone={"kind": "dem", "min_area_km2": 1.0},
    )  # fmt: skip
    code, text = run(tmp_path)
    assert code == 0, text
    network = gpd.read_parquet(tmp_path / "results" / basin / "waterways.parquet")
    assert network["from_tdx"].any()
    same = ("composite.tif", "elevation.tif", "probability.tif")
    ours, theirs = digests(tmp_path, basin), digests(finished[0], basin)
    rasters = [name for name in ours if name.endswith(same)]
    assert rasters
    assert all(ours[name] == theirs[name] for name in rasters if "scenes" not in name)
