"""The catalog is one by the standard's own schemas, and pystac finds in it what the files hold.

The schemas of extensions are not part of pystac: their fields are read by its classes instead.
"""

import hashlib
import re
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import shapely
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from pystac.extensions.table import TableExtension
from pystac.validation import validate_dict

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.files import write_json
from headwater.geo.grid import prediction_grid
from headwater.geo.plan import read_plan, write_plan
from headwater.models.shipped import default_checkpoints
from headwater.report.catalog import catalog
from headwater.waterways.network.formats import TERMS, write_descriptions
from headwater.waterways.network.geoparquet import write_network

WEIGHTS = default_checkpoints()[1]
FIJI, PLAIN = "5020000010", "2020000010"
NOTICES = {
    "license": "CC BY-SA 4.0",
    "citation": "Who (2026)",
    "attribution": "Contains modified Copernicus Sentinel data.",
}


def make_basin(results, basin, boxes, terms):
    folder = results / basin
    folder.mkdir(parents=True)
    shape = shapely.multipolygons([shapely.box(*box) for box in boxes])
    polygon = gpd.GeoDataFrame({"HYBAS_ID": [int(basin)]}, geometry=[shape], crs="EPSG:4326")
    polygon.to_file(results / f"{basin}.gpkg")
    write_plan([results / f"{basin}.gpkg"], basin, folder / "plan.json", cell_degrees=0.1, margin_px=0)
    line = shapely.LineString(np.array(boxes[0]).reshape(2, 2))
    columns = {"stream_id": [1], "strahler_order": [1], "from_tdx": [True], "length_m": [7.5]}
    network = gpd.GeoDataFrame(columns, geometry=[line], crs="EPSG:4326")
    network.attrs[TERMS] = terms
    write_network(network, folder / "waterways.parquet")
    write_descriptions(network, folder / "waterways.parquet")
    header = "basin_id,strahler_order,source,intersects_lake,segments,length_km"
    (folder / "summary.csv").write_text(f"{header}\n{basin},1,backbone,False,1,0.008\n")
    for number, cell in enumerate(read_plan(folder / "plan.json").cells):
        grid = prediction_grid(cell)
        raster.write_cog(
            folder / "cells" / cell.name / "probability.tif", np.full((1, *grid.shape), 255, np.uint8),
            transform=grid.transform, mask=np.ones(grid.shape, bool), bands=raster.PROBABILITY,
        )  # fmt: skip
        scenes = [{"id": "S2A_1", "datetime": f"2023-0{number + 1}-01T10:00:00.5Z"}]
        write_json(folder / "cells" / cell.name / "scenes.json", {"cell": cell.name, "scenes": scenes}, sealed=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    results = tmp_path_factory.mktemp("place") / "results"
    make_basin(results, FIJI, [(179.9, 65, 180, 65.1), (-180, 65, -179.9, 65.1)], NOTICES)
    make_basin(results, PLAIN, [(10, 50, 10.1, 50.1)], {})
    catalog(
        results, [PLAIN, FIJI], results / "catalog/catalog.json", collection_id="run-1", checkpoints=[WEIGHTS]
    )  # fmt: skip
    return results


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_valid_and_every_address_is_relative_and_there(made):
    root = pystac.Catalog.from_file(made / "catalog/catalog.json")
    objects = [root, *root.get_children(), *root.get_items(recursive=True)]
    assert len(objects) == 1 + 1 + (1 + 2) + (1 + 1) + 1
    for each in objects:
        content = pystac.StacIO.default().read_json(each.get_self_href())
        assert validate_dict({**content, "stac_extensions": []})
        assert all(link["href"].startswith(".") for link in content["links"])
        for link in content["links"]:
            assert (Path(each.get_self_href()).parent / link["href"]).is_file()
    for item in root.get_items(recursive=True):
        for asset in item.assets.values():
            path = Path(asset.get_absolute_href())
            assert asset.href.startswith(".")
            facts = FileExtension.ext(asset)
            assert facts.size == path.stat().st_size
            assert facts.checksum == f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_items_say_where_when_and_how_to_read_values(made):
    root = pystac.Catalog.from_file(made / "catalog/catalog.json")
    (collection,) = root.get_children()
    assert collection.license == "CC-BY-SA-4.0"
    assert collection.extra_fields["sci:citation"] == "Who (2026)"
    assert "Contains modified Copernicus" in collection.description
    assert [provider.name for provider in collection.providers] == ["European Union, Copernicus", "Headwater"]
    items = {item.id: item for item in root.get_items(recursive=True)}
    basin = items[FIJI]
    # A box across 180 degrees has its west in the east, and the shape is cut.
    assert basin.bbox == [179.9, 65, -179.9, 65.1]
    assert basin.geometry["type"] == "MultiPolygon"
    dates = basin.common_metadata
    assert (dates.start_datetime.isoformat()[:10], dates.end_datetime.isoformat()[:10]) == ("2023-01-01", "2023-02-01")
    assert basin.properties["headwater:attribution"] == NOTICES["attribution"]
    columns = {each.name: each for each in TableExtension.ext(basin.assets["network"]).columns}
    assert columns["length_m"].description.endswith("Unit: m.")
    cell = next(item for name, item in items.items() if name.startswith(f"{PLAIN}-"))
    probability = cell.assets["probability"]
    with rasterio.open(probability.get_absolute_href()) as dataset:
        placed = ProjectionExtension.ext(probability)
        assert (placed.code, tuple(placed.shape)) == ("EPSG:4326", dataset.shape)
        assert tuple(placed.transform) == tuple(dataset.transform)[:6]
        (band,) = RasterExtension.ext(probability).bands
        assert (band.scale, str(band.data_type)) == (dataset.scales[0], "uint8")


def test_weights_are_described_as_a_model_and_are_in_the_catalog(made):
    root = pystac.Catalog.from_file(made / "catalog/catalog.json")
    item = next(item for item in root.get_items(recursive=True) if item.id.startswith("weights-"))
    model = MLMExtension.ext(item)
    assert (model.architecture, model.framework) == ("unet", "pytorch")
    assert len(model.input[0].bands) == model.input[0].input.shape[1] == 10
    assert Path(item.assets["weights"].get_absolute_href()).read_bytes() == WEIGHTS.read_bytes()


def test_the_same_results_give_the_same_bytes_also_elsewhere(made, tmp_path):
    shutil.copytree(made, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved/catalog")
    catalog(
        tmp_path / "moved", [PLAIN, FIJI], tmp_path / "moved/catalog/catalog.json", collection_id="run-1",
        checkpoints=[WEIGHTS],
    )  # fmt: skip
    assert contents(tmp_path / "moved/catalog") == contents(made / "catalog")


def test_another_configuration_has_its_own_collection_and_takes_its_basins(made, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(made, results)
    out = results / "catalog/catalog.json"
    catalog(results, [PLAIN], out, collection_id="run-2")
    found = {
        child.id: sorted(item.id for item in child.get_items() if "-" not in item.id)
        for child in pystac.Catalog.from_file(out).get_children()
    }
    assert found == {"run-1": [FIJI], "run-2": [PLAIN]}
    for child in pystac.Catalog.from_file(out).get_children():
        assert validate_dict({**child.to_dict(include_self_link=False), "stac_extensions": []})
    # Results that are gone are no longer listed.
    shutil.rmtree(results / FIJI)
    catalog(results, [PLAIN], out, collection_id="run-2")
    assert [child.id for child in pystac.Catalog.from_file(out).get_children()] == ["run-2"]
    with pytest.raises(InputError, match=r"waterways\.parquet does not exist"):
        catalog(results, [FIJI], out, collection_id="run-2")


def test_the_page_shows_each_basin_and_leads_to_it(made):
    page = (made / "catalog/index.html").read_text()
    assert not re.search(r"(href|src)=\"(https?:|/)", page)
    for basin in (FIJI, PLAIN):
        assert f"Basin {basin}: 0 km" in page
        assert (made / "catalog" / re.search(rf'href="([^"]*/{basin}\.json)"', page)[1]).is_file()
    # The basin across 180 degrees is drawn on both sides.
    assert page.count('class="basin"') == 3
