"""Replies cut short: checks that a raster from the network was opened completely.

GDAL notices a truncated reply in pixels, but not always in a header. It may continue without the CRS or the transform
that it could not read, and only warns. It may also treat blocks or overviews as missing, without any message; such a
file is accepted only after the same finding in `_SIGHTINGS` consecutive attempts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

from headwater.raster.sources import Source, public_name

_CUT_HEADER = re.compile(r"IO error|[Cc]an ?not read|Failed to read|Read error")
_SIGHTINGS = 3
_SUSPICIONS: dict[tuple[str, str], tuple[object, int]] = {}
"""By file and kind of finding: the suspicious finding, and how often in a row it was seen."""
_SUSPICIONS_LOCK = threading.Lock()


def check_header(messages: Sequence[str]) -> None:
    """Check GDAL's messages while a file was opened.

    Raises
    ------
    RasterioIOError
        GDAL could not read a part of the header.
    """
    if any(_CUT_HEADER.search(text) for text in messages):
        raise RasterioIOError("its header came incomplete")


def check_blocks(dataset: DatasetReader, source: Source, *, overview: int | None = None) -> None:
    """Check a GeoTIFF from the network, or one of its overviews, for missing blocks: they would be read as 0.

    Raises
    ------
    RasterioIOError
        See `check_suspicion`.
    """
    if dataset.driver != "GTiff":
        return
    height, width = dataset.block_shapes[0]
    factor = 1 if overview is None else dataset.overviews(1)[overview]
    rows, columns = -(-dataset.height // (height * factor)), -(-dataset.width // (width * factor))
    missing = sum(
        dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1, ovr=overview) is None
        for row in range(rows)
        for column in range(columns)
    )
    check_suspicion(source, f"missing blocks of overview {overview}", missing)


def check_suspicion(source: Source, kind: str, finding: object) -> None:
    """Reject a finding that may result from a truncated reply, until it was seen `_SIGHTINGS` times in a row.

    Parameters
    ----------
    source : Asset, Path or str
        The file.
    kind : str
        What the finding is about.
    finding : object
        What was found; falsy if it is not suspicious.

    Raises
    ------
    RasterioIOError
        The finding is not confirmed yet: open the file again.
    """
    key = (public_name(source), kind)
    with _SUSPICIONS_LOCK:
        if not finding:
            _SUSPICIONS.pop(key, None)
            return
        before, times = _SUSPICIONS.get(key, (None, 0))
        times = times + 1 if before == finding else 1
        _SUSPICIONS[key] = (finding, times)
    if times < _SIGHTINGS:
        raise RasterioIOError("its header seems to be incomplete")
