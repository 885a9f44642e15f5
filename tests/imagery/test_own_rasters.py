import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pystac
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform

from headwater import raster
from headwater.core.errors import HeadwaterError, InputError
from headwater.core.sentinel2 import REFLECTANCE_BANDS, SCL
from headwater.geo.basins import basin_polygon
from headwater.geo.plan import plan_basin
from headwater.imagery.own_rasters import items_from_folder
from support.local_place import CELL, write_dem, write_scene
from support.raster_defects import BAND_DEFECTS, ELEVATION_DEFECTS, Picture


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


PX, DEM_PX = 40, 60


def pictures(epsg: int = 32632, west: float = 500_000.0, north: float = 800_000.0) -> dict[str, Picture]:
    """Return bands with an empty corner, SCL, and elevation with a void, as valid rasters by name."""
    rng = np.random.default_rng(5)
    crs, place = f"EPSG:{epsg}", Affine(10, 0, west, 0, -10, north)
    empty = np.zeros((PX, PX), bool)
    empty[:6, :9] = True
    made = {
        name: Picture(rng.integers(200, 3000, (PX, PX)).astype(np.uint16), empty, place, crs).filled(0)
        for name in REFLECTANCE_BANDS
    }
    made[SCL] = Picture(np.full((PX, PX), 4, np.uint8), empty, place, crs).filled(0)
    rows, columns = np.mgrid[:DEM_PX, :DEM_PX]
    void = np.zeros((DEM_PX, DEM_PX), bool)
    void[20:26, 30:33] = True
    wider = Affine(10, 0, west - 100, 0, -10, north + 100)
    made["dem"] = Picture((300 + rows + 2 * columns).astype(np.float32), void, wider, crs).filled(np.nan)
    return made


def make_place(folder: Path, made: dict[str, Picture], **changes) -> Path:
    (folder / "in").mkdir(parents=True)
    for name, each in made.items():
        each.write(folder / "in" / f"{name}.tif")
    options = {"dem": [folder / "in" / "dem.tif"], "datetime": "2020-07-01", "basin_id": "9", "baseline": "00.00"}
    items_from_folder(folder / "in", **(options | changes), out=folder / "out")
    return folder / "out"


def copies(out: Path) -> dict[str, np.ndarray]:
    return {path.stem: raster.read_pixels(path) for path in out.glob("assets/*/*/*.tif")}


@pytest.fixture(scope="module")
def calm_copies(tmp_path_factory):
    return copies(make_place(tmp_path_factory.mktemp("calm"), pictures()))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@settings(deadline=None, max_examples=max(50, settings.default.max_examples))
@given(
    st.sampled_from(
        [("dem", defect) for defect in sorted(ELEVATION_DEFECTS)]
        + [(band, defect) for band in ("B08", "B02") for defect in sorted(BAND_DEFECTS)]
    )
)
def test_a_defect_changes_nothing_or_is_refused(tmp_path_factory, calm_copies, odd):
    name, defect = odd
    verdict, spoil = (ELEVATION_DEFECTS if name == "dem" else BAND_DEFECTS)[defect]
    folder, made = tmp_path_factory.mktemp("place"), pictures()
    made[name] = spoil(made[name])
    if verdict == "refused":
        with pytest.raises(HeadwaterError) as caught:
            make_place(folder, made)
        assert caught.value.cause.endswith(".")
        assert caught.value.remedy.endswith(".")
        assert [path.name for path in folder.iterdir()] == ["in"], "something half-written was left"
        return
    found = copies(make_place(folder, made))
    assert set(found) == set(calm_copies)
    for each, values in calm_copies.items():
        assert np.abs(found[each].astype(float) - values).max() < (0.06 if each == "data" else 0.5), each


def test_numbers_that_cannot_be_and_classes_that_are_not(tmp_path):
    made = pictures()
    made["B04"].values[20, 20:25] = 64_800  # 1000 subtracted from 264 in 16 bits
    made[SCL].values[10, 10:12] = 255
    found = copies(make_place(tmp_path / "a", made))
    assert not found["B04"][20, 20:25].any()
    assert not found[SCL][10, 10:12].any()


def test_a_place_across_180_has_a_footprint_in_two_parts(tmp_path):
    (x,), (y,) = transform("EPSG:4326", "EPSG:32701", [180.0], [-16.8])
    out = make_place(tmp_path, pictures(32701, round(x) - 200, round(y) + 200))
    for path in out.glob("stac/*/*.json"):
        item = json.loads(path.read_text())
        assert item["geometry"]["type"] == "MultiPolygon"
        west, _, east, _ = item["bbox"]
        assert west > 179.99
        assert east < -179.99
    polygon = basin_polygon([out / "hydrobasins.gpkg"], "9")
    assert len(polygon.geoms) == 2
    assert sum(part.bounds[2] - part.bounds[0] for part in polygon.geoms) < 0.01
    assert len(plan_basin([out / "hydrobasins.gpkg"], "9", cell_degrees=0.05, margin_px=16).cells) <= 4


def test_elevation_in_longitudes_of_0_to_360_is_at_its_place(tmp_path):
    """Rarotonga, 159.8 W, with elevation from a grid of the world that starts at Greenwich."""
    made = pictures(32704, 414_000, 7_652_000)
    step = 1 / 3600
    place = Affine(step, 0, 200.1, 0, -step, -21.15)
    made["dem"] = Picture(np.full((400, 400), 100, np.float32), np.zeros((400, 400), bool), place, "EPSG:4326")
    out = make_place(tmp_path, made)
    west, _, east, _ = basin_polygon([out / "hydrobasins.gpkg"], "9").bounds
    assert -160 < west < east < -159
    (item,) = (json.loads(path.read_text()) for path in out.glob("stac/cop-dem-glo-30/*.json"))
    assert item["bbox"][0] == pytest.approx(-159.9)


def test_bands_of_different_ground_or_twice_are_refused(tmp_path):
    made = pictures()
    made["B02"] = replace(made["B02"], crs="EPSG:32633")
    with pytest.raises(InputError, match=r"B02\.tif covers other ground than B08\.tif"):
        make_place(tmp_path / "a", made)
    (tmp_path / "b" / "in").mkdir(parents=True)
    for name, each in pictures().items():
        each.write(tmp_path / "b" / "in" / f"{name}.tif")
    shutil.copy(tmp_path / "b" / "in" / "B03.tif", tmp_path / "b" / "in" / "B03.tiff")
    with pytest.raises(InputError, match=r"band B03 twice: B03\.tif and B03\.tiff"):
        items_from_folder(
            tmp_path / "b" / "in", dem=[tmp_path / "b" / "in" / "dem.tif"], datetime="2020-07-01", basin_id="9",
            baseline="00.00", out=tmp_path / "b" / "out",
        )  # fmt: skip


def test_a_baseline_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'N0509' is not valid"):
        make_place(tmp_path, pictures(), baseline="N0509")
