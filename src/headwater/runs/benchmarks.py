"""Time, memory and disk traffic of rules, from the files that Snakemake's `benchmark` writes."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from headwater.core.events import Place
from headwater.runs import by_flow

BENCHMARK_SUFFIX = ".tsv"


@dataclass(frozen=True)
class Benchmark:
    """Measurements of one job; None if it ended before Snakemake's first measurement."""

    seconds: float
    cpu_s: float | None = None
    """CPU seconds, user and system."""
    max_rss_mb: float | None = None
    """Peak memory, of the process and its children."""
    read_mb: float | None = None
    """Read from disk."""
    written_mb: float | None = None
    """Written to disk."""


def read_benchmarks(folder: Path) -> dict[Place, Benchmark]:
    """Return the benchmarks below a folder, by job; files of another format are left out."""
    found = {Place.of_file(path): _read(path) for path in sorted(folder.rglob(f"*{BENCHMARK_SUFFIX}"))}
    return {place: benchmark for place, benchmark in found.items() if benchmark is not None}


def cost_table(benchmarks: Mapping[Place, Benchmark]) -> list[dict[str, Any]]:
    """Return one row per rule, in the order of the data flow.

    Parameters
    ----------
    benchmarks : mapping of Place to Benchmark
        Result of `read_benchmarks`.

    Returns
    -------
    list of dict
        rule, jobs; median_s and max_s, wall seconds; cpu_s, read_mb and written_mb, sums; max_rss_mb. None if no job of
        the rule was measured.
    """
    rules: defaultdict[str, list[Benchmark]] = defaultdict(list)
    for place, benchmark in benchmarks.items():
        rules[place.rule].append(benchmark)
    return [_row(rule, rules[rule]) for rule in sorted(rules, key=by_flow)]


def _row(rule: str, jobs: list[Benchmark]) -> dict[str, Any]:
    seconds = [job.seconds for job in jobs]
    memory = [job.max_rss_mb for job in jobs if job.max_rss_mb is not None]
    return {
        "rule": rule,
        "jobs": len(jobs),
        "median_s": round(median(seconds), 2),
        "max_s": round(max(seconds), 2),
        "cpu_s": _total(job.cpu_s for job in jobs),
        "max_rss_mb": round(max(memory), 1) if memory else None,
        "read_mb": _total(job.read_mb for job in jobs),
        "written_mb": _total(job.written_mb for job in jobs),
    }


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 2) if known else None


def _read(path: Path) -> Benchmark | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            row = list(csv.DictReader(file, delimiter="\t"))[-1]
        return Benchmark(
            seconds=float(row["s"]),
            cpu_s=_number(row["cpu_time"]),
            max_rss_mb=_number(row["max_rss"]),
            read_mb=_number(row["io_in"]),
            written_mb=_number(row["io_out"]),
        )
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _number(text: str) -> float | None:
    return None if text in ("NA", "-") else float(text)
