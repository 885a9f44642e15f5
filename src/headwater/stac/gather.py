"""Asking a catalogue for all slices of a search, a few at once, each page kept as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event

from headwater.core.errors import NetworkError
from headwater.core.progress import progress
from headwater.stac.pages import PageStore, SlicePages
from headwater.stac.query import LostPlace, Provider, Query

MOST_ASKED = 3
"""Times a slice is asked for from its beginning."""


def gather(
    provider: Provider, address: str, queries: Sequence[Query], store: PageStore, *, workers: int
) -> list[SlicePages]:
    """Ask for every query whose answer is not in the store already, and return the pages of all.

    Parameters
    ----------
    provider : Provider
        Catalogue.
    address : str
        Its address, part of what the store keeps answers by.
    queries : sequence of Query
        Slices of one search.
    store : PageStore
        Where pages are kept.
    workers : int
        Slices asked for at once.

    Raises
    ------
    WorkError
        The catalogue does not answer, answers nonsense, or gives fewer items than it says it has.
    """
    slices = [store.slice(address, query) for query in queries]
    stop = Event()
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_fetch, provider, *pair, stop) for pair in zip(queries, slices, strict=True)]
        try:
            for future in progress(as_completed(futures), description="search, parts asked", total=len(futures)):
                future.result()
        except BaseException:
            # A request under way runs to its end, nothing else is begun.
            stop.set()
            provider.give_up()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return slices


def _fetch(provider: Provider, query: Query, pages: SlicePages, stop: Event) -> None:
    """Bring one slice to its end, from wherever it stands."""
    if provider.remote:
        pages.load()
    else:
        pages.clear()  # files may have changed since, and are read in no time
    asked = pages.headers[-1].asked if pages.headers else 0
    if asked and _follow(provider, query, pages, asked, stop) and pages.missing <= 0:
        return
    for number in range(asked + 1, MOST_ASKED + 1):
        # Items that the catalogue gave before count too: pages that repeat some may leave out others.
        if not stop.is_set() and _follow(provider, query, pages, number, stop, anew=True) and pages.missing <= 0:
            return
    if stop.is_set():
        return
    short, refused = pages.missing, not pages.headers
    pages.clear()
    if refused:
        raise NetworkError(
            f"The catalogue refuses its own links to the next pages of {query.collection} {_when(query)}.",
            "Try again later, or set another endpoint in catalog.url.",
        )
    raise NetworkError(
        f"The catalogue gives {short} item(s) of {query.collection} {_when(query)} fewer than it says it has.",
        "Lower search.slice_days, or set another endpoint in catalog.url.",
    )


def _follow(
    provider: Provider, query: Query, pages: SlicePages, asked: int, stop: Event, *, anew: bool = False
) -> bool:
    """Add pages to the last one; tells whether that led to the end, and forgets all where the catalogue lost track."""
    after = None if anew else pages.headers[-1].next
    if after is None and not anew:
        return True
    try:
        for page in provider.pages(query, after):
            if stop.is_set():
                return False
            pages.add(page, asked=asked)
    except LostPlace:
        pages.clear()
        return False
    return True


def _when(query: Query) -> str:
    return f"in {query.interval}" if query.interval else "of any time"
