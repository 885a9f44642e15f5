"""Characters stay within their stated ranges, differ by seed, and plain ones stay as they are."""

from __future__ import annotations

import re
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.demo.character import WIDE, Character, character
from support.places import ROOT

DOCS = ROOT / "docs" / "reference" / "planet-parameters.md"


@given(st.integers(0, 999_999))
def test_every_value_of_a_wide_planet_lies_in_its_range(seed: int) -> None:
    nature = asdict(character(seed, "wide"))
    for name, span in WIDE.items():
        assert span.low <= nature[name] <= span.high or nature[name] == pytest.approx(span.low)
        assert isinstance(nature[name], int) == (span.scale == "whole")
    assert all(0.03 < band < 0.6 for band in (*nature["soil"], *nature["rock"]))


def test_the_same_seed_has_the_same_character_and_others_differ_in_each_parameter() -> None:
    assert character(7, "wide") == character(7, "wide")
    drawn = [asdict(character(seed, "wide")) for seed in range(40)]
    for name, span in WIDE.items():
        values = {nature[name] for nature in drawn}
        assert len(values) >= (3 if span.scale == "whole" else 40), name


def test_parameters_do_not_rise_and_fall_together() -> None:
    drawn = [asdict(character(seed, "wide")) for seed in range(200)]
    ranks = {name: [nature[name] for nature in drawn] for name in ("relief_m", "wetness", "canopy", "haze")}
    for name, values in ranks.items():
        middle = sorted(values)[100]
        for other, theirs in ranks.items():
            if other != name:
                theirs_middle = sorted(theirs)[100]
                both = sum((a > middle) == (b > theirs_middle) for a, b in zip(values, theirs, strict=True))
                assert 60 < both < 140


def test_plain_planets_have_none_of_the_wide_effects() -> None:
    nature = asdict(character(1))
    for field in fields(Character)[17:]:
        assert nature[field.name] == field.default
    assert nature["relief_m"] == pytest.approx(187.2483038271871)
    assert nature["turbidity"] == pytest.approx(0.7242931377588839)


def test_all_but_the_soils_are_drawn() -> None:
    assert set(WIDE) == {field.name for field in fields(Character)} - {"soil", "rock"}


def test_another_variety_is_refused() -> None:
    with pytest.raises(InputError, match="wild"):
        character(1, "wild")


def test_the_docs_state_every_range() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([^|]+) \| `(\w+\.py)` \|$", DOCS.read_text(), re.MULTILINE)
    stated = {name: span for name, span, _ in rows}
    assert stated == {
        name: f"{span.low:g} to {span.high:g}" + ("" if span.scale == "linear" else f" ({span.scale})")
        for name, span in WIDE.items()
    }
    code = DOCS.parents[2] / "src" / "headwater" / "demo"
    for name, _, file in rows:
        assert re.search(rf"\b{name}\b", (code / file).read_text()), f"{name} is not in {file}"
