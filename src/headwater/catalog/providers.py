"""Two kinds of catalogue behind one question: a STAC API, and items in files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from headwater.catalog.antimeridian import Box, split_box
from headwater.catalog.filters import matches_box, matches_query, matches_time
from headwater.catalog.intervals import Interval
from headwater.catalog.pin import read_items
from headwater.errors import InputError, WorkError

Item = dict[str, Any]

LARGEST_PAGE = 1000
"""Page size the Planetary Computer allows."""
_OPEN_TIMEOUT_S = (5.0, 8.0)
_SEARCH_TIMEOUT_S = (5.0, 60.0)
"""Searches of the Planetary Computer now and then take half a minute."""
_PAGES_WITHOUT_NEWS = 5
"""A server that repeats itself this often will do so for ever."""
_QUERY_CONFORMANCE = "item-search#query"


@dataclass(frozen=True)
class Query:
    """What is asked of a catalogue."""

    collection: str
    box: Box
    """West, south, east, north in degrees; west > east crosses the antimeridian."""
    interval: Interval | None = None
    """None asks for any time."""
    below: Mapping[str, float] = field(default_factory=dict)
    """Properties and the value each must not exceed; an item without the property passes where the catalogue allows."""


class Provider(Protocol):
    """A catalogue that can be asked."""

    def search(self, query: Query) -> Iterator[Item]:
        """Give the items of one collection that touch a box (which does not cross the antimeridian)."""
        ...


def make_provider(url: str, *, page_limit: int = 250) -> Provider:
    """Return the provider of an address: http(s) is a STAC API, a folder or a .parquet file holds items.

    Raises
    ------
    InputError
        The address is none of these, or the page size is out of range.
    """
    if not 1 <= page_limit <= LARGEST_PAGE:
        raise InputError(
            f"The page size {page_limit} is not between 1 and {LARGEST_PAGE}.",
            "Take 250, the default.",
        )
    if urlsplit(url).scheme in ("http", "https"):
        return StacApi(url, page_limit=page_limit)
    path = Path(url)
    if path.is_dir() and (path / "stac").is_dir():
        return ItemFolder(path)
    if path.suffix == ".parquet" and path.is_file():
        return ItemTable(path)
    raise InputError(
        f"The catalogue {url} is neither an http(s) address, nor a folder with a folder 'stac', nor a .parquet file.",
        "Set catalog.url to one of these.",
    )


def find_items(provider: Provider, query: Query) -> list[Item]:
    """Ask for a box that may cross the antimeridian, and return each item once, sorted by id.

    Raises
    ------
    WorkError
        The catalogue does not answer or answers nonsense.
    """
    found: dict[str, Item] = {}
    for part in split_box(query.box):
        for item in provider.search(replace(query, box=part)):
            found.setdefault(item["id"], item)
    return [found[name] for name in sorted(found)]


class StacApi:
    """A STAC API, asked through pystac-client with bounded time, retries with backoff and jitter."""

    def __init__(self, url: str, *, page_limit: int = 250) -> None:
        self._url = url
        self._page_limit = page_limit
        self._client: Any = None

    def search(self, query: Query) -> Iterator[Item]:
        """Give the items page by page; pages repeat items now and then (pitfalls: PlanetaryComputer#163)."""
        from pystac_client.exceptions import APIError

        client = self._opened()
        words: dict[str, Any] = {
            "collections": [query.collection],
            "bbox": list(query.box),
            "limit": self._page_limit,
        }
        if query.interval is not None:
            words["datetime"] = str(query.interval)
        if query.below and any(_QUERY_CONFORMANCE in word for word in client.get_conforms_to()):
            words["query"] = {name: {"lte": value} for name, value in query.below.items()}
        seen: set[str] = set()
        stale = 0
        try:
            for page in client.search(**words).pages_as_dicts():
                before = len(seen)
                for item in page["features"]:
                    if _is_item(item, query.collection) and item["id"] not in seen:
                        seen.add(item["id"])
                        if _within(item, query.below):
                            yield item
                stale = 0 if len(seen) > before else stale + 1
                if stale == _PAGES_WITHOUT_NEWS:
                    raise WorkError(
                        f"The catalogue {self._url} repeats the same page of {query.collection} without end.",
                        "Set catalog.url to another endpoint, or try again later.",
                    )
        except APIError as error:
            if getattr(error, "status_code", None) == 404:
                return  # a collection that the catalogue does not have
            raise self._failed(error) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._failed(error) from None

    def _opened(self) -> Any:
        """Return the client, opened once: a short patience for the landing page, a longer one for searches."""
        if self._client is not None:
            return self._client
        import pystac
        from pystac_client import Client
        from pystac_client.errors import ClientTypeError
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO
        from requests.adapters import HTTPAdapter

        # Client.open sets the timeout of `stac_io` anew: given to the latter alone, it would wait for ever.
        stac_io = StacApiIO(max_retries=_retries(2))
        try:
            client = Client.open(self._url, stac_io=stac_io, timeout=_OPEN_TIMEOUT_S)
        except APIError as error:
            raise self._failed(error) from None
        except (pystac.STACError, ClientTypeError, ValueError, KeyError, TypeError, AttributeError):
            raise WorkError(
                f"{self._url} answers, but not as a STAC API.", "Set catalog.url to the API's landing page."
            ) from None
        stac_io.update(timeout=_SEARCH_TIMEOUT_S)
        for scheme in ("http://", "https://"):
            stac_io.session.mount(scheme, HTTPAdapter(max_retries=_retries(4)))
        self._client = client
        return client

    def _failed(self, error: Exception) -> WorkError:
        text = " ".join(str(error).split())
        if "Max retries" in text or "Connection" in text or "timed out" in text or not text:
            return WorkError(
                f"The catalogue {self._url} cannot be reached.",
                "Check catalog.url and the network, or set another endpoint, and run again.",
            )
        return WorkError(
            f"The catalogue {self._url} refused the search: {text[:300]}.",
            "Check the query in the configuration, or try again later.",
        )


class ItemFolder:
    """A folder DIR with items in DIR/stac/<collection>/*.json, whose relative addresses start at DIR."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def search(self, query: Query) -> Iterator[Item]:
        """Give the items of the folder that answer the query."""
        for path in sorted((self._folder / "stac" / query.collection).glob("*.json")):
            item = read_item(path)
            if _answers(item, query):
                yield with_absolute_paths(item, self._folder)


class ItemTable:
    """A STAC GeoParquet file, whose relative addresses start at its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def search(self, query: Query) -> Iterator[Item]:
        """Give the items of the table that answer the query."""
        for item in read_items(self._path):
            if item.get("collection") == query.collection and _answers(item, query):
                yield with_absolute_paths(item, self._path.parent)


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
    if not isinstance(item, dict) or not _is_item(item, item.get("collection")):
        raise InputError(f"{path} is not a STAC item.", "Remove it or write it again.")
    return item


def with_absolute_paths(item: Item, folder: Path) -> Item:
    """Return the item with asset addresses that are relative paths made absolute ones under `folder`."""
    assets = {}
    for key, asset in item["assets"].items():
        href = asset.get("href", "")
        if "://" not in href and not href.startswith("/vsi"):
            href = os.path.abspath(folder / href)  # noqa: PTH100 - resolve() would follow links
        assets[key] = {**asset, "href": href}
    return {**item, "assets": assets}


def say(text: str) -> None:
    """Tell the user something that does not stop the work."""
    print(f"headwater: {text}", file=sys.stderr, flush=True)


def _answers(item: Item, query: Query) -> bool:
    return (
        _within(item, query.below)
        and (query.interval is None or matches_time(item, query.interval))
        # An item without geometry is handed on: the search step counts and tells what it leaves out.
        and (item.get("geometry") is None or matches_box(item, query.box))
    )


def _within(item: Item, below: Mapping[str, float]) -> bool:
    """Whether no named property exceeds its limit; a missing one does not."""
    told = {name: {"lte": limit} for name, limit in below.items() if item["properties"].get(name) is not None}
    return matches_query(item, told)


def _is_item(item: object, collection: object) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("id"), str)
        and isinstance(collection, str)
        and item.get("collection") == collection
        and isinstance(item.get("properties"), dict)
        and isinstance(item.get("assets"), dict)
    )


def _retries(total: int) -> Any:
    from urllib3 import Retry

    return Retry(
        total=total,
        backoff_factor=0.7,
        backoff_jitter=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,  # a search by POST changes nothing, so it may be repeated
        respect_retry_after_header=False,  # a server may ask for an hour; the wait is ours to bound
    )
