import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from headwater.catalog.assets import Asset
from headwater.catalog.signing import make_signer
from headwater.demo.serve import running_catalogue
from headwater.errors import InputError, WorkError
from tiny_catalogue import TinyScene, write_tiny_catalogue

LOCAL = Asset("/data/B02.tif", "sentinel-2-l2a")
REMOTE = Asset("http://127.0.0.1:9/B02.tif", "sentinel-2-l2a")


@contextmanager
def endpoint(*replies: tuple[int, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A token endpoint that gives the replies one after the other, the last one for ever."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = replies[min(len(asked), len(replies) - 1)]
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def token(name: str, lifetime_s: float = 2700) -> tuple[int, bytes]:
    expiry = (datetime.now(UTC) + timedelta(seconds=lifetime_s)).isoformat().replace("+00:00", "Z")
    return 200, json.dumps({"msft:expiry": expiry, "token": f"st=1&se=2&sp=rl&sig={name}"}).encode()


def test_nothing_is_signed_where_none_is_asked_for() -> None:
    assert make_signer("none")(REMOTE, renew=True) == REMOTE.href


def test_one_token_serves_many_assets_of_a_collection_and_processes_share_the_signer() -> None:
    with endpoint(token("ONE")) as (url, asked):
        signer = make_signer("token", url)
        assert make_signer("token", url) is signer
        hrefs = [signer(Asset(f"http://x/{number}.tif", "sentinel-2-l2a")) for number in range(5)]
        assert hrefs[3] == "http://x/3.tif?st=1&se=2&sp=rl&sig=ONE"
        assert asked == ["/token/sentinel-2-l2a"]
        signer(Asset("http://x/dem.tif", "cop-dem-glo-30"))
        assert asked[1:] == ["/token/cop-dem-glo-30"]


def test_local_files_need_no_token_and_queries_are_kept() -> None:
    with endpoint(token("ONE")) as (url, asked):
        signer = make_signer("token", url)
        assert signer(LOCAL) == LOCAL.href
        assert not asked
        assert signer(Asset("http://x/a.tif?v=1", "c")).startswith("http://x/a.tif?v=1&st=1")


def test_renewal_before_expiry_and_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(token("ONE", 1000), token("TWO", 1900), token("THREE", 2700)) as (url, asked):
        signer = make_signer("token", url)
        start = time.time()
        assert signer(REMOTE).endswith("ONE")
        monkeypatch.setattr("headwater.catalog.signing.time.time", lambda: start + 745)
        assert signer(REMOTE).endswith("ONE")
        monkeypatch.setattr("headwater.catalog.signing.time.time", lambda: start + 755)
        assert signer(REMOTE).endswith("TWO"), "a quarter of the life was left and the token was not renewed"
        assert signer(REMOTE, renew=True).endswith("THREE")
        assert len(asked) == 3


def test_readers_refused_at_once_ask_for_one_new_token() -> None:
    with endpoint(token("ONE"), token("TWO"), token("THREE")) as (url, asked):
        signer = make_signer("token", url)
        signer(REMOTE)
        time.sleep(1.1)
        threads = [threading.Thread(target=signer, args=(REMOTE,), kwargs={"renew": True}) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(asked) == 2


def test_a_busy_endpoint_is_asked_again() -> None:
    with endpoint((503, b""), (429, b""), token("ONE")) as (url, asked):
        assert make_signer("token", url)(REMOTE).endswith("ONE")
        assert len(asked) == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"{}"),
        (200, b"not json SECRET"),
        (200, b"[1]"),
        (200, b'{"token": "sig=SECRET"}'),
        (200, b'{"msft:expiry": "tomorrow", "token": "sig=SECRET"}'),
        (200, b'{"msft:expiry": 3, "token": "sig=SECRET"}'),
        (200, b'{"msft:expiry": "2030-01-01T00:00:00Z", "token": "SECRET"}'),
        (200, b'{"msft:expiry": "2030-01-01T00:00:00Z", "token": "sig=SECRET\\n"}'),
        (200, b'{"msft:expiry": "2030-01-01T00:00:00Z", "token": "sig=' + b"S" * 70_000 + b'"}'),
    ],
)
def test_replies_that_are_no_token_are_told_without_quoting_them(status: int, body: bytes) -> None:
    with endpoint((status, body)) as (url, asked):
        with pytest.raises(WorkError) as caught:
            make_signer("token", url)(REMOTE)
        assert "SECRET" not in str(caught.value)
        assert "sentinel-2-l2a" in str(caught.value)
        assert len(asked) == 1


def test_an_endpoint_that_is_not_there_is_told_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    with pytest.raises(WorkError, match="does not answer"):
        make_signer("token", "http://127.0.0.1:9/token")(REMOTE)


@pytest.mark.parametrize(("signing", "url"), [("azure", None), ("token", None), ("token", "ftp://x")])
def test_bad_settings_are_refused(signing: str, url: str | None) -> None:
    with pytest.raises(InputError):
        make_signer(signing, url)


def test_the_sdk_signs_only_the_services_own_addresses() -> None:
    signer = make_signer("planetary_computer")
    assert signer(LOCAL) == LOCAL.href
    assert signer(REMOTE, renew=True) == REMOTE.href


def test_a_short_lived_token_expires_and_is_renewed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tiny_catalogue(tmp_path, [TinyScene("33TWM", "20230610")])
    path = next((tmp_path / "assets" / "sentinel-2-l2a").glob("*/B02.tif"))
    with caplog.at_level(logging.DEBUG), running_catalogue([tmp_path], token_lifetime_s=0.6) as url:
        asset = Asset(f"{url}/assets/{tmp_path.name}/{path.relative_to(tmp_path / 'assets')}", "sentinel-2-l2a")
        signer = make_signer("token", f"{url}/api/sas/v1/token")
        first = signer(asset)
        assert requests.get(first, timeout=5).status_code == 200
        assert requests.get(asset.href, timeout=5).status_code == 403
        time.sleep(0.7)
        assert requests.get(first, timeout=5).status_code == 403
        second = signer(asset)
        assert second != first
        assert requests.get(second, timeout=5).content == path.read_bytes()
    ours = [record for record in caplog.records if record.name.startswith("headwater")]
    assert not any("sig=" in record.getMessage() for record in ours)
