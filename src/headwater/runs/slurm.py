"""Slurm: check that the partitions a profile names exist."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

import yaml

from headwater.core.errors import InputError

_SINFO_TIMEOUT_S = 60.0


def check_partitions(file: Path) -> None:
    """Refuse Slurm partitions that the cluster does not have; does nothing if `sinfo` is missing or fails.

    Parameters
    ----------
    file : Path
        partitions.yaml of the profile.

    Raises
    ------
    InputError
        The file names a partition that Slurm does not know.
    """
    known = _known_partitions()
    unknown = sorted(_named_partitions(file) - set(known)) if known else []
    if unknown:
        raise InputError(
            f"Slurm has no partition {' or '.join(unknown)}, which {file} names.",
            f"Use the cluster's partitions in that file: {', '.join(sorted(known))}.",
        )


def _named_partitions(file: Path) -> set[str]:
    """Return the partitions that the file names for this cluster; entries that name another cluster are left out."""
    try:
        table = (yaml.safe_load(file.read_text()) or {}).get("partitions") or {}
        well_formed = all(isinstance(name, str) and isinstance(each or {}, dict) for name, each in table.items())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError):
        well_formed = False
    if not well_formed:
        raise InputError(
            f"{file} is no table of Slurm's partitions.", "Write it like profiles/slurm/partitions.yaml, or leave it."
        )
    elsewhere = ("cluster", "clusters", "slurm_cluster")
    return {name for name, limits in table.items() if not any(word in (limits or {}) for word in elsewhere)}


def _known_partitions() -> Collection[str]:
    sinfo = shutil.which("sinfo")
    if sinfo is None:
        return ()
    command = [sinfo, "--all", "--noheader", "--format=%R"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SINFO_TIMEOUT_S, check=False)
    except (subprocess.TimeoutExpired, OSError):
        return ()
    return set(done.stdout.split()) if done.returncode == 0 else ()
