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

from collections.abc import Callable
from typing import Any


def grow_per_attempt(amount: int | Callable[[Any], int]) -> Callable[..., int]:
    """Return a Snakemake resource function: `amount` on the first attempt, twice as much on the second, and so on.

    Parameters
    ----------
    amount : int or callable
        Megabytes or minutes of the first attempt, or a function of the rule's input that returns them.
    """

    def resource(wildcards: Any, input: Any, attempt: int) -> int:
        return attempt * (amount(input) if callable(amount) else amount)

    return resource
