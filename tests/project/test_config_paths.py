"""Relative paths of a configuration begin in the folder of the run, or in its own."""

from pathlib import Path

import pytest
import yaml

from headwater.core.errors import InputError
from headwater.project.config_paths import PATHS_FROM, paths_begin_in, project_folder, read_config, ready_paths

VALUES = {
    PATHS_FROM: "config",
    "results": "results",
    "basins": {"polygons": ["a.gpkg", "/b.gpkg"], "ids": ["1"]},
    "catalog": {"url": "place", "token_url": "x", "fallback": {"url": "other", "signing": "none"}},
    "predict": {"checkpoint": ["w.safetensors", "waternet"]},
    "backbone": {"kind": "tdx", "streams": "t/{basin_id}.gpkg", "catchments": "t/c_{basin_id}_*.gpkg"},
    "network": {"lakes": None, "formats": ["gpkg"]},
}


def test_paths_stay_relative_below_the_folder_of_the_run(tmp_path):
    found = ready_paths(VALUES, [tmp_path / "p/config.yaml"], run_folder=tmp_path)
    assert found["results"] == "p/results"
    assert found["basins"] == {"polygons": ["p/a.gpkg", "/b.gpkg"], "ids": ["1"]}
    assert found["catalog"]["url"] == "p/place"
    assert found["catalog"]["token_url"] == "x"
    assert found["catalog"]["fallback"] == {"url": "p/other", "signing": "none"}
    assert found["predict"]["checkpoint"] == ["p/w.safetensors", "waternet"]
    assert found["backbone"]["streams"] == "p/t/{basin_id}.gpkg"
    assert found["network"] == VALUES["network"]
    assert ready_paths(VALUES, [tmp_path / "config.yaml"], run_folder=tmp_path) == VALUES


def test_paths_outside_the_folder_of_the_run_are_absolute(tmp_path):
    found = ready_paths(VALUES, [tmp_path / "p/config.yaml"], run_folder=tmp_path / "q")
    assert found["results"] == f"{tmp_path}/p/results"


def test_addresses_and_what_cannot_be_a_path_stay(tmp_path):
    values = {
        PATHS_FROM: "config",
        "results": "-x",
        "basins": {"polygons": 3},
        "catalog": {"url": "https://a/b"},
        "backbone": 7,
        "predict": {"checkpoint": ""},
    }
    assert ready_paths(values, [tmp_path / "p/config.yaml"], run_folder=tmp_path) == values


def test_folders_with_wildcards_and_a_hyphen_are_taken_as_they_are(tmp_path):
    values = {"backbone": {"streams": "s_*.gpkg", "catchments": "c.gpkg"}, "results": "r"}
    found = paths_begin_in(tmp_path / "-a[1]", values, run_folder=tmp_path)
    assert found["results"] == "./-a[1]/r"
    assert found["backbone"] == {"streams": "./-a[[]1]/s_*.gpkg", "catchments": "./-a[1]/c.gpkg"}


def test_a_project_runs_in_its_folder(tmp_path):
    assert project_folder(VALUES, [tmp_path / "p/c.yaml"]) == tmp_path / "p"
    assert project_folder({}, [tmp_path / "p/c.yaml"]) is None
    assert project_folder(VALUES, []) is None
    assert project_folder(VALUES, [tmp_path / "p/c.yaml", tmp_path / "q/c.yaml"]) is None


def test_by_default_nothing_changes_and_two_folders_are_refused(tmp_path):
    plain = {key: value for key, value in VALUES.items() if key != PATHS_FROM}
    assert ready_paths(plain, [tmp_path / "p/config.yaml"], run_folder=tmp_path) == plain
    with pytest.raises(InputError, match="different folders"):
        ready_paths(VALUES, [tmp_path / "p/c.yaml", tmp_path / "q/c.yaml"], run_folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "words"), [("- 1", "not a table"), ("a: [", "cannot be read"), (None, "cannot be read")]
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, words):
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_config(path, run_folder=Path())


def test_a_configuration_is_read_with_its_paths(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/c.yaml").write_text(yaml.safe_dump(VALUES))
    assert read_config(tmp_path / "p/c.yaml", run_folder=tmp_path)["results"] == "p/results"
