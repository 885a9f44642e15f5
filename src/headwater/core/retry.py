"""The retry policy: which failures are repeated, how often, and how long to wait in between.

Every retry in the project runs through `retry_policy`: exponential backoff with full jitter, so that many jobs that
failed at once do not return at once. The numbers (attempts, deadlines) belong to the callers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from headwater.core.events import retrying

# tenacity imports asyncio, 50 ms of CPU that a job without retries need not spend.
if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying

DEFAULT_MULTIPLIER_S = 0.3
DEFAULT_MAX_WAIT_S = 10.0


def retry_policy(
    what: str,
    on: type[BaseException] | tuple[type[BaseException], ...],
    *,
    max_attempts: int | None = None,
    multiplier_s: float = DEFAULT_MULTIPLIER_S,
    max_wait_s: float = DEFAULT_MAX_WAIT_S,
    give_up_after_s: float | None = None,
    deadline_s: float | None = None,
    requested_wait_s: Callable[[BaseException], float] | None = None,
    is_final: Callable[[BaseException, int], bool] | None = None,
    cancelled: threading.Event | None = None,
) -> Retrying:
    """Return a retry policy: iterate over it (`for attempt in policy: with attempt: ...`) or call it with a function.

    Before attempt n + 1 it waits a random time between 0 and min(`max_wait_s`, `multiplier_s` * 2**(n - 1)). Each
    retry is counted and recorded as an event. After the last attempt the error of that attempt is raised.

    Parameters
    ----------
    what : str
        What is retried, for events: "read", "search", "token" or "download".
    on : exception type or tuple of them
        Errors that are retried; all others are raised at once.
    max_attempts : int, optional
        Attempts in all, the first included; without it, time alone ends the retries.
    multiplier_s : float
        Upper bound of the first wait, seconds; it doubles with each attempt.
    max_wait_s : float
        Upper bound of all waits, seconds.
    give_up_after_s : float, optional
        No retry is planned once so many seconds have passed since the first attempt; one wait may follow.
    deadline_s : float, optional
        Stricter: no attempt begins later than so many seconds after the first, its wait included.
    requested_wait_s : callable, optional
        Returns the seconds that a server requested with an error (Retry-After); the wait is never shorter.
    is_final : callable, optional
        Takes an error and the number of attempts so far; returns whether to give up early.
    cancelled : threading.Event, optional
        Once set, waits end and no further attempt begins.
    """
    import tenacity

    backoff = tenacity.wait_random_exponential(multiplier=multiplier_s, max=max_wait_s)
    if max_attempts is None and give_up_after_s is None and deadline_s is None:
        raise ValueError("a retry policy needs an end")
    stops: list[Callable[[RetryCallState], bool]] = []
    if max_attempts is not None:
        stops.append(tenacity.stop_after_attempt(max_attempts))
    if give_up_after_s is not None:
        stops.append(tenacity.stop_after_delay(give_up_after_s))
    if deadline_s is not None:
        stops.append(tenacity.stop_before_delay(deadline_s))
    if cancelled is not None:
        stops.append(tenacity.stop_when_event_set(cancelled))

    def wait(state: RetryCallState) -> float:
        pause = backoff(state)
        error = _error_of(state)
        requested = requested_wait_s(error) if requested_wait_s is not None and error is not None else 0.0
        return max(requested, pause)

    def stop(state: RetryCallState) -> bool:
        error = _error_of(state)
        final = is_final is not None and error is not None and is_final(error, state.attempt_number)
        return final or any(condition(state) for condition in stops)

    return tenacity.Retrying(
        stop=stop,
        wait=wait,
        retry=tenacity.retry_if_exception_type(on),
        sleep=tenacity.nap.sleep if cancelled is None else tenacity.nap.sleep_using_event(cancelled),
        before_sleep=retrying(what),
        reraise=True,
    )


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
