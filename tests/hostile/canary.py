"""What hostile inputs point to and nobody must touch: a folder of files, and servers on other addresses and ports."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from pathlib import Path

import numpy as np
from affine import Affine

from headwater import raster

_IN_ALL = 0x01 | 0x02 | 0x04 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400
"""Of inotify: read, changed, opened, moved, made, removed."""
_IN_ISDIR = 0x40000000


class Canary:
    """Files that are watched, and servers that count who comes.

    Parameters
    ----------
    folder : Path
        Where to put the files; made here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.text, self.image, self.json = folder / "secret.txt", folder / "secret.tif", folder / "secret.json"
        self.text.write_text("root:x:0:0:secret\n")
        self.json.write_text('{"secret": 1}')
        values = np.full((1, 64, 64), 4242, np.uint16)
        raster.write_cog(self.image, values, transform=Affine(0.001, 0, 11.95, 0, -0.001, 8.05), nodata=0)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK)
        self._libc.inotify_add_watch(self._inotify, os.fsencode(folder), _IN_ALL)
        self._visits: list[str] = []
        # The same port on another address, and another port.
        self._listeners = [socket.create_server(("127.0.0.2", 0)), socket.create_server(("127.0.0.1", 0))]
        self.urls = [f"http://{host}:{port}" for host, port in (each.getsockname() for each in self._listeners)]
        for listener in self._listeners:
            threading.Thread(target=self._count, args=(listener,), daemon=True).start()

    @property
    def url(self) -> str:
        """Address of a server that is not the one under test."""
        return self.urls[0]

    def touched(self) -> list[str]:
        """Return what was touched since the last call."""
        found = [f"request to a server that an input names: {visit}" for visit in self._visits]
        self._visits.clear()
        try:
            events = os.read(self._inotify, 65_536)
        except BlockingIOError:
            return found
        at = 0
        while at < len(events):
            _, mask, _, length = struct.unpack_from("iIII", events, at)
            name = events[at + 16 : at + 16 + length].rstrip(b"\0").decode()
            at += 16 + length
            if not mask & _IN_ISDIR:
                found.append(f"file that an input names: {name}")
        return sorted(set(found))

    def close(self) -> None:
        """Stop watching."""
        os.close(self._inotify)
        for listener in self._listeners:
            listener.close()

    def _count(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    self._visits.append(repr(connection.recv(200)))
                except OSError:
                    self._visits.append("a connection")
