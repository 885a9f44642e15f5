"""why: the jobs that a run would repeat for a cell, and their reasons, from Snakemake's own dry run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import InputError, WorkError
from headwater.geo.plan import read_plan
from headwater.project.config_paths import read_config

STEPS = ("plan", "search", "select", "composite", "elevation", "predict", "backbone", "vectorize")
"""Steps that produce a cell's waterways, in the order of the data flow."""
_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)+)", flags=re.M)
_REASON = re.compile(r"^    reason: (.*)$", flags=re.M)
_CELL = re.compile(r"^    wildcards: .*\bcell=([^,\s]+)", flags=re.M)
_MAX_LISTED_FILES = 3


@dataclass(frozen=True)
class Job:
    """A job that a run would execute."""

    step: str
    """Its rule."""
    cell: str | None
    """Its cell, None for a job of the basin."""
    reason: str
    """Snakemake's reason."""


def why(cell: str, basin_id: str, *, snakefile: Path, directory: Path, config: Path) -> None:
    """Print the jobs that a cell's waterways wait for, its own and its neighbors', with their reasons.

    Parameters
    ----------
    cell : str
        Name of the cell.
    basin_id : str
        HYBAS_ID.
    snakefile : Path
        The workflow.
    directory : Path
        Working folder of the workflow.
    config : Path
        Configuration file, relative to that folder.

    Raises
    ------
    InputError
        The configuration cannot be read or does not name the basin, or the cell is not in the plan.
    WorkError
        The dry run failed.
    """
    try:
        values = read_config(directory / config, run_folder=directory)
        results, basins = Path(values.get("results", "results")), [str(basin) for basin in values["basins"]["ids"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{directory / config} cannot be read ({error}).", "Give --config and --directory.") from error
    if basin_id not in basins:
        raise InputError(
            f"Basin {basin_id} is not in {directory / config}.", f"Its basins are {', '.join(basins) or 'none'}."
        )
    plan = directory / results / basin_id / "plan.json"
    if plan.is_file():
        read_plan(plan).cell(cell)
    target = results / basin_id / "cells" / cell / "waterways.parquet"
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(snakefile.resolve()), "--directory", str(directory),
        "--configfile", str((directory / config).resolve()), "--dry-run", "--nolock", "--cores", "1", "--", str(target),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkError(
            f"The dry run failed: {_error_in(done.stdout + done.stderr)}",
            f"Read the output of `snakemake --dry-run {target}`.",
        )
    for line in reason_lines(jobs_in(done.stdout + done.stderr), cell):
        print(line)


def _error_in(text: str) -> str:
    """Return Snakemake's error: the line after its kind, or the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kinds = [number for number, line in enumerate(lines[:-1]) if re.match(r"\w+(Error|Exception)\b", line)]
    return lines[kinds[0] + 1] if kinds else (lines or ["it printed nothing"])[-1]


def jobs_in(text: str) -> list[Job]:
    """Return the jobs listed in the output of a dry run, each once."""
    found = {}
    for step, body in _JOB.findall(text):
        reason, cell = _REASON.search(body), _CELL.search(body)
        job = Job(step, cell[1] if cell else None, reason[1] if reason else "no reason given")
        found[job.step, job.cell] = job
    return list(found.values())


def reason_lines(jobs: Sequence[Job], cell: str) -> list[str]:
    """Return one line per job of the cell or the basin, and one line per step for the neighbors."""
    if not jobs:
        return [f"{cell}: nothing to do."]
    lines = []
    for step in STEPS:
        of_step = [job for job in jobs if job.step == step]
        lines += [
            f"{step:10} {job.cell or 'basin'}: {_short(job.reason)}" for job in of_step if job.cell in (None, cell)
        ]
        others = sorted(job.cell for job in of_step if job.cell not in (None, cell) and job.cell)
        if others:
            lines.append(f"{step:10} {len(others)} neighbors as well: {', '.join(others)}")
    return lines


def _short(reason: str) -> str:
    """Return a reason with at most `_MAX_LISTED_FILES` files of each kind."""
    parts = []
    for part in reason.split("; "):
        kind, colon, files = part.partition(": ")
        names = files.split(", ")
        more = f" and {len(names) - _MAX_LISTED_FILES} more" if len(names) > _MAX_LISTED_FILES else ""
        parts.append(f"{kind}{colon}{', '.join(names[:_MAX_LISTED_FILES])}{more}")
    return "; ".join(parts)
