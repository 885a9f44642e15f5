"""Runs of the workflow: the results folder and its locks, progress, summary, job retries and benchmarks."""

from __future__ import annotations

FLOW = (
    "plan", "search", "refresh_items", "select", "refresh_scenes", "composite", "elevation", "predict", "mosaic",
    "backbone", "vectorize", "network", "report",
)  # fmt: skip
"""Rules in the order of the data flow."""


def by_flow(rule: str) -> tuple[int, str]:
    """Return a sort key that orders rules by the data flow, unknown ones last."""
    return (FLOW.index(rule) if rule in FLOW else len(FLOW), rule)
