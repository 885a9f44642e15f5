"""Watching a run: one line on a terminal, lines in a log, a summary; on workflows with a few quick rules."""

import json
import os
import pty
import re
import subprocess
import termios

import pytest

from support.places import ROOT
from support.small_run import BIN, environment

SNAKEFILE = """\
from pathlib import Path
from headwater.runs import watch
watch.SECONDS_BETWEEN_LINES = 0
LOGS = Path("logs")
onstart:
    {begin}
onsuccess:
    watch.end("done")
onerror:
    watch.end("failed")
rule all:
    input: expand("out/{{cell}}", cell=["N00E000", "N00E001"])
rule plan:
    output: "plan.json"
    log: "logs/1/plan.log"
    shell: "headwater plan --polygons basins.gpkg --basin 1 --out {{output}} --log {{log}} 2> {{log}}"
rule composite:
    input: "plan.json"
    output: "out/{{cell}}"
    log: "logs/1/composite/{{cell}}.log"
    shell: {composite!r}
"""
WATCHED = "watch.begin(workflow, LOGS)"
GOOD = "touch {output}"
# One cell with bad input, one that dies without a message.
BAD = (
    "if [ {wildcards.cell} = N00E001 ]; then exit 9; fi; headwater composite --scenes none --plan {input}"
    " --cell {wildcards.cell} --out {output} --log {log} 2> {log}"
)


@pytest.fixture
def folder(tmp_path):
    import geopandas as gpd
    from shapely import box

    gpd.GeoDataFrame({"HYBAS_ID": [1]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_file(tmp_path / "basins.gpkg")
    return tmp_path


def command(folder, composite, begin=WATCHED):
    (folder / "Snakefile").write_text(SNAKEFILE.format(begin=begin, composite=composite))
    return [
        str(BIN / "snakemake"),
        "--directory",
        str(folder),
        "--snakefile",
        str(folder / "Snakefile"),
        "--cores",
        "1",
    ]


def run(folder, composite, *options, begin=WATCHED):
    done = subprocess.run(
        [*command(folder, composite, begin), *options], env=environment(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def summaries(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("logs/run-*.json"))]


def test_a_good_run_writes_lines_and_a_summary_and_a_dry_run_nothing(folder):
    code, text = run(folder, GOOD, "--dry-run")
    assert code == 0
    assert "headwater: " not in text
    assert not (folder / "logs").exists()
    code, text = run(folder, GOOD)
    assert code == 0, text
    assert re.search(r"headwater: plan 1/1 \| composite 0/2 \| 1 of 3 jobs, [\d.]+/min, .+ left", text)
    assert re.search(r"headwater: done in .*; 0 B downloaded in 0 requests, 0 retries; nothing failed", text)
    (summary,) = summaries(folder)
    assert (summary["outcome"], summary["failures"]) == ("done", {})
    assert [(step["step"], step["jobs"]) for step in summary["steps"]] == [("plan", 1)]
    assert [(row["rule"], row["jobs"]) for row in summary["costs"]] == [("plan", 1)]
    # Earlier work counts, and a run without work leaves no summary.
    assert "Nothing to be done" in run(folder, GOOD)[1]
    assert len(summaries(folder)) == 1


def test_a_failed_run_counts_failures_by_cause_and_a_quiet_run_shows_no_progress(folder):
    code, text = run(folder, BAD, "--keep-going", "--retries", "1", "--quiet", "progress")
    assert code != 0
    assert " of 3 jobs" not in text
    (summary,) = summaries(folder)
    assert summary["outcome"] == "failed"
    assert summary["failures"] == {"input": 2, "unknown": 2}
    assert [(step["step"], step["jobs"]) for step in summary["steps"]] == [("plan", 1), ("composite", 0)]
    assert {(failed["rule"], failed["cell"], failed["cause"]) for failed in summary["failed"]} == {
        ("composite", "N00E000", "input")
    }
    assert "headwater: failed in " in text
    assert "2 input, 2 unknown failed." in text


def test_an_error_in_the_watcher_ends_no_run(folder):
    code, text = run(folder, GOOD, begin="watch.begin(None, LOGS)")
    assert code == 0, text
    assert "headwater: the run is no longer watched (AttributeError" in text
    assert (folder / "out/N00E001").is_file()


def on_terminal(folder, size, *options, script=GOOD):
    """Run on a terminal of (rows, columns) and return what it received."""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, size)
    process = subprocess.Popen([*command(folder, script), *options], env=environment(), stderr=terminal)
    os.close(terminal)
    said = b""
    while True:
        try:
            chunk = os.read(screen, 65536)
        except OSError:  # the other end is closed
            break
        said += chunk
    os.close(screen)
    return process.wait(), said.decode()


def shown_lines(text):
    """What stays on the screen, without colors: what came last on each line."""
    shown = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    return [re.sub(r"\x1b\[[\dA-Z;]*m?", "", line).strip() for line in shown]


def test_on_a_terminal_a_block_has_a_bar_for_each_step_and_snakemake_is_quiet(folder):
    code, text = on_terminal(folder, (40, 120))
    assert code == 0
    assert re.search(r"\rplan +\S* *1/1", text)
    assert re.search(r"\rcomposite +\S* *1/2", text)
    assert re.search(r"\r1 of 3 jobs, [\d.]+/min", text)
    assert "localrule plan:" not in text
    # The block is gone at the end, and what Headwater said stays.
    plain = shown_lines(text)
    assert any(line.startswith("headwater: done in ") for line in plain)
    assert not [line for line in plain[-8:] if re.search(r"\d of 3 jobs", line)]
    # Snakemake's own text is in its log file.
    (log,) = (folder / ".snakemake/log").glob("*.log")
    assert "localrule plan:" in log.read_text()


def test_on_a_small_terminal_the_block_is_a_line(folder):
    code, text = on_terminal(folder, (5, 80))
    assert code == 0
    assert "\rcomposite 0/2 | 1 of 3 jobs, " in text
    assert not re.search(r"\rplan +\S* *1/1", text)
    assert all(len(line.rstrip()) < 80 for line in re.findall(r"\r(composite [^\r\n\x1b]*)", text))


def test_a_failure_names_its_cause_on_a_terminal(folder):
    code, text = on_terminal(folder, (40, 100), "--keep-going", script=BAD)
    assert code != 0
    assert "1 failed" in text
    assert any(line.startswith("headwater: failed in ") for line in shown_lines(text))


def test_who_asks_for_snakemakes_text_gets_it(folder):
    assert "localrule plan:" in on_terminal(folder, (40, 120), "--printshellcmds")[1]


def test_the_repository_watches_its_runs():
    text = (ROOT / "Snakefile").read_text()
    assert WATCHED in text
