import json

from headwater.core.events import Place
from headwater.runs.costs import cost_table, last_attempts


def write(folder, name, *attempts):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for event, numbers in attempts:
        lines += [{"event": "begun"}, {"event": event, **numbers}]
    time = {"time": "2026-01-01T00:00:00+00:00"}
    path.write_text("".join(json.dumps(time | line) + "\n" for line in lines))


def test_each_rule_has_a_row_in_flow_order_with_the_last_successful_attempt_of_each_job(tmp_path):
    slow = {"seconds": 90.0, "cpu_s": 80.0, "max_rss_mb": 999, "bytes_down": 9_000_000}
    first = {"seconds": 4.0, "cpu_s": 3.5, "max_rss_mb": 100, "bytes_down": 1_000_000}
    second = {"seconds": 8.0, "cpu_s": 7.5, "max_rss_mb": 300, "bytes_down": 500_000}
    write(tmp_path, "12/vectorize/N40W106.jsonl", ("done", slow), ("failed", slow), ("done", first))
    write(tmp_path, "12/vectorize/N40W105.jsonl", ("done", second))
    write(tmp_path, "12/plan.jsonl", ("done", {"seconds": 0.4}))
    write(tmp_path, "12/search.jsonl", ("failed", slow))
    (tmp_path / "12/report.jsonl").write_text("not an event\n")
    attempts = last_attempts(tmp_path)
    assert {attempt.place for attempt in attempts} == {
        Place("12", "plan"), Place("12", "vectorize", "N40W105"), Place("12", "vectorize", "N40W106"),
    }  # fmt: skip
    plan, vectorize = cost_table(attempts)
    assert vectorize == {
        "rule": "vectorize", "jobs": 2, "median_s": 6.0, "max_s": 8.0, "cpu_s": 11.0, "max_rss_mb": 300,
        "downloaded_mb": 1.5,
    }  # fmt: skip
    assert (plan["rule"], plan["median_s"], plan["cpu_s"]) == ("plan", 0.4, 0.0)


def test_a_missing_folder_gives_an_empty_table(tmp_path):
    assert cost_table(last_attempts(tmp_path / "none")) == []
