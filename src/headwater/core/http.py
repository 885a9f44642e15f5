"""HTTP requests that end: a watchdog closes the connection of a request that takes too long.

The time limits of requests and urllib3 count from byte to byte, so that a server which sends one byte per second is
waited for without end: in its TLS handshake, its headers or its body. Here a limit is for all of a request.

Imports requests, which is slow: import this module inside functions, or where requests is needed anyway.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from headwater.core.secrets import quiet_loggers

quiet_loggers()


class Watch:
    """The connections of one request, and whether its time is over."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        with self._lock:
            self._timer = self._start(seconds)

    def _start(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        return timer

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self._end - time.monotonic())

    def renew(self, seconds: float) -> None:
        """Give the request so many seconds from now on, if its time is not over: for bodies without an end in sight."""
        with self._lock:
            if self.expired:
                return
            self._timer.cancel()
            self._end = time.monotonic() + seconds
            self._timer = self._start(seconds)

    def add(self, connection: socket.socket) -> None:
        """Watch a connection, from before its TLS handshake on."""
        # A duplicate: the handshake detaches the socket from its descriptor.
        with suppress(OSError):
            copy = socket.socket(fileno=os.dup(connection.fileno()))
            with self._lock:
                self._sockets.append(copy)
                if self.expired:
                    _shut(copy)

    def end(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        with self._lock:
            for copy in self._sockets:
                copy.close()
            self._sockets.clear()

    def _expire(self) -> None:
        with self._lock:
            if threading.current_thread() is not self._timer:
                return  # renewed in the meantime
            self.expired = True
            for copy in self._sockets:
                _shut(copy)


_WATCHED = threading.local()


@contextmanager
def time_limit(seconds: float) -> Iterator[Watch]:
    """Limit the time of all requests of this thread in the block, to their last byte.

    Yields
    ------
    Watch
        `expired` says whether the limit was the reason that a request failed.

    Raises
    ------
    requests.Timeout
        The limit is over, whether or not requests noticed that the connection was closed.
    """
    watch = Watch(seconds)
    before = getattr(_WATCHED, "watch", None)
    _WATCHED.watch = watch
    try:
        yield watch
        # The end of headers or of a body without a length looks the same where the connection was closed.
        if watch.expired:
            raise requests.Timeout("the reply did not end in time")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        if watch.expired and not isinstance(error, requests.Timeout):
            raise requests.Timeout("the reply did not end in time") from error
        raise
    finally:
        _WATCHED.watch = before
        watch.end()


class RedirectRefused(requests.RequestException):
    """A reply redirects to an address that its source does not list; no request was sent there."""

    def __init__(self, target: str) -> None:
        super().__init__("redirected to another host")
        self.target = target


class _Session(requests.Session):
    def __init__(self, may_redirect: Callable[[str, str], bool]) -> None:
        super().__init__()
        self._may_redirect = may_redirect

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a reply redirects to."""
        target = super().get_redirect_target(resp)
        if target is not None:
            absolute = urljoin(str(resp.url), target)
            if not self._may_redirect(str(resp.url), absolute):
                resp.close()
                raise RedirectRefused(absolute)
        return target


def bounded_session(*, may_redirect: Callable[[str, str], bool], connections: int = 1) -> requests.Session:
    """Return a session whose requests end with `time_limit`.

    Parameters
    ----------
    may_redirect : callable
        Takes the address of a reply and the one that it redirects to; returns whether to follow.
    connections : int
        Threads that send requests at the same time.
    """
    session = _Session(may_redirect)
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter(pool_maxsize=connections))
    return session


class BoundedAdapter(HTTPAdapter):
    """Adapter of requests whose connections are watched."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Return the pools of connections to a proxy."""
        manager = super().proxy_manager_for(*args, **options)
        if "socks" not in type(manager).__name__.lower():
            manager.pool_classes_by_scheme = _POOLS
        return manager


def _watch(connection: socket.socket | None) -> None:
    watch: Watch | None = getattr(_WATCHED, "watch", None)
    if watch is not None and connection is not None:
        watch.add(connection)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _WatchedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        _watch(connection)
        return connection

    def request(self, *args: Any, **options: Any) -> None:
        # A connection that is used again.
        _watch(self.sock)
        super().request(*args, **options)


class _WatchedSecureConnection(_WatchedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _WatchedSecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}
