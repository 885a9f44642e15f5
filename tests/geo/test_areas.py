"""Areas that users name: each way gives the same grid, and what is not in degrees is refused."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.geo.areas import area_polygon, grid_of_area

DEFECTS = {
    "meters": lambda box: tuple(edge * 111_195 for edge in box),
    "swapped corners": lambda box: (box[2], box[3], box[0], box[1]),
    "swapped axes": lambda box: (box[1], box[0], box[3], box[2]),
    "NaN": lambda box: (np.nan, *box[1:]),
    "infinity": lambda box: (*box[:3], np.inf),
    "no width": lambda box: (box[0], box[1], box[0], box[3]),
}


@given(st.floats(91, 170), st.floats(-80, 80), st.sampled_from(["none", *DEFECTS]))
def test_a_defect_of_an_area_is_refused(west, south, defect):
    bounds = (west, south, west + 0.1, south + 0.05)
    if defect != "none":
        with pytest.raises(InputError, match="empty or not in degrees"):
            grid_of_area(DEFECTS[defect](bounds))
        return
    grid = grid_of_area(bounds)
    shape = shapely.box(*bounds)
    assert grid_of_area(shape) == grid
    assert grid_of_area(gpd.GeoSeries([shape], crs=4326)) == grid
    assert grid.bounds[0] <= west < grid.bounds[0] + 2.1 * grid.dx


def test_a_geometry_in_meters_or_without_a_place_is_refused():
    with pytest.raises(InputError, match=r"its bounds are 500000, "):
        area_polygon(shapely.box(500_000, 4_000_000, 510_000, 4_010_000))
    with pytest.raises(InputError, match="The area is empty"):
        area_polygon(shapely.Polygon())
    with pytest.raises(InputError, match="no coordinate reference system"):
        area_polygon(gpd.GeoSeries([shapely.box(0, 0, 1, 1)]))
