"""Signing addresses just before they are opened (pitfalls: SAS tokens live about 45 minutes).

A signed address is handed to the reader and to nothing else: it is never logged, stored or put into a message.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from urllib.parse import quote

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from headwater.catalog.assets import Asset, Signer
from headwater.catalog.intervals import parse_instant
from headwater.errors import InputError, WorkError

SIGNINGS = ("none", "token", "planetary_computer")

_MARGIN_S = 300.0
"""A token is renewed this long before it expires, or a quarter of its life before, whichever is less."""
_RENEWED_JUST_NOW_S = 1.0
"""Many readers refused at once ask for one new token, not for many."""
_REPLY_LIMIT_BYTES = 65_536
_TIMEOUT_S = (5.0, 15.0)


@cache
def make_signer(signing: str, token_url: str | None = None) -> Signer:
    """Return the signer a configuration names; the same one each time within a process.

    Parameters
    ----------
    signing : str
        "none"; "token": an endpoint of the Planetary Computer's shape, GET {token_url}/{collection};
        "planetary_computer": the SDK, which knows the service's addresses.
    token_url : str, optional
        Of "token", for instance https://planetarycomputer.microsoft.com/api/sas/v1/token.

    Raises
    ------
    InputError
        The word is unknown, or "token" lacks its address.
    """
    if signing == "none":
        return _unsigned
    if signing == "planetary_computer":
        return _PlanetaryComputerSigner()
    if signing == "token":
        if not token_url or not token_url.startswith(("http://", "https://")):
            raise InputError(
                "The signing 'token' needs the address of a token endpoint.",
                "Set catalog.token_url to an http(s) address.",
            )
        return _TokenSigner(token_url.rstrip("/"))
    raise InputError(f"There is no signing '{signing}'.", f"Set catalog.signing to one of {', '.join(SIGNINGS)}.")


def _unsigned(asset: Asset, *, renew: bool = False) -> str:
    return asset.href


class _PlanetaryComputerSigner:
    """The service's own SDK; it caches tokens and renews them under a minute of life."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # The SDK declares its pydantic models in a manner that pydantic deprecates.
            warnings.simplefilter("ignore")
            import planetary_computer.sas as sas
        self._sas = sas
        self._lock = threading.Lock()
        self._renewed = 0.0

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        with self._lock:
            if renew and time.monotonic() - self._renewed > _RENEWED_JUST_NOW_S:
                self._sas.TOKEN_CACHE.clear()
                self._renewed = time.monotonic()
            try:
                return str(self._sas.sign_url(asset.href))
            except Exception as error:
                # Whatever the SDK raises: a reply that it cannot parse may stand in its message, token and all.
                raise WorkError(
                    f"The Planetary Computer gave no token for {asset.collection} ({type(error).__name__}).",
                    "Check the network and the service's state, then run again.",
                ) from None


@dataclass(frozen=True)
class _Token:
    text: str
    expiry: float
    """POSIX seconds."""
    fetched: float
    """POSIX seconds."""

    def fresh(self, now: float) -> bool:
        margin = min(_MARGIN_S, (self.expiry - self.fetched) / 4)
        return now < self.expiry - margin


class _Busy(Exception):
    """The endpoint did not answer, or asked to come back later."""


class _TokenSigner:
    """Tokens of an endpoint of the Planetary Computer's shape, one per collection."""

    def __init__(self, token_url: str) -> None:
        self._token_url = token_url
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        if not asset.href.startswith(("http://", "https://")):
            return asset.href
        separator = "&" if "?" in asset.href else "?"
        return f"{asset.href}{separator}{self._token(asset.collection, renew).text}"

    def _token(self, collection: str, renew: bool) -> _Token:
        with self._lock:
            token, now = self._tokens.get(collection), time.time()
            just_now = token is not None and now - token.fetched < _RENEWED_JUST_NOW_S
            if token is not None and token.fresh(now) and (just_now or not renew):
                return token
            token = _fetch_token(f"{self._token_url}/{quote(collection, safe='')}", collection)
            self._tokens[collection] = token
            return token


def _fetch_token(address: str, collection: str) -> _Token:
    """Ask the endpoint, again and again for about half a minute where it is busy.

    Raises
    ------
    WorkError
        It does not answer, refuses, or answers something else than a token.
    """
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(6) | stop_after_delay(25),
            wait=wait_random_exponential(multiplier=0.5, max=8),
            retry=retry_if_exception_type(_Busy),
            reraise=True,
        ):
            with attempt:
                return _token_of(_get(address, collection), collection)
    except _Busy as error:
        raise WorkError(
            f"The token endpoint {address} does not answer ({error}).",
            "Check catalog.token_url and that the service is up, then run again.",
        ) from None
    raise AssertionError("unreachable")  # pragma: no cover


def _get(address: str, collection: str) -> bytes:
    try:
        with requests.get(address, timeout=_TIMEOUT_S, stream=True) as reply:
            if reply.status_code == 429 or reply.status_code >= 500:
                raise _Busy(f"HTTP {reply.status_code}")
            if reply.status_code != 200:
                raise WorkError(
                    f"The token endpoint refused a token for {collection} (HTTP {reply.status_code}).",
                    "Check catalog.token_url and the name of the collection.",
                )
            content = b""
            for chunk in reply.iter_content(8192):
                content += chunk
                if len(content) > _REPLY_LIMIT_BYTES:
                    raise _not_a_token(collection)
            return content
    except requests.RequestException as error:
        raise _Busy(type(error).__name__) from None


def _token_of(content: bytes, collection: str) -> _Token:
    try:
        reply = json.loads(content)
        text, expiry = reply["token"], parse_instant(reply["msft:expiry"]).timestamp()
        if not (isinstance(text, str) and text.isprintable() and "sig=" in text and " " not in text):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        # The reply may hold half a token: not a word of it goes into the message.
        raise _not_a_token(collection) from None
    return _Token(text=text.lstrip("?"), expiry=expiry, fetched=datetime.now(UTC).timestamp())


def _not_a_token(collection: str) -> WorkError:
    return WorkError(
        f"The token endpoint's reply for {collection} is not a token.",
        "Check catalog.token_url: it must answer with 'msft:expiry' and 'token'.",
    )
