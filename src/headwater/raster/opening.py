"""Opening rasters on disk and over the network: signed at the last moment, tried again, told without signatures."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from headwater.catalog.assets import Asset, Signer
from headwater.errors import InputError, WorkError
from headwater.grid import RasterGrid

_T = TypeVar("_T")

READ_ATTEMPTS = 5
GDAL_HTTP_OPTIONS: dict[str, Any] = {
    # As the Planetary Computer's own examples set them (pitfalls: usual GDAL settings).
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32000",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "60",
    "VSI_CACHE": "TRUE",
    # Bytes: rasterio hands a number to GDAL as it is, where GDAL's own text option would mean megabytes.
    "GDAL_CACHEMAX": 256 * 2**20,
}
_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises, and what of GDAL's it lets through."""
_SIGNATURE = re.compile(r"\?[^\s'\"]*")

# GDAL's messages hold the signed address; ours (below) are told without it.
logging.getLogger("rasterio").addHandler(logging.NullHandler())
logging.getLogger("rasterio").propagate = False


def with_retry(
    source: Asset | Path | str,
    signer: Signer | None,
    read: Callable[[DatasetReader], _T],
    *,
    level: int | None = None,
) -> _T:
    """Open (at an overview level, if one is given) and read.

    On failure open again, signed afresh and past GDAL's cache of failed requests.
    """
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{source} does not exist.", "Give the path of a raster file.")
    remote = isinstance(source, Asset) and source.href.startswith(("http://", "https://"))
    attempts = READ_ATTEMPTS if remote else 1
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.3, max=10),
            retry=retry_if_exception_type(_ERRORS),
            reraise=True,
        ):
            with attempt:
                again = attempt.retry_state.attempt_number > 1
                with _open(source, signer, again=again, level=level) as dataset:
                    return read(dataset)
    except _ERRORS as error:
        tried = f" after {attempts} tries" if attempts > 1 else ""
        raise WorkError(
            # GDAL's own words, where rasterio only points to them.
            f"{public_name(source)} could not be read{tried}: {_without_signature(str(error.__cause__ or error))}.",
            "Check that the file is whole and the server answers, then run again."
            if remote
            else "Check that the file is whole, or make it again.",
        ) from None
    raise AssertionError("unreachable")  # pragma: no cover


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


@contextmanager
def _open(
    source: Asset | Path | str, signer: Signer | None, *, again: bool, level: int | None
) -> Iterator[DatasetReader]:
    options = dict(GDAL_HTTP_OPTIONS)
    if again:
        # GDAL replays a cached failure: read past its cache.
        options["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/"
    if isinstance(source, Asset):
        address = signer(source, renew=again) if signer is not None else source.href
    else:
        address = str(source)
    opening: dict[str, Any] = {} if level is None else {"overview_level": level}
    with rasterio.Env(**options), rasterio.open(address, **opening) as dataset:
        yield dataset


def _without_signature(text: str) -> str:
    """Cut the query of every address out of a text: it may hold a signature."""
    return _SIGNATURE.sub("", text).strip().rstrip(".")
