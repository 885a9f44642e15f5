"""What a run takes from the data folder: words of the configuration that stand for its files, and what is missing.

`basins.polygons: hydrobasins`, `network.lakes: hydrolakes` and `predict.checkpoint: waternet` stand for files of the
data folder (fetch.folder). The rules need polygons and weights when they are read: these are fetched before, where
`fetch.enabled` allows it. TDX-Hydro and lakes are fetched by the rule fetch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.core.errors import InputError
from headwater.fetch import store
from headwater.fetch.settings import FetchSettings
from headwater.fetch.sources import HYDROBASINS, HYDROLAKES, RemoteFile, remote_files
from headwater.models.shipped import FETCHED, fetched_checkpoint, is_there
from headwater.project.config import Config


def with_files(config: Config) -> Config:
    """Return a configuration with the files that its words stand for; these may not be there yet.

    Raises
    ------
    InputError
        Basins of hydrobasins are not of level 2.
    """
    changes: dict[str, Any] = {}
    if uses_hydrobasins(config):
        paths = [str(store.path_of(file, config.fetch)) for file in polygon_files(config)]
        changes["basins"] = config.basins.model_copy(update={"polygons": tuple(paths)})
    if config.network.lakes == HYDROLAKES:
        (path,) = (str(store.path_of(file, config.fetch)) for file in lake_files(config))
        changes["network"] = config.network.model_copy(update={"lakes": path})
    named = config.checkpoints
    if any(word in FETCHED for word in named):
        files = tuple(str(fetched_checkpoint(word, config.fetch.path)) if word in FETCHED else word for word in named)
        changes["predict"] = config.predict.model_copy(update={"checkpoint": files})
    return config.model_copy(update=changes)


def uses_hydrobasins(config: Config) -> bool:
    """Whether the basins are those of the data folder."""
    return config.basins.polygons == HYDROBASINS


def polygon_files(config: Config) -> list[RemoteFile]:
    """Return the files of HydroBASINS that the basins are in; none where the configuration names its own."""
    if not uses_hydrobasins(config):
        return []
    return remote_files(HYDROBASINS, config.fetch, basin_ids=config.basins.ids)


def lake_files(config: Config) -> list[RemoteFile]:
    """Return the file of HydroLAKES; none where the configuration names its own or no lakes."""
    return remote_files(HYDROLAKES, config.fetch) if config.network.lakes == HYDROLAKES else []


def fetch_first(config: Config) -> None:
    """Fetch what the rules need when they are read: polygons and weights that the data folder lacks.

    Parameters
    ----------
    config : Config
        As it was written, before `with_files`.

    Raises
    ------
    HeadwaterError
        It cannot be fetched, or is more than `fetch.max_gb`.
    """
    if not config.fetch.enabled:
        return
    files = [file for file in polygon_files(config) if not store.state(file, config.fetch).complete]
    if files:
        store.fetch(files, config.fetch, limited=True)
    if missing_weights(config):
        from headwater.models.fetching import fetch_waternet

        fetch_waternet(config.fetch, limited=True)


def missing_weights(config: Config) -> list[str]:
    """Return the words of checkpoints that are not in the data folder."""
    folder = config.fetch.path
    return [word for word in config.checkpoints if word in FETCHED and not is_there(fetched_checkpoint(word, folder))]


def refuse_absent(config: Config) -> None:
    """Refuse a configuration whose polygons, weights or lakes are neither in the data folder nor may be fetched.

    Parameters
    ----------
    config : Config
        As it was written.

    Raises
    ------
    InputError
        Something is missing; the remedy names the command that fetches it.
    """
    store.refuse_absent(polygon_files(config), config.fetch, "basins.polygons: hydrobasins")
    for word in missing_weights(config):
        raise InputError(
            f"predict.checkpoint: {word} needs {fetched_checkpoint(word, config.fetch.path)}, which is not there.",
            f"Run `headwater models fetch {word}{store.folder_option(config.fetch)}`,"
            " or set `fetch: true` to let runs fetch it.",
        )
    if not config.fetch.enabled:
        store.refuse_absent(lake_files(config), config.fetch, "network.lakes: hydrolakes")


def fetch_lines(files: Sequence[RemoteFile], settings: FetchSettings) -> list[str]:
    """Return the lines that announce what the rules of a run will fetch.

    Raises
    ------
    InputError
        It is more than `fetch.max_gb`.
    DiskError
        The disk is too small.
    """
    text = store.announcement(files, settings)
    if text is None:
        return []
    store.refuse_many_bytes(files, settings)
    store.refuse_full_disk(files, settings)
    return [f"headwater: {text}"]
