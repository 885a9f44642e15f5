import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.report.tables import order_by_source, summary_table

rows = st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.booleans(), st.floats(0, 1e6)), min_size=1, max_size=50)


def network(values):
    order, backbone, lake, length = zip(*values, strict=True)
    return pd.DataFrame(
        {
            "basin_id": "7",
            "strahler_order": np.array(order, np.int32),
            "from_tdx": backbone,
            "intersects_lake": lake,
            "length_m": length,
        }
    )


@given(rows)
def test_no_length_and_no_segment_is_lost(values):
    table = network(values)
    summary = summary_table(table)
    assert summary["length_km"].sum() == pytest.approx(table["length_m"].sum() / 1000, abs=1e-3 * len(summary))
    assert summary["segments"].sum() == len(table)
    assert not summary.duplicated(["strahler_order", "source", "intersects_lake"]).any()
    shown = order_by_source(summary)
    assert shown.loc["all", "all"] == pytest.approx(summary["length_km"].sum(), abs=1e-6)


def test_all_columns_exist_when_nothing_new_was_found():
    shown = order_by_source(summary_table(network([(1, True, False, 1500.0)])))
    assert shown["new"].tolist() == [0.0, 0.0]
    assert shown.loc[1, "backbone"] == 1.5
