import json

from headwater.core.events import Place
from headwater.runs.attempts import KILLED, attempts_of, attempts_since, log_sizes

PLACE = Place("12", "composite", "N40W106")


def line(event, second=0, **facts):
    return {"time": f"2026-03-01T10:00:{second:02d}.000+00:00", "event": event, **facts}


def test_an_attempt_lasts_from_its_beginning_to_its_end():
    events = [line("begun"), line("retried", 1), line("done", 9, seconds=9.5, cpu_s=4, bytes_down=7, retries=1)]
    (attempt,) = attempts_of(events, PLACE)
    assert (attempt.place, attempt.cause) == (PLACE, None)
    assert (attempt.seconds, attempt.cpu_s, attempt.bytes_down, attempt.retries) == (9.5, 4, 7, 1)


def test_one_that_never_ended_was_killed_be_it_the_last_or_not():
    events = [
        line("begun"), line("retried", 3), line("begun", 10), line("failed", 11, cause="network", text="a."),
        line("begun", 20), line("said", 25),
    ]  # fmt: skip
    attempts = attempts_of(events, PLACE)
    assert [attempt.cause for attempt in attempts] == [KILLED, "network", KILLED]
    assert [attempt.seconds for attempt in attempts] == [3, 0, 5]
    assert [attempt.retries for attempt in attempts] == [1, 0, 0]


def test_only_what_was_added_since_is_read_and_half_a_line_is_no_harm(tmp_path):
    old, new = tmp_path / "12/plan.jsonl", tmp_path / "12/composite/N40W106.jsonl"
    new.parent.mkdir(parents=True)
    ended = "\n".join(json.dumps(line(event)) for event in ("begun", "done")) + "\n"
    old.write_text(ended)
    before = log_sizes(tmp_path)
    assert attempts_since(before, tmp_path) == []
    with old.open("a") as file:
        file.write(ended)
    new.write_text(ended + '{"time": "2026-03-')
    found = attempts_since(before, tmp_path)
    assert {attempt.place for attempt in found} == {Place("12", "plan"), PLACE}
    assert len(found) == 2


def test_another_runs_basins_are_not_looked_at(tmp_path):
    for basin in ("12", "13"):
        (tmp_path / basin).mkdir()
        (tmp_path / basin / "plan.jsonl").write_text(json.dumps(line("begun")) + "\n")
    (attempt,) = attempts_since({}, tmp_path / "12")
    assert attempt.place.basin == "12"
