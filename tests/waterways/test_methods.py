"""What both methods, ours and the published one, find alike in one catchment."""

import numpy as np
import pytest
import shapely

from support.methods import as_published, by_components
from support.valleys import DX, valley

pytestmark = pytest.mark.parametrize("vectorize", [by_components, as_published])


def test_a_side_stream_joins_the_reach_where_it_meets_it(vectorize):
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert segments["from_backbone"].tolist() == [True, True, False]
    assert segments["downstream_index"].tolist() == [1, -1, 1]
    upper, lower, new = segments.geometry
    assert new.coords[-1] == lower.coords[0] == upper.coords[-1]
    assert new.coords[0] == pytest.approx((grid.west + 32.5 * DX, grid.north - 45.5 * DX))
    # Straight: the cells between its ends are no vertices.
    assert len(new.coords) <= 4
    assert segments["mean_probability"][2] == pytest.approx(0.9, abs=0.002)
    assert segments["missing_share"].tolist() == [0, 0, 0]


def test_nothing_found_leaves_the_reach_uncut(vectorize):
    segments = vectorize(*valley())
    assert len(segments) == 1
    assert segments["downstream_index"].tolist() == [-1]


def test_data_that_are_missing_are_no_signal(vectorize):
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    probability[:, :50] = np.nan
    elevation[:, :40] = np.nan
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert len(segments) == 1
    assert segments["missing_share"][0] == pytest.approx(0.5, abs=0.03)
    probability[:] = np.nan
    elevation[:] = np.nan
    nothing = vectorize(grid, elevation, probability, reach, catchment)
    assert nothing["missing_share"].tolist() == [1]
    assert np.isnan(nothing["mean_probability"]).all()


def test_all_polygons_of_a_catchment_count(vectorize):
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    probability[60, 32:50] = 0.9
    west, south, east, north = catchment.bounds
    cut = grid.north - 52 * DX
    two = shapely.multipolygons([shapely.box(west, cut + 2 * DX, east, north), shapely.box(west, south, east, cut)])
    assert len(vectorize(grid, elevation, probability, reach, two)) == 5


@pytest.mark.parametrize("flows_on", [True, False])
def test_a_stream_at_the_tail(vectorize, flows_on):
    grid, elevation, probability, reach, catchment = valley()
    probability[69, 32:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment, flows_on=flows_on)
    new = segments.geometry.iloc[-1]
    if flows_on:
        # The reach ends in the middle of that row: the stream joins the head of the next link.
        assert segments["downstream_index"].tolist() == [-1, -1]
        assert new.coords[-1] == reach.coords[-1]
    else:
        assert segments["downstream_index"].tolist() == [1, -1, 1]
        assert segments.geometry[1].coords[-1] == reach.coords[-1]
