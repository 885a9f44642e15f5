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
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from headwater.core.private_files import entered, open_lock, private_folder, read_private, write_private

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
    """Return the folder of this user's tokens, created if needed; None if there is no safe place."""
    return private_folder(_FOLDER)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _read(key: str) -> Token | None:
    """Return the token in the shared folder; None if there is none that is ours and complete."""
    try:
        with entered(shared_folder()) as folder:
            content = read_private(folder, _name(key), max_bytes=_MAX_FILE_BYTES)
    except OSError:
        return None
    return None if content is None else _decoded(content)


def _write(key: str, token: Token) -> None:
    with suppress(OSError), entered(shared_folder()) as folder:
        write_private(folder, _name(key), _encoded(token))


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
    with suppress(OSError), entered(shared_folder()) as folder:
        descriptor = open_lock(f"{_name(key)}.lock", folder=folder)
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
