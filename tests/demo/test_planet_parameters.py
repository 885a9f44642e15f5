"""Planet parameters are within their documented ranges, differ by seed, and plain ones never change."""

from __future__ import annotations

import re
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.demo.planet_parameters import WIDE_RANGES, PlanetParameters, planet_parameters
from support.places import ROOT

DOCS = ROOT / "docs" / "reference" / "planet-parameters.md"


@given(st.integers(0, 999_999))
def test_every_value_of_a_wide_planet_is_in_its_range(seed: int) -> None:
    parameters = asdict(planet_parameters(seed, "wide"))
    for name, span in WIDE_RANGES.items():
        assert span.low <= parameters[name] <= span.high or parameters[name] == pytest.approx(span.low)
        assert isinstance(parameters[name], int) == (span.scale == "whole")
    assert all(0.03 < band < 0.6 for band in (*parameters["soil"], *parameters["rock"]))


def test_the_same_seed_has_the_same_parameters_and_other_seeds_differ_in_each() -> None:
    assert planet_parameters(7, "wide") == planet_parameters(7, "wide")
    drawn = [asdict(planet_parameters(seed, "wide")) for seed in range(40)]
    for name, span in WIDE_RANGES.items():
        values = {parameters[name] for parameters in drawn}
        assert len(values) >= (3 if span.scale == "whole" else 40), name


def test_parameters_are_uncorrelated() -> None:
    drawn = [asdict(planet_parameters(seed, "wide")) for seed in range(200)]
    ranks = {name: [parameters[name] for parameters in drawn] for name in ("relief_m", "wetness", "canopy", "haze")}
    for name, values in ranks.items():
        middle = sorted(values)[100]
        for other, theirs in ranks.items():
            if other != name:
                theirs_middle = sorted(theirs)[100]
                both = sum((a > middle) == (b > theirs_middle) for a, b in zip(values, theirs, strict=True))
                assert 60 < both < 140


def test_plain_planets_have_none_of_the_wide_effects() -> None:
    parameters = asdict(planet_parameters(1))
    for field in fields(PlanetParameters)[17:]:
        assert parameters[field.name] == field.default
    assert parameters["relief_m"] == pytest.approx(187.2483038271871)
    assert parameters["turbidity"] == pytest.approx(0.7242931377588839)


def test_all_parameters_but_the_soils_are_drawn() -> None:
    assert set(WIDE_RANGES) == {field.name for field in fields(PlanetParameters)} - {"soil", "rock"}


def test_another_preset_is_refused() -> None:
    with pytest.raises(InputError, match="wild"):
        planet_parameters(1, "wild")


def test_the_docs_state_every_range() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([^|]+) \| `(\w+\.py)` \|$", DOCS.read_text(), re.MULTILINE)
    documented = {name: span for name, span, _ in rows}
    assert documented == {
        name: f"{span.low:g} to {span.high:g}" + ("" if span.scale == "linear" else f" ({span.scale})")
        for name, span in WIDE_RANGES.items()
    }
    code = DOCS.parents[2] / "src" / "headwater" / "demo"
    for name, _, file in rows:
        assert re.search(rf"\b{name}\b", (code / file).read_text()), f"{name} is not in {file}"
