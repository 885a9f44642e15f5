"""`headwater init`: its project passes the checks of a run, and what is refused leaves nothing behind."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
import yaml

from headwater.cli import main
from headwater.core.errors import InputError
from headwater.geo.basins import read_basins
from headwater.project.config import check_config
from headwater.project.project_config import backbone_of_area, default_backbone, default_catalog, needs_regions
from headwater.project.workflow import Workflow
from headwater.waterways.settings import BackboneSettings
from support.faulty_server import faulty_server
from support.fetched_files import REGION, write_sources

BOX = ["--bbox", "30.1", "1.0", "30.4", "1.2"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADWATER_DATA", raising=False)
    return tmp_path


def config_of(folder):
    return yaml.safe_load(Path(folder, "config.yaml").read_text())


def write_base(here, **changes):
    """Write another run's configuration with the TDX-Hydro files of two regions, side by side at 30.2 E."""
    shapes = [shapely.box(29, 0, 30.2, 2), shapely.box(30.2, 0, 31, 2)]
    (here / "other").mkdir()
    gpd.GeoDataFrame({"HYBAS_ID": [1, 2]}, geometry=shapes, crs="EPSG:4326").to_file(here / "other/basins.gpkg")
    base = {
        "basins": {"polygons": "other/basins.gpkg", "ids": ["1", "2"]},
        "results": "other/results",
        "grid": {"margin_px": 32},
        "catalog": {"url": "other/place", "sentinel2_collection": "s2"},
        "search": {"datetime": "2022-01-01/2022-12-31", "years_back": 0},
        "select": {"max_scenes": 4},
        "backbone": {"kind": "tdx", "streams": "other/s_{basin_id}.gpkg", "catchments": "other/c_{basin_id}.gpkg"},
    } | changes
    Path("base.yaml").write_text(yaml.safe_dump(base))


def test_a_box_becomes_a_project_that_a_run_accepts(here, capsys, monkeypatch):
    assert main(["init", "uganda", *BOX, "--datetime", "2022-01-01/2022-12-31"]) == 0
    text = capsys.readouterr().out
    assert "742 km2, 2 cells of 0.2 degrees" in text
    assert "GB are free" in text
    assert "Missing: weights for the real world" in text
    config = config_of("uganda")
    assert config["paths_from"] == "config"
    assert config["basins"] == {"polygons": "area.gpkg", "ids": ["area-b8b0455ddb"]}
    assert config["catalog"] == default_catalog()
    assert config["backbone"] == {"kind": default_backbone()}
    assert config["fetch"] == {"enabled": False, "folder": "../data"}
    assert sorted(path.name for path in Path("uganda").iterdir()) == ["area.gpkg", "config.yaml"]
    assert read_basins([Path("uganda/area.gpkg")])["basin_id"].tolist() == config["basins"]["ids"]
    monkeypatch.chdir("uganda")
    assert len(Workflow(config).cells("area-b8b0455ddb")) == 2


def test_the_same_project_again_changes_nothing_and_another_is_refused(here, capsys):
    assert main(["init", "p", *BOX]) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("p").iterdir()}
    assert main(["init", "p", *BOX]) == 0
    assert "is as it was" in capsys.readouterr().out
    assert main(["init", "p", "--here", "1.1", "30.2"]) == 2
    assert "contains another project" in capsys.readouterr().err
    assert main(["init", "p", *BOX, "--datetime", "2022-01-01/2022-12-31"]) == 2
    assert {path: path.stat().st_mtime_ns for path in Path("p").iterdir()} == before
    Path("p/config.yaml").unlink()
    assert main(["init", "p", *BOX]) == 0
    assert len(list(Path("p").iterdir())) == 2


def test_a_folder_with_other_files_keeps_them(here):
    Path("p").mkdir()
    Path("p/notes.txt").write_text("mine")
    assert main(["init", "p", *BOX]) == 0
    assert sorted(path.name for path in Path("p").iterdir()) == ["area.gpkg", "config.yaml", "notes.txt"]


def test_every_other_key_comes_from_the_base_with_its_paths(here):
    write_base(here)
    assert main(["init", "deep/p", "--bbox", "30.3", "1", "30.4", "1.1", "--base", "base.yaml"]) == 0
    config = config_of("deep/p")
    assert "results" not in config
    assert config["catalog"] == {"url": f"{here}/other/place", "sentinel2_collection": "s2"}
    assert config["search"] == {"datetime": "2022-01-01/2022-12-31", "years_back": 0}
    assert config["select"] == {"max_scenes": 4}
    assert config["grid"] == {"cell_degrees": 0.1, "margin_px": 32}
    streams = config["backbone"]["streams"]
    if "regions" in BackboneSettings.model_fields:
        assert (streams, config["backbone"]["regions"]) == (f"{here}/other/s_{{basin_id}}.gpkg", ["2"])
    else:
        assert streams == f"{here}/other/s_2.gpkg"


def test_given_values_win_over_the_base(here):
    write_base(here, grid={"cell_degrees": 0.05})
    options = ["--catalog", "http://127.0.0.1:9/stac", "--datetime", "2021-01-01/2021-12-31", "--backbone", "dem"]
    assert main(["init", "p", *BOX, "--base", "base.yaml", *options]) == 0
    config = config_of("p")
    assert config["catalog"] == {"url": "http://127.0.0.1:9/stac", "sentinel2_collection": "s2"}
    assert config["search"]["datetime"] == "2021-01-01/2021-12-31"
    assert config["backbone"] == {"kind": "dem"}
    assert config["grid"] == {"cell_degrees": 0.05}


def test_a_project_can_be_the_base_of_another(here):
    write_base(here)
    assert main(["init", "p", "--bbox", "30.3", "1", "30.4", "1.1", "--base", "base.yaml"]) == 0
    assert main(["init", "q", "--bbox", "30.5", "1", "30.6", "1.1", "--base", "p/config.yaml"]) == 0
    assert config_of("q")["catalog"] == config_of("p")["catalog"]
    check_config(config_of("q"))


def test_a_basin_keeps_its_id_and_polygon(here, capsys):
    gpd.GeoDataFrame({"HYBAS_ID": [7020038340]}, geometry=[shapely.box(-106, 40, -105, 41)], crs="EPSG:4326").to_file(
        "hydrobasins.gpkg"
    )
    command = ["init", "p", "--basin", "7020038340", "--backbone", "dem"]
    assert main(command) == 2
    assert "not at hand" in capsys.readouterr().err
    assert main([*command, "--polygons", "hydrobasins.gpkg"]) == 0
    assert config_of("p")["basins"]["ids"] == ["7020038340"]
    assert "elevation" not in config_of("p")
    assert main(["init", "q", "--basin", "7020038341", "--polygons", "hydrobasins.gpkg"]) == 2
    assert "such as 7020038340" in capsys.readouterr().err


def test_the_polygon_of_a_basin_is_fetched_where_that_is_allowed(here, capsys):
    write_sources(here / "served")
    with faulty_server(here / "served") as server:
        Path("base.yaml").write_text(yaml.safe_dump({"fetch": {"addresses": [f"hydrobasins={server.url}"]}}))
        command = ["init", "p", "--basin", REGION, "--backbone", "dem", "--base", "base.yaml"]
        assert main(command) == 2
        assert "allow it with --fetch" in capsys.readouterr().err
        assert main([*command, "--fetch"]) == 0
    assert config_of("p")["fetch"]["enabled"]
    assert read_basins([Path("p/area.gpkg")])["basin_id"].tolist() == [REGION]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--bbox", "31", "1", "30", "2"], 2, "swapped"),
        (["--bbox", "0", "0", "40", "40"], 2, "1,600 cells of 1 degrees, more than 1,000"),
        (["--bbox", "30", "88", "31", "89"], 2, "where the tiles of Sentinel-2 end"),
        (["--basin", "7020038341"], 2, "no basin 7020038341 of level 2"),
        (["--geojson", "none.geojson"], 2, "none.geojson does not exist"),
        ([*BOX, "--base", "none.yaml"], 2, "none.yaml does not exist"),
        ([*BOX, "--base", "typo.yaml"], 2, "typo.yaml: There is no setting catalg"),
        ([*BOX, "--base", "list.yaml"], 2, "not a table of settings"),
        ([*BOX, "--catalog", "no-such-catalog"], 2, "no-such-catalog"),
        ([*BOX, "--catalog", "./nowhere"], 2, "nowhere"),
        ([*BOX, "--catalog", "http://me:secret@x.org/stac"], 2, "contains a user"),
        ([*BOX, "--backbone", "magic"], 2, "backbone.kind must be"),
        ([*BOX, "--datetime", "2022"], 2, "not a range of dates"),
        ([*BOX, "--km", "3"], 2, "--km is only for --here"),
        ([*BOX, "--polygons", "x"], 2, "--polygons is only for --basin"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(here, capsys, options, code, words):
    Path("typo.yaml").write_text("catalg: {url: x}\n")
    Path("list.yaml").write_text("- 1\n")
    assert main(["init", "p", *options]) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 2
    assert sorted(path.name for path in here.iterdir()) == ["list.yaml", "typo.yaml"]


@pytest.mark.parametrize("name", ["file", "x{y}", " x", "a\nb", "~x"])
def test_a_folder_that_cannot_be_used_is_refused(here, capsys, name):
    Path("file").touch()
    assert main(["init", name, *BOX]) == 2
    assert [path.name for path in here.iterdir()] == ["file"]


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(here, capsys, monkeypatch):
    usage = shutil.disk_usage(here)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert main(["init", "p", *BOX]) == 1
    assert "0.001 GB are free" in capsys.readouterr().err
    assert not Path("p").exists()


def test_what_cannot_be_written_leaves_nothing(here, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "p")

    monkeypatch.setattr(gpd.GeoDataFrame, "to_file", full)
    assert main(["init", "p", *BOX]) == 1
    assert not list(here.iterdir())
    Path("p").mkdir()
    assert main(["init", "p", *BOX]) == 1
    assert not list(Path("p").iterdir())


def test_many_cells_are_confirmed_by_yes(here):
    assert main(["init", "p", "--bbox", "0", "0", "40", "40", "--yes"]) == 0
    assert config_of("p")["max_cells"] == 1600


def test_an_area_uses_the_files_of_the_regions_that_it_is_in():
    section = {"kind": "tdx", "streams": "s_{basin_id}.gpkg", "catchments": "c_{basin_id}.gpkg"}
    assert needs_regions(section)
    assert not needs_regions(section | {"kind": "dem"})
    with pytest.raises(InputError, match="in none of the basins"):
        backbone_of_area(section, [])
    if "regions" in BackboneSettings.model_fields:
        assert backbone_of_area(section, ["2", "1"])["regions"] == ["1", "2"]
    else:
        with pytest.raises(InputError, match="in 2 TDX-Hydro regions: 1, 2"):
            backbone_of_area(section, ["2", "1"])


def test_a_project_is_plain_yaml(here):
    assert main(["init", "p", *BOX]) == 0
    assert json.loads(json.dumps(config_of("p"))) == config_of("p")
