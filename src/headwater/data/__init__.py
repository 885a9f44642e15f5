"""Files that come with the package."""

from __future__ import annotations

from pathlib import Path


def default_checkpoint() -> Path:
    """Return the path of the checkpoint that comes with Headwater."""
    return Path(__file__).with_name("waternet-demo.safetensors")
