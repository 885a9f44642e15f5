"""Tokens of one user on one machine: their renewal, and how the user's processes share them privately.

Many jobs run at the same time and each would request the same token. They share it through a small file in a folder in
memory (or in the temporary folder) that only its owner may enter. If there is no such place, each process requests its
own: sharing saves requests, nothing depends on it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import math
import os
import re
import stat
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_MARGIN_S = 300.0
"""A token is renewed this long before it expires, or a quarter of its life before, whichever is shorter."""
_LOCK_DEADLINE_S = 75.0
"""Somewhat longer than a token request may take; waiting longer for the holder of the lock is useless."""
_POLL_S = 0.05
_MAX_FILE_BYTES = 65_536
_FOLDER = "headwater-tokens"


@dataclass(frozen=True)
class Token:
    """A shared-access token."""

    text: str
    """The query to append to an address, without "?"."""
    expiry: float
    """POSIX seconds."""
    fetched: float
    """POSIX seconds."""

    def is_fresh(self, now: float) -> bool:
        """Whether the token has enough of its life left."""
        margin = min(_MARGIN_S, (self.expiry - self.fetched) / 4)
        return now < self.expiry - margin

    def __repr__(self) -> str:
        return "Token(...)"


def is_token_text(text: object) -> bool:
    """Whether a value looks like a token: a query with a signature, without spaces or quotes."""
    return isinstance(text, str) and "sig=" in text and re.fullmatch(r"[A-Za-z0-9?&=%+/:;,.~_*-]+", text) is not None


def with_query(href: str, query: str) -> str:
    """Return an address with a query appended."""
    return f"{href}{'&' if '?' in href else '?'}{query}"


class TokenCache:
    """Tokens by key: from memory, then from the machine's shared folder, then from the endpoint."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._tokens: dict[str, Token] = {}
        self._given = threading.local()

    def token(self, key: str, fetch: Callable[[], Token], *, renew: bool = False) -> Token:
        """Return a token.

        Parameters
        ----------
        key : str
            Scope of the token: endpoint and collection, or account and container.
        fetch : callable
            Requests a token; called by one thread of one process of this user and machine at a time.
        renew : bool
            The last token of this thread was refused: return any other one, a new one if there is none.
        """
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
            known = self._tokens.get(key)
        given = self._given.__dict__
        # A thread without a token of its own means the one that was there when it came.
        refused = given.get(key, known.text if known else None) if renew else None
        with lock:
            token = self._find(key, refused)
            if token is None:
                with _locked(key):
                    # The previous holder of the lock may have fetched one.
                    token = self._find(key, refused)
                    if token is None:
                        token = fetch()
                        _write(key, token)
            with self._guard:
                self._tokens[key] = token
        given[key] = token.text
        return token

    def _find(self, key: str, refused: str | None) -> Token | None:
        now = time.time()
        token = self._tokens.get(key)
        if token is None or token.text == refused or not token.is_fresh(now):
            token = _read(key)
        return None if token is None or token.text == refused or not token.is_fresh(now) else token


def shared_folder() -> Path | None:
    """Return the folder of this user's tokens, created if needed; None if there is no safe place.

    It is in $XDG_RUNTIME_DIR, else in /dev/shm, else in the temporary folder.
    """
    bases = [Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere"), Path("/dev/shm"), Path(tempfile.gettempdir())]
    for base in bases:
        if not (base.is_dir() and os.access(base, os.W_OK | os.X_OK) and _is_safe_base(base)):
            continue
        folder = base / f"{_FOLDER}-{os.geteuid()}"
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            return folder if _is_private(os.lstat(folder)) else None
        except OSError:
            return None
    return None


def _is_safe_base(base: Path) -> bool:
    """Whether nobody else can replace a folder in it."""
    facts = base.stat()
    others_write = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return facts.st_uid in (0, os.geteuid()) and (not others_write or bool(facts.st_mode & stat.S_ISVTX))


def _is_private(facts: os.stat_result) -> bool:
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o077


@contextmanager
def _entered() -> Iterator[int]:
    """Yield a descriptor of the shared folder, checked again: its name may by now mean something else.

    Raises
    ------
    OSError
        There is no such folder.
    """
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if not _is_private(os.fstat(descriptor)):
            raise PermissionError
        yield descriptor
    finally:
        os.close(descriptor)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _read(key: str) -> Token | None:
    """Return the token in the shared folder; None if there is none that is ours and complete."""
    try:
        with _entered() as folder:
            descriptor = os.open(_name(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                facts = os.fstat(descriptor)
                if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
                    return None
                return _decoded(file.read(_MAX_FILE_BYTES))
    except OSError:
        return None


def _write(key: str, token: Token) -> None:
    name = _name(key)
    temporary = f"{name}.{os.getpid()}.{uuid.uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with suppress(OSError), _entered() as folder:
        try:
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(_encoded(token))
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)


def _encoded(token: Token) -> bytes:
    """Return a token as text in which a search for signatures finds none."""
    # Padding would be the only "=" in it.
    return base64.urlsafe_b64encode(json.dumps(asdict(token)).encode()).rstrip(b"=")


def _decoded(content: bytes) -> Token | None:
    try:
        facts = json.loads(base64.urlsafe_b64decode(content + b"=" * (-len(content) % 4)))
        token = Token(text=facts["text"], expiry=float(facts["expiry"]), fetched=float(facts["fetched"]))
    except (ValueError, TypeError, KeyError):
        return None
    sane = is_token_text(token.text) and math.isfinite(token.expiry) and math.isfinite(token.fetched)
    return token if sane and token.fetched <= time.time() + 1 else None


@contextmanager
def _locked(key: str) -> Iterator[None]:
    """Hold the lock of a key among the processes of this user, or continue without it after a deadline."""
    descriptor = -1
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with suppress(OSError), _entered() as folder:
        descriptor = os.open(f"{_name(key)}.lock", flags, 0o600, dir_fd=folder)
    try:
        if descriptor >= 0:
            _wait_for(descriptor)
        yield
    finally:
        # Closing releases the lock.
        if descriptor >= 0:
            os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    end = time.monotonic() + _LOCK_DEADLINE_S
    while time.monotonic() < end:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_POLL_S)
        except OSError:
            return  # a file system without locks
