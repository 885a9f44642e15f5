"""What the jobs of a run told of themselves: one attempt for each time a job began."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from headwater.core.events import BEGUN, BYTES, DONE, EVENTS_SUFFIX, FAILED, REQUESTS, RETRIED, RETRIES, Place

KILLED = "killed"
"""Cause of an attempt that began and never told its end: out of memory, out of time, or stopped."""


@dataclass(frozen=True)
class Attempt:
    """A job, from its beginning to its end."""

    place: Place
    cause: str | None = None
    """Why it failed (`headwater.core.errors`, or KILLED); None if it did not."""
    text: str = ""
    """What it said of that."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """CPU seconds, user and system."""
    max_rss_mb: int = 0
    """Peak memory."""
    bytes_down: int = 0
    """Bytes over the network."""
    requests: int = 0
    retries: int = 0


def log_sizes(*folders: Path) -> dict[Path, int]:
    """Return the size of each file of events below folders, by which `attempts_since` knows what is new."""
    sizes = {}
    for path in chain.from_iterable(folder.rglob(f"*{EVENTS_SUFFIX}") for folder in folders):
        # A file may go while we look.
        with suppress(OSError):
            sizes[path] = path.stat().st_size
    return sizes


def attempts_since(before: Mapping[Path, int], *folders: Path) -> list[Attempt]:
    """Return the attempts that were told since.

    Parameters
    ----------
    before : mapping of Path to int
        What `log_sizes` gave then. Sizes instead of times: the clocks of a cluster differ.
    *folders : Path
        Folders of the logs.
    """
    found = []
    for path, size in sorted(log_sizes(*folders).items()):
        known = before.get(path, 0)
        if size != known:
            found += attempts_of(_lines(path, known if size > known else 0), Place.of_file(path))
    return found


def attempts_of(lines: Iterable[Mapping[str, Any]], place: Place) -> list[Attempt]:
    """Return the attempts that the events of one job tell of.

    Parameters
    ----------
    lines : iterable of mapping
        Its events, in their order.
    place : Place
        Which job it is.
    """
    found: list[Attempt] = []
    open_lines: list[Mapping[str, Any]] = []
    for line in lines:
        if line.get("event") == BEGUN and open_lines:
            found.append(_killed(open_lines, place))
            open_lines = []
        open_lines.append(line)
        if line.get("event") in (DONE, FAILED):
            found.append(_ended(line, place))
            open_lines = []
    return [*found, _killed(open_lines, place)] if open_lines else found


def _ended(line: Mapping[str, Any], place: Place) -> Attempt:
    return Attempt(
        place,
        cause=str(line.get("cause", "bug")) if line["event"] == FAILED else None,
        text=str(line.get("text", "")),
        seconds=float(line.get("seconds", 0)),
        cpu_s=float(line.get("cpu_s", 0)),
        max_rss_mb=int(line.get("max_rss_mb", 0)),
        bytes_down=int(line.get(BYTES, 0)),
        requests=int(line.get(REQUESTS, 0)),
        retries=int(line.get(RETRIES, 0)),
    )


def _killed(lines: list[Mapping[str, Any]], place: Place) -> Attempt:
    """Return an attempt without an end; its last words tell how long it lived at least."""
    first, last = (datetime.fromisoformat(line["time"]) for line in (lines[0], lines[-1]))
    retries = sum(line.get("event") == RETRIED for line in lines)
    return Attempt(place, cause=KILLED, seconds=(last - first).total_seconds(), retries=retries)


def _lines(path: Path, start: int) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    except OSError:
        return
    for text in content.splitlines():
        # The last line of a killed process may be half a line.
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and "event" in line and "time" in line:
                yield line
