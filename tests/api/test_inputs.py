"""Every input that does not fit is refused with what is expected and how to get it."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

import headwater as hw
from headwater.core.errors import InputError
from support.small_place import (
    COMPOSITE_GRID,
    PROBABILITY_GRID,
    elevation_array,
    image_array,
    probability_array,
    window,
)

IMAGE = window(image_array(COMPOSITE_GRID), (64, 64))
ELEVATION, PROBABILITY = elevation_array(), probability_array()


def refused(call, cause, remedy):
    with pytest.raises(InputError, match=cause) as caught:
        call()
    assert remedy in caught.value.remedy
    assert caught.value.exit_code == 2


COMPOSITES = {
    "an array without places": (IMAGE.values, "is a ndarray", "rioxarray.open_rasterio"),
    "floats": (IMAGE.astype("float32"), "holds float32; uint8", ".fillna(0).astype('uint8')"),
    "sixteen bits": (IMAGE.astype("uint16"), "holds uint16; uint8", ".astype('uint8')"),
    "three bands": (IMAGE[:3], "has the bands N, R, G; N, R, G, B are expected", ".assign_coords(band="),
    "other labels": (IMAGE.assign_coords(band=list("abcde")), "has the bands a, b, c, d, e", ".assign_coords(band="),
    "one band": (IMAGE[0], "has dimensions y, x; band, y, x", "stack its bands"),
    "other dimensions": (IMAGE.rename(y="latitude"), "has dimensions band, latitude, x", "Rename"),
    "no coordinates": (IMAGE.drop_vars(["x", "y"]), "y and x with coordinates are expected", "rioxarray"),
    "no CRS": (IMAGE.drop_vars("spatial_ref"), "no coordinate reference system", ".rio.write_crs('EPSG:4326')"),
    "another CRS": (IMAGE.rio.write_crs("EPSG:32632"), "EPSG:32632; EPSG:4326", ".rio.reproject('EPSG:4326')"),
    "upside down": (IMAGE.isel(y=slice(None, None, -1)), "from south to north", ".sortby('y', ascending=False)"),
    "irregular": (IMAGE.isel(x=[0, 1, 2, 4, 9]), "not a regular grid", "rioxarray.open_rasterio"),
    "nothing": (IMAGE[:, :0], "has no pixels", "Select an area"),
}


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("verb", [hw.predict, hw.channels])
def test_a_composite_that_does_not_fit(verb, name):
    image, cause, remedy = COMPOSITES[name]
    refused(lambda: verb(image, ELEVATION), cause, remedy)


ELEVATIONS = {
    "an array without places": (ELEVATION.values, "is a ndarray", "rioxarray.open_rasterio"),
    "two bands": (xr.concat([ELEVATION, ELEVATION], "band"), "has dimensions band, y, x", "Select one band"),
    "text": (ELEVATION.astype(str), "not numbers", ".astype('float32')"),
    "another CRS": (ELEVATION.rio.write_crs("EPSG:32632"), "EPSG:32632; EPSG:4326", ".rio.reproject"),
    "elsewhere": (ELEVATION.assign_coords(x=ELEVATION.x + 3), "does not cover any", "of one place"),
}


@pytest.mark.parametrize("name", ELEVATIONS)
@pytest.mark.parametrize("verb", [hw.predict, hw.channels])
def test_an_elevation_that_does_not_fit(verb, name):
    elevation, cause, remedy = ELEVATIONS[name]
    refused(lambda: verb(IMAGE, elevation), cause, remedy)


def test_an_odd_number_of_rows(weights):
    for image in (IMAGE[:, :63], IMAGE[:, :63].chunk(y=10)):
        refused(lambda image=image: hw.predict(image, ELEVATION, checkpoint=weights), "does not divide by 2", "even")


def test_files_that_do_not_exist(tmp_path, weights):
    refused(lambda: hw.predict(tmp_path / "no.tif", ELEVATION), "no.tif does not exist", "path of a raster")
    refused(lambda: hw.predict(IMAGE, str(tmp_path / "no.tif")), "no.tif does not exist", "path of a raster")
    refused(lambda: hw.load_checkpoint(tmp_path / "no.safetensors"), "does not exist", ".safetensors")
    refused(lambda: hw.predict(IMAGE, ELEVATION, checkpoint="no.safetensors"), "does not exist", ".safetensors")
    refused(lambda: hw.check_network(tmp_path / "no.parquet"), "does not exist", "GeoPackage or GeoParquet")


def test_unknown_names(weights):
    refused(lambda: hw.channels(IMAGE, ELEVATION, recipe="soup"), "no channel recipe 'soup'", "paper")
    refused(
        lambda: hw.predict(IMAGE, ELEVATION, checkpoint=weights, device="abacus"), "device must be auto, cpu", "setting"
    )
    refused(
        lambda: hw.predict(IMAGE, ELEVATION, checkpoint=weights, device="cpu", dtype="x"),
        "dtype must be auto, float32",
        "setting",
    )
    refused(lambda: hw.predict(IMAGE, ELEVATION, checkpoint=[]), "no network", "checkpoint")
    refused(
        lambda: hw.predict(IMAGE, ELEVATION, checkpoint=weights, device="cpu", tile_px=30),
        "tile_px must be a whole number",
        "setting",
    )


def test_unknown_elevation_is_nan_or_its_nodata_value(weights):
    image = IMAGE
    marked = ELEVATION.where(ELEVATION > 290)
    numbered = marked.fillna(-9999).rio.write_nodata(-9999)
    options = {"checkpoint": weights, "device": "cpu", "max_missing": 1.0}
    assert np.isnan(marked.rio.reproject_match(image)).any()
    nan = hw.predict(image, marked.rio.reproject_match(image), **options)
    number = hw.predict(image, marked.rio.reproject_match(image).fillna(-9999).rio.write_nodata(-9999), **options)
    xr.testing.assert_identical(nan, number)
    assert np.isnan(hw.channels(image, numbered, recipe="relief")).any()


PROBABILITIES = {
    "percent": (PROBABILITY * 100, "holds float32 outside of its range", "headwater.predict"),
    "whole numbers": ((PROBABILITY * 255).astype("int16"), "holds int16 outside of its range", "headwater.predict"),
    "another CRS": (PROBABILITY.rio.write_crs("EPSG:32632"), "EPSG:32632; EPSG:4326", ".rio.reproject"),
}


@pytest.fixture(scope="module")
def backbone():
    return hw.backbone_from_elevation(ELEVATION, min_area_km2=0.5)


@pytest.mark.parametrize("name", PROBABILITIES)
def test_a_probability_that_does_not_fit(name, backbone):
    probability, cause, remedy = PROBABILITIES[name]
    refused(lambda: hw.vectorize(probability, ELEVATION, backbone.reaches, backbone.catchments), cause, remedy)


def test_tables_that_do_not_fit(backbone):
    far = backbone.reaches.translate(10).to_frame("geometry")
    moved = backbone.reaches.set_geometry(far.geometry)
    refused(
        lambda: hw.vectorize(PROBABILITY, ELEVATION, moved, backbone.catchments),
        "are not in one place",
        "same place",
    )
    refused(
        lambda: hw.vectorize(PROBABILITY, ELEVATION, backbone.reaches.drop(columns="link_id"), backbone.catchments),
        "LINKNO", "",
    )  # fmt: skip
    refused(lambda: hw.check_network({"stream_id": [1]}), "is a dict; a GeoDataFrame", "geopandas")
    refused(lambda: hw.strahler_order(backbone.reaches), "no column stream_id", "published columns")


def test_a_backbone_without_a_reach():
    refused(
        lambda: hw.backbone_from_elevation(ELEVATION, min_area_km2=1e6), "No place in the basin drains", "min_area_km2"
    )
    refused(
        lambda: hw.backbone_from_elevation(ELEVATION, area=shapely.box(0, 0, 1, 1)), "No pixel of the area", "covers"
    )


AREAS = {
    "west of itself": ((12.0, 8.0, 11.9, 8.1), "is empty or not in degrees", "west below east"),
    "a point": (shapely.Point(12, 8), "is empty or not in degrees", "west below east"),
    "nothing": (shapely.Polygon(), "is empty", "west below east"),
    "meters": ((500000, 880000, 510000, 890000), "not in degrees", "EPSG:4326"),
    "no CRS": (gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)]), "no coordinate reference", ".set_crs"),
    "text": ("Tyrol", "is a str; bounds", "west, south, east, north"),
}


@pytest.mark.parametrize("name", AREAS)
def test_an_area_that_does_not_fit(name, items):
    area, cause, remedy = AREAS[name]
    refused(lambda: hw.composite(items, area), cause, remedy)


def test_items_that_do_not_fit(items, tmp_path):
    area = (11.96, 8.01, 11.961, 8.011)
    refused(lambda: hw.composite([], area), "no Sentinel-2 items", "Search")
    refused(lambda: hw.composite([1], area), "are not STAC items", "pystac")
    refused(lambda: hw.composite([{"id": "a"}], area), "are not STAC items", "items.parquet")
    refused(lambda: hw.composite(tmp_path / "no.parquet", area), "does not exist", "search")
    refused(lambda: hw.composite(items, (30.0, 8.0, 30.01, 8.01)), "No usable scene touches", "cover it")
    refused(lambda: hw.composite(items, area, method="loudest"), "method must be best_first, mean or median", "setting")
    refused(lambda: hw.composite(items, area, signing="forged"), "signing must be planetary_computer", "setting")


def test_the_grid_of_a_window_is_its_own():
    from headwater.raster.arrays import array_grid

    part = window(probability_array(PROBABILITY_GRID), (10, 12), (5, 7))
    grid = array_grid(part, "window")
    assert PROBABILITY_GRID.place_of(grid) == (5, 7)
    assert grid.shape == (10, 12)
