import numpy as np
import pytest
import shapely

from headwater.geo.geodesy import GEOD, geodesic_length_m


def test_a_degree_of_the_equator_and_of_a_meridian():
    lines = np.array([shapely.LineString([(10, 0), (11, 0)]), shapely.LineString([(10, 0), (10, 1)])])
    # WGS84: a/180*pi along the equator; 110,574 m for the first degree of a meridian.
    assert geodesic_length_m(lines) == pytest.approx([6378137 * np.pi / 180, 110574.39], abs=0.01)


def test_lines_do_not_leak_into_each_other():
    lines = np.array(
        [
            shapely.LineString([(0, 0), (0, 1), (0, 0)]),
            shapely.LineString([(50, 50), (50, 50)]),
            shapely.LineString(),
            None,
            shapely.LineString([(0, 0), (0, 1)]),
        ],
        dtype=object,
    )
    length = geodesic_length_m(lines)
    assert length[1:4].tolist() == [0, 0, 0]
    assert length[0] == pytest.approx(2 * length[4])
    assert len(geodesic_length_m(np.array([], dtype=object))) == 0


def test_short_steps_are_as_long_as_geodesics():
    rng = np.random.default_rng(3)
    start = np.column_stack([rng.uniform(-180, 180, 500), rng.uniform(-85, 85, 500)])
    end = start + rng.uniform(-0.003, 0.003, (500, 2))
    wanted = GEOD.inv(*start.T, *end.T)[2]
    assert geodesic_length_m(shapely.linestrings(np.stack([start, end], axis=1))) == pytest.approx(wanted, abs=1e-7)
