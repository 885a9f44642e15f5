"""The signing scheme "token": tokens of an endpoint of the Planetary Computer's shape, one per collection."""

from __future__ import annotations

import json
import time
from urllib.parse import parse_qs, quote, urlsplit

import requests

from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.core.http import RedirectRefused, bounded_session, time_limit
from headwater.core.retry import retry_policy
from headwater.stac.hosts import may_get_token
from headwater.stac.intervals import parse_instant
from headwater.stac.items import Asset
from headwater.stac.tokens import Token, TokenCache, is_token_text, with_query

PATIENCE_S = 30.0
_TIMEOUT_S = (5.0, 15.0)
_REPLY_TIMEOUT_S = 20.0
"""A reply is complete after this, to its last byte."""
_MAX_REPLY_BYTES = 65_536


class TokenSigner:
    """Appends a token of an endpoint to http(s) addresses.

    Parameters
    ----------
    token_url : str
        Address of the endpoint, without the collection.
    hosts : tuple of str
        Hosts that its tokens may be sent to, besides its own and those of `headwater.stac.hosts`.

    Raises
    ------
    InputError
        There is no address, or it is not http(s).
    """

    def __init__(self, token_url: str | None, *, hosts: tuple[str, ...] = ()) -> None:
        if not token_url or not token_url.startswith(("http://", "https://")):
            raise InputError(
                "The signing 'token' needs the address of a token endpoint.",
                "Set catalog.token_url to an http(s) address.",
            )
        self._token_url = token_url.rstrip("/")
        self._hosts = hosts
        self._tokens = TokenCache()

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        """Return the signed address of an asset; addresses that need no signature stay as they are."""
        parts = urlsplit(asset.href)
        # A token is never sent over an unencrypted connection, unless it came over one.
        schemes = ("https",) if self._token_url.startswith("https://") else ("http", "https")
        if parts.scheme not in schemes or "sig" in parse_qs(parts.query):
            return asset.href
        # An item may name any host: only those that the endpoint serves get its token.
        if not may_get_token(self._token_url, asset.href, self._hosts):
            return asset.href
        address = f"{self._token_url}/{quote(asset.collection, safe='')}"
        token = self._tokens.token(address, lambda: _fetch_token(address, asset.collection), renew=renew)
        return with_query(asset.href, token.text)


class _Busy(Exception):
    """The endpoint did not answer, or requests to come back later."""


def _fetch_token(address: str, collection: str) -> Token:
    """Request a token; where the endpoint is busy, retry for about half a minute.

    Raises
    ------
    WorkError
        It does not answer, refuses, or returns something other than a token.
    """
    policy = retry_policy(
        "token",
        _Busy,
        multiplier_s=0.5,
        max_wait_s=8,
        deadline_s=PATIENCE_S,
    )
    try:
        return policy(lambda: _parsed(_get(address, collection), collection))
    except _Busy as error:
        raise NetworkError(
            f"The token endpoint {address} does not answer ({error}).",
            "Check catalog.token_url and that the service is up, then run again.",
        ) from None


def _get(address: str, collection: str) -> bytes:
    try:
        with (
            time_limit(_REPLY_TIMEOUT_S),
            bounded_session(may_redirect=lambda *_: False) as session,
            # A token must come from the endpoint itself.
            session.get(address, timeout=_TIMEOUT_S, stream=True) as reply,
        ):
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
                if len(content) > _MAX_REPLY_BYTES:
                    raise _not_a_token(collection)
            return content
    except RedirectRefused:
        raise NetworkError(
            f"The token endpoint redirects the request of a token for {collection} elsewhere.",
            "Set catalog.token_url to the address of the endpoint itself.",
        ) from None
    except requests.RequestException as error:
        raise _Busy(type(error).__name__) from None


def _parsed(content: bytes, collection: str) -> Token:
    try:
        reply = json.loads(content)
        text, expiry = reply["token"], parse_instant(reply["msft:expiry"]).timestamp()
        if not is_token_text(text):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        # The reply may contain half a token: none of it goes into the message.
        raise _not_a_token(collection) from None
    return Token(text=text.lstrip("?"), expiry=expiry, fetched=time.time())


def _not_a_token(collection: str) -> WorkError:
    return NetworkError(
        f"The token endpoint's reply for {collection} is not a token.",
        "Check catalog.token_url: it must answer with 'msft:expiry' and 'token'.",
    )
