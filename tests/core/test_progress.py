"""Progress in a log: plain lines with count, total and a note that changes."""

from headwater.core import progress as module


def test_lines_in_a_log_count_from_the_resumed_position(monkeypatch, capsys):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0.0)
    seen = []
    notes = iter(["loss 0.5", "loss 0.4"])
    for item in module.progress(range(2), description="step", total=7, start=5, note=lambda: next(notes)):
        seen.append(item)
    assert seen == [0, 1]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step: 6 of 7", "step: 7 of 7"]
    assert [line.split(", ")[-1] for line in lines] == ["loss 0.5", "loss 0.4"]
