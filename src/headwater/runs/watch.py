"""Progress of a run, watched from within Snakemake: the Snakefile's onstart, onsuccess and onerror call this.

A handler on Snakemake's logger receives an event when a job begins or ends, wherever it runs. An error in here ends the
watching, never the run.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TextIO

from tqdm import tqdm

from headwater.core.files import write_json
from headwater.runs import by_flow
from headwater.runs.costs import cost_table
from headwater.runs.run_summary import (
    UNKNOWN,
    event_file_sizes,
    failure_lines,
    format_bytes,
    format_duration,
    job_attempts_since,
    summarize,
    summary_lines,
)

SECONDS_BETWEEN_LINES = 60.0
"""Between progress lines in a log; in a long run a hundredth of the elapsed time."""
QUIET_VARIABLE = "HEADWATER_QUIET"
"""Set for the Snakemake that Headwater starts: it is quiet from its first line on, not from its first job on."""
_SHOWN_TEXT = ("headwater", "Nothing to be done", "Complete log", "Unlock")
"""How messages of Snakemake begin that are shown although they are no warnings."""
MIN_BLOCK_COLUMNS = 44
"""Width of a terminal from which each step has a bar."""
LOGGER = logging.getLogger("snakemake.logging")
_P = ParamSpec("_P")
_WATCH: list[Watch] = []


def _harmless(function: Callable[_P, None]) -> Callable[_P, None]:
    """Return the function with all errors caught: an error is logged and ends the watching, not the run."""

    @wraps(function)
    def safe(*args: _P.args, **options: _P.kwargs) -> None:
        try:
            function(*args, **options)
        except Exception as error:
            while _WATCH:
                _WATCH.pop().leave()
            LOGGER.warning(f"headwater: the run is no longer watched ({type(error).__name__}: {error}).")

    return safe


class _Quiet(logging.Filter):
    """Passes warnings, errors, and what Headwater itself says."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.getMessage().startswith(_SHOWN_TEXT)


def hush(workflow: Any) -> None:
    """Keep Snakemake's own text off the terminal; its log file has it all.

    With `--verbose`, `--printshellcmds` or `--dry-run`, whose text is asked for, nothing changes.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        The workflow.
    """
    settings = workflow.output_settings
    if settings.verbose or settings.printshellcmds or settings.dryrun:
        return
    for handler in LOGGER.handlers:
        shows = isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
        if shows and not any(isinstance(each, _Quiet) for each in handler.filters):
            handler.addFilter(_Quiet())


def partition_file(workflow: Any) -> Path | None:
    """Return the file of Slurm partitions that the profile of a run names, None if it names none."""
    named = getattr(workflow.executor_settings, "partition_config", None)
    return Path(named) if named else None


@_harmless
def begin(workflow: Any, logs: Path) -> None:
    """Begin to watch a run.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        The workflow, with its jobs determined.
    logs : Path
        Folder of the jobs' logs; the summary is written there.
    """
    totals, done, folders = Counter[str](), Counter[str](), set[Path]()
    for job in workflow.dag.jobs:
        # Targets (all, refresh) have no log.
        if job.log:
            totals[job.rule.name] += 1
            done[job.rule.name] += not workflow.dag.needrun(job)
            folders.add(logs / Path(job.log[0]).relative_to(logs).parts[0])
    hush(workflow)
    quiet = {word.name for word in workflow.output_settings.quiet or ()}
    shown = not quiet & {"ALL", "PROGRESS"}
    watch = Watch(Progress(totals, done, at=time.monotonic()), logs, folders, shown=shown)
    _WATCH.append(watch)
    # For runs in which neither onsuccess nor onerror is called.
    atexit.register(end, "stopped")
    watch.enter()


@_harmless
def end(outcome: str, results: Iterable[str] = ()) -> None:
    """End watching: write the summary and print it.

    Parameters
    ----------
    outcome : str
        "done", "failed" or "stopped".
    results : iterable of str
        Lines that say where the results are.
    """
    while _WATCH:
        watch = _WATCH.pop()
        watch.leave()
        watch.summarize(outcome)
        for line in results:
            LOGGER.info(f"headwater: {line}")


class Progress:
    """How far a run is, updated for each job that begins or ends.

    Parameters
    ----------
    totals : mapping of str to int
        Jobs of each rule, including those done in earlier runs.
    done : mapping of str to int
        Jobs of each rule done in earlier runs.
    at : float
        When the run began, seconds.
    """

    def __init__(self, totals: Mapping[str, int], done: Mapping[str, int], *, at: float) -> None:
        self.totals, self.done = dict(totals), Counter(done)
        self.errors: Counter[str] = Counter()
        self._done_before = self.done.total()
        self._begun = at
        self._running: dict[int, tuple[str, float]] = {}
        self._durations: defaultdict[str, list[float]] = defaultdict(list)

    def begin(self, job: int, rule: str, *, at: float) -> None:
        """Record that a job has begun, or was submitted."""
        if rule in self.totals:
            self._running[job] = (rule, at)

    def end(self, job: int, *, at: float, failed: bool = False) -> None:
        """Record that a job has ended."""
        rule, begun = self._running.pop(job, ("", at))
        if not rule:
            return
        if failed:
            self.errors[rule] += 1
            return
        self.done[rule] += 1
        self._durations[rule].append(at - begun)

    def rate(self, *, at: float) -> float:
        """Return jobs done per minute."""
        return 60 * (self.done.total() - self._done_before) / max(at - self._begun, 1e-9)

    def remaining_s(self, *, at: float) -> float | None:
        """Return the estimated seconds to the end; None until a job has ended.

        Remaining jobs are expected to take the mean of their rule, or of all jobs if none of their rule has ended, and
        to run with the average parallelism so far.
        """
        durations = [seconds for of_rule in self._durations.values() for seconds in of_rule]
        if not durations or at <= self._begun:
            return None
        mean = sum(durations) / len(durations)
        work = 0.0
        for rule, total in self.totals.items():
            own = self._durations[rule]
            work += (total - self.done[rule]) * (sum(own) / len(own) if own else mean)
        running = sum(at - begun for _, begun in self._running.values())
        parallelism = (sum(durations) + running) / (at - self._begun)
        return max(0.0, work - running) / parallelism

    def steps(self, *, busy_only: bool = False) -> list[tuple[str, int, int, int]]:
        """Return the name, jobs done, jobs in all and failures of each step, in the order of the steps.

        Parameters
        ----------
        busy_only : bool
            List only the steps that have begun and are not done.
        """
        busy = {rule for rule, _ in self._running.values()}
        return [
            (rule, self.done[rule], total, self.errors[rule])
            for rule, total in sorted(self.totals.items(), key=lambda item: by_flow(item[0]))
            if not busy_only or (self.done[rule] < total and (self.done[rule] or rule in busy))
        ]

    def overall(self, *, at: float) -> str:
        """Return the jobs done of all, rate, failures and remaining time, as text."""
        done, total = self.done.total(), sum(self.totals.values())
        left = self.remaining_s(at=at)
        speed = f"{done} of {total} jobs, {self.rate(at=at):.3g}/min"
        failed = f", {self.errors.total()} failed" if self.errors else ""
        return speed + failed + (f", {format_duration(left)} left" if left is not None else "")

    def line(self, *, at: float, short: bool = False) -> str:
        """Return the progress as one line: jobs done of each step, rate, remaining time.

        Parameters
        ----------
        at : float
            Now, seconds.
        short : bool
            List only the steps that have begun and are not done.
        """
        steps = [f"{rule} {done}/{total}" for rule, done, total, _ in self.steps(busy_only=short)]
        return " | ".join([*steps, self.overall(at=at)])


class Watch(logging.Handler):
    """Shows the progress of a run: on a terminal as a block that is updated, in a log as a line now and then."""

    def __init__(self, progress: Progress, logs: Path, folders: Iterable[Path], *, shown: bool = True) -> None:
        super().__init__()
        # Only the run's own basins: another run may be working on others.
        self._folders = sorted(folders)
        self._progress, self._shown = progress, shown
        self._logs = logs
        self._begun, self._begun_at = time.monotonic(), datetime.now(UTC)
        self._sizes = event_file_sizes(*self._folders)
        self._last_line = self._begun
        self._terminal: Terminal | None = None
        self._next_count, self._bytes = self._begun, 0.0

    def enter(self) -> None:
        """Start listening to Snakemake's events."""
        for handler in LOGGER.handlers:
            if self._shown and isinstance(handler, logging.StreamHandler) and handler.stream.isatty():
                self._terminal = Terminal(handler, self._progress)
                self._terminal.show(at=self._begun)
        LOGGER.addHandler(self)

    def leave(self) -> None:
        """Stop listening."""
        LOGGER.removeHandler(self)
        if self._terminal is not None:
            self._terminal.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Handle the event of a job that began or ended."""
        self._handle_event(record)

    @_harmless
    def _handle_event(self, record: logging.LogRecord) -> None:
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
            self._terminal.show(at=now, downloaded=self._downloaded(now))
        elif now - self._last_line >= max(SECONDS_BETWEEN_LINES, (now - self._begun) / 100):
            self._last_line = now
            LOGGER.info(f"headwater: {self._progress.line(at=now)}")

    def _downloaded(self, now: float) -> float:
        """Return the bytes that jobs downloaded, as of some seconds ago: the events of long runs take time to read."""
        if now >= self._next_count:
            begun = time.monotonic()
            attempts = job_attempts_since(self._sizes, *self._folders)
            self._bytes = float(sum(attempt.bytes_down for attempt in attempts))
            self._next_count = now + 2 + 20 * (time.monotonic() - begun)
        return self._bytes

    def summarize(self, outcome: str) -> None:
        """Write the summary, and log it line by line."""
        attempts = job_attempts_since(self._sizes, *self._folders)
        if not attempts and not self._progress.errors:
            return
        summary = summarize(
            attempts,
            outcome=outcome,
            begun=self._begun_at.isoformat(timespec="seconds"),
            seconds=time.monotonic() - self._begun,
            errors=self._progress.errors,
        )
        path = self._logs / f"run-{self._begun_at:%Y%m%dT%H%M%S%fZ}.json"
        costs = cost_table(attempt for attempt in attempts if attempt.cause is None)
        write_json(path, summary | {"costs": costs})
        lines = [*summary_lines(summary), f"The complete summary: {path}"]
        if outcome == "failed":
            lines += failure_lines(attempts, self._logs, silent=summary["failures"].get(UNKNOWN, 0))
        for line in lines:
            LOGGER.info(f"headwater: {line}")


class Terminal:
    """A block at the bottom of a terminal, a bar for each step, above which messages continue.

    On a terminal too small for it, the block is one line.

    Parameters
    ----------
    handler : logging.StreamHandler
        The handler that writes to the terminal; until `close` its output goes above the block.
    progress : Progress
        What is shown.
    """

    def __init__(self, handler: logging.StreamHandler[Any], progress: Progress) -> None:
        self._handler, self._stream, self._progress = handler, handler.stream, progress
        columns, rows = os.get_terminal_size(self._stream.fileno())
        steps = progress.steps() if rows > len(progress.totals) + 3 and columns >= MIN_BLOCK_COLUMNS else []
        width = max((len(rule) for rule, *_ in steps), default=0)
        self._bars = {
            rule: tqdm(
                desc=rule.ljust(width),
                total=total,
                initial=done,
                file=self._stream,
                bar_format="{desc} {bar:20} {n_fmt}/{total_fmt}{postfix}",
                leave=False,
                ascii=_is_plain(self._stream),
            )
            for rule, done, total, _ in steps
        }
        self._line = tqdm(file=self._stream, bar_format="{desc}", leave=False)
        handler.setStream(_Above(self._stream))

    def show(self, *, at: float, downloaded: float = 0.0) -> None:
        """Update the block, whose lines are cut to the width of the terminal."""
        for rule, done, _, failed in self._progress.steps():
            bar = self._bars.get(rule)
            if bar is not None and (bar.n != done or failed):
                bar.n = done
                bar.postfix = f" {failed} failed" if failed else ""
                bar.refresh()
        text = self._progress.overall(at=at) if self._bars else self._progress.line(at=at, short=True)
        text += f", {format_bytes(downloaded)} downloaded" if downloaded else ""
        self._line.set_description_str(text[: os.get_terminal_size(self._stream.fileno()).columns - 1])

    def close(self) -> None:
        """Remove the block."""
        self._handler.setStream(self._stream)
        for bar in (self._line, *reversed(self._bars.values())):
            bar.close()


def _is_plain(stream: TextIO) -> bool:
    """Whether a terminal knows no blocks: another encoding than UTF-8."""
    return "utf" not in (getattr(stream, "encoding", "") or "").lower()


class _Above:
    """A text stream whose complete lines go above the block at the bottom."""

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
