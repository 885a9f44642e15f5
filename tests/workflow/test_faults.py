"""The front half with faults: each run ends with the bytes of the calm run, or stops with its cause.

One planet behind one server with `faults.Faults` in front; steps run as separate processes.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import requests
import yaml

from headwater.demo.server.serve import create_app, running_catalog
from headwater.stac.pins import read_items, read_query
from support.faults import Faults
from support.front_half import FrontHalf, write_planet_plan
from support.places import ROOT

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.e2e
SEARCH = ("--datetime", "2023-01-01/2023-12-31")
SIGNATURE = b"sig="


@dataclass(frozen=True)
class Place:
    """The planet, its server and the folder of all runs."""

    planet: Path
    folder: Path
    runtime: Path
    """Folder in which runs share tokens; without outputs or logs."""
    url: str
    faults: Faults

    def run(self, name, **changes):
        """Return a run without tokens."""
        runtime = self.runtime / name
        runtime.mkdir(mode=0o700)
        options = {"url": f"{self.url}/stac", "token_url": f"{self.url}/api/sas/v1/token", "search_options": SEARCH}
        return FrontHalf(self.folder / name, self.folder / "plan.json", runtime=runtime, **options | changes)

    @contextmanager
    def tokens_valid_for(self, seconds: float) -> Iterator[None]:
        before = self.faults.app
        self.faults.app = create_app([self.planet], token_lifetime_s=seconds)
        try:
            yield
        finally:
            self.faults.app = before


@pytest.fixture(scope="module")
def place(planet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    write_planet_plan(planet, folder / "plan.json")
    wrapped = []

    def wrap(app):
        wrapped.append(Faults(app))
        return wrapped[0]

    with running_catalog([planet], wrap=wrap) as url:
        yield Place(planet, folder, tmp_path_factory.mktemp("runtime"), url, wrapped[0])


@pytest.fixture(scope="module")
def calm(place):
    run = place.run("calm")
    run.all()
    return run


def test_tokens_that_live_five_seconds(place, calm):
    """Some replies delay the reader until its tokens have expired, some of them in the middle of a file."""
    met: Counter[str] = Counter()
    # Which requests are delayed depends on the order of threads: repeat until both kinds have occurred.
    for stall_every in (45, 37, 29, 41, 23):
        run = place.run(f"tokens{stall_every}")
        with place.tokens_valid_for(5), place.faults.trouble(stall_every=stall_every, stall_s=5.2) as now:
            run.all()
        assert now["stalled"] >= 3
        assert run.products() == calm.products()
        met += now
        if met["refused at the opening"] and met["refused further on"]:
            return
    raise AssertionError(f"{met}: no token was refused at the opening of a file and none in its middle")


def test_a_fifth_of_all_requests_answered_503_or_cut_short(place, calm):
    run = place.run("flaky")
    with place.faults.trouble(fraction=0.2, seed=1) as met:
        run.all()
    assert met["503"] >= 10
    assert met["cut short"] >= 10
    assert run.products() == calm.products()
    ends, calm_ends = ([line for line in some.events() if line["event"] == "done"] for some in (run, calm))
    assert len(ends) == len(calm_ends) == 7
    assert sum(line["retries"] for line in calm_ends) == 0
    assert sum(line["retries"] for line in ends) >= met["503"] / 2
    assert min(line["bytes_down"] for line in calm_ends) > 1000


def test_searches_that_hang_and_pages_that_repeat_items(place, calm):
    """The pin of the search is all that later steps know of a catalog: equal pins give equal results."""
    options = ("--page-limit", "1", "--slice-days", "366", "--timeout-s", "1")
    run = place.run("repeats", search_options=(*SEARCH, *options))
    with place.faults.trouble(hang_every=3, repeat=1) as met:
        run.done("search")
    assert met["hung"] >= 2
    assert met["repeated"] >= 2
    pins = [folder / "items.parquet" for folder in (run.folder, calm.folder)]
    assert pins[0].read_bytes() == pins[1].read_bytes()


def test_a_process_killed_in_the_middle_of_writing(place, calm):
    run = place.run("killed")
    cell = run.cells[0]
    run.done("search")
    run.done("select", cell)
    out = run.path(cell, "composite.tif")
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(
            run.command("composite", cell), env=run.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and not parts(out):
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += bool(parts(out))
        # Complete or absent: a file under the final name is correct.
        assert not out.exists() or out.read_bytes() == calm.path(cell, out.name).read_bytes()
        out.unlink(missing_ok=True)
        if kills == 3:
            break
    assert kills == 3
    run.all()
    assert run.products() == calm.products()
    assert not list(run.folder.rglob(".*"))


def parts(path):
    """Return the temporary files that were written of a file."""
    return [found for found in path.parent.glob(f".{path.stem}.*") if found.stat().st_size > 0]


def test_a_scene_withdrawn_between_select_and_read(place, calm):
    """The composite reports it and leaves nothing; after a refresh the cell is built without the scene."""
    results = configure(place, "withdrawn")
    cell = calm.cells[0]
    lost = calm.scenes(cell)[0]
    composite = results / "cells" / cell / "composite.tif"
    code, text = snakemake(place, "withdrawn", composite.with_name("scenes.json"))
    assert code == 0, text
    with place.faults.trouble(lost=frozenset([lost])):
        code, text = snakemake(place, "withdrawn", composite)
    assert code != 0
    log = (place.folder / "withdrawn/results/logs" / results.name / "composite" / f"{cell}.log").read_text()
    message = [line for line in log.splitlines() if line.startswith("headwater: ")]
    assert len(message) == 2, log
    assert lost in message[0]
    assert "refresh" in message[1] or "search" in message[1]
    assert "Traceback" not in log
    assert not list(composite.parent.glob("composite*"))
    assert not list(composite.parent.glob(".composite*"))
    with place.faults.trouble(lost=frozenset([lost]), withdrawn=frozenset([lost])):
        code, text = snakemake(place, "withdrawn", "refresh")
        assert code == 0, text
        code, text = snakemake(place, "withdrawn", composite)
    assert code == 0, text
    chosen = [scene["id"] for scene in json.loads(composite.with_name("scenes.json").read_bytes())["scenes"]]
    assert chosen
    assert lost not in chosen
    assert composite.is_file()


def configure(place, name):
    """Write the configuration of a workflow run; return the folder of its basin's results."""
    basin = json.loads((place.planet / "planet.json").read_text())["basin_id"]
    config = {
        "basins": {"polygons": str(place.planet / "hydrobasins.gpkg"), "ids": [basin]},
        "grid": {"cell_degrees": 0.05},
        "catalog": {"url": f"{place.url}/stac", "signing": "token", "token_url": f"{place.url}/api/sas/v1/token"},
        "search": {"datetime": SEARCH[1]},
        "backbone": {"kind": "dem"},
    }
    (place.folder / name).mkdir()
    (place.folder / name / "config.yaml").write_text(yaml.safe_dump(config))
    return place.folder / name / "results" / basin


def snakemake(place, name, target):
    folder = place.folder / name
    target = target.relative_to(folder) if isinstance(target, Path) else target
    done = subprocess.run(
        [
            str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder),
            "--configfile", str(folder / "config.yaml"), "--cores", "2", str(target),
        ],
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(place.runtime)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    with (folder / "snakemake.log").open("a") as log:
        log.write(done.stdout)
    return done.returncode, done.stdout


def test_a_dead_service_stops_the_run_in_bounded_time_with_its_cause(place, calm):
    """Refused or never answered, catalog or token endpoint: at most about a minute, two lines, nothing written."""
    cell = calm.cells[0]
    short_timeout = (*SEARCH, "--timeout-s", "2", "--patience-s", "15")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    cases = {
        "refused catalog": ("search", {"url": f"{nobody}/stac", "search_options": short_timeout}, nobody),
        "silent catalog": ("search", {"search_options": short_timeout}, place.url),
        "refused tokens": ("composite", {"token_url": f"{nobody}/token"}, nobody),
        "silent tokens": ("composite", {}, place.url),
    }

    def stop(name):
        step, changes, address = cases[name]
        run = place.run(name.replace(" ", "-"), **changes)
        if step == "composite":
            manifest = run.path(cell, "scenes.json")
            manifest.parent.mkdir(parents=True)
            manifest.write_bytes(calm.path(cell, "scenes.json").read_bytes())
        before = time.monotonic()
        code, text = run.run(step, cell if step == "composite" else None)
        assert time.monotonic() - before < 75, name
        assert code == 1, (name, text)
        message = [line for line in text.splitlines() if line.startswith("headwater: ")]
        # A search that is repeated says so first, more than once.
        assert len(message) == 2 or step == "search", (name, text)
        assert address in message[-2], (name, text)
        assert "Traceback" not in text, (name, text)
        left = {path.name for path in run.folder.rglob("*") if path.is_file() and path.suffix not in (".log", ".jsonl")}
        assert left <= {"scenes.json"}, name

    with place.faults.trouble(dead="/"), ThreadPoolExecutor(len(cases)) as pool:
        list(pool.map(stop, cases))


def signed_files(folder):
    """Return the files under a folder, including hidden ones, that contain a signature."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and SIGNATURE in content(path)]


def content(path):
    """Return the content of a file: a pin is compressed, so its items and record are read as later steps do."""
    if path.name != "items.parquet":
        return path.read_bytes()
    return json.dumps([read_query(path), read_items(path)]).encode()


def test_no_signature_is_in_any_file_or_log_of_all_these_runs(place, calm):
    assert any(path.stat().st_size > 0 for path in place.folder.rglob("*.log"))
    assert signed_files(place.folder) == []


def test_a_signature_would_be_found(place, calm, tmp_path):
    """The test above can fail: a token of the server is found in a hidden log and in a compressed pin."""
    token = requests.get(f"{place.url}/api/sas/v1/token/sentinel-2-l2a").json()["token"]
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/step.log").write_text(f"reading {place.url}/assets/B02.tif?{token} failed")
    (tmp_path / "other.log").write_text("nothing")
    table = pq.read_table(calm.folder / "items.parquet")
    signed = {b"headwater": json.dumps({"query": {}, "catalogue": f"{place.url}?{token}"}).encode()}
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | signed), tmp_path / "items.parquet")
    assert [path.name for path in signed_files(tmp_path)] == ["step.log", "items.parquet"]
