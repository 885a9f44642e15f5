"""Which hosts a catalog may lead to, and which of them tokens are sent to: what an item or a reply says is not enough.

A host is written as in an address: with its port where that is not the usual one of http or https.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from headwater.core.addresses import host_of

TOKEN_HOSTS: dict[str, tuple[str, ...]] = {
    "planetarycomputer.microsoft.com": (
        "sentinel2l2a01.blob.core.windows.net",
        "elevationeuwest.blob.core.windows.net",
    ),
}
"""By host of a token endpoint: where the files are that its tokens open. Its own host always belongs to them."""
REDIRECT_HOSTS: dict[str, tuple[str, ...]] = {
    "copernicus-dem-30m.s3.amazonaws.com": ("copernicus-dem-30m.s3.eu-central-1.amazonaws.com",),
    "copernicus-dem-90m.s3.amazonaws.com": ("copernicus-dem-90m.s3.eu-central-1.amazonaws.com",),
    "sentinel-cogs.s3.amazonaws.com": ("sentinel-cogs.s3.us-west-2.amazonaws.com",),
}
"""By host of a file: hosts that it may redirect to."""


def may_lead_to(address: str, target: str, hosts: Iterable[str] = ()) -> bool:
    """Whether a file or page at an address may lead to another address.

    Parameters
    ----------
    address, target : str
        http(s) addresses.
    hosts : iterable of str
        Hosts that the configuration adds (catalog.hosts).
    """
    source, host = host_of(address), host_of(target)
    # Never from an encrypted connection to one that is not.
    if not host or (address.startswith("https:") and not target.startswith("https:")):
        return False
    return host == source or host in hosts or host in REDIRECT_HOSTS.get(source, ())


def may_hold_files(catalog: str, address: str, hosts: Iterable[str] = ()) -> bool:
    """Whether items of a catalog may name an address of a file.

    Any host of the internet may hold files, so most catalogs need no list. An address on this machine or in a private
    network, which the owner of a catalog should not be able to ask for, must be the catalog's own or listed. Names are
    not looked up.

    Parameters
    ----------
    catalog, address : str
        http(s) addresses.
    hosts : iterable of str
        Hosts that the configuration adds (catalog.hosts).
    """
    name = _machine(address)
    return not _is_private(name) or name == _machine(catalog) or host_of(address) in hosts


def _machine(address: str) -> str:
    """Return the host of an address without its port; numbers in their usual form."""
    name = (urlsplit(address).hostname or "").rstrip(".")
    if name == "localhost":
        return "127.0.0.1"
    try:
        # Also understands 127.1, 0x7f000001 and the like, as the libraries do that send requests.
        return socket.inet_ntoa(socket.inet_aton(name)) if name[:1].isdigit() else name
    except OSError:
        return name


def _is_private(name: str) -> bool:
    if name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return False


def may_get_token(endpoint: str, address: str, hosts: Iterable[str] = ()) -> bool:
    """Whether a token of an endpoint may be sent to an address."""
    issuer, host = host_of(endpoint), host_of(address)
    return bool(host) and (host == issuer or host in hosts or host in TOKEN_HOSTS.get(issuer, ()))
