"""Each reader of tables with each defect: the same result, a stated rule, or a refusal that names the cause."""

import io
import re
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.waterways.backbone.tdx_files import read_tdx
from headwater.waterways.network.lakes import meets_lake
from headwater.waterways.network_step import check
from support.table_defects import defects_of, write_table

W, S, D = 10.0, 50.0, 0.04
NODE = (W + D / 2, S + D / 2)
LINES = [
    shapely.LineString([(W + D / 4, S + 0.9 * D), (W + D / 4, S + 0.6 * D), NODE]),
    shapely.LineString([(W + 3 * D / 4, S + 0.9 * D), (W + 3 * D / 4, S + 0.6 * D), NODE]),
    shapely.LineString([NODE, (NODE[0], S + D / 4), (NODE[0], S)]),
]
"""Two streams meet and flow on to the south."""
# Neither a smaller seed nor another defect is a simpler example.
EXAMPLES = settings(max_examples=max(50, settings().max_examples), phases=(Phase.explicit, Phase.generate))


def streams():
    return gpd.GeoDataFrame(
        {"LINKNO": [1, 2, 3], "DSLINKNO": [3, 3, -1], "strmOrder": [1, 1, 2], "DSContArea": [3e6, 3e6, 1e7]},
        geometry=LINES,
        crs=4326,
    )


def catchments():
    west, east = shapely.box(W, NODE[1], NODE[0], S + D), shapely.box(NODE[0], NODE[1], W + D, S + D)
    shapes = [west, east, shapely.box(W, S, W + D, NODE[1])]
    return gpd.GeoDataFrame({"streamID": [1, 2, 3]}, geometry=shapes, crs=4326)


def lakes():
    boxes = [shapely.box(W + D / 5, S + 0.7 * D, W + D / 3, S + 0.8 * D), shapely.box(50, 50, 51, 51)]
    return gpd.GeoDataFrame({"Hylak_id": [5, 6]}, geometry=boxes, crs=4326)


def network():
    return gpd.GeoDataFrame(
        {
            "stream_id": [10, 20, 30],
            "target_stream_id": [30, 30, -1],
            "source_stream_ids": ["[]", "[]", "[10, 20]"],
            "strahler_order": [1, 1, 2],
            "from_tdx": [True, False, True],
        },
        geometry=LINES,
        crs=4326,
    )


def same_backbone(one, other):
    tables = [made.reaches.sort_values("link_id", ignore_index=True) for made in (one, other)]
    for column in ("link_id", "downstream_link_id", "strahler_order", "has_catchment", "upstream_outside"):
        assert tables[0][column].tolist() == tables[1][column].tolist()
    assert tables[0]["upstream_area_km2"].tolist() == tables[1]["upstream_area_km2"].tolist()
    lines = [table.geometry.to_numpy() for table in tables]
    assert shapely.equals_exact(*lines, 1e-7).all()
    shapes = [made.catchments.sort_values("link_id").geometry.to_numpy() for made in (one, other)]
    assert shapely.area(shapely.symmetric_difference(*shapes)).max() < 1e-8


def outcome(written, read, same):
    """Read a file with a defect, and hold it against what must come of it."""
    stderr, refusal = io.StringIO(), None
    try:
        with redirect_stderr(stderr):
            result = read(written.path)
    except InputError as error:
        refusal = error
    if refusal is not None:
        assert written.expected is None, refusal
        assert re.search(str(written.named), refusal.cause), refusal.cause
        assert refusal.cause.endswith(".")
        assert refusal.remedy.endswith(".")
        return
    assert written.expected is not None, "used although it is wrong"
    assert written.said in stderr.getvalue()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        same(result, read(write_table(written.expected, Path(folder))))


def try_streams(defect, seed):
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        catchments().to_parquet(there / "catchments.parquet")
        written = defect.write(streams(), there, np.random.default_rng(seed))
        outcome(written, lambda path: read_tdx(path, there / "catchments.parquet"), same_backbone)


def try_catchments(defect, seed):
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        streams().to_parquet(there / "streams.parquet")
        written = defect.write(catchments(), there, np.random.default_rng(seed))
        bounds = (W, S, W + D, S + D) if seed % 2 else None
        if bounds and written.said == "without geometry":
            # Rows that are found by box need not be read where they have none.
            written = replace(written, said="")
        outcome(written, lambda path: read_tdx(there / "streams.parquet", path, bounds=bounds), same_backbone)


def try_lakes(defect, seed):
    def same(one, other):
        assert one.tolist() == other.tolist() == [True, False, False]

    with tempfile.TemporaryDirectory() as folder:
        written = defect.write(lakes(), Path(folder), np.random.default_rng(seed))
        outcome(written, lambda path: meets_lake(np.array(LINES), path), same)


def try_network(defect, seed):
    """A violation, with exit code 1 and the id, is a refusal too."""
    printed = io.StringIO()

    def read(path):
        with redirect_stdout(printed):
            faults = check(path)
        if not faults:
            return 0
        counted = re.findall(r"^(.{36}) +([1-9]\d*)  ", printed.getvalue(), re.MULTILINE)
        assert len(counted) == 1, f"one cause is counted once: {printed.getvalue()}"
        raise InputError(printed.getvalue().strip() + ".", "Correct it.")

    with tempfile.TemporaryDirectory() as folder:
        written = defect.write(network(), Path(folder), np.random.default_rng(seed))
        outcome(written, read, lambda one, other: None)


TRIES = {"streams": try_streams, "catchments": try_catchments, "lakes": try_lakes, "network": try_network}


@pytest.mark.parametrize("reader", TRIES)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@EXAMPLES
def test_a_table_with_a_random_defect_is_used_rightly_or_refused(reader, data, seed):
    defect = data.draw(st.sampled_from(defects_of(reader)))
    TRIES[reader](defect, seed)


@pytest.mark.parametrize(
    ("reader", "defect"),
    [pytest.param(reader, each, id=f"{reader}-{each.name}") for reader in TRIES for each in defects_of(reader)],
)
def test_each_defect_is_used_rightly_or_refused(reader, defect):
    TRIES[reader](defect, 1)


@pytest.mark.parametrize(("reader", "seed"), [("lakes", 46285), ("catchments", 2**32 - 1)])
def test_a_table_of_which_a_part_is_read_is_refused_where_the_rest_is_cut_off(reader, seed):
    """FlatGeobuf finds rows by box, so that nothing else notices that later ones are missing."""
    cut_off = next(each for each in defects_of(reader) if each.name == "cut_off")
    TRIES[reader](cut_off, seed)
