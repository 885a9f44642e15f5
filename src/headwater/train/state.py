"""The state of a training on disk: written whole or not at all, read without executing code."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from headwater.core.errors import InputError, WorkError
from headwater.core.files import atomic_path
from headwater.models.base import Network
from headwater.train.schedule import Progress


def load_state(
    path: Path, model: Network, average: Network, optimizer: torch.optim.Optimizer, made_with: str
) -> Progress:
    """Fill networks and optimizer with the state, if there is one; return how far it was.

    Raises
    ------
    InputError
        It is the state of another training, or cannot be read.
    """
    if not path.is_file():
        return Progress()
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        same = state["made_with"] == made_with
    except Exception as error:
        raise InputError(
            f"{path} is not the state of a training ({type(error).__name__}).", "Delete it to start afresh."
        ) from error
    if not same:
        raise InputError(
            f"{path} is the state of a training with another network, recipe, data or settings.",
            "Give the training another work folder, or delete the state to start afresh.",
        )
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def save_state(
    path: Path, model: Network, average: Network, optimizer: torch.optim.Optimizer, progress: Progress, made_with: str
) -> None:
    """Write the state beside the old one and put it in its place.

    Raises
    ------
    WorkError
        The disk is full or fails; the old state is still there.
    """
    try:
        with atomic_path(path) as temporary:
            torch.save(
                {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "progress": asdict(progress),
                    "made_with": made_with,
                },
                temporary,
            )
    # A full disk is a RuntimeError where torch's own writer meets it.
    except (OSError, RuntimeError) as error:
        raise WorkError(
            f"The state of the training could not be written to {path} ({error}).",
            "Make room on the disk and start again: it goes on from the last state that was written.",
        ) from error
