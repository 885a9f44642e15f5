"""Versions of the steps: raised when a step makes other results from the same inputs.

The workflow puts them into a rule's params, since editing the package's code triggers nothing by itself.
"""

from __future__ import annotations

STEP_VERSIONS = {
    "search": 2,
    "select": 2,
    "composite": 2,
    "elevation": 2,
    "predict": 2,
    "backbone": 2,
    "vectorize": 4,
    "network": 2,
    "report": 2,
}

RESULTS_LAYOUT = 1
"""Layout of the folder of results: raised when files get other names or places, or what is in them another meaning."""
