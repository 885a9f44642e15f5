"""What is refused before the first job."""

import shutil

import geopandas as gpd
import pytest
from shapely import box

from headwater.core.errors import DiskError, InputError
from headwater.demo.server.serve import running_catalog
from headwater.geo.grid import Cell, cells_intersecting
from headwater.models.shipped import default_checkpoints
from headwater.project.checks import (
    check_catalog,
    check_disk,
    check_published_rasters,
    check_tables,
    check_weights,
    may_be_demo_catalog,
    refuse_other_continent,
)
from headwater.project.config import check_config
from headwater.project.workflow import Workflow
from support.tiny_catalog import write_tiny_catalog

NORTH_AMERICA = "7020038340"


@pytest.fixture
def configured(tmp_path):
    """Function that returns a configuration of basins in polygons, and of other changes."""

    def configure(polygons, **changes):
        gpd.GeoDataFrame({"HYBAS_ID": list(polygons)}, geometry=list(polygons.values()), crs=4326).to_file(
            tmp_path / "basins.gpkg"
        )
        return {
            "results": str(tmp_path / "results"),
            "basins": {"polygons": str(tmp_path / "basins.gpkg"), "ids": list(polygons)},
            "catalog": {"url": str(tmp_path)},
            "search": {"datetime": "2023-01-01/2023-12-31"},
            "backbone": {"kind": "dem"},
        } | changes

    return configure


def test_a_basin_of_many_cells_needs_a_confirmation(configured):
    """A large one is refused by its area: its cells are not listed, which would take minutes."""
    small = {"1": box(10, 10, 12, 12)}
    assert len(Workflow(configured(small)).cells("1")) == 4
    with pytest.raises(InputError, match=r"has 4 1-degree cells, more than max_cells \(3\): about .* GB to read"):
        Workflow(configured(small, max_cells=3))
    Workflow(configured(small, max_cells=3, confirm=True))
    with pytest.raises(InputError, match=r"has 25920000 0.05-degree cells, .*`snakemake --config confirm=true`"):
        Workflow(configured({"1": box(-180, -90, 180, 90)}, grid={"cell_degrees": 0.05}))


def test_the_cells_to_do_and_their_costs_are_named(configured):
    (line,) = Workflow(configured({"1": box(10, 10, 12, 12)})).cost_lines()
    assert line.startswith("headwater: basin 1 has 4 cells, 4 to do: about ")
    assert "core hours" in line


def test_files_of_an_earlier_configuration_are_named_when_the_network_is_made_again(configured, tmp_path, capsys):
    folder = tmp_path / "results/1"
    folder.mkdir(parents=True)
    for name in ("waterways.gpkg", "waterways.fgb", "waterways.parquet"):
        (folder / name).touch()
    run = Workflow(configured({"1": box(10, 10, 12, 12)}, network={"formats": ["fgb"]}))
    run._name_forgotten_files()
    (line,) = capsys.readouterr().err.splitlines()
    assert "waterways.gpkg is not updated" in line


def test_a_hydrobasins_id_on_another_continent_is_refused():
    place = cells_intersecting(box(-105.5, 40.1, -105.4, 40.2), 1.0)
    refuse_other_continent(NORTH_AMERICA, place)
    swapped = cells_intersecting(box(40.1, -60.5, 40.2, -60.4), 1.0)
    with pytest.raises(InputError, match=r"another continent .*latitude -61 and longitude 40"):
        refuse_other_continent(NORTH_AMERICA, swapped)
    refuse_other_continent("my_place", swapped)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"basins": {"polygons": "none.gpkg", "ids": ["1"]}}, "basins.polygons names none.gpkg, which does not exist"),
        ({"results": f"{__file__}/results"}, r"results is .*, but .*test_checks\.py is not a folder"),
        ({"network": {"lakes": "none.gpkg"}}, "network.lakes names none.gpkg, which does not exist"),
        (
            {"predict": {"checkpoint": ["none.safetensors"]}},
            "predict.checkpoint names none.safetensors, which does not",
        ),
        ({"backbone": {"kind": "tdx", "streams": "s.gpkg", "catchments": "c.gpkg"}}, "s.gpkg matches no file"),
    ],
)
def test_files_that_are_not_there_are_named_with_their_setting(configured, changes, words):
    with pytest.raises(InputError, match=words):
        Workflow(configured({"1": box(10, 10, 12, 12)}, **changes))


def test_a_table_that_cannot_be_opened_is_refused(tmp_path):
    table = gpd.GeoDataFrame({"a": [1]}, geometry=[box(0, 0, 1, 1)], crs=4326)
    table.to_file(tmp_path / "a.gpkg")
    table.to_parquet(tmp_path / "a.parquet")
    check_tables({"network.lakes": [str(tmp_path / name) for name in ("a.gpkg", "a.parquet")]})
    for name in ("a.gpkg", "a.parquet"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(InputError, match=f"network.lakes names .*{name}, which cannot be read"):
            check_tables({"network.lakes": [str(path)]})


def test_weights_are_loaded_before_the_first_job(tmp_path):
    weights = default_checkpoints()[0]
    for path in (weights, weights.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    check_weights([str(tmp_path / weights.name)])
    with (tmp_path / weights.name).open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="sha256 differs"):
        check_weights([str(tmp_path / weights.name)])


def test_a_disk_that_is_too_small_and_a_catalog_that_is_not_there(configured, tmp_path):
    config = check_config(configured({"1": box(10, 10, 12, 12)}))
    results = tmp_path / "not/yet/there"
    check_disk(results, [Cell(10, 10, 0.05)], config)
    world = [Cell(row, column, 1.0) for row in range(-90, 90) for column in range(-180, 180)]
    with pytest.raises(DiskError, match=r"take about .* GB, and .* GB are free"):
        check_disk(results, world, config)
    check_disk(results, world, config.model_copy(update={"confirm": True}))
    check_catalog("https://example.org/stac")
    with pytest.raises(InputError, match=r"catalog\.url names .*, which does not exist"):
        check_catalog(str(results))


def test_a_folder_of_published_rasters_must_hold_some(tmp_path):
    check_published_rasters("https://example.org/raster")
    with pytest.raises(InputError, match="does not exist"):
        check_published_rasters(str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"holds no file \{x\}_\{y\}.tif"):
        check_published_rasters(str(tmp_path))
    (tmp_path / "34_30.tif").touch()
    check_published_rasters(str(tmp_path))


def test_only_a_catalog_on_this_machine_may_be_a_demo_planet(tmp_path):
    write_tiny_catalog(tmp_path)
    with running_catalog([tmp_path]) as address:
        assert may_be_demo_catalog(f"{address}/stac")
    assert not may_be_demo_catalog("https://planetarycomputer.microsoft.com/api/stac/v1")
    assert not may_be_demo_catalog(str(tmp_path))
    assert may_be_demo_catalog("http://127.0.0.1:9/stac"), "not known yet: the pin will say"
