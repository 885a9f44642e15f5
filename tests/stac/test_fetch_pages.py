from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from headwater.core.errors import WorkError
from headwater.stac import session
from headwater.stac.intervals import parse_interval, time_slices
from headwater.stac.pages import MAX_ATTEMPTS, PageStore, SlicePages, fetch_pages, read_lines
from headwater.stac.query import Query
from headwater.stac.stac_api import StacApi
from support.scripted_api import Body, Item, Script, made_item, paged, scripted_api

S2 = "sentinel-2-l2a"
BOX = (15, 46, 16, 47)
JUNE = [Query(S2, BOX, part) for part in time_slices([parse_interval("2023-06")], 10)]
ITEMS = [made_item(f"item{day:02d}", f"2023-06-{day:02d}") for day in range(1, 31)]
EVERY = {item["id"] for item in ITEMS}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_WAIT_S", 0.02)


def ids(slices: Sequence[SlicePages]) -> list[str]:
    found = []
    for part in slices:
        for path in part.paths:
            found += [line.split(b'"id":"')[1].split(b'"')[0].decode() for _, line in read_lines(path)]
    return found


def run(script: Script, out: Path, queries: Sequence[Query] = JUNE, *, workers: int = 2) -> list[str]:
    """Fetch pages and return the ids found; the pages stay, as after a kill."""
    with PageStore(out) as store:
        return ids(fetch_pages(StacApi(script.url, page_limit=3), "here", queries, store, workers=workers))


def test_every_slice_is_fetched_once(tmp_path: Path) -> None:
    with scripted_api(paged(ITEMS)) as script:
        assert set(run(script, tmp_path / "o")) == EVERY
        asked = len(script.asked)
        assert asked == sum(-(-count // 3) for count in (10, 10, 10))
        assert set(run(script, tmp_path / "o")) == EVERY
        assert len(script.asked) == asked, "a slice that was there was fetched again"


def test_an_interrupted_search_fetches_only_what_is_missing(tmp_path: Path) -> None:
    """The catalog breaks down in the middle; its earlier pages are kept."""
    good = paged(ITEMS)
    limit = 6

    def answer(body: Body) -> Any:
        return good(body) if len(script.asked) <= limit else Response("{}", 403)

    with scripted_api(answer) as script:
        with pytest.raises(WorkError, match="refused"):
            run(script, tmp_path / "o", workers=1)
        limit = 1000
        before = len(script.asked)
        assert set(run(script, tmp_path / "o")) == EVERY
        # 12 pages in all, 6 of them were there.
        assert len(script.asked) - before == 6


def test_a_stale_link_restarts_its_slice(tmp_path: Path) -> None:
    good = paged(ITEMS)
    known = {"after": 6}

    def answer(body: Body) -> Any:
        if len(script.asked) > known["after"] and "token" in body and body["token"] == 3:
            known["after"] = 1000
            return Response('{"description": "unknown token"}', 400)
        return good(body)

    with scripted_api(answer) as script:
        assert set(run(script, tmp_path / "o", workers=1)) == EVERY
        tokens = [body.get("token") for body in script.asked]
        # Six pages, the first of the third slice or later is stale and fetched again.
        assert tokens.count(None) == 4
        assert len(tokens) == 12 + 2


def test_links_that_never_work_are_reported(tmp_path: Path) -> None:
    good = paged(ITEMS)

    def answer(body: Body) -> Any:
        return Response("{}", 400) if "token" in body else good(body)

    with scripted_api(answer) as script, pytest.raises(WorkError, match="its own links"):
        run(script, tmp_path / "o", JUNE[:1])
    assert len(script.asked) == 2 * MAX_ATTEMPTS


def test_an_answer_that_is_silently_short_is_fetched_again(tmp_path: Path) -> None:
    good = paged(ITEMS)

    def answer(body: Body) -> Any:
        page = dict(good(body))
        if len(script.asked) <= cut:
            page.update(features=page["features"][:2], links=[])
        return page

    cut = 1
    with scripted_api(answer) as script:
        assert set(run(script, tmp_path / "o", workers=1)) == EVERY
    cut = 1000
    with scripted_api(answer) as script:
        with pytest.raises(WorkError, match=r"8 item\(s\) of sentinel-2-l2a in 2023-06-01.* fewer than it reports"):
            run(script, tmp_path / "p", JUNE[:1])
        assert len(script.asked) == MAX_ATTEMPTS + 2, "each half is asked for once, and has other items"
        # The next search does not take the short answer for complete.
        cut = 0
        assert len(set(run(script, tmp_path / "p", JUNE[:1]))) == 10


@pytest.mark.parametrize("interval", [True, False])
def test_a_number_that_is_an_estimate_is_reported_and_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: bool
) -> None:
    """Databases estimate how many rows match; the items are complete."""
    good = paged(ITEMS if interval else ITEMS[:10])
    query = JUNE[0] if interval else Query(S2, BOX)

    def answer(body: Body) -> Any:
        page = dict(good(body))
        return {**page, "numberMatched": page["numberMatched"] + 3}

    wanted = {item["id"] for item in ITEMS[:10]}
    with scripted_api(answer) as script:
        assert set(run(script, tmp_path / "o", [query])) == wanted
        assert "13 items" in (text := capsys.readouterr().err)
        assert "taken for an estimate" in text
        asked = len(script.asked)
        assert set(run(script, tmp_path / "o", [query])) == wanted
        assert len(script.asked) == asked


def test_pages_that_repeat_some_items_and_so_leave_out_others_are_completed(tmp_path: Path) -> None:
    """Unstable order: the first time an item of each page is repeated on the next one, in place of a new one."""
    good = paged(ITEMS)

    def answer(body: Body) -> Any:
        page = dict(good(body))
        start = int(body.get("token", 0))
        if script.asked.index(body) == len(script.asked) - 1 and start:
            page["features"] = [good({**body, "token": start - 1})["features"][0], *page["features"][1:]]
        return page

    with scripted_api(answer) as script:
        assert set(run(script, tmp_path / "o", JUNE[:1])) == {item["id"] for item in ITEMS[:10]}
        assert sum("token" not in body for body in script.asked) == 2


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from(["2023-06-01T00:00:00Z", "2023-06-11T00:00:00Z", "2023-06-20T23:59:59.999Z",
                              "2023-06-30T23:59:59.5Z", "2023-06-15T12:00:00Z"]), min_size=1, max_size=8),
    st.integers(1, 40),
)  # fmt: skip
def test_items_at_the_border_of_slices_are_found(
    tmp_path_factory: pytest.TempPathFactory, times: list[str], days: int
) -> None:
    items = [made_item(f"item{number}", time) for number, time in enumerate(times)]
    queries = [Query(S2, BOX, part) for part in time_slices([parse_interval("2023-06")], days)]
    with scripted_api(paged(items)) as script:
        assert set(run(script, tmp_path_factory.mktemp("store") / "o", queries)) == {item["id"] for item in items}


def test_a_failure_stops_all_slices(tmp_path: Path) -> None:
    with scripted_api(lambda body: Response("{}", 403)) as script, pytest.raises(WorkError):
        run(script, tmp_path / "o", [Query(S2, BOX, part) for part in time_slices([parse_interval("2023")], 1)])
    assert len(script.asked) <= 4


def test_no_more_requests_at_once_than_workers(tmp_path: Path) -> None:
    import threading
    import time

    there, most, lock = 0, 0, threading.Lock()
    good = paged(ITEMS)

    class Counting:
        """Wraps the provider: the scripted server answers one request after the other."""

        remote = True

        def __init__(self, url: str) -> None:
            self._api = StacApi(url, page_limit=3)

        def pages(self, query: Query, after: Item | None = None) -> Any:
            nonlocal there, most
            with lock:
                there += 1
                most = max(most, there)
            time.sleep(0.02)
            yield from self._api.pages(query, after)
            with lock:
                there -= 1

        def by_ids(self, collection: str, ids: Sequence[str]) -> Any:
            return self._api.by_ids(collection, ids)

        def give_up(self) -> None:
            self._api.give_up()

    queries = [Query(S2, BOX, part) for part in time_slices([parse_interval("2023-06")], 2)]
    with scripted_api(good) as script, PageStore(tmp_path / "o") as store:
        fetch_pages(Counting(script.url), "here", queries, store, workers=3)
    assert most == 3
