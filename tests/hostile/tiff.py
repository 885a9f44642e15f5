"""Changes of tags of a TIFF file, without a library that would refuse them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PREDICTOR = 256, 257, 258, 259, 262, 277, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT = 322, 323, 324, 325, 339
PIXEL_SCALE, TIEPOINT, GEO_KEYS, GDAL_METADATA, GDAL_NODATA = 33550, 33922, 34735, 42112, 42113
NAMES = {
    WIDTH: "width", HEIGHT: "height", BITS: "bits", COMPRESSION: "compression", PHOTOMETRIC: "photometric",
    SAMPLES: "samples", PREDICTOR: "predictor", TILE_WIDTH: "tile width", TILE_HEIGHT: "tile height",
    TILE_OFFSETS: "tile offsets", TILE_BYTES: "tile bytes", SAMPLE_FORMAT: "sample format",
    PIXEL_SCALE: "pixel scale", TIEPOINT: "tiepoint", GEO_KEYS: "geo keys", GDAL_METADATA: "metadata",
    GDAL_NODATA: "nodata",
}  # fmt: skip
_SHORT, _LONG, _ASCII, _DOUBLE = 3, 4, 2, 12
_CODES = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}


@dataclass(frozen=True)
class _Entry:
    tag: int
    kind: int
    count: int
    value: bytes
    """Four bytes: the value, or where it is."""


def with_tag(content: bytes, tag: int, value: Any) -> bytes:
    """Return a classic little-endian TIFF whose first directory has another value for a tag.

    Parameters
    ----------
    content : bytes
        A TIFF file.
    tag : int
        Tag to add or replace.
    value : str, int, or sequences of int or float
        Texts, 32-bit integers, doubles.
    """
    if isinstance(value, str):
        packed = value.encode(errors="surrogatepass") + b"\0"
        kind, number = _ASCII, len(packed)
    else:
        values = list(value) if isinstance(value, list | tuple) else [value]
        kind = _DOUBLE if any(isinstance(each, float) for each in values) else _LONG
        if tag == GEO_KEYS:
            kind = _SHORT
        packed, number = struct.pack(f"<{len(values)}{_CODES[kind]}", *values), len(values)
    if len(packed) > 4:
        content += bytes(len(content) % 2)
        at = struct.pack("<I", len(content))
        content += packed
    else:
        at = packed.ljust(4, b"\0")
    entries, following = _directory(content)
    kept = [entry for entry in entries if entry.tag != tag]
    return _with_directory(content, [*kept, _Entry(tag, kind, number, at)], following)


def with_next(content: bytes, offset: int | None) -> bytes:
    """Return the file whose first directory is followed by one at an offset; by itself if None."""
    entries, _ = _directory(content)
    made = _with_directory(content, entries, 0)
    start = struct.unpack_from("<I", made, 4)[0]
    return _with_directory(content, entries, start if offset is None else offset)


def _directory(content: bytes) -> tuple[list[_Entry], int]:
    start = struct.unpack_from("<I", content, 4)[0]
    number = struct.unpack_from("<H", content, start)[0]
    entries = [
        _Entry(*struct.unpack_from("<HHI", content, start + 2 + 12 * at), content[start + 10 + 12 * at :][:4])
        for at in range(number)
    ]
    return entries, struct.unpack_from("<I", content, start + 2 + 12 * number)[0]


def _with_directory(content: bytes, entries: list[_Entry], following: int) -> bytes:
    content += bytes(len(content) % 2)
    packed = b"".join(
        struct.pack("<HHI", each.tag, each.kind, each.count) + each.value
        for each in sorted(entries, key=lambda e: e.tag)
    )
    directory = struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory
