"""The registry of providers, kinds of catalog behind one interface, and the choice of one by its address.

A provider is one class in one file with the methods of `headwater.stac.query.Provider` and those of `ProviderKind`.
Other packages register theirs in the entry point group "headwater.providers".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from headwater.core.errors import InputError
from headwater.core.plugins import Registry
from headwater.geo.longitudes import split_box
from headwater.stac.query import Item, Provider, Query, RequestLimits
from headwater.stac.settings import PAGE_LIMIT, PATIENCE_S, REQUEST_TIMEOUT_S

MAX_PAGE_ITEMS = 1000
"""Page size that the Planetary Computer allows."""


class ProviderKind(Protocol):
    """A class of providers."""

    def recognizes(self, url: str) -> bool:
        """Whether an address is one of this kind; sends no request."""
        ...

    def open(self, url: str, limits: RequestLimits) -> Provider:
        """Return the provider of an address."""
        ...


PROVIDERS: Registry[ProviderKind] = Registry(
    "provider",
    group="headwater.providers",
    builtin={
        "api": "headwater.stac.stac_api:StacApi",
        "folder": "headwater.stac.item_folder:ItemFolder",
        "table": "headwater.stac.item_table:ItemTable",
    },
)
"""Kinds of catalog; the first one that recognizes an address is used."""


def make_provider(
    url: str,
    *,
    page_limit: int = PAGE_LIMIT,
    timeout_s: float = REQUEST_TIMEOUT_S,
    patience_s: float = PATIENCE_S,
    connections: int = 1,
    hosts: tuple[str, ...] = (),
) -> Provider:
    """Return the provider of an address.

    Parameters
    ----------
    url : str
        http(s) is a STAC API; a folder with a folder `stac` contains items; a .parquet file, or a folder with some, is
        STAC GeoParquet. Registered providers may recognize other addresses.
    page_limit : int
        Items per page, for an API.
    timeout_s : float
        Seconds that one request may take, for an API.
    patience_s : float
        Seconds that a failed request is repeated, for an API.
    connections : int
        Threads that send requests at the same time, for an API.
    hosts : tuple of str
        Further hosts that an API may lead to.

    Raises
    ------
    InputError
        No provider recognizes the address, or a number is out of range.
    """
    if not 1 <= page_limit <= MAX_PAGE_ITEMS:
        raise InputError(
            f"The page size {page_limit} is not between 1 and {MAX_PAGE_ITEMS}.",
            f"Use {PAGE_LIMIT}, the default.",
        )
    if not timeout_s > 0:
        raise InputError(f"The time limit of a request is {timeout_s} s.", "Set search.timeout_s above 0.")
    limits = RequestLimits(page_limit, timeout_s, patience_s, connections, hosts)
    unusable = ""
    for name in PROVIDERS.names():
        try:
            kind = PROVIDERS.load(name)
        except InputError as error:  # a broken plugin leaves the others usable
            unusable += f" {error.cause}"
            continue
        if url and kind.recognizes(url):
            return kind.open(url, limits)
    raise InputError(
        f"The catalog {url} is neither an http(s) address, nor a folder with a folder 'stac', nor a .parquet file "
        f"or a folder with some.{unusable}",
        "Set catalog.url to one of these.",
    )


def find_items(provider: Provider, query: Query) -> list[Item]:
    """Query a box that may cross the antimeridian, and return each item once, sorted by id.

    Keeps all items in memory; `headwater.imagery.search` does not.

    Raises
    ------
    WorkError
        The catalog does not answer, or its answer is not valid.
    """
    found: dict[str, Item] = {}
    for part in split_box(query.box):
        for page in provider.pages(replace(query, box=part)):
            for item in page.items:
                found.setdefault(item["id"], item)
    return [found[name] for name in sorted(found)]
