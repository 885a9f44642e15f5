"""Whether a file is what it should be: a complete GeoPackage or zipped shapefile with the expected table.

Nothing is unpacked: zipped shapefiles are read where they are.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path, PurePosixPath

from headwater.core.errors import InputError
from headwater.fetch.download import Refused
from headwater.fetch.sources import RemoteFile

SQLITE, ZIP = b"SQLite format 3\0", b"PK\x03\x04"
"""First bytes of a GeoPackage and of a zip file."""
MAX_ZIP_MEMBERS = 1000
MAX_UNZIPPED_BYTES = 20_000_000_000
MAX_ZIP_RATIO = 200
"""Bytes in a zip file for each byte of it: more is made to fill memory or disk."""
MAX_CHECK_S = 60.0
"""How long SQLite checks a GeoPackage; what it did not reach by then counts as sound."""
_MAX_TABLES = 1000
_STEPS_BETWEEN_LOOKS = 100_000
_DBF_HEAD_BYTES = 32 * 256
_SHAPEFILE = (".shp", ".shx", ".dbf")
_REGION = re.compile(r"(?<!\d)\d{10}(?!\d)")


def check_start(wanted: RemoteFile, start: bytes, content_type: str) -> int | None:
    """Refuse the beginning of another kind of file; return the size that it states of itself, None if it does not.

    Raises
    ------
    Refused
        It is a web page, or anything else than a file of the kind.
    """
    magic = SQLITE if wanted.part.kind == "gpkg" else ZIP
    what = "a GeoPackage" if wanted.part.kind == "gpkg" else "a zip file"
    if not start.startswith(magic[: max(1, min(len(start), len(magic)))]):
        page = start.lstrip()[:1] in (b"<", b"{") or "html" in content_type.lower()
        raise Refused(
            f"it sends {'a web page or message' if page else 'something else'} instead of {what}",
            "Open the address in a browser: it may ask for something; or give another one (fetch.addresses).",
        )
    return sqlite_size(start) if wanted.part.kind == "gpkg" else None


def sqlite_size(header: bytes) -> int | None:
    """Return the size of an SQLite file by its header, None if the header does not state it."""
    if len(header) < 100:
        return None
    page_bytes, pages = struct.unpack(">H", header[16:18])[0], struct.unpack(">I", header[28:32])[0]
    # Old programs leave the number of pages as it was; then these two differ.
    if header[24:28] != header[92:96] or not pages:
        return None
    size: int = pages * (65_536 if page_bytes == 1 else page_bytes)
    return size


def check_file(path: Path, wanted: RemoteFile) -> None:
    """Refuse a file that is damaged, cut off, or not of its source.

    Parameters
    ----------
    path : Path
        The file.
    wanted : RemoteFile
        What it should be.

    Raises
    ------
    Refused
        It is something else.
    """
    with path.open("rb") as file:
        start = file.read(100)
    check_start(wanted, start, "")
    if wanted.part.kind == "gpkg":
        _check_geopackage(path, wanted, start)
    else:
        _check_zip(path, wanted)


def _check_geopackage(path: Path, wanted: RemoteFile, header: bytes) -> None:
    stated, size = sqlite_size(header), path.stat().st_size
    if stated is not None and stated != size:
        raise Refused(f"the GeoPackage is {'cut off' if size < stated else 'damaged'}: {size} bytes of {stated}")
    deadline = time.monotonic() + MAX_CHECK_S
    try:
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as tables:
            names = _layers(tables)
            tables.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
            columns = {name: _columns(tables, name) for name in names}
            fitting = [name for name, held in columns.items() if _has(held, wanted)]
            _refuse_foreign(names, fitting, wanted)
            problem = tables.execute("PRAGMA quick_check(1)").fetchone()
            if problem is None or problem[0] != "ok":
                raise Refused("the GeoPackage is damaged")
    except sqlite3.OperationalError as error:
        if "interrupt" in str(error):
            return
        raise Refused(f"the GeoPackage is damaged ({error})") from None
    except sqlite3.Error as error:
        raise Refused(f"the GeoPackage is damaged ({error})") from None


def _layers(tables: sqlite3.Connection) -> list[str]:
    try:
        found = tables.execute("SELECT table_name FROM gpkg_contents").fetchmany(_MAX_TABLES)
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        raise Refused("it is a database, but no GeoPackage") from None
    return [str(name) for (name,) in found]


def _columns(tables: sqlite3.Connection, layer: str) -> set[str]:
    return {str(name).lower() for (name,) in tables.execute("SELECT name FROM pragma_table_info(?)", (layer,))}


def _has(columns: Iterable[str], wanted: RemoteFile) -> bool:
    held = {name.lower() for name in columns}
    return all(any(name.lower() in held for name in group) for group in wanted.part.columns)


def _refuse_foreign(names: list[str], fitting: list[str], wanted: RemoteFile) -> None:
    shown = ", ".join(names[:5]) or "none"
    if not fitting:
        needed = " and ".join(group[0] for group in wanted.part.columns)
        raise Refused(f"it has no layer with {needed}, as {wanted.source.name} has (its layers: {shown})")
    regions = {region for name in fitting for region in _REGION.findall(name)}
    if wanted.region is not None and regions and wanted.region not in regions:
        raise Refused(f"it is of region {', '.join(sorted(regions))}, not of {wanted.region}")


def _check_zip(path: Path, wanted: RemoteFile) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            refuse_hostile_zip(members, path.stat().st_size)
            # Reads every member to its end, which compares its checksum.
            damaged = archive.testzip()
            if damaged is not None:
                raise Refused(f"the zip file is damaged: {damaged[:100]!r} is not what was packed")
            _check_shapefile(archive, wanted)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise Refused(f"the zip file is damaged or cut off ({error})") from None


def refuse_hostile_zip(members: Iterable[zipfile.ZipInfo], packed: int) -> None:
    """Refuse a zip file that leads out of its folder, or that is small and contains very much.

    Raises
    ------
    Refused
        It does.
    """
    members = list(members)
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_ZIP_MEMBERS or unpacked > min(MAX_UNZIPPED_BYTES, MAX_ZIP_RATIO * packed):
        raise Refused(f"the zip file contains {len(members)} files of {unpacked} bytes, more than any of its kind")
    for member in members:
        name = member.orig_filename
        if name.startswith(("/", "\\")) or "\\" in name or ".." in PurePosixPath(name).parts or "\0" in name:
            raise Refused(f"the zip file has a file outside of its folder, {name[:100]!r}")
        if member.external_attr >> 28 == 0xA:
            raise Refused(f"the zip file has a link, {name[:100]!r}")


def _check_shapefile(archive: zipfile.ZipFile, wanted: RemoteFile) -> None:
    names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    stems = sorted(name[:-4] for name in names if name.lower().endswith(".shp"))
    if len(stems) != 1:
        raise Refused(f"the zip file has {len(stems)} shapefiles instead of one")
    for suffix in _SHAPEFILE:
        if not any(name.lower() == f"{stems[0]}{suffix}".lower() for name in names):
            raise Refused(f"the shapefile in the zip file has no {suffix}")
    table = next(name for name in names if name.lower() == f"{stems[0]}.dbf".lower())
    with archive.open(table) as file:
        head = file.read(_DBF_HEAD_BYTES)
    # A descriptor of 32 bytes for each column, which begins with its name.
    starts = takewhile(lambda at: head[at : at + 1] != b"\r", range(32, len(head), 32))
    columns = {head[at : at + 11].split(b"\0")[0].decode("latin-1") for at in starts}
    if not _has(columns, wanted):
        raise Refused(f"it has no column {wanted.part.columns[0][0]}, as {wanted.source.name} has")


def refuse_damaged(path: Path, wanted: RemoteFile) -> None:
    """Refuse a file of the data folder that is not what it should be.

    Raises
    ------
    InputError
        It is not.
    """
    try:
        check_file(path, wanted)
    except Refused as error:
        raise InputError(
            f"{path} is not the file of {wanted.source.name} that its name says: {error}.",
            "Delete it, or put the right file there, and run the same command again.",
        ) from None
