"""The folder of results: how it is laid out, who is at work in it, and what killed jobs left there.

What is noted lies in `<results>/.headwater`: `layout.json`, written once, and a file for each basin that the run at
work on it holds locked. The system gives a lock back when the last process that inherited it has ended, in any way.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from headwater.core.errors import InputError, WorkError
from headwater.core.files import read_json, remove_leftovers, write_json
from headwater.core.versions import RESULTS_LAYOUT

_NOTES = ".headwater"
_LAYOUT = "layout.json"
_TRIES = 3


def check_layout(results: Path) -> None:
    """Refuse results that another version of Headwater laid out in another way; reads, and writes nothing.

    Parameters
    ----------
    results : Path
        Folder of the results; may not be there yet. One without a note is as the first layout was.

    Raises
    ------
    InputError
        The folder has another layout, or its note cannot be read.
    """
    path = Path(results) / _NOTES / _LAYOUT
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
            "Set `results` to another folder, or go on with the version of Headwater that made these.",
        )


def begin_run(results: Path, basins: Iterable[str]) -> tuple[int, ...]:
    """Make basins this run's alone: lock them, note the layout, remove what killed jobs left.

    Parameters
    ----------
    results : Path
        Folder of the results; made if needed.
    basins : iterable of str
        Basins of the run.

    Returns
    -------
    tuple of int
        Descriptors of the locks. Jobs should inherit them: where only the run is killed, its jobs hold the locks on.

    Raises
    ------
    WorkError
        Another run, or jobs of one that was killed, are at work on one of the basins.
    """
    basins = sorted(basins)
    (Path(results) / _NOTES).mkdir(parents=True, exist_ok=True)
    locks = _lock_all(results, basins)
    write_json(Path(results) / _NOTES / _LAYOUT, {"layout": RESULTS_LAYOUT})
    for basin in basins:
        remove_leftovers(Path(results) / basin)
    return locks


def who_is_at_work(results: Path, basin: str) -> str | None:
    """Return which process holds a basin, None where none does; changes nothing."""
    path = _lock_file(results, basin)
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "a process"
    except OSError:
        return None  # no such file, or a file system without locks
    return None


def explain_lock(results: Path, basins: Sequence[str], locks: Path) -> str | None:
    """Return what to say of the lock that Snakemake will meet on these basins, None where it meets none.

    Parameters
    ----------
    results : Path
        Folder of the results, as the workflow names it.
    basins : sequence of str
        Basins of the run.
    locks : Path
        Folder of Snakemake's locks, files that list what they lock.
    """
    starts = tuple(f"{results}/{basin}/" for basin in basins)
    if not any(line.startswith(starts) for path in locks.glob("*.lock") for line in _lines(path)):
        return None
    for basin in basins:
        who = who_is_at_work(results, basin)
        if who is not None:
            return str(_taken(results, basin, who))
    return (
        "A run in this folder was killed and left Snakemake's lock; nothing is at work on its basins on this machine."
        " `snakemake --unlock` takes the lock away and touches no result, which is safe once no job of that run is left"
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
    lock = os.open(_lock_file(results, basin), os.O_RDWR | os.O_CREAT, 0o666)
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not left:
                os.close(lock)
                raise _taken(results, basin, who_is_at_work(results, basin) or "a process") from None
            time.sleep(0.1)  # whoever only looks, as `who_is_at_work` does, is gone by then
        except OSError:
            return lock  # a file system without locks: Snakemake's own must do
    os.ftruncate(lock, 0)
    os.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return lock


def _taken(results: Path, basin: str, who: str) -> WorkError:
    return WorkError(
        f"Another run is at work on basin {basin} in {results}, or jobs of one that was killed: it was begun by {who}.",
        "Wait until it has ended or stop it, then run the same command again.",
    )


def _lock_file(results: Path, basin: str) -> Path:
    return Path(results) / _NOTES / f"{basin}.lock"


def _layout_in(path: Path) -> object:
    note = read_json(path)
    if not isinstance(note, dict) or "layout" not in note:
        raise InputError(f"{path} tells no layout.", "Set `results` to another folder, or put the file back.")
    return note["layout"]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []  # gone meanwhile
