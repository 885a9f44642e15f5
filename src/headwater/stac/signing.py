"""Signing addresses just before they are opened (pitfalls: SAS tokens live about 45 minutes).

A signed address is handed to the reader and to nothing else: it is never logged, stored or put into a message. Tokens
are shared by the processes of a user on a machine (`headwater.stac.tokens`).
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
from functools import cache
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.core.events import retrying
from headwater.stac.assets import Asset, Signer
from headwater.stac.intervals import parse_instant
from headwater.stac.tokens import Token, TokenCache, is_token_text

SIGNINGS = ("none", "token", "planetary_computer")

_REPLY_LIMIT_BYTES = 65_536
_TIMEOUT_S = (5.0, 15.0)
_SDK_RETRIES = 5
"""Of 429 and 5xx; with the SDK's backoff about 25 s."""
_SDK_PATIENCE_S = 60.0
"""The SDK waits for an answer without end."""
_PUBLIC_ACCOUNT = "ai4edatasetspublicassets"
"""The SDK leaves its addresses as they are."""


@cache
def make_signer(signing: str, token_url: str | None = None) -> Signer:
    """Return the signer a configuration names; the same one each time within a process.

    Parameters
    ----------
    signing : str
        "none"; "token": an endpoint of the Planetary Computer's shape, GET {token_url}/{collection};
        "planetary_computer": the SDK, which knows the service's addresses and takes PC_SDK_SUBSCRIPTION_KEY and
        PC_SDK_SAS_URL from the environment or its settings file.
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
    """Tokens from the service's own SDK, one per account and container of its blob storage."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # The SDK declares its pydantic models in a manner that pydantic deprecates.
            warnings.simplefilter("ignore")
            import planetary_computer.sas as sas
            from planetary_computer.settings import Settings
        self._sas = sas
        self._settings = Settings
        self._tokens = TokenCache()

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        parts = urlsplit(asset.href)
        account, _, domain = parts.netloc.partition(".")
        signed = {"st", "se", "sp"} & set(parse_qs(parts.query))
        if f".{domain}" != self._sas.BLOB_STORAGE_DOMAIN or account == _PUBLIC_ACCOUNT or signed:
            return asset.href
        container = parts.path.lstrip("/").split("/", 1)[0]
        settings = self._settings.get()
        # A subscriber's tokens are not everybody's.
        subscriber = hashlib.sha256((settings.subscription_key or "").encode()).hexdigest()
        key = json.dumps([settings.sas_url, account, container, subscriber])
        token = self._tokens.token(key, lambda: self._fetch(account, container, asset.collection), renew=renew)
        return _with_query(asset.href, token.text)

    def _fetch(self, account: str, container: str, collection: str) -> Token:
        """Ask the SDK, in a thread that is left alone when it takes too long.

        Raises
        ------
        WorkError
            It gives no token in time.
        """
        found: list[Any] = []
        # The SDK would give its own kept token until the last minute of its life, even one that was refused.
        self._sas.TOKEN_CACHE.pop(f"{self._settings.get().sas_url}/{account}/{container}", None)

        def ask() -> None:
            try:
                found.append(self._sas.get_token(account, container, retry_total=_SDK_RETRIES))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(_SDK_PATIENCE_S)
        reply = found[0] if found else TimeoutError()
        if isinstance(reply, Exception):
            # Whatever the SDK raises: a reply that it cannot parse may stand in its message, token and all.
            answer = getattr(reply, "response", None)
            why = f"HTTP {answer.status_code}" if answer is not None else type(reply).__name__
            raise NetworkError(
                f"The Planetary Computer gave no token for {collection} ({why}).",
                "Check the network and the service's state, then run again.",
            ) from None
        if not is_token_text(reply.token):
            raise NetworkError(
                f"The Planetary Computer's reply for {collection} is not a token.",
                "Check PC_SDK_SAS_URL if it is set, then run again.",
            )
        return Token(text=reply.token.lstrip("?"), expiry=reply.expiry.timestamp(), fetched=time.time())


class _Busy(Exception):
    """The endpoint did not answer, or asked to come back later."""


class _TokenSigner:
    """Tokens of an endpoint of the Planetary Computer's shape, one per collection."""

    def __init__(self, token_url: str) -> None:
        self._token_url = token_url
        self._tokens = TokenCache()

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        parts = urlsplit(asset.href)
        # A token never goes over an open line, unless it came over one.
        schemes = ("https",) if self._token_url.startswith("https://") else ("http", "https")
        if parts.scheme not in schemes or "sig" in parse_qs(parts.query):
            return asset.href
        address = f"{self._token_url}/{quote(asset.collection, safe='')}"
        token = self._tokens.token(address, lambda: _fetch_token(address, asset.collection), renew=renew)
        return _with_query(asset.href, token.text)


def _with_query(href: str, query: str) -> str:
    return f"{href}{'&' if '?' in href else '?'}{query}"


def _fetch_token(address: str, collection: str) -> Token:
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
            before_sleep=retrying("token"),
            reraise=True,
        ):
            with attempt:
                return _token_of(_get(address, collection), collection)
    except _Busy as error:
        raise NetworkError(
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
                raise NetworkError(
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


def _token_of(content: bytes, collection: str) -> Token:
    try:
        reply = json.loads(content)
        text, expiry = reply["token"], parse_instant(reply["msft:expiry"]).timestamp()
        if not is_token_text(text):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        # The reply may hold half a token: not a word of it goes into the message.
        raise _not_a_token(collection) from None
    return Token(text=text.lstrip("?"), expiry=expiry, fetched=time.time())


def _not_a_token(collection: str) -> WorkError:
    return NetworkError(
        f"The token endpoint's reply for {collection} is not a token.",
        "Check catalog.token_url: it must answer with 'msft:expiry' and 'token'.",
    )
