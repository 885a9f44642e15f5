"""Published weights for the real world: fetched from their repository and imported as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import InputError, NetworkError
from headwater.core.events import say
from headwater.core.files import write_if_changed
from headwater.fetch.settings import FetchSettings
from headwater.fetch.sizes import free_bytes, gigabytes, refuse_small_disk
from headwater.fetch.sources import SOURCES, WATERNET, WATERNET_DOI
from headwater.fetch.store import locked, make_folder, write_license
from headwater.models.shipped import fetched_checkpoint, is_there

if TYPE_CHECKING:
    from headwater.fetch.dataverse import DataSet, RepositoryFile
    from headwater.fetch.download import Limits

_DOWNLOADS = "downloads"


def list_waternet(settings: FetchSettings) -> None:
    """Print the files of the data set that WaterNet's weights are in."""
    from headwater.fetch.dataverse import describe

    _, data = _data_set(settings)
    print(f"{WATERNET_DOI}, version {data.version}: {len(data.files)} files")
    for line in describe(data.files):
        print(f"  {line}")


def fetch_waternet(
    settings: FetchSettings,
    *,
    file: str | None = None,
    member: str | None = None,
    refresh: bool = False,
    limited: bool = False,
) -> Path:
    """Fetch the published weights of WaterNet unless they are there, and import them; return the checkpoint.

    Parameters
    ----------
    settings : FetchSettings
        Data folder, address of the repository, patience.
    file : str, optional
        File of the data set that holds the weights; needed if several may.
    member : str, optional
        File in a zip file.
    refresh : bool
        Fetch although weights are there.
    limited : bool
        Whether `fetch.max_gb` holds.

    Raises
    ------
    NetworkError
        The repository does not give the file, or gives another one than it states.
    InputError
        No file, or several, may hold the weights, or they are not those of WaterNet.
    """
    out = fetched_checkpoint(WATERNET, settings.path)
    if is_there(out) and not (refresh or file or member):
        say(f"{out} is there; nothing is fetched.")
        return out
    from headwater.fetch.dataverse import choose_weights

    server, data = _data_set(settings)
    chosen = choose_weights(data, server, _limits(settings), file)
    _announce(chosen, data, settings, limited=limited)
    make_folder(out.parent / _DOWNLOADS)
    write_license(SOURCES[WATERNET], settings)
    with locked(out):
        source = _download(chosen, server, out.parent / _DOWNLOADS, settings)
        try:
            _import(source, chosen, data, out, member)
        finally:
            source.unlink(missing_ok=True)
    return out


def _data_set(settings: FetchSettings) -> tuple[str, DataSet]:
    """Return the server that answers first, and its list of files."""
    from headwater.fetch.dataverse import read_data_set

    servers = settings.addresses_of(WATERNET) or (SOURCES[WATERNET].address,)
    for server in servers[:-1]:
        try:
            return server, read_data_set(server, WATERNET_DOI, _limits(settings))
        except NetworkError as error:
            say(f"{error.cause} The next address is asked.")
    return servers[-1], read_data_set(servers[-1], WATERNET_DOI, _limits(settings))


def _limits(settings: FetchSettings) -> Limits:
    from headwater.fetch.dataverse import MAX_WEIGHT_BYTES
    from headwater.fetch.download import Limits

    return Limits(MAX_WEIGHT_BYTES, settings.patience_s, (*SOURCES[WATERNET].hosts, *settings.hosts))


def _announce(chosen: RepositoryFile, data: DataSet, settings: FetchSettings, *, limited: bool) -> None:
    free = gigabytes(free_bytes(settings.path))
    say(
        f"to fetch into {settings.path}: {chosen.name} of {WATERNET_DOI}, version {data.version},"
        f" {gigabytes(chosen.size)}, {free} free."
    )
    if limited and chosen.size > settings.max_gb * 1e9:
        raise InputError(
            f"{chosen.name} is {gigabytes(chosen.size)}, more than fetch.max_gb ({settings.max_gb:g}).",
            "Raise fetch.max_gb, or run `headwater models fetch waternet` before.",
        )
    refuse_small_disk(settings.path, 2 * chosen.size, f"{chosen.name} with the checkpoint made from it")


def _download(chosen: RepositoryFile, server: str, folder: Path, settings: FetchSettings) -> Path:
    """Return the downloaded file, whose size and MD5 are as the repository states."""
    from headwater.fetch.dataverse import file_address
    from headwater.fetch.download import Refused, download, part_of, remove_part

    def check_start(start: bytes, kind: str) -> None:
        if start.lstrip()[:1] == b"<" or "html" in kind.lower():
            raise Refused("it sends a web page instead of the file")

    path = folder / chosen.local_name
    if path.is_file() and not _differs(path, chosen):
        return path  # of a fetch that was killed before the import
    address = file_address(server, chosen)
    download([address], path, _limits(settings), check_start=check_start)
    difference = _differs(part_of(path), chosen)
    if difference:
        remove_part(path)
        raise NetworkError(
            f"{chosen.name} as it arrived is not what the repository states: {difference}.",
            "Run the same command again; if it stays so, report it to the repository.",
        )
    if chosen.md5 is None:
        say(f"The repository states no MD5 of {chosen.name}; its size alone is compared.")
    part_of(path).replace(path)
    remove_part(path)
    return path


def _differs(path: Path, chosen: RepositoryFile) -> str:
    """Return how a file differs from what the repository states, "" if it does not."""
    from headwater.fetch.download import file_digests

    size = path.stat().st_size
    if size != chosen.size:
        return f"{size} bytes instead of {chosen.size}"
    if chosen.md5 is not None and file_digests(path)["md5"] != chosen.md5:
        return "its MD5 is another one"
    return ""


def _import(source: Path, chosen: RepositoryFile, data: DataSet, out: Path, member: str | None) -> None:
    from headwater.fetch.dataverse import weights_in_zip
    from headwater.fetch.download import file_digests
    from headwater.models.importing import import_checkpoint

    weights = weights_in_zip(source, source.parent, member) if chosen.suffix == ".zip" else source
    if weights is None:
        raise InputError(
            f"{chosen.name} contains no file of weights{f' called {member!r}' if member else ''}.",
            "Choose another file with --file NAME; --list shows all.",
        )
    about = SOURCES[WATERNET]
    origin = {
        "imported_from": chosen.name,
        "source": WATERNET_DOI,
        "source_version": data.version,
        "source_md5": chosen.md5 or file_digests(source)["md5"],
        "citation": about.citation,
        "page": about.page,
    }
    try:
        made = import_checkpoint(WATERNET, weights, out, license=about.license, origin=origin)
    finally:
        if weights != source:
            weights.unlink(missing_ok=True)
    write_if_changed(out.with_suffix(".md"), _card(origin, made.sha256, made.recipe.name).encode())
    say(f"{out} is complete: WaterNet, recipe {made.recipe.name}, license {about.license}.")


def _card(origin: dict[str, str], sha256: str, recipe: str) -> str:
    about = SOURCES[WATERNET]
    return f"""# WaterNet, published weights

- License: {about.license}. What is made with these weights carries it on.
- Please cite: {about.citation}
- Source: {origin["source"]}, version {origin["source_version"]}, file `{origin["imported_from"]}`,
  MD5 {origin["source_md5"]}
- Imported by tensor name; no code of the file was executed. SHA-256 of the checkpoint: {sha256}
- Channels: recipe `{recipe}`, that of the published program, from Sentinel-2 composites and GLO-30 elevation.
"""
