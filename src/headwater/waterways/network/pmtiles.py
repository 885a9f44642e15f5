"""The container of map tiles: PMTiles, version 3 (protomaps/PMTiles, spec/v3/spec.md)."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.geo.grid import Bounds

_HEADER_BYTES, _ROOT_BYTES = 127, 16_384 - 127
_PLAIN, _GZIP = 1, 2
_KINDS = {"mvt": (_GZIP, 1), "webp": (_PLAIN, 4)}
"""Compression and type of the tiles of each kind, as numbers of the header."""


@dataclass(frozen=True)
class TileFile:
    """A tile of the web's grid and the file that holds it: a gzipped Mapbox vector tile, or an image."""

    zoom: int
    x: int
    y: int
    path: Path

    @property
    def number(self) -> int:
        """Place in the container: zoom by zoom, along the Hilbert curve of each."""
        x, y, distance = self.x, self.y, 0
        side = 1 << self.zoom
        half = side // 2
        while half:
            right, low = int(x & half > 0), int(y & half > 0)
            distance += half * half * ((3 * right) ^ low)
            if low == 0:
                if right:
                    x, y = side - 1 - x, side - 1 - y
                x, y = y, x
            half //= 2
        return (side * side - 1) // 3 + distance


def write_pmtiles(
    tiles: Iterable[TileFile], path: Path, *, bounds: Bounds, metadata: Mapping[str, Any], kind: str = "mvt"
) -> None:
    """Write tiles into one file.

    Parameters
    ----------
    tiles : iterable of TileFile
        At least one.
    path : Path
        File to write.
    bounds : (west, south, east, north)
        Degrees.
    metadata : mapping
        `name`, `vector_layers` and what else readers need.
    kind : str
        What the tiles are: "mvt" or "webp".
    """
    ordered = sorted((tile.number, tile) for tile in tiles)
    entries, size = [], 0
    for number, tile in ordered:
        length = tile.path.stat().st_size
        entries.append((number, size, length, 1))
        size += length
    root, leaves = _directories(entries)
    described = gzip.compress(json.dumps(metadata, sort_keys=True).encode(), mtime=0)
    starts = [_HEADER_BYTES]
    for part in (root, described, leaves):
        starts.append(starts[-1] + len(part))
    zooms = [tile.zoom for _, tile in ordered]
    west, south, east, north = (round(degrees * 1e7) for degrees in bounds)
    header = struct.pack(
        "<7sB11Q6B4iB2i",
        *(b"PMTiles", 3),
        *chain.from_iterable(zip(starts, (len(root), len(described), len(leaves), size), strict=True)),
        *(len(entries), len(entries), len(entries)),
        *(1, _GZIP, *_KINDS[kind], min(zooms), max(zooms)),
        *(west, south, east, north, min(zooms), (west + east) // 2, (south + north) // 2),
    )
    with path.open("wb") as file:
        for part in (header, root, described, leaves):
            file.write(part)
        for _, tile in ordered:
            file.write(tile.path.read_bytes())


_Entry = tuple[int, int, int, int]
"""Number of a tile, offset, length, and 1; or 0 for a leaf directory that begins with that number."""


def _directories(entries: list[_Entry]) -> tuple[bytes, bytes]:
    """Return the root directory and the leaf directories it points to, if it would be too large without."""
    root, leaves, in_leaf = _directory(entries), b"", 4096
    while len(root) > _ROOT_BYTES:
        pointers, parts, offset = [], [], 0
        for start in range(0, len(entries), in_leaf):
            parts.append(_directory(entries[start : start + in_leaf]))
            pointers.append((entries[start][0], offset, len(parts[-1]), 0))
            offset += len(parts[-1])
        root, leaves, in_leaf = _directory(pointers), b"".join(parts), 2 * in_leaf
    return root, leaves


def _directory(entries: list[_Entry]) -> bytes:
    out = bytearray(_varint(len(entries)))
    for number, before in zip((e[0] for e in entries), chain([0], (e[0] for e in entries)), strict=False):
        out += _varint(number - before)
    for _, _, _, run in entries:
        out += _varint(run)
    for _, _, length, _ in entries:
        out += _varint(length)
    end = -1
    for _, offset, length, _ in entries:
        # 0 means that it follows the entry before.
        out += _varint(0 if offset == end else offset + 1)
        end = offset + length
    return gzip.compress(bytes(out), mtime=0)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
