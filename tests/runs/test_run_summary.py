from headwater.core.events import Place
from headwater.runs.attempts import Attempt
from headwater.runs.run_summary import summarise, summary_lines


def summary():
    cell = Place("12", "composite", "N40W106")
    attempts = [
        Attempt(cell, cause="network", text="No answer.", seconds=5, cpu_s=1, retries=8, requests=9),
        Attempt(cell, seconds=90, cpu_s=80.5, max_rss_mb=2801, bytes_down=311_427_011, requests=1200),
        Attempt(Place("12", "plan"), seconds=1, cpu_s=0.6, max_rss_mb=160),
    ]
    errors = {"composite": 2, "mosaic": 1}
    return summarise(attempts, outcome="failed", begun="2026-03-01T10:00:00+00:00", seconds=100.04, errors=errors)


def test_sums_are_those_of_the_steps_and_silent_failures_are_counted():
    told = summary()
    assert [step["step"] for step in told["steps"]] == ["plan", "composite", "mosaic"]
    composite, mosaic = told["steps"][1:]
    assert (composite["jobs"], composite["seconds"], composite["max_rss_mb"]) == (1, 95, 2801)
    # Snakemake saw one more than told of itself.
    assert composite["failures"] == {"network": 1, "unknown": 1}
    assert (mosaic["jobs"], mosaic["failures"]) == (0, {"unknown": 1})
    assert told["failures"] == {"network": 1, "unknown": 2}
    assert (told["seconds"], told["cpu_s"], told["bytes_down"], told["retries"]) == (100.0, 82.1, 311_427_011, 8)
    assert [failed["cause"] for failed in told["failed"]] == ["network"]
    assert told["failed"][0]["text"] == "No answer."


def test_the_lines_say_it_and_stand_below_each_other():
    words, head, *rows = summary_lines(summary())
    assert words == (
        "failed in 1 min 40 s (1 min 22 s of CPU); 311 MB downloaded in 1209 requests, 8 retries;"
        " 1 network, 2 unknown failed."
    )
    assert [row.split()[0] for row in rows] == ["plan", "composite", "mosaic"]
    assert rows[1].endswith("1 network, 1 unknown")
    assert {row.index("B", head.index("memory")) for row in rows} == {head.index("memory") + len("memory") - 1}
