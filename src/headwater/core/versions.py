"""Versions of the steps: raised when a step produces different results from the same inputs.

The workflow puts them into the params of its rules, because a change of the package's code triggers no rerun.
"""

from __future__ import annotations

STEP_VERSIONS = {
    "search": 3,
    "select": 3,
    "composite": 2,
    "elevation": 3,
    "predict": 2,
    "published": 1,
    "mosaic": 2,
    "backbone": 4,
    "vectorize": 5,
    "network": 5,
    "report": 3,
}

RESULTS_LAYOUT = 1
"""Layout of the results folder: raised when the name, place or meaning of a file changes."""
