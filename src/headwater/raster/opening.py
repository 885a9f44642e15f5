"""Opening rasters on disk and over the network: signed at the last moment, tried again, told without signatures.

What the network may do, and what is done about it (tests/raster/test_opening.py asks a server that fails):

- 404, 410: the file was withdrawn. Told at once (`AssetGone`).
- 401, 403: the token ended. Opened again with another one.
- 429, 5xx: GDAL asks again a few times; after that the file is opened again, past what GDAL has kept.
- A reply cut short: GDAL notices it in pixels, but not always in a header. It may go on without the CRS or the
  transform that it could not read, and warns: so its warnings are listened to while a file is opened. It may take
  blocks or overviews for missing, and says nothing: so a file that misses some is believed when seen three times.
- A server that stands still: a request ends after some seconds without progress.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.core.events import BYTES, REQUESTS, RETRIES, add_meter, count, retrying, without_query
from headwater.geo.grid import RasterGrid
from headwater.stac.items import Asset, Signer

_T = TypeVar("_T")

READ_ATTEMPTS = 8
READ_PATIENCE_S = 240.0
"""No new try begins after this."""
REQUEST_TIMEOUT_S = 120
STALL_S = 15
"""A request that gets less than 4 kB a second for so long is given up."""
GDAL_HTTP_OPTIONS: dict[str, Any] = {
    # As the Planetary Computer's own examples set them (pitfalls: usual GDAL settings).
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32000",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": str(REQUEST_TIMEOUT_S),
    "GDAL_HTTP_LOW_SPEED_TIME": str(STALL_S),
    "GDAL_HTTP_LOW_SPEED_LIMIT": "4000",
    # What was read of a file is forgotten when it is closed: GDAL replays failures and halves of replies that it kept.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
    "VSI_CACHE": "TRUE",
    # Bytes: rasterio hands a number to GDAL as it is, where GDAL's own text option would mean megabytes.
    "GDAL_CACHEMAX": 256 * 2**20,
    # Counted by file and request; _traffic sums them.
    "CPL_VSIL_NETWORK_STATS_ENABLED": "YES",
}
READ_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises, and what of GDAL's it lets through."""
REMOTE_DRIVERS = {"": "GTiff", ".jp2": "JP2OpenJPEG"}
"""Formats taken from the network, by suffix. Others (VRT) may name further files, of this machine too."""
MAX_SIDE_PX = 65_536
MAX_BLOCK_PX = 2**26
MAX_BANDS = 16
_MAX_BLOCK_BYTES = 2**29

_GONE = (404, 410)
_REFUSED = (401, 403)
_MOST_REFUSALS = 4
"""A server that refuses so many tokens in a row does not want this file to be read."""
_STATUS = re.compile(r"(?:HTTP response code: |HTTP response code on \S+ |response_code=)(\d{3})")
_AGAIN = "Retrying again"
"""What GDAL says when it repeats a request by itself."""
_CUT_HEADER = re.compile(r"IO error|[Cc]an ?not read|Failed to read|Read error")
_MOST_HEARD = 100
_SIGHTINGS = 3
_DOUBTS: dict[tuple[str, str], tuple[object, int]] = {}
"""By file and kind of fact: the doubtful fact, and how often in a row it was seen."""
_DOUBTS_LOCK = threading.Lock()

# GDAL's messages hold the signed address; ours (below) are told without it.
logging.getLogger("rasterio").addHandler(logging.NullHandler())
logging.getLogger("rasterio").propagate = False


class AssetGone(WorkError):
    """A file that a STAC item names is not there any more."""


def with_retry(
    source: Asset | Path | str,
    signer: Signer | None,
    read: Callable[[DatasetReader], _T],
    *,
    level: int | None = None,
) -> _T:
    """Open (at an overview level, if one is given) and read.

    What comes over the network is opened and read again where that fails, up to `READ_ATTEMPTS` times, with a pause
    that doubles (drawn at random, 10 s at most); no try begins after `READ_PATIENCE_S`. A request lasts
    `REQUEST_TIMEOUT_S` at most, and little more than `STALL_S` where nothing comes; GDAL repeats some that fail, so a
    try may take three minutes. A read from a server that answers errors is over within two minutes, one from a server
    that falls silent or dribbles within a quarter of an hour, and one of a file that is gone at once.

    Parameters
    ----------
    source : Asset, Path or str
        A STAC asset, a file, or the text of a VRT.
    signer : Signer or None
        Gives the address to open for an asset.
    read : callable
        Reads from the open raster; may be called several times, for a whole raster each time.
    level : int, optional
        Overview to open.

    Raises
    ------
    AssetGone
        The server has no such file, or the path of an asset leads nowhere.
    WorkError
        It cannot be read.
    InputError
        A path leads nowhere, or the raster is not one to be taken from the network (see `open_once`).
    """
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{source} does not exist.", "Give the path of a raster file.")
    remote = is_remote(source)
    if isinstance(source, Asset) and not remote and not Path(source.href).is_file():
        raise _gone(source)
    tries, refusals, renew = 0, 0, False
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(READ_ATTEMPTS if remote else 1) | stop_after_delay(READ_PATIENCE_S),
            wait=wait_random_exponential(multiplier=0.3, max=10),
            retry=retry_if_exception_type(READ_ERRORS),
            before_sleep=retrying("read"),
            reraise=True,
        ):
            with attempt, _listening() as heard:
                tries += 1
                address = _address(source, signer, renew=renew)
                try:
                    with rasterio.Env(**GDAL_HTTP_OPTIONS), open_once(source, address, level=level) as dataset:
                        return read(dataset)
                except READ_ERRORS as error:
                    status = _http_status(error, heard)
                    if status in _GONE:
                        raise _gone(source) from None
                    if status is None and _is_empty(address):
                        raise _empty(source) from None
                    renew = status in _REFUSED
                    refusals += renew
                    if refusals > _MOST_REFUSALS:
                        break
                    raise
    except READ_ERRORS as error:
        raise unreadable(source, error, tries) from None
    raise NetworkError(
        f"{public_name(source)} could not be read: the server refuses it (HTTP 401 or 403), with new tokens too.",
        "Check catalog.signing and catalog.token_url, and that the collection may be read.",
    )


def is_remote(source: Asset | Path | str) -> bool:
    """Whether a source is a STAC asset that lies on another machine, or claims to be something else than a file."""
    return isinstance(source, Asset) and ("://" in source.href or source.href.startswith(("/vsi", "<")))


def open_once(source: Asset | Path | str, address: str, *, level: int | None = None) -> DatasetReader:
    """Open the address of a source; within a `rasterio.Env` of the options above, and without trying again.

    Raises
    ------
    RasterioError
        It cannot be opened, or not whole.
    InputError
        It comes from the network and is no raster to be taken from there: sides over `MAX_SIDE_PX`, blocks over
        `MAX_BLOCK_PX`, more than `MAX_BANDS` bands.
    """
    options: dict[str, Any] = {} if level is None else {"overview_level": level}
    if not is_remote(source):
        return rasterio.open(address, **options)
    suffix = Path(public_name(source)).suffix.lower()
    with _listening() as heard:
        dataset = rasterio.open(address, driver=REMOTE_DRIVERS.get(suffix, REMOTE_DRIVERS[""]), **options)
    try:
        if any(_CUT_HEADER.search(text) for text in heard):
            raise RasterioIOError("its header came incomplete")
        _check_size(dataset, source)
        check_blocks(dataset, source)
    except BaseException:
        dataset.close()
        raise
    return dataset


def check_blocks(dataset: DatasetReader, source: Asset | Path | str, *, overview: int | None = None) -> None:
    """Doubt a GeoTIFF from the network, or one overview of it, in which blocks are missing: they would read as 0.

    Raises
    ------
    RasterioIOError
        See `doubt`.
    """
    if dataset.driver != "GTiff":
        return
    height, width = dataset.block_shapes[0]
    shrink = 1 if overview is None else dataset.overviews(1)[overview]
    rows, columns = -(-dataset.height // (height * shrink)), -(-dataset.width // (width * shrink))
    missing = sum(
        dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1, ovr=overview) is None
        for row in range(rows)
        for column in range(columns)
    )
    doubt(source, f"missing blocks of overview {overview}", missing)


def doubt(source: Asset | Path | str, what: str, fact: object) -> None:
    """Doubt a fact that may come of a reply cut short, until it was seen three times in a row.

    Parameters
    ----------
    source : Asset, Path or str
        The file.
    what : str
        What the fact is about.
    fact : object
        What was seen; nothing to be doubted if it is false.

    Raises
    ------
    RasterioIOError
        It is not believed yet: the file should be opened again.
    """
    key = (public_name(source), what)
    with _DOUBTS_LOCK:
        if not fact:
            _DOUBTS.pop(key, None)
            return
        before, times = _DOUBTS.get(key, (None, 0))
        times = times + 1 if before == fact else 1
        _DOUBTS[key] = (fact, times)
    if times < _SIGHTINGS:
        raise RasterioIOError("its header seems to be incomplete")


def grid_of(dataset: DatasetReader, source: Path | str) -> RasterGrid:
    """Return the grid of an open raster.

    Raises
    ------
    InputError
        It is not north-up in EPSG:4326.
    """
    crs, transform = dataset.crs, dataset.transform
    if crs is None or crs.to_epsg() != 4326 or transform.b or transform.d or transform.e >= 0:
        raise InputError(
            f"{public_name(source)} is not a north-up raster in EPSG:4326.", "Reproject it to EPSG:4326 first."
        )
    return RasterGrid(
        west=transform.c,
        north=transform.f,
        dx=transform.a,
        dy=-transform.e,
        width=dataset.width,
        height=dataset.height,
    )


def crs_of(dataset: DatasetReader, fallback: str | None, source: Asset | Path | str) -> CRS:
    """Return the CRS of an open raster, or the one that its STAC item tells.

    Raises
    ------
    InputError
        Neither is known.
    """
    if dataset.crs is not None:
        return dataset.crs
    if fallback is None:
        raise InputError(f"{public_name(source)} has no coordinate reference system.", "Write its CRS into the file.")
    return CRS.from_user_input(fallback)


def public_name(source: Asset | Path | str) -> str:
    """Return what to call a source in a message: never its signature."""
    text = source.href if isinstance(source, Asset) else str(source)
    return "The mosaic" if text.startswith("<VRT") else _without_signature(text)


def _address(source: Asset | Path | str, signer: Signer | None, *, renew: bool) -> str:
    if not isinstance(source, Asset):
        return str(source)
    return signer(source, renew=renew) if signer is not None else source.href


def _check_size(dataset: DatasetReader, source: Asset | Path | str) -> None:
    block = max(height * width for height, width in dataset.block_shapes)
    # Where pixels are interleaved, a block of one band is decoded with those of all others.
    block_bytes = block * dataset.count * max(_item_bytes(name) for name in dataset.dtypes)
    if (
        max(dataset.width, dataset.height) > MAX_SIDE_PX
        or dataset.count > MAX_BANDS
        or block > MAX_BLOCK_PX
        or block_bytes > _MAX_BLOCK_BYTES
    ):
        raise InputError(
            f"{public_name(source)} is not taken from the network: {dataset.width} x {dataset.height} pixels, "
            f"{dataset.count} band(s), blocks of {block} pixels.",
            f"Use tiled files of at most {MAX_SIDE_PX} pixels a side and {MAX_BANDS} bands.",
        )


def _item_bytes(name: str) -> int:
    # Complex whole numbers are GDAL's own; no other type is as wide as complex128.
    return 16 if name.startswith("complex") else np.dtype(name).itemsize


class _Ear(logging.Filter):
    """Hears what GDAL says beside its errors, each thread for itself; rasterio hands it to its logger.

    What goes on from there to the handlers of whoever wants it holds no signature.
    """

    def __init__(self) -> None:
        super().__init__()
        self._heard = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _without_signature(record.getMessage()), ()
        if _AGAIN in record.msg:
            count(RETRIES)
        for texts in getattr(self._heard, "listeners", ()):
            if len(texts) < _MOST_HEARD:
                texts.append(record.msg)
        return True

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        texts: list[str] = []
        before: tuple[list[str], ...] = getattr(self._heard, "listeners", ())
        self._heard.listeners = (*before, texts)
        try:
            yield texts
        finally:
            self._heard.listeners = before


_EAR = _Ear()
_listening = _EAR.listening
logging.getLogger("rasterio._env").addFilter(_EAR)
logging.getLogger("rasterio._env").setLevel(logging.WARNING)


def _traffic() -> dict[str, int]:
    """Return bytes and requests of GDAL in this process; rasterio has no word for it, so GDAL itself is asked."""
    import ctypes

    from rasterio import _env

    gdal = ctypes.CDLL(_env.__file__)
    told, free = gdal.VSINetworkStatsGetAsSerializedJSON, gdal.VSIFree
    told.restype, told.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p], [ctypes.c_void_p]
    text = told(None)
    try:
        methods = json.loads(ctypes.string_at(text)).get("methods", {}).values()
    finally:
        free(text)
    return {
        BYTES: sum(method.get("downloaded_bytes", 0) for method in methods),
        REQUESTS: sum(method.get("count", 0) for method in methods),
    }


add_meter(_traffic)


def _http_status(error: BaseException, heard: Sequence[str]) -> int | None:
    """Return the status of the reply that a read failed with, as far as GDAL tells."""
    link: BaseException | None = error
    while link is not None:
        found = _STATUS.search(str(link))
        if found:
            return int(found[1])
        link = link.__cause__
    told = [int(status) for text in heard for status in _STATUS.findall(text) if int(status) >= 400]
    return told[-1] if told else None


def _is_empty(address: str) -> bool:
    """Whether a file has no bytes at all; False where that cannot be found out."""
    if address.startswith(("http://", "https://")):
        try:
            # urllib logs nothing: the address is signed.
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=STALL_S) as reply:
                return str(reply.headers.get("Content-Length")) == "0"
        except (OSError, ValueError, HTTPException):
            return False
    path = Path(address)
    return not address.startswith("<") and path.is_file() and path.stat().st_size == 0


def _empty(source: Asset | Path | str) -> WorkError:
    return WorkError(
        f"{public_name(source)} could not be read: it is empty (0 bytes).",
        "Ask the provider for the file, or make it again.",
    )


def _gone(source: Asset | Path | str) -> AssetGone:
    return AssetGone(
        f"{public_name(source)} is no longer there.",
        "It was withdrawn since the scenes were selected: run 'snakemake refresh', then 'snakemake' again.",
    )


def unreadable(source: Asset | Path | str, error: BaseException, tries: int) -> WorkError:
    """Return the error to raise where a raster cannot be read, in GDAL's words without signatures."""
    tried = f" after {tries} tries" if tries > 1 else ""
    return (NetworkError if is_remote(source) else WorkError)(
        # GDAL's own words, where rasterio only points to them.
        f"{public_name(source)} could not be read{tried}: {_without_signature(str(error.__cause__ or error))}.",
        "Check that the file is whole and the server answers, then run again."
        if is_remote(source)
        else "Check that the file is whole, or make it again.",
    )


def _without_signature(text: str) -> str:
    """Cut the query of every address out of a text: it may hold a signature."""
    return without_query(text).strip().rstrip(".")
