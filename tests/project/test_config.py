import json
import math
from copy import deepcopy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.geo.basins import basin_polygon, check_basin_id
from headwater.project.config import check_config, refuse_repeated_keys
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
        ({"search": {"datetime": None}}, "search.datetime is not given"),
        ({"predict": {"published": "s3://bucket/raster"}}, "an address of s3"),
        ({"predict": {"published": "https://a:b@example.org/raster"}}, "has a user, a key or a query"),
        ({"predict": {"published": "https://example.org/raster?v=1"}}, "has a user, a key or a query"),
        ({"search": {"datetime": "20230101/20231231"}}, "not a range"),
        ({"basins": {"ids": []}}, r"basins.ids must be a list of at least 1 .*got \[\]"),
        ({"basins": {"ids": ["../x"]}}, "basins.ids must be"),
        ({"basins": {"ids": ["1", "1"]}}, "basins.ids names something twice"),
        ({"basins": {"ids": ["9990000028", "9990000061"]}}, "would be the same: both have the number 160"),
        ({"catalog": {"signing": "token"}}, "catalog.token_url is not given"),
        ({"catalog": {"signing": "magic"}}, "catalog.signing must be planetary_computer, token or none"),
        ({"backbone": {"streams": None}}, "backbone.streams"),
        ({"predict": {"device": "gpu"}}, "predict.device must be"),
        ({"predict": {"tile_px": 224}}, r"predict.overlap_px must be at most half .*112 \(got 208\)"),
        ({"vectorize": {"threshold": 0.05}}, "vectorize.floor must be below vectorize.threshold"),
        ({"select": {"cloud_steps": [50, 10]}}, "select.cloud_steps must rise"),
        ({"composite": {"method": "medain"}}, r"best_first, mean or median \(got 'medain'\). Did you mean median\?"),
        ({"network": {"formats": ["fgb", "gpgk"]}}, r"Did you mean gpkg\?"),
        ({"backbone": {"kind": "TDX"}}, r"Did you mean tdx\?"),
        (
            {"network": {"formats": ["shp"]}},
            "network.formats must be .*fgb, geojsonseq, kml, pmtiles or published",
        ),
        ({"composite": {"reader": "gdal"}}, "composite.reader must be rasterio, odc or stackstac"),
    ],
)
def test_what_is_wrong_is_named_with_the_value_and_what_is_allowed(changes, words):
    with pytest.raises(InputError, match=words):
        check_config(config(**changes))


def test_a_confirmation_on_the_command_line_is_text():
    assert check_config(config() | {"confirm": "true"}).confirm is True
    assert check_config(config() | {"confirm": "False"}).confirm is False
    with pytest.raises(InputError, match="confirm must be true or false"):
        check_config(config() | {"confirm": "maybe"})


def test_ids_without_quotes_are_the_same_ids():
    assert check_config(config(basins={"ids": [7020038340]})).basins.ids == ("7020038340",)
    for value in ([True], [1.5], [None], 7020038340):
        with pytest.raises(InputError, match=r"basins\.ids must be"):
            check_config(config(basins={"ids": value}))


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"max_scenes": 3}, "select.max_scenes"),
        ({"SELECT": {}}, "select"),
        ({"select": {"Max_Scenes": 3}}, "select.max_scenes"),
        ({"confirmx": True}, "confirm"),
        ({"result": "x"}, "results"),
    ],
)
def test_a_typing_error_or_a_wrong_section_is_named_with_what_was_meant(changes, meant):
    with pytest.raises(InputError) as refused:
        check_config(config() | changes)
    assert refused.value.remedy == f"Did you mean {meant}?"


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
        check_config(
            config(**{section: defaults} if defaults and section not in ("catalog", "backbone", "search") else {})
        )


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("select:\n  max_scenes: 3\n  max_scenes: 6\n")
    with pytest.raises(InputError, match=r"has select.max_scenes twice"):
        refuse_repeated_keys([path])
    path.write_text("select: {max_scenes: 3}\nselect: {min_gain: 0}\n")
    with pytest.raises(InputError, match=r"has select twice"):
        refuse_repeated_keys([path])
    for text in ("a: 1\nb: {a: 2}\n", "[broken", "", "- a\n"):
        path.write_text(text)
        refuse_repeated_keys([path])


LEAVES = {key: rule for key, rule in keys_of(config_schema()) if "properties" not in rule and "old_names" not in rule}
WRONG_TYPES = (None, True, 1, -1, 0.5, "text", "", [], [[]], {}, {"a": 1}, math.nan, math.inf, -math.inf, 10**30, "nan")


def answer(values):
    """Return the checked configuration, or the error with which it is refused."""
    try:
        return check_config(values)
    except InputError as error:
        return error


@settings(max_examples=max(50, settings.default.max_examples))
@given(st.data())
def test_a_defect_is_refused_or_changes_what_the_value_says(data):
    """Typing errors in keys are named with what was meant; a value is taken as it is written, or refused."""
    full = json.loads(check_config(config()).model_dump_json())
    key = data.draw(st.sampled_from(sorted(LEAVES)))
    section, _, name = key.rpartition(".")
    other = deepcopy(full)
    table = other[section] if section else other
    if data.draw(st.booleans(), label="typing error in the key"):
        place = data.draw(st.integers(0, len(name) - 1))
        typed = name[:place] + data.draw(st.sampled_from(["", "x", name[place] * 2])) + name[place + 1 :]
        if typed in table:
            return
        table[typed] = table.pop(name)
        with pytest.raises(InputError) as refused:
            check_config(other)
        # A required key is missed first.
        assert key in str(refused.value) or f"no setting {typed}" in str(refused.value).replace(f"{section}.", "")
        return
    value = data.draw(st.sampled_from(WRONG_TYPES) | st.integers() | st.floats() | st.text(max_size=5))
    table[name] = value
    checked = answer(other)
    if isinstance(checked, InputError):
        assert name in str(checked)
        assert "\n" not in str(checked)
        return
    taken = getattr(getattr(checked, section) if section else checked, name)
    assert json.loads(json.dumps(taken)) == value
    assert type(taken) in (type(value), tuple if isinstance(value, list) else float)


def texts_of(schema, prefix=""):
    for key, rule in keys_of(schema, prefix):
        for part in rule.get("anyOf", [rule]):
            if part.get("type") == "string" or part.get("items", {}).get("type") == "string":
                yield key, part.get("items", part), part.get("type") == "array"


TEXTS = list(texts_of(config_schema()))


def with_value(key, value):
    section, _, name = key.rpartition(".")
    return config(**{section: {name: value}}) if section else config() | {name: value}


@pytest.mark.parametrize(("key", "rule", "is_list"), TEXTS, ids=[key for key, *_ in TEXTS])
def test_each_text_has_a_pattern_or_a_list_of_values_and_one_line(key, rule, is_list):
    assert {"pattern", "enum", "const"} & set(rule), key
    for value in ("a\nb", "a\n", "\x00", "\x1b[1m", "\x7f", 1.5, True, {"a": 1}):
        with pytest.raises(InputError, match=key.replace(".", r"\.")) as refused:
            check_config(with_value(key, [value] if is_list else value))
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "key", ["results", "basins.polygons", "predict.checkpoint", "network.lakes", "backbone.streams"]
)
def test_names_that_snakemake_or_a_command_would_change_are_refused(key):
    for value in ("{x}", "a{", "-x", "~/x", " x", "", "a" * 5000, "{cell}"):
        with pytest.raises(InputError, match=r"must be a file name without braces"):
            check_config(with_value(key, value))
    for value in ("[1]*?", "a b", "$(x)`y`;&|<>", "'q' \"d\"", "é", "C:\\x", "100%", "a-b", "../x", "/a", ".", "#"):
        check_config(with_value(key, value))


@pytest.mark.parametrize(
    "basin", ["-x", "1.5", 1.5, "1\n", "{}", "[1]", "a b", "", "a/b", "..", "logs", "é", -1, "1" * 101]
)
def test_ids_that_cannot_be_a_folder_and_a_word_are_refused_everywhere(basin, tmp_path):
    with pytest.raises(InputError, match=r"basins\.ids must be|cannot be called logs"):
        check_config(config(basins={"ids": [basin]}))
    if isinstance(basin, str):
        for refuse in (check_basin_id, lambda basin: basin_polygon([tmp_path / "none.gpkg"], basin)):
            with pytest.raises(InputError, match=r"is not the id of a basin|cannot be called logs"):
                refuse(basin)


def test_collections_are_words():
    for value in ("-x", "a b", "a;b", "$(x)", "", "a'b", "{a}"):
        with pytest.raises(InputError, match="sentinel2_collection must be letters, digits"):
            check_config(config(catalog={"sentinel2_collection": value}))
        with pytest.raises(InputError, match="dem_collections must be a list"):
            check_config(config(catalog={"dem_collections": ["a", value]}))
    for value in ("sentinel-2-l2a", "COPERNICUS/S2_SR", "urn:x:y", "dem.v1~2+3"):
        assert check_config(config(catalog={"sentinel2_collection": value})).catalog.sentinel2_collection == value


NUMBERS = [
    (key, part)
    for key, rule in keys_of(config_schema())
    for part in [each.get("items", each) for each in rule.get("anyOf", [rule])]
    if part.get("type") in ("number", "integer")
]


@pytest.mark.parametrize(("key", "rule"), NUMBERS, ids=[key for key, _ in NUMBERS])
def test_no_number_is_without_limits(key, rule):
    """A cost that was NaN, or too large for an integer of 32 bits, would end a kernel with a signal."""
    is_list = key in ("select.cloud_steps", "vectorize.cost_limits")
    for value in (math.nan, math.inf, -math.inf, 1e300, -1e300, 10**400, -(10**400), "1", "nan", True):
        with pytest.raises(InputError, match=key.replace(".", r"\.")):
            check_config(with_value(key, [value] if is_list else value))


def test_a_whole_number_may_be_written_with_a_point():
    """JSON Schema and YAML know one kind of number: what they accept the settings accept."""
    checked = check_config(config(grid={"margin_px": 64.0}, select={"max_scenes": 5.0}))
    assert (checked.grid.margin_px, checked.select.max_scenes) == (64, 5)
    assert "--max-scenes=5" in checked.select.options(reruns=True).split()
    for value in (64.5, "64", 2.0**60):
        with pytest.raises(InputError, match=r"grid\.margin_px must be a whole number"):
            check_config(config(grid={"margin_px": value}))
