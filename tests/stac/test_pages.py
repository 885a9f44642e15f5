import os
import time
from pathlib import Path

import pytest

from headwater.core.errors import WorkError
from headwater.stac.intervals import parse_interval
from headwater.stac.pages import MAX_AGE_S, PageStore, read_lines
from headwater.stac.query import Page, Query
from support.scripted_api import made_item

QUERY = Query("sentinel-2-l2a", (15, 46, 16, 47), parse_interval("2023-06"), below={"eo:cloud_cover": 90})
NEXT = {"rel": "next", "href": "https://x.test/search", "method": "POST", "body": {"token": "next:3"}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "items.parquet"


def files(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.rglob("*") if path.is_file())


def test_pages_come_back_as_they_were(out: Path) -> None:
    first = Page([made_item("a"), made_item("b")], [("c", "a needed band"), ("d", "")], NEXT, 5)
    with PageStore(out) as store:
        pages = store.slice("u", QUERY)
        pages.load()
        assert pages.headers == []
        pages.add(first, attempt=1)
        pages.add(Page([made_item("a"), made_item("e")], matched=5), attempt=1)
    with PageStore(out) as store:
        again = store.slice("u", QUERY)
        again.load()
        assert again.headers == pages.headers
        assert [header.next for header in again.headers] == [NEXT, None]
        assert again.headers[0].left_out == [["c", "a needed band"]]
        assert again.missing == 0
        content = again.paths[0].read_bytes()
        for place, line in read_lines(again.paths[0]):
            assert content[place : place + len(line)] == line
        assert [len(list(read_lines(path))) for path in again.paths] == [2, 2]
        store.remove()
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("v", QUERY),
        ("u", Query(QUERY.collection, (15, 46, 16, 47.5), QUERY.interval, QUERY.below)),
        ("u", Query(QUERY.collection, QUERY.box, parse_interval("2023-07"), QUERY.below)),
        ("u", Query(QUERY.collection, QUERY.box, None, QUERY.below)),
        ("u", Query(QUERY.collection, QUERY.box, QUERY.interval)),
        ("u", Query("landsat", QUERY.box, QUERY.interval, QUERY.below)),
    ],
)
def test_another_query_never_reads_these_pages(out: Path, address: str, query: Query) -> None:
    with PageStore(out) as store:
        store.slice("u", QUERY).add(Page([made_item("a")]), attempt=1)
        other = store.slice(address, query)
        other.load()
        assert other.headers == []


@pytest.mark.parametrize(
    "secret",
    [
        {"href": "https://x.test/search?sig=SECRET"},
        {"body": {"sig": "SECRET"}},
        {"href": "https://x.test/search?X-Amz-Signature=SECRET"},
        {"headers": {"Authorization": "SECRET"}},
    ],
)
def test_a_link_with_a_secret_is_never_written(out: Path, secret: dict[str, object]) -> None:
    with PageStore(out) as store:
        pages = store.slice("u", QUERY)
        pages.add(Page([made_item("a")], next={**NEXT, **secret}), attempt=1)
        assert b"SECRET" not in pages.paths[0].read_bytes()
        pages.load()
        assert pages.headers == [], "pages that cannot be resumed from were kept"


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b'{"asked": 1}\n'])
def test_incomplete_pages_are_removed(out: Path, content: bytes) -> None:
    with PageStore(out) as store:
        pages = store.slice("u", QUERY)
        pages.add(Page([made_item("a")], next=NEXT), attempt=1)
        pages.paths[0].write_bytes(content)
        pages.load()
        assert pages.headers == []
    assert files(out) == []


def test_old_pages_are_not_used(out: Path) -> None:
    with PageStore(out) as store:
        pages = store.slice("u", QUERY)
        for name in ("a", "b"):
            pages.add(Page([made_item(name)], next=NEXT), attempt=1)
    old = time.time() - MAX_AGE_S - 60
    os.utime(pages.paths[0], (old, old))
    with PageStore(out) as store:
        again = store.slice("u", QUERY)
        again.load()
        assert again.headers == []


def test_missing_counts_each_item_once_and_nameless_ones_too(out: Path) -> None:
    with PageStore(out) as store:
        pages = store.slice("u", QUERY)
        pages.add(Page([made_item("a"), made_item("b")], [("", "form"), ("", "form")], NEXT, 6), attempt=1)
        assert pages.missing == 2
        pages.add(Page([made_item("b"), made_item("c")], [("d", "")], None, 6), attempt=1)
        assert pages.missing == 0
        store.remove()


def test_two_searches_do_not_write_the_same_output(out: Path) -> None:
    with PageStore(out), pytest.raises(WorkError, match="Another search"), PageStore(out):
        pass
    assert files(out) == []
