"""The summary of a run: what it took, downloaded and tried again, and what failed, by step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from headwater.runs import by_flow
from headwater.runs.attempts import Attempt
from headwater.runs.times import told_time

UNKNOWN = "unknown"
"""Cause of a failed job that told nothing: it did not start, or the scheduler ended it."""
_SUMS = ("seconds", "cpu_s", "bytes_down", "requests", "retries")
_MOST_TOLD = 100
_HEADS = ("step", "jobs", "wall", "CPU", "memory", "downloaded", "retries", "failures")


def summarise(
    attempts: Sequence[Attempt], *, outcome: str, begun: str, seconds: float, errors: Mapping[str, int]
) -> dict[str, Any]:
    """Return the summary of a run.

    Parameters
    ----------
    attempts : sequence of Attempt
        What its jobs told.
    outcome : str
        "done", "failed" or "stopped".
    begun : str
        When it began.
    seconds : float
        Wall time.
    errors : mapping of str to int
        Failed attempts by rule, as Snakemake counted them: those that told nothing are among them.

    Returns
    -------
    dict
        outcome, begun, seconds; cpu_s, bytes_down, requests, retries and failures by cause, in all and in each of
        steps; failed: the jobs that failed, with their cause.
    """
    rules: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        rules[attempt.place.rule].append(attempt)
    steps = [_step(rule, rules[rule], errors.get(rule, 0)) for rule in sorted({*rules, *errors}, key=by_flow)]
    failures: Counter[str] = Counter()
    for step in steps:
        failures.update(step["failures"])
    sums = {name: _rounded(sum(step[name] for step in steps)) for name in _SUMS[1:]}
    return {
        "outcome": outcome,
        "begun": begun,
        "seconds": round(seconds, 1),
        **sums,
        "failures": dict(failures),
        "steps": steps,
        "failed": [_failed(attempt) for attempt in attempts if attempt.cause is not None][:_MOST_TOLD],
    }


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return the summary as a sentence and a table, line by line."""
    words = (
        f"{summary['outcome']} in {told_time(summary['seconds'])} ({told_time(summary['cpu_s'])} of CPU); "
        f"{_told_bytes(summary['bytes_down'])} downloaded in {summary['requests']} requests, "
        f"{summary['retries']} retries; {_told_failures(summary['failures']) or 'nothing'} failed."
    )
    rows = [_HEADS, *(_cells(step) for step in summary["steps"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    table = [
        "  ".join(text.ljust(width) if column in (0, 7) else text.rjust(width) for column, (text, width) in enumerate(
            zip(row, widths, strict=True)
        )).rstrip()
        for row in rows
    ]  # fmt: skip
    return [words, *table]


def _step(rule: str, attempts: Sequence[Attempt], errors: int) -> dict[str, Any]:
    failures = Counter(attempt.cause for attempt in attempts if attempt.cause is not None)
    silent = errors - failures.total()
    if silent > 0:
        failures[UNKNOWN] = silent
    sums = {name: _rounded(sum(getattr(attempt, name) for attempt in attempts)) for name in _SUMS}
    done = sum(attempt.cause is None for attempt in attempts)
    memory = max((attempt.max_rss_mb for attempt in attempts), default=0)
    return {"step": rule, "jobs": done, **sums, "max_rss_mb": memory, "failures": dict(failures)}


def _rounded(value: float) -> float:
    return round(value, 2) if isinstance(value, float) else value


def _failed(attempt: Attempt) -> dict[str, Any]:
    place = attempt.place
    return {
        "basin": place.basin, "rule": place.rule, "cell": place.cell, "cause": attempt.cause, "text": attempt.text,
    }  # fmt: skip


def _cells(step: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        step["step"],
        str(step["jobs"]),
        told_time(step["seconds"]),
        told_time(step["cpu_s"]),
        f"{step['max_rss_mb']} MB",
        _told_bytes(step["bytes_down"]),
        str(step["retries"]),
        _told_failures(step["failures"]),
    )


def _told_failures(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {cause}" for cause, count in sorted(failures.items()))


def _told_bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
