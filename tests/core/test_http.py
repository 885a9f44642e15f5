"""Requests end: a server that drips a byte now and then is given up, whatever part of its reply drips."""

import logging
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import requests

from headwater.core.http import bounded_session, time_limit

LIMIT_S = 0.6


@contextmanager
def dripping(head: bytes):
    """Send some bytes, then one every tenth of a second, without end."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(4096)
            connection.sendall(head)
            while not ended.wait(0.1):
                connection.sendall(b"x")

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}/x"
        ended.set()


@pytest.mark.parametrize(
    ("scheme", "head"),
    [
        ("http", b"HTTP/1.1 200 OK\r\nX-Long: "),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n"),
        # A record of a TLS handshake, 16 kB long.
        ("https", b"\x16\x03\x03\x40\x00"),
    ],
    ids=["headers", "body", "chunks", "handshake"],
)
def test_a_reply_that_drips_is_given_up(scheme: str, head: bytes) -> None:
    start = time.monotonic()
    with (
        dripping(head) as address,
        bounded_session(may_redirect=lambda *_: False) as session,
        pytest.raises(requests.Timeout),
        time_limit(LIMIT_S),
        session.get(f"{scheme}://{address}", timeout=5, stream=True) as reply,
    ):
        list(reply.iter_content(65_536))
    assert LIMIT_S <= time.monotonic() - start < 4


def test_a_body_without_a_length_that_was_cut_is_noticed() -> None:
    """Its end looks like that of a complete one."""
    with (
        dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n") as address,
        bounded_session(may_redirect=lambda *_: False) as session,
        pytest.raises(requests.Timeout),
        time_limit(LIMIT_S),
        session.get(f"http://{address}", timeout=5, stream=True) as reply,
    ):
        list(reply.iter_content(65_536))


def test_debug_logging_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the user sets the level of a library's logger."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
    with (
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n") as address,
        bounded_session(may_redirect=lambda *_: False) as session,
        time_limit(5),
    ):
        session.get(f"http://me:HIDDEN1@{address}?sig=HIDDEN2&v=1", timeout=5)
    assert "GET /x" in caplog.text
    assert "HIDDEN" not in caplog.text
