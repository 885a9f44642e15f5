"""What a job reports: events as JSON lines in a file next to its log, and messages and progress on stderr.

An event has time, level, step, event name and, in the workflow, basin, rule and cell; docs/reference/events.md lists
the events. Secrets are never written (`headwater.core.secrets`). If the file cannot be written, work goes on.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from headwater.core.errors import cause_of
from headwater.core.secrets import without_credentials, without_secrets

EVENTS_SUFFIX = ".jsonl"
"""Suffix of the file of events next to a log."""
BEGUN, DONE, FAILED, RETRIED, SAID, PROGRESSED = "begun", "done", "failed", "retried", "said", "progress"
"""Names of events."""
BYTES, REQUESTS, RETRIES = "bytes_down", "requests", "retries"
"""Counters of a job: bytes over the network, requests, attempts after the first."""

_T = TypeVar("_T")
_SECONDS_BETWEEN_LINES = 15.0


@dataclass
class _Record:
    """The file of events of this process, and the facts that each of its lines repeats."""

    path: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


_RECORD = _Record()
_METERS: list[Callable[[], Mapping[str, int]]] = []


@dataclass(frozen=True)
class Place:
    """Which job of the workflow a log belongs to."""

    basin: str
    """HYBAS_ID."""
    rule: str
    """Name of the workflow rule."""
    cell: str | None = None
    """Name of the cell; None for a job of the basin."""

    @classmethod
    def of_file(cls, path: Path) -> Place:
        """Return the place of a log or of its events: <basin>/<rule>.log or <basin>/<rule>/<cell>.log.

        Parameters
        ----------
        path : Path
            The file; its last folders name the place. Only the suffix is removed: names of cells may contain dots.
        """
        is_cell = re.match(r"[NS]\d", path.name) is not None
        if is_cell:
            return cls(basin=path.parent.parent.name, rule=path.parent.name, cell=path.stem)
        return cls(basin=path.parent.name, rule=path.stem)


@contextmanager
def recorded(step: str, log: Path | None) -> Iterator[None]:
    """Record the events of the block: its start, its reports and its end.

    Parameters
    ----------
    step : str
        The subcommand.
    log : Path or None
        Log of the job; events are appended to the file next to it. None records nothing.
    """
    if log is None:
        yield
        return
    place = Place.of_file(log)
    facts = {"step": step, "basin": place.basin, "rule": place.rule, "cell": place.cell}
    _RECORD.path, _RECORD.facts = log.with_suffix(EVENTS_SUFFIX), {k: v for k, v in facts.items() if v is not None}
    # Meters count from the start of the process.
    _RECORD.counts = Counter({name: -amount for name, amount in _metered().items()})
    started = time.monotonic()
    emit(BEGUN, process=os.getpid(), host=socket.gethostname())
    try:
        yield
    except BaseException as error:
        facts = {"cause": cause_of(error), "error": type(error).__name__}
        # The text of an unexpected error may contain anything; only stderr has it.
        words = {"text": getattr(error, "cause", None), "remedy": getattr(error, "remedy", None)}
        said = {name: text for name, text in words.items() if text}
        emit(FAILED, level="error", **facts, **said, **_numbers(started))
        raise
    else:
        emit(DONE, **_numbers(started))
    finally:
        _RECORD.path = None


def emit(event: str, *, level: str = "info", **facts: Any) -> None:
    """Append an event to the file of this job; do nothing if none is recorded.

    Parameters
    ----------
    event : str
        Name of the event.
    level : str
        "info", "warning" or "error".
    **facts
        Numbers and short texts.
    """
    if _RECORD.path is None:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    public = {key: without_secrets(value) if isinstance(value, str) else value for key, value in facts.items()}
    line = json.dumps({"time": now, "level": level, **_RECORD.facts, "event": event, **public}, default=str)
    with suppress(OSError), _RECORD.lock, _RECORD.path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def say(text: str, **facts: Any) -> None:
    """Report something that does not stop the work, on stderr and as an event.

    Parameters
    ----------
    text : str
        One sentence.
    **facts
        Numbers of the event.
    """
    _report(text, "info", facts)


def warn(text: str, **facts: Any) -> None:
    """Report something about the results that a user should know; the summary of the run repeats it.

    Parameters
    ----------
    text : str
        One sentence.
    **facts
        Numbers of the event.
    """
    _report(text, "warning", facts)


def _report(text: str, level: str, facts: Mapping[str, Any]) -> None:
    text = without_credentials(text)
    print(f"headwater: {text}", file=sys.stderr, flush=True)
    emit(SAID, level=level, text=text, **facts)


def retrying(what: str) -> Callable[[Any], None]:
    """Return a callback for tenacity (`before_sleep`) that counts each retry and records it as an event.

    Parameters
    ----------
    what : str
        What is retried: "read", "search", "token" or "download".
    """

    def record(state: Any) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        count(RETRIES)
        facts = {"status": status} if (status := getattr(error, "status", None)) else {}
        emit(RETRIED, level="warning", what=what, attempt=state.attempt_number, error=type(error).__name__, **facts)

    return record


def progress(
    items: Iterable[_T],
    *,
    description: str,
    total: int | None = None,
    start: int = 0,
    note: Callable[[], str] | None = None,
) -> Iterator[_T]:
    """Iterate over `items` and report progress on stderr: a bar on a terminal, now and then a line in a log.

    Parameters
    ----------
    items : Iterable
        What to iterate over.
    description : str
        A few words, shown before the count.
    total : int, optional
        Number of items, if `items` has no length.
    start : int
        Number of items done before.
    note : callable, optional
        Returns a few words that change during the work, shown after the count.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(items, desc=description, total=total, initial=start, file=sys.stderr) as bar:
            for item in bar:
                yield item
                if note is not None:
                    bar.set_postfix_str(note(), refresh=False)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items, start=start + 1):
        yield item
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            of = f" of {total}" if total is not None else ""
            more = f", {note()}" if note is not None else ""
            print(f"{description}: {done}{of}, {now - started:.0f} s{more}", file=sys.stderr, flush=True)
            emit(PROGRESSED, text=description, done=done, total=total)


def count(name: str, amount: int = 1) -> None:
    """Add to a counter that is reported when the job ends."""
    with _RECORD.lock:
        _RECORD.counts[name] += amount


def add_meter(meter: Callable[[], Mapping[str, int]]) -> None:
    """Register a callable that returns numbers counted elsewhere (GDAL); it is called when the job ends."""
    _METERS.append(meter)


def _metered() -> Counter[str]:
    """Return what was counted elsewhere since the process started."""
    totals = Counter[str]()
    for meter in _METERS:
        # A failing meter must not fail the job.
        with suppress(Exception):
            totals.update(meter())
    return totals


def _numbers(started: float) -> dict[str, Any]:
    """Return what the job used: wall and CPU seconds, peak memory, and all counters."""
    import resource

    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    totals = Counter({BYTES: 0, REQUESTS: 0, RETRIES: 0})
    totals.update(_RECORD.counts)
    totals.update(_metered())
    return {
        "seconds": round(time.monotonic() - started, 3),
        "cpu_s": round(sum(use.ru_utime + use.ru_stime for use in (own, children)), 3),
        "max_rss_mb": max(own.ru_maxrss, children.ru_maxrss) // 1024,
        **totals,
    }
