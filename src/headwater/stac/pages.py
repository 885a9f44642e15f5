"""Pages of a search kept beside its output while it runs, so that a killed search asks only for what is missing.

A slice of a search (one collection, box and interval) is a folder; a page is a file in it: a line about the page, then
an item a line. The name of the slice's folder is a digest of all that was asked, so that another question never meets
these answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from headwater.core.errors import WorkError
from headwater.core.files import atomic_path
from headwater.stac.query import Item, Link, Page, Query

OLDEST_S = 86_400.0
"""Pages may be a day old; what a catalogue said earlier may no longer hold, nor its links."""
_LOCK = "lock"


@dataclass(frozen=True)
class Header:
    """What is known of a page besides its items."""

    asked: int
    """How often the answer was asked for from its beginning: 1, or more."""
    ids: Sequence[str]
    """Of the page's items and of those left out."""
    left_out: Sequence[Sequence[str]]
    """Id and reason."""
    matched: int | None
    next: Link | None
    lost: bool = False
    """There is a next page, but its link may not be written down."""


class PageStore:
    """The folder of a search's pages; one search at a time uses it.

    Parameters
    ----------
    out : Path
        File that the search writes; the pages lie beside it.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.folder = out.with_name(f".{out.name}.pages")
        self._lock: Any = None

    def __enter__(self) -> PageStore:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / _LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise WorkError(
                f"Another search writes {self._out} at this moment.", "Wait for its end, then run again."
            ) from None
        except OSError:
            pass  # a file system without locks
        for slice_folder in self.folder.iterdir():
            if slice_folder.is_dir() and time.time() - slice_folder.stat().st_mtime > OLDEST_S:
                shutil.rmtree(slice_folder, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.folder.is_dir() and not any(path.is_dir() for path in self.folder.iterdir()):
            self.remove()
        self._lock.close()

    def remove(self) -> None:
        """Remove all pages: the search is done, or must start anew."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        (self.folder / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def slice(self, asked_of: str, query: Query) -> SlicePages:
        """Return the pages of one query to one catalogue."""
        words = {**asdict(query), "interval": str(query.interval), "catalogue": asked_of, "below": dict(query.below)}
        digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
        return SlicePages(self.folder / digest[:24])

    def file(self, name: str) -> Path:
        """Return a path for items that come to the search from elsewhere than its pages."""
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
        """Items that the catalogue has, as it says, and has not given."""
        matched = max((header.matched or 0 for header in self.headers), default=0)
        return matched - len({name for header in self.headers for name in header.ids})

    def load(self) -> None:
        """Read what is there; pages that are too old, unreadable or cannot be gone on from are removed."""
        self.headers = []
        try:
            if time.time() - self._path(0).stat().st_mtime > OLDEST_S:
                raise ValueError
            while self._path(len(self.headers)).exists():
                with self._path(len(self.headers)).open("rb") as file:
                    self.headers.append(Header(**json.loads(file.readline())))
            if self.headers[-1].lost:
                raise ValueError
        except (OSError, ValueError, TypeError, IndexError):
            self.clear()

    def clear(self) -> None:
        """Forget all pages."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.headers = []

    def add(self, page: Page, *, asked: int) -> None:
        """Write a page."""
        # An item without a name counts as one of its own.
        nameless = f"{len(self.headers)}."
        ids = [item["id"] for item in page.items]
        ids += [f"{name or nameless + str(k)}?" for k, (name, _) in enumerate(page.left_out)]
        kept = page.next if page.next is not None and _may_be_kept(page.next) else None
        header = Header(asked, ids, [list(pair) for pair in page.left_out if pair[1]], page.matched, kept,
                        lost=page.next is not None and kept is None)  # fmt: skip
        write_lines(self._path(len(self.headers)), page.items, header=asdict(header))
        self.headers.append(header)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.jsonl"


def write_lines(path: Path, items: Iterable[Item], *, header: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write a file of items, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_line(dict(header)))
        file.writelines(map(_line, items))


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the place and the bytes of each item of a page's file."""
    with path.open("rb") as file:
        place = len(file.readline())
        for line in file:
            yield place, line
            place += len(line)


def _line(value: Item) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


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
"""Words of a link that carries more than a place in a list."""


def _may_be_kept(link: Link) -> bool:
    """Whether a link holds nothing secret, as far as one can see."""
    text = json.dumps(link).lower()
    return not (link.get("headers") or any(word in text for word in _SECRETS))
