"""The port and the address of servers on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from headwater.core.errors import WorkError


@contextmanager
def bound_port(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the port before the server starts, so a port in use gives a clear error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # A port whose last server was just killed is available again immediately.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)
        except OSError as error:
            raise WorkError(
                f"Port {port} on {host} cannot be used ({error.strerror}).",
                "Choose another with --port, or stop the program that uses it.",
            ) from error
        yield listener


def address_of(listener: socket.socket) -> str:
    """Return the address of a socket that listens, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
