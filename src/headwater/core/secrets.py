"""Keeping secrets out of texts: the one place that cleans what is shown, logged or written.

Secrets are the queries of addresses (a signature or a token may be in them), the user and password before a host, and
values of keys that are known to hold a secret, whatever they are part of.
"""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"\?[^\s'\"]*")
_USER = re.compile(r"(?<=://)[^/\s'\"?#@]*(?:@[^/\s'\"?#@]*)*@")
_NAMED = re.compile(
    r"(?i)(?:\b|(?<=%3f)|(?<=%26))(sig|signature|x-amz-[a-z-]+|x-goog-[a-z-]+|access_token|token|password|subscription-key|api_?key)"
    r"(=|%3d|\"?:\s*\")[^\s&'\",}]+"
)
_HEADER = re.compile(r"(?i)\b(authorization|proxy-authorization|cookie|set-cookie)(['\"]?\s*:\s*)[^\r\n]+")
SECRET_WORDS = (
    "sig=",
    '"sig"',
    "signature",
    "key=",
    '"key"',
    "_key",
    "-key",
    "apikey",
    "access_token",
    "password",
    "secret",
)
"""Words of an address or a link that contains more than a place."""
_TALKATIVE = ("urllib3", "requests", "pystac_client", "rasterio", "odc", "stackstac", "fsspec", "asyncio")
"""Loggers of libraries that write addresses, headers and replies when they debug."""


def without_secrets(text: str) -> str:
    """Return a text without the queries, users and passwords of addresses and without values of secret keys."""
    return without_credentials(_QUERY.sub("", text))


def without_credentials(text: str) -> str:
    """Return a text without users, passwords and values of secret keys; a question mark stays."""
    text = _USER.sub("", text)
    return _HEADER.sub(r"\1\2...", _NAMED.sub(r"\1\2...", text))


def has_credentials(url: str) -> bool:
    """Whether an address contains a user, a password, or a key or signature in its query."""
    return _USER.search(url) is not None or any(word in url.partition("?")[2].lower() for word in SECRET_WORDS)


class _Cleaner(logging.Filter):
    """Cleans the records of a logger, for whatever handler gets them."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True


def quiet_loggers() -> None:
    """Switch off the debugging of libraries that would log secrets, and clean what they log nevertheless.

    Called where such a library is imported. Levels that are set afterwards stay: the records are cleaned.
    """
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    # Filters do not apply to the loggers below: each that writes an address is named.
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection", "pystac_client.stac_api_io"):
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Cleaner) for known in logger.filters):
            logger.addFilter(_Cleaner())
