"""Time and memory of rules, from the events that jobs record next to their logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from headwater.runs import by_flow
from headwater.runs.run_summary import JobAttempt, job_attempts_since


def last_attempts(logs: Path) -> list[JobAttempt]:
    """Return the last successful attempt of each job below a folder of logs."""
    last = {attempt.place: attempt for attempt in job_attempts_since({}, logs) if attempt.cause is None}
    return list(last.values())


def cost_table(attempts: Iterable[JobAttempt]) -> list[dict[str, Any]]:
    """Return one row per rule, in the order of the data flow.

    Parameters
    ----------
    attempts : iterable of JobAttempt
        Result of `last_attempts`.

    Returns
    -------
    list of dict
        rule, jobs; median_s and max_s, wall seconds; cpu_s and downloaded_mb, sums; max_rss_mb.
    """
    rules: defaultdict[str, list[JobAttempt]] = defaultdict(list)
    for attempt in attempts:
        rules[attempt.place.rule].append(attempt)
    return [_row(rule, rules[rule]) for rule in sorted(rules, key=by_flow)]


def _row(rule: str, jobs: list[JobAttempt]) -> dict[str, Any]:
    seconds = [job.seconds for job in jobs]
    return {
        "rule": rule,
        "jobs": len(jobs),
        "median_s": round(median(seconds), 2),
        "max_s": round(max(seconds), 2),
        "cpu_s": round(sum(job.cpu_s for job in jobs), 2),
        "max_rss_mb": max(job.max_rss_mb for job in jobs),
        "downloaded_mb": round(sum(job.bytes_down for job in jobs) / 1e6, 1),
    }
