"""Opening rasters on disk and over the network: sign on open, retry, keep signatures out of messages.

How failures of the network are handled (tests/raster/test_opening.py simulates a server with each of them):

- 404, 410: the file was withdrawn. Reported at once (`AssetGone`).
- 401, 403: the token expired. Opened again with a new one; refused at once where no token was sent.
- Other 4xx, such as 409 (public access is not permitted): the server refuses. Reported at once.
- 429, 5xx: GDAL repeats the request a few times; after that the file is opened again, bypassing GDAL's cache.
- A reply cut short: `headwater.raster.truncation` detects it, and the file is opened again.
- A stalled server: a request ends after some seconds without progress.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import DatasetReader

from headwater.core.errors import HeadwaterError, InputError, NetworkError, WorkError
from headwater.core.retry import retry_policy
from headwater.core.seals import check_seal, damaged, is_result
from headwater.geo.grid import RasterGrid
from headwater.raster.gdal_messages import http_status, listening
from headwater.raster.remote_files import RemoteFile, ask, check_unchanged, has_content
from headwater.raster.sources import Source, is_remote, public_name, without_signature
from headwater.raster.truncation import check_blocks, check_header
from headwater.stac.items import Asset, Signer
from headwater.stac.validation import is_plain_address

_T = TypeVar("_T")

READ_ATTEMPTS = 8
READ_GIVE_UP_AFTER_S = 240.0
"""No further attempt begins after this."""
REQUEST_TIMEOUT_S = 120
STALL_S = 15
"""A request that transfers less than 4 kB per second for this long is aborted."""
GDAL_HTTP_OPTIONS: dict[str, Any] = {
    # As in the Planetary Computer's own examples.
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
    # A file's cache is dropped when it is closed: GDAL would replay cached failures and truncated replies.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
    "VSI_CACHE": "TRUE",
    # Bytes: rasterio passes a number to GDAL unchanged, where GDAL's own text option would mean megabytes.
    "GDAL_CACHEMAX": 256 * 2**20,
    # Their output has signed addresses in it.
    "CPL_DEBUG": "OFF",
    "CPL_CURL_VERBOSE": "NO",
    # Counted by file and request; headwater.raster.gdal_messages sums them.
    "CPL_VSIL_NETWORK_STATS_ENABLED": "YES",
}
READ_ERRORS = (RasterioError, CPLE_BaseError, UnicodeDecodeError)
"""Errors of rasterio, and those of GDAL that it passes on; the last is of a message that quotes a damaged file."""
REMOTE_DRIVERS = {"": "GTiff", ".jp2": "JP2OpenJPEG"}
"""Formats read from the network, by suffix. Others (VRT) may refer to further files, on this machine as well."""
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
"""First bytes of its two kinds of files."""
_LEADING_DOMAINS = ("OVERVIEWS", "GEOLOCATION")
"""Metadata that names other files, which GDAL opens: on this machine or any server, in any format."""
_BASE = ":::BASE:::"
"""In such a name: the file itself. Its overviews beside it are meant."""
MAX_SIDE_PX = 65_536
MAX_BLOCK_PX = 2**26
MAX_BANDS = 16
_MAX_BLOCK_BYTES = 2**27
_MAX_BLOCKS = 2**17
"""Each is looked up when a file is opened (`check_blocks`)."""
MAX_WINDOW_PX = 2**27
"""Pixels that one read may need of a file."""

_NETWORK_FAILED = re.compile(r"curl|HTTP|timed? ?out|too slow|connect|resolve host", re.IGNORECASE)
"""In a message of GDAL, without addresses: the request failed, and the file may be sound."""
_ADDRESS = re.compile(r"\S*://\S+|\S*/vsi\S+")
_GONE = (404, 410)
_REFUSED = (401, 403, 409)
"""Azure answers 409 where a file must not be read without a signature."""
_BUSY = (408, 412, 416, 425, 429)
"""Of the 4xx, those that another attempt may overcome; 412 is the answer where a file changed, 416 to a range of a
truncated one."""
_MAX_REFUSALS = 4
"""A server that refuses so many tokens does not allow this file to be read."""


class AssetGone(WorkError):
    """A file of a STAC item no longer exists."""


class AssetCorrupt(WorkError):
    """A file is there, and stays unreadable although nothing is wrong with the network."""


def with_retry(
    source: Source,
    signer: Signer | None,
    read: Callable[[DatasetReader], _T],
    *,
    level: int | None = None,
) -> _T:
    """Open a raster (at an overview level, if one is given) and read it; retry over the network.

    A remote source is opened and read up to `READ_ATTEMPTS` times, with random waits of `headwater.core.retry`; no
    attempt begins after `READ_GIVE_UP_AFTER_S`. A request takes at most `REQUEST_TIMEOUT_S`, and little more than
    `STALL_S` if nothing arrives; GDAL repeats some that fail, so an attempt may take three minutes. A read from a
    server that returns errors ends within two minutes, one from a server that stalls or trickles within a quarter of an
    hour, and one of a missing file at once.

    Parameters
    ----------
    source : Asset, Path or str
        A STAC asset, a file, or the text of a VRT.
    signer : Signer or None
        Returns the address to open for an asset.
    read : callable
        Reads from the open raster; may be called several times, each time on a newly opened raster.
    level : int, optional
        Overview to open.

    Raises
    ------
    AssetGone
        The server has no such file, or the path of an asset does not exist.
    AssetCorrupt
        It is there, but cannot be read.
    NetworkError
        The server does not return it.
    InputError
        A path does not exist, or the raster is not accepted from the network (see `open_once`).
    """
    _check_exists(source)
    policy = retry_policy(
        "read",
        READ_ERRORS,
        max_attempts=READ_ATTEMPTS if is_remote(source) else 1,
        give_up_after_s=READ_GIVE_UP_AFTER_S,
    )
    attempts = _Attempts()
    try:
        result: _T = policy(_read_once, source, signer, read, attempts, level=level)
    except READ_ERRORS as error:
        corrupt = not attempts.network_failed and _is_served(source, signer)
        raise unreadable(source, error, attempts.count, corrupt=corrupt) from None
    return result


@dataclass
class _Attempts:
    """The attempts so far to read one source."""

    count: int = 0
    refusals: int = 0
    """Attempts that failed with HTTP 401 or 403."""
    renew_token: bool = False
    """Whether the last attempt was refused."""
    network_failed: bool = False
    """Whether an HTTP status or curl's message came with the last failure."""


def _read_once(
    source: Source,
    signer: Signer | None,
    read: Callable[[DatasetReader], _T],
    attempts: _Attempts,
    *,
    level: int | None,
) -> _T:
    """Sign, open and read once; raise one of `READ_ERRORS` if another attempt may succeed."""
    attempts.count += 1
    with listening() as messages:
        address = _address(source, signer, renew=attempts.renew_token)
        try:
            file = ask_remote(source, address, signer)
            with rasterio.Env(**gdal_options(source, file)), open_once(source, file.address, level=level) as dataset:
                result = read(dataset)
            check_unchanged(file)
            return result
        except READ_ERRORS as error:
            status = http_status(error, messages)
            texts = (str(error), str(error.__cause__), *messages)
            attempts.network_failed = status is not None or any(
                _NETWORK_FAILED.search(_ADDRESS.sub("", text)) for text in texts
            )
            if status in _GONE:
                raise _gone(source) from None
            if status is None and _is_empty(address):
                raise _empty(source) from None
            attempts.renew_token = status in _REFUSED
            attempts.refusals += attempts.renew_token
            signed = isinstance(source, Asset) and address != source.href
            final = status is not None and 400 <= status < 500 and status not in (*_REFUSED, *_BUSY)
            if status is not None and (
                final or (attempts.renew_token and not signed) or attempts.refusals > _MAX_REFUSALS
            ):
                raise _refused(source, status, signed=signed) from None
            raise


def ask_remote(source: Source, address: str, signer: Signer | None) -> RemoteFile:
    """Return where a source is and which version: asked from its server, or the address itself on this machine.

    Raises
    ------
    RasterioIOError
        The server does not answer, or refuses.
    WorkError, InputError
        It redirects to a host that is not listed, or the address is not plain http(s).
    """
    if not is_remote(source):
        return RemoteFile(address)
    if not is_plain_address(address):
        raise InputError(
            f"{public_name(source)[:200]} is not opened: it is not a plain http(s) address or file path.",
            "Correct the address in the catalog.",
        )
    return ask(address, getattr(signer, "hosts", ()))


def gdal_options(source: Source, file: RemoteFile | None = None) -> dict[str, Any]:
    """Return the options of GDAL to read a source with, for `rasterio.Env`.

    Files next to a local raster count (.msk, .aux.xml, world files); over the network they are not looked for. With
    `file`, a server that can refuses to send parts of another version.
    """
    if is_remote(source):
        header = file.match_header if file is not None else ""
        return GDAL_HTTP_OPTIONS | ({"GDAL_HTTP_HEADERS": header} if header else {})
    return GDAL_HTTP_OPTIONS | {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}


def open_once(source: Source, address: str, *, level: int | None = None) -> DatasetReader:
    """Open the address of a source without retries; call it within a `rasterio.Env` of `gdal_options`.

    Raises
    ------
    RasterioError
        It cannot be opened, or not completely.
    InputError
        Its transform is not one; it is of an item and names other files; or it is remote and not accepted from the
        network: sides over `MAX_SIDE_PX`, blocks over `MAX_BLOCK_PX` or too many, more than `MAX_BANDS` bands.
    """
    options: dict[str, Any] = {} if level is None else {"overview_level": level}
    if not is_remote(source):
        if isinstance(source, Asset):
            return _open_local_asset(source, address, options)
        if isinstance(source, Path):
            check_seal(source)
        dataset = rasterio.open(address, **options)
        _check_transform(dataset, source)
        return dataset
    if level is not None:
        # GDAL would look for overviews, wherever the file says they are, before anything can be checked.
        raise ValueError("overviews of remote files are not opened by level")
    suffix = Path(public_name(source)).suffix.lower()
    with listening() as messages:
        dataset = rasterio.open(address, driver=REMOTE_DRIVERS.get(suffix, REMOTE_DRIVERS[""]), **options)
    try:
        check_header(messages)
        _check_leads_nowhere(dataset, source)
        _check_size(dataset, source)
        _check_transform(dataset, source)
        check_blocks(dataset, source)
    except BaseException:
        dataset.close()
        raise
    return dataset


def _open_local_asset(source: Asset, address: str, options: dict[str, Any]) -> DatasetReader:
    """Open a file of an item on this machine, whose catalog may come from others: in the same formats, by content."""
    with Path(address).open("rb") as file:
        suffix = ".jp2" if file.read(8).startswith(_JPEG_2000) else ""
    driver = REMOTE_DRIVERS[suffix]
    dataset = rasterio.open(address, driver=driver)
    try:
        _check_leads_nowhere(dataset, source)
        _check_transform(dataset, source)
    except BaseException:
        dataset.close()
        raise
    if not options:
        return dataset
    dataset.close()
    return rasterio.open(address, driver=driver, **options)


def _check_leads_nowhere(dataset: DatasetReader, source: Source) -> None:
    """Refuse a raster whose metadata names further files; to be called before anything looks for overviews."""
    for domain in _LEADING_DOMAINS:
        for name in dataset.tags(ns=domain).values():
            beside = name.startswith(_BASE) and not {"/", "\\", ":", "<"} & set(name.removeprefix(_BASE))
            if beside and domain == "OVERVIEWS" and not is_remote(source):
                continue
            raise InputError(
                f"{public_name(source)} is not accepted: its metadata ({domain}) names other files to read.",
                "Remove these tags: write the raster again, with its overviews inside.",
            )


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


def crs_of(dataset: DatasetReader, fallback: str | None, source: Source) -> CRS:
    """Return the CRS of an open raster, or else the one that its STAC item specifies.

    Raises
    ------
    InputError
        Neither is known, or it is a local one.
    """
    if dataset.crs is not None:
        if not (dataset.crs.is_geographic or dataset.crs.is_projected):
            raise InputError(
                f"{public_name(source)} has a local coordinate reference system, which has no place on the earth.",
                "Write its CRS into the file.",
            )
        return dataset.crs
    if fallback is None:
        raise InputError(f"{public_name(source)} has no coordinate reference system.", "Write its CRS into the file.")
    return CRS.from_user_input(fallback)


def unreadable(source: Source, error: BaseException, attempts: int, *, corrupt: bool = False) -> WorkError:
    """Return the error to raise for a raster that cannot be read: GDAL's message without signatures.

    Parameters
    ----------
    source : Asset, Path or str
        The raster.
    error : BaseException
        The last failure.
    attempts : int
        How often it was tried.
    corrupt : bool
        Whether its server returns it.
    """
    if isinstance(source, Path) and is_result(source):
        return damaged(source, f"it could not be read ({without_signature(str(error.__cause__ or error))})")
    tried = f" after {attempts} tries" if attempts > 1 else ""
    # GDAL's own message, where rasterio only refers to it.
    cause = f"{public_name(source)} could not be read{tried}: {without_signature(str(error.__cause__ or error))}."
    if corrupt:
        return AssetCorrupt(cause, "The file is damaged: request it from the provider, or create it again.")
    if is_remote(source):
        return NetworkError(cause, "Check that the file is complete and the server answers, then run again.")
    return AssetCorrupt(cause, "Check that the file is complete, or create it again.")


def _check_exists(source: Source) -> None:
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{source} does not exist.", "Give the path of a raster file.")
    if isinstance(source, Asset) and not is_remote(source) and not Path(source.href).is_file():
        raise _gone(source)


def _address(source: Source, signer: Signer | None, *, renew: bool) -> str:
    if not isinstance(source, Asset):
        return str(source)
    return signer(source, renew=renew) if signer is not None else source.href


def _check_size(dataset: DatasetReader, source: Source) -> None:
    block = max(height * width for height, width in dataset.block_shapes)
    blocks = max(-(-dataset.height // high) * -(-dataset.width // wide) for high, wide in dataset.block_shapes)
    # With pixel interleaving, a block of one band is decoded together with those of all others.
    block_bytes = block * dataset.count * max(_item_bytes(name) for name in dataset.dtypes)
    if (
        max(dataset.width, dataset.height) > MAX_SIDE_PX
        or dataset.count > MAX_BANDS
        or block > MAX_BLOCK_PX
        or block_bytes > _MAX_BLOCK_BYTES
        or blocks > _MAX_BLOCKS
    ):
        raise InputError(
            f"{public_name(source)} is not accepted from the network: {dataset.width} x {dataset.height} pixels, "
            f"{dataset.count} band(s), {blocks} blocks of {block} pixels.",
            f"Use files of at most {MAX_SIDE_PX} pixels a side and {MAX_BANDS} bands, in tiles of 256 to 4096 pixels.",
        )


def _check_transform(dataset: DatasetReader, source: Source) -> None:
    """Refuse a transform that places no pixel: with numbers that are not finite, or pixels without an area."""
    transform = dataset.transform
    area = transform.a * transform.e - transform.b * transform.d
    if not (np.isfinite(tuple(transform)[:6]).all() and np.isfinite(area) and area != 0):
        dataset.close()
        raise InputError(
            f"{public_name(source)} has a geotransform that places none of its pixels: {tuple(transform)[:6]}.",
            "Write the right transform into the file.",
        )


def check_window(width: float, height: float, source: Source) -> None:
    """Check the pixels that a read needs, before memory is asked for.

    Raises
    ------
    InputError
        They are more than `MAX_WINDOW_PX`.
    """
    if width * height > MAX_WINDOW_PX:
        raise InputError(
            f"{public_name(source)} has {width * height / 1e6:.0f} million pixels for a part that is read at once.",
            "Give a file whose pixels are not so much finer than those of the result.",
        )


def _item_bytes(name: str) -> int:
    # NumPy does not know GDAL's complex integers; no other type is as wide as complex128.
    return 16 if name.startswith("complex") else np.dtype(name).itemsize


def _is_empty(address: str) -> bool:
    """Return whether a file has no bytes; False if that cannot be determined."""
    if address.startswith(("http://", "https://")):
        try:
            return ask(address).version[1] == "0"
        except (RasterioIOError, WorkError):
            return False
    path = Path(address)
    return not address.startswith("<") and path.is_file() and path.stat().st_size == 0


def _is_served(source: Source, signer: Signer | None) -> bool:
    """Return whether a server still returns a file that could not be read; False if it is not from the network."""
    if not is_remote(source):
        return False
    try:
        return has_content(ask_remote(source, _address(source, signer, renew=False), signer).address)
    except (RasterioIOError, HeadwaterError):
        return False


def _empty(source: Source) -> WorkError:
    return AssetCorrupt(
        f"{public_name(source)} could not be read: it is empty (0 bytes).",
        "Request the file from the provider, or create it again.",
    )


def _gone(source: Source) -> AssetGone:
    return AssetGone(
        f"{public_name(source)} is no longer there.",
        "It was withdrawn since the scenes were selected: run 'snakemake refresh', then 'snakemake' again.",
    )


def _refused(source: Source, status: int, *, signed: bool) -> NetworkError:
    name = public_name(source)
    if status not in _REFUSED:
        return NetworkError(
            f"{name} could not be read: the server refuses the request (HTTP {status}).",
            "Check the address in the catalog, or set another catalog in catalog.url.",
        )
    if not signed:
        return NetworkError(
            f"{name} could not be read: the server refuses it without a signature (HTTP {status}).",
            "Set catalog.signing to the scheme of this catalog (planetary_computer, or token with catalog.token_url); "
            "if it has none, the file is not public. Tokens are sent to the host of catalog.token_url and to those of "
            "catalog.hosts only.",
        )
    return NetworkError(
        f"{name} could not be read: the server refuses it (HTTP {status}), with new tokens too.",
        "Check catalog.signing and catalog.token_url, and that access to the collection is allowed.",
    )
