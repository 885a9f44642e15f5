"""Where the relative paths of a configuration begin: in the folder of the run, or in that of the configuration.

A run of the second kind also runs in that folder, unless `--directory` says otherwise: Snakemake's records of what it
made are next to the results, whichever way it is started. Paths are made ready once, when the configuration is read, so
that all else sees paths that begin in the folder of the run. A job on a cluster reads the same configuration files in
the same folder, and so has the same paths.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from headwater.core.errors import InputError
from headwater.core.settings import full_name, rules_of
from headwater.core.texts import BASIN_FILE_FORM, BASIN_FILE_NAME, FILE_FORM, FILE_NAME
from headwater.fetch.sources import HYDROBASINS, HYDROLAKES
from headwater.models.shipped import FETCHED
from headwater.project.config import Config
from headwater.stac.presets import PRESETS

PATHS_FROM = "paths_from"
_ADDRESSES = frozenset({"catalog.url", "catalog.fallback", "catalog.fallback.url", "predict.published"})
"""Settings that take the address of a service as well as a file or folder."""
_WORDS: Mapping[str, frozenset[str]] = {
    "basins.polygons": frozenset({HYDROBASINS}),
    "network.lakes": frozenset({HYDROLAKES}),
    "predict.checkpoint": frozenset(FETCHED),
}
"""Words that stand for files of the data folder, by setting."""


def read_config(path: Path, *, run_folder: Path) -> dict[str, Any]:
    """Read a configuration file, with its paths as a run in a folder sees them; nothing else is checked.

    Parameters
    ----------
    path : Path
        The file.
    run_folder : Path
        Folder that the workflow runs in.

    Raises
    ------
    InputError
        The file is missing or is not a table of settings.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as a configuration ({reason}).", "Give a YAML file.") from error
    if not isinstance(values, Mapping):
        raise InputError(f"{path} is not a table of settings.", "Give a configuration, such as config/config.yaml.")
    return ready_paths({str(key): value for key, value in values.items()}, [path], run_folder=run_folder)


def project_folder(config: Mapping[str, Any], files: Iterable[Path]) -> Path | None:
    """Return the folder of a configuration whose `paths_from` is "config": its workflow runs there.

    None for other configurations, and where it is not one folder, which `ready_paths` refuses.
    """
    folders = {Path(file).absolute().parent for file in files}
    return folders.pop() if config.get(PATHS_FROM) == "config" and len(folders) == 1 else None


def ready_paths(config: Mapping[str, Any], files: Iterable[Path], *, run_folder: Path) -> dict[str, Any]:
    """Return a configuration whose relative paths begin in the folder of the run.

    Parameters
    ----------
    config : mapping
        As read, not checked. Unless its `paths_from` is "config", it is returned as it is.
    files : iterable of Path
        The files that it was read from; without any, paths stay as they are.
    run_folder : Path
        Folder that the workflow runs in. Paths below it stay relative, so that a project can be moved.

    Raises
    ------
    InputError
        The files are in different folders.
    """
    folders = sorted({Path(file).absolute().parent for file in files})
    if config.get(PATHS_FROM) != "config" or not folders:
        return dict(config)
    if len(folders) > 1:
        raise InputError(
            f"{PATHS_FROM} is config, but the configuration files are in different folders, {folders[0]} and"
            f" {folders[1]}.",
            f"Put them into one folder, or leave {PATHS_FROM} out and write paths from the folder of the run.",
        )
    return paths_begin_in(folders[0], config, run_folder=run_folder)


def paths_begin_in(folder: Path, config: Mapping[str, Any], *, run_folder: Path) -> dict[str, Any]:
    """Return a configuration whose relative paths, so far from one folder, begin in another.

    Parameters
    ----------
    folder : Path
        Absolute folder in which they begin.
    config : mapping
        Not checked: what cannot be a path stays as it is, and so do addresses and names of what comes with Headwater.
    run_folder : Path
        Folder in which they shall begin. Paths outside it become absolute.
    """
    start = _seen_from(run_folder.absolute(), folder)
    if not start:
        return dict(config)

    def made_ready(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: made_ready(full_name(name, str(key)), inner) for key, inner in value.items()}
        form = _path_settings().get(name)
        if form is None:
            return value
        several = isinstance(value, list | tuple)
        return [_from(start, each, name, form) for each in value] if several else _from(start, value, name, form)

    return {key: made_ready(key, value) for key, value in config.items()}


def _seen_from(run_folder: Path, folder: Path) -> str:
    """Return a folder as paths of a run name it: "" for the folder of the run itself."""
    if not folder.is_relative_to(run_folder):
        return str(folder)
    below = str(folder.relative_to(run_folder))
    # A leading - would make an option of the path.
    return "" if below == "." else below if re.fullmatch(FILE_NAME, below) else f"./{below}"


def _from(start: str, value: Any, name: str, form: str) -> Any:
    if not isinstance(value, str) or Path(value).is_absolute() or "://" in value:
        return value
    if value in _WORDS.get(name, ()) or (name == "catalog.fallback" and value in PRESETS.names()):
        return value
    # What is no file name is refused later, as it was written.
    if (
        name not in _ADDRESSES
        and re.fullmatch(BASIN_FILE_NAME if form == BASIN_FILE_FORM else FILE_NAME, value) is None
    ):
        return value
    if form == BASIN_FILE_FORM and glob.has_magic(value):
        start = glob.escape(start)
    return os.path.join(start, value) if value else value  # noqa: PTH118  a text, whose "./" counts


@cache
def _path_settings() -> Mapping[str, str]:
    """Return the form of each setting that names files or folders, by its full name."""
    found, own = dict.fromkeys(_ADDRESSES, FILE_FORM), rules_of(Config)
    for key, field in Config.model_fields.items():
        inner = field.annotation
        of_section = rules_of(inner) if isinstance(inner, type) and hasattr(inner, "model_fields") else {}
        rules = {f"{key}.{name}": rule for name, rule in of_section.items()} or {key: own[key]}
        for name, rule in rules.items():
            forms = {str(part.get("form")) for part in _parts(rule)} & {FILE_FORM, BASIN_FILE_FORM}
            if forms:
                found[name] = forms.pop()
    return found


def _parts(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a rule and the rules of its alternatives and items."""
    inner = [*rule.get("anyOf", ()), *([rule["items"]] if isinstance(rule.get("items"), Mapping) else ())]
    return [rule, *(part for each in inner for part in _parts(each))]
