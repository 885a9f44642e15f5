"""Addresses of http(s): what their host is."""

from __future__ import annotations

from urllib.parse import urlsplit

_USUAL_PORTS = {"http": 80, "https": 443}


def host_of(address: str) -> str:
    """Return the host of an http(s) address, with its port where that is not the usual one; "" if it has none."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in _USUAL_PORTS or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if port in (None, _USUAL_PORTS[parts.scheme]) else f"{host}:{port}"
