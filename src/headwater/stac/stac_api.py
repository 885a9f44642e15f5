"""A STAC API as a catalog, queried through pystac-client."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.stac.hosts import may_lead_to
from headwater.stac.pinned_items import pinned_item
from headwater.stac.query import (
    WORLD,
    CatalogUnreachable,
    Item,
    Link,
    Page,
    Query,
    RequestLimits,
    StalePageToken,
    matches_time_and_properties,
)
from headwater.stac.settings import PAGE_LIMIT, PATIENCE_S, REQUEST_TIMEOUT_S
from headwater.stac.validation import is_web_address, item_defect, public_address, sanitize_for_log

if TYPE_CHECKING:
    from headwater.stac.session import Refused, RetryingStacIO

MAX_PAGES = 4000
"""Pages of one answer: a million items in pages of 250."""
_OPENING_TIMEOUT_S = 8.0
"""The landing page is served at once."""
_MAX_REPEATED_PAGES = 5
"""A server that repeats itself this often will not stop."""
_MAX_LINK_CHARS = 100_000
_MAX_MATCHED = 10**12
_IDS_PER_REQUEST = 50
"""They may have to fit into an address."""
_STALE_LINK_STATUSES = (400, 404, 410, 422, 424, 500)
"""How servers answer a link that is too old; a token that they cannot read may cause an internal error."""
_LOGIN_STATUSES = (401, 403, 407)
_FILTER_REFUSED_STATUSES = (400, 422, 501)
_FILTER_CONFORMANCE = ("item-search#filter", "cql2-json")


class StacApi:
    """A STAC API, queried in bounded time, with retries; threads may share it.

    Parameters
    ----------
    url : str
        Landing page.
    page_limit : int
        Items per page.
    timeout_s : float
        Seconds that one request may take.
    patience_s : float
        Seconds that a failed request is repeated.
    connections : int
        Threads that send requests at the same time.
    hosts : tuple of str
        Further hosts that it may lead to: for its search, its next pages and after redirects.
    """

    remote = True

    def __init__(
        self,
        url: str,
        *,
        page_limit: int = PAGE_LIMIT,
        timeout_s: float = REQUEST_TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        connections: int = 1,
        hosts: tuple[str, ...] = (),
    ) -> None:
        self._url = url
        self._public_url = public_address(url)
        self._page_limit = page_limit
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._connections = connections
        self._hosts = hosts
        self._lock = threading.Lock()
        self._client: Any = None
        self._search_url = url
        self._io: RetryingStacIO
        self._method = "POST"
        self._filters = True

    @staticmethod
    def recognizes(url: str) -> bool:
        """Whether an address is http(s)."""
        return url.startswith(("http://", "https://"))

    @classmethod
    def open(cls, url: str, limits: RequestLimits) -> StacApi:
        """Return the API at an address; no request is sent yet.

        Raises
        ------
        InputError
            The address is not valid.
        """
        try:
            urlsplit(url)
        except ValueError:
            raise InputError(f"The catalog {url} is not a valid address.", "Set catalog.url to a STAC API.") from None
        return cls(
            url,
            page_limit=limits.page_limit,
            timeout_s=limits.timeout_s,
            patience_s=limits.patience_s,
            connections=limits.connections,
            hosts=limits.hosts,
        )

    def pages(self, query: Query, after: Link | None = None) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        params: dict[str, Any] = {"collections": [query.collection], "bbox": list(query.box)}
        if query.interval is not None:
            params["datetime"] = str(query.interval)
        return self._pages(params, query, after)

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        query = Query(collection, WORLD)
        for start in range(0, len(ids), _IDS_PER_REQUEST):
            some = list(ids[start : start + _IDS_PER_REQUEST])
            yield from self._pages({"collections": [collection], "ids": some}, query, None)

    def give_up(self) -> None:
        """See `headwater.stac.query.Provider`."""
        if self._client is not None:
            self._io.cancelled.set()

    def _pages(self, params: dict[str, Any], query: Query, after: Link | None) -> Iterator[Page]:
        """Yield all pages of an answer, or those after a link; errors of the session become errors for the user."""
        from headwater.stac.session import Refused, TransientError

        try:
            yield from self._follow(params, query, after)
        except TransientError as error:
            raise self._unreachable(error) from None
        except Refused as error:
            if error.moved_to or error.foreign:
                raise self._moved(error) from None
            if after is None and error.status == 404:
                yield Page([])  # the catalog does not have the collection
                return
            remedy = (
                "Set catalog.url to a catalog that needs no login."
                if error.status in _LOGIN_STATUSES
                else "Check the query in the configuration, or try again later."
            )
            raise NetworkError(f"The catalog {self._public_url} refused the search: {error}.", remedy) from None

    def _follow(self, params: dict[str, Any], query: Query, after: Link | None) -> Iterator[Page]:
        """Yield pages from link to link until the last one."""
        client = self._opened()
        if after is None:
            reply, sent = self._first_reply(client, params, query)
        else:
            sent = self._search(client, params, query).get_parameters()
            reply = self._next_reply(after, sent)
        seen: set[str] = set()
        repeated = 0
        for _ in range(MAX_PAGES):
            page = self._page(reply, query)
            yield page
            if page.next is None:
                return
            new = _ids(page) - seen
            seen |= new
            repeated = 0 if new else repeated + 1
            if repeated == _MAX_REPEATED_PAGES:
                raise self._endless(query, "repeats the same page")
            reply = self._next_reply(page.next, sent)
        raise self._endless(query, f"returns more than {MAX_PAGES} pages")

    def _first_reply(self, client: Any, params: dict[str, Any], query: Query) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the first reply and the parameters sent for it; a filter that the server refuses is left out."""
        from headwater.stac.session import Refused

        while True:
            search = self._search(client, params, query)
            sent = search.get_parameters()
            try:
                return self._io.page(search.url, search.method, sent), sent
            except Refused as error:
                if "filter" not in sent or error.status not in _FILTER_REFUSED_STATUSES:
                    raise
                self._filters = False

    def _next_reply(self, link: Link, sent: dict[str, Any]) -> dict[str, Any]:
        """Return the reply that a link leads to.

        Raises
        ------
        StalePageToken
            The server does not know the link any more.
        """
        from headwater.stac.session import Refused, TransientError

        self._check_host(link["href"])
        try:
            return self._io.next_page(link, sent)
        except (Refused, TransientError) as error:
            if error.status in _STALE_LINK_STATUSES:
                raise StalePageToken(str(error)) from None
            raise

    def _search(self, client: Any, params: dict[str, Any], query: Query) -> Any:
        """Return the search as pystac-client builds it."""
        more: dict[str, Any] = {}
        if query.below and self._method == "POST" and self._filters and _supports_filters(client):
            # The older `query` extension would leave out items without the property.
            tests = [_at_most(name, limit) for name, limit in query.below.items()]
            more = {"filter": {"op": "and", "args": tests} if len(tests) > 1 else tests[0], "filter_lang": "cql2-json"}
        search = client.search(**params, **more, limit=self._page_limit, method=self._method)
        self._search_url = str(search.url)
        self._check_host(self._search_url)
        return search

    def _page(self, reply: dict[str, Any], query: Query) -> Page:
        """Return the usable items of a reply, reduced, and the defects of the others."""
        from headwater.stac.session import Refused

        features = reply.get("features")
        if not isinstance(features, list):
            raise Refused("the answer is not a page of items")
        items: list[Item] = []
        left_out = []
        for feature in features:
            defect = item_defect(feature, query.collection)
            if defect is None:
                item = pinned_item(feature)
                if matches_time_and_properties(item, query):
                    items.append(item)
                    continue
            name = sanitize_for_log(feature.get("id") if isinstance(feature, dict) else None)
            left_out.append((name, defect or ""))
        return Page(items, left_out, self._next_link(reply), _matched(reply))

    def _next_link(self, reply: dict[str, Any]) -> Link | None:
        """Return the link to the next page, reduced to known keys of the right types; None at the last page."""
        from headwater.stac.session import Refused

        link = _raw_next_link(reply)
        if link is None:
            return None
        href = self._absolute(link.get("href"))
        if not is_web_address(href):
            raise Refused("its link to the next page is not an http(s) address")
        self._check_host(href)
        method = "POST" if str(link.get("method")).upper() == "POST" else "GET"
        kept: Link = {"rel": "next", "href": href, "method": method}
        if isinstance(body := link.get("body"), dict):
            kept |= {"body": body, "merge": link.get("merge") is True}
        if isinstance(headers := link.get("headers"), dict):
            kept["headers"] = {str(name): str(value) for name, value in headers.items()}
        if not _is_small(kept):
            raise Refused("its link to the next page is too long")
        return kept

    def _check_host(self, address: str) -> None:
        """Refuse an address to which the catalog may not lead."""
        from headwater.stac.session import Refused

        if not may_lead_to(self._url, address, self._hosts):
            raise Refused("it leads to another host", foreign=public_address(address))

    def _absolute(self, href: object) -> str:
        """Return an address relative to the search as an absolute one; "" if it is not an address."""
        if not isinstance(href, str):
            return ""
        try:
            return urljoin(self._search_url, href)
        except ValueError:
            return ""

    def _opened(self) -> Any:
        """Return the client, opened once."""
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> Any:
        """Open the landing page; searches may then take longer."""
        import pystac
        from pystac_client import Client
        from pystac_client.errors import ClientTypeError
        from pystac_client.warnings import DoesNotConformTo

        from headwater.stac.session import Refused, RetryingStacIO, TransientError

        self._io = RetryingStacIO(
            timeout_s=min(_OPENING_TIMEOUT_S, self._timeout_s),
            deadline_s=self._patience_s,
            connections=self._connections,
            hosts=self._hosts,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                client = Client.open(self._url, stac_io=self._io)
                client.search(collections=[], limit=1)  # sends no request, but raises if there is no search
        except TransientError as error:
            raise self._unreachable(error) from None
        except Refused as error:
            if error.moved_to or error.foreign:
                raise self._moved(error) from None
            raise self._not_an_api() from None
        except (
            pystac.STACError, ClientTypeError, DoesNotConformTo, NotImplementedError,
            ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError,
        ):  # fmt: skip
            raise self._not_an_api() from None
        methods = {str(link.extra_fields.get("method", "GET")) for link in client.get_links("search")}
        self._method = "POST" if "POST" in methods else "GET"
        self._io.timeout_s = self._timeout_s
        return client

    def _not_an_api(self) -> WorkError:
        return NetworkError(
            f"{self._public_url} answers, but not as a STAC API.", "Set catalog.url to the API's landing page."
        )

    def _moved(self, error: Refused) -> WorkError:
        if error.foreign:
            return NetworkError(
                f"The catalog {self._public_url} leads to another host, {error.foreign}, which was not asked.",
                "If that host belongs to the catalog, set catalog.url to its landing page there, or add the host to "
                "catalog.hosts.",
            )
        return NetworkError(
            f"The catalog {self._public_url} redirects searches to {error.moved_to} in a way that loses their query.",
            "Set catalog.url to the API's new landing page (https instead of http, another host or path).",
        )

    def _unreachable(self, error: Exception) -> WorkError:
        return CatalogUnreachable(
            f"The catalog {self._public_url} cannot be reached ({error}).",
            "Check catalog.url and the network, or set another endpoint, and run again.",
        )

    def _endless(self, query: Query, does: str) -> WorkError:
        return NetworkError(
            f"The catalog {self._public_url} {does} of {query.collection}, without end.",
            "Set catalog.url to another endpoint, or try again later.",
        )


def _ids(page: Page) -> set[str]:
    return {item["id"] for item in page.items} | {name for name, _ in page.left_out}


def _raw_next_link(reply: Mapping[str, Any]) -> dict[str, Any] | None:
    links = reply.get("links")
    if not isinstance(links, list):
        return None
    return next((link for link in links if isinstance(link, dict) and link.get("rel") == "next"), None)


def _is_small(link: Link) -> bool:
    try:
        return len(json.dumps(link)) <= _MAX_LINK_CHARS
    except (ValueError, RecursionError):
        return False


def _supports_filters(client: Any) -> bool:
    conformance = [str(word) for word in client.get_conforms_to()]
    return all(any(needed in word for word in conformance) for needed in _FILTER_CONFORMANCE)


def _at_most(name: str, limit: float) -> dict[str, Any]:
    """Return the test, in CQL2 JSON, that a property is at most a number or is missing."""
    value = {"property": name}
    return {"op": "or", "args": [{"op": "<=", "args": [value, limit]}, {"op": "isNull", "args": [value]}]}


def _matched(reply: Mapping[str, Any]) -> int | None:
    context = reply.get("context")
    for value in (reply.get("numberMatched"), context.get("matched") if isinstance(context, dict) else None):
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_MATCHED:
            return value
    return None
