"""Faults that are known and about to be repaired; empty when they are."""

from __future__ import annotations

import re

from hostile.lab import Outcome

AWAITING: tuple[tuple[str, str, str], ...] = ()
"""Door, pattern of the input's name, pattern of its faults."""


def is_awaited(outcome: Outcome) -> bool:
    """Whether all that is wrong is known."""
    return any(
        outcome.input.door == door
        and re.search(name, outcome.input.name)
        and re.search(fault, "; ".join(outcome.faults))
        for door, name, fault in AWAITING
    )
