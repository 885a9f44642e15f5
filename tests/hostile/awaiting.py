"""Faults that are known and about to be repaired; empty when they are."""

from __future__ import annotations

import re

from hostile.lab import Outcome

AWAITING: tuple[tuple[str, str, str], ...] = (("intermediates", "mosaic.vrt", "traceback"),)
"""Door, pattern of the input's name, pattern of its faults."""


def is_awaited(outcome: Outcome) -> bool:
    """Whether what is wrong is known."""
    said = "; ".join(outcome.faults)
    return any(
        outcome.input.door == door and re.search(name, outcome.input.name) and re.search(fault, said)
        for door, name, fault in AWAITING
    )
