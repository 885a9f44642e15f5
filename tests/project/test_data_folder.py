"""What a run takes from the data folder, what it fetches, and which backbone it chooses."""

import shutil
from types import SimpleNamespace

import geopandas as gpd
import pytest
from shapely import box

from headwater.core.errors import InputError
from headwater.fetch import download as downloads
from headwater.fetch import store
from headwater.fetch.sources import remote_files
from headwater.project.config import check_config
from headwater.project.data_folder import fetch_first
from headwater.project.workflow import Workflow
from support.faulty_server import faulty_server
from support.fetched_files import CATCHMENTS, HYDROBASINS, HYDROLAKES, REGION, STREAMS, settings_of, write_sources

AREA = "area-0123456789"


class Wildcards:
    def __init__(self, **values):
        self.__dict__.update(values)


@pytest.fixture(scope="module")
def running_server(tmp_path_factory):
    folder = write_sources(tmp_path_factory.mktemp("sources"))
    with faulty_server(folder) as server:
        server.folder = folder
        yield server


@pytest.fixture
def server(running_server, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_WAIT_S", 0.02)
    monkeypatch.delenv("HEADWATER_DATA", raising=False)
    running_server.behave(head=504)
    return running_server


@pytest.fixture
def configured(server, tmp_path):
    """Function that returns a configuration whose data folder is empty."""

    def configure(basin=REGION, polygons=None, fetch=None, **changes):
        if polygons is None:
            polygons = str(tmp_path / "own.gpkg")
            table = gpd.GeoDataFrame({"HYBAS_ID": [basin]}, geometry=[box(-105.5, 40.1, -105.45, 40.15)], crs=4326)
            table.to_file(polygons)
        settings = settings_of(server, tmp_path / "data").model_dump() | (fetch or {})
        return {
            "results": str(tmp_path / "results"),
            "basins": {"polygons": polygons, "ids": [basin]},
            "catalog": {"url": str(tmp_path)},
            "search": {"datetime": "2023-01-01/2023-12-31"},
            "fetch": settings,
            "backbone": {"kind": "auto"},
            "grid": {"cell_degrees": 0.1},
        } | changes

    return configure


def put(server, folder, *names):
    places = {STREAMS: "tdx-hydro", CATCHMENTS: "tdx-hydro", HYDROBASINS: "hydrobasins", HYDROLAKES: "hydrolakes"}
    for name in names:
        (folder / places[name]).mkdir(parents=True, exist_ok=True)
        shutil.copy(server.folder / name, folder / places[name] / name)


def backbone_line(run):
    (line,) = [line for line in run.cost_lines() if "backbone of basin" in line]
    return line


def test_auto_is_tdx_where_its_files_are_at_hand(server, configured, tmp_path):
    put(server, tmp_path / "data", STREAMS, CATCHMENTS)
    run = Workflow(configured(fetch={"enabled": False}))
    assert f"{REGION}: tdx, because TDX-Hydro is at hand in {tmp_path}/data/tdx-hydro." in backbone_line(run)
    inputs = run.backbone_inputs(REGION)
    assert inputs["fetched"] == tmp_path / "results" / REGION / "fetched/tdx-hydro.json"
    assert "--offline" in run.fetch_options(Wildcards(basin=REGION, source="tdx-hydro"))
    assert str(tmp_path / "data/tdx-hydro" / STREAMS) in run.backbone_sources(Wildcards(basin=REGION))
    assert run.options("backbone", basin=REGION).startswith("--kind=tdx")
    assert not server.log()


def test_auto_uses_the_files_that_the_patterns_name(server, configured, tmp_path):
    for name in (STREAMS, CATCHMENTS):
        shutil.copy(server.folder / name, tmp_path)
    patterns = {
        "streams": f"{tmp_path}/TDX_streamnet_*.gpkg",
        "catchments": f"{tmp_path}/TDX_*basins_{{basin_id}}_01.gpkg",
    }
    run = Workflow(configured(backbone={"kind": "auto"} | patterns))
    assert run.backbone_inputs(REGION)["streams"] == [str(tmp_path / STREAMS)]
    assert "tdx, because TDX-Hydro is at hand: " in backbone_line(run)
    assert not run._fetch_lines()
    shutil.copy(tmp_path / STREAMS, tmp_path / "TDX_streamnet_2.gpkg")
    with pytest.raises(InputError, match="matches 2 files"):
        Workflow(configured(backbone={"kind": "auto"} | patterns))


def test_auto_is_dem_without_files_and_says_why(server, configured, tmp_path):
    run = Workflow(configured(fetch={"enabled": False}))
    assert f"dem, because TDX-Hydro is not in {tmp_path}/data/tdx-hydro, and fetching is not enabled" in backbone_line(
        run
    )
    assert f"`headwater fetch tdx-hydro --basin {REGION} --folder {tmp_path}/data`, about 7.59 GB" in backbone_line(run)
    assert set(run.backbone_inputs(REGION)) == {"plan", "polygons", "elevation"}
    assert run.options("backbone", basin=REGION).startswith("--kind=dem")
    run = Workflow(configured())
    assert "dem, because to fetch TDX-Hydro is about 7.59 GB, more than fetch.max_gb (1)" in backbone_line(run)
    assert not server.log()


def test_auto_fetches_what_is_small_enough_and_announces_it(server, configured, tmp_path):
    config = configured()
    store.ask_sizes(
        remote_files("tdx-hydro", check_config(config).fetch, basin_ids=[REGION]), check_config(config).fetch
    )
    run = Workflow(config)
    first, second, *_ = run.cost_lines()
    assert first.startswith(f"headwater: to fetch into {tmp_path}/data: {STREAMS}, ")
    assert "tdx, because TDX-Hydro is fetched, " in second
    assert "--offline" not in run.fetch_options(Wildcards(basin=REGION, source="tdx-hydro"))
    with pytest.raises(InputError, match=r"more than fetch\.max_gb"):
        Workflow(configured(fetch={"max_gb": 1e-6}, backbone={"kind": "tdx"}))


def test_a_finished_backbone_keeps_its_kind(server, configured, tmp_path):
    run = Workflow(configured(fetch={"enabled": False}))
    folder = tmp_path / "results" / REGION
    folder.mkdir(parents=True)
    from headwater.project.backbone_choice import write_pin

    write_pin(run._pin(REGION), run.backbone(REGION))
    put(server, tmp_path / "data", STREAMS, CATCHMENTS)
    assert Workflow(configured()).backbone(REGION).kind == "tdx"
    (folder / "reaches.parquet").touch()
    kept = Workflow(configured())
    assert kept.backbone(REGION).kind == "dem"
    assert "dem, because as the basin's backbone was made; to decide anew, delete " in backbone_line(kept)
    assert Workflow(configured(backbone={"kind": "tdx"})).backbone(REGION).kind == "tdx"


def test_jobs_of_a_run_decide_as_the_run_did(server, configured, tmp_path, monkeypatch):
    from headwater.project.backbone_choice import write_pin

    run = Workflow(configured(fetch={"enabled": False}))
    write_pin(run._pin(REGION), run.backbone(REGION))
    put(server, tmp_path / "data", STREAMS, CATCHMENTS)
    monkeypatch.setattr("sys.argv", ["snakemake", "--mode", "subprocess"])
    assert Workflow(configured()).backbone(REGION).kind == "dem"


def test_an_area_takes_the_regions_that_it_meets(server, configured, tmp_path):
    off = {"enabled": False}
    line = backbone_line(Workflow(configured(AREA, fetch=off)))
    assert (
        f"dem, because {AREA} is no region of TDX-Hydro, and without HydroBASINS in {tmp_path}/data/hydrobasins" in line
    )
    put(server, tmp_path / "data", HYDROBASINS)
    assert f"--basin {REGION} --folder " in backbone_line(Workflow(configured(AREA, fetch=off)))
    put(server, tmp_path / "data", STREAMS, CATCHMENTS)
    assert Workflow(configured(AREA, fetch=off)).backbone(AREA).fetched[0].region == REGION


def test_polygons_of_hydrobasins_are_fetched_before_the_rules_are_read(server, configured, tmp_path, capsys):
    with pytest.raises(
        InputError, match=r"basins.polygons: hydrobasins needs .*hybas_na_lev02_v1c\.zip, which is not"
    ) as e:
        Workflow(configured(polygons="hydrobasins", fetch={"enabled": False}))
    assert "`headwater fetch hydrobasins --folder " in e.value.remedy
    config = configured(polygons="hydrobasins")
    fetch_first(check_config(config))
    assert "to fetch into" in capsys.readouterr().err
    run = Workflow(config)
    assert run.polygons == [str(tmp_path / "data/hydrobasins" / HYDROBASINS)]
    assert run.cells(REGION)
    server.behave()
    fetch_first(check_config(config))
    assert not server.log()


def test_lakes_and_weights_of_the_data_folder(server, configured, tmp_path):
    words = {"network": {"lakes": "hydrolakes"}, "fetch": {"enabled": False}}
    with pytest.raises(InputError, match=r"network\.lakes: hydrolakes needs .*HydroLAKES_polys_v10_shp\.zip"):
        Workflow(configured(**words))
    put(server, tmp_path / "data", HYDROLAKES)
    run = Workflow(configured(**words))
    assert run.lakes(REGION) == [str(tmp_path / "results" / REGION / "fetched/hydrolakes.json")]
    assert str(tmp_path / "data/hydrolakes" / HYDROLAKES) in run.network_options(SimpleNamespace(basin=REGION))
    with pytest.raises(
        InputError, match=r"predict\.checkpoint: waternet needs .*waternet/waternet\.safetensors"
    ) as error:
        Workflow(configured(predict={"checkpoint": "waternet"}, fetch={"enabled": False}))
    assert "`headwater models fetch waternet --folder " in error.value.remedy


def test_tdx_without_patterns_names_the_command_that_fetches(configured):
    with pytest.raises(InputError, match=r"backbone\.kind: tdx needs .*TDX_streamnet") as error:
        Workflow(configured(backbone={"kind": "tdx"}, fetch={"enabled": False}))
    assert f"`headwater fetch tdx-hydro --basin {REGION} --folder " in error.value.remedy
    with pytest.raises(InputError, match="one is given and the other is not"):
        Workflow(configured(backbone={"kind": "tdx", "streams": "s.gpkg"}))


@pytest.mark.parametrize(("given", "enabled"), [(True, True), (False, False), ("true", True)])
def test_the_short_form(configured, given, enabled):
    assert check_config(configured() | {"fetch": given}).fetch.enabled is enabled


@pytest.mark.parametrize("address", ["x", "tdx-hydro=ftp://a", "tdx-hydro=http://a/{other}", "tdx-hydro=http://u:p@a/"])
def test_addresses_that_cannot_be_are_refused(configured, address):
    with pytest.raises(InputError, match=r"fetch\.addresses"):
        check_config(configured(fetch={"addresses": [address]}))
