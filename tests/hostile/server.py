"""The server under test: it answers each request with what the input at hand says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An answer of the server."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    """Between the bytes."""

    @classmethod
    def json(cls, value: Any, **more: Any) -> Reply:
        """Return an answer of JSON; Python's NaN and Infinity are kept."""
        return cls(json.dumps(value).encode(), headers={"Content-Type": "application/json"}, **more)


Answer = Callable[[str, str, bytes], Reply]
"""From method, path and body to a reply."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some inputs are made for."""


class Server:
    """An HTTP server on 127.0.0.1."""

    def __init__(self) -> None:
        self.answer: Answer = lambda *_: Reply(b"", 404)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _reply(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                reply = outer.answer(self.command, self.path, self.rfile.read(length))
                body, status, headers = reply.body, reply.status, dict(reply.headers)
                wanted = self.headers.get("Range", "")
                if wanted.startswith("bytes=") and status == 200:
                    first, _, last = wanted.removeprefix("bytes=").partition("-")
                    start, end = int(first or 0), min(int(last or len(body) - 1), len(body) - 1)
                    if start >= len(body):
                        status, body = 416, b""
                        headers["Content-Range"] = f"bytes */{len(reply.body)}"
                    else:
                        status, body = 206, body[start : end + 1]
                        headers["Content-Range"] = f"bytes {start}-{end}/{len(reply.body)}"
                headers = {"Content-Length": str(len(body)), "Accept-Ranges": "bytes"} | headers
                with suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if self.command == "HEAD":
                        return
                    if not reply.pause_s:
                        self.wfile.write(body)
                    for at in range(len(body) if reply.pause_s else 0):
                        self.wfile.write(body[at : at + 1])
                        self.wfile.flush()
                        time.sleep(reply.pause_s)

            do_GET = do_POST = do_HEAD = _reply

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
