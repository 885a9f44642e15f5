"""Requests to a STAC API that are bounded in time and size, and repeated where the service stumbles.

Loads pystac-client: import it inside functions.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests
from pystac.link import Link
from pystac_client.stac_api_io import StacApiIO
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_base

from headwater.core.events import BYTES, REQUESTS, count, retrying

CONNECT_TIMEOUT_S = 5.0
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_WAIT_S = 60.0
"""A server that is busy may ask for more patience (Retry-After), but not for an hour."""
LARGEST_REPLY_BYTES = 50_000_000
"""A thousand Sentinel-2 items of the Planetary Computer are 20 MB."""
_CHUNK_BYTES = 1 << 16
_STUMBLES = (408, 425, 429, 500, 502, 503, 504)
_TRIES_AT_500 = 4
"""Busy servers say 503 or 504; an internal error may well be there to stay."""
_TOLD_OF_REFUSAL = 300


class Stumbled(Exception):
    """No whole answer, this time."""

    def __init__(self, text: str, *, status: int | None = None, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.wait_s = wait_s
        """Seconds the server asks to wait."""


class Refused(Exception):
    """An answer, but not one of use; asking again would not help."""

    def __init__(self, text: str, *, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class PatientIO(StacApiIO):
    """Asks as `StacApiIO` does, with exponential backoff and jitter.

    Parameters
    ----------
    timeout_s : float
        Seconds that one request may take, to its last byte.
    tries : int
        Most requests for one answer.
    patience_s : float
        Seconds after which no new request for it is made.
    connections : int
        Threads that ask at once.
    """

    def __init__(self, *, timeout_s: float, tries: int, patience_s: float, connections: int = 1) -> None:
        super().__init__(max_retries=None)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        self.timeout_s, self.tries, self.patience_s = timeout_s, tries, patience_s
        self.given_up = threading.Event()
        """Once set, nobody waits for another try any more."""

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
        Stumbled
            There was none in all that time.
        Refused
            The server refuses, or answers more than is taken.
        """
        again = Retrying(
            stop=stop_any(
                stop_after_attempt(self.tries),
                stop_before_delay(self.patience_s),
                stop_when_event_set(self.given_up),
                _StopWhereBroken(),
            ),
            wait=_wait,
            retry=retry_if_exception_type(Stumbled),
            sleep=sleep_using_event(self.given_up),
            before_sleep=retrying("search"),
            reraise=True,
        )
        return again(self._once, href, (method or "GET").upper(), headers, parameters)

    def page(self, href: str, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the first page of an answer, a JSON object."""
        return _parsed(self.request(href, method, parameters=parameters))

    def next_page(self, link: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the page that a link leads to; `parameters` are those of the first, for a link that adds to them."""
        return _parsed(self.read_text(Link.from_dict(link), parameters=parameters))

    def _once(self, href: str, method: str, headers: dict[str, str] | None, parameters: dict[str, Any] | None) -> str:
        body = {"json": parameters} if method == "POST" else {"params": parameters}
        end = time.monotonic() + self.timeout_s
        timeout = (min(CONNECT_TIMEOUT_S, self.timeout_s), self.timeout_s)
        try:
            with self.session.request(
                method, href, headers=headers, timeout=timeout, stream=True, **body  # type: ignore[arg-type]
            ) as reply:  # fmt: skip
                content = b"".join(_chunks(reply, end))
            count(REQUESTS)
            count(BYTES, len(content))
        except requests.Timeout as error:
            raise Stumbled("it did not answer in time") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
            raise Refused("an address in it is not one") from error
        except requests.RequestException as error:
            raise Stumbled("the connection failed") from error
        status = reply.status_code
        if status in _STUMBLES:
            raise Stumbled(f"HTTP {status}", status=status, wait_s=_asked_wait(reply))
        text = content.decode(errors="replace")
        if not 200 <= status < 300:
            raise Refused(f"HTTP {status}, {_shown(text)}", status=status)
        if not text.lstrip().startswith("{"):
            # A proxy's page of excuses, with the status of a good answer.
            raise Stumbled("the answer is not JSON")
        return text


def _chunks(reply: requests.Response, end: float) -> Iterator[bytes]:
    size = 0
    for chunk in reply.iter_content(_CHUNK_BYTES):
        size += len(chunk)
        if size > LARGEST_REPLY_BYTES:
            raise Refused(f"one answer is larger than {LARGEST_REPLY_BYTES // 1_000_000} MB")
        if time.monotonic() > end:
            raise Stumbled("the answer did not end in time")
        yield chunk


def _parsed(text: str) -> dict[str, Any]:
    try:
        # NaN is no JSON, but some servers write it; no number is what it means.
        page = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise Refused("the answer is not JSON") from None
    if not isinstance(page, dict):
        raise Refused("the answer is not a JSON object")
    return page


class _StopWhereBroken(stop_base):
    """Stops at an internal error that stays."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        stays = retry_state.attempt_number >= _TRIES_AT_500
        return stays and isinstance(error, Stumbled) and error.status == 500


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait_s if isinstance(error, Stumbled) else 0.0
    return max(asked, wait_random_exponential(multiplier=1.0, max=LONGEST_WAIT_S)(state))


def _asked_wait(reply: requests.Response) -> float:
    seconds = reply.headers.get("Retry-After", "")
    return min(LONGEST_ASKED_WAIT_S, float(seconds)) if seconds.isdecimal() else 0.0


def _shown(text: str) -> str:
    line = " ".join(text.split())[:_TOLD_OF_REFUSAL]
    # Whatever a server puts into its refusal, no signature goes on into a message.
    return "".join(letter if letter.isprintable() else "?" for letter in line) if "sig=" not in line else "(not shown)"
