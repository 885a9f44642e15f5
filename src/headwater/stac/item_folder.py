"""A folder of STAC items as a catalog."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from headwater.core.errors import InputError
from headwater.stac.items import with_absolute_paths
from headwater.stac.pinned_items import pinned_item
from headwater.stac.query import Item, Link, Page, Query, RequestLimits, answers
from headwater.stac.validation import item_defect, sanitize_for_log

_PAGE_ITEMS = 1000


class ItemFolder:
    """A folder DIR with items in DIR/stac/<collection>/*.json, whose relative addresses start at DIR."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def recognizes(url: str) -> bool:
        """Whether a path is a folder with a folder `stac`."""
        return Path(url).is_dir() and (Path(url) / "stac").is_dir()

    @classmethod
    def open(cls, url: str, limits: RequestLimits) -> ItemFolder:
        """Return the catalog in a folder."""
        return cls(Path(url))

    def pages(self, query: Query, after: Link | None = None) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        return self._pages(query.collection, lambda item: answers(item, query))

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        wanted = set(ids)
        return self._pages(collection, lambda item: item["id"] in wanted)

    def give_up(self) -> None:
        """See `headwater.stac.query.Provider`."""

    def _pages(self, collection: str, wanted: Callable[[Item], bool]) -> Iterator[Page]:
        paths = iter(sorted((self._folder / "stac" / collection).glob("*.json")))
        while some := list(islice(paths, _PAGE_ITEMS)):
            items, left_out = [], []
            for path in some:
                item = read_item(path)
                defect = item_defect(item, collection)
                if defect is not None:
                    left_out.append((sanitize_for_log(item["id"]), defect))
                elif wanted(pinned := pinned_item(item)):
                    items.append(with_absolute_paths(pinned, self._folder))
            yield Page(items, left_out)


def read_item(path: Path) -> Item:
    """Read a STAC item from a JSON file.

    Raises
    ------
    InputError
        The file is not a STAC item.
    """
    try:
        item = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        item = None
    if not (
        isinstance(item, dict)
        and isinstance(item.get("id"), str)
        and isinstance(item.get("collection"), str)
        and isinstance(item.get("properties"), dict)
        and isinstance(item.get("assets"), dict)
    ):
        raise InputError(f"{path} is not a STAC item.", "Remove it or write it again.")
    return item
