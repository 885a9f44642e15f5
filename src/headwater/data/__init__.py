"""Files that come with the package."""

from __future__ import annotations

import json
from pathlib import Path


def default_checkpoints() -> tuple[Path, ...]:
    """Return the paths of the checkpoints that come with Headwater; the mean of what they predict is the default."""
    return tuple(Path(__file__).with_name(f"{name}-demo.safetensors") for name in ("waternet", "unet"))


def tdx_header_numbers() -> dict[str, str]:
    """Return the two digits that TDX-Hydro's global ids begin with, for HYBAS_ID of each of its 62 basins."""
    numbers: dict[str, str] = json.loads(Path(__file__).with_name("tdx_header_numbers.json").read_text())
    return numbers
