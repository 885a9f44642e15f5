from collections.abc import Sequence
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from headwater.core.addresses import host_of
from headwater.core.errors import WorkError
from headwater.stac import session
from headwater.stac import stac_api as api_module
from headwater.stac.intervals import parse_interval
from headwater.stac.query import Link, Page, Query, StalePageToken
from headwater.stac.stac_api import StacApi
from support.scripted_api import CORE, CQL2, Body, made_item, paged, scripted_api

S2 = "sentinel-2-l2a"
QUERY = Query(S2, (15, 46, 16, 47), parse_interval("2023-06"), below={"eo:cloud_cover": 50})
ITEMS = [
    made_item("clear", **{"eo:cloud_cover": 10}),
    made_item("cloudy", **{"eo:cloud_cover": 80}),
    made_item("no-clouds"),
    *(made_item(f"more{number}", f"2023-06-{number + 11}") for number in range(4)),
]
WANTED = {item["id"] for item in ITEMS} - {"cloudy"}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_WAIT_S", 0.02)


def ids(pages: Sequence[Page]) -> set[str]:
    return {item["id"] for page in pages for item in page.items}


def test_links_of_posts_are_followed_and_other_items_are_left_out() -> None:
    with scripted_api(paged(ITEMS, size=3)) as script:
        pages = list(StacApi(script.url).pages(QUERY))
    assert ids(pages) == WANTED
    assert [page.matched for page in pages] == [7, 7, 7]
    assert [page.left_out for page in pages] == [[("cloudy", "")], [], []]
    assert [body.get("token") for body in script.asked] == [None, 3, 6]
    assert script.asked[0]["datetime"] == "2023-06-01T00:00:00Z/2023-06-30T23:59:59.999999Z"


def test_links_of_gets_are_followed() -> None:
    def answer(body: Body) -> dict[str, Any]:
        start = int(body.get("token", 0))
        links = [{"rel": "next", "href": f"search?token={start + 3}"}] if start < 6 else []
        return {"features": ITEMS[start : start + 3], "links": links}

    with scripted_api(answer, methods=["GET"]) as script:
        assert ids(list(StacApi(script.url).pages(QUERY))) == WANTED
    assert script.asked[0]["collections"] == S2
    assert [body.get("token") for body in script.asked] == [None, "3", "6"]


def test_a_link_that_merges_adds_to_the_request() -> None:
    def answer(body: Body) -> dict[str, Any]:
        after = {"rel": "next", "href": "search", "method": "POST", "merge": True, "body": {"token": "x"}}
        return {"features": ITEMS[5:], "links": []} if "token" in body else {"features": ITEMS[:5], "links": [after]}

    with scripted_api(answer) as script:
        assert ids(list(StacApi(script.url).pages(QUERY))) == WANTED
    assert script.asked[1] == {**script.asked[0], "token": "x"}


def test_an_answer_resumes_from_any_page() -> None:
    with scripted_api(paged(ITEMS, size=3)) as script:
        first = next(StacApi(script.url).pages(QUERY))
        rest = list(StacApi(script.url).pages(QUERY, first.next))
    assert ids([first, *rest]) == WANTED
    assert [body.get("token") for body in script.asked] == [None, 3, 6]


@pytest.mark.parametrize("status", [400, 404, 410, 500])
def test_a_refused_link_is_distinguished_from_other_errors(status: int) -> None:
    with scripted_api(lambda body: Response("{}", status)) as script, pytest.raises(StalePageToken):
        list(StacApi(script.url).pages(QUERY, {"rel": "next", "href": f"{script.url}search", "method": "POST"}))


def test_the_server_filters_clouds_if_it_can_keep_items_without_cloud_cover() -> None:
    def answer(body: Body) -> dict[str, Any] | Response:
        if "filter" in body and refuse:
            return Response('{"description": "no filters today"}', 400)
        return {"features": ITEMS, "links": []}

    for refuse in (False, True):
        with scripted_api(answer, conformance=CQL2) as script:
            pages = list(StacApi(script.url).pages(QUERY))
        assert ids(pages) == WANTED
        assert script.asked[0]["filter-lang"] == "cql2-json"
        assert script.asked[0]["filter"]["op"] == "or"
        assert len(script.asked) == 1 + refuse
        assert ("filter" in script.asked[-1]) is not refuse
    with scripted_api(answer, conformance=CORE) as script:
        list(StacApi(script.url).pages(QUERY))
    assert "filter" not in script.asked[0]


def test_an_empty_page_is_not_the_end() -> None:
    def answer(body: Body) -> dict[str, Any]:
        start = int(body.get("token", 0))
        link = {"rel": "next", "href": "search", "method": "POST", "body": {"token": start + 1}}
        return {"features": ITEMS if start == 3 else [], "links": [link] if start < 3 else []}

    with scripted_api(answer) as script:
        assert ids(list(StacApi(script.url).pages(QUERY))) == WANTED


def test_pages_without_end_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "MAX_PAGES", 20)

    def answer(body: Body) -> dict[str, Any]:
        number = int(body.get("token", 0)) + 1
        link = {"rel": "next", "href": "search", "method": "POST", "body": {"token": number}}
        return {"features": [made_item(f"item{number}")], "links": [link]}

    with scripted_api(answer) as script, pytest.raises(WorkError, match="20 pages"):
        list(StacApi(script.url).pages(QUERY))
    assert len(script.asked) <= 21


@pytest.mark.parametrize(
    "link", [{"href": "file:///etc/passwd"}, {"href": "ftp://x.test/"}, {"href": 3}, {}, {"href": "http://[x"}]
)
def test_links_to_other_than_web_addresses_are_refused(link: Link) -> None:
    reply = {"features": ITEMS, "links": [{"rel": "next", **link}]}
    with scripted_api(lambda body: reply) as script, pytest.raises(WorkError, match=r"refused.*next page"):
        list(StacApi(script.url).pages(QUERY))


@pytest.mark.parametrize("links", [None, 3, [None, "next", {"rel": "self"}]])
def test_links_of_a_wrong_type_are_ignored(links: Any) -> None:
    with scripted_api(lambda body: {"features": ITEMS, "links": links}) as script:
        assert ids(list(StacApi(script.url).pages(QUERY))) == WANTED


@pytest.mark.parametrize("features", [None, 3, {}, "none"])
def test_an_answer_that_is_not_a_page_is_reported(features: Any) -> None:
    with scripted_api(lambda body: {"features": features}) as script, pytest.raises(WorkError, match="not a page"):
        list(StacApi(script.url).pages(QUERY))


def test_items_of_other_times_and_collections_are_left_out() -> None:
    strange = [made_item("late", "2023-07-01"), made_item("other") | {"collection": "landsat"}, 3, made_item("a/b")]
    with scripted_api(lambda body: {"features": [*ITEMS, *strange]}) as script:
        (page,) = StacApi(script.url).pages(QUERY)
    assert ids([page]) == WANTED
    assert page.left_out[1:] == [
        ("late", ""),
        ("other", "the requested collection"),
        ("", "the form of a STAC item"),
        ("a/b", "an id that can name a file"),
    ]


def test_user_and_password_are_not_in_messages() -> None:
    with scripted_api(lambda body: Response("{}", 400)) as script:
        url = script.url.replace("http://", "http://user:word@")
        with pytest.raises(WorkError) as error:
            list(StacApi(url).pages(QUERY))
    assert "word" not in str(error.value)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_loses_the_query_is_refused_with_the_address(status: int) -> None:
    """A POST becomes a GET of everything (pystac-client#801)."""
    with (
        scripted_api(paged([made_item("elsewhere")])) as there,
        scripted_api(lambda _: Response("", status, headers={"Location": f"{there.url}search?key=SECRET"})) as script,
    ):
        with pytest.raises(WorkError, match=rf"redirects searches to {there.url}search in a way") as caught:
            list(StacApi(script.url, hosts=(host_of(there.url),)).pages(QUERY))
        assert "SECRET" not in str(caught.value)
        assert "catalog.url" in caught.value.remedy


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_query_is_followed(status: int) -> None:
    items = [made_item("a"), made_item("b")]
    with (
        scripted_api(paged(items)) as there,
        scripted_api(lambda _: Response("", status, headers={"Location": f"{there.url}search"})) as script,
    ):
        assert ids(list(StacApi(script.url, hosts=(host_of(there.url),)).pages(QUERY))) == {"a", "b"}
        assert there.asked[0]["bbox"]


@pytest.mark.parametrize("way", ["redirect", "next"])
def test_a_catalog_leads_to_no_other_host(way: str) -> None:
    """Not by a redirect, nor by the link to its next page: a host that is not listed gets no request."""
    with scripted_api(paged([made_item("elsewhere")])) as there:
        leads = [{"rel": "next", "href": f"{there.url}search", "method": "GET"}]
        page = {"type": "FeatureCollection", "features": [], "links": leads}
        answers = {
            "redirect": lambda _: Response("", 307, headers={"Location": f"{there.url}search"}),
            "next": lambda _: JSONResponse(page),
        }
        with (
            scripted_api(answers[way]) as script,
            pytest.raises(WorkError, match=rf"leads to another host, {there.url}search.*catalog\.hosts"),
        ):
            list(StacApi(script.url).pages(QUERY))
        assert not there.asked


def test_a_catalog_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also its landing page: nothing listens at first."""
    monkeypatch.setattr(session, "MAX_WAIT_S", 0.05)
    with scripted_api(paged([made_item("a")])) as script:
        url = script.url
        failures = iter(range(12))
        original = session.RetryingStacIO._send

        def failing(self: Any, *arguments: Any) -> str:
            if next(failures, None) is not None:
                raise session.TransientError("the connection failed")
            return original(self, *arguments)

        monkeypatch.setattr(session.RetryingStacIO, "_send", failing)
        assert ids(list(StacApi(url).pages(QUERY))) == {"a"}
