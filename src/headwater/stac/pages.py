"""Pages of a search: fetched a few slices at a time and kept next to the output until the search is done.

A killed search resumes with what is missing. A slice of a search (one collection, box and interval) is a folder; a page
is a file in it: a line about the page, then one item per line. The name of the slice's folder is a digest of the
complete query and the catalog, so that another query never reads these pages.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from types import MappingProxyType, TracebackType
from typing import Any

from headwater.core.errors import NetworkError, WorkError
from headwater.core.events import progress, say
from headwater.core.files import atomic_path
from headwater.core.private_files import open_lock
from headwater.stac.intervals import Interval
from headwater.stac.query import Item, Link, Page, Provider, Query, StalePageToken

MAX_AGE_S = 86_400.0
"""Pages are used for a day; older answers and their links may no longer be valid."""
MAX_ATTEMPTS = 3
"""Times that a slice is queried from its first page."""
_LOCK = "lock"
_ESTIMATE = "estimate"
"""File that marks a slice whose number of items is an estimate."""
_SECRETS = (
    "sig=",
    '"sig"',
    "signature",
    "key=",
    '"key"',
    "_key",
    "-key",
    "apikey",
    "access_token",
    "password",
    "secret",
)
"""Words of a link that contains more than a position in a list."""


@dataclass(frozen=True)
class Header:
    """The facts about a page other than its items."""

    attempt: int
    """How often the slice was queried from its first page: 1, or more. Its key in files is "asked"."""
    ids: Sequence[str]
    """Ids of the page's items and of those left out."""
    left_out: Sequence[Sequence[str]]
    """Id and defect."""
    matched: int | None
    next: Link | None
    lost: bool = False
    """There is a next page, but its link must not be written down."""

    def to_json(self) -> dict[str, Any]:
        """Return the header as it is written."""
        values = asdict(self)
        return {"asked": values.pop("attempt"), **values}

    @staticmethod
    def from_json(line: bytes) -> Header:
        """Read a header.

        Raises
        ------
        ValueError, TypeError
            The line is not one.
        """
        values = dict(json.loads(line))
        return Header(attempt=values.pop("asked"), **values) if "asked" in values else Header(**values)


class PageStore:
    """The folder of a search's pages; one search at a time uses it.

    Parameters
    ----------
    out : Path
        File that the search writes; the pages are kept next to it.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.folder = out.with_name(f".{out.name}.pages")
        self._lock: Any = None

    def __enter__(self) -> PageStore:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.fdopen(open_lock(self.folder / _LOCK, mode=0o666), "r+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise WorkError(
                f"Another search is writing {self._out}.", "Wait until it has finished, then run again."
            ) from None
        except OSError:
            pass  # a file system without locks
        for slice_folder in self.folder.iterdir():
            if slice_folder.is_dir() and time.time() - slice_folder.stat().st_mtime > MAX_AGE_S:
                shutil.rmtree(slice_folder, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.folder.is_dir() and not any(path.is_dir() for path in self.folder.iterdir()):
            self.remove()
        self._lock.close()

    def remove(self) -> None:
        """Remove all pages: the search is done, or must start over."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        (self.folder / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def slice(self, address: str, query: Query) -> SlicePages:
        """Return the pages of one query to the catalog at an address."""
        params = {**asdict(query), "interval": str(query.interval), "catalogue": address, "below": dict(query.below)}
        digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
        return SlicePages(self.folder / digest[:24])

    def file(self, name: str) -> Path:
        """Return a path for items that do not come from the pages of the search."""
        return self.folder / "other" / f"{name}.jsonl"


class SlicePages:
    """The pages of one slice, in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.headers: list[Header] = []

    @property
    def paths(self) -> list[Path]:
        """Files of the pages."""
        return [self._path(number) for number in range(len(self.headers))]

    @property
    def missing(self) -> int:
        """Number of items that the catalog reports but has not returned; 0 if its number is an estimate."""
        if self._estimate.exists():
            return 0
        matched = max((header.matched or 0 for header in self.headers), default=0)
        return matched - len(self.ids)

    @property
    def ids(self) -> frozenset[str]:
        """Ids of all items that came, whether usable or not."""
        return frozenset(name for header in self.headers for name in header.ids)

    @property
    def _estimate(self) -> Path:
        return self._folder / _ESTIMATE

    def accept_estimate(self) -> None:
        """Take the number that the catalog reports for an estimate: the pages are complete."""
        self._estimate.touch()

    def load(self) -> None:
        """Read the pages on disk; pages that are too old, unreadable or cannot be resumed from are removed."""
        self.headers = []
        try:
            if time.time() - self._path(0).stat().st_mtime > MAX_AGE_S:
                raise ValueError
            while self._path(len(self.headers)).exists():
                with self._path(len(self.headers)).open("rb") as file:
                    self.headers.append(Header.from_json(file.readline()))
            if self.headers[-1].lost:
                raise ValueError
        except (OSError, ValueError, TypeError, IndexError):
            self.clear()

    def clear(self) -> None:
        """Remove all pages."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.headers = []

    def add(self, page: Page, *, attempt: int) -> None:
        """Write a page."""
        # An item without an id counts as one of its own.
        nameless = f"{len(self.headers)}."
        ids = [item["id"] for item in page.items]
        ids += [f"{name or nameless + str(k)}?" for k, (name, _) in enumerate(page.left_out)]
        kept = page.next if page.next is not None and _may_be_kept(page.next) else None
        header = Header(attempt, ids, [list(pair) for pair in page.left_out if pair[1]], page.matched, kept,
                        lost=page.next is not None and kept is None)  # fmt: skip
        write_lines(self._path(len(self.headers)), page.items, header=header.to_json())
        self.headers.append(header)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.jsonl"


def fetch_pages(
    provider: Provider, address: str, queries: Sequence[Query], store: PageStore, *, workers: int
) -> list[SlicePages]:
    """Fetch the pages of every query that the store does not have yet, and return the pages of all.

    Parameters
    ----------
    provider : Provider
        Catalog.
    address : str
        Its address; the store keeps pages by address and query.
    queries : sequence of Query
        Slices of one search.
    store : PageStore
        Where pages are kept.
    workers : int
        Slices fetched at the same time.

    Raises
    ------
    WorkError
        The catalog does not answer, its answer is not valid, or it returns fewer items than it reports.
    """
    slices = [store.slice(address, query) for query in queries]
    stop = Event()
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_fetch_slice, provider, *pair, stop) for pair in zip(queries, slices, strict=True)]
        try:
            for future in progress(as_completed(futures), description="search, slices fetched", total=len(futures)):
                future.result()
        except BaseException:
            # Requests under way run to their end; no others begin.
            stop.set()
            provider.give_up()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return slices


def write_lines(path: Path, items: Iterable[Item], *, header: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write a file of items, complete or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_line(dict(header)))
        file.writelines(map(_line, items))


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the bytes of each item in a page's file."""
    with path.open("rb") as file:
        offset = len(file.readline())
        for line in file:
            yield offset, line
            offset += len(line)


def _fetch_slice(provider: Provider, query: Query, pages: SlicePages, stop: Event) -> None:
    """Complete one slice: first resume from its last page, then start over, up to `MAX_ATTEMPTS` times."""
    if provider.remote:
        pages.load()
    else:
        pages.clear()  # files may have changed since, and are read quickly
    attempt = pages.headers[-1].attempt if pages.headers else 0
    if attempt and _follow(provider, query, pages, attempt, stop) and pages.missing <= 0:
        return
    for number in range(attempt + 1, MAX_ATTEMPTS + 1):
        # Items that the catalog returned before count too: pages that repeat some may leave out others.
        if not stop.is_set() and _follow(provider, query, pages, number, stop, restart=True) and pages.missing <= 0:
            return
    if stop.is_set():
        return
    short, refused = pages.missing, not pages.headers
    if not refused and _is_estimate(provider, query, pages.ids):
        say(
            f"the catalog reports {short + len(pages.ids)} items of {query.collection} {_when(query)}, but has "
            f"{len(pages.ids)} however it is asked: its number is taken for an estimate."
        )
        pages.accept_estimate()
        return
    pages.clear()
    if refused:
        raise NetworkError(
            f"The catalog refuses its own links to the next pages of {query.collection} {_when(query)}.",
            "Try again later, or set another endpoint in catalog.url.",
        )
    raise NetworkError(
        f"The catalog returns {short} item(s) of {query.collection} {_when(query)} fewer than it reports.",
        "Lower search.slice_days, or set another endpoint in catalog.url.",
    )


def _is_estimate(provider: Provider, query: Query, ids: frozenset[str]) -> bool:
    """Whether a catalog has no other items than these, so that the larger number that it reports is an estimate.

    Answers that are cut short would give others when each half of the time is asked for alone.
    """
    halves = _halves(query)
    if not ids or not halves:
        return False
    found: set[str] = set()
    try:
        for half in halves:
            for page in provider.pages(half):
                found |= {item["id"] for item in page.items} | {f"{name}?" for name, _ in page.left_out if name}
    except StalePageToken:
        return False
    named = {name for name in ids if not name[:1].isdigit() or not name.endswith("?")}
    return found >= named and found <= ids


def _halves(query: Query) -> list[Query]:
    """Return a query cut in two: by time, or by place where it is of any time; [] if it cannot be cut."""
    interval = query.interval
    if interval is None:
        west, south, east, north = query.box
        middle = (south + north) / 2
        boxes = ((west, south, east, middle), (west, middle, east, north))
        return [replace(query, box=box) for box in boxes]
    if interval.start is None or interval.end is None or interval.start >= interval.end:
        return []
    at = interval.start + (interval.end - interval.start) / 2
    return [replace(query, interval=Interval(*ends)) for ends in ((interval.start, at), (at, interval.end))]


def _follow(
    provider: Provider, query: Query, pages: SlicePages, attempt: int, stop: Event, *, restart: bool = False
) -> bool:
    """Append pages to the last one; return whether that reached the end. Stale page tokens clear all pages."""
    after = None if restart else pages.headers[-1].next
    if after is None and not restart:
        return True
    try:
        for page in provider.pages(query, after):
            if stop.is_set():
                return False
            pages.add(page, attempt=attempt)
    except StalePageToken:
        pages.clear()
        return False
    return True


def _when(query: Query) -> str:
    return f"in {query.interval}" if query.interval else "of any time"


def _line(value: Item) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _may_be_kept(link: Link) -> bool:
    """Whether a link contains no secret that can be recognized."""
    text = json.dumps(link).lower()
    return not (link.get("headers") or any(word in text for word in _SECRETS))
