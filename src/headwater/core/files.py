"""Atomic writes: a file is complete or not there."""

from __future__ import annotations

import glob
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError
from headwater.core.seals import with_digest, without_digest

SIDECARS = ("-wal", "-shm", "-journal", ".aux.xml", ".ovr", ".msk", ".msk.ovr")
"""Ends of files that programs write next to a file, under its full name: SQLite's log of changes that are not in a
GeoPackage yet; GDAL's statistics, overviews and mask of a raster. They would change what the next file of that name
contains."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` and rename it to `path` when the block succeeds.

    The temporary name keeps the suffix (drivers look at it) and is unique (two jobs may write the same file). The
    temporary file or folder is removed if the block raises. SIDECARS of an older file of that name are removed.

    Parameters
    ----------
    path : Path
        Final path; its folder is created if needed.

    Yields
    ------
    Path
        Where to write.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    writer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary = path.with_name(f".{path.stem}.{writer}.part{path.suffix}")
    try:
        yield temporary
        _to_disk(temporary)
        for end in SIDECARS:
            path.with_name(path.name + end).unlink(missing_ok=True)
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes of this machine left of earlier attempts to write `path`."""
    start = f".{path.stem}.{socket.gethostname()}-"
    for leftover in path.parent.glob(f"{glob.escape(start)}*.part*"):
        process = leftover.name.removeprefix(start).split("-")[0]
        if process.isdigit() and not _is_alive(int(process)):
            _remove(leftover)


def remove_leftovers(folder: Path) -> None:
    """Remove every temporary file below a folder, except what a living process of this machine writes.

    Parameters
    ----------
    folder : Path
        Folder that no other machine is known to write in.
    """
    here = f".{socket.gethostname()}-"
    for leftover in sorted(Path(folder).rglob(".*.part*")):
        writer = leftover.name.partition(here)[2].split("-")[0]
        if not (writer.isdigit() and _is_alive(int(writer))):
            _remove(leftover)


def _to_disk(path: Path) -> None:
    """Flush the file to disk before the rename: a machine that crashes then leaves no empty file."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    # GDAL's COG driver writes overviews and mask next to the file, under names that start with its name.
    for sidecar in path.parent.glob(f"{glob.escape(path.name)}.*"):
        sidecar.unlink(missing_ok=True)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write `content` unless the file already has exactly this content; return whether it was written."""
    path = Path(path)
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return True


def write_json(path: Path, value: Any, *, sealed: bool = False) -> bool:
    """Write a value as stable JSON (sorted keys, no NaN), only if the file would change.

    Parameters
    ----------
    path : Path
        File to write.
    value : Any
        An object, if `sealed`.
    sealed : bool
        Add the digest that `read_json` checks. A file with the same content and no digest, of an older version, is left
        as it is: a change would make everything that depends on it again.

    Returns
    -------
    bool
        Whether it was written.
    """
    content = _json_text(value)
    if not sealed:
        return write_if_changed(path, content)
    if path.is_file() and path.read_bytes() == content:
        return False
    return write_if_changed(path, _json_text(with_digest(value)))


def _json_text(value: Any) -> bytes:
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier step wrote; check its digest and leave it out, if there is one.

    Raises
    ------
    InputError
        The file is missing or is not JSON.
    DamagedFile
        Its digest is that of other content; the file is renamed.
    """
    try:
        return without_digest(json.loads(Path(path).read_bytes()), path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Run the step that writes it first.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not readable JSON ({error}).", "Delete it and run the step that writes it again."
        ) from error
