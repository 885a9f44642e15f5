"""What a job tells: JSON lines in a file beside its log, for programs, and plain lines on stderr, for people.

A line holds time, level, step, event and, in the workflow, basin, rule and cell; docs/reference/events.md lists the
events. No query of an address is written: it may hold a signature. A file that cannot be written stops no work.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headwater.core.errors import cause_of

EVENTS_SUFFIX = ".jsonl"
"""Of the file of events beside a log."""
BEGUN, DONE, FAILED, RETRIED, SAID, PROGRESSED = "begun", "done", "failed", "retried", "said", "progress"
"""Events."""
BYTES, REQUESTS, RETRIES = "bytes_down", "requests", "retries"
"""Numbers that are summed over a job: bytes over the network, requests, tries after the first."""

_QUERY = re.compile(r"\?[^\s'\"]*")


@dataclass
class _Record:
    """The file of events of this process, and what is said in each of its lines."""

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
    """Its rule."""
    cell: str | None = None
    """Its cell, None for a job of the basin."""

    @classmethod
    def of_file(cls, path: Path) -> Place:
        """Return the place of a log, events or benchmark: <basin>/<rule>.log or <basin>/<rule>/<cell>.log.

        Parameters
        ----------
        path : Path
            The file; its last folders tell. A cell's name may hold dots, so that only the suffix is cut off.
        """
        is_cell = re.match(r"[NS]\d", path.name) is not None
        if is_cell:
            return cls(basin=path.parent.parent.name, rule=path.parent.name, cell=path.stem)
        return cls(basin=path.parent.name, rule=path.stem)


@contextmanager
def recorded(step: str, log: Path | None) -> Iterator[None]:
    """Record the events of the block: that it begins, what it tells, and how it ends.

    Parameters
    ----------
    step : str
        The subcommand.
    log : Path or None
        Log of the job; events are added to the file beside it. None records nothing.
    """
    if log is None:
        yield
        return
    place = Place.of_file(log)
    facts = {"step": step, "basin": place.basin, "rule": place.rule, "cell": place.cell}
    _RECORD.path, _RECORD.facts = log.with_suffix(EVENTS_SUFFIX), {k: v for k, v in facts.items() if v is not None}
    # Meters count since the process began.
    _RECORD.counts = Counter({name: -amount for name, amount in _metered().items()})
    begun = time.monotonic()
    emit(BEGUN, process=os.getpid(), host=socket.gethostname())
    try:
        yield
    except BaseException as error:
        told = {"cause": cause_of(error), "error": type(error).__name__}
        # What an unforeseen error says may hold anything; stderr has it.
        cause = getattr(error, "cause", None)
        emit(FAILED, level="error", **told, **({"text": cause} if cause else {}), **_numbers(begun))
        raise
    else:
        emit(DONE, **_numbers(begun))
    finally:
        _RECORD.path = None


def emit(event: str, *, level: str = "info", **facts: Any) -> None:
    """Add an event to the file of this job; do nothing where none is recorded.

    Parameters
    ----------
    event : str
        Its name.
    level : str
        "info", "warning" or "error".
    **facts
        Numbers and short texts.
    """
    if _RECORD.path is None:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    shown = {key: without_query(value) if isinstance(value, str) else value for key, value in facts.items()}
    line = json.dumps({"time": now, "level": level, **_RECORD.facts, "event": event, **shown}, default=str)
    with suppress(OSError), _RECORD.lock, _RECORD.path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def say(text: str, **facts: Any) -> None:
    """Tell the user something that does not stop the work, on stderr and as an event.

    Parameters
    ----------
    text : str
        One sentence.
    **facts
        Numbers of the event.
    """
    print(f"headwater: {text}", file=sys.stderr, flush=True)
    emit(SAID, text=text, **facts)


def retrying(what: str) -> Callable[[Any], None]:
    """Return what tenacity calls before it tries again (`before_sleep`): the retry is counted and told.

    Parameters
    ----------
    what : str
        What is tried again: "read", "search" or "token".
    """

    def told(state: Any) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        count(RETRIES)
        facts = {"status": status} if (status := getattr(error, "status", None)) else {}
        emit(RETRIED, level="warning", what=what, attempt=state.attempt_number, error=type(error).__name__, **facts)

    return told


def count(name: str, amount: int = 1) -> None:
    """Add to a number that is told when the job ends."""
    with _RECORD.lock:
        _RECORD.counts[name] += amount


def add_meter(meter: Callable[[], Mapping[str, int]]) -> None:
    """Ask `meter`, once the job ends, for numbers counted elsewhere (GDAL)."""
    _METERS.append(meter)


def without_query(text: str) -> str:
    """Cut the query of every address out of a text: it may hold a signature."""
    return _QUERY.sub("", text)


def _metered() -> Counter[str]:
    """Return what was counted elsewhere since the process began."""
    totals = Counter[str]()
    for meter in _METERS:
        # A meter that fails is no reason for a job to fail.
        with suppress(Exception):
            totals.update(meter())
    return totals


def _numbers(begun: float) -> dict[str, Any]:
    """Return what the job took: wall and CPU seconds, peak memory, and everything that was counted."""
    import resource

    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    totals = Counter({BYTES: 0, REQUESTS: 0, RETRIES: 0})
    totals.update(_RECORD.counts)
    totals.update(_metered())
    return {
        "seconds": round(time.monotonic() - begun, 3),
        "cpu_s": round(sum(use.ru_utime + use.ru_stime for use in (own, children)), 3),
        "max_rss_mb": max(own.ru_maxrss, children.ru_maxrss) // 1024,
        **totals,
    }
