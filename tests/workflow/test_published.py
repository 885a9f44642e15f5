"""The workflow on published rasters: a served zoom-6 folder made from the demo planet; no scene, no network."""

import json
import sqlite3

import geopandas as gpd
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio

from headwater.predict.published import TERMS
from support.faulty_server import faulty_server
from support.planet_rasters import write_planet_rasters
from support.small_run import change_config, configure, jobs_in, run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def mapped(tmp_path_factory, planet, served):
    """Folder and basin of a run on published rasters, and what it printed."""
    rasters = tmp_path_factory.mktemp("source")
    write_planet_rasters(planet, rasters / "raster")
    folder = tmp_path_factory.mktemp("published")
    with faulty_server(rasters) as running:
        basin = configure(
            folder, planet, served,
            predict={"source": "published", "published": f"{running.url}/raster"},
            network={"formats": ["gpkg", "fgb", "pmtiles", "published"]},
        )  # fmt: skip
        change_config(folder, search={"datetime": None})
        code, text = run(folder, cores=2)
    assert code == 0, text
    return folder, basin, text


def test_the_network_is_valid_without_scenes_composites_and_weights(mapped):
    folder, basin, text = mapped
    results = folder / "results" / basin
    checks = json.loads((results / "waterways.checks.json").read_text())
    assert checks["faults"] == 0
    network = gpd.read_parquet(results / "waterways.parquet")
    assert network["from_tdx"].any()
    assert (~network["from_tdx"]).sum() > 5
    assert {rule for rule, _, _ in jobs_in(text)} == {
        "plan", "search", "select", "elevation", "predict", "mosaic", "backbone", "vectorize", "network", "report",
    }  # fmt: skip
    assert not list(results.rglob("composite.*"))
    assert "generated landscapes" not in text
    again, text = run(folder, "--dry-run")
    assert again == 0
    assert jobs_in(text) == set(), "nothing is left to do"


def test_license_and_citation_are_in_every_output(mapped):
    folder, basin, _ = mapped
    results = folder / "results" / basin
    asked = TERMS.tags()
    for path in [*results.glob("cells/*/probability.tif"), results / "mosaic.vrt"]:
        with rasterio.open(path) as dataset:
            assert dataset.tags().items() >= asked.items(), path
    for path in [*results.glob("cells/*/waterways.parquet"), *results.glob("waterways*.parquet")]:
        metadata = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
        assert metadata.items() >= asked.items(), path
    assert json.loads((results / "waterways.checks.json").read_text())["terms"] == asked
    assert "CC BY-SA 4.0" in pyogrio.read_info(results / "waterways.fgb")["layer_metadata"]["DESCRIPTION"]
    with sqlite3.connect(results / "waterways.gpkg") as database:
        texts = " ".join(str(row[0]) for row in database.execute("select metadata from gpkg_metadata"))
    for path, content in ((results / "waterways.gpkg", texts), (results / "report/index.html", None)):
        content = content or path.read_text()
        assert "CC BY-SA 4.0" in content, path
        assert "arXiv:2412.00050" in content, path


def test_another_source_reruns_what_depends_on_it(mapped):
    folder = mapped[0]
    change_config(folder, predict={"tile_px": 1024})
    assert jobs_in(run(folder, "--dry-run")[1]) == set(), "settings of the network are not used"
    change_config(folder, predict={"published": "https://example.org/raster"})
    assert {rule for rule, _, _ in jobs_in(run(folder, "--dry-run")[1])} == {
        "predict", "mosaic", "vectorize", "network", "report",
    }  # fmt: skip
    change_config(folder, predict={"source": "network"}, search={"datetime": "2023-01-01/2023-12-31"})
    rules = {rule for rule, _, _ in jobs_in(run(folder, "--dry-run")[1])}
    assert {"search", "select", "composite", "predict"} <= rules
