"""What GDAL reports besides its errors: warnings (without signatures), HTTP status codes and network traffic.

Importing this module keeps GDAL's messages away from the root logger, whose handlers would print signed addresses, and
adds GDAL's traffic to the numbers of a job.
"""

from __future__ import annotations

import ctypes
import json
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from headwater.core.events import BYTES, REQUESTS, RETRIES, add_meter, count
from headwater.core.secrets import quiet_loggers
from headwater.raster.sources import without_signature

_STATUS = re.compile(r"(?:HTTP response code: |HTTP response code on \S+ |response_code=)(\d{3})")
_RETRIED = "Retrying again"
"""Part of GDAL's message when it repeats a request by itself."""
_MAX_MESSAGES = 100

quiet_loggers()
logging.getLogger("rasterio").addHandler(logging.NullHandler())
logging.getLogger("rasterio").propagate = False


class _MessageFilter(logging.Filter):
    """Collects GDAL's messages, which rasterio passes to its logger, for each thread separately.

    Handlers that others attach to the logger receive the messages without signatures.
    """

    def __init__(self) -> None:
        super().__init__()
        self._of_thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_signature(record.getMessage()), ()
        if _RETRIED in record.msg:
            count(RETRIES)
        for messages in getattr(self._of_thread, "listeners", ()):
            if len(messages) < _MAX_MESSAGES:
                messages.append(record.msg)
        return True

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        messages: list[str] = []
        before: tuple[list[str], ...] = getattr(self._of_thread, "listeners", ())
        self._of_thread.listeners = (*before, messages)
        try:
            yield messages
        finally:
            self._of_thread.listeners = before


_FILTER = _MessageFilter()
listening = _FILTER.listening
"""Context manager that yields the list of GDAL's messages in this thread while the block runs."""
logging.getLogger("rasterio._env").addFilter(_FILTER)
logging.getLogger("rasterio._env").setLevel(logging.WARNING)


def http_status(error: BaseException, messages: Sequence[str]) -> int | None:
    """Return the HTTP status that made a read fail, from the error or GDAL's messages; None if neither has one."""
    link: BaseException | None = error
    while link is not None:
        found = _STATUS.search(str(link))
        if found:
            return int(found[1])
        link = link.__cause__
    failed = [int(status) for text in messages for status in _STATUS.findall(text) if int(status) >= 400]
    return failed[-1] if failed else None


def _traffic() -> dict[str, int]:
    """Return GDAL's bytes and requests in this process; rasterio does not expose them, so GDAL is called directly."""
    gdal = _gdal()
    statistics, free = gdal.VSINetworkStatsGetAsSerializedJSON, gdal.VSIFree
    statistics.restype, statistics.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    free.argtypes = [ctypes.c_void_p]
    text = statistics(None)
    try:
        methods = json.loads(ctypes.string_at(text)).get("methods", {}).values()
    finally:
        free(text)
    return {
        BYTES: sum(method.get("downloaded_bytes", 0) for method in methods),
        REQUESTS: sum(method.get("count", 0) for method in methods),
    }


def _gdal() -> ctypes.CDLL:
    """Return the GDAL that rasterio uses."""
    from rasterio import _env

    return ctypes.CDLL(_env.__file__)


def _switch_off_debugging() -> None:
    """Switch off what GDAL and curl print to stderr when CPL_DEBUG or CPL_CURL_VERBOSE are set: signed addresses.

    For the process: a file that is closed outside of `rasterio.Env` is named too.
    """
    with suppress(AttributeError, OSError):
        configure = _gdal().CPLSetConfigOption
        configure.restype, configure.argtypes = None, [ctypes.c_char_p, ctypes.c_char_p]
        for name in (b"CPL_DEBUG", b"CPL_CURL_VERBOSE", b"CPL_CURL_VERBOSE_DATA_IN"):
            configure(name, b"OFF")


_switch_off_debugging()
add_meter(_traffic)
