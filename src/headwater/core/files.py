"""Atomic writes: a file is complete or not there."""

from __future__ import annotations

import glob
import json
import math
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError
from headwater.core.seals import damaged, is_result, with_digest, without_digest

SIDECARS = ("-wal", "-shm", "-journal", ".aux.xml", ".ovr", ".msk", ".msk.ovr")
"""Ends of files that programs write next to a file, under its full name: SQLite's log of changes that are not in a
GeoPackage yet; GDAL's statistics, overviews and mask of a raster. They would change what the next file of that name
contains."""

MAX_JSON_BYTES = 32 * 2**20
"""Largest JSON file that is read; in memory it takes up to thirty times as much."""
MAX_JSON_DEPTH = 50
"""Deepest JSON file that is read."""

_TEMPORARY = re.compile(r"\..*\.(?P<host>[^/]+)-(?P<process>[0-9]{1,10})-[0-9a-f]{8}\.part(\.[^/]*)?", re.DOTALL)
"""Names that `atomic_path` gives, and those of sidecars."""


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
        written = _TEMPORARY.fullmatch(leftover.name)
        if written and leftover.name.startswith(start) and not _is_alive(int(written["process"])):
            _remove(leftover)


def remove_leftovers(folder: Path) -> None:
    """Remove every temporary file of `atomic_path` below a folder, except what a living process of this machine writes.

    Parameters
    ----------
    folder : Path
        Folder that no other machine is known to write in.
    """
    for leftover in sorted(Path(folder).rglob(".*.part*")):
        written = _TEMPORARY.fullmatch(leftover.name)
        if written and not (written["host"] == socket.gethostname() and _is_alive(int(written["process"]))):
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
        if not sidecar.is_dir() or sidecar.is_symlink():
            sidecar.unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
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
        The file is missing, is not JSON, or is larger or deeper than any that a step writes.
    DamagedFile
        Its digest is that of other content, or it is in a folder of results and is not JSON; the file is renamed.
    """
    path = Path(path)
    try:
        return without_digest(_parsed_json(path), path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Run the step that writes it first.") from error
    # A ValueError is also of a number of thousands of digits.
    except (ValueError, RecursionError) as error:
        if is_result(path):
            raise damaged(path, f"it is not readable JSON ({error})") from error
        raise InputError(
            f"{path} is not readable JSON ({error}).", "Delete it and run the step that writes it again."
        ) from error


def _parsed_json(path: Path) -> Any:
    """Return a JSON file's value.

    Raises
    ------
    ValueError, RecursionError
        It is not JSON, has numbers that are not finite, or is too large or too deep.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"it is larger than {MAX_JSON_BYTES // 2**20} MiB")
    value = json.loads(path.read_bytes(), parse_constant=_refuse_constant, parse_float=_finite)
    level, depth = [value], 0
    while level := [
        inner
        for outer in level
        for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        if isinstance(inner, dict | list)
    ]:
        depth += 1
        if depth > MAX_JSON_DEPTH:
            raise ValueError(f"it is deeper than {MAX_JSON_DEPTH} levels")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
