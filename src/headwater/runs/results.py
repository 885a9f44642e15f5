"""The results folder: its layout version, the locks of running jobs, and removing temporary files of killed jobs.

`<results>/.headwater` contains `layout.json`, written once, a file for each basin, which the run working on it holds
locked, and a file for each run, which its jobs hold locked together. The system releases a lock when the last process
that holds it has ended, in any way.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from headwater.core.errors import InputError, WorkError
from headwater.core.files import read_json, remove_leftovers, write_json
from headwater.core.private_files import open_lock
from headwater.core.versions import RESULTS_LAYOUT

_STATE_FOLDER = ".headwater"
_LAYOUT = "layout.json"
_MAX_ATTEMPTS = 3
_HOLDER = re.compile(r"process (?P<process>[0-9]+) on (?P<host>[A-Za-z0-9_.-]+)")


def check_layout(results: Path) -> None:
    """Refuse results whose layout differs from that of this version; reads only.

    Parameters
    ----------
    results : Path
        Results folder; may not exist yet. Results without layout.json have layout 1.

    Raises
    ------
    InputError
        The folder has another layout, or layout.json cannot be read.
    """
    path = Path(results) / _STATE_FOLDER / _LAYOUT
    if path.is_file():
        layout = _layout_in(path)
    elif any(Path(results).glob("*/plan.json")):
        layout = 1
    else:
        return
    if layout != RESULTS_LAYOUT:
        raise InputError(
            f"The results in {results} have layout {layout}, and this Headwater reads and writes layout"
            f" {RESULTS_LAYOUT}; nothing was changed.",
            "Set `results` to another folder, or continue with the version of Headwater that created these.",
        )


class RunLocks(NamedTuple):
    """The locks of a run."""

    descriptors: tuple[int, ...]
    """Open files that hold the basins; the run keeps them open until it ends."""
    job_prefix: str
    """Shell commands that each job should begin with: it shares a lock until it ends, in any way. If only the run is
    killed, its jobs keep other runs out."""


def begin_run(results: Path, basins: Iterable[str]) -> RunLocks:
    """Lock basins for this run, record the layout, and remove temporary files that killed jobs left.

    Parameters
    ----------
    results : Path
        Results folder; created if needed.
    basins : iterable of str
        Basins of the run.

    Returns
    -------
    RunLocks
        The locks that this process holds, and what its jobs should do.

    Raises
    ------
    WorkError
        Another run, or jobs of a killed run, are working on one of the basins.
    """
    basins = sorted(basins)
    (Path(results) / _STATE_FOLDER).mkdir(parents=True, exist_ok=True)
    locks = _lock_all(results, basins)
    write_json(Path(results) / _STATE_FOLDER / _LAYOUT, {"layout": RESULTS_LAYOUT})
    for basin in basins:
        remove_leftovers(Path(results) / basin)
    return RunLocks(locks, _job_prefix(_jobs_file(results, _holder())))


def lock_holder(results: Path, basin: str) -> str | None:
    """Return which run, or whose jobs, work on a basin, None if none does; changes nothing."""
    path = _lock_file(results, basin)
    try:
        with path.open() as file:
            holder = file.read().strip()
            busy = _is_locked(file.fileno()) or _has_jobs(results, holder)
    except OSError:
        return None  # no such file, or a file system without locks
    return (holder or "a process") if busy else None


def explain_lock(results: Path, basins: Sequence[str], locks: Path) -> str | None:
    """Return a message about Snakemake's locks on these basins, None if there are none.

    Parameters
    ----------
    results : Path
        Results folder, as the workflow names it.
    basins : sequence of str
        Basins of the run.
    locks : Path
        Folder of Snakemake's locks: files that list the locked files.
    """
    starts = tuple(f"{results}/{basin}/" for basin in basins)
    if not any(line.startswith(starts) for path in locks.glob("*.lock") for line in _lines(path)):
        return None
    for basin in basins:
        holder = lock_holder(results, basin)
        if holder is not None:
            return str(_locked(results, basin, holder))
    return (
        "A run in this folder was killed and left Snakemake's lock; no process on this machine works on its basins."
        " `snakemake --unlock` removes the lock and changes no result, which is safe once no job of that run is left"
        " on a cluster either; then run the same command again."
    )


def _lock_all(results: Path, basins: Sequence[str]) -> tuple[int, ...]:
    locks: list[int] = []
    try:
        for basin in basins:
            locks.append(_lock(results, basin))
    except BaseException:
        for lock in locks:
            os.close(lock)
        raise
    return tuple(locks)


def _lock(results: Path, basin: str) -> int:
    path = _lock_file(results, basin)
    try:
        lock = open_lock(path, mode=0o666)
    except OSError as error:
        raise WorkError(
            f"The lock {path} cannot be opened ({error.strerror}).",
            "Check who may write to the folder; if the lock is a link, remove it.",
        ) from error
    for left in reversed(range(_MAX_ATTEMPTS)):
        holder = os.pread(lock, 1000, 0).decode(errors="replace").strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                os.close(lock)
                raise _locked(results, basin, holder or "a process") from None
            time.sleep(0.1)  # `lock_holder` in another process holds the lock for a moment only
            continue
        except OSError:
            return lock  # a file system without locks: only Snakemake's own locks apply
        if _has_jobs(results, holder):
            os.close(lock)
            raise _locked(results, basin, holder)
        _remove_jobs_file(results, holder)
        break
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{_holder()}\n".encode(), 0)
    return lock


def _has_jobs(results: Path, holder: str) -> bool:
    """Whether jobs of the run that a lock names still work."""
    path = _jobs_file(results, holder)
    if path is None:
        return False
    try:
        with path.open() as file:
            return _is_locked(file.fileno(), fcntl.LOCK_EX)
    except OSError:
        return False


def _remove_jobs_file(results: Path, holder: str) -> None:
    """Remove the file of the lock that the jobs of an ended run shared."""
    path = _jobs_file(results, holder)
    if path is not None:
        path.unlink(missing_ok=True)


def _is_locked(descriptor: int, wanted: int = fcntl.LOCK_SH) -> bool:
    """Whether another process holds a lock that conflicts with the wanted one; gives it back at once."""
    try:
        fcntl.flock(descriptor, wanted | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _job_prefix(path: Path | None) -> str:
    """Return the shell commands by which a job shares a lock; braces are doubled, since Snakemake formats them."""
    if path is None:  # a name of this machine that no file can have
        return "set -euo pipefail; "
    quoted = shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")
    # Where there is no `flock`, or a file system without locks, only the run itself keeps others out.
    return f"set -euo pipefail; exec 9>>{quoted}; ! command -v flock > /dev/null || flock -s -w 5 9 || true; "


def _holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _jobs_file(results: Path, holder: str) -> Path | None:
    """Return the file of the lock that the jobs of a run share, None if no run is named."""
    named = _HOLDER.fullmatch(holder)
    return Path(results) / _STATE_FOLDER / f"jobs-{named['host']}-{named['process']}.lock" if named else None


def _locked(results: Path, basin: str, holder: str) -> WorkError:
    return WorkError(
        f"Another run, or jobs of a killed run, are working on basin {basin} in {results}; it was started by {holder}.",
        "Wait until it has ended or stop it, then run the same command again.",
    )


def _lock_file(results: Path, basin: str) -> Path:
    return Path(results) / _STATE_FOLDER / f"{basin}.lock"


def _layout_in(path: Path) -> object:
    content = read_json(path)
    if not isinstance(content, dict) or "layout" not in content:
        raise InputError(f"{path} contains no layout.", "Set `results` to another folder, or restore the file.")
    return content["layout"]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []  # removed in the meantime
