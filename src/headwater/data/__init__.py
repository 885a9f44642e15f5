"""Files that come with the package."""

from __future__ import annotations

import json
from pathlib import Path


def default_checkpoint() -> Path:
    """Return the path of the checkpoint that comes with Headwater."""
    return Path(__file__).with_name("waternet-demo.safetensors")


def tdx_header_numbers() -> dict[str, str]:
    """Return the two digits that TDX-Hydro's global ids begin with, for HYBAS_ID of each of its 62 basins."""
    numbers: dict[str, str] = json.loads(Path(__file__).with_name("tdx_header_numbers.json").read_text())
    return numbers
