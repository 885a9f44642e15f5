"""Types of found waterways."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, box

from headwater.evaluate.line_types import NAMES, main_type, type_lengths
from headwater.evaluate.nhd import read_nhd
from headwater.geo.geodesy import geodesic_length_m

NHD = gpd.GeoDataFrame(
    {"water_type": [8, 15, 16, 18]},
    geometry=[
        box(10.010, 0, 10.020, 0.001),
        LineString([(10.03, -0.01), (10.03, 0.01)]),
        LineString([(10.010, 0.0005), (10.020, 0.0005)]),
        LineString([(10.0, 0), (10.010, 0)]),
    ],
    crs=4326,
)


def series(*lines):
    return gpd.GeoSeries([LineString(line) for line in lines], index=range(5, 5 + len(lines)), crs=4326)


def test_vertices_take_the_nearest_feature_within_reach():
    lines = series(
        [(10.002, 0.0005), (10.004, 0.0005)],  # along the stream
        [(10.012, 0.0005), (10.014, 0.0005)],  # in the lake and on the path through it: the path is burned last
        [(10.002, 0.0011), (10.004, 0.0011)],  # out of reach
        [(10.002, 0.0), (10.004, 0.0), (10.004, 0.002), (10.004, 0.003)],
    )
    lengths = type_lengths(lines, NHD)
    assert main_type(lengths).tolist() == ["intermittent stream", "artificial path", "unknown", "intermittent stream"]
    assert main_type(lengths).index.tolist() == [5, 6, 7, 8]
    last = lengths.loc[8]
    edge = geodesic_length_m(np.array([LineString([(10.004, 0), (10.004, 0.002)])], object))[0]
    assert last["unknown"] == pytest.approx(edge / 2 + edge / 2, rel=1e-6)
    assert list(lengths.columns) == list(NAMES)


def test_without_features_all_is_unknown():
    lengths = type_lengths(series([(0, 0), (1, 1)]), NHD.iloc[:0])
    assert main_type(lengths).tolist() == ["unknown"]
    assert type_lengths(series(), NHD).shape == (0, 22)


points = st.tuples(st.floats(10, 10.03), st.floats(-0.002, 0.002))


@given(st.lists(st.lists(points, min_size=2, max_size=5), min_size=1, max_size=4))
def test_lengths_add_up_and_are_those_of_a_plain_search(coordinates):
    lines = series(*coordinates)
    lengths = type_lengths(lines, NHD)
    assert lengths.sum(axis=1).to_numpy() == pytest.approx(geodesic_length_m(lines.to_numpy()))
    for k, line in enumerate(lines):
        near = set()
        for point in shapely.points(line.coords):
            distance = shapely.distance(point, NHD.geometry.to_numpy())
            types = NHD["water_type"].to_numpy()[(distance == distance.min()) & (distance <= 0.001)]
            near.add(types.max() if len(types) else 0)
        assert set(np.flatnonzero(lengths.iloc[k])) <= near


def test_the_gap_between_parts_has_no_length():
    parts = [LineString([(10.002, 0), (10.004, 0)]), LineString([(10.03, 0), (10.03, 0.001)])]
    lengths = type_lengths(gpd.GeoSeries([shapely.MultiLineString(parts)], crs=4326), NHD).iloc[0]
    meters = geodesic_length_m(np.array(parts, object))
    assert lengths[["intermittent stream", "canal"]].tolist() == pytest.approx(meters.tolist())


@pytest.mark.real
def test_real_flowlines_find_their_own_type(shared_data):
    features = read_nhd(shared_data / "nhdplus-new-hope/new_hope.gpkg")
    lines = features[features.geometry.geom_type.str.contains("Line")]
    found = main_type(type_lengths(lines.geometry, features))
    own = lines["water_type"].map(lambda number: NAMES[number])
    # At the ends other types are as near.
    assert (found == own).mean() > 0.97
    assert (found != "unknown").all()
