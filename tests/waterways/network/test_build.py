from itertools import pairwise

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError, WorkError
from headwater.geo.basins import tdx_header_numbers
from headwater.waterways.backbone.stream_columns import REACH_COLUMNS
from headwater.waterways.link_ids import region_header
from headwater.waterways.network.build import build_network, global_stream_ids, rows_of
from headwater.waterways.network.check import check_network
from headwater.waterways.network.columns import NETWORK_COLUMNS
from headwater.waterways.network.geoparquet import write_network
from headwater.waterways.segments import Segments, segment_table, whole_reach


def reaches_table(rows):
    """Rows of (link, downstream link, TDX order, upstream outside, cell, points)."""
    lines = [shapely.LineString(row[5]) for row in rows]
    table = gpd.GeoDataFrame(
        {
            "link_id": np.array([row[0] for row in rows], np.int64),
            "downstream_link_id": np.array([row[1] for row in rows], np.int64),
            "strahler_order": np.array([row[2] for row in rows], np.int32),
            "upstream_area_km2": 1.0,
            "length_m": 0.0,
            "has_catchment": True,
            "upstream_outside": [row[3] for row in rows],
            "upstream_cut": False,
            "source": "given",
            "cell": [row[4] for row in rows],
        },
        geometry=lines,
        crs="EPSG:4326",
    )
    from headwater.geo.geodesy import geodesic_length_m

    table["length_m"] = geodesic_length_m(np.array(lines))
    return table[list(REACH_COLUMNS)]


REACHES = reaches_table(
    [
        (7, 9, 1, False, "A", [(0, 2), (0, 1)]),
        (8, 9, 3, True, "A", [(1, 2), (0, 1)]),
        (9, -1, 3, False, "", [(0, 1), (0, 0)]),
    ]
)


def side_stream():
    """Link 7 with a new stream that joins halfway."""
    return Segments(
        [
            shapely.LineString([(0, 2), (0, 1.5)]),
            shapely.LineString([(0, 1.5), (0, 1)]),
            shapely.LineString([(-1, 1.5), (0, 1.5)]),
        ],
        np.array([True, True, False]),
        np.array([1, -1, 1]),
        np.array([0.5, np.nan, 0.75]),
        0.25,
    )


def segments():
    return segment_table([(7, side_stream()), (8, whole_reach(REACHES.geometry[1]))])


def test_columns_ids_and_orders():
    network = build_network(segments(), REACHES, "7020038340").set_index("stream_id", drop=False)
    assert tuple(network.columns) == NETWORK_COLUMNS
    base = {link: (75 * 10_000_000 + link) * 100_000 for link in (7, 8, 9)}
    assert region_header("7020038340") == 75
    order = network["strahler_order"].to_dict()
    assert order == {base[7]: 1, base[7] + 1: 2, base[7] + 2: 1, base[8]: 3, base[9]: 3}
    assert network["target_stream_id"].to_dict() == {
        base[7]: base[7] + 1,
        base[7] + 1: base[9],
        base[7] + 2: base[7] + 1,
        base[8]: base[9],
        base[9]: -1,
    }
    assert list(network.loc[base[9], "source_stream_ids"]) == [base[7] + 1, base[8]]
    assert network.loc[base[7] + 2, ["tdx_stream_id", "tdx_strahler_order", "from_tdx"]].tolist() == [-1, -1, False]
    assert network.loc[base[8], "tdx_strahler_order"] == 3
    assert check_network(network.reset_index(drop=True), REACHES)["faults"] == 0
    # Without the backbone the checker infers that link 8 begins outside.
    assert check_network(network.reset_index(drop=True))["faults"] == 0


def test_what_the_backbone_drains_and_where_the_water_goes():
    reaches = REACHES.assign(upstream_area_km2=[1.5, 20.0, 21.75])
    network = build_network(segments(), reaches, "7020038340").set_index("stream_id")
    base = {link: (75 * 10_000_000 + link) * 100_000 for link in (7, 8, 9)}
    area = network["upstream_area_km2"].to_dict()
    assert [area[base[7]], area[base[7] + 1], area[base[8]], area[base[9]]] == [1.5, 1.5, 20.0, 21.75]
    assert np.isnan(area[base[7] + 2])
    assert (network["terminal_stream_id"] == base[9]).all()
    assert network["topological_order"][base[9]] == 4
    assert not network["divergence"].any()


def test_divergences_are_taken_over():
    marked = segments()
    marked["divergence"] = [False, False, True, False]
    network = build_network(marked, REACHES, "0")
    assert network["divergence"].sum() == 1
    assert not network.loc[network["divergence"], "from_tdx"].any()


@st.composite
def basins(draw):
    """Segments and reaches of a random forest: links flow to later links, segments of a link to earlier ones of it."""
    links = draw(st.integers(1, 6))
    flows_to = [draw(st.integers(i + 1, links)) for i in range(links)]
    place = draw(st.integers(0, 1000))
    random = np.random.default_rng(place)
    head = random.random((links, 2))
    tail = [random.random(2) if below == links else head[below] for below in flows_to]
    made = []
    for i in range(links):
        cuts = draw(st.integers(0, 3))
        stops = np.linspace(head[i], tail[i], cuts + 2)
        stops[-1] = tail[i]
        lines = [shapely.LineString(pair) for pair in pairwise(stops)]
        down = [*range(1, cuts + 1), -1]
        for _ in range(draw(st.integers(0, 5)) if cuts else 0):
            below = draw(st.integers(1, len(lines) - 1))
            lines.append(shapely.LineString([random.random(2), lines[below].coords[0]]))
            down.append(below)
        count = len(lines)
        made.append((i, Segments(lines, np.arange(count) <= cuts, np.array(down), np.full(count, 0.5), 0.0)))
    rows = [
        (i, -1 if flows_to[i] == links else flows_to[i], 1, draw(st.booleans()), "A", [head[i], tail[i]])
        for i in range(links)
    ]
    return segment_table(made), reaches_table(rows)


@given(basins(), st.randoms(use_true_random=False))
def test_any_forest_passes_the_checks_in_any_order_of_rows(basin, random):
    segments, reaches = basin
    network = build_network(segments, reaches, "7020038340")
    laws = check_network(network, reaches)["laws"]
    # Random lines cross, which is not tested here.
    assert {name for name, law in laws.items() if law["faults"]} <= {"no crossing without a node"}
    shuffled = segments.iloc[random.sample(range(len(segments)), len(segments))]
    reordered = reaches.iloc[random.sample(range(len(reaches)), len(reaches))]
    again = build_network(shuffled.reset_index(drop=True), reordered, "7020038340")
    assert again.drop(columns="geometry").equals(network.drop(columns="geometry"))
    assert (again.geometry.to_wkb() == network.geometry.to_wkb()).all()


def test_reaches_outside_every_cell_stay_uncut_and_others_must_be_given():
    network = build_network(segments(), REACHES, "0")
    assert network[network["tdx_stream_id"] == 9].geometry.iloc[0].equals(REACHES.geometry[2])
    with pytest.raises(WorkError, match="1 links have no segments, such as 8 of cell A"):
        build_network(segment_table([(7, side_stream())]), REACHES, "0")
    with pytest.raises(WorkError, match="Link 12"):
        build_network(segment_table([(12, side_stream())]), REACHES, "0")


def test_ids_are_stable_unique_and_fit_javascript():
    links = np.array([0, 1, 9_999_999, 770_000_001])
    ids = global_stream_ids(links, np.full(4, 99_999), "7020038340")
    assert ids.tolist() == [
        75 * 10**12 + 99_999,
        75 * 10**12 + 199_999,
        75 * 10**12 + 999_999_999_999,
        77_000_000_199_999,
    ]
    assert global_stream_ids(np.array([9_999_999]), np.array([99_999]), "no such basin")[0] < 2**53
    assert 100 <= region_header("no such basin") < 900
    with pytest.raises(InputError, match="too large"):
        global_stream_ids(np.array([10**12]), np.array([0]), "0")


def test_all_62_regions_have_headers_of_their_own():
    headers = {name: region_header(name) for name in tdx_header_numbers()}
    assert len(headers) == len(set(headers.values())) == 62
    assert min(headers.values()) == 11
    assert max(headers.values()) == 91


def test_rows_of():
    assert rows_of(np.array([5, 3, 9]), np.array([9, 4, 5, -1])).tolist() == [2, -1, 0, -1]
    assert rows_of(np.array([], np.int64), np.array([1])).tolist() == [-1]


def test_file_is_geoparquet_1_1_with_the_same_bytes_again(tmp_path):
    network = build_network(segments(), REACHES, "7020038340")
    write_network(network, tmp_path / "a.parquet")
    again = build_network(segments().iloc[::-1].reset_index(drop=True), REACHES.iloc[[2, 0, 1]], "7020038340")
    write_network(again, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    import json

    import pyarrow.parquet as pq

    schema = pq.read_schema(tmp_path / "a.parquet")
    geo = json.loads(schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert "bbox" in geo["columns"]["geometry"]["covering"]
    assert str(schema.field("source_stream_ids").type) == "list<element: int64>"
    read = gpd.read_parquet(tmp_path / "a.parquet", bbox=(0.5, 1.5, 1, 2))
    assert read["tdx_stream_id"].tolist() == [8]
    whole = gpd.read_parquet(tmp_path / "a.parquet")
    assert tuple(whole.columns) == NETWORK_COLUMNS
    assert check_network(whole, REACHES)["faults"] == 0


def test_an_empty_network_can_be_written(tmp_path):
    empty = build_network(segment_table([]), REACHES.iloc[:0], "0")
    write_network(empty, tmp_path / "empty.parquet")
    read = gpd.read_parquet(tmp_path / "empty.parquet")
    assert len(read) == 0
    assert tuple(read.columns) == NETWORK_COLUMNS
    assert check_network(read)["faults"] == 0
