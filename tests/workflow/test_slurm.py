"""The small planet on a private Slurm, through profiles/slurm: the same bytes as on this machine alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from support.slurm_box import running_slurm
from support.small_run import BIN, ROOT, SECOND, change_config, command, configure, configure_two, digests, environment

pytestmark = [pytest.mark.e2e, pytest.mark.slurm]
# Shorter than the profiles' times, which suit a real cluster.
SOON = ("--seconds-between-status-checks", "2", "--latency-wait", "5")
SLURM = ("--slurm-no-account", "--slurm-init-seconds-before-status-checks", "4")
# Cells are small: some jobs do several steps.
GROUPS = (
    "--groups", "plan=first", "search=first", "select=cell", "composite=cell", "elevation=cell", "network=last",
    "report=last",
)  # fmt: skip
# Replaces `headwater` in each job: records the call, and causes a fault at the first call of one step.
WRAPPER = """\
#!/bin/sh
echo "$1" >> {calls}
if [ "$1" = {step} ] && mkdir {once} 2> /dev/null; then
    {trouble}
fi
exec {headwater} "$@"
"""


@pytest.fixture(scope="module")
def box():
    with running_slurm() as box:
        yield box


def submit(box, folder, profile, *arguments, step="mosaic", trouble="echo 'fails once' >&2; exit 1"):
    """Run the workflow on the box; return Snakemake's exit code, its output and the called steps."""
    bin_folder, calls = folder / "bin", folder / "calls"
    bin_folder.mkdir()
    wrapper = bin_folder / "headwater"
    parts = {"calls": calls, "once": folder / "once", "headwater": BIN / "headwater", "step": step, "trouble": trouble}
    wrapper.write_text(WRAPPER.format(**parts))
    wrapper.chmod(0o755)
    own = environment()
    own["PATH"] = os.pathsep.join(map(str, (bin_folder, box.bin, own["PATH"])))
    done = subprocess.run(
        command(folder, "--workflow-profile", str(profile), *SOON, *arguments, cores=None),
        env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, calls.read_text().split() if calls.exists() else []


def test_the_same_bytes_as_on_one_machine_and_a_failed_job_is_submitted_again(box, tmp_path, planet, served, finished):
    configure_two(tmp_path, planet, served)
    change_config(tmp_path, basins={"ids": [SECOND]})
    code, text, calls = submit(box, tmp_path, ROOT / "profiles/slurm", *SLURM, *GROUPS)
    assert code == 0, text
    assert digests(tmp_path, SECOND) == digests(finished[0], SECOND)
    assert (tmp_path / "once").is_dir()
    # Twelve steps, and mosaic runs once more.
    assert len(calls) == 13
    assert calls.count("mosaic") == 2
    # All of them are watched from here; the failed wrapper reported no cause.
    (path,) = (tmp_path / "results/logs").glob("run-*.json")
    summary = json.loads(path.read_text())
    assert (summary["outcome"], summary["failures"]) == ("done", {"unknown": 1})
    assert sum(step["jobs"] for step in summary["steps"]) == sum(row["jobs"] for row in summary["costs"]) == 11
    assert "headwater: done in " in text
    jobs = defaultdict(list)
    for record in box.records():
        # The plugin's comment; other submissions have none.
        if comment := re.match(r"rule_([a-z]+)", record.get("Comment", "")):
            jobs[comment[1]].append(record)
    assert {name: len(records) for name, records in jobs.items()} == {
        "first": 1, "backbone": 1, "cell": 1, "predict": 1, "mosaic": 2, "vectorize": 1, "last": 1, "catalog": 1,
    }  # fmt: skip
    for name, records in jobs.items():
        wanted = ("gpu", "g1", "gres:gpu:1") if name == "predict" else ("cpu", "c1", None)
        for record in records:
            assert (record["Partition"], record["NodeList"], record.get("TresPerJob")) == wanted, name
    # The failed job was submitted again, with twice its memory and time.
    asked = [(job["JobState"], job["MinMemoryNode"], job["TimeLimit"]) for job in jobs["mosaic"]]
    assert asked == [("FAILED", "1000M", "00:10:00"), ("COMPLETED", "2000M", "00:20:00")]
    assert box.jobs() == []


def test_a_missing_partition_is_reported_and_nothing_starts(box, tmp_path, planet, served):
    basin = configure(tmp_path, planet, served)
    profile = tmp_path / "slurm"
    shutil.copytree(ROOT / "profiles/slurm", profile)
    (profile / "partitions.yaml").write_text(yaml.safe_dump({"partitions": {"nowhere": {"max_runtime": "1d"}}}))
    code, text, calls = submit(box, tmp_path, profile, *SLURM)
    assert code != 0
    assert "Slurm has no partition nowhere" in text
    assert "Use the cluster's partitions in that file: cpu, gpu." in text
    assert "sbatch" not in text
    assert calls == []
    assert not [path for path in (tmp_path / "results" / basin).rglob("*") if path.is_file()]
    assert box.jobs() == []
    # The folder is not left locked.
    assert not list((tmp_path / ".snakemake/locks").glob("*"))


def test_a_node_that_is_lost_with_a_job_on_it(box, tmp_path, planet, served, finished):
    """The job is lost with its node, submitted again, and finishes when the node is back."""
    basin = configure(tmp_path, planet, served)
    plan = f"results/{basin}/plan.json"
    profile, back = ROOT / "profiles/slurm", tmp_path / "back"
    lose = f"while [ ! -e {back} ]; do sleep 0.1; done; exit 1"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(submit, box, tmp_path, profile, *SLURM, plan, step="plan", trouble=lose)
        wait_until((tmp_path / "once").exists, run)
        (lost,) = box.jobs()
        box.call("scontrol", "update", "NodeName=c1", "State=DOWN", "Reason=lost")
        # Processes on a node are lost with it.
        for process in processes_naming("--target-jobs", str(tmp_path)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: lost not in box.jobs(), run)
        back.touch()
        # Slurm refuses this if the node has already come back.
        resume = [box.bin / "scontrol", "update", "NodeName=c1", "State=RESUME"]
        subprocess.run(resume, capture_output=True, check=False)
        code, text, calls = run.result()
    assert code == 0, text
    assert calls == ["plan", "plan"]
    assert [record["JobState"] for record in box.records()[-2:]] == ["NODE_FAIL", "COMPLETED"]
    assert (tmp_path / plan).read_bytes() == (finished[0] / plan).read_bytes()


def processes_naming(*words):
    """Return the processes whose command line contains all the words."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (path / "cmdline").read_bytes().decode(errors="replace")
            if all(word in line for word in words):
                found.append(int(path.name))
    return found


def wait_until(ready, run):
    deadline = time.monotonic() + 120
    while not ready():
        assert not run.done(), run.result()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_generic_profile_submits_as_well(box, tmp_path, planet, served):
    basin = configure(tmp_path, planet, served)
    plan = f"results/{basin}/plan.json"
    code, text, calls = submit(box, tmp_path, ROOT / "profiles/cluster-generic", plan)
    assert code == 0, text
    assert calls == ["plan"]
    assert (tmp_path / plan).is_file()
    job = next(record for record in box.records() if record["JobName"] == "plan")
    assert (job["JobState"], job["Partition"], job["MinMemoryNode"]) == ("COMPLETED", "cpu", "1500M")


def test_a_failure_leaves_no_daemon_no_job_and_no_file():
    with pytest.raises(RuntimeError, match="in the middle"), running_slurm() as box:
        box.call("sbatch", "--output=/dev/null", "--wrap", f"exec tail -f {box.folder}/slurm.conf")
        deadline = time.monotonic() + 30
        while not [command for command in commands_naming(box.folder) if command.startswith("tail")]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        raise RuntimeError("in the middle")
    assert commands_naming(box.folder) == []
    assert not box.folder.exists()


def commands_naming(folder):
    """Return the command lines of running processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    return [line for line in found if str(folder) in line]
