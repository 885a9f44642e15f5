"""Results of a search and how they change a pin: items stay on disk; only a key per item is kept in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError
from headwater.stac.items import acquisition, newest_processing
from headwater.stac.pages import PageStore, read_lines, write_lines
from headwater.stac.pinned_items import pinned_item
from headwater.stac.pins import iter_items, read_query
from headwater.stac.query import Item, Provider

PinnedDigests = dict[tuple[str, str], bytes]
"""Digest of each pinned item by its collection and id."""

_CHUNK_ITEMS = 2000
_MAX_LISTED_IDS = 5
_SAME_PLACE_DEGREES = 0.01
"""Footprints of one item that were computed twice differ by less."""


@dataclass(frozen=True, slots=True)
class FoundItem:
    """The key of an item in a file of items."""

    collection: str
    id: str
    updated: str
    """When the catalog last changed it, RFC 3339 as it is pinned; "" if the catalog does not report it."""
    digest: bytes
    """Digest of its content."""
    acquisition: tuple[str, str, str]
    file: int
    """Number of the file."""
    offset: int
    """Its first byte in the file."""

    @property
    def key(self) -> tuple[str, str]:
        """Collection and id."""
        return self.collection, self.id


class SearchResult:
    """Items by collection and id, each once: the version of the latest update, whichever came first.

    Attributes
    ----------
    conflicts : set of (collection, id)
        Items of one id, of which none is known to be newer, that are in different places: not versions of one item.
    """

    def __init__(self) -> None:
        self.conflicts: set[tuple[str, str]] = set()
        self._files: list[Path] = []
        self._entries: dict[tuple[str, str], FoundItem] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, collection: str, item_id: str) -> FoundItem | None:
        """Return an item, or None."""
        return self._entries.get((collection, item_id))

    def add(self, path: Path, usable: Callable[[Item], bool], *, replace: bool = False) -> None:
        """Add the usable items of a file of items.

        Parameters
        ----------
        path : Path
            As `headwater.stac.pages` writes it; must not be removed.
        usable : callable
            Returns whether an item is wanted.
        replace : bool
            Whether these items replace others of the same id, whatever their update.
        """
        number = len(self._files)
        self._files.append(path)
        for offset, line in read_lines(path):
            item = json.loads(line)
            if usable(item):
                entry = _entry(item, line, number, offset)
                other = self._entries.get(entry.key)
                if other is not None and not replace and self._conflict(item, entry, other):
                    self.conflicts.add(entry.key)
                if replace or other is None or (other.updated, other.digest) < (entry.updated, entry.digest):
                    self._entries[entry.key] = entry

    def _conflict(self, item: Item, entry: FoundItem, other: FoundItem) -> bool:
        known = is_older(entry.updated, other.updated) or is_older(other.updated, entry.updated)
        if known or entry.digest == other.digest:
            return False
        (before,) = self.items([other])
        edges = zip(before["bbox"], item["bbox"], strict=True)
        return any(abs(one - two) > _SAME_PLACE_DEGREES for one, two in edges)

    def newest(self, collections: Sequence[str]) -> list[FoundItem]:
        """Return all items sorted by collection and id; of some collections only one item per acquisition."""
        groups: dict[tuple[str, ...], list[FoundItem]] = {}
        for entry in self._entries.values():
            once = entry.collection in collections
            groups.setdefault((entry.collection, *entry.acquisition) if once else entry.key, []).append(entry)
        kept: list[FoundItem] = []
        for group in groups.values():
            names = {item["id"] for item in newest_processing(self.items(group))} if len(group) > 1 else {group[0].id}
            kept += [entry for entry in group if entry.id in names]
        return sorted(kept, key=lambda entry: entry.key)

    def items(self, entries: Iterable[FoundItem]) -> Iterator[Item]:
        """Read items in the given order, few of them in memory at a time."""
        entries = iter(entries)
        while some := list(islice(entries, _CHUNK_ITEMS)):
            items: list[Item] = [{}] * len(some)
            # Each file once, forward.
            order = sorted(range(len(some)), key=lambda k: (some[k].file, some[k].offset))
            for number, places in groupby(order, key=lambda k: some[k].file):
                with self._files[number].open("rb") as file:
                    for k in places:
                        file.seek(some[k].offset)
                        items[k] = json.loads(file.readline())
            yield from items


def is_pin_of(pin: Path, url: str, query: Mapping[str, Any]) -> bool:
    """Whether a file is a pin of the same query to the same catalog."""
    try:
        record = read_query(pin)
        return (record.get("catalogue"), record.get("query")) == (url, dict(query))
    except InputError:
        return False


def keep_newer_pinned(
    pin: Path, result: SearchResult, store: PageStore, usable: Callable[[Item], bool], provider: Provider
) -> PinnedDigests:
    """Add pinned items to a search result where the pin has newer or more.

    A pinned item is kept if the search found an older version of it. If the search did not find it, it is requested
    from the catalog by its id: a page may only have left it out.

    Parameters
    ----------
    pin : Path
        Earlier pin of the same search.
    result : SearchResult
        What was found; changed in place.
    store : PageStore
        Where the added items are written.
    usable : callable
        Returns whether an item is wanted: the pin may come from a version with other rules.
    provider : Provider
        Catalog.

    Returns
    -------
    dict
        Digest of each pinned item.

    Raises
    ------
    InputError
        The pin is not readable.
    WorkError
        The catalog does not answer.
    """
    pinned: PinnedDigests = {}
    missing: dict[str, list[str]] = {}

    def newer_or_missing() -> Iterator[Item]:
        for item in map(pinned_item, iter_items(pin)):
            pinned[item["collection"], item["id"]] = digest_of(item)
            found = result.get(item["collection"], item["id"])
            if found is None:
                missing.setdefault(item["collection"], []).append(item["id"])
            if found is None or is_older(found.updated, updated_of(item)):
                yield item

    def is_newer(item: Item) -> bool:
        found = result.get(item["collection"], item["id"])
        return found is not None and is_older(found.updated, updated_of(item)) and usable(item)

    kept, by_id = store.file("pinned"), store.file("asked by id")
    write_lines(kept, newer_or_missing())
    write_lines(by_id, _by_ids(provider, missing))
    result.add(by_id, usable)
    result.add(kept, is_newer, replace=True)
    return pinned


def describe_changes(pinned: PinnedDigests, entries: Sequence[FoundItem]) -> str | None:
    """Return the changes from a pin to a new one as a line, or None if there are none.

    Parameters
    ----------
    pinned : dict
        Digest of each item of the old pin, by collection and id.
    entries : sequence of FoundItem
        Items of the new pin.
    """
    new = {entry.key: entry.digest for entry in entries}
    groups = {
        "added": [key for key in new if key not in pinned],
        "updated": [key for key in new if key in pinned and pinned[key] != new[key]],
        "withdrawn": [key for key in pinned if key not in new],
    }
    if not any(groups.values()):
        return None
    counts = ", ".join(f"{len(keys)} {word}" for word, keys in groups.items())
    names = "; ".join(f"{word} {_listed(keys)}" for word, keys in groups.items() if keys)
    return f"items {counts}: {names}."


def digest_of(item: Item) -> bytes:
    """Return a digest of an item's content, as `headwater.stac.pinned_items.pinned_item` reduces it."""
    return _digest(json.dumps(item, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def updated_of(item: Item) -> str:
    """Return when the catalog last changed a reduced item; "" if the catalog does not report it."""
    return str(item["properties"].get("updated") or "")


def is_older(updated: str, other: str) -> bool:
    """Whether a version of an item is known to be older than another one."""
    return bool(updated and other) and updated < other


def _entry(item: Item, line: bytes, file: int, offset: int) -> FoundItem:
    return FoundItem(
        item["collection"], item["id"], updated_of(item), _digest(line.rstrip()), acquisition(item), file, offset
    )


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _by_ids(provider: Provider, missing: Mapping[str, Sequence[str]]) -> Iterator[Item]:
    for collection, ids in sorted(missing.items()):
        wanted = set(ids)
        for page in provider.by_ids(collection, ids):
            yield from (item for item in page.items if item["id"] in wanted)


def _listed(keys: Sequence[tuple[str, str]]) -> str:
    names = sorted(name for _, name in keys)
    more = len(names) - _MAX_LISTED_IDS
    return ", ".join(names[:_MAX_LISTED_IDS]) + (f" and {more} more" if more > 0 else "")
