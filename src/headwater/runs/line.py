"""The progress of a whole run in one line: cells done of each step, rate, remaining time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from headwater.runs import by_flow
from headwater.runs.times import told_time


class Progress:
    """How far a run is; told of each job that begins and ends.

    Parameters
    ----------
    totals : mapping of str to int
        Jobs of each rule, those done in earlier runs among them.
    done : mapping of str to int
        Jobs of each rule done before.
    at : float
        When the run began, seconds.
    """

    def __init__(self, totals: Mapping[str, int], done: Mapping[str, int], *, at: float) -> None:
        self.totals, self.done = dict(totals), Counter(done)
        self.errors: Counter[str] = Counter()
        self._before = self.done.total()
        self._begun = at
        self._running: dict[int, tuple[str, float]] = {}
        self._taken: defaultdict[str, list[float]] = defaultdict(list)

    def begin(self, job: int, rule: str, *, at: float) -> None:
        """Tell that a job has begun, or was submitted."""
        if rule in self.totals:
            self._running[job] = (rule, at)

    def end(self, job: int, *, at: float, failed: bool = False) -> None:
        """Tell that a job has ended."""
        rule, begun = self._running.pop(job, ("", at))
        if not rule:
            return
        if failed:
            self.errors[rule] += 1
            return
        self.done[rule] += 1
        self._taken[rule].append(at - begun)

    def rate(self, *, at: float) -> float:
        """Return jobs done a minute."""
        return 60 * (self.done.total() - self._before) / max(at - self._begun, 1e-9)

    def remaining_s(self, *, at: float) -> float | None:
        """Return seconds to the end; None as long as no job has ended.

        Jobs that are left take as long as those of their rule did, or as all did where none of theirs has ended; as
        many run at a time as did so far.
        """
        taken = [seconds for some in self._taken.values() for seconds in some]
        if not taken or at <= self._begun:
            return None
        mean = sum(taken) / len(taken)
        work = 0.0
        for rule, total in self.totals.items():
            own = self._taken[rule]
            work += (total - self.done[rule]) * (sum(own) / len(own) if own else mean)
        under_way = sum(at - begun for _, begun in self._running.values())
        at_a_time = (sum(taken) + under_way) / (at - self._begun)
        return max(0.0, work - under_way) / at_a_time

    def line(self, *, at: float, short: bool = False) -> str:
        """Return the line.

        Parameters
        ----------
        at : float
            Now, seconds.
        short : bool
            Name only steps that are neither untouched nor done.
        """
        busy = {rule for rule, _ in self._running.values()}
        steps = [
            f"{rule} {self.done[rule]}/{total}"
            for rule, total in sorted(self.totals.items(), key=lambda item: by_flow(item[0]))
            if not short or (self.done[rule] < total and (self.done[rule] or rule in busy))
        ]
        done, total = self.done.total(), sum(self.totals.values())
        left = self.remaining_s(at=at)
        speed = f"{done} of {total} jobs, {self.rate(at=at):.3g}/min"
        failed = f", {self.errors.total()} failed" if self.errors else ""
        return " | ".join([*steps, speed + failed + (f", {told_time(left)} left" if left is not None else "")])
