"""fetch: the table of sources, fetching one of them, and comparing what is there with its notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.core.errors import HeadwaterError, InputError, WorkError
from headwater.core.files import write_json
from headwater.fetch import store
from headwater.fetch.settings import FetchSettings
from headwater.fetch.sizes import gigabytes
from headwater.fetch.sources import SOURCES, TDX_HYDRO, WATERNET, RemoteFile, Source, get_source, remote_files

_WEIGHTS = "waternet.safetensors"
"""Checkpoint in the data folder that was made from the published weights."""


def fetch_source(
    name: str,
    settings: FetchSettings,
    *,
    basin_ids: Sequence[str] = (),
    receipt: Path | None = None,
    offline: bool = False,
) -> None:
    """Fetch the files of a source that are not in the data folder, and print where all are.

    Parameters
    ----------
    name : str
        Source.
    settings : FetchSettings
        Data folder, addresses, limits.
    basin_ids : sequence of str
        HYBAS_ID of the basins that they are for.
    receipt : Path, optional
        JSON to write with the names, sizes and SHA-256 of the files: an input of what reads them.
    offline : bool
        Refuse missing files instead of fetching them.

    Raises
    ------
    HeadwaterError
        See `headwater.fetch.store.fetch`.
    """
    files = remote_files(name, settings, basin_ids=basin_ids)
    if offline:
        store.refuse_absent(files, settings, name)
    paths = store.fetch(files, settings, limited=True)
    for path in paths:
        print(path)
    if receipt is not None:
        notes = {path.name: store.read_note(path) or {} for path in paths}
        facts = {file: {key: note.get(key) for key in ("bytes", "sha256")} for file, note in notes.items()}
        source = get_source(name)
        values = {"source": name, "version": source.version, "license": source.license, "citation": source.citation}
        write_json(receipt, {**values, "files": facts}, sealed=True)


def list_sources(settings: FetchSettings, *, source: str | None = None, basin_ids: Sequence[str] = ()) -> None:
    """Print the table of sources: version, license, size and state; with basins, of each of their files.

    Sizes of named basins that are not known are asked for.

    Parameters
    ----------
    settings : FetchSettings
        Data folder and addresses.
    source : str, optional
        Only this one.
    basin_ids : sequence of str
        HYBAS_ID.
    """
    rows = [("source", "version", "license", "size", "state")]
    for each in [get_source(source)] if source else SOURCES.values():
        if basin_ids and each.name != WATERNET:
            files = remote_files(each.name, settings, basin_ids=basin_ids)
            store.ask_sizes(files, settings)
            for file in files:
                there = store.state(file, settings)
                size = f"{'' if there.exact else 'about '}{gigabytes(there.size)}"
                rows.append((f"{each.name} {file.name}", each.version, each.license, size, there.words))
        else:
            rows.append((each.name, each.version, each.license, *_summary(each, settings)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(f"data folder: {settings.path}")


def verify_source(settings: FetchSettings, *, source: str | None = None, basin_ids: Sequence[str] = ()) -> None:
    """Compare the files of the data folder with their noted SHA-256, and print a line for each.

    Raises
    ------
    WorkError
        One has changed, or is not what it should be.
    InputError
        None is there.
    """
    names = [get_source(source).name] if source else [name for name in SOURCES if name != WATERNET]
    files = [file for name in names for file in _files_here(name, settings, basin_ids)]
    if not files:
        raise InputError(f"There is nothing to verify in {settings.path}.", "Fetch a source first, or give --folder.")
    failures = []
    for file in files:
        try:
            note = store.verify(file, settings)
        except HeadwaterError as error:
            failures.append(error)
            print(f"{store.path_of(file, settings)}: {error.cause}")
        else:
            print(f"{store.path_of(file, settings)}: as fetched, SHA-256 {note['sha256']}")
    if failures:
        raise WorkError(f"{len(failures)} of {len(files)} files are not as they were fetched.", failures[0].remedy)


def _files_here(name: str, settings: FetchSettings, basin_ids: Sequence[str]) -> list[RemoteFile]:
    return [file for file in all_files(name, settings, basin_ids) if store.state(file, settings).complete]


def all_files(name: str, settings: FetchSettings, basin_ids: Sequence[str] = ()) -> list[RemoteFile]:
    """Return all files of a source, of all regions unless some are named."""
    from headwater.geo.basins import tdx_header_numbers

    ids = list(basin_ids) or (list(tdx_header_numbers()) if name == TDX_HYDRO else [])
    return remote_files(name, settings, basin_ids=ids)


def _summary(source: Source, settings: FetchSettings) -> tuple[str, str]:
    """Return size and state of a source in words."""
    if source.name == WATERNET:
        here = (settings.path / WATERNET / _WEIGHTS).is_file()
        return "as the repository states", "here" if here else "not here"
    files = all_files(source.name, settings)
    states = [store.state(file, settings) for file in files]
    complete, begun = sum(each.complete for each in states), sum(bool(each.arrived) for each in states)
    if source.name == TDX_HYDRO:
        of_region = sum(part.estimate for part in source.parts)
        size = f"about {gigabytes(of_region)} for a large region"
    else:
        exact = all(each.exact for each in states)
        size = f"{'' if exact else 'about '}{gigabytes(sum(each.size for each in states))}"
    words = f"{complete} of {len(files)} files here" if complete else "not here"
    return size, f"{words}, {begun} begun" if begun else words
