"""Shared-access tokens of the demo catalogue, in the shape of the Planetary Computer's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from headwater.stac.intervals import parse_instant

DEFAULT_LIFETIME_S = 2700.0
"""As long as the Planetary Computer's tokens live."""


class Tokens:
    """Shared-access tokens, signed with a secret that lives as long as the process."""

    def __init__(self, *, lifetime_s: float) -> None:
        self._lifetime = timedelta(seconds=lifetime_s)
        self._secret = secrets.token_bytes(32)

    def issue(self, collection: str) -> tuple[str, str]:
        """Return the expiry and the token of a collection."""
        now = datetime.now(UTC)
        expiry = _instant(now + self._lifetime)
        # The Planetary Computer's tokens start a day back; only the expiry decides.
        words = {"st": _instant(now - timedelta(days=1)), "se": expiry, "sp": "rl"}
        return expiry, urlencode({**words, "sig": self._signature(collection, expiry)})

    def valid(self, collection: str, params: Mapping[str, str]) -> bool:
        """Whether the query of an address holds a token of this collection that has not expired."""
        expiry = params.get("se", "")
        if not hmac.compare_digest(self._signature(collection, expiry).encode(), params.get("sig", "").encode()):
            return False
        return datetime.now(UTC) < parse_instant(expiry)

    def _signature(self, collection: str, expiry: str) -> str:
        text = f"{collection}\n{expiry}".encode()
        return base64.b64encode(hmac.new(self._secret, text, hashlib.sha256).digest()).decode()


def _instant(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
