import json
import shutil
from pathlib import Path

import numpy as np
import pystac
import pytest

from headwater import raster
from headwater.core.errors import InputError
from headwater.geo.basins import basin_polygon
from headwater.imagery.own_rasters import items_from_folder
from support.local_place import CELL, write_dem, write_scene


@pytest.fixture
def rasters(tmp_path):
    write_scene(tmp_path, "place")
    west, south, east, north = CELL.bounds
    write_dem(tmp_path, [("own", west - 1, south - 1, east + 1, north + 1, lambda x, y: 7)])
    return tmp_path / "place", [tmp_path / "dem0.tif"]


def make(rasters, out, **changes):
    folder, dem = rasters
    options = {"dem": dem, "datetime": "2020-07-01", "basin_id": "9000000001", "baseline": "02.12", "out": out}
    items_from_folder(folder, **(options | changes))


def test_rasters_become_valid_items_with_relative_paths_and_a_polygon(rasters, tmp_path):
    out = tmp_path / "catalogue"
    make(rasters, out)
    items = [pystac.Item.from_dict(json.loads(path.read_text())) for path in out.glob("stac/*/*.json")]
    assert {item.collection_id for item in items} == {"sentinel-2-l2a", "cop-dem-glo-30"}
    for item in items:
        for asset in item.assets.values():
            assert not Path(asset.href).is_absolute()
            assert (out / asset.href).is_file()
    scene = next(item for item in items if "B08" in item.assets)
    assert scene.properties["proj:epsg"] == 32632
    assert set(scene.assets) == {"B08", "B04", "B03", "B02", "SCL"}
    assert basin_polygon([out / "hydrobasins.gpkg"], "9000000001").area > 0


def test_another_nodata_becomes_zero_and_valid_zeros_stay_valid(rasters, tmp_path):
    folder, _ = rasters
    facts = raster.raster_facts(folder / "B03.tif")
    dn = raster.read_pixels(folder / "B03.tif")
    dn[dn == 0] = 65535
    dn[50, 50] = 0
    raster.write_cog(
        folder / "B03.tif", dn[np.newaxis], transform=facts["transform"], crs=str(facts["crs"]), nodata=65535
    )
    out = tmp_path / "catalogue"
    make(rasters, out)
    copied = raster.read_pixels(next(out.glob("assets/*/*/B03.tif")))
    assert copied[0, 0] == 0
    assert copied[50, 50] == 1
    assert copied.max() < 65535


def test_missing_files_are_named(rasters, tmp_path):
    out = tmp_path / "catalogue"
    with pytest.raises(InputError, match="not a date"):
        make(rasters, out, datetime="summer")
    with pytest.raises(InputError, match="not a number"):
        make(rasters, out, basin_id="lommel")
    with pytest.raises(InputError, match="does not exist"):
        make(rasters, out, dem=[tmp_path / "none.tif"])
    with pytest.raises(InputError, match="not a catalog"):
        make(rasters, rasters[0])
    shutil.move(rasters[0] / "B04.tif", tmp_path)
    with pytest.raises(InputError, match="no band B04"):
        make(rasters, out)
    assert not out.exists()
