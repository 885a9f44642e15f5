import numpy as np
import pytest
import shapely

from headwater.core.errors import WorkError
from headwater.waterways.segments import MAX_SEGMENTS, SEGMENT_COLUMNS, Segments, segment_table, whole_reach

LINE = shapely.LineString([(0, 0), (0, 1)])


def test_a_table_of_nothing():
    empty = segment_table([])
    assert len(empty) == 0
    assert empty.crs == "EPSG:4326"
    assert list(empty.columns) == list(SEGMENT_COLUMNS)


def test_local_ids_count_within_a_link():
    two = Segments([LINE, LINE], np.array([True, False]), np.array([-1, 0]), np.array([0.5, 0.5]), 0.0, 4, 1)
    table = segment_table([(7, two), (3, whole_reach(LINE))])
    assert table["link_id"].tolist() == [7, 7, 3]
    assert table["local_index"].tolist() == [0, 1, 0]
    assert table["dropped_px"].tolist() == [1, 1, 0]
    assert np.isnan(table["mean_probability"][2])


def test_more_segments_than_ids_have_digits_for_are_refused():
    count = MAX_SEGMENTS + 1
    many = Segments([LINE] * count, np.ones(count, bool), np.full(count, -1), np.zeros(count), 0.0)
    with pytest.raises(WorkError, match="Link 7 has 100001 segments"):
        segment_table([(7, many)])
