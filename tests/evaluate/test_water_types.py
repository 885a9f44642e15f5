"""NHD features to types to values on a grid."""

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapely import LineString, Polygon, box

from headwater.core.errors import InputError
from headwater.evaluate.nhd import TYPE_OF_FCODE, WATER_TYPES, read_nhd
from headwater.evaluate.tiles import count_tile
from headwater.evaluate.water_types import UNKNOWN_TYPE, burn_types, coarsen_types, values_of_types, water_and_counted
from headwater.geo.grid import RasterGrid

GRID = RasterGrid(west=10.0, north=5.0, dx=0.001, dy=0.001, width=20, height=10)


def features(*rows):
    types, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame({"water_type": types}, geometry=list(shapes), crs="EPSG:4326")


def at(column, row):
    """Center of a pixel."""
    return GRID.west + (column + 0.5) * GRID.dx, GRID.north - (row + 0.5) * GRID.dy


def test_the_table_of_types():
    assert list(WATER_TYPES) == list(range(1, 22))
    named = {name: (number, value) for number, (name, value) in WATER_TYPES.items()}
    assert named["playa"] == (1, 0)
    assert named["lake perennial"] == (8, 7)
    assert named["canal"] == (15, 0.5)
    assert named["ephemeral stream"] == (17, 7.5)
    assert named["perennial stream"] == (19, 6.5)
    assert named["other"] == (21, 1)


@pytest.mark.parametrize(
    ("fcode", "name"),
    [
        (46003, "intermittent stream"), (46006, "perennial stream"), (46007, "ephemeral stream"),
        (46000, "stream, other"),
        (33600, "canal"), (33601, "canal, aqueduct"), (33603, "canal, storm"), (55800, "artificial path"),
        (39000, "lake"), (39001, "lake intermittent"), (39004, "lake perennial"), (39009, "lake perennial"),
        (43600, "reservoir"), (43624, "reservoir"), (46600, "swamp"), (46601, "swamp intermittent"),
        (46602, "swamp perennial"), (36100, "playa"), (40300, "inundation area"), (45500, "spillway"),
        (46800, "drainage"), (48400, "wash"), (33400, "other"),
    ],
)  # fmt: skip
def test_feature_codes(fcode, name):
    assert WATER_TYPES[TYPE_OF_FCODE[fcode]][0] == name


@pytest.mark.parametrize("fcode", [56600, 34300, 42803, 44500])
def test_codes_that_are_no_waterway_have_no_type(fcode):
    assert fcode not in TYPE_OF_FCODE


def test_every_type_has_a_code():
    assert set(TYPE_OF_FCODE.values()) == set(WATER_TYPES)


def test_lines_are_one_pixel_wide_and_later_types_win():
    lake = box(*at(4, 7), *at(10, 2))
    path = LineString([at(0, 4), at(19, 4)])
    stream = LineString([at(15, 0), at(15, 9)])
    types = burn_types(features((19, stream), (16, path), (8, lake)), GRID)
    assert types.dtype == np.uint8
    np.testing.assert_array_equal(types[4], [16] * 15 + [19] + [16] * 4)
    np.testing.assert_array_equal(types[:, 15], 19)
    assert (types[3, 5:10] == 8).all()
    assert types[0, 0] == 0


def test_features_elsewhere_and_empty_ones_do_no_harm():
    far = LineString([(50, 50), (51, 51)])
    assert not burn_types(features((19, far), (8, Polygon())), GRID).any()


def test_values():
    types = np.array([[0, 15, 8, 17, UNKNOWN_TYPE]], dtype=np.uint8)
    np.testing.assert_array_equal(values_of_types(types), np.array([[0, 0.5, 7, 7.5, 0.5]], dtype=np.float32))


@given(hnp.arrays(np.uint8, (6, 8), elements=st.sampled_from([0, 1, 3, 8, 15, 19, 21, UNKNOWN_TYPE])))
def test_coarse_types_are_those_that_training_sees(types):
    coarse = coarsen_types(types)
    blocks = types.reshape(3, 2, 4, 2).swapaxes(1, 2).reshape(3, 4, 4)
    values = values_of_types(blocks)
    fine_water = (values >= 1).any(axis=2)
    np.testing.assert_array_equal(values_of_types(coarse) >= 1, fine_water)
    masked = ((values > 0) & (values < 1) & (blocks != UNKNOWN_TYPE)).any(axis=2) & ~fine_water
    np.testing.assert_array_equal((values_of_types(coarse) == 0.5) & (coarse != UNKNOWN_TYPE), masked)
    np.testing.assert_array_equal(coarse == UNKNOWN_TYPE, (blocks == UNKNOWN_TYPE).any(axis=2) & ~fine_water & ~masked)
    assert (coarse[..., None] == blocks).any(axis=2).all()
    np.testing.assert_array_equal(coarsen_types(types, 1), types)


@given(hnp.arrays(np.uint8, (6, 8), elements=st.sampled_from([0, 1, 3, 8, 15, 19, UNKNOWN_TYPE])))
def test_what_counts_in_training_is_what_the_double_starred_scores_count(types):
    water, counted = water_and_counted(types)
    tile = count_tile(np.zeros(water.shape, bool), coarsen_types(types))
    assert (tile.unmasked.false_negative, tile.unmasked.true_positive) == (water.sum(), 0)
    found = count_tile(~counted, coarsen_types(types))
    assert found.unmasked.false_positive == 0
    assert not (water & ~counted).any()


def test_coarse_types_need_sides_that_divide():
    with pytest.raises(ValueError, match="divide"):
        coarsen_types(np.zeros((3, 4), np.uint8))


def test_reads_all_layers_whatever_the_column_is_called(tmp_path):
    path = tmp_path / "nhd.gpkg"
    line = LineString([at(0, 4), at(19, 4)])
    flowline = gpd.GeoDataFrame({"FCode": [46006, 42803]}, geometry=[line, line], crs="EPSG:4326")
    area = gpd.GeoDataFrame({"FCODE": [39004]}, geometry=[box(*at(4, 7), *at(10, 2))], crs="EPSG:4326")
    flowline.to_file(path, layer="NHDFlowline")
    area.to_crs("EPSG:3857").to_file(path, layer="NHDWaterbody")
    table = read_nhd(path)
    assert table["water_type"].tolist() == [8, 19]
    types = burn_types(table, GRID)
    assert types[4, 7] == 19
    assert types[3, 7] == 8


def test_files_that_are_no_nhd_are_refused(tmp_path):
    other = tmp_path / "other.gpkg"
    table = gpd.GeoDataFrame({"a": [1]}, geometry=[LineString([(0, 0), (1, 1)])], crs="EPSG:4326")
    table.to_file(other, layer="roads")
    with pytest.raises(InputError, match="none of the layers"):
        read_nhd(other)
    table.to_file(other, layer="NHDArea")
    with pytest.raises(InputError, match="no column FCODE"):
        read_nhd(other)
    with pytest.raises(InputError, match="cannot be read"):
        read_nhd(tmp_path / "missing.gpkg")
