"""Watching a run of the workflow from within Snakemake: the Snakefile's onstart, onsuccess and onerror call this.

A handler on Snakemake's logger sees each job begin and end, wherever it runs. Trouble in here ends the watching, never
the run.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TextIO

from tqdm import tqdm

from headwater.core.files import write_json
from headwater.runs.attempts import attempts_since, log_sizes
from headwater.runs.benchmarks import cost_table, read_benchmarks
from headwater.runs.line import Progress
from headwater.runs.run_summary import summarise, summary_lines

SECONDS_BETWEEN_LINES = 30.0
"""In a log; a long run tells a line each hundredth of the time gone."""
LOGGER = logging.getLogger("snakemake.logging")
_P = ParamSpec("_P")
_WATCH: list[Watch] = []


def _harmless(function: Callable[_P, None]) -> Callable[_P, None]:
    """Return the function made unable to end a run: an error in it is told, and the watching ends."""

    @wraps(function)
    def safe(*args: _P.args, **options: _P.kwargs) -> None:
        try:
            function(*args, **options)
        except Exception as error:
            while _WATCH:
                _WATCH.pop().leave()
            LOGGER.warning(f"headwater: the run is not watched any more ({type(error).__name__}: {error}).")

    return safe


@_harmless
def begin(workflow: Any, logs: Path, benchmarks: Path) -> None:
    """Begin to watch a run.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        The workflow, its jobs known.
    logs, benchmarks : Path
        Folders of the jobs' logs and benchmarks; the summary is written to the former.
    """
    totals, done, folders = Counter[str](), Counter[str](), set[Path]()
    for job in workflow.dag.jobs:
        # Targets (all, refresh) have none.
        if job.log:
            totals[job.rule.name] += 1
            done[job.rule.name] += not workflow.dag.needrun(job)
            folders.add(logs / Path(job.log[0]).relative_to(logs).parts[0])
    quiet = {word.name for word in workflow.output_settings.quiet or ()}
    shown = not quiet & {"ALL", "PROGRESS"}
    watch = Watch(Progress(totals, done, at=time.monotonic()), logs, benchmarks, folders, shown=shown)
    _WATCH.append(watch)
    # Where neither onsuccess nor onerror is called.
    atexit.register(end, "stopped")
    watch.enter()


@_harmless
def end(outcome: str) -> None:
    """End watching: write the summary and tell it.

    Parameters
    ----------
    outcome : str
        "done", "failed" or "stopped".
    """
    while _WATCH:
        watch = _WATCH.pop()
        watch.leave()
        watch.summarise(outcome)


class Watch(logging.Handler):
    """Keeps the progress of a run and shows it: on a terminal one line that changes, in a log a line now and then."""

    def __init__(
        self, progress: Progress, logs: Path, benchmarks: Path, folders: Iterable[Path], *, shown: bool = True
    ) -> None:
        super().__init__()
        # Of the run's own basins: another run may be at work on others.
        self._folders = sorted(folders)
        self._progress, self._shown = progress, shown
        self._logs, self._benchmarks = logs, benchmarks
        self._begun, self._begun_at = time.monotonic(), datetime.now(UTC)
        self._sizes = log_sizes(*self._folders)
        self._told = self._begun
        self._terminal: Terminal | None = None

    def enter(self) -> None:
        """Listen to Snakemake."""
        for handler in LOGGER.handlers:
            if self._shown and isinstance(handler, logging.StreamHandler) and handler.stream.isatty():
                self._terminal = Terminal(handler)
        LOGGER.addHandler(self)

    def leave(self) -> None:
        """Listen no more."""
        LOGGER.removeHandler(self)
        if self._terminal is not None:
            self._terminal.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Take up a job that began or ended."""
        self._take_up(record)

    @_harmless
    def _take_up(self, record: logging.LogRecord) -> None:
        event, now = str(getattr(record, "event", "")), time.monotonic()
        facts: dict[str, Any] = record.__dict__
        if event == "job_info":
            self._progress.begin(facts["jobid"], facts["rule_name"], at=now)
        elif event == "job_finished":
            self._progress.end(facts["job_id"], at=now)
        elif event == "job_error":
            self._progress.end(facts["jobid"], at=now, failed=True)
        elif event == "group_error":
            for job in facts["job_error_info"]:
                self._progress.end(job["jobid"], at=now, failed=True)
        else:
            return
        if self._shown:
            self._show(now)

    def _show(self, now: float) -> None:
        if self._terminal is not None:
            self._terminal.show(self._progress.line(at=now, short=True))
        elif now - self._told >= max(SECONDS_BETWEEN_LINES, (now - self._begun) / 100):
            self._told = now
            LOGGER.info(f"headwater: {self._progress.line(at=now)}")

    def summarise(self, outcome: str) -> None:
        """Write the summary, and tell it line by line."""
        attempts = attempts_since(self._sizes, *self._folders)
        if not attempts and not self._progress.errors:
            return
        summary = summarise(
            attempts,
            outcome=outcome,
            begun=self._begun_at.isoformat(timespec="seconds"),
            seconds=time.monotonic() - self._begun,
            errors=self._progress.errors,
        )
        ours = {attempt.place for attempt in attempts if attempt.cause is None}
        measured = {place: cost for place, cost in read_benchmarks(self._benchmarks).items() if place in ours}
        path = self._logs / f"run-{self._begun_at:%Y%m%dT%H%M%S%fZ}.json"
        write_json(path, summary | {"costs": cost_table(measured)})
        for line in [*summary_lines(summary), f"The whole summary: {path}"]:
            LOGGER.info(f"headwater: {line}")


class Terminal:
    """One line at the foot of a terminal, above which Snakemake goes on writing.

    Parameters
    ----------
    handler : logging.StreamHandler
        The one that writes to the terminal; it writes through this one until `close`.
    """

    def __init__(self, handler: logging.StreamHandler[Any]) -> None:
        self._handler, self._stream = handler, handler.stream
        self._bar = tqdm(file=self._stream, bar_format="{desc}", leave=False)
        handler.setStream(_Above(self._stream))

    def show(self, text: str) -> None:
        """Write the line anew, cut to the width of the terminal."""
        self._bar.set_description_str(text[: shutil.get_terminal_size().columns - 1])

    def close(self) -> None:
        """Take the line away."""
        self._handler.setStream(self._stream)
        self._bar.close()


class _Above:
    """A text stream whose whole lines go above the line at the foot."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._held = stream, ""

    def write(self, text: str) -> int:
        lines, newline, self._held = (self._held + text).rpartition("\n")
        if newline:
            tqdm.write(lines, file=self._stream)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return True
