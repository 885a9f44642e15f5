"""What a search found: items on disk, and of each only what tells it from the others in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from headwater.stac.acquisitions import acquisition, newest_processing
from headwater.stac.pages import read_lines
from headwater.stac.query import Item

_ITEMS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Found:
    """An item that was found."""

    collection: str
    id: str
    updated: str
    """When the catalogue last changed it, RFC 3339 as it is pinned; "" where it is not told."""
    digest: bytes
    """Of its content."""
    acquisition: tuple[str, str, str]
    file: int
    place: int
    """First byte in the file."""

    @property
    def key(self) -> tuple[str, str]:
        """Collection and id."""
        return self.collection, self.id


class Findings:
    """Items by collection and id, each once: that of the latest update, whichever came first."""

    def __init__(self) -> None:
        self._files: list[Path] = []
        self._found: dict[tuple[str, str], Found] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, collection: str, item_id: str) -> Found | None:
        """Return an item, or None."""
        return self._found.get((collection, item_id))

    def add(self, path: Path, usable: Callable[[Item], bool], *, replace: bool = False) -> None:
        """Add the usable items of a file of items.

        Parameters
        ----------
        path : Path
            As `headwater.stac.pages` writes it; has to stay.
        usable : callable
            Tells whether an item is wanted.
        replace : bool
            Whether these items take the place of others of the same id, whatever their update.
        """
        number = len(self._files)
        self._files.append(path)
        for place, line in read_lines(path):
            item = json.loads(line)
            if usable(item):
                entry = _entry(item, line, number, place)
                other = self._found.get(entry.key)
                if replace or other is None or (other.updated, other.digest) < (entry.updated, entry.digest):
                    self._found[entry.key] = entry

    def newest(self, collections: Sequence[str]) -> list[Found]:
        """Return all items sorted by collection and id, those of some collections once per acquisition."""
        groups: dict[tuple[str, ...], list[Found]] = {}
        for entry in self._found.values():
            once = entry.collection in collections
            groups.setdefault((entry.collection, *entry.acquisition) if once else entry.key, []).append(entry)
        kept: list[Found] = []
        for group in groups.values():
            names = {item["id"] for item in newest_processing(self.items(group))} if len(group) > 1 else {group[0].id}
            kept += [entry for entry in group if entry.id in names]
        return sorted(kept, key=lambda entry: entry.key)

    def items(self, entries: Iterable[Found]) -> Iterator[Item]:
        """Read items in the order given, few of them in memory at a time."""
        entries = iter(entries)
        while some := list(islice(entries, _ITEMS_AT_ONCE)):
            items: list[Item] = [{}] * len(some)
            # Each file once, forwards.
            order = sorted(range(len(some)), key=lambda k: (some[k].file, some[k].place))
            for number, places in groupby(order, key=lambda k: some[k].file):
                with self._files[number].open("rb") as file:
                    for k in places:
                        file.seek(some[k].place)
                        items[k] = json.loads(file.readline())
            yield from items


def digest_of(item: Item) -> bytes:
    """Return a digest of an item's content, as `headwater.stac.pins.pinned_item` cuts it."""
    return _digest(json.dumps(item, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def updated_of(item: Item) -> str:
    """Return when the catalogue last changed an item that is cut for the pin; "" where it is not told."""
    return str(item["properties"].get("updated") or "")


def is_older(updated: str, other: str) -> bool:
    """Whether a version of an item is told to be older than another one."""
    return bool(updated and other) and updated < other


def _entry(item: Item, line: bytes, file: int, place: int) -> Found:
    return Found(
        item["collection"], item["id"], updated_of(item), _digest(line.rstrip()), acquisition(item), file, place
    )


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
