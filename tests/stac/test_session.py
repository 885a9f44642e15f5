import gzip
import time
from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from headwater.stac import session
from headwater.stac.session import Refused, RetryingStacIO, TransientError
from support.scripted_api import Body, Script, scripted_api


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_WAIT_S", 0.02)


@pytest.fixture
def api() -> Iterator[Script]:
    with scripted_api(lambda body: {"features": []}) as script:
        yield script


def ask(script: Script, *, max_attempts: int = 5, timeout_s: float = 5, deadline_s: float = 30) -> dict[str, object]:
    io = RetryingStacIO(timeout_s=timeout_s, max_attempts=max_attempts, deadline_s=deadline_s)
    return io.page(f"{script.url}search", "POST", {"limit": 1})


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_errors_are_retried(api: Script, status: int) -> None:
    api.answer = lambda body: Response("Busy", status) if len(api.asked) < 4 else {"features": []}
    assert ask(api)["features"] == []
    assert len(api.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_refusal_is_not_retried(api: Script, status: int) -> None:
    api.answer = lambda body: Response('{"description": "no\nsuch \x1b[31m thing"}', status)
    with pytest.raises(Refused, match="no such") as refused:
        ask(api)
    assert refused.value.status == status
    assert str(refused.value).isprintable()
    assert len(api.asked) == 1


def test_attempts_and_deadline_end(api: Script) -> None:
    api.answer = lambda body: Response("Busy", 503)
    with pytest.raises(TransientError, match="503"):
        ask(api, max_attempts=3)
    assert len(api.asked) == 3
    with pytest.raises(TransientError):
        ask(api, max_attempts=1000, deadline_s=0.3)
    assert len(api.asked) < 300


def test_a_lasting_internal_error_is_given_up_early(api: Script) -> None:
    api.answer = lambda body: Response("Traceback", 500)
    with pytest.raises(TransientError, match="500"):
        ask(api, max_attempts=100)
    assert len(api.asked) == 4


def test_a_server_may_request_a_wait_but_not_a_long_one(api: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_REQUESTED_WAIT_S", 0.4)
    api.answer = lambda body: (
        Response("Busy", 429, headers={"Retry-After": "3600"}) if len(api.asked) == 1 else {"features": []}
    )
    start = time.monotonic()
    ask(api)
    assert 0.4 <= time.monotonic() - start < 5


def slowly(body: Body) -> Response:
    def drops() -> Iterator[bytes]:
        for _ in range(100):
            time.sleep(0.05)
            yield b" "

    return StreamingResponse(drops())


def test_an_answer_that_drips_is_given_up(api: Script) -> None:
    """Each drop comes within the time limit; all of them together do not."""
    api.answer = slowly
    start = time.monotonic()
    with pytest.raises(TransientError, match="in time"):
        ask(api, max_attempts=1, timeout_s=0.5)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_too_large_is_not_read(api: Script, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(session, "MAX_REPLY_BYTES", 1_000_000)
    body = b'{"features": [' + b" " * 3_000_000 + b"]}"
    api.answer = lambda _: (
        Response(gzip.compress(body), headers={"Content-Encoding": "gzip"}) if packed else Response(body)
    )
    with pytest.raises(Refused, match="larger than 1 MB"):
        ask(api)
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<html>Down for maintenance</html>", TransientError),
        ("{", Refused),
        ('{"a": ' + "[" * 100_000, Refused),
        ("", TransientError),
    ],
)
def test_an_answer_that_is_not_json_is_reported(api: Script, text: str, error: type[Exception]) -> None:
    api.answer = lambda body: PlainTextResponse(text)
    with pytest.raises(error, match="not JSON"):
        ask(api, max_attempts=2)


def test_nan_is_no_number(api: Script) -> None:
    api.answer = lambda body: PlainTextResponse('{"features": [NaN, -Infinity]}')
    assert ask(api)["features"] == [None, None]


def test_a_signature_in_a_refusal_is_not_shown(api: Script) -> None:
    api.answer = lambda body: Response("cannot read https://x.test/a?sig=SECRET", 400)
    with pytest.raises(Refused) as refused:
        ask(api)
    assert "SECRET" not in str(refused.value)


def test_nothing_waits_once_it_is_cancelled(api: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_WAIT_S", 60)
    api.answer = lambda body: Response("Busy", 503)
    io = RetryingStacIO(timeout_s=5, max_attempts=10, deadline_s=300)
    io.cancelled.set()
    with pytest.raises(TransientError):
        io.page(f"{api.url}search", "POST", {})
    assert len(api.asked) == 1
