"""Laws of settings: what a rule passes on gives the same settings again, and both doors refuse with the same words."""

import argparse
import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.cli import main
from headwater.cli.options import add_settings
from headwater.cli.options import given as given_settings
from headwater.core.errors import InputError
from headwater.core.settings import Settings, option_name, rules_of
from headwater.geo.settings import GridSettings
from headwater.imagery.masks import MASKS
from headwater.imagery.settings import CompositeSettings, SearchSettings, SelectSettings
from headwater.predict.settings import PredictSettings
from headwater.raster.scenes import READERS
from headwater.stac.settings import CatalogSettings
from headwater.stac.signing import SIGNERS
from headwater.terrain.settings import ElevationSettings
from headwater.waterways.network.formats import OUTPUT_FORMATS
from headwater.waterways.settings import BackboneSettings, NetworkSettings, VectorizeSettings

STEPS = (
    GridSettings, CatalogSettings, SearchSettings, SelectSettings, CompositeSettings, ElevationSettings,
    PredictSettings, BackboneSettings, VectorizeSettings, NetworkSettings,
)  # fmt: skip
REQUIRED = {"url": "a place", "datetime": "2023-01-01/2023-12-31", "kind": "dem"}


def parsed(model, words):
    parser = argparse.ArgumentParser()
    add_settings(parser, model.section)
    return given_settings(model, parser.parse_args(words).values)


def values_of(rule):
    """Strategy of values that a setting allows by itself."""
    if "anyOf" in rule:
        rest = {key: value for key, value in rule.items() if key != "anyOf"}
        return st.one_of(*(values_of(rest | part) for part in rule["anyOf"] if part.get("type") != "null"))
    if "enum" in rule:
        return st.sampled_from(rule["enum"])
    kind = rule.get("type")
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        step = rule.get("multipleOf", 1)
        low, high = rule.get("minimum", 0), rule.get("maximum", 1000)
        return st.integers(-(-low // step), high // step).map(lambda number: number * step)
    if kind == "number":
        low = rule.get("minimum", rule.get("exclusiveMinimum", 0))
        high = rule.get("maximum", rule.get("exclusiveMaximum", 1000))
        sides = {"exclude_min": "exclusiveMinimum" in rule, "exclude_max": "exclusiveMaximum" in rule}
        return st.floats(low, high, allow_nan=False, **sides)
    return st.just(rule.get("default") or "text with 'quotes' and {braces}")


@st.composite
def settings_of(draw, model):
    rules = {name: rule for name, rule in rules_of(model).items() if not rule.get("is_file")}
    simple = {name: rule for name, rule in rules.items() if rule.get("type") != "array" and "pattern" not in rule}
    chosen = draw(st.sets(st.sampled_from(sorted(simple))) if simple else st.just(set()))
    needed = {name: value for name, value in REQUIRED.items() if name in rules}
    values = needed | {name: draw(values_of(simple[name])) for name in sorted(chosen - set(needed))}
    if values.get("signing") == "token":
        values.setdefault("token_url", "http://127.0.0.1/token")
    try:
        return model(**values)
    except InputError:  # allowed each, but not together
        return model(**needed)


@pytest.mark.parametrize("model", STEPS, ids=lambda model: model.section)
@given(st.data())
def test_the_options_that_a_rule_passes_on_give_the_same_settings(model, data):
    settings = data.draw(settings_of(model))
    words = shlex.split(f"{settings.options(reruns=True)} {settings.options(reruns=False)}")
    assert parsed(model, words) == settings.model_copy(
        update={name: field.get_default() for name, field in model.model_fields.items() if is_file(field)}
    )


def is_file(field):
    return bool((field.json_schema_extra or {}).get("is_file"))


@pytest.mark.parametrize("model", STEPS, ids=lambda model: model.section)
def test_settings_survive_json(model):
    settings = model(**{name: value for name, value in REQUIRED.items() if name in model.model_fields})
    assert model(**json.loads(settings.model_dump_json())) == settings


@pytest.mark.parametrize(
    ("command", "name", "value", "model"),
    [
        ("select", "max_scenes", "0", SelectSettings),
        ("select", "max_scenes", "many", SelectSettings),
        ("select", "min_gain", "nan", SelectSettings),
        ("composite", "method", "best", CompositeSettings),
        ("predict", "device", "gpu", PredictSettings),
        ("vectorize", "threshold", "2", VectorizeSettings),
        ("plan", "margin_px", "3", GridSettings),
    ],
)
def test_the_command_line_refuses_with_the_words_of_the_configuration(command, name, value, model, capsys, tmp_path):
    try:
        number = json.loads(value)
    except ValueError:
        number = float("nan") if value == "nan" else value
    with pytest.raises(InputError) as refused:
        model(**{name: number})
    files = {
        "select": ["--items", "i", "--plan", "p", "--cell", "c", "--scenes-out", "s", "--dem-out", "d", "--cache", "x"],
        "composite": ["--scenes", "s", "--plan", "p", "--cell", "c", "--out", "o"],
        "predict": ["--composite", "c", "--elevation", "e", "--plan", "p", "--cell", "c", "--out", "o"],
        "vectorize": ["--probability", "p", "--elevation", "e", "--catchments", "c", "--out", "o"],
        "plan": ["--polygons", "p", "--basin", "1", "--out", "o"],
    }[command]
    assert main([command, *files, option_name(name), value]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"headwater: {refused.value.cause}", f"headwater: {refused.value.remedy}"]
    assert not list(tmp_path.iterdir())


def test_an_old_option_is_accepted_with_a_warning(capsys):
    assert parsed(VectorizeSettings, ["--bits-below-floor", "5"]) == VectorizeSettings(cost_below_floor=5.0)
    assert "now called vectorize.cost_below_floor" in capsys.readouterr().err


def test_settings_are_immutable_and_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"no setting select\.max_scene\."):
        SelectSettings(max_scene=3)
    with pytest.raises(ValueError, match="frozen"):
        SelectSettings().max_scenes = 3


@pytest.mark.parametrize(
    ("model", "name", "registry"),
    [
        (CompositeSettings, "reader", READERS),
        (CompositeSettings, "mask", MASKS),
        (CatalogSettings, "signing", SIGNERS),
        (NetworkSettings, "formats", OUTPUT_FORMATS),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_choices_are_the_built_in_plugins(model: type[Settings], name, registry):
    rule = rules_of(model)[name]
    assert sorted(rule.get("items", rule)["enum"]) == sorted(registry.names())
