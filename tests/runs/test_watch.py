import pytest

from headwater.runs.watch import Progress


def started():
    return Progress({"select": 4, "composite": 4, "report": 1}, {"select": 2}, at=100.0)


def test_a_line_includes_jobs_done_before_in_flow_order():
    assert started().line(at=100.0) == "select 2/4 | composite 0/4 | report 0/1 | 2 of 9 jobs, 0/min"


def test_rate_and_remaining_time_are_those_of_this_run():
    progress = started()
    for job, rule in enumerate(("select", "composite")):
        progress.begin(job, rule, at=100.0)
    progress.end(0, at=110.0)
    progress.begin(2, "select", at=110.0)
    progress.end(1, at=120.0)
    progress.end(2, at=120.0)
    # 3 jobs in 20 s on two workers; 3 composites of 20 s remain, and a report of the mean, 13.3 s.
    assert progress.rate(at=120.0) == pytest.approx(9)
    assert progress.remaining_s(at=120.0) == pytest.approx((3 * 20 + 40 / 3) / 2)
    assert progress.line(at=120.0) == "select 4/4 | composite 1/4 | report 0/1 | 5 of 9 jobs, 9/min, 37 s left"
    assert progress.line(at=120.0, short=True) == "composite 1/4 | 5 of 9 jobs, 9/min, 37 s left"


def test_a_failed_attempt_is_counted_as_failed_not_as_done():
    progress = started()
    progress.begin(1, "composite", at=100.0)
    progress.end(1, at=101.0, failed=True)
    assert progress.errors == {"composite": 1}
    assert progress.line(at=101.0).endswith("2 of 9 jobs, 0/min, 1 failed")


def test_no_time_remains_at_the_end():
    progress = Progress({"plan": 1}, {}, at=0.0)
    progress.begin(1, "plan", at=0.0)
    progress.end(1, at=2.0)
    assert progress.remaining_s(at=2.0) == 0


def test_jobs_of_other_rules_are_ignored():
    progress = started()
    progress.begin(9, "all", at=100.0)
    progress.end(9, at=101.0)
    progress.end(77, at=101.0)
    assert progress.done.total() == 2
