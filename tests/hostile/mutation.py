"""Changes of bytes and of JSON values, drawn from a `random.Random` (or Hypothesis)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Damage = Callable[[bytes, Random], bytes]

NESTED = 100_000
"""Depth of lists in lists, more than any parser should follow."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 255, 256, 32_768, 65_536, 2**31, 2**53 + 1, 2**63, 10**30, 10**400,
    -(2**63), 1e300, 1e308, float("nan"), float("inf"), float("-inf"), "", " ", "0", "1e5", "nan", "null", "false",
    "x" * 100_000, "a\nb", "a\0b", "\ud800", "\u202e", "\x1b[2J", "; touch INJECTED", "$(touch INJECTED)",
    "`touch INJECTED`", "'", '"', "{cell}", "{}", "[1]", "*", "-x", "--help", "../../../../etc/passwd", "/etc/passwd",
    "/dev/zero", "/dev/stdin", "file:///etc/passwd", "/vsicurl/http://127.0.0.1:9/x", "/vsizip//etc/passwd",
    "http://127.0.0.1:9/x", "//x", "http://user:password@127.0.0.1:9/", "http://[::1",
    "2023-13-45T99:99:99Z", "9999-12-31T23:59:59Z", "0001-01-01",
    "2023-01-01/2022-01-01", "EPSG:4326", "EPSG:999999", "é" * 300, [], {}, [[]], [None], [1, 2, 3], [float("nan")] * 4,
    [0] * 10_000, {"a": {"b": {}}}, {"": ""}, {"__class__": "x"}, ["x"], [[0, 0], [1]], [180, 90, -180, -90],
    [1e300, -1e300, 1e300, 1e300],
)  # fmt: skip
"""What stands where another value is expected."""


def flip_bit(content: bytes, random: Random) -> bytes:
    """Change one bit."""
    return _flipped(content, random.randrange(max(1, len(content))), random)


def flip_bit_of_head(content: bytes, random: Random) -> bytes:
    """Change one bit of the first 400 bytes: headers, tags."""
    return _flipped(content, random.randrange(max(1, min(400, len(content)))), random)


def flip_bit_of_tail(content: bytes, random: Random) -> bytes:
    """Change one bit of the last 400 bytes: footers, indexes."""
    return _flipped(content, max(0, len(content) - 1 - random.randrange(400)), random)


def flip_many(content: bytes, random: Random) -> bytes:
    """Change 16 bits."""
    for _ in range(16):
        content = flip_bit(content, random)
    return content


def _flipped(content: bytes, at: int, random: Random) -> bytes:
    if not content:
        return b"\x01"
    at = min(at, len(content) - 1)
    return content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1 :]


def zero_run(content: bytes, random: Random) -> bytes:
    """Set a run of bytes to zero, as a lost block of a disk."""
    length = min(len(content), random.choice([4, 64, 512, 4096]))
    at = random.randrange(max(1, len(content) - length + 1))
    return content[:at] + bytes(length) + content[at + length :]


def zero_head(content: bytes, random: Random) -> bytes:
    """Set the first bytes to zero."""
    length = min(len(content), random.choice([4, 16, 64]))
    return bytes(length) + content[length:]


def zero_rest(content: bytes, random: Random) -> bytes:
    """Set all from somewhere on to zero, as a file whose last blocks were never written."""
    at = random.randrange(max(1, len(content)))
    return content[:at] + bytes(len(content) - at)


def cut(content: bytes, random: Random) -> bytes:
    """Leave out the end."""
    return content[: random.randrange(max(1, len(content)))]


def cut_last_byte(content: bytes, random: Random) -> bytes:
    """Leave out the last byte."""
    return content[:-1]


def empty(content: bytes, random: Random) -> bytes:
    """Leave nothing."""
    return b""


def swap_halves(content: bytes, random: Random) -> bytes:
    """Put the second half first."""
    middle = len(content) // 2
    return content[middle:] + content[:middle]


def repeat(content: bytes, random: Random) -> bytes:
    """Put the file twice."""
    return content + content


def noise(content: bytes, random: Random) -> bytes:
    """Replace all by random bytes."""
    return bytes(random.getrandbits(8) for _ in range(min(len(content), 2000)))


def another_type(content: bytes, random: Random) -> bytes:
    """Replace it by a small file of another type."""
    return random.choice(
        [
            b"{}",
            b"[]",
            b"null",
            b"PAR1PAR1",
            b"II*\0\x08\0\0\0\0\0\0\0\0\0",
            b"SQLite format 3\0",
            b"PK\x03\x04",
            b"<x/>",
        ]
    )


DAMAGES: dict[str, Damage] = {
    each.__name__: each
    for each in (
        flip_bit, flip_bit_of_head, flip_bit_of_tail, flip_many, zero_run, zero_head, zero_rest, cut, cut_last_byte,
        empty, swap_halves, noise, another_type, repeat,
    )
}  # fmt: skip
"""What happens to files on a disk, and more."""


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value inside a JSON value, from outside to inside."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places_in(each, (*path, key))


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the document with another value at a place."""
    if not path:
        return value
    document = copy.deepcopy(document)
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return document


def without(document: Any, path: tuple[Any, ...]) -> Any:
    """Return the document without what is at a place."""
    if not path:
        return None
    document = copy.deepcopy(document)
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    del inside[path[-1]]
    return document


def change_json(document: Any, random: Random, values: tuple[Any, ...] = VALUES) -> tuple[str, Any]:
    """Return what was changed at one place of a JSON value, and the changed value."""
    path = random.choice(list(places_in(document))[1:])
    where = ".".join(map(str, path))
    how = random.randrange(8)
    if how == 0:
        return f"without {where}", without(document, path)
    if how == 1:
        inside: Any = document
        for key in path:
            inside = inside[key]
        return f"{where} in a list", with_value(document, path, [inside, inside])
    value = random.choice(values)
    return f"{where} = {str(value)[:30]!r}", with_value(document, path, value)
