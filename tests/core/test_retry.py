"""The retry policy: what is repeated, how often and how long it waits."""

from __future__ import annotations

import threading

import pytest

from headwater.core.retry import retry_policy


class _Failing:
    """Fails with an error a number of times, then returns how often it was called."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return self.calls


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    return waits


def test_repeats_until_it_succeeds_and_doubles_the_bound_of_the_wait(waits: list[float]) -> None:
    assert retry_policy("read", OSError, max_attempts=6, multiplier_s=0.5, max_wait_s=2)(_Failing(OSError(), 5)) == 6
    assert len(waits) == 5
    assert all(0 <= wait <= bound for wait, bound in zip(waits, (0.5, 1, 2, 2, 2), strict=True))


def test_raises_the_error_of_the_last_attempt(waits: list[float]) -> None:
    failing = _Failing(OSError("broken"), 10)
    with pytest.raises(OSError, match="broken"):
        retry_policy("read", OSError, max_attempts=3)(failing)
    assert failing.calls == 3


def test_other_errors_are_raised_at_once(waits: list[float]) -> None:
    failing = _Failing(ValueError(), 10)
    with pytest.raises(ValueError):
        retry_policy("read", (OSError, KeyError), max_attempts=3)(failing)
    assert failing.calls == 1


def test_waits_at_least_as_long_as_the_server_requests(waits: list[float]) -> None:
    retry_policy("search", OSError, max_attempts=3, requested_wait_s=lambda _: 7.0)(_Failing(OSError(), 2))
    assert waits == [7.0, 7.0]


def test_a_deadline_counts_the_wait_before_an_attempt(waits: list[float]) -> None:
    failing = _Failing(OSError(), 10)
    with pytest.raises(OSError):
        retry_policy("search", OSError, max_attempts=9, deadline_s=5, requested_wait_s=lambda _: 7.0)(failing)
    assert (failing.calls, waits) == (1, [])


def test_gives_up_early_at_an_error_that_is_final(waits: list[float]) -> None:
    failing = _Failing(OSError(), 10)
    with pytest.raises(OSError):
        retry_policy("search", OSError, max_attempts=9, is_final=lambda _, attempts: attempts >= 2)(failing)
    assert failing.calls == 2


def test_a_set_event_ends_all_attempts() -> None:
    cancelled = threading.Event()
    cancelled.set()
    failing = _Failing(OSError(), 10)
    with pytest.raises(OSError):
        retry_policy("search", OSError, max_attempts=9, cancelled=cancelled)(failing)
    assert failing.calls == 1
