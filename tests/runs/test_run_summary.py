import json
from pathlib import Path

import pytest

from headwater.core.events import Place
from headwater.runs.run_summary import (
    KILLED,
    JobAttempt,
    event_file_sizes,
    failure_lines,
    format_duration,
    job_attempts,
    job_attempts_since,
    summarize,
    summary_lines,
)

PLACE = Place("12", "composite", "N40W106")


def line(event, second=0, **facts):
    return {"time": f"2026-03-01T10:00:{second:02d}.000+00:00", "event": event, **facts}


def test_an_attempt_lasts_from_its_beginning_to_its_end():
    events = [line("begun"), line("retried", 1), line("done", 9, seconds=9.5, cpu_s=4, bytes_down=7, retries=1)]
    (attempt,) = job_attempts(events, PLACE)
    assert (attempt.place, attempt.cause) == (PLACE, None)
    assert (attempt.seconds, attempt.cpu_s, attempt.bytes_down, attempt.retries) == (9.5, 4, 7, 1)


def test_an_attempt_without_an_end_was_killed():
    events = [
        line("begun"), line("retried", 3), line("begun", 10), line("failed", 11, cause="network", text="a."),
        line("begun", 20), line("said", 25),
    ]  # fmt: skip
    attempts = job_attempts(events, PLACE)
    assert [attempt.cause for attempt in attempts] == [KILLED, "network", KILLED]
    assert [attempt.seconds for attempt in attempts] == [3, 0, 5]
    assert [attempt.retries for attempt in attempts] == [1, 0, 0]


def test_warnings_of_jobs_that_succeeded_are_in_the_summary():
    said = line("said", level="warning", text="scene a is left out.")
    events = [line("begun"), said, line("failed", cause="network"), line("begun"), said, line("said", text="b"),
              line("done")]  # fmt: skip
    attempts = job_attempts(events, PLACE)
    totals = summarize(attempts, outcome="done", begun="2026-03-01T10:00:00+00:00", seconds=1, errors={})
    assert [(each["cell"], each["text"]) for each in totals["warnings"]] == [(PLACE.cell, "scene a is left out.")]
    assert summary_lines(totals)[-1] == "warning: scene a is left out."


def test_only_new_events_are_read_and_an_incomplete_line_is_ignored(tmp_path):
    old, new = tmp_path / "12/plan.jsonl", tmp_path / "12/composite/N40W106.jsonl"
    new.parent.mkdir(parents=True)
    ended = "\n".join(json.dumps(line(event)) for event in ("begun", "done")) + "\n"
    old.write_text(ended)
    before = event_file_sizes(tmp_path)
    assert job_attempts_since(before, tmp_path) == []
    with old.open("a") as file:
        file.write(ended)
    new.write_text(ended + '{"time": "2026-03-')
    found = job_attempts_since(before, tmp_path)
    assert {attempt.place for attempt in found} == {Place("12", "plan"), PLACE}
    assert len(found) == 2


def test_basins_of_another_run_are_ignored(tmp_path):
    for basin in ("12", "13"):
        (tmp_path / basin).mkdir()
        (tmp_path / basin / "plan.jsonl").write_text(json.dumps(line("begun")) + "\n")
    (attempt,) = job_attempts_since({}, tmp_path / "12")
    assert attempt.place.basin == "12"


def summary():
    cell = Place("12", "composite", "N40W106")
    attempts = [
        JobAttempt(cell, cause="network", text="No answer.", seconds=5, cpu_s=1, retries=8, requests=9),
        JobAttempt(cell, seconds=90, cpu_s=80.5, max_rss_mb=2801, bytes_down=311_427_011, requests=1200),
        JobAttempt(Place("12", "plan"), seconds=1, cpu_s=0.6, max_rss_mb=160),
    ]
    errors = {"composite": 2, "mosaic": 1}
    return summarize(attempts, outcome="failed", begun="2026-03-01T10:00:00+00:00", seconds=100.04, errors=errors)


def test_totals_are_sums_of_the_steps_and_failures_without_events_are_counted():
    totals = summary()
    assert [step["step"] for step in totals["steps"]] == ["plan", "composite", "mosaic"]
    composite, mosaic = totals["steps"][1:]
    assert (composite["jobs"], composite["seconds"], composite["max_rss_mb"]) == (1, 95, 2801)
    # Snakemake counted one more than the jobs recorded.
    assert composite["failures"] == {"network": 1, "unknown": 1}
    assert (mosaic["jobs"], mosaic["failures"]) == (0, {"unknown": 1})
    assert totals["failures"] == {"network": 1, "unknown": 2}
    assert (totals["seconds"], totals["cpu_s"], totals["bytes_down"], totals["retries"]) == (
        100.0,
        82.1,
        311_427_011,
        8,
    )
    assert [failed["cause"] for failed in totals["failed"]] == ["network"]
    assert totals["failed"][0]["text"] == "No answer."


def test_the_lines_are_a_sentence_and_an_aligned_table():
    sentence, head, *rows = summary_lines(summary())
    assert sentence == (
        "failed in 1 min 40 s (1 min 22 s of CPU); 311 MB downloaded in 1209 requests, 8 retries;"
        " 1 network, 2 unknown failed."
    )
    assert [row.split()[0] for row in rows] == ["plan", "composite", "mosaic"]
    assert rows[1].endswith("1 network, 1 unknown")
    assert {row.index("B", head.index("memory")) for row in rows} == {head.index("memory") + len("memory") - 1}


def test_a_failed_run_ends_with_the_last_causes_and_remedies():
    def failed(rule, cell=None, **facts):
        return JobAttempt(Place("12", rule, cell), **facts)

    refused = {"cause": "network", "text": "No answer.", "remedy": "Try later."}
    attempts = [
        failed("plan", cause="bug"),
        failed("plan"),  # succeeded when repeated
        failed("composite", "N40W106", **refused),
        failed("composite", "N41W106", **refused),
        failed("predict", "N40W106", cause=KILLED),
        failed("report", cause="stopped"),
        failed("network", cause="bug"),
    ]
    composite, predict, network = failure_lines(attempts, Path("logs"))
    assert composite == "composite of cell N40W106 and 1 more failed. No answer. Try later."
    assert predict.startswith("predict of cell N40W106 failed. It was killed")
    assert "logs/12/predict/N40W106.log" in predict
    assert network == "network of basin 12 failed. An unforeseen error: report it with logs/12/network.log."
    assert failure_lines(attempts[:2], Path("logs")) == []
    assert failure_lines([], Path("logs"), silent=2)[0].startswith("2 attempts ended without a word")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (1500, "25 min"), (12_000, "3 h 20 min"),
        (86_399, "1 d 0 h"), (187_200, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_have_two_units(seconds, words):
    assert format_duration(seconds) == words
