"""Faults that are known and about to be repaired; empty when they are."""

from __future__ import annotations

import re

from hostile.lab import Outcome

AWAITING: tuple[tuple[str, str, str], ...] = (
    # Replies that drip.
    ("catalog", "a byte a second", "hangs"),
    ("tokens", "a byte a second", "hangs"),
    # Scenes that are not where their item says.
    ("scenes", "pixel scale|tiepoint|width|height", "ValueError"),
    # Scenes on disk that lead to other files and hosts.
    ("scenes", "VRT", "that an input names"),
    # A digest of the VRT; rasterio prints a traceback itself where it cannot decode a message.
    ("intermediates", "mosaic.vrt", "used silently|traceback"),
    # Polygons of which each edge crosses most others, and views without end.
    ("catalog", "a star of", "hangs|memory"),
    ("tables", "a star of", "hangs|traceback|memory"),
    ("tables", "a view", "hangs|memory"),
)
"""Door, pattern of the input's name, pattern of its faults."""


def is_awaited(outcome: Outcome) -> bool:
    """Whether what is wrong is known."""
    said = "; ".join(outcome.faults)
    return any(
        outcome.input.door == door and re.search(name, outcome.input.name) and re.search(fault, said)
        for door, name, fault in AWAITING
    )
