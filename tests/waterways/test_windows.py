import geopandas as gpd
import numpy as np
import pytest
import shapely

from headwater.geo.grid import RasterGrid, Tile
from headwater.waterways.windows import catchment_bounds, union_tile, with_rings

DX = 1 / 5400
GRID = RasterGrid(west=10.0, north=5.0, dx=DX, dy=DX, width=100, height=100)


def test_bounds_hold_the_reach_too():
    west, south, east, north = catchment_bounds(
        shapely.box(10, 4, 11, 5), shapely.LineString([(10.5, 4.5), (11.5, 4.5)]), GRID
    )
    assert west < 10 - 0.005
    assert east > 11.505
    assert (south, north) == pytest.approx((4 - 0.005 - 2 * DX, 5.005 + 2 * DX))


def test_the_tile_of_nothing_is_empty_and_others_hold_their_shapes():
    assert union_tile(np.array([], dtype=object), GRID, margin_px=3) == Tile(0, 0, 0, 0)
    shape = shapely.box(10 + 2.5 * DX, 5 - 9.5 * DX, 10 + 4.5 * DX, 5 - 7.5 * DX)
    assert union_tile(np.array([shape]), GRID, margin_px=1) == Tile(6, 1, 5, 5)


def test_rings_grow_over_what_touches():
    squares = gpd.GeoDataFrame({"link_id": range(5)}, geometry=[shapely.box(i, 0, i + 1, 1) for i in range(5)])
    own = np.array([True, False, False, False, False])
    assert with_rings(squares, own, 0).tolist() == own.tolist()
    assert with_rings(squares, own, 2).tolist() == [True, True, True, False, False]
