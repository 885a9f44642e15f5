"""Downloads against a server that is slow, cuts connections, and does not know HEAD."""

import random

import pytest

from headwater.core.errors import NetworkError
from headwater.fetch import download as downloads
from headwater.fetch.download import Limits, Refused, download, file_digests, part_of, read_range, remote_size
from support.faulty_server import faulty_server

SIZE = 1_000_000


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(downloads, "MAX_WAIT_S", 0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "file").write_bytes(random.Random(1).randbytes(SIZE))
    with faulty_server(folder) as running:
        running.folder = folder
        yield running


def no_check(start, kind):
    return None


def take(server, tmp_path, *, path="/file", **limits):
    limits = {"max_bytes": 10 * SIZE, "patience_s": 5} | limits
    return download([f"{server.url}{path}"], tmp_path / "file", Limits(**limits), check_start=no_check)


def until_the_first_cut(server, tmp_path):
    """Fetch /x up to the first cut, as a process that is killed then."""

    def one_attempt(transfer):
        assert not advance(transfer)
        raise Refused("killed")

    advance = downloads._advance
    with pytest.MonkeyPatch.context() as patch, pytest.raises(NetworkError, match="killed"):
        patch.setattr(downloads, "_advance", one_attempt)
        take(server, tmp_path, path="/x")


def test_a_file_that_is_cut_again_and_again_arrives_and_hardly_anything_twice(server, tmp_path, capsys):
    server.behave(cut_bytes=90_000, busy=2, head=504)
    take(server, tmp_path)
    assert part_of(tmp_path / "file").read_bytes() == (server.folder / "file").read_bytes()
    assert server.sent() <= 1.01 * SIZE
    log = server.log()
    assert {method for method, _, _ in log} == {"GET"}
    assert [ranged for _, _, ranged in log][:3] == ["bytes=0-"] * 3
    assert "the download continues" in capsys.readouterr().err


def test_a_server_that_knows_no_ranges_begins_anew_and_says_so(server, tmp_path, capsys):
    server.behave(cut_bytes=600_000)
    with pytest.raises(NetworkError):
        take(server, tmp_path, patience_s=0.01, max_bytes=700)  # larger than it may be
    server.behave(cut_bytes=SIZE // 2)
    part = part_of(tmp_path / "file")
    server.behave(ranges=False, cut_bytes=SIZE // 2)
    with pytest.raises(NetworkError, match="knows no ranges, and 5 attempts ended before 500 kB"):
        take(server, tmp_path)
    assert "begins anew after 500 kB: the server knows no ranges" in capsys.readouterr().err
    server.behave(ranges=False)
    take(server, tmp_path)
    assert part.read_bytes() == (server.folder / "file").read_bytes()


@pytest.mark.parametrize("change", ["bytes", "etag", "size", "date"])
def test_a_file_that_changes_on_the_server_is_fetched_anew(server, tmp_path, capsys, change):
    old, new = server.folder / "old", server.folder / "new"
    old.write_bytes(random.Random(2).randbytes(200_000))
    content = random.Random(3).randbytes(200_000)
    # All but "bytes" begin as before, beyond the bytes that are read again.
    start = 0 if change == "bytes" else 130_000
    new.write_bytes((old.read_bytes()[:start] + content[start:])[: 150_000 if change == "size" else None])
    marks = {"etag": {"etag": '"1"'}, "date": {"modified": "Mon, 01 Jan 2024 00:00:00 GMT"}}.get(change, {})
    server.behave(cut_bytes=120_000, names={"/x": "old"}, **marks)
    until_the_first_cut(server, tmp_path)
    marks = {"etag": {"etag": '"2"'}, "date": {"modified": "Tue, 02 Jan 2024 00:00:00 GMT"}}.get(change, {})
    server.behave(names={"/x": "new"}, **marks)
    take(server, tmp_path, path="/x")
    assert part_of(tmp_path / "file").read_bytes() == new.read_bytes()
    assert "another file on the server than before" in capsys.readouterr().err


def test_a_web_page_in_place_of_the_rest_leaves_what_has_arrived(server, tmp_path):
    def refuse_pages(start, kind):
        if start.startswith(b"<") or "html" in kind:
            raise Refused("it sends a web page")

    (server.folder / "page").write_bytes(b"<html>Are you a robot?</html>")
    part = part_of(tmp_path / "file")
    server.behave(names={"/x": "file"}, cut_bytes=400_000)
    until_the_first_cut(server, tmp_path)
    before = part.read_bytes()
    assert len(before) == 400_000
    server.behave(names={"/x": "page"}, ranges=False)
    limits = Limits(10 * SIZE, patience_s=1)
    with pytest.raises(NetworkError, match="it sends a web page"):
        download([f"{server.url}/x"], tmp_path / "file", limits, check_start=refuse_pages)
    assert part.read_bytes() == before
    with pytest.raises(NetworkError, match="it sends a web page"):
        download([f"{server.url}/x"], tmp_path / "other", limits, check_start=refuse_pages)
    assert not list(tmp_path.glob("other*"))


def test_the_next_address_is_tried_and_continues_the_same_file(server, tmp_path):
    server.behave(names={"/x": "file"}, cut_bytes=400_000)
    until_the_first_cut(server, tmp_path)
    server.behave()
    addresses = [f"{server.url}/none", f"{server.url}/file"]
    used = download(addresses, tmp_path / "file", Limits(10 * SIZE, 5), check_start=no_check)
    assert used == addresses[1]
    assert server.sent() < 0.7 * SIZE
    assert part_of(tmp_path / "file").read_bytes() == (server.folder / "file").read_bytes()


def test_redirects_lead_to_hosts_that_are_listed_only(server, tmp_path):
    with faulty_server(server.folder) as other:
        other.behave()
        server.behave(move=other.url)
        host = other.url.removeprefix("http://")
        with pytest.raises(NetworkError, match=f"redirects to another host, {host}") as error:
            take(server, tmp_path)
        assert "fetch.hosts" in error.value.remedy
        assert not other.log()
        take(server, tmp_path, hosts=(host,))
    assert part_of(tmp_path / "file").stat().st_size == SIZE


def test_sizes_and_ranges_are_asked_for_without_head(server):
    limits = Limits(10 * SIZE, 5)
    for traits in ({"head": 504}, {"ranges": False}):
        server.behave(**traits)
        assert remote_size(f"{server.url}/file", limits) == SIZE
        assert "ranges" in traits or server.sent() == 1
    server.behave(ranges=False, length=False)
    assert remote_size(f"{server.url}/file", limits) is None
    server.behave()
    assert read_range(f"{server.url}/file", 10, 20, limits) == (server.folder / "file").read_bytes()[10:20]


@pytest.mark.parametrize(
    ("traits", "words"),
    [({"names": {"/file": "none"}}, "HTTP 404, there is no such file"), ({"head": 504, "busy": 10**6}, "HTTP 504")],
)
def test_a_server_without_the_file_is_named_in_one_sentence(server, tmp_path, traits, words):
    server.behave(**traits)
    with pytest.raises(NetworkError, match=f"file cannot be fetched from {server.url}/file: {words}"):
        take(server, tmp_path, patience_s=0.3)
    assert not list(tmp_path.iterdir())


def test_without_network_nobody_waits_for_long(tmp_path):
    with pytest.raises(NetworkError, match="no connection"):
        download(["http://127.0.0.1:9/x"], tmp_path / "file", Limits(SIZE, 600), check_start=no_check)
    assert not list(tmp_path.iterdir())


def test_secrets_of_addresses_are_not_shown(server, tmp_path, capsys):
    server.behave(names={})
    with pytest.raises(NetworkError) as error:
        take(server, tmp_path, path="/none?sig=abc&token=SECRET")
    assert "SECRET" not in str(error.value) + capsys.readouterr().err


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digests(tmp_path / "a") == {
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "md5": "900150983cd24fb0d6963f7d28e17f72",
    }
