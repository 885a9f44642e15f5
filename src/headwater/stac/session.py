"""Requests to a STAC API, bounded in time and size and retried after transient errors.

Imports pystac-client, which is slow: import this module inside functions.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import requests
from pystac.link import Link
from pystac_client.stac_api_io import StacApiIO

from headwater.core.events import BYTES, REQUESTS, count, say
from headwater.core.http import RedirectRefused, bounded_session, time_limit
from headwater.core.retry import retry_policy
from headwater.core.secrets import without_secrets
from headwater.stac.hosts import may_lead_to
from headwater.stac.validation import public_address

CONNECT_TIMEOUT_S = 5.0
MAX_WAIT_S = 30.0
MAX_REQUESTED_WAIT_S = 60.0
"""A busy server may request a longer wait (Retry-After), but not an hour."""
MAX_REPLY_BYTES = 50_000_000
"""A thousand Sentinel-2 items of the Planetary Computer are 20 MB."""
_CHUNK_BYTES = 1 << 16
_TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_INTERNAL_ERROR = 500
_MAX_ATTEMPTS_AT_500 = 4
"""Busy servers answer 503 or 504; an internal error is more likely to stay."""
_FAILURES_TO_REPORT = 4
"""So often in a row a request fails before that is reported: a user should know why a search takes long."""
_MAX_REFUSAL_TEXT = 300


class TransientError(Exception):
    """No complete answer this time; a retry may help."""

    def __init__(self, text: str, *, status: int | None = None, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.wait_s = wait_s
        """Seconds that the server requests to wait."""


class Refused(Exception):
    """A useless answer; a retry would not help."""

    def __init__(self, text: str, *, status: int | None = None, moved_to: str = "", foreign: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.moved_to = moved_to
        """Where the server redirects to, if following it would lose the request's content."""
        self.foreign = foreign
        """Where the server leads to, if that is a host that it may not lead to."""


class RetryingStacIO(StacApiIO):
    """`StacApiIO` with retries, exponential backoff and jitter.

    Parameters
    ----------
    timeout_s : float
        Seconds that one request may take, to its last byte.
    max_attempts : int, optional
        Maximum number of requests for one answer.
    deadline_s : float
        Seconds after which no further request for it begins.
    connections : int
        Threads that send requests at the same time.
    hosts : tuple of str
        Further hosts that may be redirected to.
    """

    def __init__(
        self, *, timeout_s: float, deadline_s: float, max_attempts: int | None = None, connections: int = 1,
        hosts: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(max_retries=None)
        self.session = bounded_session(may_redirect=partial(may_lead_to, hosts=hosts), connections=connections)
        self.timeout_s, self.max_attempts, self.deadline_s = timeout_s, max_attempts, deadline_s
        self.cancelled = threading.Event()
        """Once set, no thread waits for another attempt."""

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Return the text of an answer.

        Raises
        ------
        TransientError
            There was no answer in all attempts.
        Refused
            The server refuses, or the answer is too large.
        """
        policy = retry_policy(
            "search",
            TransientError,
            max_attempts=self.max_attempts,
            multiplier_s=1.0,
            max_wait_s=MAX_WAIT_S,
            deadline_s=self.deadline_s,
            requested_wait_s=_requested_wait_s,
            is_final=_is_lasting_internal_error,
            cancelled=self.cancelled,
        )
        failures = 0

        def send() -> str:
            nonlocal failures
            try:
                return self._send(href, (method or "GET").upper(), headers, parameters)
            except TransientError as error:
                failures += 1
                if failures == _FAILURES_TO_REPORT:
                    say(f"{public_address(href)} fails ({error}); it is tried for up to {self.deadline_s:.0f} s.")
                raise

        return policy(send)

    def page(self, href: str, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the first page of an answer, a JSON object."""
        return _parsed(self.request(href, method, parameters=parameters))

    def next_page(self, link: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the page that a link leads to; a link that merges adds to `parameters`, those of the first page."""
        return _parsed(self.read_text(Link.from_dict(link), parameters=parameters))

    def _send(self, href: str, method: str, headers: dict[str, str] | None, parameters: dict[str, Any] | None) -> str:
        body = {"json": parameters} if method == "POST" else {"params": parameters}
        timeout = (min(CONNECT_TIMEOUT_S, self.timeout_s), self.timeout_s)
        try:
            with (
                time_limit(self.timeout_s),
                self.session.request(
                    method, href, headers=headers, timeout=timeout, stream=True, **body  # type: ignore[arg-type]
                ) as reply,
            ):  # fmt: skip
                _check_redirect(reply, method)
                content = b"".join(_chunks(reply))
            count(REQUESTS)
            count(BYTES, len(content))
        except RedirectRefused as error:
            address = public_address(error.target)
            raise Refused(f"it redirects to another host, {address}", foreign=address) from None
        except requests.Timeout as error:
            raise TransientError("it did not answer in time") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
            raise Refused("it contains an invalid address") from error
        except requests.RequestException as error:
            raise TransientError("the connection failed") from error
        status = reply.status_code
        if status in _TRANSIENT_STATUSES:
            raise TransientError(f"HTTP {status}", status=status, wait_s=_retry_after_s(reply))
        text = content.decode(errors="replace")
        if not 200 <= status < 300:
            raise Refused(f"HTTP {status}, {_refusal_text(text)}", status=status)
        if not text.lstrip().startswith("{"):
            # Some proxies send an error page with the status of a good answer.
            raise TransientError("the answer is not JSON")
        return text


def _check_redirect(reply: requests.Response, method: str) -> None:
    """Refuse a redirect that turned a POST into a GET without its query (301, 302 and 303 do)."""
    if reply.history and reply.request.method != method:
        address = public_address(str(reply.url))
        raise Refused(f"it redirects {method} to {address}", status=reply.history[0].status_code, moved_to=address)


def _chunks(reply: requests.Response) -> Iterator[bytes]:
    size = 0
    for chunk in reply.iter_content(_CHUNK_BYTES):
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            raise Refused(f"one answer is larger than {MAX_REPLY_BYTES // 1_000_000} MB")
        yield chunk


def _parsed(text: str) -> dict[str, Any]:
    try:
        # NaN is not JSON, but some servers write it; it means that there is no number.
        page = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise Refused("the answer is not JSON") from None
    if not isinstance(page, dict):
        raise Refused("the answer is not a JSON object")
    return page


def _is_lasting_internal_error(error: BaseException, attempts: int) -> bool:
    status = error.status if isinstance(error, TransientError) else None
    return status == _INTERNAL_ERROR and attempts >= _MAX_ATTEMPTS_AT_500


def _requested_wait_s(error: BaseException) -> float:
    return error.wait_s if isinstance(error, TransientError) else 0.0


def _retry_after_s(reply: requests.Response) -> float:
    seconds = reply.headers.get("Retry-After", "")
    return min(MAX_REQUESTED_WAIT_S, float(seconds)) if seconds.isdecimal() else 0.0


def _refusal_text(text: str) -> str:
    line = " ".join(without_secrets(text[: 10 * _MAX_REFUSAL_TEXT]).split())[:_MAX_REFUSAL_TEXT]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
