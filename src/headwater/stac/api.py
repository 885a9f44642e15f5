"""A STAC API as a catalogue, asked through pystac-client."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from headwater.core.errors import NetworkError, WorkError
from headwater.stac.pins import pinned_item
from headwater.stac.query import Item, Link, LostPlace, Page, Query, answers_but_place
from headwater.stac.validation import is_web_address, shown, shown_address, what_lacks

if TYPE_CHECKING:
    from headwater.stac.session import PatientIO

TIMEOUT_S = 60.0
"""Searches of the Planetary Computer now and then take half a minute."""
TRIES, PATIENCE_S = 10, 300.0
"""Of one page: so many requests, none of them begun later than so many seconds after the first."""
MOST_PAGES = 4000
"""Of one answer: a million items in pages of 250."""
_OPENING_TIMEOUT_S, _OPENING_TRIES, _OPENING_PATIENCE_S = 8.0, 4, 30.0
"""The landing page comes at once, or the service is down."""
_PAGES_WITHOUT_NEWS = 5
"""A server that repeats itself this often will do so for ever."""
_IDS_AT_ONCE = 50
"""They may have to fit into an address."""
_UNKNOWN_LINK = (400, 404, 410, 422, 424, 500)
"""What servers say to a link that is too old; a token that they cannot read may well be an internal error to them."""
_FILTERS = ("item-search#filter", "cql2-json")


class StacApi:
    """A STAC API, asked with bounded time, retries with backoff and jitter; threads may share it.

    Parameters
    ----------
    url : str
        Landing page.
    page_limit : int
        Items a page.
    timeout_s : float
        Seconds that one request may take.
    connections : int
        Threads that ask at once.
    """

    remote = True

    def __init__(self, url: str, *, page_limit: int = 250, timeout_s: float = TIMEOUT_S, connections: int = 1) -> None:
        self._url = url
        self._shown = shown_address(url)
        self._page_limit = page_limit
        self._timeout_s = timeout_s
        self._connections = connections
        self._lock = threading.Lock()
        self._client: Any = None
        self._search_url = url
        self._io: PatientIO
        self._method = "POST"
        self._filters = True

    def pages(self, query: Query, after: Link | None = None) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        words: dict[str, Any] = {"collections": [query.collection], "bbox": list(query.box)}
        if query.interval is not None:
            words["datetime"] = str(query.interval)
        return self._pages(words, query, after)

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        world = Query(collection, (-180.0, -90.0, 180.0, 90.0))
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = list(ids[start : start + _IDS_AT_ONCE])
            yield from self._pages({"collections": [collection], "ids": some}, world, None)

    def give_up(self) -> None:
        """Let no thread wait for another try."""
        if self._client is not None:
            self._io.given_up.set()

    def _pages(self, words: dict[str, Any], query: Query, after: Link | None) -> Iterator[Page]:
        from headwater.stac.session import Refused, Stumbled

        client = self._opened()
        seen: set[str] = set()
        stale = 0
        try:
            if after is None:
                reply, parameters = self._first(client, words, query)
            else:
                parameters = self._asked(client, words, query).get_parameters()
                reply = self._next(after, parameters)
            for _ in range(MOST_PAGES):
                page = self._page(reply, query)
                yield page
                if page.next is None:
                    return
                before = len(seen)
                seen |= {item["id"] for item in page.items} | {name for name, _ in page.left_out}
                stale = 0 if len(seen) > before else stale + 1
                if stale == _PAGES_WITHOUT_NEWS:
                    raise self._endless(query, "repeats the same page")
                reply = self._next(page.next, parameters)
        except Stumbled as error:
            raise self._unreachable(error) from None
        except Refused as error:
            if after is None and not seen and error.status == 404:
                yield Page([])  # a collection that the catalogue does not have
                return
            raise NetworkError(
                f"The catalogue {self._shown} refused the search: {error}.",
                "Check the query in the configuration, or try again later.",
            ) from None
        raise self._endless(query, f"gives more than {MOST_PAGES} pages")

    def _first(self, client: Any, words: dict[str, Any], query: Query) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the first page, and what was sent for it; goes on without what the server turns out not to take."""
        from headwater.stac.session import Refused

        while True:
            search = self._asked(client, words, query)
            parameters = search.get_parameters()
            try:
                return self._io.page(search.url, search.method, parameters), parameters
            except Refused as error:
                if "filter" not in parameters or error.status not in (400, 422, 501):
                    raise
                self._filters = False

    def _asked(self, client: Any, words: dict[str, Any], query: Query) -> Any:
        """Return the search as pystac-client words it."""
        more: dict[str, Any] = {}
        if query.below and self._method == "POST" and self._filters and _takes_filters(client):
            # The older `query` would leave out items that do not tell the property.
            tests = [_at_most(name, limit) for name, limit in query.below.items()]
            more = {"filter": {"op": "and", "args": tests} if len(tests) > 1 else tests[0], "filter_lang": "cql2-json"}
        search = client.search(**words, **more, limit=self._page_limit, method=self._method)
        self._search_url = str(search.url)
        return search

    def _next(self, link: Link, parameters: dict[str, Any]) -> dict[str, Any]:
        from headwater.stac.session import Refused, Stumbled

        try:
            return self._io.next_page(link, parameters)
        except (Refused, Stumbled) as error:
            if error.status in _UNKNOWN_LINK:
                raise LostPlace(str(error)) from None
            raise

    def _page(self, reply: dict[str, Any], query: Query) -> Page:
        from headwater.stac.session import Refused

        features = reply.get("features")
        if not isinstance(features, list):
            raise Refused("the answer is not a page of items")
        items: list[Item] = []
        left_out = []
        for feature in features:
            lack = what_lacks(feature, query.collection)
            if lack is None:
                item = pinned_item(feature)
                if answers_but_place(item, query):
                    items.append(item)
                    continue
            left_out.append((shown(feature.get("id") if isinstance(feature, dict) else None), lack or ""))
        return Page(items, left_out, self._next_link(reply), _matched(reply))

    def _next_link(self, reply: dict[str, Any]) -> Link | None:
        """Return the link to the next page, only what is known of links and of the right types; or None."""
        from headwater.stac.session import Refused

        links = reply.get("links")
        link = next(
            (link for link in links if isinstance(link, dict) and link.get("rel") == "next")
            if isinstance(links, list)
            else iter(()),
            None,
        )
        if link is None:
            return None
        try:
            href = urljoin(self._search_url, link["href"]) if isinstance(link.get("href"), str) else ""
        except ValueError:
            href = ""
        if not is_web_address(href):
            raise Refused("its link to the next page is not an http(s) address")
        body, headers = link.get("body"), link.get("headers")
        method = "POST" if str(link.get("method")).upper() == "POST" else "GET"
        kept: Link = {"rel": "next", "href": href, "method": method}
        if isinstance(body, dict):
            kept |= {"body": body, "merge": link.get("merge") is True}
        if isinstance(headers, dict):
            kept["headers"] = {str(name): str(value) for name, value in headers.items()}
        return kept

    def _opened(self) -> Any:
        """Return the client, opened once: a short patience for the landing page, a longer one for searches."""
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> Any:
        import pystac
        from pystac_client import Client
        from pystac_client.errors import ClientTypeError
        from pystac_client.warnings import DoesNotConformTo

        from headwater.stac.session import PatientIO, Refused, Stumbled

        self._io = PatientIO(
            timeout_s=min(_OPENING_TIMEOUT_S, self._timeout_s),
            tries=_OPENING_TRIES,
            patience_s=_OPENING_PATIENCE_S,
            connections=self._connections,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                client = Client.open(self._url, stac_io=self._io)
                client.search(collections=[], limit=1)  # asks nothing, but raises where there is no search
        except Stumbled as error:
            raise self._unreachable(error) from None
        except (
            Refused, pystac.STACError, ClientTypeError, DoesNotConformTo, NotImplementedError,
            ValueError, KeyError, TypeError, AttributeError,
        ):  # fmt: skip
            raise NetworkError(
                f"{self._shown} answers, but not as a STAC API.", "Set catalog.url to the API's landing page."
            ) from None
        methods = {link.extra_fields.get("method", "GET") for link in client.get_links("search")}
        self._method = "POST" if "POST" in methods else "GET"
        self._io.timeout_s, self._io.tries, self._io.patience_s = self._timeout_s, TRIES, PATIENCE_S
        return client

    def _unreachable(self, error: Exception) -> WorkError:
        return NetworkError(
            f"The catalogue {self._shown} cannot be reached ({error}).",
            "Check catalog.url and the network, or set another endpoint, and run again.",
        )

    def _endless(self, query: Query, does: str) -> WorkError:
        return NetworkError(
            f"The catalogue {self._shown} {does} of {query.collection}, without end.",
            "Set catalog.url to another endpoint, or try again later.",
        )


def _takes_filters(client: Any) -> bool:
    conformance = [str(word) for word in client.get_conforms_to()]
    return all(any(needed in word for word in conformance) for needed in _FILTERS)


def _at_most(name: str, limit: float) -> dict[str, Any]:
    """Return the test, in CQL2 JSON, that a property is at most a number or is not told."""
    told = {"property": name}
    return {"op": "or", "args": [{"op": "<=", "args": [told, limit]}, {"op": "isNull", "args": [told]}]}


def _matched(reply: dict[str, Any]) -> int | None:
    context = reply.get("context")
    for value in (reply.get("numberMatched"), context.get("matched") if isinstance(context, dict) else None):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
