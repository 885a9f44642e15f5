"""An interrupted run resumes: its outputs equal those of an undisturbed run, and nothing half-written remains.

On copies of the finished run in which the composite of SECOND's cell is missing. A signal holds a job that a test needs
to find running, so no test depends on the speed of the machine.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.small_run import SECOND, change_config, command, digests, environment, jobs_in, run

pytestmark = pytest.mark.e2e
CELL = "N07.00E090.00"
COMPOSITE = f"results/{SECOND}/cells/{CELL}/composite.tif"


@pytest.fixture
def interrupted(copied):
    """A copy without the composite, and the digests of the complete run."""
    folder, _ = copied
    complete = digests(folder, SECOND)
    (folder / COMPOSITE).unlink()
    return folder, complete


def assert_recovered(folder, complete):
    code, text = run(folder, COMPOSITE)
    assert code == 0, text
    assert digests(folder, SECOND) == complete
    assert not list((folder / "results").rglob(".*.part*"))


@contextmanager
def held_at_work(folder):
    """Start a run and hold its composite job; yield both processes, and kill them at the end."""
    with (folder / "run.log").open("w") as log:
        process = subprocess.Popen(command(folder, COMPOSITE), env=environment(), stdout=log, stderr=log)
    job = None
    try:
        deadline = time.monotonic() + 180
        while job is None:
            assert process.poll() is None, (folder / "run.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
            job = job_in(folder)
        os.kill(job, signal.SIGSTOP)
        yield process, job
    finally:
        for pid in (job, process.pid):
            with suppress(ProcessLookupError, TypeError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def job_in(folder):
    """Return the process of `headwater composite` that runs in a folder."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"composite" in words[2:3] and (path / "cwd").resolve() == folder:
                return int(path.name)
    return None


def refusal(folder):
    """Return the output of a run that must not start."""
    code, text = run(folder, COMPOSITE)
    assert code != 0
    assert jobs_in(text) == set()
    return text


def test_a_job_that_was_killed(interrupted):
    folder, complete = interrupted
    with held_at_work(folder) as (process, job):
        os.kill(job, signal.SIGKILL)
        assert process.wait() != 0
    assert not (folder / COMPOSITE).exists()
    assert_recovered(folder, complete)


def test_a_run_that_was_killed_and_its_orphan_and_others_at_the_same_time(interrupted, tmp_path):
    """The job outlives its run and blocks others, in this folder and from elsewhere; then the lock is explained."""
    folder, complete = interrupted
    # Rebuilt as well, from cache files that cannot be read; a job of a lost node left a temporary file.
    (folder / COMPOSITE).with_name("scenes.json").unlink()
    for path in (folder / f"results/{SECOND}/scene_statistics").iterdir():
        path.write_bytes(b"\0" * 100)
    left = (folder / COMPOSITE).with_name(".composite.lost-node-1-0a1b2c3d.part.tif")
    left.write_bytes(b"half")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere, ignore=shutil.ignore_patterns(".snakemake", "results"))
    change_config(elsewhere, results=str(folder / "results"))
    with held_at_work(folder) as (process, job):
        assert not left.exists()
        for _ in ("while it runs", "while its job runs alone"):
            code, text = run(elsewhere, str(folder / COMPOSITE))
            assert code != 0
            assert jobs_in(text) == set()
            assert "working on basin" in text
            assert f"started by process {process.pid} " in text
            process.kill()
            process.wait()
        assert f"started by process {process.pid} " in refusal(folder)
        os.kill(job, signal.SIGKILL)
    message = refusal(folder)
    assert "was killed and left Snakemake's lock" in message
    assert "started by" not in message
    code, text = run(folder, "--unlock")
    assert code == 0, text
    assert_recovered(folder, complete)


def test_a_full_disk(interrupted):
    """No file larger than a third of the composite can be written."""
    folder, complete = interrupted
    limit = 400_000

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command(folder, COMPOSITE), env=environment(), preexec_fn=full, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    log = (folder / f"results/logs/{SECOND}/composite/{CELL}.log").read_text()
    message = [line for line in log.splitlines() if line.startswith("headwater: ")]
    assert len(message) == 2, log
    assert "space" in message[1]
    assert [path.name for path in (folder / COMPOSITE).parent.glob("*composite*")] == []
    assert [path.name for path in (folder / COMPOSITE).parent.glob(".composite*")] == []
    assert_recovered(folder, complete)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grid": {"cell_degrees": 0.1}}, "started with grid.cell_degrees 0.05"),
        ({"grid": {"margin_px": 32}}, "started with grid.margin_px 64"),
        ({}, "layout 99"),
    ],
)
def test_results_that_cannot_be_resumed_are_refused_and_unchanged(copied, changes, words):
    folder, basin = copied
    before = digests(folder, basin)
    change_config(folder, **changes)
    note = folder / "results/.headwater/layout.json"
    if not changes:
        note.write_text(json.dumps({"layout": 99}))
    code, text = run(folder)
    assert code != 0
    assert words in text
    assert "Set " in text
    assert jobs_in(text) == set()
    assert digests(folder, basin) == before
