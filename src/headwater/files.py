"""Writing files whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` and rename it to `path` when the block ends well.

    The temporary name keeps the suffix (drivers look at it), is unique (two jobs may write the same file) and
    is removed, be it a file or a folder, when the block raises.

    Parameters
    ----------
    path : Path
        Final path; its folder is made if needed.

    Yields
    ------
    Path
        Where to write.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write `content` unless the file holds exactly that already; tell whether it was written."""
    path = Path(path)
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return True


def write_json(path: Path, value: Any) -> bool:
    """Write a value as stable JSON (sorted keys, no NaN), only if it differs from what is there."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return write_if_changed(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier step wrote.

    Raises
    ------
    InputError
        The file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Run the step that writes it first.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not readable JSON ({error}).", "Delete it and run the step that writes it again."
        ) from error


def folder_is_empty(path: Path) -> bool:
    """Whether a folder is missing or holds nothing."""
    return not path.exists() or (path.is_dir() and not any(os.scandir(path)))
