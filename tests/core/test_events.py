import json
import re
from pathlib import Path

import pytest

from headwater.cli import main
from headwater.core import events
from headwater.core.errors import DATA, INPUT, MEMORY, NETWORK, NetworkError, OutOfMemory, WorkError, cause_of


def lines_of(log):
    return [json.loads(line) for line in log.with_suffix(".jsonl").read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "logs/7020038340/composite"
    folder.mkdir(parents=True)
    return folder / "N40.05W106.10.log"


def test_a_job_records_its_begin_its_messages_and_what_it_used(log, capsys):
    with events.recorded("composite", log):
        events.say("scene A is left out.", fraction=0.5)
        events.count(events.BYTES, 12)
        sum(range(200_000))
    begun, said, done = lines_of(log)
    assert [line["event"] for line in (begun, said, done)] == ["begun", "said", "done"]
    for line in (begun, said, done):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
        assert (line["step"], line["basin"], line["cell"]) == ("composite", "7020038340", "N40.05W106.10")
    assert (said["text"], said["fraction"]) == ("scene A is left out.", 0.5)
    assert capsys.readouterr().err == "headwater: scene A is left out.\n"
    assert done["bytes_down"] == 12
    assert done["retries"] == 0
    assert done["seconds"] > 0
    assert done["cpu_s"] > 0
    assert done["max_rss_mb"] > 1


def test_each_attempt_of_a_job_is_appended_and_has_its_own_counters(log):
    with pytest.raises(NetworkError), events.recorded("composite", log):
        events.count(events.RETRIES, 3)
        raise NetworkError("https://x.org/a.tif?se=1&sig=SECRET could not be read.", "Wait.")
    with events.recorded("composite", log):
        pass
    assert [line["event"] for line in lines_of(log)] == ["begun", "failed", "begun", "done"]
    failed, done = lines_of(log)[1::2]
    assert (failed["level"], failed["cause"], failed["error"], failed["retries"]) == (
        "error",
        NETWORK,
        "NetworkError",
        3,
    )
    assert done["retries"] == 0
    assert failed["text"] == "https://x.org/a.tif could not be read."


def test_what_was_metered_before_a_job_does_not_count(log, monkeypatch):
    metered = {"bytes_down": 5}
    monkeypatch.setattr(events, "_METERS", [lambda: metered])
    with events.recorded("composite", log):
        metered["bytes_down"] += 7
        events.count(events.BYTES, 12)
    assert lines_of(log)[-1]["bytes_down"] == 19


def test_the_text_of_an_unexpected_error_is_not_written(log):
    with pytest.raises(KeyError), events.recorded("composite", log):
        raise KeyError("sv=2024&sig=SECRET")
    assert "SECRET" not in log.with_suffix(".jsonl").read_text()
    assert lines_of(log)[-1]["cause"] == "bug"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NetworkError("a", "b"), NETWORK),
        (WorkError("a", "b"), DATA),
        (OutOfMemory("a", "b"), MEMORY),
        (MemoryError(), MEMORY),
        (OSError(28, "No space left on device"), "disk"),
        (FileNotFoundError(2, "No such file"), INPUT),
        (ConnectionResetError(), NETWORK),
        (KeyboardInterrupt(), "stopped"),
        (ValueError(), "bug"),
    ],
)
def test_failures_have_causes(error, cause):
    assert cause_of(error) == cause


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("r/logs/12/network.log", events.Place("12", "network")),
        ("12/network.tsv", events.Place("12", "network")),
        ("r/logs/12/vectorize/S00.50E010.10.jsonl", events.Place("12", "vectorize", "S00.50E010.10")),
    ],
)
def test_the_path_of_a_log_names_its_job(path, place):
    assert events.Place.of_file(Path(path)) == place


def test_a_missing_folder_stops_no_work(tmp_path):
    with events.recorded("plan", tmp_path / "none/1/plan.log"):
        events.say("all is well.")
    assert not list(tmp_path.iterdir())


def test_the_command_line_records_bad_input_and_keeps_its_text_on_stderr(tmp_path, capsys):
    log = tmp_path / "1" / "plan.log"
    log.parent.mkdir()
    code = main(["plan", "--log", str(log), "--polygons", "none.gpkg", "--basin", "1", "--out", str(tmp_path / "p")])
    assert code == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert [(line["event"], line.get("cause")) for line in lines_of(log)] == [("begun", None), ("failed", INPUT)]


def test_progress_lines_in_a_log_count_from_the_start_value(monkeypatch, capsys):
    monkeypatch.setattr(events, "_SECONDS_BETWEEN_LINES", 0.0)
    notes = iter(["loss 0.5", "loss 0.4"])
    seen = list(events.progress(range(2), description="step", total=7, start=5, note=lambda: next(notes)))
    assert seen == [0, 1]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step: 6 of 7", "step: 7 of 7"]
    assert [line.split(", ")[-1] for line in lines] == ["loss 0.5", "loss 0.4"]
