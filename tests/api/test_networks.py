"""vectorize, backbone_from_elevation, check_network and strahler_order against the functions of the workflow."""

import geopandas as gpd
import numpy as np
import pytest
from geopandas.testing import assert_geodataframe_equal
from shapely import box

import headwater as hw
from headwater.waterways.vectorize_step import vectorize as vectorize_step
from support.local_place import CELL
from support.small_place import elevation_array, probability_array, tdx_tables

ELEVATION, PROBABILITY = elevation_array(), probability_array()


@pytest.fixture(scope="module")
def backbone():
    return hw.backbone_from_elevation(ELEVATION, min_area_km2=0.5)


@pytest.fixture(scope="module")
def command(tmp_path_factory, paths, backbone):
    """The network that the command writes of the same files."""
    folder = tmp_path_factory.mktemp("command")
    streams, catchments = tdx_tables(backbone)
    streams.to_parquet(folder / "streams.parquet")
    catchments.to_parquet(folder / "catchments.parquet")
    vectorize_step(
        paths["probability"], paths["elevation"], folder / "streams.parquet", folder / "catchments.parquet",
        folder / "network.parquet", basin_id="7020038340",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("form", ["paths", "arrays", "bytes", "lazy", "backbone"])
def test_vectorize_equals_the_command(form, command, paths, backbone):
    streams, catchments = tdx_tables(backbone)
    files = (command / "streams.parquet", str(command / "catchments.parquet"))
    given = {
        "paths": (paths["probability"], str(paths["elevation"]), *files),
        "arrays": (PROBABILITY, ELEVATION, streams, catchments),
        "bytes": (PROBABILITY.copy(data=water_values()), paths["elevation"], *files),
        "lazy": (PROBABILITY.chunk(y=77, x=100), ELEVATION.chunk(y=50, x=31), streams, catchments),
        "backbone": (PROBABILITY, ELEVATION, backbone.reaches, backbone.catchments),
    }[form]
    made = hw.vectorize(*given, basin_id="7020038340")
    expected = gpd.read_parquet(command / "network.parquet")
    assert len(expected) > len(backbone.reaches)
    assert_geodataframe_equal(as_read(made), as_read(expected))


def water_values():
    return np.rint(PROBABILITY.values * 255).astype(np.uint8)


def as_read(network):
    """A network with plain lists, as a file is read."""
    lists = [list(map(int, ids)) for ids in network["source_stream_ids"]]
    made = network.drop(columns=[name for name in ("bbox", "source_stream_ids") if name in network.columns])
    made = made.assign(source_stream_ids=lists, basin_id=made["basin_id"].astype(str))
    return made.reset_index(drop=True)


def test_a_backbone_from_elevation_is_that_of_the_step(backbone, results):
    basin = hw.open_basin(results)
    assert (np.sort(backbone.reaches.length_m) == np.sort(basin.reaches.length_m)).all()
    assert backbone.reaches.crs.to_epsg() == 4326


def test_a_backbone_ends_at_the_area():
    west, south, east, north = CELL.bounds
    area = box(west, (south + north) / 2, east, north)
    inside = hw.backbone_from_elevation(ELEVATION, min_area_km2=0.5, area=area)
    assert inside.reaches.total_bounds[1] >= (south + north) / 2 - 0.001
    table = gpd.GeoDataFrame(geometry=[area], crs="EPSG:4326").to_crs("EPSG:3857")
    assert len(hw.backbone_from_elevation(ELEVATION, min_area_km2=0.5, area=table).reaches) == len(inside.reaches)


def test_a_lazy_elevation_gives_the_same_backbone(backbone):
    lazy = hw.backbone_from_elevation(ELEVATION.chunk(y=40), min_area_km2=0.5)
    assert_geodataframe_equal(lazy.reaches, backbone.reaches)


def test_checks_and_orders_of_a_table_or_a_path(results):
    basin = hw.open_basin(results)
    for network, reaches in (
        (basin.network, basin.reaches),
        (results / "waterways.parquet", str(results / "reaches.parquet")),
    ):
        checks = hw.check_network(network, reaches)
        assert checks["faults"] == 0
        assert checks["segments"] == len(basin.network)
        orders = hw.strahler_order(network, reaches)
        assert orders.dtype == np.int32
        assert (orders == basin.network.strahler_order).all()


def test_a_wrong_order_is_found(results):
    network = hw.open_basin(results).network.copy()
    network["strahler_order"] += 1
    assert hw.check_network(network)["laws"]["strahler order is right"]["faults"] == len(network)
