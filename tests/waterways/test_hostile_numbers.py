"""Numbers of files that would make a kernel read or write memory that is not its own."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.elevations import MAX_ELEVATION_M, MIN_ELEVATION_M, in_range, is_elevation, refuse_no_elevation
from headwater.core.errors import InputError
from headwater.geo.grid import RasterGrid
from headwater.waterways.backbone.dem import dem_backbone
from headwater.waterways.blocks import Part, Rasters, part_vectors
from headwater.waterways.lines.burn import burn_line, cells_of_lines, label_polygons
from headwater.waterways.lines.components import find_components
from headwater.waterways.lines.connect import connect
from headwater.waterways.orders import forest_orders
from headwater.waterways.settings import VectorizeSettings
from support.small_windows import windows

GRID = RasterGrid(west=0.0, north=0.0, dx=1.0, dy=1.0, width=8, height=8)
NUMBERS = st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, 1.0])


@given(windows(), NUMBERS, NUMBERS, NUMBERS)
def test_no_cost_and_no_elevation_ends_the_search_of_paths_with_a_signal(window, cost, height, limit):
    elevation, costs = window.elevation.copy(), np.ones(window.grid.shape, np.float32)
    components = find_components(window.water, window.elevation, window.labels)
    costs[window.random.random(costs.shape) < 0.3] = cost
    elevation[window.random.random(costs.shape) < 0.3] = height
    max_cost = np.full(len(components.label), limit, np.float32)
    with np.errstate(all="ignore"):
        joined = connect(costs, elevation, window.labels, components, max_cost=max_cost)
    assert not joined[window.labels.catchment < 0].any()


@pytest.mark.parametrize("target", [[1, 5], [-2, 0], [2**40, 0], [-(2**60), -1]])
def test_a_row_that_flows_out_of_the_table_is_refused(target):
    with pytest.raises(InputError, match="refers to row"):
        forest_orders(np.array(target), np.zeros(2, np.int32))


@pytest.mark.parametrize("far", [np.nan, np.inf, 1e300, -1e300, 1e9])
def test_lines_and_polygons_nowhere_near_the_raster_are_refused(far):
    points = np.array([[1.0, 1.0], [far, 2.0], [3.0, 3.0]])
    with np.errstate(invalid="ignore"):
        line = shapely.linestrings(points)
        polygon = shapely.polygons(np.vstack([points, points[:1]]))
    with pytest.raises(InputError, match="pixels from the raster"):
        cells_of_lines(np.array([line]), GRID)
    with pytest.raises(InputError, match="pixels from the raster"):
        burn_line(points, GRID.shape)
    with pytest.raises(InputError, match="pixels from the raster"):
        label_polygons(np.array([polygon]), np.array([0]), GRID, -1)
    assert len(burn_line(np.zeros((0, 2)), GRID.shape)) == 0


def test_a_catchment_of_a_reach_that_is_not_there_is_refused():
    reaches = gpd.GeoDataFrame(
        {"link_id": [4], "downstream_link_id": [-1]}, geometry=[shapely.LineString([(1, -1), (5, -5)])], crs=4326
    )
    catchments = gpd.GeoDataFrame({"link_id": [4, 7]}, geometry=[shapely.box(0, -6, 6, 0)] * 2, crs=4326)
    part = Part(reaches, catchments, np.ones(1, bool))
    with pytest.raises(InputError, match="catchment of link 7, but no such reach"):
        part_vectors(Rasters((), (), GRID), VectorizeSettings(), part)


@given(st.lists(st.floats(width=32, allow_subnormal=False), min_size=1, max_size=6))
def test_elevations_outside_of_their_range_are_refused_and_unknown_ones_are_not(values):
    array = np.array(values, np.float32)
    known = array[~np.isnan(array)]
    fits = bool(((known >= MIN_ELEVATION_M) & (known <= MAX_ELEVATION_M)).all())
    assert in_range(array) == (fits and len(known) == len(array))
    assert is_elevation(array).sum() == ((known >= MIN_ELEVATION_M) & (known <= MAX_ELEVATION_M)).sum()
    if fits:
        refuse_no_elevation(array, "The model")
    else:
        with pytest.raises(InputError, match=r"The model holds .* not an elevation in meters"):
            refuse_no_elevation(array, "The model")


def test_a_backbone_is_not_made_of_what_cannot_be_an_elevation():
    heights = np.add.outer(np.arange(40.0), np.zeros(40)).astype(np.float32)
    inside = np.ones(heights.shape, bool)
    heights[3, 3], inside[3, 3] = -32768, False
    grid = RasterGrid(west=10.0, north=5.0, dx=1 / 3600, dy=1 / 3600, width=40, height=40)
    assert len(dem_backbone(heights, inside, grid, min_area_km2=0.01).reaches)
    inside[3, 3] = True
    with pytest.raises(InputError, match="holds -32768, which is not an elevation"):
        dem_backbone(heights, inside, grid, min_area_km2=0.01)
