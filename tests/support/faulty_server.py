"""A file server that fails on command, in its own process: GDAL may hold Python's lock while it waits for a reply.

Run as `python faulty_server.py FOLDER`; it prints its port. Faults are set and the log of requests is read over HTTP
(`/-/faults`, `/-/log`), so a test can specify which requests fail and see what was requested.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

KINDS = ("cut", "short", "end", "stall")
"""Ends before its declared length; declares and sends less than requested; ends without a declared length; stalls."""


class FaultyServer:
    """The handle of a running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fail(
        self, kind: str | int, *, first: int = 0, last: int = 10**9, fraction: float = 1.0, left: float = 0.5
    ) -> None:
        """Let requests `first` to `last` fail from now on.

        Parameters
        ----------
        kind : str or int
            One of KINDS; an HTTP status; "mixed" for 503 and cut replies in equal parts; "none"; "to ADDRESS" redirects
            there; "swap" answers with the file of the same name and ".new", and all replies have an ETag meanwhile.
        first, last : int
            Numbers of the first and the last request that may fail, counted from this call.
        fraction : float
            Fraction of them that fails, drawn with a fixed seed.
        left : float
            Fraction of the body that cut, short, ended and stalled replies still send.
        """
        self._ask("faults", {"kind": kind, "first": first, "last": last, "fraction": fraction, "left": left})

    def token(self, word: str) -> None:
        """From now on answer 403 unless the query contains a word; "" allows everything."""
        self._ask("token", {"word": word})

    def behave(self, **traits: Any) -> None:
        """Serve files as slow, unreliable download services do, from now on and besides `fail`; the log begins anew.

        Parameters
        ----------
        **traits
            `cut_bytes`: the connection is cut after so many bytes of a body; `busy`: so many GETs are answered 504
            first; `head`: status of each HEAD (504); `ranges`: False ignores ranges; `length`: False states no length;
            `rate`: bytes per second; `names`: file by path with query; `etag`: sent with each file; `type`: its content
            type; `move`: prefix of an address that files are at, where each request is redirected to.
        """
        self._ask("traits", traits)

    def sent(self) -> int:
        """Return the bytes of bodies that were sent since the last call of `behave`."""
        return int(self._ask("sent", None))

    def log(self) -> list[tuple[str, str, str | None]]:
        """Return the requests since the last call of `fail`: method, path with query, range."""
        return [tuple(entry) for entry in self._ask("log", None)]

    def _ask(self, word: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.url}/-/{word}", data=data), timeout=10) as reply:
            return json.loads(reply.read())


@contextmanager
def faulty_server(folder: Path) -> Iterator[FaultyServer]:
    """Serve the files of a folder on 127.0.0.1 while the block runs."""
    command = [sys.executable, __file__, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            yield FaultyServer(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()


class _State:
    lock = threading.Lock()
    log: list[tuple[str, str, str | None]] = []  # noqa: RUF012
    faults: dict[str, Any] = {"kind": "none"}  # noqa: RUF012
    random = random.Random(0)
    word = ""
    folder = Path()
    traits: dict[str, Any] = {}  # noqa: RUF012
    busy = 0
    sent = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with _State.lock:
            if self.path == "/-/faults":
                _State.faults, _State.random = body, random.Random(0)
                _State.log.clear()
            elif self.path == "/-/traits":
                _State.traits, _State.busy, _State.sent = body, body.get("busy", 0), 0
                _State.log.clear()
            else:
                _State.word = body["word"]
        self._send(200, b"{}")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path == "/-/log":
            self._send(200, json.dumps(_State.log).encode())
            return
        if self.path == "/-/sent":
            self._send(200, json.dumps(_State.sent).encode())
            return
        fault, left = self._fault()
        if _State.traits:
            self._serve_as_service()
            return
        if self.command == "HEAD" and fault in ("cut", "short", "end"):
            fault = "none"
        path = _State.folder / self.path.split("?")[0].lstrip("/")
        if isinstance(fault, int):
            self._send(fault, b"<Error/>")
        elif str(fault).startswith("to "):
            self._send(302, b"", {"Location": str(fault)[3:], "Content-Length": "0"})
        elif not path.is_file():
            self._send(404, b"<Error/>")
        elif _State.word not in self.path:
            self._send(403, b"<Error/>")
        else:
            swapped = path.with_name(f"{path.name}.new") if fault == "swap" else path
            self._send_part(swapped.read_bytes(), "none" if fault == "swap" else fault, left)

    def _fault(self) -> tuple[str | int, float]:
        with _State.lock:
            number, faults = len(_State.log), _State.faults
            _State.log.append((self.command, self.path, self.headers.get("Range")))
            drawn, which = _State.random.random(), _State.random.random()
        kind = faults["kind"]
        if kind == "none" or not faults["first"] <= number <= faults["last"] or drawn >= faults["fraction"]:
            return "none", 1.0
        if kind == "mixed":
            return (503, 1.0) if which < 0.5 else ("cut", 2 * (which - 0.5))
        return kind, faults["left"]

    def _serve_as_service(self) -> None:
        traits = _State.traits
        if self.command == "HEAD" and "head" in traits:
            self._send(traits["head"], b"")
            return
        with _State.lock:
            busy, _State.busy = _State.busy > 0, _State.busy - (self.command == "GET")
        if busy:
            self._send(504, b"<html>Gateway Time-out</html>")
            return
        if "move" in traits:
            self._send(302, b"", {"Location": f"{traits['move']}{self.path}", "Content-Length": "0"})
            return
        name = traits.get("names", {}).get(self.path, self.path.split("?")[0].lstrip("/"))
        path = _State.folder / name
        if not (path.is_file() or name.startswith("made/")):
            self._send(404, b"<Error/>")
            return
        size = int(name.split("/")[1]) if name.startswith("made/") else path.stat().st_size
        ranged = self.headers.get("Range") if traits.get("ranges", True) else None
        start, end = 0, size
        if ranged:
            first, last = ranged.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, size) if last else size
            if start >= size:
                self._send(416, b"", {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
                return
        self.send_response(206 if ranged else 200)
        if traits.get("length", True):
            self.send_header("Content-Length", str(end - start))
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size if traits.get('length', True) else '*'}")
        for header, trait in (("ETag", "etag"), ("Content-Type", "type"), ("Last-Modified", "modified")):
            if trait in traits:
                self.send_header(header, traits[trait])
        self.end_headers()
        stop = min(end, start + traits.get("cut_bytes", size))
        if self.command == "HEAD":
            return
        while start < stop:
            block = min(1 << 16, stop - start)
            self.wfile.write(content_of(path, name, start, start + block))
            start += block
            with _State.lock:
                _State.sent += block
            if "rate" in traits:
                time.sleep(block / traits["rate"])
        if stop < end or not traits.get("length", True):
            self.close_connection = True

    def _send_part(self, content: bytes, fault: str | int, left: float) -> None:
        start, end, ranged = 0, len(content), self.headers.get("Range")
        if ranged:
            first, last = ranged.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, end) if last else end
            if start >= len(content):
                self._send(416, b"")
                return
        body = content[start:end]
        sent = body if fault == "none" else body[: int(left * len(body))]
        headers = {"Accept-Ranges": "bytes"}
        if _State.faults["kind"] == "swap":
            headers["ETag"] = f'"{hash(content):x}"'
        if fault != "end":
            headers["Content-Length"] = str(len(sent if fault == "short" else body))
        if ranged:
            stop = start + len(sent if fault == "short" else body)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self._send(206 if ranged else 200, sent, headers)
        if fault == "stall":
            self.wfile.flush()
            time.sleep(600)
        if fault != "none":
            self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def content_of(path: Path, name: str, start: int, end: int) -> bytes:
    """Return bytes of a file; those of "made/SIZE" are a zip file's magic and then a pattern that does not repeat."""
    if not name.startswith("made/"):
        with path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    first = start // 4096
    blocks = b"".join(
        hashlib.sha256(number.to_bytes(8, "little")).digest() * 128 for number in range(first, end // 4096 + 1)
    )
    made = blocks[start - first * 4096 : end - first * 4096]
    return b"PK\x03\x04"[start:] + made[max(0, 4 - start) :] if start < 4 else made


def _main() -> None:
    _State.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Ends when its parent does, for whatever reason.
    sys.stdin.read()


if __name__ == "__main__":
    _main()
