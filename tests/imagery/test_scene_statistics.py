"""Statistics of scenes: classes are never averaged, numbers that cannot be never count, offsets are subtracted once."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy
from scipy import ndimage

from headwater.imagery.scene_statistics import SceneCache, floor_fraction
from headwater.stac.items import Scene

SIZE = 1600
GROUND, CLOUD, SHADOW = 800, 6000, 300
BANDS = ("B08", "B04", "B03", "B02")


def write(path, values, driver):
    """Write a raster with overviews that average: those of JPEG 2000, or cubic ones as GDAL makes them for a COG."""
    facts = {"crs": "EPSG:32633", "transform": Affine(20, 0, 500_000, 0, -20, 5_200_000)}
    plain = path.with_suffix(".plain.tif")
    shape = {"height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype}
    with rasterio.open(plain, "w", driver="GTiff", **shape, **facts) as dataset:
        dataset.write(values, 1)
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    copy(plain, path, driver=driver, **lossless)
    return str(path)


def make_scene(folder, *, scl, band, driver="COG", offset=0):
    suffix = ".jp2" if driver == "JP2OpenJPEG" else ".tif"
    assets = dict.fromkeys(BANDS, write(folder / f"band{suffix}", band, driver))
    assets["SCL"] = None if scl is None else write(folder / f"SCL{suffix}", scl, driver)
    return Scene(
        "S2A", "sentinel-2-l2a", "2023-06-10T10:00:00Z", "33TWM", "05.09", offset, 32633, 30.0, 0.0, "", assets
    )


def cache(folder):
    return SceneCache(folder / "cache", lambda asset, *, renew=False: asset.href, "clear")


@pytest.fixture(scope="module")
def clouds():
    """Blobs of cloud with their shadows over even ground: SCL and reflectance."""
    rng = np.random.default_rng(3)
    field = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 12)
    cloud = field > np.quantile(field, 0.7)
    shadow = np.roll(cloud, (12, 12), (0, 1)) & ~cloud
    scl = np.where(cloud, 9, np.where(shadow, 3, 4)).astype(np.uint8)
    ground = GROUND + rng.normal(0, 20, (SIZE, SIZE))
    return scl, np.where(cloud, CLOUD, np.where(shadow, SHADOW, ground)).astype(np.uint16)


@pytest.mark.parametrize("driver", ["COG", "JP2OpenJPEG"])
def test_classes_are_not_averaged_and_only_clear_pixels_count(tmp_path, clouds, driver):
    scl, band = clouds
    scene = make_scene(tmp_path, scl=scl, band=band, driver=driver)
    assert cache(tmp_path).clear_views(scene).mean() == pytest.approx((scl == 4).mean(), abs=0.005)
    found = cache(tmp_path).statistics(scene)
    assert found.mean == pytest.approx([GROUND] * 4, abs=5)
    assert (found.std < 30).all(), "a cloud or a shadow was averaged into the ground"


def test_broken_clouds_everywhere_leave_the_statistics_of_single_pixels(tmp_path):
    rng = np.random.default_rng(3)
    cloud = np.kron(rng.random((SIZE // 4, SIZE // 4)) < 0.5, np.ones((4, 4), bool))
    band = np.where(cloud, CLOUD, GROUND + rng.normal(0, 20, (SIZE, SIZE))).astype(np.uint16)
    found = cache(tmp_path).statistics(make_scene(tmp_path, scl=np.where(cloud, 9, 4).astype(np.uint8), band=band))
    assert found.mean == pytest.approx([GROUND] * 4, abs=5)
    assert (found.std < 30).all()


@pytest.mark.parametrize("width", [2, 40])
def test_wrapped_numbers_hidden_in_averages_do_not_count(tmp_path, width):
    band = np.random.default_rng(3).normal(GROUND, 20, (SIZE, SIZE)).astype(np.uint16)
    scl = np.full(band.shape, 4, np.uint8)
    band[:, 700 : 700 + width] = 64_800
    scl[:, 700 : 700 + width] = 6
    found = cache(tmp_path).statistics(make_scene(tmp_path, scl=scl, band=band))
    assert found.mean == pytest.approx([GROUND] * 4, abs=5)
    assert (found.std < 30).all()


@pytest.mark.parametrize("with_scl", [True, False])
@pytest.mark.parametrize("subtracted", [True, False])
def test_an_offset_is_subtracted_once(tmp_path, with_scl, subtracted):
    band = np.random.default_rng(3).normal(GROUND, 20, (300, 300)).astype(np.uint16)
    band[:100] = 1  # dark water may be at the floor
    scl = np.full(band.shape, 4, np.uint8)
    scl[:100] = 6
    scene = make_scene(tmp_path, scl=scl if with_scl else None, band=band + (0 if subtracted else 1000), offset=1000)
    if not with_scl:
        # Land reflects more near infrared than green.
        scene.assets["B08"] = write(tmp_path / "nir.tif", (band * 2 + (0 if subtracted else 1000)).astype("u2"), "COG")
        band_only = band + (0 if subtracted else 1000)
        band_only[:100] += 2
        scene.assets["B03"] = write(tmp_path / "green.tif", band_only, "COG")
    found = cache(tmp_path).statistics(scene)
    assert found.offset == (0 if subtracted else 1000)
    assert (found.floor_fraction > 0.05) == subtracted
    assert found.mean[1] == pytest.approx((band - 0.0).mean(), rel=0.02)
    assert cache(tmp_path).statistics(scene).offset == found.offset, "from the cache"


def test_too_little_land_decides_nothing():
    assert floor_fraction(np.full((4, 19), 500, np.uint16), offset=1000) == 0
    assert floor_fraction(np.full((4, 20), 500, np.uint16), offset=1000) == 1
    assert floor_fraction(np.full((4, 20), 500, np.uint16), offset=0) == 0
