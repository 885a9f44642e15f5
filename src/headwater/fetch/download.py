"""Downloading one file: resumed after each cut, checked against changes on the server, bounded in size and time.

What has arrived is in `<name>.part`, and what is known of the server's file in `<name>.part.json`, so that a download
that was killed at any point continues. A server that knows ranges is asked for the rest and a few bytes before it: if
these differ, or the size or the ETag does, the file on the server is another one, and the download begins anew. No HEAD
is sent: the size is that of the first reply.

Imports requests, which is slow: import this module inside functions.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import requests
import urllib3

from headwater.core.addresses import host_of
from headwater.core.errors import DiskError, InputError, NetworkError, WorkError
from headwater.core.events import BYTES, REQUESTS, count, progress, say
from headwater.core.files import read_json, write_json
from headwater.core.http import RedirectRefused, Watch, bounded_session, time_limit
from headwater.core.retry import retry_policy
from headwater.core.secrets import without_secrets
from headwater.fetch.sizes import gigabytes, refuse_small_disk

CONNECT_TIMEOUT_S = 10.0
STALL_S = 60.0
"""Seconds for the headers of a reply, and for each `_CHUNK_BYTES` of its body."""
MAX_WAIT_S = 30.0
MAX_REQUESTED_WAIT_S = 120.0
MAX_RESTARTS = 4
"""Restarts in a row that get no further, of a server that knows no ranges."""
MAX_REDIRECTS = 5
MAX_TEXT_BYTES = 20_000_000
"""Largest answer of a repository's list of files."""
OVERLAP_BYTES = 4096
"""Bytes before the end of what is there that a resumed download reads again, to compare them."""
_OVERLAP_FRACTION = 4000
_CHUNK_BYTES = 1 << 18
_HEAD_BYTES = 100
"""What the header of a GeoPackage takes."""
_MIB = 1 << 20
_SYNC_BYTES = 1 << 26
_MIN_PROGRESS_BYTES = 1 << 16
_MAX_CONNECTION_ATTEMPTS = 4
"""Where no server has answered yet, the machine has no network or the address is wrong."""
_TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
_KINDS = {"total": int, "etag": str, "modified": str}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class Cut(Exception):
    """No complete answer this time; a retry may help."""

    def __init__(self, text: str, *, status: int | None = None, wait_s: float = 0.0, connected: bool = True) -> None:
        super().__init__(text)
        self.status = status
        self.wait_s = wait_s
        self.connected = connected
        """Whether a server answered."""


class Refused(Exception):
    """A useless answer; a retry would not help, another address may."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


@dataclass
class Limits:
    """What a download may take."""

    max_bytes: int
    """Largest file."""
    patience_s: float = 600.0
    """How long it is repeated without advancing."""
    hosts: Sequence[str] = ()
    """Hosts that may be redirected to, besides the address's own."""


@dataclass
class _Known:
    """What is known of the file on the server."""

    address: str
    total: int | None = None
    etag: str | None = None
    modified: str | None = None


@dataclass
class _Transfer:
    """A download of one address."""

    session: requests.Session
    address: str
    part: Path
    limits: Limits
    check_start: Callable[[bytes, str], int | None]
    ranges: bool = True
    """Whether the server is asked for ranges."""
    furthest: int = 0
    """Most bytes that were ever there."""
    restarts: int = 0
    changes: int = 0
    connected: bool = False
    known: _Known = field(default_factory=lambda: _Known(""))

    @property
    def facts(self) -> Path:
        return _facts_of(self.part)


def download(
    addresses: Sequence[str], target: Path, limits: Limits, *, check_start: Callable[[bytes, str], int | None]
) -> str:
    """Download a file to `<target>.part`, from the first of its addresses that works; return the address.

    Parameters
    ----------
    addresses : sequence of str
        http(s) addresses of the same file.
    target : Path
        Name that the file will have; `<target>.part` continues where it ends.
    limits : Limits
        Largest size, patience, hosts.
    check_start : callable
        Takes the first bytes of the file and the reply's content type; raises `Refused` if it is something else, and
        returns the size that the file states of itself, if it does.

    Raises
    ------
    NetworkError
        No address gives the file.
    DiskError
        The disk is too small for it.
    """
    failures: list[tuple[str, Exception]] = []
    for number, address in enumerate(addresses):
        try:
            with bounded_session(may_redirect=_may_redirect(limits.hosts)) as session:
                session.max_redirects = MAX_REDIRECTS
                _complete(_Transfer(session, address, part_of(target), limits, check_start))
            return address
        except (Cut, Refused) as error:
            failures.append((address, error))
            if number + 1 < len(addresses):
                say(f"{_shown(address)} does not give {target.name} ({error}); the next address is tried.")
    if not _size(part_of(target)):
        remove_part(target)
    address, failure = failures[-1]
    remedy = getattr(failure, "remedy", "") or (
        "Run the same command again later, which continues, or give another address (fetch.addresses)."
    )
    raise NetworkError(f"{target.name} cannot be fetched from {_shown(address)}: {failure}.", remedy)


def part_of(target: Path) -> Path:
    """Return where a file is while it arrives."""
    return target.with_name(f"{target.name}.part")


def remove_part(target: Path) -> None:
    """Remove what has arrived of a file."""
    part_of(target).unlink(missing_ok=True)
    _facts_of(part_of(target)).unlink(missing_ok=True)


def remote_size(address: str, limits: Limits) -> int | None:
    """Return the bytes of a file as its server states them in the reply to a request of its first byte, else None."""
    with bounded_session(may_redirect=_may_redirect(limits.hosts)) as session:
        session.max_redirects = MAX_REDIRECTS
        policy = _policy(limits, lambda: False)
        try:
            size: int | None = policy(lambda: _ask_size(session, address))
            return size
        except (Cut, Refused):
            return None


def get_text(address: str, limits: Limits) -> bytes:
    """Return a short answer, such as a list of files.

    Raises
    ------
    NetworkError
        There is none.
    """
    with bounded_session(may_redirect=_may_redirect(limits.hosts)) as session:
        session.max_redirects = MAX_REDIRECTS
        try:
            content: bytes = _policy(limits, lambda: False)(lambda: _get_text(session, address))
            return content
        except (Cut, Refused) as error:
            raise NetworkError(
                f"{_shown(address)} gives no list of files ({error}).", "Run the same command again later."
            ) from None


def read_range(address: str, start: int, end: int, limits: Limits) -> bytes:
    """Return the bytes from `start` to `end` (exclusive) of a file on a server.

    Raises
    ------
    Refused
        The server knows no ranges, or refuses.
    Cut
        It does not answer.
    """
    with bounded_session(may_redirect=_may_redirect(limits.hosts)) as session:
        session.max_redirects = MAX_REDIRECTS

        def read() -> bytes:
            with _reply(session, address, {"Range": f"bytes={start}-{end - 1}"}) as (reply, watch):
                ranged = _content_range(reply)
                if reply.status_code != 206 or ranged is None or ranged[0] != start:
                    raise Refused("the server knows no ranges")
                return b"".join(_bounded(reply, watch, end - start))

        content: bytes = _policy(limits, lambda: False)(read)
        return content


def file_digests(path: Path) -> dict[str, str]:
    """Return the SHA-256 and the MD5 of a file, hexadecimal."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_MIB):
            sha256.update(block)
            md5.update(block)
    return {"sha256": sha256.hexdigest(), "md5": md5.hexdigest()}


def _complete(transfer: _Transfer) -> None:
    """Repeat requests until the file is complete."""
    transfer.part.parent.mkdir(parents=True, exist_ok=True)
    transfer.known = _read_known(transfer)
    transfer.furthest = _size(transfer.part)
    while True:
        # A policy for each stretch: its deadline counts from the last advance.
        policy = _policy(transfer.limits, lambda: transfer.connected)
        if policy(lambda: _advance(transfer)):
            return


def _policy(limits: Limits, connected: Callable[[], bool]) -> Any:
    def is_final(error: BaseException, attempts: int) -> bool:
        never = isinstance(error, Cut) and not error.connected and not connected()
        return never and attempts >= _MAX_CONNECTION_ATTEMPTS

    return retry_policy(
        "download",
        Cut,
        multiplier_s=1.0,
        max_wait_s=MAX_WAIT_S,
        deadline_s=limits.patience_s,
        requested_wait_s=lambda error: error.wait_s if isinstance(error, Cut) else 0.0,
        is_final=is_final,
    )


def _advance(transfer: _Transfer) -> bool:
    """Request what is missing and write what comes; return whether the file is complete.

    Raises
    ------
    Cut
        Nothing came, or nothing new.
    """
    before = transfer.furthest
    try:
        _request_rest(transfer)
    except Cut as error:
        transfer.connected |= error.connected
        gained = transfer.furthest - before
        if gained < _MIN_PROGRESS_BYTES:
            raise
        transfer.restarts = 0
        have, total = _size(transfer.part), transfer.known.total
        of = f" of {gigabytes(total)}" if total else ""
        say(f"{transfer.part.stem}: {error}, after {gigabytes(have)}{of}; the download continues.")
        return False
    return True


def _request_rest(transfer: _Transfer) -> None:
    have = _size(transfer.part)
    total = transfer.known.total
    if total is not None and have == total and _is_of_address(transfer):
        return
    if total is not None and have > total:
        _restart(transfer)
        have = 0
    overlap = _overlap(have, total) if transfer.ranges else 0
    start = have - overlap if transfer.ranges else 0
    headers = {"Range": f"bytes={start}-"} if transfer.ranges else {}
    same_server = transfer.known.address == transfer.address
    strong = transfer.known.etag is not None and not transfer.known.etag.startswith("W/")
    if start and same_server and strong:
        headers["If-Range"] = str(transfer.known.etag)
    with _reply(transfer.session, transfer.address, headers) as (reply, watch):
        transfer.connected = True
        if reply.status_code == 416 and have:
            raise _other_file(transfer, "it is shorter")
        ranged = _content_range(reply)
        if reply.status_code == 206 and (ranged is None or ranged[0] != start):
            if start == 0 and ranged is None:
                raise Refused("it answers with a part of the file and does not say which")
            transfer.ranges = False
            raise Cut("it answers with another part of the file than was asked for")
        partial = reply.status_code == 206 and ranged is not None
        stated = ranged[2] if partial and ranged is not None else _content_length(reply)
        _refuse_large(transfer, stated)
        now = _Known(transfer.address, stated, reply.headers.get("ETag"), reply.headers.get("Last-Modified"))
        if have and partial and (changed := _change(transfer.known, now)):
            raise _other_file(transfer, changed)
        chunks = _chunks(reply, watch)
        if not (have and partial):
            # What is there is given up only for the file itself, not for a page that is sent in its place.
            chunks = _begin_anew(transfer, now, reply, chunks, have)
            overlap = have = 0
        refuse_small_disk(transfer.part.parent, (transfer.known.total or 0) - have, transfer.part.stem)
        _receive(transfer, chunks, overlap, have)


def _begin_anew(
    transfer: _Transfer, now: _Known, reply: requests.Response, chunks: Iterator[bytes], have: int
) -> Iterator[bytes]:
    """Check the beginning of a file, and give up what is there; return all of its body."""
    start = b""
    while len(start) < _HEAD_BYTES and (chunk := next(chunks, b"")):
        start += chunk
    if not start:
        raise Cut("the answer is empty")
    own = transfer.check_start(start, reply.headers.get("Content-Type", ""))
    if have:
        _say_restart(transfer, now, have)
    if now.total is None and own is not None:
        _refuse_large(transfer, own)
        now.total = own
    _restart(transfer, known=now)
    return chain([start], chunks)


def _say_restart(transfer: _Transfer, now: _Known, have: int) -> None:
    """Report a server that sends the file from its beginning; give up on one that never gets further."""
    changed = _change(transfer.known, now)
    why = f"it is another file than before ({changed})" if changed else "the server knows no ranges"
    say(f"{transfer.part.stem} begins anew after {gigabytes(have)}: {why}.")
    if not changed:
        transfer.restarts += 1
        if transfer.restarts > MAX_RESTARTS:
            raise Refused(
                f"the server knows no ranges, and {transfer.restarts} attempts ended before"
                f" {gigabytes(max(transfer.furthest, 1))}"
            )


def _other_file(transfer: _Transfer, change: str) -> Exception:
    """Begin anew after a change on the server, and return the error that ends this attempt."""
    say(f"{transfer.part.stem} is another file on the server than before ({change}); it is fetched anew.")
    _restart(transfer)
    transfer.furthest = 0
    transfer.changes += 1
    if transfer.changes > MAX_RESTARTS:
        return Refused("the file on the server changes again and again")
    return Cut("the file on the server has changed")


def _receive(transfer: _Transfer, chunks: Iterator[bytes], overlap: int, have: int) -> None:
    """Write the body of a reply behind what is there; the first `overlap` bytes are only compared."""
    total, name = transfer.known.total, transfer.part.stem
    begun = time.monotonic()
    position = have

    def note() -> str:
        rate = (position - have) / max(time.monotonic() - begun, 1e-3)
        left = f", {_duration((total - position) / rate)} left" if total and rate > 0 else ""
        of = f" of {gigabytes(total)}" if total else ""
        return f"{gigabytes(position)}{of}, {gigabytes(rate)}/s{left}"

    def mebibytes() -> Iterator[None]:
        nonlocal position
        compared = b""
        with transfer.part.open("r+b" if have else "wb") as file:
            synced = position
            for chunk in chunks:
                count(BYTES, len(chunk))
                if len(compared) < overlap:
                    missing = overlap - len(compared)
                    compared, chunk = compared + chunk[:missing], chunk[missing:]
                    if len(compared) < overlap:
                        continue
                    file.seek(have - overlap)
                    if file.read(overlap) != compared:
                        raise _Other
                    file.seek(have)
                if not chunk:
                    continue
                _refuse_large(transfer, position + len(chunk))
                if total is not None and position + len(chunk) > total:
                    raise Refused("it sends more bytes than it states")
                file.write(chunk)
                file.flush()
                crossed = (position + len(chunk)) // _MIB - position // _MIB
                position += len(chunk)
                transfer.furthest = max(transfer.furthest, position)
                if position - synced >= _SYNC_BYTES:
                    os.fsync(file.fileno())
                    synced = position
                for _ in range(crossed):
                    yield
            os.fsync(file.fileno())

    steps = progress(
        mebibytes(),
        description=f"{name}, MiB",
        total=math.ceil(total / _MIB) if total else None,
        start=have // _MIB,
        note=note,
    )
    try:
        for _ in steps:
            pass
    except _Other:
        raise _other_file(transfer, "other bytes") from None
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise
        raise DiskError(
            f"{transfer.part} cannot be written ({error.strerror}).", "Free space; the same command then continues."
        ) from error
    if total is not None and position < total:
        raise Cut("the connection was cut")
    # Without a stated size, the end of the reply is the end of the file, as far as can be known.
    transfer.known.total = position
    _write_known(transfer)


class _Other(Exception):
    """Bytes that were fetched before are different now."""


@contextmanager
def _reply(
    session: requests.Session, address: str, headers: dict[str, str]
) -> Iterator[tuple[requests.Response, Watch]]:
    """Yield a reply whose headers came in time, and the watch of its body; see `_chunks`.

    Raises
    ------
    Cut
        It does not come, or ends before its end.
    Refused
        The server refuses, or leads elsewhere.
    """
    answered = False
    timeout = (CONNECT_TIMEOUT_S, STALL_S)
    # Compressed replies have no ranges of the file.
    headers = {"Accept-Encoding": "identity", **headers}
    try:
        with time_limit(STALL_S) as watch, session.get(address, headers=headers, stream=True, timeout=timeout) as reply:
            answered = True
            count(REQUESTS)
            _check_status(reply)
            yield reply, watch
    except RedirectRefused as refused:
        target = host_of(refused.target) or "an address that is not http(s)"
        raise Refused(
            f"it redirects to another host, {target}", "If you trust that host, add it to fetch.hosts."
        ) from None
    except requests.TooManyRedirects:
        raise Refused("it redirects again and again") from None
    except requests.Timeout:
        raise Cut("nothing came for a while", connected=answered) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError):
        raise Refused("its address is not valid") from None
    except requests.exceptions.SSLError:
        raise Refused("its certificate is not valid") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError):
        raise Cut("the connection was cut" if answered else "no connection", connected=answered) from None


def _check_status(reply: requests.Response) -> None:
    status = reply.status_code
    if status in _TRANSIENT_STATUSES:
        wanted = reply.headers.get("Retry-After", "")
        wait_s = min(MAX_REQUESTED_WAIT_S, float(wanted)) if wanted.isdecimal() else 0.0
        raise Cut(f"HTTP {status}", status=status, wait_s=wait_s)
    if status not in (200, 206, 416):
        words = {401: ", an account is needed", 403: ", access is denied", 404: ", there is no such file"}
        raise Refused(f"HTTP {status}{words.get(status, '')}")
    if reply.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Refused("it sends the file compressed")


def _chunks(reply: requests.Response, watch: Watch) -> Iterator[bytes]:
    """Yield the body as it comes; each `_CHUNK_BYTES` of it have their own time limit."""
    arrived = 0
    # What came before a cut is not lost, as it would be in a read of a fixed size.
    while chunk := reply.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk
        arrived += len(chunk)
        if arrived >= _CHUNK_BYTES and watch.left_s() < STALL_S - 1:
            watch.renew(STALL_S)
            arrived = 0


def _bounded(reply: requests.Response, watch: Watch, most: int) -> Iterator[bytes]:
    size = 0
    for chunk in _chunks(reply, watch):
        size += len(chunk)
        if size > most:
            raise Refused(f"its answer is larger than {gigabytes(most)}")
        yield chunk


def _ask_size(session: requests.Session, address: str) -> int | None:
    with _reply(session, address, {"Range": "bytes=0-0"}) as (reply, _):
        ranged = _content_range(reply)
        return ranged[2] if reply.status_code == 206 and ranged else _content_length(reply)


def _get_text(session: requests.Session, address: str) -> bytes:
    with _reply(session, address, {}) as (reply, watch):
        return b"".join(_bounded(reply, watch, MAX_TEXT_BYTES))


def _content_range(reply: requests.Response) -> tuple[int, int, int | None] | None:
    found = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", "").strip())
    if found is None:
        return None
    return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])


def _content_length(reply: requests.Response) -> int | None:
    text = reply.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and len(text) <= 18 and reply.status_code == 200 else None


def _change(before: _Known, now: _Known) -> str:
    """Return what shows that a file on a server is another one than before; "" if nothing does."""
    if before.total is not None and now.total is not None and before.total != now.total:
        return f"{now.total} bytes instead of {before.total}"
    if before.address != now.address:
        return ""  # another mirror has other marks
    for name, old, new in (("ETag", before.etag, now.etag), ("date", before.modified, now.modified)):
        if old is not None and new is not None and old != new:
            return f"another {name}"
    return ""


def _refuse_large(transfer: _Transfer, size: int | None) -> None:
    if size is not None and size > transfer.limits.max_bytes:
        raise Refused(
            f"the file is larger than {gigabytes(transfer.limits.max_bytes)}, the largest that is accepted",
            "Check the address, or raise fetch.max_gb if the file is the right one.",
        )


def _overlap(have: int, total: int | None) -> int:
    return min(have, OVERLAP_BYTES, max(1, total // _OVERLAP_FRACTION) if total else OVERLAP_BYTES)


def _is_of_address(transfer: _Transfer) -> bool:
    return transfer.known.total is not None and transfer.known.address == transfer.address


def _restart(transfer: _Transfer, *, known: _Known | None = None) -> None:
    transfer.part.unlink(missing_ok=True)
    transfer.known = known or _Known(transfer.address)
    _write_known(transfer)


def _read_known(transfer: _Transfer) -> _Known:
    """Return what an earlier attempt noted; without it what has arrived is of no use."""
    if not transfer.part.is_file():
        transfer.facts.unlink(missing_ok=True)
        return _Known(transfer.address)
    try:
        noted = read_json(transfer.facts)
        known = _Known(
            str(noted["address"]),
            *(noted[name] if isinstance(noted[name], kind) else None for name, kind in _KINDS.items()),
        )
    except (InputError, WorkError, KeyError, TypeError):
        transfer.part.unlink(missing_ok=True)
        return _Known(transfer.address)
    return known


def _write_known(transfer: _Transfer) -> None:
    known = transfer.known
    if known.address:
        facts = {"address": known.address, "total": known.total, "etag": known.etag, "modified": known.modified}
        write_json(transfer.facts, facts, sealed=True)


def _facts_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _shown(address: str) -> str:
    return without_secrets(address)


def _may_redirect(hosts: Sequence[str]) -> Callable[[str, str], bool]:
    def may(address: str, target: str) -> bool:
        host = host_of(target)
        if not host or (address.startswith("https:") and not target.startswith("https:")):
            return False
        return host == host_of(address) or host in hosts

    return may
