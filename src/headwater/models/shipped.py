"""The checkpoints that come with Headwater."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def default_checkpoints() -> tuple[Path, ...]:
    """Return the paths of the checkpoints that come with Headwater; the default prediction is their mean."""
    folder = Path(str(files("headwater"))) / "data"
    return tuple(folder / f"{name}-demo.safetensors" for name in ("waternet", "unet"))
