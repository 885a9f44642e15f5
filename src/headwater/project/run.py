"""`headwater run`: Snakemake with the right files for a project folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from headwater.core.errors import InputError
from headwater.project.snakemake_call import call_snakemake, workflow_folder

CONFIG_NAME = "config.yaml"
"""Configuration of a project folder."""


def run_project(
    folder: Path,
    *,
    cores: str | None = None,
    dry_run: bool = False,
    refresh: bool = False,
    unlock: bool = False,
    profile: str | None = None,
    further: Sequence[str] = (),
) -> int:
    """Run the workflow in a project folder and return Snakemake's exit code.

    Parameters
    ----------
    folder : Path
        Folder with config.yaml; results are written to its folder `results`.
    cores : str, optional
        A number or "all"; what the profile says if not given, which is all of this machine by default.
    dry_run : bool
        Only list the jobs.
    refresh : bool
        Look for new imagery first, then run what has changed.
    unlock : bool
        Only remove the lock that a killed run left.
    profile : str, optional
        Folder of a profile, or the name of one that comes with Headwater.
    further : sequence of str
        Further arguments of Snakemake, as they are.

    Raises
    ------
    InputError
        The folder has no configuration, or there is no such profile.
    """
    options = snakemake_options(folder, cores=cores, profile=profile)
    options += ["--dry-run"] * dry_run + ["--unlock"] * unlock
    # Within one run, everything after a job that runs is made again: new imagery takes two.
    if refresh and not unlock and (code := call_snakemake([*options, *further, "--", "refresh"])):
        return code
    return call_snakemake([*options, *further])


def snakemake_options(folder: Path, *, cores: str | None, profile: str | None) -> list[str]:
    """Return the options of Snakemake that name a project's files, its cores and its profile.

    Raises
    ------
    InputError
        See `run_project`.
    """
    config = folder / CONFIG_NAME
    if not config.is_file():
        raise InputError(
            f"{folder} has no {CONFIG_NAME}, so it is not the folder of a project.",
            f"Make one with `headwater init {folder}`, or name another folder.",
        )
    if cores is not None and re.fullmatch(r"all|[1-9][0-9]{0,5}", cores) is None:
        raise InputError(f"--cores is {cores!r}.", "Give a number of 1 or more, or all.")
    workflow = workflow_folder()
    options = [
        "--snakefile",
        workflow / "Snakefile",
        "--directory",
        folder.absolute(),
        "--configfile",
        config.absolute(),
    ]
    if profile is not None:
        options += ["--workflow-profile", _profile(profile, workflow / "profiles")]
    elif cores is None:
        cores = "all"
    return [*map(str, options), *(["--cores", cores] if cores is not None else [])]


def _profile(name: str, ours: Path) -> Path:
    """Return the folder of a profile: a path, or the name of one that comes with Headwater."""
    for folder in (Path(name), ours / name):
        if (folder / "config.yaml").is_file():
            return folder.absolute()
    known = ", ".join(sorted(path.parent.name for path in ours.glob("*/config.yaml")))
    raise InputError(
        f"There is no profile {name}.", f"Give a folder with a config.yaml of Snakemake, or one of {known}."
    )
