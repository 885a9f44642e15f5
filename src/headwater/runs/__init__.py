"""Watching a run: its progress line, its summary, and what its jobs told and cost."""

from __future__ import annotations

FLOW = (
    "plan", "search", "refresh_items", "select", "refresh_scenes", "composite", "elevation", "predict", "mosaic",
    "backbone", "vectorize", "network", "report",
)  # fmt: skip
"""Rules in the order in which the data meet them."""


def by_flow(rule: str) -> tuple[int, str]:
    """Return a key that sorts rules as the data meet them, unknown ones last."""
    return (FLOW.index(rule) if rule in FLOW else len(FLOW), rule)
