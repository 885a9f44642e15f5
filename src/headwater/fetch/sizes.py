"""Sizes in words, and whether a download fits on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from headwater.core.errors import DiskError


def gigabytes(size: float) -> str:
    """Return a size in words: "1.68 GB", "12 MB", "3 kB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} bytes"


def free_bytes(folder: Path) -> int:
    """Return the free space of the disk that a folder is on, or will be on."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def refuse_small_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse a download that does not fit on the disk.

    Raises
    ------
    DiskError
        Too little space is free.
    """
    free = free_bytes(folder)
    if free < needed:
        raise DiskError(
            f"{what} takes {gigabytes(needed)} more, and {gigabytes(free)} are free for {folder}.",
            f"Free space, or set fetch.folder or HEADWATER_DATA to a folder on another disk than {folder}.",
        )
