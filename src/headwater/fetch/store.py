"""The data folder: what is there, what is missing, and fetching it.

`<folder>/<source>/` holds the files under their own names. Next to each is `<name>.json` with its size and SHA-256, and
`LICENSE.txt` for all. Several projects, and several processes, may share the folder: who fetches a file holds its lock.
A file that a user puts there under its name is used as it is, and never replaced.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import DiskError, InputError, NetworkError, WorkError, one_line
from headwater.core.events import say
from headwater.core.files import read_json, write_if_changed, write_json
from headwater.core.private_files import open_lock
from headwater.core.secrets import without_secrets
from headwater.fetch.settings import FetchSettings
from headwater.fetch.sizes import free_bytes, gigabytes, refuse_small_disk
from headwater.fetch.sources import TDX_HYDRO, RemoteFile, Source, remote_files
from headwater.geo.basins import tdx_header_numbers

_LICENSE = "LICENSE.txt"
_ASK_PATIENCE_S = 60.0


@dataclass(frozen=True)
class FileState:
    """Where a file stands."""

    path: Path
    """Where it is, or will be."""
    complete: bool
    """Whether it is there."""
    arrived: int
    """Bytes of an interrupted download."""
    size: int
    """Bytes of all of it."""
    exact: bool
    """Whether the size is known, not estimated."""

    @property
    def missing(self) -> int:
        """Bytes that a fetch would bring."""
        return 0 if self.complete else max(0, self.size - self.arrived)

    @property
    def words(self) -> str:
        """The state in words."""
        if self.complete:
            return "here"
        return f"{gigabytes(self.arrived)} arrived" if self.arrived else "not here"


def path_of(file: RemoteFile, settings: FetchSettings) -> Path:
    """Return where a file is in the data folder."""
    return settings.path / file.source.name / file.name


def state(file: RemoteFile, settings: FetchSettings) -> FileState:
    """Return where a file stands; reads only."""
    path = path_of(file, settings)
    part = path.with_name(f"{path.name}.part")
    arrived = part.stat().st_size if part.is_file() else 0
    if path.is_file():
        return FileState(path, complete=True, arrived=0, size=path.stat().st_size, exact=True)
    # Addresses of users may serve other files than the table knows.
    known = None if settings.addresses_of(file.source.name) else file.known_size
    size = _noted_size(path, file) or known
    return FileState(path, complete=False, arrived=arrived, size=size or file.part.estimate, exact=size is not None)


def ask_sizes(files: Iterable[RemoteFile], settings: FetchSettings) -> None:
    """Ask the servers for the sizes of missing files that are not known, and note the answers."""
    for file in files:
        there = state(file, settings)
        if there.complete or there.exact:
            continue
        from headwater.fetch.download import remote_size

        limits = _limits(file, settings, None, patience_s=min(_ASK_PATIENCE_S, settings.patience_s))
        for address in file.addresses:
            size = remote_size(address, limits)
            if size is not None and 0 < size <= file.part.max_bytes:
                with _as_disk_error(there.path):
                    write_json(_size_note(there.path), {"addresses": list(file.addresses), "bytes": size}, sealed=True)
                break


def announcement(files: Sequence[RemoteFile], settings: FetchSettings) -> str | None:
    """Return one sentence on what a fetch of the missing files would bring, None if nothing is missing."""
    lacking = [(file, there) for file in files if not (there := state(file, settings)).complete]
    if not lacking:
        return None
    parts = []
    for file, there in lacking:
        rest = f", of which {gigabytes(there.arrived)} arrived before" if there.arrived else ""
        parts.append(f"{file.name}, {'' if there.exact else 'about '}{gigabytes(there.size)}{rest}")
    total = sum(there.missing for _, there in lacking)
    about = "" if all(there.exact for _, there in lacking) else "about "
    free = gigabytes(free_bytes(settings.path))
    return f"to fetch into {settings.path}: {'; '.join(parts)}; {about}{gigabytes(total)} to come, {free} free."


def missing_bytes(files: Iterable[RemoteFile], settings: FetchSettings) -> int:
    """Return the bytes that a fetch would bring, as far as known."""
    return sum(state(file, settings).missing for file in files)


def refuse_many_bytes(files: Sequence[RemoteFile], settings: FetchSettings) -> None:
    """Refuse a run that would fetch more than `fetch.max_gb`.

    Raises
    ------
    InputError
        It would.
    """
    total = missing_bytes(files, settings)
    if total > settings.max_gb * 1e9:
        largest = max(files, key=lambda file: state(file, settings).missing)
        raise InputError(
            f"The run would fetch {gigabytes(total)}, more than fetch.max_gb ({settings.max_gb:g}), most of it"
            f" {largest.name}.",
            f"Raise fetch.max_gb, or fetch it before: `{command_for(largest, settings)}`.",
        )


def refuse_full_disk(files: Sequence[RemoteFile], settings: FetchSettings) -> None:
    """Refuse a fetch that does not fit on the disk.

    Raises
    ------
    DiskError
        It does not.
    """
    refuse_small_disk(settings.path, missing_bytes(files, settings), f"What is to be fetched into {settings.path}")


def command_for(file: RemoteFile, settings: FetchSettings) -> str:
    """Return the command that fetches a file into the data folder of the settings."""
    basin = f" --basin {file.region}" if file.region else ""
    return f"headwater fetch {file.source.name}{basin}{folder_option(settings)}"


def folder_option(settings: FetchSettings) -> str:
    """Return the option of a command that names the data folder, where it is not the usual one."""
    return f" --folder {shlex.quote(settings.folder)}" if settings.folder else ""


def refuse_absent(files: Iterable[RemoteFile], settings: FetchSettings, setting: str) -> None:
    """Refuse a configuration whose files are not in the data folder and may not be fetched.

    Raises
    ------
    InputError
        One is missing; the remedy names the command.
    """
    for file in files:
        there = state(file, settings)
        if not there.complete:
            raise InputError(
                f"{setting} needs {there.path}, which is not there ({file.source.title}).",
                f"Run `{command_for(file, settings)}` ({'' if there.exact else 'about '}{gigabytes(there.size)}),"
                " or set `fetch: true` to let runs fetch it.",
            )


def fetch(
    files: Sequence[RemoteFile], settings: FetchSettings, *, limited: bool = False, ask: bool = True
) -> list[Path]:
    """Fetch the files that are not in the data folder, and compare the others with their notes.

    Parameters
    ----------
    files : sequence of RemoteFile
        What is needed.
    settings : FetchSettings
        Data folder, addresses, patience.
    limited : bool
        Whether `fetch.max_gb` holds.
    ask : bool
        Whether servers are asked for sizes that are not known, so that these are announced.

    Returns
    -------
    list of Path
        The files, in their order.

    Raises
    ------
    InputError
        More than `fetch.max_gb` is missing, or a file of the folder is not what it should be.
    NetworkError
        A file cannot be fetched; what has arrived stays, and the next fetch continues.
    DiskError
        The disk is too small, or the folder cannot be written.
    WorkError
        A file has changed since it was fetched.
    """
    if ask:
        ask_sizes(files, settings)
    if limited:
        refuse_many_bytes(files, settings)
    if (text := announcement(files, settings)) is not None:
        refuse_full_disk(files, settings)
        say(text)
    for source in {file.source.name: file.source for file in files}.values():
        write_license(source, settings)
    return [_fetch_one(file, settings, limited=limited) for file in files]


def verify(file: RemoteFile, settings: FetchSettings) -> dict[str, Any]:
    """Compare a file of the data folder with its note, or check it and note it; return the note.

    Raises
    ------
    InputError
        It is not what it should be.
    WorkError
        It has changed since it was fetched.
    """
    from headwater.fetch.download import file_digests
    from headwater.fetch.integrity import refuse_damaged

    path = path_of(file, settings)
    noted = read_note(path)
    if noted is None:
        refuse_damaged(path, file)
        say(f"{path} was not fetched by Headwater; it is used as it is.")
        sha256 = file_digests(path)["sha256"]
        with suppress(OSError):  # a folder that only others may write to
            write_note(path, file.source, name=file.name, address=None, sha256=sha256)
        return {"bytes": path.stat().st_size, "sha256": sha256}
    if noted["bytes"] != path.stat().st_size or noted["sha256"] != file_digests(path)["sha256"]:
        raise WorkError(
            f"{path} has changed since it was fetched: its SHA-256 is not that of {_note(path).name}.",
            f"Delete both and fetch it again, or delete {_note(path).name} alone to use the file as it is.",
        )
    return noted


def read_note(path: Path) -> dict[str, Any] | None:
    """Return what was noted of a file when it was fetched; None without a note."""
    if not _note(path).is_file():
        return None
    note = read_json(_note(path))
    if not isinstance(note, dict) or not isinstance(note.get("bytes"), int) or not isinstance(note.get("sha256"), str):
        raise InputError(f"{_note(path)} is no note of a fetched file.", "Delete it, and run the same command again.")
    return note


def write_note(path: Path, source: Source, **facts: Any) -> None:
    """Note a file: its source, its size, and whatever else is known of it."""
    values = {"source": source.name, "version": source.version, "license": source.license, "citation": source.citation}
    write_json(_note(path), {**values, "bytes": path.stat().st_size, **facts}, sealed=True)


def make_folder(folder: Path) -> None:
    """Make a folder of the data folder.

    Raises
    ------
    DiskError
        It cannot be made.
    """
    with _as_disk_error(folder / "file"):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from fetching a file; wait while another does."""
    try:
        descriptor = open_lock(path.with_name(f".{path.name}.lock"), mode=0o664)
    except OSError as error:
        raise DiskError(
            f"The lock of {path} cannot be opened ({error.strerror}).", "Check who may write to the data folder."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process fetches {path.name}; waiting for it.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


def _fetch_one(file: RemoteFile, settings: FetchSettings, *, limited: bool) -> Path:
    path = path_of(file, settings)
    if path.is_file():
        verify(file, settings)
        return path
    make_folder(path.parent)
    with locked(path):
        if path.is_file():
            verify(file, settings)
        else:
            _download(file, path, settings, limited=limited)
    return path


def _download(file: RemoteFile, path: Path, settings: FetchSettings, *, limited: bool) -> None:
    from headwater.fetch.download import Refused, download, file_digests, part_of, remove_part
    from headwater.fetch.integrity import check_file, check_start

    addresses = list(file.addresses)
    limits = _limits(file, settings, settings.max_gb if limited else None)
    while True:
        used = download(addresses, path, limits, check_start=lambda start, kind: check_start(file, start, kind))
        try:
            check_file(part_of(path), file)
        except Refused as error:
            # Nothing of it is of use: a continued download would end the same way.
            remove_part(path)
            del addresses[: addresses.index(used) + 1]
            if addresses:
                why = one_line(str(error))
                say(f"{without_secrets(used)} does not give {path.name} ({why}); the next address is tried.")
                continue
            raise NetworkError(
                f"{without_secrets(used)} does not give {path.name}: {error}.",
                "Run the same command again, or give another address (fetch.addresses).",
            ) from None
        break
    digests = file_digests(part_of(path))
    _finish(path)
    write_note(path, file.source, name=file.name, address=without_secrets(used), sha256=digests["sha256"])
    say(f"{path} is complete: {gigabytes(path.stat().st_size)}, SHA-256 {digests['sha256']}.")


def _finish(path: Path) -> None:
    """Give a complete download its name, and remove what was noted on the way."""
    from headwater.fetch.download import part_of, remove_part

    part_of(path).replace(path)
    remove_part(path)
    _size_note(path).unlink(missing_ok=True)


def _limits(file: RemoteFile, settings: FetchSettings, max_gb: float | None, patience_s: float | None = None) -> Any:
    from headwater.fetch.download import Limits

    most = file.part.max_bytes if max_gb is None else min(file.part.max_bytes, int(max_gb * 1e9))
    return Limits(most, patience_s or settings.patience_s, (*file.source.hosts, *settings.hosts))


def write_license(source: Source, settings: FetchSettings) -> None:
    """Write the license of a source next to its data, and print it the first time.

    Raises
    ------
    DiskError
        The folder cannot be made.
    """
    path = settings.path / source.name / _LICENSE
    text = (
        f"{source.title}\nVersion: {source.version}\nLicense: {source.license}\nPlease cite: {source.citation}\n"
        f"{source.page}\n"
    )
    try:
        if write_if_changed(path, text.encode()):
            say(f"{source.title}. License: {source.license}. Please cite: {source.citation}")
    except OSError as error:
        if not path.parent.is_dir():
            raise DiskError(
                f"The data folder {settings.path} cannot be written ({error.strerror}).",
                "Check who may write to it, or set fetch.folder or HEADWATER_DATA to another folder.",
            ) from error


@contextmanager
def _as_disk_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path.parent} cannot be written ({error.strerror}).",
            "Check who may write to it, or set fetch.folder or HEADWATER_DATA to another folder.",
        ) from error


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _size_note(path: Path) -> Path:
    return path.with_name(f".{path.name}.size.json")


def _noted_size(path: Path, file: RemoteFile) -> int | None:
    """Return the size that a server stated when it was asked, or when the download began."""
    part = path.with_name(f"{path.name}.part.json")
    for note, key in ((_size_note(path), "bytes"), (part, "total")):
        with suppress(InputError, WorkError, OSError):
            if note.is_file():
                value = read_json(note)
                same = key == "total" or value.get("addresses") == list(file.addresses)
                if same and isinstance(value.get(key), int):
                    return int(value[key])
    return None


def regions_here(settings: FetchSettings) -> list[str]:
    """Return the TDX-Hydro regions whose files are both in the data folder."""
    return [
        region
        for region in tdx_header_numbers()
        if all(path_of(file, settings).is_file() for file in remote_files(TDX_HYDRO, settings, basin_ids=[region]))
    ]
