import json
import logging
import subprocess
import sys
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

from headwater.core.errors import InputError, WorkError
from headwater.demo.server.serve import running_catalog
from headwater.stac import tokens
from headwater.stac.items import Asset
from headwater.stac.settings import CatalogSettings, SigningSettings
from headwater.stac.signing import SIGNERS, make_signer
from support.tiny_catalog import TinyScene, write_tiny_catalog

LOCAL = Asset("/data/B02.tif", "sentinel-2-l2a")
REMOTE = Asset("http://127.0.0.1:9/B02.tif", "sentinel-2-l2a")
HOSTS = ("x", "127.0.0.1:9")
"""Of the assets: hosts that tokens may be sent to."""
BLOB = Asset("https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/33/T/B02.tif", "sentinel-2-l2a")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without tokens, and signers without memory."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    make_signer.cache_clear()
    return folder


def in_a_new_process(signing: str, url: str | None, asset: Asset = REMOTE) -> subprocess.Popen[str]:
    """Sign an asset in another process, which prints the address."""
    code = (
        "import sys; from headwater.stac.items import Asset; from headwater.stac.signing import make_signer;"
        f"print(make_signer(sys.argv[1], sys.argv[2] or None, {HOSTS})(Asset(*sys.argv[3:])))"
    )
    words = [sys.executable, "-c", code, signing, url or "", asset.href, asset.collection]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@contextmanager
def endpoint(*replies: tuple[int, bytes], delay_s: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """A token endpoint that gives the replies one after the other, the last one forever."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = replies[min(len(asked), len(replies) - 1)]
            asked.append(self.path)
            time.sleep(delay_s)
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


def test_the_scheme_none_signs_nothing() -> None:
    assert make_signer("none")(REMOTE, renew=True) == REMOTE.href


def test_one_token_serves_many_assets_of_a_collection_and_processes_share_the_signer() -> None:
    with endpoint(token("ONE")) as (url, asked):
        signer = make_signer("token", url, HOSTS)
        assert make_signer("token", url, HOSTS) is signer
        hrefs = [signer(Asset(f"http://x/{number}.tif", "sentinel-2-l2a")) for number in range(5)]
        assert hrefs[3] == "http://x/3.tif?st=1&se=2&sp=rl&sig=ONE"
        assert asked == ["/token/sentinel-2-l2a"]
        signer(Asset("http://x/dem.tif", "cop-dem-glo-30"))
        assert asked[1:] == ["/token/cop-dem-glo-30"]


def test_local_files_need_no_token_and_queries_are_kept() -> None:
    with endpoint(token("ONE")) as (url, asked):
        signer = make_signer("token", url, HOSTS)
        assert signer(LOCAL) == LOCAL.href
        assert not asked
        assert signer(Asset("http://x/a.tif?v=1", "c")).startswith("http://x/a.tif?v=1&st=1")


def test_renewal_before_expiry_and_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(token("ONE", 1000), token("TWO", 1900), token("THREE", 2700)) as (url, asked):
        signer = make_signer("token", url, HOSTS)
        start = time.time()
        assert signer(REMOTE).endswith("ONE")
        monkeypatch.setattr("headwater.stac.tokens.time.time", lambda: start + 745)
        assert signer(REMOTE).endswith("ONE")
        monkeypatch.setattr("headwater.stac.tokens.time.time", lambda: start + 755)
        assert signer(REMOTE).endswith("TWO"), "a quarter of the life was left and the token was not renewed"
        assert signer(REMOTE, renew=True).endswith("THREE")
        assert len(asked) == 3


def test_a_long_lived_token_is_renewed_five_minutes_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(token("ONE", 2700), token("TWO", 5400)) as (url, _):
        signer, start = make_signer("token", url, HOSTS), time.time()
        for after, name in ((0, "ONE"), (2390, "ONE"), (2410, "TWO")):
            monkeypatch.setattr("headwater.stac.tokens.time.time", lambda after=after: start + after)
            assert signer(REMOTE).endswith(name), after


def test_many_readers_refused_ask_for_one_new_token() -> None:
    with endpoint(token("ONE"), token("TWO"), token("THREE")) as (url, asked):
        signer, together = make_signer("token", url, HOSTS), threading.Barrier(8)
        given = []

        def read(number: int) -> None:
            signer(REMOTE)
            together.wait()
            time.sleep(0.02 * number)
            given.append(signer(REMOTE, renew=True))

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(asked) == 2
        assert all(address.endswith("TWO") for address in given)
        # The new one is refused as well.
        assert make_signer("token", url, HOSTS)(REMOTE).endswith("TWO")
        assert signer(REMOTE, renew=True).endswith("THREE")


@pytest.mark.parametrize("known", [False, True])
def test_processes_share_a_token_and_its_renewal(known: bool, runtime: Path) -> None:
    with endpoint(token("ONE"), token("TWO"), delay_s=0.5) as (url, asked):
        signer = make_signer("token", url, HOSTS)
        if known:
            signer(REMOTE)
        processes = [in_a_new_process("token", url) for _ in range(2)]
        assert [process.communicate()[0].strip()[-3:] for process in processes] == ["ONE", "ONE"]
        assert [process.returncode for process in processes] == [0, 0]
        assert len(asked) == 1, "each process requested its own"
        if known:
            assert signer(REMOTE, renew=True).endswith("TWO")
            assert in_a_new_process("token", url).communicate()[0].strip().endswith("TWO")
            assert len(asked) == 2
        # A token that was refused here may have been renewed elsewhere.
        make_signer.cache_clear()
        assert make_signer("token", url, HOSTS)(REMOTE, renew=True).endswith("TWO" if known else "ONE")
        assert len(asked) == 1 + known


def test_the_shared_tokens_are_private_and_cannot_be_searched_for(runtime: Path) -> None:
    with endpoint(token("ONE")) as (url, _):
        make_signer("token", url, HOSTS)(REMOTE)
    (folder,) = runtime.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert any(path.stat().st_size for path in files)
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"sig" not in path.read_bytes()
        assert b"ONE" not in path.read_bytes()
        assert "sentinel" not in path.name


def spoil_by_a_link(folder: Path, aside: Path) -> None:
    folder.rename(aside)
    folder.symlink_to(aside)


def spoil_by_opening_it(folder: Path, aside: Path) -> None:
    folder.chmod(0o755)


def spoil_by_a_file(folder: Path, aside: Path) -> None:
    folder.rename(aside)
    folder.touch(mode=0o600)


@pytest.mark.parametrize("spoil", [spoil_by_a_link, spoil_by_opening_it, spoil_by_a_file])
def test_a_folder_that_others_may_have_made_is_not_used(spoil: Any, runtime: Path, tmp_path: Path) -> None:
    with endpoint(token("ONE"), token("TWO")) as (url, _):
        assert make_signer("token", url, HOSTS)(REMOTE).endswith("ONE")
        (folder,) = runtime.iterdir()
        spoil(folder, tmp_path / "aside")
        make_signer.cache_clear()
        assert make_signer("token", url, HOSTS)(REMOTE).endswith("TWO")
        assert tokens.shared_folder() is None


def test_a_place_where_others_may_replace_folders_is_skipped(runtime: Path) -> None:
    runtime.chmod(0o777)
    folder = tokens.shared_folder()
    assert folder is None or folder.parent != runtime
    runtime.chmod(0o700)
    folder = tokens.shared_folder()
    assert folder is not None
    assert folder.parent == runtime


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not base64 \xff",
        b"e30",
        b"WzFd",
        b"eyJ0ZXh0IjogInNpZz1PVEhFUiIsICJleHBpcnkiOiAiTmFOIiwgImZldGNoZWQiOiAxfQ",
        b"eyJ0ZXh0IjogInNlY3JldCIsICJleHBpcnkiOiA5ZTksICJmZXRjaGVkIjogMX0",
        b"A" * 100_000,
    ],
)
def test_a_damaged_token_file_is_ignored_and_replaced(content: bytes, runtime: Path) -> None:
    with endpoint(token("ONE"), token("TWO")) as (url, asked):
        make_signer("token", url, HOSTS)(REMOTE)
        (path,) = (path for path in next(runtime.iterdir()).iterdir() if path.stat().st_size)
        path.write_bytes(content)
        for _ in range(2):
            make_signer.cache_clear()
            assert make_signer("token", url, HOSTS)(REMOTE).endswith("TWO")
        assert len(asked) == 2


def test_links_and_files_of_others_in_the_folder_are_not_followed(runtime: Path, tmp_path: Path) -> None:
    with endpoint(token("ONE"), token("TWO"), token("THREE")) as (url, _):
        make_signer("token", url, HOSTS)(REMOTE)
        (path,) = (path for path in next(runtime.iterdir()).iterdir() if path.stat().st_size)
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        make_signer.cache_clear()
        assert make_signer("token", url, HOSTS)(REMOTE).endswith("TWO")
        assert not path.is_symlink(), "the link was written through"
        path.chmod(0o644)
        make_signer.cache_clear()
        assert make_signer("token", url, HOSTS)(REMOTE).endswith("THREE")


def test_without_a_place_to_share_each_process_requests_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "shared_folder", lambda: None)
    with endpoint(token("ONE"), token("TWO")) as (url, asked):
        signer = make_signer("token", url, HOSTS)
        assert [signer(REMOTE)[-3:] for _ in range(3)] == ["ONE"] * 3
        make_signer.cache_clear()
        assert make_signer("token", url, HOSTS)(REMOTE).endswith("TWO")
        assert len(asked) == 2


def test_a_busy_endpoint_is_retried() -> None:
    with endpoint((503, b""), (429, b""), token("ONE")) as (url, asked):
        assert make_signer("token", url, HOSTS)(REMOTE).endswith("ONE")
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
def test_invalid_replies_are_reported_without_quoting_them(status: int, body: bytes) -> None:
    with endpoint((status, body)) as (url, asked):
        with pytest.raises(WorkError) as caught:
            make_signer("token", url, HOSTS)(REMOTE)
        assert "SECRET" not in str(caught.value)
        assert "sentinel-2-l2a" in str(caught.value)
        assert len(asked) == 1


def test_a_missing_endpoint_is_reported_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    with pytest.raises(WorkError, match="does not answer"):
        make_signer("token", "http://127.0.0.1:9/token")(REMOTE)


@pytest.mark.parametrize(("signing", "url"), [("azure", None), ("token", None), ("token", "ftp://x")])
def test_bad_settings_are_refused(signing: str, url: str | None) -> None:
    with pytest.raises(InputError):
        make_signer(signing, url)


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SDK's settings, read again from the environment."""
    make_signer("planetary_computer")  # loads the SDK past its warnings
    from planetary_computer import sas
    from planetary_computer.settings import Settings

    def set_up(url: str, key: str | None = None) -> None:
        monkeypatch.setenv("PC_SDK_SAS_URL", url)
        if key is not None:
            monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", key)
        Settings.get.cache_clear()
        sas.TOKEN_CACHE.clear()
        make_signer.cache_clear()

    yield set_up
    Settings.get.cache_clear()
    sas.TOKEN_CACHE.clear()


def test_the_sdk_signs_only_the_services_own_addresses() -> None:
    signer = make_signer("planetary_computer")
    assert signer(LOCAL) == LOCAL.href
    assert signer(REMOTE, renew=True) == REMOTE.href
    public = Asset("https://ai4edatasetspublicassets.blob.core.windows.net/assets/a.png", "c")
    assert signer(public) == public.href
    signed = Asset(f"{BLOB.href}?st=1&se=2&sp=rl&sig=x", "c")
    assert signer(signed) == signed.href


def test_the_sdk_is_asked_once_per_container_for_all_processes(sdk: Any) -> None:
    with endpoint(token("ONE"), token("TWO"), delay_s=0.3) as (url, asked):
        sdk(url)
        signer = make_signer("planetary_computer")
        assert signer(BLOB) == f"{BLOB.href}?st=1&se=2&sp=rl&sig=ONE"
        assert asked == ["/token/sentinel2l2a01/sentinel2-l2"]
        assert in_a_new_process("planetary_computer", None, BLOB).communicate()[0].strip().endswith("sig=ONE")
        assert len(asked) == 1
        assert signer(BLOB, renew=True).endswith("sig=TWO")
        assert in_a_new_process("planetary_computer", None, BLOB).communicate()[0].strip().endswith("sig=TWO")
        assert len(asked) == 2
        signer(Asset(BLOB.href.replace("sentinel2-l2", "other"), "c"))
        assert asked[2:] == ["/token/sentinel2l2a01/other"]


def test_the_sdks_short_lived_tokens_are_used_and_renewed(sdk: Any) -> None:
    with endpoint(token("ONE", 2), token("TWO", 60)) as (url, asked):
        sdk(url)
        signer = make_signer("planetary_computer")
        for _ in range(5):
            assert signer(BLOB).endswith("ONE")
        assert len(asked) == 1, "the SDK takes a token of less than a minute for none"
        time.sleep(1.6)
        assert signer(BLOB).endswith("TWO")


def test_a_subscribers_token_is_not_shared_with_others(sdk: Any) -> None:
    with endpoint(token("ALL"), token("MINE")) as (url, asked):
        sdk(url)
        assert make_signer("planetary_computer")(BLOB).endswith("ALL")
        sdk(url, key="subscriber")
        assert make_signer("planetary_computer")(BLOB).endswith("MINE")
        assert len(asked) == 2


@pytest.mark.parametrize(
    "reply", [(404, b"{}"), (200, b"SECRET"), (200, b'{"msft:expiry": "2030-01-01T00:00:00Z", "token": "SECRET"}')]
)
def test_replies_that_the_sdk_cannot_use_are_reported_without_quoting_them(sdk: Any, reply: tuple[int, bytes]) -> None:
    with endpoint(reply) as (url, _):
        sdk(url)
        with pytest.raises(WorkError) as caught:
            make_signer("planetary_computer")(BLOB)
    assert "sentinel-2-l2a" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_sdk_that_waits_forever_is_abandoned(sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.stac.planetary_computer.SDK_DEADLINE_S", 0.3)
    with endpoint(token("ONE"), delay_s=2) as (url, _):
        sdk(url)
        start = time.monotonic()
        with pytest.raises(WorkError, match="TimeoutError"):
            make_signer("planetary_computer")(BLOB)
        assert time.monotonic() - start < 1.5


def test_a_short_lived_token_expires_and_is_renewed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tiny_catalog(tmp_path, [TinyScene("33TWM", "20230610")])
    path = next((tmp_path / "assets" / "sentinel-2-l2a").glob("*/B02.tif"))
    with caplog.at_level(logging.DEBUG), running_catalog([tmp_path], token_lifetime_s=0.6) as url:
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


def test_a_token_is_not_appended_twice_nor_sent_unencrypted():
    signer = make_signer("token", "https://127.0.0.1:9/token")
    for href in ("http://elsewhere.example/x.tif", "https://elsewhere.example/x.tif?sig=own&se=1", "/a/file.tif"):
        assert signer(Asset(href, "sentinel-2-l2a")) == href


def test_another_package_brings_a_signing_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SIGNERS, "_added", {})
    SIGNERS.add("suffix", lambda token_url: lambda asset, *, renew=False: f"{asset.href}?by={token_url}")
    assert make_signer("suffix", "me")(REMOTE) == f"{REMOTE.href}?by=me"


@pytest.mark.parametrize("href", ["http://evil.org/B02.tif", "http://127.0.0.1:1/B02.tif", "http://x.evil.org/B02.tif"])
def test_a_token_goes_to_no_host_that_only_an_item_names(href: str) -> None:
    with endpoint(token("ONE")) as (url, asked):
        assert make_signer("token", url)(Asset(href, "c")) == href
        assert not asked
        at_endpoint = f"{url}/B02.tif"
        assert make_signer("token", url)(Asset(at_endpoint, "c")).endswith("sig=ONE")


def test_a_token_endpoint_that_redirects_is_refused() -> None:
    """The token of another server is none, and that server gets no request."""
    with endpoint(token("ONE")) as (other, asked):

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", other)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/token"
            with pytest.raises(WorkError, match="redirects the request of a token"):
                make_signer("token", url)(Asset(f"{url}/B02.tif", "c"))
        finally:
            server.shutdown()
            server.server_close()
        assert not asked


@pytest.mark.parametrize(
    "given", [{"hosts": ["http://a.org/"]}, {"hosts": ["a b"]}, {"token_url": "https://me:HIDDEN@a.org/token"}]
)
def test_settings_hold_hosts_and_no_password(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"the name of a host|contains a user, a password") as caught:
        SigningSettings(**{"signing": "token", "token_url": "https://a.org/token"} | given)
    assert "HIDDEN" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://me:HIDDEN@a.org/stac", "https://a.org/stac?subscription-key=HIDDEN"])
def test_the_address_of_a_catalog_holds_no_password(url: str) -> None:
    with pytest.raises(InputError, match="netrc") as caught:
        CatalogSettings(url=url)
    assert "HIDDEN" not in str(caught.value)
