"""Seals: files that steps write for later steps carry a digest, so that damage on disk is noticed before they are used.

A seal is 48 bytes, `MAGIC` and a SHA-256 digest, at a place that other readers of the format do not look at:

- GeoTIFF: after the end of the file; the digest is that of everything before it.
- Parquet: before the footer; the digest is that of the file's length and the footer. Pages have checksums of their own.
- VRT: as hexadecimal digits in a comment at the end; the digest is that of everything before the comment.
- JSON: the key "digest" of the object, the digest of all its other keys.

Files without a seal are read as they are: users' own, and those of older versions. A damaged file that a step wrote is
renamed to end in ".damaged", so that the next run makes it again.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from headwater.core.errors import WorkError

MAGIC = b"HEADWATER-SEAL-1"
SEAL_BYTES = len(MAGIC) + hashlib.sha256().digest_size
SEALED_TAG = "HEADWATER_SEALED"
"""Tag of a GeoTIFF that has a seal: a file that was cut off has the tag and no seal."""
DIGEST_KEY = "digest"
_HEAD_BYTES = 65_536
"""GDAL writes tags at the beginning of a Cloud-Optimized GeoTIFF."""
_XML_SEAL = b"<!-- %s %s -->\n"
_PARQUET_MAGIC = b"PAR1"
_PARQUET_END = 8
"""A Parquet file ends with the length of its footer and `_PARQUET_MAGIC`, four bytes each."""
_DAMAGED = ".damaged"


class DamagedFile(WorkError):
    """A file that a step wrote has other content now."""


def seal_raster(path: Path) -> None:
    """Append the seal to a GeoTIFF.

    Parameters
    ----------
    path : Path
        A complete file, with the tag `SEALED_TAG`.
    """
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(MAGIC + digest)


def seal_parquet(path: Path) -> None:
    """Insert the seal of the footer into a Parquet file.

    Parameters
    ----------
    path : Path
        A complete file. Readers find pages by offsets from its beginning, which do not change.
    """
    with path.open("r+b") as file:
        start = _footer_start(path)
        file.seek(start)
        footer = file.read()
        file.seek(start)
        file.write(_sealed_footer(start, footer))


def sealed_parquet(content: bytes) -> bytes:
    """Return the bytes of a Parquet file with its seal, see `seal_parquet`."""
    start = len(content) - _PARQUET_END - int.from_bytes(content[-_PARQUET_END:-4], "little")
    return content[:start] + _sealed_footer(start, content[start:])


def sealed_xml(content: bytes) -> bytes:
    """Return an XML document with its seal."""
    return content + _XML_SEAL % (MAGIC, hashlib.sha256(content).hexdigest().encode())


def check_seal(path: Path) -> None:
    """Check the seal of a GeoTIFF or Parquet file, if it has one; once per process while the file does not change.

    Raises
    ------
    DamagedFile
        The content is not what was written. The file is renamed.
    """
    facts = path.stat()
    if not _is_sound(str(path), facts.st_size, facts.st_mtime_ns, facts.st_ino):
        raise damaged(path)


def with_digest(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its digest."""
    return {**value, DIGEST_KEY: _json_digest(value)}


def without_digest(value: Any, path: Path) -> Any:
    """Return a JSON value without its digest, which is checked if there is one.

    Raises
    ------
    DamagedFile
        The digest is that of another value. The file is renamed.
    """
    if not isinstance(value, dict) or DIGEST_KEY not in value:
        return value
    content = {key: item for key, item in value.items() if key != DIGEST_KEY}
    if value[DIGEST_KEY] != _json_digest(content):
        raise damaged(path)
    return content


def damaged(path: Path, reason: str = "its content is not what was written") -> DamagedFile:
    """Set a damaged file aside and return the error to raise.

    Parameters
    ----------
    path : Path
        A file with a seal, or one that `is_result`: never another file of the user's.
    reason : str
        Clause that ends the sentence of cause.
    """
    aside = path.with_name(path.name + _DAMAGED)
    try:
        path.replace(aside)
    except OSError:
        return DamagedFile(f"{path} is damaged: {reason}.", "Delete it and run again.")
    return DamagedFile(f"{path} is damaged: {reason}.", f"It is now {aside.name}: run again to make it anew.")


def is_result(path: Path) -> bool:
    """Whether a file is where steps write: in a basin's folder of the results, or in that of one of its cells."""
    folder = path.absolute().parent
    basin = folder.parent.parent if folder.parent.name == "cells" else folder
    return (basin / "cells").is_dir() and ((basin / "plan.json").exists() or (basin / "items.parquet").exists())


@lru_cache(maxsize=4096)
def _is_sound(path: str, size: int, modified_ns: int, inode: int) -> bool:
    """Whether a file has no seal, or a right one; the other arguments identify its version."""
    with Path(path).open("rb") as file:
        file.seek(max(0, size - SEAL_BYTES))
        end = file.read()
        if len(end) == SEAL_BYTES and end.startswith(MAGIC):
            return end[len(MAGIC) :] == _digest(Path(path), size - SEAL_BYTES)
        if end.endswith(_PARQUET_MAGIC):
            return _is_footer_sound(Path(path))
        if path.endswith(".vrt"):
            return _is_xml_sound(Path(path).read_bytes())
        file.seek(0)
        return SEALED_TAG.encode() not in file.read(_HEAD_BYTES)


def _is_xml_sound(content: bytes) -> bool:
    document = content[: len(content) - len(sealed_xml(b""))]
    return MAGIC not in content or content == sealed_xml(document)


def _is_footer_sound(path: Path) -> bool:
    start = _footer_start(path)
    with path.open("rb") as file:
        file.seek(start - SEAL_BYTES)
        seal, footer = file.read(SEAL_BYTES), file.read()
    if not seal.startswith(MAGIC):
        return True
    return seal[len(MAGIC) :] == _footer_digest(start, footer)


def _footer_start(path: Path) -> int:
    """Return where the footer of a Parquet file begins; at least `SEAL_BYTES`, whatever a damaged file claims."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _PARQUET_END))
        length = int.from_bytes(file.read(4), "little")
    return max(SEAL_BYTES, size - _PARQUET_END - length)


def _sealed_footer(start: int, footer: bytes) -> bytes:
    return MAGIC + _footer_digest(start + SEAL_BYTES, footer) + footer


def _footer_digest(start: int, footer: bytes) -> bytes:
    return hashlib.sha256(start.to_bytes(8, "little") + footer).digest()


def _digest(path: Path, length: int) -> bytes:
    """Return the digest of the first bytes of a file."""
    digest, left = hashlib.sha256(), length
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(left, 2**20))):
            digest.update(part)
            left -= len(part)
    return digest.digest()


def _json_digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
