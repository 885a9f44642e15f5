"""The retry policy of jobs: how often Snakemake repeats a failed job, and with which resources.

- How often: `retries` in the profile. The cluster profiles (profiles/slurm, cluster-generic, aws-batch, kubernetes) set
  2, so a job has up to three attempts. The default profile for one machine sets none: a failed job stops the run, and
  the same command resumes it.
- Any failure is repeated. Memory and run time grow with the attempt (`grow_per_attempt`): a job that the scheduler
  ended for either is submitted again with twice and then three times as much.
- Within a job, failed requests are repeated by `headwater.core.retry`; an attempt of the job fails only after those.
- Each attempt of a job records its events; `headwater.runs.run_summary` counts the failed ones by cause.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

NETWORK_MB_PER_MB_OF_SEGMENTS = 30
"""A little more memory than benchmarks/network.py measures."""
MIN_NETWORK_MB = 4000


def grow_per_attempt(amount: int) -> Callable[..., int]:
    """Return a Snakemake resource function: `amount` on the first attempt, twice as much on the second, and so on.

    Parameters
    ----------
    amount : int
        Megabytes or minutes of the first attempt.
    """

    def resource(wildcards: Any, attempt: int, **_: Any) -> int:
        return amount * attempt

    return resource


def network_memory_mb(segments: Iterable[str | Path], attempt: int) -> int:
    """Return the memory of a basin's network job in megabytes.

    Parameters
    ----------
    segments : iterable of path
        The basin's waterways.parquet files of all cells.
    attempt : int
        Number of the attempt, from 1.
    """
    measured = NETWORK_MB_PER_MB_OF_SEGMENTS * sum(map(os.path.getsize, segments)) // 2**20
    return attempt * max(MIN_NETWORK_MB, measured)
