"""Well-known binary that writers got wrong: lines of one vertex, rings that are open."""

from __future__ import annotations

import struct

_POINT, _LINE, _POLYGON, _FIRST_COLLECTION, _LAST_COLLECTION = 1, 2, 3, 4, 7
_MIN_LINE, _MIN_RING = 2, 4


def repair_wkb(wkb: bytes) -> bytes:
    """Return a shape whose lines have two vertices at least and whose rings are closed.

    A line of one vertex has that vertex twice, as TauDEM draws links without length. An open ring ends where it began.

    Parameters
    ----------
    wkb : bytes
        ISO or extended well-known binary; its coordinates may have Z and M.

    Raises
    ------
    ValueError
        The bytes end too early, or are of another kind than points, lines, polygons and collections of them.
    """
    try:
        repaired, end = _shape(wkb, 0)
    except (struct.error, IndexError) as error:
        raise ValueError("its bytes are damaged") from error
    if end > len(wkb):
        raise ValueError("its bytes are damaged")
    return repaired


def _shape(wkb: bytes, start: int) -> tuple[bytes, int]:
    """Return the repaired shape that starts at a byte, and where the next one starts."""
    order = "<" if wkb[start] else ">"
    (code,) = struct.unpack_from(f"{order}I", wkb, start + 1)
    at = start + (9 if code & 0x20000000 else 5)
    head = wkb[start:at]
    kind, dimensions = _kind_and_dimensions(code)
    size = 8 * dimensions
    if kind == _POINT:
        return wkb[start : at + size], at + size
    (count,) = struct.unpack_from(f"{order}I", wkb, at)
    at += 4
    if kind == _LINE:
        line, at = _vertices(wkb, at, count, size), at + count * size
        return head + _counted(line[:1] * _MIN_LINE if count == 1 else line, order), at
    parts = []
    for _ in range(count):
        if kind == _POLYGON:
            (vertices,) = struct.unpack_from(f"{order}I", wkb, at)
            ring, at = _vertices(wkb, at + 4, vertices, size), at + 4 + vertices * size
            parts.append(_counted(_closed(ring), order))
        else:
            part, at = _shape(wkb, at)
            parts.append(part)
    return head + struct.pack(f"{order}I", count) + b"".join(parts), at


def _kind_and_dimensions(code: int) -> tuple[int, int]:
    """Return the kind of a shape and the numbers of a vertex: Z and M are flags, or thousands in ISO's codes."""
    thousands, kind = divmod(code & 0x0FFFFFFF, 1000)
    if not _POINT <= kind <= _LAST_COLLECTION or thousands > 3:
        raise ValueError(f"it is of the unknown kind {code}")
    with_z = bool(code & 0x80000000) or thousands in (1, 3)
    with_m = bool(code & 0x40000000) or thousands in (2, 3)
    return kind, 2 + with_z + with_m


def _vertices(wkb: bytes, start: int, count: int, size: int) -> list[bytes]:
    if start + count * size > len(wkb):
        raise ValueError("its bytes are damaged")
    return [wkb[at : at + size] for at in range(start, start + count * size, size)]


def _closed(ring: list[bytes]) -> list[bytes]:
    if ring and ring[0] != ring[-1]:
        ring = [*ring, ring[0]]
    return ring + ring[:1] * (_MIN_RING - len(ring)) if ring else ring


def _counted(vertices: list[bytes], order: str) -> bytes:
    return struct.pack(f"{order}I", len(vertices)) + b"".join(vertices)
