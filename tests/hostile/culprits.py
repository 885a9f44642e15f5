"""Functions that do what a command must not do: the lab has to see it."""

import ctypes
import socket
import subprocess
import sys
from pathlib import Path


def connect(secret: str, url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    socket.create_connection((host, int(port))).close()


def open_secret(secret: str, url: str) -> None:
    # Not by Python, as GDAL does.
    libc = ctypes.CDLL(None)
    libc.close(libc.open(secret.encode(), 0))


def write_outside(secret: str, url: str) -> None:
    path = Path("/tmp/outside-of-the-lab")
    path.touch()
    path.unlink()


def start_process(secret: str, url: str) -> None:
    subprocess.run(["true"], check=True)


def take_memory(secret: str, url: str) -> None:
    bytearray(2_200_000_000)[::4096] = b"\1" * (2_200_000_000 // 4096 + 1)


def crash(secret: str, url: str) -> None:
    ctypes.string_at(0)


def raise_error(secret: str, url: str) -> None:
    raise ZeroDivisionError


def refuse_without_remedy(secret: str, url: str) -> None:
    print("no", file=sys.stderr)
    raise SystemExit(1)


def copy_file(name: str) -> None:
    Path("copy.json").write_bytes(Path(name).read_bytes())
