"""The signing scheme "planetary_computer": tokens of the Planetary Computer's own SDK."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
from typing import Any
from urllib.parse import parse_qs, urlsplit

from headwater.core.errors import NetworkError
from headwater.stac.items import Asset
from headwater.stac.tokens import Token, TokenCache, is_token_text, with_query

SDK_DEADLINE_S = 60.0
"""The SDK itself waits for an answer without end."""
_SDK_RETRIES = 5
"""Retries of 429 and 5xx; with the SDK's backoff about 25 s."""
_PUBLIC_ACCOUNT = "ai4edatasetspublicassets"
"""The SDK leaves its addresses as they are."""


class PlanetaryComputerSigner:
    """Appends tokens of the SDK, one per account and container of the service's blob storage.

    Parameters
    ----------
    token_url : None
        Not used: the SDK knows its endpoint.
    """

    def __init__(self, token_url: str | None = None) -> None:
        with warnings.catch_warnings():
            # The SDK declares its pydantic models in a manner that pydantic deprecates.
            warnings.simplefilter("ignore")
            import planetary_computer.sas as sas
            from planetary_computer.settings import Settings
        self._sas = sas
        self._settings = Settings
        self._tokens = TokenCache()

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        """Return the signed address of an asset; addresses that need no signature stay as they are."""
        parts = urlsplit(asset.href)
        account, _, domain = parts.netloc.partition(".")
        signed = {"st", "se", "sp"} & set(parse_qs(parts.query))
        if f".{domain}" != self._sas.BLOB_STORAGE_DOMAIN or account == _PUBLIC_ACCOUNT or signed:
            return asset.href
        container = parts.path.lstrip("/").split("/", 1)[0]
        settings = self._settings.get()
        # A subscriber's tokens must not be shared with other subscribers.
        subscriber = hashlib.sha256((settings.subscription_key or "").encode()).hexdigest()
        key = json.dumps([settings.sas_url, account, container, subscriber])
        token = self._tokens.token(key, lambda: self._fetch(account, container, asset.collection), renew=renew)
        return with_query(asset.href, token.text)

    def _fetch(self, account: str, container: str, collection: str) -> Token:
        """Request a token through the SDK, in a thread that is abandoned if it takes too long.

        Raises
        ------
        WorkError
            It returns no token in time.
        """
        found: list[Any] = []
        # The SDK would return its own cached token until the last minute of its life, even a refused one.
        self._sas.TOKEN_CACHE.pop(f"{self._settings.get().sas_url}/{account}/{container}", None)

        def request() -> None:
            try:
                found.append(self._sas.get_token(account, container, retry_total=_SDK_RETRIES))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=request, daemon=True)
        thread.start()
        thread.join(SDK_DEADLINE_S)
        reply = found[0] if found else TimeoutError()
        if isinstance(reply, Exception):
            # The message of an SDK error may contain the reply that it could not parse, token included.
            answer = getattr(reply, "response", None)
            why = f"HTTP {answer.status_code}" if answer is not None else type(reply).__name__
            raise NetworkError(
                f"The Planetary Computer returned no token for {collection} ({why}).",
                "Check the network and the service's state, then run again.",
            ) from None
        if not is_token_text(reply.token):
            raise NetworkError(
                f"The Planetary Computer's reply for {collection} is not a token.",
                "Check PC_SDK_SAS_URL if it is set, then run again.",
            )
        return Token(text=reply.token.lstrip("?"), expiry=reply.expiry.timestamp(), fetched=time.time())
