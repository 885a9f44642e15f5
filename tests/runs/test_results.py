import json
import os
import socket
import subprocess
import sys
import time

import pytest

from headwater.core.errors import InputError, WorkError
from headwater.core.versions import RESULTS_LAYOUT
from headwater.runs.results import begin_run, check_layout, explain_lock, lock_holder


@pytest.fixture
def begun(tmp_path):
    """A results folder whose basin 1 is locked by this process."""
    locks = begin_run(tmp_path, ["1"])
    yield tmp_path
    for lock in locks.descriptors:
        os.close(lock)


def test_the_layout_is_recorded_once_and_another_one_is_refused(begun):
    note = begun / ".headwater/layout.json"
    assert json.loads(note.read_text()) == {"layout": RESULTS_LAYOUT}
    check_layout(begun)
    check_layout(begun / "nowhere")
    note.write_text('{"layout": 99}')
    with pytest.raises(InputError, match="layout 99"):
        check_layout(begun)
    assert note.read_text() == '{"layout": 99}'
    note.write_text("[]")
    with pytest.raises(InputError, match="contains no layout"):
        check_layout(begun)


def test_results_without_layout_json_have_layout_1(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/plan.json").touch()
    check_layout(tmp_path)
    assert RESULTS_LAYOUT == 1, "older results are now refused: adapt this test"


def test_a_basin_is_locked_until_the_last_process_with_its_lock_has_ended(tmp_path):
    hold = (
        "import subprocess, sys; from pathlib import Path; from headwater.runs.results import begin_run\n"
        "prefix = begin_run(Path(sys.argv[1]), ['1', '2']).job_prefix.format()\n"
        "job = subprocess.Popen(['bash', '-c', prefix + 'echo begun; exec sleep 60'], stdout=-1, stderr=-3)\n"
        "job.stdout.readline(); print(job.pid)"
    )
    done = subprocess.run([sys.executable, "-c", hold, str(tmp_path)], capture_output=True, text=True, check=True)
    try:
        assert "process" in lock_holder(tmp_path, "1")
        with pytest.raises(WorkError, match=f"basin 2 .* process \\d+ on {socket.gethostname()}"):
            begin_run(tmp_path, ["3", "2"])
        # Locks acquired before the refusal are released.
        assert lock_holder(tmp_path, "3") is None
        # Looking changes nothing.
        assert "process" in lock_holder(tmp_path, "1")
    finally:
        os.kill(int(done.stdout), 9)
    deadline = time.monotonic() + 10
    while lock_holder(tmp_path, "1") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lock_holder(tmp_path, "1") is None
    for lock in begin_run(tmp_path, ["1", "2"]).descriptors:
        os.close(lock)
    assert not list((tmp_path / ".headwater").glob("jobs-*"))


def test_temporary_files_of_killed_jobs_are_removed_when_a_run_begins(tmp_path):
    cell = tmp_path / "1/cells/a"
    cell.mkdir(parents=True)
    here = socket.gethostname()
    living = cell / f".composite.{here}-{os.getpid()}-0a1b2c3d.part.tif"
    left = [cell / f".composite.othernode-1-0a1b2c3d.part.tif{end}" for end in ("", ".ovr.tmp")]
    kept = [living, cell / "composite.tif", tmp_path / "1/.items.parquet.pages/0.jsonl"]
    kept[2].parent.mkdir()
    for path in (*left, *kept):
        path.touch()
    for lock in begin_run(tmp_path, ["1"]).descriptors:
        os.close(lock)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_the_locks_of_a_killed_and_a_running_run_are_distinguished(begun):
    locks = begun / "locks"
    locks.mkdir()
    assert explain_lock(begun, ["1", "2"], locks) is None
    (locks / "0.output.lock").write_text(f"{begun}/2/plan.json\n")
    assert explain_lock(begun, ["1"], locks) is None
    assert "--unlock" in explain_lock(begun, ["2"], locks)
    assert f"process {os.getpid()}" in explain_lock(begun, ["1", "2"], locks)
