"""The summary of a run, from the events of its jobs: time, downloads, retries and failures of each step."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from headwater.core.errors import STOPPED
from headwater.core.events import BEGUN, BYTES, DONE, EVENTS_SUFFIX, FAILED, REQUESTS, RETRIED, RETRIES, SAID, Place
from headwater.runs import by_flow

KILLED = "killed"
"""Cause of an attempt that began and recorded no end: out of memory, out of time, or stopped."""
UNKNOWN = "unknown"
"""Cause of a failed job without events: it did not start, or the scheduler ended it."""
_SUMS = ("seconds", "cpu_s", "bytes_down", "requests", "retries")
_MAX_LISTED_FAILURES = 100
_MAX_SHOWN_WARNINGS = 10
_COLUMNS = ("step", "jobs", "wall", "CPU", "memory", "downloaded", "retries", "failures")


@dataclass(frozen=True)
class JobAttempt:
    """One attempt of a job, from its beginning to its end."""

    place: Place
    cause: str | None = None
    """Why it failed (`headwater.core.errors`, or KILLED); None if it succeeded."""
    text: str = ""
    """Its error message."""
    remedy: str = ""
    """What to do about it."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """CPU seconds, user and system."""
    max_rss_mb: int = 0
    """Peak memory."""
    bytes_down: int = 0
    """Bytes over the network."""
    requests: int = 0
    retries: int = 0
    warnings: tuple[str, ...] = ()
    """What a user should know of its results."""


def event_file_sizes(*folders: Path) -> dict[Path, int]:
    """Return the size of each event file below folders; `job_attempts_since` uses it to find new events."""
    sizes = {}
    for path in chain.from_iterable(folder.rglob(f"*{EVENTS_SUFFIX}") for folder in folders):
        # The file may be removed in the meantime.
        with suppress(OSError):
            sizes[path] = path.stat().st_size
    return sizes


def job_attempts_since(before: Mapping[Path, int], *folders: Path) -> list[JobAttempt]:
    """Return the attempts recorded since an earlier moment.

    Parameters
    ----------
    before : mapping of Path to int
        Result of `event_file_sizes` at that moment. Sizes instead of times: the clocks of a cluster differ.
    *folders : Path
        Folders of the logs.
    """
    found = []
    for path, size in sorted(event_file_sizes(*folders).items()):
        known = before.get(path, 0)
        if size != known:
            found += job_attempts(_read_events(path, known if size > known else 0), Place.of_file(path))
    return found


def job_attempts(events: Iterable[Mapping[str, Any]], place: Place) -> list[JobAttempt]:
    """Return the attempts in the events of one job.

    Parameters
    ----------
    events : iterable of mapping
        Its events in order.
    place : Place
        The job.
    """
    found: list[JobAttempt] = []
    unfinished: list[Mapping[str, Any]] = []
    for event in events:
        if event.get("event") == BEGUN and unfinished:
            found.append(_killed(unfinished, place))
            unfinished = []
        unfinished.append(event)
        if event.get("event") in (DONE, FAILED):
            found.append(_ended(unfinished, place))
            unfinished = []
    return [*found, _killed(unfinished, place)] if unfinished else found


def summarize(
    attempts: Sequence[JobAttempt], *, outcome: str, begun: str, seconds: float, errors: Mapping[str, int]
) -> dict[str, Any]:
    """Return the summary of a run.

    Parameters
    ----------
    attempts : sequence of JobAttempt
        Attempts of its jobs.
    outcome : str
        "done", "failed" or "stopped".
    begun : str
        When it began.
    seconds : float
        Wall time.
    errors : mapping of str to int
        Failed attempts by rule as counted by Snakemake, which includes those without events.

    Returns
    -------
    dict
        outcome, begun, seconds; cpu_s, bytes_down, requests, retries and failures by cause, in total and for each of
        steps; failed: the failed attempts with their causes; warnings: what the other attempts warned of.
    """
    rules: defaultdict[str, list[JobAttempt]] = defaultdict(list)
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
        "failed": [_failed(attempt) for attempt in attempts if attempt.cause is not None][:_MAX_LISTED_FAILURES],
        "warnings": [
            {"basin": attempt.place.basin, "rule": attempt.place.rule, "cell": attempt.place.cell, "text": text}
            for attempt in attempts
            if attempt.cause is None
            for text in attempt.warnings
        ][:_MAX_LISTED_FAILURES],
    }


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return the summary as a sentence, a table and the warnings, line by line."""
    sentence = (
        f"{summary['outcome']} in {format_duration(summary['seconds'])} ({format_duration(summary['cpu_s'])} of CPU); "
        f"{format_bytes(summary['bytes_down'])} downloaded in {summary['requests']} requests, "
        f"{summary['retries']} retries; {_format_failures(summary['failures']) or 'nothing'} failed."
    )
    rows = [_COLUMNS, *(_cells(step) for step in summary["steps"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    table = [
        "  ".join(text.ljust(width) if column in (0, 7) else text.rjust(width) for column, (text, width) in enumerate(
            zip(row, widths, strict=True)
        )).rstrip()
        for row in rows
    ]  # fmt: skip
    warnings = list(dict.fromkeys(f"warning: {each['text']}" for each in summary.get("warnings", ())))
    more = [f"... and {len(warnings) - _MAX_SHOWN_WARNINGS} more"] if len(warnings) > _MAX_SHOWN_WARNINGS else []
    return [sentence, *table, *warnings[:_MAX_SHOWN_WARNINGS], *more]


def failure_lines(attempts: Sequence[JobAttempt], logs: Path, *, silent: int = 0, most: int = 3) -> list[str]:
    """Return what ended a run: cause and remedy of the jobs whose last attempt failed, the latest last.

    Parameters
    ----------
    attempts : sequence of JobAttempt
        Attempts of the run.
    logs : Path
        Folder of the jobs' logs.
    silent : int
        Attempts that failed without events.
    most : int
        Most lines of jobs with events; those that failed in the same way share one.
    """
    silent_line = f"{silent} attempts ended without a word: see what Snakemake printed of them above."
    last = {attempt.place: attempt for attempt in attempts}
    alike: defaultdict[tuple[str, str, str], list[JobAttempt]] = defaultdict(list)
    for attempt in last.values():
        if attempt.cause not in (None, STOPPED):
            alike[attempt.place.rule, attempt.cause, attempt.text].append(attempt)
    return [silent_line] * (silent > 0) + [_failure_line(jobs, logs) for jobs in list(alike.values())[-most:]]


def _failure_line(jobs: Sequence[JobAttempt], logs: Path) -> str:
    """Return one line for jobs of one rule that failed in the same way."""
    first = jobs[0]
    place = first.place
    log = logs / place.basin / (f"{place.rule}/{place.cell}.log" if place.cell else f"{place.rule}.log")
    job = f"{place.rule} of {f'cell {place.cell}' if place.cell else f'basin {place.basin}'}"
    others = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    if first.cause == KILLED:
        words = f"It was killed, out of memory or of time: see {log}, and run the same command again."
    elif first.text:
        words = f"{first.text} {first.remedy}".strip()
    else:
        words = f"An unforeseen error: report it with {log}."
    return f"{job}{others} failed. {words}"


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as "3 h 20 min"."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min" + (f" {rounded % 60} s" if rounded < 600 else "")
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def _ended(events: Sequence[Mapping[str, Any]], place: Place) -> JobAttempt:
    event = events[-1]
    return JobAttempt(
        place,
        cause=str(event.get("cause", "bug")) if event["event"] == FAILED else None,
        text=str(event.get("text", "")),
        remedy=str(event.get("remedy", "")),
        seconds=float(event.get("seconds", 0)),
        cpu_s=float(event.get("cpu_s", 0)),
        max_rss_mb=int(event.get("max_rss_mb", 0)),
        bytes_down=int(event.get(BYTES, 0)),
        requests=int(event.get(REQUESTS, 0)),
        retries=int(event.get(RETRIES, 0)),
        warnings=tuple(
            str(each.get("text", "")) for each in events if each.get("event") == SAID and each.get("level") == "warning"
        ),
    )


def _killed(events: list[Mapping[str, Any]], place: Place) -> JobAttempt:
    """Return an attempt without an end; its last event is the latest time at which it was known to run."""
    first, last = (datetime.fromisoformat(event["time"]) for event in (events[0], events[-1]))
    retries = sum(event.get("event") == RETRIED for event in events)
    return JobAttempt(place, cause=KILLED, seconds=(last - first).total_seconds(), retries=retries)


def _read_events(path: Path, start: int) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    except OSError:
        return
    for text in content.splitlines():
        # The last line of a killed process may be incomplete.
        with suppress(ValueError):
            event = json.loads(text)
            if isinstance(event, dict) and "event" in event and "time" in event:
                yield event


def _step(rule: str, attempts: Sequence[JobAttempt], errors: int) -> dict[str, Any]:
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


def _failed(attempt: JobAttempt) -> dict[str, Any]:
    place = attempt.place
    return {
        "basin": place.basin, "rule": place.rule, "cell": place.cell, "cause": attempt.cause, "text": attempt.text,
    }  # fmt: skip


def _cells(step: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        step["step"],
        str(step["jobs"]),
        format_duration(step["seconds"]),
        format_duration(step["cpu_s"]),
        f"{step['max_rss_mb']} MB",
        format_bytes(step["bytes_down"]),
        str(step["retries"]),
        _format_failures(step["failures"]),
    )


def _format_failures(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {cause}" for cause, count in sorted(failures.items()))


def format_bytes(count: float) -> str:
    """Return a number of bytes with three digits and a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
