"""Versions of the steps: raised when a step makes other results from the same inputs.

The workflow puts them into a rule's params, since editing the package's code triggers nothing by itself.
"""

from __future__ import annotations

STEP_VERSIONS = {
    "search": 1,
    "select": 1,
    "composite": 1,
    "elevation": 1,
    "predict": 1,
    "backbone": 1,
    "vectorize": 2,
    "network": 1,
    "report": 2,
}
