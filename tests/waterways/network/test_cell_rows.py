"""Two rows of cells have other pixels, and may both draw the water at their border."""

import geopandas as gpd
import numpy as np
from shapely.geometry import LineString

from headwater.waterways.network.cell_rows import without_border_crossings
from headwater.waterways.windows import lattice_numbers


def table_of(*rows):
    """Return segments from (link, local index, downstream index, of the reach, points)."""
    link, local, downstream, of_reach, points = zip(*rows, strict=True)
    lines = [LineString(each) for each in points]
    columns = {"link_id": link, "local_index": local, "downstream_index": downstream, "from_backbone": of_reach}
    return gpd.GeoDataFrame(columns | {"length_m": [line.length for line in lines]}, geometry=lines, crs=4326)


REACHES = [(1, 0, -1, True, [(0, 1), (9, 1)]), (2, 0, -1, True, [(0, -1), (9, -1)])]
LONG = [(1, 1, 0, False, [(5, 0.2), (5, 1)]), (1, 2, 1, False, [(3, -0.4), (4, 0.1), (5, 0.2)])]
SHORT = [(2, 1, 0, False, [(4, -0.3), (4, -1)]), (2, 2, 1, False, [(4.1, 0.2), (4, -0.3)])]


def left(table, *cells):
    kept = without_border_crossings(table, lattice_numbers(np.array(cells, dtype=object)))
    return sorted(zip(kept["link_id"], kept["local_index"], strict=True))


def test_of_two_lines_that_cross_the_one_with_less_upstream_goes_with_its_upstream():
    rows = [*REACHES, *LONG, *SHORT]
    cells = ["N29.0E041.8" if row[0] == 1 else "N28.9E041.9" for row in rows]
    expected = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]
    assert left(table_of(*rows), *cells) == expected
    # Whatever their order.
    assert left(table_of(*rows[::-1]), *cells[::-1]) == expected


def test_what_flows_into_a_line_that_goes_goes_too():
    crossing = (2, 1, 0, False, [(3.5, 0.1), (4, -1)])
    beyond = (2, 2, 1, False, [(3.5, 0.4), (3.5, 0.1)])
    rows = [*REACHES, *LONG, crossing, beyond]
    cells = ["N29.0E041.8" if row[0] == 1 else "N28.9E041.9" for row in rows]
    assert left(table_of(*rows), *cells) == [(1, 0), (1, 1), (1, 2), (2, 0)]


def test_the_same_line_twice_stays_once():
    copy = (2, 1, 0, False, [(3, -0.4), (4, 0.1), (5, 0.2)])
    rows = [*REACHES, *LONG, copy]
    cells = ["N29.0E041.8" if row[0] == 1 else "N28.9E041.9" for row in rows]
    assert left(table_of(*rows), *cells) == [(1, 0), (1, 1), (1, 2), (2, 0)]


def test_within_a_row_nothing_is_left_out():
    rows = [*REACHES, *LONG, *SHORT]
    assert len(left(table_of(*rows), *["N29.0E041.8" if row[0] == 1 else "N29.0W041.9" for row in rows])) == 6
