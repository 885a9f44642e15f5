"""The checkpoints that come with Headwater, and those that are fetched into the data folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

FETCHED = {"waternet": "waternet.safetensors"}
"""Fetched checkpoints by the word that configurations use: the file in the folder of that name."""


def default_checkpoints() -> tuple[Path, ...]:
    """Return the paths of the checkpoints that come with Headwater; the default prediction is their mean."""
    folder = Path(str(files("headwater"))) / "data"
    return tuple(folder / f"{name}-demo.safetensors" for name in ("waternet", "unet"))


def fetched_checkpoint(word: str, folder: Path) -> Path:
    """Return where the checkpoint is, or will be, that a word such as "waternet" names, in the data folder."""
    return folder / word / FETCHED[word]


def is_there(checkpoint: Path) -> bool:
    """Whether both files of a checkpoint are there."""
    return checkpoint.is_file() and checkpoint.with_suffix(".json").is_file()
