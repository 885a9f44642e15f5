import pytest
from jinja2 import UndefinedError

from headwater.report.page import render_page

FACTS = {
    "basin_id": "7<script>", "segments": 3, "total_km": 3.0, "backbone_km": 1.0, "new_km": 2.0, "faults": 0,
    "table": [{"order": 1, "backbone": 1.0, "new": 2.0, "all": 3.0}], "maps": [{"file": "a.png", "caption": "A map"}],
    "checks": [("no cycle", 0)], "scenes": ["S2A"], "unseen": 0.01, "weights": ["abc"], "demo_weights": True,
    "costs": [],
    "missing": [],
}  # fmt: skip


def test_the_page_shows_what_it_is_given_and_escapes_it():
    page = render_page(FACTS)
    assert "7&lt;script&gt;" in page
    assert '<img src="a.png"' in page
    assert "Every law of a valid network holds." in page
    assert "not meant for maps of the real world" in page
    assert "real world" not in render_page(FACTS | {"demo_weights": False})
    assert "2 faults" in render_page(FACTS | {"faults": 2})


def test_the_page_tells_what_rules_took_where_it_is_known():
    assert "What it took" not in render_page(FACTS)
    row = {"rule": "plan", "jobs": 2, "median_s": 0.44, "max_s": 9.9, "cpu_s": None, "max_rss_mb": 160.0}
    page = render_page(FACTS | {"costs": [row | {"read_mb": 0.0, "written_mb": 0.1}]})
    assert "<td>plan</td><td>2</td><td>0.4</td><td>9.9</td><td>-</td><td>160.0</td><td>0.0</td><td>0.1</td>" in page


def test_what_was_not_kept_is_named_and_nothing_is_said_of_it():
    assert "Not kept" not in render_page(FACTS)
    page = render_page(FACTS | {"missing": ["composite", "probability"], "weights": []})
    assert "Not kept, and so not shown: composite, probability." in page
    assert "Sentinel-2 scenes" not in page
    assert "weights" not in page


def test_a_missing_fact_is_an_error():
    with pytest.raises(UndefinedError):
        render_page({key: value for key, value in FACTS.items() if key != "scenes"})
