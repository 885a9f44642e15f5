"""Refreshing a pin: what a new search changes in it, and what it may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError
from headwater.stac.pages import PageStore, write_lines
from headwater.stac.pins import iter_items, pinned_item, read_query
from headwater.stac.query import Item, Provider
from headwater.stac.search_results import Findings, Found, digest_of, is_older, updated_of

Pinned = Mapping[tuple[str, str], bytes]
"""Digest of each pinned item by its collection and id."""

_IDS_TOLD = 5


def answers_same_search(pin: Path, url: str, query: Mapping[str, Any]) -> bool:
    """Whether a file is a pin of the same query to the same catalogue."""
    try:
        return read_query(pin) == {"catalogue": url, "query": dict(query)}
    except InputError:
        return False


def keep_what_is_newer(
    pin: Path, findings: Findings, store: PageStore, usable: Callable[[Item], bool], provider: Provider
) -> dict[tuple[str, str], bytes]:
    """Add to what a search found what the pin knows better.

    A pinned item is kept where the search found an older version of it. Where the search did not find it, the
    catalogue is asked for it by its id: it may only have been left out of a page.

    Parameters
    ----------
    pin : Path
        Earlier pin of the same search.
    findings : Findings
        What was found; changed in place.
    store : PageStore
        Where items are written that are added.
    usable : callable
        Tells whether an item is wanted: the pin may have been made by a version with other rules.
    provider : Provider
        Catalogue.

    Returns
    -------
    dict
        Digest of each pinned item.

    Raises
    ------
    InputError
        The pin is not readable.
    WorkError
        The catalogue does not answer.
    """
    pinned: dict[tuple[str, str], bytes] = {}
    missing: dict[str, list[str]] = {}

    def newer_or_missing() -> Iterator[Item]:
        for item in map(pinned_item, iter_items(pin)):
            pinned[item["collection"], item["id"]] = digest_of(item)
            found = findings.get(item["collection"], item["id"])
            if found is None:
                missing.setdefault(item["collection"], []).append(item["id"])
            if found is None or is_older(found.updated, updated_of(item)):
                yield item

    def is_newer(item: Item) -> bool:
        found = findings.get(item["collection"], item["id"])
        return found is not None and is_older(found.updated, updated_of(item)) and usable(item)

    kept, asked = store.file("pinned"), store.file("asked by id")
    write_lines(kept, newer_or_missing())
    write_lines(asked, _by_ids(provider, missing))
    findings.add(asked, usable)
    findings.add(kept, is_newer, replace=True)
    return pinned


def _by_ids(provider: Provider, missing: Mapping[str, Sequence[str]]) -> Iterator[Item]:
    for collection, ids in sorted(missing.items()):
        wanted = set(ids)
        for page in provider.by_ids(collection, ids):
            yield from (item for item in page.items if item["id"] in wanted)


def told_changes(pinned: Pinned, entries: Sequence[Found]) -> str | None:
    """Return what changes between a pin and a new one as a line, or None where nothing does.

    Parameters
    ----------
    pinned : mapping
        Digest of each item of the pin, by collection and id.
    entries : sequence of Found
        What the new pin holds.
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
    names = "; ".join(f"{word} {_some(keys)}" for word, keys in groups.items() if keys)
    return f"items {counts}: {names}."


def _some(keys: Sequence[tuple[str, str]]) -> str:
    names = sorted(name for _, name in keys)
    more = len(names) - _IDS_TOLD
    return ", ".join(names[:_IDS_TOLD]) + (f" and {more} more" if more > 0 else "")
