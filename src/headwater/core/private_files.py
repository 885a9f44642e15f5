"""Small files of one user on one machine, in folders that others can write to: tokens, locks, caches.

A folder such as /tmp belongs to everyone: a file in it may be another person's, or a link to somewhere else. So the
files are in a folder that only its owner may enter, and owner and mode are looked at each time, of the folder and of
the file, through its descriptor. Where nothing is safe, the caller does without.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(name: str, *, of_session: bool = True) -> Path | None:
    """Return a folder of this user for one purpose, created if needed; None if there is no safe place.

    It is in $XDG_RUNTIME_DIR, else in /dev/shm, else in the temporary folder.

    Parameters
    ----------
    name : str
        Purpose; the user's number is added.
    of_session : bool
        Whether $XDG_RUNTIME_DIR may be used, which jobs of a scheduler do not have.
    """
    session = os.environ.get("XDG_RUNTIME_DIR") if of_session else None
    for base in [*([Path(session)] if session else []), Path("/dev/shm"), Path(tempfile.gettempdir())]:
        if not (base.is_dir() and os.access(base, os.W_OK | os.X_OK) and _is_safe_base(base)):
            continue
        folder = base / f"{name}-{os.geteuid()}"
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            return folder if _is_private_folder(os.lstat(folder)) else None
        except OSError:
            return None
    return None


@contextmanager
def entered(folder: Path | None) -> Iterator[int]:
    """Yield a descriptor of a private folder, checked again: its name may by now mean something else.

    Raises
    ------
    OSError
        There is no such folder, or it is not private.
    """
    if folder is None:
        raise FileNotFoundError
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if not _is_private_folder(os.fstat(descriptor)):
            raise PermissionError
        yield descriptor
    finally:
        os.close(descriptor)


def read_private(folder: int, name: str, *, max_bytes: int) -> bytes | None:
    """Return the first bytes of a file in an entered folder; None if it is not there, not ours or not private."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        private = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS
        return file.read(max_bytes) if private else None


def write_private(folder: int, name: str, content: bytes) -> None:
    """Write a file in an entered folder, complete or not at all; a link of that name is replaced, not followed.

    Raises
    ------
    OSError
        It cannot be written; nothing is left.
    """
    temporary = f"{name}.{os.getpid()}.{uuid.uuid4().hex}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(content)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def open_lock(path: Path | str, *, folder: int | None = None, mode: int = 0o600) -> int:
    """Return the descriptor of a lock file, created if needed; no link is followed and nothing in it is changed.

    Parameters
    ----------
    path : Path or str
        The file; a name in the folder if one is given.
    folder : int, optional
        Descriptor of an entered folder.
    mode : int
        Of a new file.

    Raises
    ------
    OSError
        It cannot be opened, or is a link or no file.
    """
    # Without waiting: to open a pipe would wait for its other end.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, mode, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "It is no regular file", str(path))
    return descriptor


def is_own_file(path: Path) -> bool:
    """Return whether a file of a cache is there and ours: no link, nobody else's, and not writable by everyone.

    For caches in a folder of results, which a group may share: what somebody else put there is made again.
    """
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & stat.S_IWOTH


def keep_code_cache_private(variable: str = "NUMBA_CACHE_DIR") -> None:
    """Replace the folder of numba's compiled functions by a private one where others can write to it: it holds code.

    Must be called before numba is imported, which reads the variable once. Without the variable numba writes next to
    the modules or into the user's own cache.
    """
    folder = os.environ.get(variable)
    if not folder:
        return
    with suppress(OSError):
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        named, facts = os.lstat(folder), Path(folder).stat()
    except OSError:
        return  # numba does without
    owners = {named.st_uid, facts.st_uid}
    if owners <= {0, os.geteuid()} and not facts.st_mode & _OTHERS_WRITE:
        return
    private = private_folder("headwater-numba")
    os.environ[variable] = str(private or tempfile.mkdtemp(prefix="headwater-numba-"))
    print(
        f"headwater: {variable} is {folder}, whose code others can replace; {os.environ[variable]} is used instead.",
        file=sys.stderr,
    )


def _is_safe_base(base: Path) -> bool:
    """Whether nobody else can replace a folder in it."""
    facts = base.stat()
    others_write = facts.st_mode & _OTHERS_WRITE
    return facts.st_uid in (0, os.geteuid()) and (not others_write or bool(facts.st_mode & stat.S_ISVTX))


def _is_private_folder(facts: os.stat_result) -> bool:
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS
