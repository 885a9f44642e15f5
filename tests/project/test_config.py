import pytest
import yaml

from headwater.core.errors import InputError
from headwater.project.config import check_config
from headwater.project.reference import config_schema, generated_files
from support.places import ROOT

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
    checked = check_config(yaml.safe_load(path.read_text()))
    assert checked.grid.margin_px == 64
    assert checked.results == "results"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"select": {"max_scnes": 3}}, r"no setting select.max_scnes. Did you mean select.max_scenes"),
        ({"select": {"max_scenes": 0}}, r"select.max_scenes must be a whole number from 1 to 100 \(got 0\)"),
        ({"select": {"max_scenes": "six"}}, r"select.max_scenes must be a whole number from 1 to 100 \(got 'six'\)"),
        ({"select": {"max_scenes": True}}, r"\(got true\)"),
        ({"select": {"min_gain": float("nan")}}, r"select.min_gain must be a number from 0 to 1 \(got nan\)"),
        ({"grid": {"cell_degrees": 0.3}}, r"grid.cell_degrees must be 1.0, 0.5, .* or 0.05 \(got 0.3\)"),
        ({"grid": {"margin_px": 63}}, r"a multiple of 2 \(got 63\)"),
        ({"search": {"datetime": "2023-12-31/2023-01-01"}}, "empty"),
        ({"search": {"datetime": "last year"}}, "not a range"),
        ({"search": {"datetime": "20230101/20231231"}}, "not a range"),
        ({"basins": {"ids": []}}, r"basins.ids must be a list of at least 1 .*got \[\]"),
        ({"basins": {"ids": ["../x"]}}, "basins.ids must be"),
        ({"basins": {"ids": ["1", "1"]}}, "basins.ids names something twice"),
        ({"catalog": {"signing": "token"}}, "catalog.token_url is not given"),
        ({"catalog": {"signing": "magic"}}, "catalog.signing must be planetary_computer, token or none"),
        ({"backbone": {"streams": None}}, "backbone.streams"),
        ({"predict": {"device": "gpu"}}, "predict.device must be"),
        ({"predict": {"tile_px": 224}}, r"predict.overlap_px must be at most half .*112 \(got 208\)"),
        ({"vectorize": {"threshold": 0.05}}, "vectorize.floor must be below vectorize.threshold"),
        ({"select": {"cloud_steps": [50, 10]}}, "select.cloud_steps must rise"),
        ({"network": {"formats": ["shp"]}}, "network.formats must be a list .*gpkg, fgb, pmtiles or published"),
        ({"composite": {"reader": "gdal"}}, "composite.reader must be rasterio, odc or stackstac"),
    ],
)
def test_what_is_wrong_is_named_with_the_value_and_what_is_allowed(changes, words):
    with pytest.raises(InputError, match=words):
        check_config(config(**changes))


def test_an_unknown_top_level_key_is_refused():
    with pytest.raises(InputError, match="no setting colour"):
        check_config(config() | {"colour": "blue"})


def test_a_section_that_is_no_table_is_refused():
    with pytest.raises(InputError, match=r"select must be a table of settings \(got 3\)"):
        check_config(config() | {"select": 3})


def test_a_missing_section_is_named():
    with pytest.raises(InputError, match="catalog is not given"):
        check_config({key: value for key, value in config().items() if key != "catalog"})


def test_old_names_are_accepted_with_a_warning_that_names_the_new_one(capsys):
    old = check_config(config(vectorize={"bits_below_floor": 5, "worth_per_px": 8, "min_piece_px": 3}))
    new = check_config(config(vectorize={"cost_below_floor": 5, "max_cost_per_px": 8, "min_component_px": 3}))
    assert old == new
    assert "vectorize.bits_below_floor is now called vectorize.cost_below_floor" in capsys.readouterr().err


def test_an_old_name_next_to_its_new_one_is_refused():
    with pytest.raises(InputError, match=r"old name of vectorize\.cost_below_floor, and both are given"):
        check_config(config(vectorize={"bits_below_floor": 5, "cost_below_floor": 4}))


def test_schema_and_documentation_are_those_of_the_settings():
    """`python -m headwater.project.reference` writes them anew."""
    for path, text in generated_files(ROOT):
        assert path.read_text() == text, path


def test_every_setting_has_a_sentence():
    for name, rule in keys_of(config_schema()):
        assert rule.get("description", "").endswith("."), name


def test_each_default_is_allowed():
    schema = config_schema()["properties"]
    for section, rule in schema.items():
        defaults = {key: each["default"] for key, each in rule.get("properties", {}).items() if "default" in each}
        check_config(config(**{section: defaults} if defaults and section not in ("catalog", "backbone") else {}))
