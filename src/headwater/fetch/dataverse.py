"""Files of a data set in a Dataverse repository, by its native API, and which of them may hold weights."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from headwater.core.errors import InputError, NetworkError, one_line
from headwater.core.events import say
from headwater.core.files import atomic_path
from headwater.fetch.download import Cut, Limits, Refused, get_text, read_range
from headwater.fetch.integrity import refuse_hostile_zip
from headwater.fetch.sizes import gigabytes, refuse_small_disk

WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
MAX_FILES = 100_000
MAX_WEIGHT_BYTES = 20_000_000_000
_MAX_SHOWN = 30
_MAX_NAME = 200
_BLOCK_BYTES = 1 << 16
_MAX_DIRECTORY_BYTES = 1 << 24
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class RepositoryFile:
    """A file of a data set."""

    id: int
    """Number of the file."""
    name: str
    """Folder and name, as the repository shows them."""
    size: int
    """Bytes."""
    md5: str | None
    """Hexadecimal; None if the repository states none."""

    @property
    def suffix(self) -> str:
        """End of its name, in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def local_name(self) -> str:
        """A name for it in the data folder."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(self.name).name).lstrip(".-") or f"file-{self.id}"


@dataclass(frozen=True)
class DataSet:
    """A version of a data set."""

    version: str
    """As the repository numbers it."""
    files: tuple[RepositoryFile, ...]
    """All its files."""


def read_data_set(server: str, doi: str, limits: Limits) -> DataSet:
    """Return the files of the latest version of a data set.

    Parameters
    ----------
    server : str
        Address of the repository.
    doi : str
        Persistent id.
    limits : Limits
        Patience and hosts.

    Raises
    ------
    NetworkError
        The repository does not answer, or its answer is no list of files.
    """
    address = f"{server.rstrip('/')}/api/datasets/:persistentId/?persistentId={quote(doi, safe=':/')}"
    content = get_text(address, limits)
    try:
        version = json.loads(content)["data"]["latestVersion"]
        files = tuple(_file(entry) for entry in version["files"][:MAX_FILES])
    except (ValueError, KeyError, TypeError, RecursionError):
        page = content.lstrip()[:1] == b"<"
        raise NetworkError(
            f"{server} answers with {'a web page' if page else 'something'} that is no list of the files of {doi}.",
            "Run the same command again later, or give another server with --address.",
        ) from None
    number = f"{version.get('versionNumber', '?')}.{version.get('versionMinorNumber', '?')}"
    return DataSet(re.sub(r"[^0-9.?]", "", number), files)


def file_address(server: str, file: RepositoryFile) -> str:
    """Return the address of a file."""
    return f"{server.rstrip('/')}/api/access/datafile/{file.id}"


def choose_weights(data: DataSet, server: str, limits: Limits, name: str | None = None) -> RepositoryFile:
    """Return the file that holds the weights: the one of their suffixes, else the one zip file that contains such.

    Parameters
    ----------
    data : DataSet
        The files.
    server : str
        Address of the repository, for looks into zip files.
    limits : Limits
        Patience and hosts.
    name : str, optional
        Name that a user chose, with or without its folder.

    Raises
    ------
    InputError
        There is none, or there are several; the message lists them.
    """
    if name is not None:
        named = [file for file in data.files if name in (file.name, PurePosixPath(file.name).name)]
        if len(named) != 1:
            what = f"{len(named)} files are called" if named else "No file of the data set is called"
            raise InputError(f"{what} {name!r}.", f"Use the full name: {_shown(named or data.files)}.")
        return named[0]
    direct = [file for file in data.files if file.suffix in WEIGHT_SUFFIXES]
    found = direct or [file for file in data.files if file.suffix == ".zip" and _may_hold_weights(file, server, limits)]
    if not found:
        raise InputError(
            f"No file of the data set is known to hold weights; it has {len(data.files)}: {_shown(data.files)}.",
            "Choose one with --file NAME.",
        )
    if len(found) > 1:
        raise InputError(
            f"{len(found)} files may hold weights: {_shown(found)}.", "Choose one of them with --file NAME."
        )
    return found[0]


def weights_in_zip(path: Path, folder: Path, name: str | None = None) -> Path | None:
    """Unpack the one file of weights of a zip file; None if it contains none.

    Parameters
    ----------
    path : Path
        The zip file.
    folder : Path
        Where to unpack, under the member's suffix.
    name : str, optional
        Name of the member, with or without its folder.

    Raises
    ------
    InputError
        It contains several, or is damaged or hostile.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if _is_weights(each.filename)]
            if name is not None:
                members = [each for each in members if name in (each.filename, PurePosixPath(each.filename).name)]
            if not members:
                return None
            refuse_hostile_zip(archive.infolist(), path.stat().st_size)
            if len(members) > 1:
                names = ", ".join(each.filename[:100] for each in members[:_MAX_SHOWN])
                raise InputError(
                    f"{path.name} contains {len(members)} files of weights: {names}.",
                    "Choose one of them with --member NAME.",
                )
            refuse_small_disk(folder, members[0].file_size, f"What {path.name} contains")
            out = folder / f"member{PurePosixPath(members[0].filename).suffix.lower()}"
            with archive.open(members[0]) as packed, atomic_path(out) as temporary, temporary.open("wb") as file:
                shutil.copyfileobj(packed, file)
            return out
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{path.name} is a damaged zip file ({error}).", "Fetch it again.") from None
    except Refused as error:
        raise InputError(f"{path.name} is not used: {error}.", "Ask the authors for the weights alone.") from None


def describe(files: Sequence[RepositoryFile]) -> list[str]:
    """Return a line for each file: name, size, whether it may hold weights."""
    return [
        f"{file.name}  {gigabytes(file.size)}{'  weights?' if file.suffix in WEIGHT_SUFFIXES else ''}" for file in files
    ]


def _file(entry: dict[str, object]) -> RepositoryFile:
    facts = entry["dataFile"]
    if not isinstance(facts, dict):
        raise TypeError
    folder = one_line(str(entry.get("directoryLabel") or ""))[:_MAX_NAME].strip("/")
    name = one_line(str(facts.get("filename") or entry.get("label")))[:_MAX_NAME]
    number, size = int(facts["id"]), int(facts["filesize"])
    if number < 0 or size < 0:
        raise ValueError
    checksum = facts.get("checksum")
    stated = facts.get("md5")
    if stated is None and isinstance(checksum, dict) and str(checksum.get("type")).upper() == "MD5":
        stated = checksum.get("value")
    md5 = str(stated).strip().lower() if stated is not None else None
    if md5 is not None and not _MD5.fullmatch(md5):
        md5 = None
    return RepositoryFile(number, f"{folder}/{name}" if folder else name, size, md5)


def _is_weights(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in WEIGHT_SUFFIXES and not name.startswith("__MACOSX")


def _shown(files: Sequence[RepositoryFile]) -> str:
    more = f" and {len(files) - _MAX_SHOWN} more" if len(files) > _MAX_SHOWN else ""
    return ", ".join(f"{file.name} ({gigabytes(file.size)})" for file in files[:_MAX_SHOWN]) + more


def _may_hold_weights(file: RepositoryFile, server: str, limits: Limits) -> bool:
    """Whether a zip file lists files of weights; its table of contents alone is read, at its end."""
    try:
        with zipfile.ZipFile(_RemoteFile(file_address(server, file), file.size, limits)) as archive:
            return any(_is_weights(name) for name in archive.namelist())
    except (Refused, Cut, zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        say(f"{file.name} may hold weights: its contents cannot be listed ({error}).")
        return True


class _RemoteFile(io.RawIOBase):
    """A file on a server, read by ranges."""

    def __init__(self, address: str, size: int, limits: Limits) -> None:
        super().__init__()
        self._address, self._size, self._limits = address, size, limits
        self._at = self._read = 0
        self._blocks: dict[int, bytes] = {}

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return the place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if self._at < 0:
            raise ValueError("before the beginning")
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return bytes from here on."""
        end = self._size if size < 0 else min(self._size, self._at + size)
        parts = []
        while self._at < end:
            number = self._at // _BLOCK_BYTES
            start = number * _BLOCK_BYTES
            block = self._blocks.get(number)
            if block is None:
                self._read += _BLOCK_BYTES
                if self._read > _MAX_DIRECTORY_BYTES:
                    raise Refused("its table of contents is too large")
                block = read_range(self._address, start, min(self._size, start + _BLOCK_BYTES), self._limits)
                self._blocks[number] = block
            part = block[self._at - start : end - start]
            if not part:
                raise Refused("it is shorter than the repository states")
            parts.append(part)
            self._at += len(part)
        return b"".join(parts)
