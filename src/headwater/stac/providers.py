"""Kinds of catalogue behind one interface: a STAC API, a folder of items, and STAC GeoParquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from headwater.core.errors import InputError
from headwater.geo.antimeridian_boxes import split_box
from headwater.stac.api import TIMEOUT_S, StacApi
from headwater.stac.pins import pinned_item
from headwater.stac.query import Item, Link, Page, Provider, Query, answers
from headwater.stac.table import ItemTable, table_files, with_absolute_paths
from headwater.stac.validation import shown, what_lacks

LARGEST_PAGE = 1000
"""Page size the Planetary Computer allows."""


def make_provider(url: str, *, page_limit: int = 250, timeout_s: float = TIMEOUT_S, connections: int = 1) -> Provider:
    """Return the provider of an address.

    Parameters
    ----------
    url : str
        http(s) is a STAC API; a folder with a folder `stac` holds items; a .parquet file, or a folder with some, is
        STAC GeoParquet.
    page_limit : int
        Items a page, for an API.
    timeout_s : float
        Seconds that one request may take, for an API.
    connections : int
        Threads that ask at once, for an API.

    Raises
    ------
    InputError
        The address is none of these, or a number is out of range.
    """
    if not 1 <= page_limit <= LARGEST_PAGE:
        raise InputError(
            f"The page size {page_limit} is not between 1 and {LARGEST_PAGE}.",
            "Take 250, the default.",
        )
    if not timeout_s > 0:
        raise InputError(f"The time limit of a request is {timeout_s} s.", "Set search.timeout_s above 0.")
    if url.startswith(("http://", "https://")):
        try:
            urlsplit(url)
        except ValueError:
            raise InputError(f"The catalogue {url} is no address.", "Set catalog.url to that of a STAC API.") from None
        return StacApi(url, page_limit=page_limit, timeout_s=timeout_s, connections=connections)
    path = Path(url)
    if path.is_dir() and (path / "stac").is_dir():
        return ItemFolder(path)
    if url and table_files(path):
        return ItemTable(path)
    raise InputError(
        f"The catalogue {url} is neither an http(s) address, nor a folder with a folder 'stac', nor a .parquet file "
        "or a folder with some.",
        "Set catalog.url to one of these.",
    )


def find_items(provider: Provider, query: Query) -> list[Item]:
    """Ask for a box that may cross the antimeridian, and return each item once, sorted by id.

    Holds all items in memory; `headwater.imagery.search` does not.

    Raises
    ------
    WorkError
        The catalogue does not answer or answers nonsense.
    """
    found: dict[str, Item] = {}
    for part in split_box(query.box):
        for page in provider.pages(replace(query, box=part)):
            for item in page.items:
                found.setdefault(item["id"], item)
    return [found[name] for name in sorted(found)]


class ItemFolder:
    """A folder DIR with items in DIR/stac/<collection>/*.json, whose relative addresses start at DIR."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
        while some := list(islice(paths, LARGEST_PAGE)):
            items, left_out = [], []
            for path in some:
                item = read_item(path)
                lack = what_lacks(item, collection)
                if lack is not None:
                    left_out.append((shown(item["id"]), lack))
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
    except (OSError, ValueError):
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
