"""Asking about a file on a server before GDAL opens it: where it is, and which version of it is there.

GDAL follows every redirect. Here redirects are followed first, and only to hosts that the source lists
(`headwater.stac.hosts`); GDAL opens the address at their end. A file that differs after it was read from what it was
before (ETag, size, time of change) is read again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from rasterio.errors import RasterioIOError

from headwater.core.addresses import host_of
from headwater.core.errors import WorkError
from headwater.raster.sources import without_signature
from headwater.stac.hosts import may_lead_to
from headwater.stac.items import unsigned
from headwater.stac.validation import is_plain_address, public_address

# Steps that read only files of this machine import this module too.
if TYPE_CHECKING:
    import requests

ASK_TIMEOUT_S = 15.0
"""A server answers, to the last byte of its headers, within this."""
_MAX_REDIRECTS = 4
_HEAD_REFUSED = (405, 501, 504)
"""A server may answer 504 to HEAD alone."""
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]+"')
_SESSIONS = threading.local()


class FileChanged(RasterioIOError):  # type: ignore[misc]
    """A file is another one than when it was opened: reading it again may help."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server."""

    address: str
    """Where it is, after redirects."""
    version: tuple[str, str, str] = ("", "", "")
    """ETag, size and time of change; each "" if the server does not say."""

    @property
    def match_header(self) -> str:
        """The header that makes a server refuse to send another version (HTTP 412); "" if there is none."""
        return f"If-Match: {self.version[0]}" if _STRONG_ETAG.fullmatch(self.version[0]) else ""


def ask(address: str, hosts: Iterable[str] = ()) -> RemoteFile:
    """Ask a server for the version of a file, and follow its redirects to listed hosts.

    Parameters
    ----------
    address : str
        http(s), signed where needed.
    hosts : iterable of str
        Hosts that may be redirected to besides the known ones.

    Raises
    ------
    RasterioIOError
        The server does not answer, or refuses; the message has the HTTP status as GDAL writes it.
    WorkError
        It redirects to another host.
    """
    for _ in range(_MAX_REDIRECTS + 1):
        reply = _head(address)
        target = reply.headers.get("Location", "") if reply.is_redirect else ""
        if not target:
            if reply.status_code >= 400:
                raise RasterioIOError(f"HTTP response code: {reply.status_code}")
            headers = reply.headers
            version = (headers.get("ETag", ""), headers.get("Content-Length", ""), headers.get("Last-Modified", ""))
            return RemoteFile(address, version)
        target = urljoin(address, target)
        if not (is_plain_address(target) and may_lead_to(address, target, hosts)):
            raise WorkError(
                f"{without_signature(address)} redirects to another host, {public_address(target)[:200]}, which its "
                "catalog does not list.",
                "If the file is there, add that host to catalog.hosts.",
            )
        # The token belongs to the first host alone.
        address = target if host_of(target) == host_of(address) else unsigned(target)
    raise RasterioIOError("HTTP response code: 310")


def check_unchanged(file: RemoteFile) -> None:
    """Check that a file is still the one that was opened; a server that does not answer is no proof.

    Raises
    ------
    FileChanged
        It is another one.
    """
    if file.version == ("", "", ""):
        return
    try:
        now = ask(file.address)
    except (RasterioIOError, WorkError):
        return
    if now.address == file.address and now.version != file.version:
        raise FileChanged("the file changed while it was read")


def _head(address: str) -> requests.Response:
    """Return the status and headers of a file; nothing of its content is read."""
    import requests

    from headwater.core.http import time_limit

    options: dict[str, Any] = {"allow_redirects": False, "timeout": ASK_TIMEOUT_S, "stream": True}
    try:
        with time_limit(ASK_TIMEOUT_S):
            reply: requests.Response = _session().head(address, **options)
            # The signatures of S3 are for one method.
            for_get = reply.status_code == 403 and "x-amz-signature=" in address.lower()
            if for_get or reply.status_code in _HEAD_REFUSED:
                reply.close()
                reply = _session().get(address, headers={"Range": "bytes=0-0"}, **options)
                # The length of this reply is not that of the file.
                reply.headers.pop("Content-Length", None)
                if reply.status_code == 416:  # an empty file
                    reply.status_code = 200
            reply.close()
            return reply
    except requests.RequestException as error:
        raise RasterioIOError(f"HTTP request failed: {type(error).__name__}") from None


def has_content(address: str) -> bool:
    """Return whether a server sends the first byte of a file now; redirects are not followed."""
    import requests

    from headwater.core.http import time_limit

    options: dict[str, Any] = {"allow_redirects": False, "timeout": ASK_TIMEOUT_S, "stream": True}
    try:
        with (
            time_limit(ASK_TIMEOUT_S),
            _session().get(address, headers={"Range": "bytes=0-0"}, **options) as reply,
        ):
            return reply.status_code in (200, 206) and len(next(reply.iter_content(1), b"")) == 1
    except requests.RequestException:
        return False


def _session() -> requests.Session:
    """Return the session of this thread, whose connections stay open."""
    from headwater.core.http import bounded_session

    session: requests.Session | None = getattr(_SESSIONS, "session", None)
    if session is None:
        # Redirects are returned, not followed.
        session = _SESSIONS.session = bounded_session(may_redirect=lambda *_: True)
    return session
