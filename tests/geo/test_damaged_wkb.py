from contextlib import suppress

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.geo.damaged_wkb import repair_wkb

LINE = 2
SHAPES = [
    "POINT (1 2)",
    "LINESTRING (0 0, 1 1, 2 0)",
    "LINESTRING Z (0 0 1, 1 1 2)",
    "POLYGON ((0 0, 4 0, 4 4, 0 0), (1 0.5, 2 0.5, 2 1, 1 0.5))",
    "POLYGON ZM ((0 0 1 2, 1 0 1 2, 1 1 1 2, 0 0 1 2))",
    "POLYGON EMPTY",
    "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
    "GEOMETRYCOLLECTION (POINT (1 2), MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0))), LINESTRING (0 0, 1 1))",
]


@given(st.sampled_from(SHAPES), st.sampled_from([0, 1]), st.sampled_from(["iso", "extended"]))
def test_a_sound_shape_stays_as_it_is(text, order, flavor):
    extended = flavor == "extended"
    shape = shapely.set_srid(shapely.from_wkt(text), 4326)
    wkb = shapely.to_wkb(shape, output_dimension=4, byte_order=order, flavor=flavor, include_srid=extended)
    assert repair_wkb(wkb) == wkb


def test_lines_of_one_vertex_and_open_rings_are_repaired_at_any_depth():
    line, ring = [(1.0, 2.0)], [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]

    def counted(points):
        return len(points).to_bytes(4, "little") + np.array(points).tobytes()

    def shape(kind, *parts):
        count = b"" if kind == LINE else len(parts).to_bytes(4, "little")
        return b"\x01" + kind.to_bytes(4, "little") + count + b"".join(parts)

    damaged = shape(7, shape(5, shape(LINE, counted(line))), shape(6, shape(3, counted(ring))))
    with pytest.raises(shapely.errors.GEOSException):
        shapely.from_wkb(damaged)
    expected = "GEOMETRYCOLLECTION (MULTILINESTRING ((1 2, 1 2)), MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0))))"
    assert shapely.from_wkb(repair_wkb(damaged)) == shapely.from_wkt(expected)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_kept(wkb):
    with suppress(ValueError):
        repair_wkb(wkb)
