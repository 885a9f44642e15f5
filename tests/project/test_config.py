import pytest
import yaml

from headwater.core.errors import InputError
from headwater.project.config import check_config
from headwater.stac.intervals import parse_date_range
from support.places import ROOT

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
RUN_CONFIGS = sorted(path for path in (ROOT / "config").glob("*.yaml") if not path.name.startswith("train"))


def config(**changes):
    value = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    for key, change in changes.items():
        value.setdefault(key, {}).update(change)
    return value


def keys_of(schema, prefix=""):
    for key, rule in schema.get("properties", {}).items():
        yield prefix + key, rule
        yield from keys_of(rule, f"{prefix}{key}.")


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda path: path.name)
def test_the_configurations_that_come_with_headwater_pass(path):
    filled = check_config(yaml.safe_load(path.read_text()), SCHEMA)
    assert filled["grid"]["margin_px"] == 64
    assert filled["results"] == "results"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"select": {"max_scnes": 3}}, "max_scnes"),
        ({"grid": {"cell_degrees": 0.3}}, "cell_degrees"),
        ({"search": {"datetime": "2023-12-31/2023-01-01"}}, "empty"),
        ({"search": {"datetime": "last year"}}, "not a range"),
        ({"basins": {"ids": []}}, "ids"),
        ({"basins": {"ids": ["../x"]}}, "ids"),
        ({"catalog": {"signing": "token"}}, "token_url"),
        ({"backbone": {"streams": None}}, "streams"),
        ({"search": {"datetime": "20230101/20231231"}}, "not a range"),
        ({"predict": {"device": "gpu"}}, "device"),
        ({"predict": {"tile_px": 224}}, "overlap_px"),
        ({"vectorize": {"threshold": 0.05}}, "floor"),
        ({"select": {"cloud_steps": [50, 10]}}, "rise"),
        ({"network": {"formats": ["shp"]}}, "formats"),
    ],
)
def test_what_is_wrong_is_named(changes, words):
    with pytest.raises(InputError, match=words):
        check_config(config(**changes), SCHEMA)


def test_an_unknown_top_level_key_is_refused():
    with pytest.raises(InputError, match="colour"):
        check_config(config() | {"colour": "blue"}, SCHEMA)


def test_every_key_is_described_in_schema_and_docs():
    text = (ROOT / "docs/reference/configuration.md").read_text()
    for name, rule in keys_of(yaml.safe_load(SCHEMA.read_text())):
        assert rule.get("description"), name
        assert f"`{name}`" in text, name
        if "default" in rule and not isinstance(rule["default"], dict):
            row = next(line for line in text.splitlines() if f"`{name}`" in line)
            default = rule["default"]
            shown = ", ".join(map(str, default)) if isinstance(default, list) else str(default)
            shown = {"None": "null", "True": "true", "False": "false"}.get(shown, shown)
            assert f"| {shown} |" in row, (name, shown)


def test_a_range_of_one_day_is_not_empty():
    first, last = parse_date_range("2023-05-01/2023-05-01")
    assert first == last
