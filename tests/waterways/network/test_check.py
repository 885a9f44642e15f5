from itertools import combinations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.geo.geodesy import geodesic_length_m
from headwater.waterways.network import crossings
from headwater.waterways.network.check import check_network


def sound():
    """Two sources meet; one of the backbone."""
    lines = [shapely.LineString(p) for p in ([(0, 2), (0, 1)], [(1, 2), (0, 1)], [(0, 1), (0, 0)])]
    return gpd.GeoDataFrame(
        {
            "stream_id": [10, 20, 30],
            "target_stream_id": [30, 30, -1],
            "source_stream_ids": [[], [], [10, 20]],
            "strahler_order": [1, 1, 2],
            "from_tdx": [True, False, True],
            "tdx_stream_id": [1, -1, 2],
            "tdx_strahler_order": [1, -1, 1],
            "length_m": geodesic_length_m(np.array(lines)),
            "mean_probability": [0.5, np.nan, 1.0],
            "divergence": False,
            "upstream_area_km2": [2.0, np.nan, 5.0],
            "upstream_cut": False,
            "topological_order": [0, 1, 2],
            "terminal_stream_id": 30,
        },
        geometry=lines,
        crs="EPSG:4326",
    )


def backbone():
    own = sound().iloc[[0, 2]]
    return gpd.GeoDataFrame(
        {"link_id": [1, 2], "length_m": own["length_m"].to_numpy(), "upstream_outside": False, "upstream_cut": False},
        geometry=own.geometry.values,
    )


def faults(table, reaches=None):
    laws = check_network(table, reaches)["laws"]
    return {name: law["ids"] for name, law in laws.items() if law["faults"]}


def test_a_sound_network_passes_every_check():
    result = check_network(sound(), backbone())
    assert result["faults"] == 0
    assert len(result["laws"]) == 21
    assert result["not_checked"] == []
    assert result["segments"] == 3
    assert result["length_km"] == pytest.approx(result["backbone_length_km"] + result["new_length_km"], abs=0.002)
    alone = check_network(sound())
    assert alone["not_checked"] == ["every backbone link is present", "backbone length is conserved"]


def changed(column, row, value):
    table = sound()
    table[column] = [value if i == row else old for i, old in enumerate(table[column])]
    return table


def redrawn(row, points):
    table = sound()
    lines = list(table.geometry)
    with np.errstate(invalid="ignore"):
        lines[row] = shapely.LineString(points) if points is not None else None
    table = table.set_geometry(np.array(lines, dtype=object), crs="EPSG:4326")
    table["length_m"] = geodesic_length_m(np.array(lines, dtype=object))
    return table


@pytest.mark.parametrize(
    ("table", "check", "ids"),
    [
        (changed("stream_id", 1, 10), "ids are unique", [10]),
        (changed("stream_id", 1, 2**53), "ids are unique", [2**53]),
        (changed("target_stream_id", 1, 31), "target exists", [20]),
        (changed("target_stream_id", 1, 20), "target exists", [20]),
        (changed("target_stream_id", 2, 10), "no cycle", [10, 30]),
        (changed("source_stream_ids", 2, [10]), "sources mirror targets", [30]),
        (changed("source_stream_ids", 0, [20]), "sources mirror targets", [10]),
        (changed("source_stream_ids", 2, [10, 20, 20]), "sources mirror targets", [30]),
        (changed("strahler_order", 2, 3), "strahler order is right", [30]),
        (changed("strahler_order", 1, 2), "strahler order is right", [20]),
        (changed("length_m", 0, 5.0), "lengths are geodesic", [10]),
        (changed("mean_probability", 2, 1.01), "probability is from 0 to 1", [30]),
        (redrawn(1, [(1, 2), (0, 1 + 1e-12)]), "joins are exact", [20]),
        (redrawn(1, [(0, 1), (1, 2)]), "drawn downstream", [20]),
        (redrawn(1, [(0, 1), (0, 1)]), "geometry is valid", [20]),
        (redrawn(1, None), "geometry is valid", [20]),
        (redrawn(1, [(1, np.nan), (0, 1)]), "geometry is valid", [20]),
        (redrawn(1, [(-1, 1.5), (1, 1.5), (0, 1)]), "no crossing without a node", [10, 20]),
        (redrawn(1, [(1, 2), (0, 1.5), (0, 1)]), "no crossing without a node", [10, 20]),
        (redrawn(1, [(1, 2), (0, 1), (0, 0.5)]), "no crossing without a node", [10, 20, 30]),
        (redrawn(1, [(0, 2), (0, 1)]), "no duplicate", [10, 20]),
        (redrawn(1, [(0, 1), (0, 2)]), "no duplicate", [10, 20]),
        (redrawn(1, [(1, 2), (2, 2), (2, 1), (1, 3), (0, 1)]), "no self-crossing", [20]),
        (redrawn(1, [(0, 1), (1, 2), (2, 2), (0, 1)]), "no self-crossing", [20]),
        (changed("topological_order", 2, 1), "topological order goes downstream", [20, 30]),
        (changed("topological_order", 0, 7), "topological order goes downstream", [10]),
        (changed("terminal_stream_id", 0, 20), "terminal is the outlet", [10]),
        (changed("divergence", 1, True), "divergences start at a node", [20]),
        (changed("divergence", 2, True), "divergences start at a node", [30]),
        (sound().set_crs("EPSG:3857", allow_override=True), "coordinates are EPSG:4326", [10, 20, 30]),
    ],
)
def test_each_violated_check_is_reported_with_its_ids(table, check, ids):
    found = faults(table)
    assert found.get(check) == ids, found


def test_checks_of_the_backbone():
    assert faults(changed("tdx_stream_id", 0, 5), backbone())["every backbone link is present"] == [1, 5]
    short = redrawn(0, [(0, 1.5), (0, 1)])
    assert faults(short, backbone()) == {"backbone length is conserved": [1]}
    zero = redrawn(0, [(0, 1), (0, 1)])
    assert faults(zero) == {}


def island():
    """A stream of the backbone parts round an island at (0, 1) and meets itself again at (0, 0)."""
    lines = [
        shapely.LineString(p)
        for p in ([(0, 2), (0, 1)], [(0, 1), (0, 0)], [(0, 1), (1, 0.5), (0, 0)], [(0, 0), (0, -1)])
    ]
    return gpd.GeoDataFrame(
        {"stream_id": [1, 2, 3, 4], "target_stream_id": [2, 4, 4, -1], "divergence": [False, False, True, False]},
        geometry=lines,
        crs="EPSG:4326",
    )


def test_a_divergence_starts_where_segments_meet():
    assert faults(island()) == {}
    # Without the node, the second arm leaves the middle of a line.
    merged = island().iloc[1:].reset_index(drop=True)
    merged.loc[0, "geometry"] = shapely.LineString([(0, 2), (0, 1), (0, 0)])
    assert faults(merged) == {"no crossing without a node": [2, 3], "divergences start at a node": [3]}


def test_how_the_lines_of_a_backbone_cross_is_not_checked():
    crossing = redrawn(2, [(0, 1), (1, 1.5), (0, 1.75), (-1, 0), (0, 0)])
    assert faults(crossing) == {"no crossing without a node": [10, 20, 30]}
    given = backbone().assign(length_m=crossing["length_m"].iloc[[0, 2]].to_numpy())
    assert faults(crossing, given) == {"no crossing without a node": [20, 30]}


LATTICE = st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(st.lists(st.lists(LATTICE, min_size=2, max_size=4, unique=True), min_size=2, max_size=6))
def test_crossings_and_copies_are_what_pairs_of_lines_say(drawn):
    lines = [shapely.LineString(points) for points in drawn]
    table = gpd.GeoDataFrame({"stream_id": range(len(lines)), "target_stream_id": -1}, geometry=lines, crs="EPSG:4326")
    crossing, copies = set(), set()
    for (i, a), (j, b) in combinations(enumerate(lines), 2):
        common_ends = {a.coords[0], a.coords[-1]} & {b.coords[0], b.coords[-1]}
        copied = a.coords[:] in (b.coords[:], b.coords[::-1])
        if not copied and not a.intersection(b).difference(shapely.MultiPoint(list(common_ends))).is_empty:
            crossing |= {i, j}
        if copied:
            copies |= {i, j}
    found = faults(table)
    assert found.get("no crossing without a node", []) == sorted(crossing)
    assert found.get("no duplicate", []) == sorted(copies)
    assert found.get("no self-crossing", []) == [i for i, line in enumerate(lines) if not line.is_simple]


def test_many_lines_are_compared_in_parts(monkeypatch):

    lines = [shapely.LineString([(x, 0), (x + 1.5, 0.1)]) for x in range(20)]
    table = gpd.GeoDataFrame({"stream_id": range(20), "target_stream_id": -1}, geometry=lines, crs="EPSG:4326")
    found = check_network(table)["laws"]["no crossing without a node"]
    monkeypatch.setattr(crossings, "LINES_AT_ONCE", 3)
    assert check_network(table)["laws"]["no crossing without a node"] == found
    assert faults(table) == {}
    table.loc[7, "geometry"] = shapely.LineString([(7, 0.05), (17, 0.0)])
    assert faults(table)["no crossing without a node"][0] == 7


def test_an_order_from_outside_needs_a_reason():
    raised = changed("strahler_order", 0, 3)
    raised["strahler_order"] = [3, 1, 3]
    assert faults(raised) == {"strahler order is right": [10, 30]}
    raised["tdx_strahler_order"] = [3, -1, 3]
    assert faults(raised) == {}
    assert faults(raised, backbone()) == {"strahler order is right": [10, 30]}
    assert faults(raised, backbone().assign(upstream_outside=[True, False])) == {}


def test_published_tables_with_other_names_and_text_lists():
    table = sound().rename(columns={"strahler_order": "stream_order"})
    table["source_stream_ids"] = ["", None, "[10, 20]"]
    table = table[["stream_id", "target_stream_id", "source_stream_ids", "stream_order", "geometry"]]
    result = check_network(table)
    assert result["faults"] == 0
    assert "strahler order is right" in result["laws"]
    assert "lengths are geodesic" in result["not_checked"]


def test_a_table_that_is_no_network_is_refused():
    with pytest.raises(InputError, match="target_stream_id"):
        check_network(sound().drop(columns="target_stream_id"))
    with pytest.raises(InputError, match="without a value"):
        check_network(changed("target_stream_id", 0, None))
    with pytest.raises(InputError, match="no geometry"):
        check_network(sound().drop(columns="geometry"))


def chain(count=6):
    """A line of segments that flow to the south, the last the outlet, and a foreign table of them."""
    lines = [shapely.LineString([(10, 50 - i / 100), (10, 50 - (i + 1) / 100)]) for i in range(count)]
    ids = np.arange(1, count + 1)
    return gpd.GeoDataFrame({"stream_id": ids, "target_stream_id": np.append(ids[1:], -1)}, geometry=lines, crs=4326)


def test_lines_drawn_upstream_and_an_absent_outlet_are_one_cause_each():
    table = chain().assign(target_stream_id=[2, 3, 4, 5, 6, 77])
    assert faults(table) == {"target exists": [6]}
    found = check_network(table)["laws"]["target exists"]["found"]
    expected = "another id of the table, or -1 at an outlet, is expected; 5 segments upstream reach no outlet."
    assert found == [f"6 flows to 77, which is not in the table; {expected}"]
    upstream = table.set_geometry(table.geometry.reverse(), crs=4326)
    assert faults(upstream) == {"target exists": [6], "drawn downstream": [1, 2, 3, 4, 5, 6]}
    one = chain()
    one.loc[3, "geometry"] = one.geometry[3].reverse()
    assert faults(one) == {"drawn downstream": [4]}


@pytest.mark.parametrize("crs", [4326, 32632, 3857])
def test_gaps_and_lengths_are_in_meters_in_any_crs(crs):
    table = chain()
    length = check_network(table)["length_km"]
    table.loc[2, "geometry"] = shapely.LineString([(10, 49.98), (10, 49.971)])
    result = check_network(table.to_crs(crs))
    assert result["length_km"] == pytest.approx(length - 0.111, abs=0.002)
    assert faults(table.to_crs(crs)) == {"joins are exact": [3]}
    assert result["laws"]["joins are exact"]["found"] == ["3 ends 111.228 m from where 4 begins; it must end there."]
    assert ("coordinates are EPSG:4326" in result["not_checked"]) == (crs != 4326)


def test_a_missing_line_is_counted_once():
    table = sound()
    table.loc[1, "geometry"] = None
    assert faults(table) == {"geometry is valid": [20]}


def test_lines_of_one_part_are_lines_and_others_are_named_once():
    table = chain()
    several = shapely.multilinestrings([table.geometry[2], shapely.LineString([(11, 50), (11, 51)])])
    top, bottom = table.geometry[0].coords
    halves = [shapely.LineString(ends) for ends in ([(10, 49.995), bottom], [top, (10, 49.995)])]
    shapes = [shapely.multilinestrings([line]) for line in table.geometry]
    table.geometry = [shapely.multilinestrings(halves), shapes[1], several, *shapes[3:]]
    result = check_network(table)
    assert faults(table) == {"geometry is valid": [3]}
    assert "3 is a MultiLineString of 2 parts" in result["laws"]["geometry is valid"]["found"][0]
    assert result["notes"] == ["1 segments of several parts, which meet end to end, are taken as lines."]


def test_orders_of_nhdplus_are_recognized_and_others_described():
    """A river of order 2 parts; its minor path has the river's order and joins again; a coastline has none."""
    points = {1: [(0, 3), (0, 2)], 2: [(1, 3), (0, 2)], 3: [(0, 2), (0, 1)], 4: [(0, 1), (0, 0)]}
    points |= {5: [(0, 1), (1, 0.5), (0, 0)], 6: [(0, 0), (0, -1)], 7: [(5, 0), (6, 0)]}
    table = gpd.GeoDataFrame(
        {
            "stream_id": list(points),
            "target_stream_id": [3, 3, 4, 6, 6, -1, -1],
            "stream_order": [1, 1, 2, 2, 2, 2, -9],
        },
        geometry=[shapely.LineString(line) for line in points.values()],
        crs=4326,
    )
    result = check_network(table)
    assert result["faults"] == 0
    assert "order -9" in result["notes"][0]
    assert "5 (given 2, as a source 1)" in result["notes"][1]
    wrong = check_network(table.assign(stream_order=[1, 3, 2, 2, 2, 2, -9]))["laws"]["strahler order is right"]
    assert wrong["found"] == ["2 has order 3; 1 is expected by its sources."]


@pytest.mark.parametrize("text", ["[1.0, 2.0]", "{1,2}", "1;2", "(1, 2)", '["1","2"]', "1 2", [1, 2], np.array([2, 1])])
def test_lists_of_ids_are_read_in_any_form(text):
    table = sound().assign(source_stream_ids=["{}", None, text])
    table["stream_id"], table["target_stream_id"] = [1, 2, 3], [3, 3, -1]
    table["terminal_stream_id"] = 3
    assert faults(table) == {}


def test_booleans_of_other_programs():
    text = sound().assign(from_tdx=["true", "false", None])
    result = check_network(text)
    assert result["backbone_length_km"] < result["length_km"]
    assert result["notes"] == ["1 segments without a value in from_tdx count as false: 30."]
    nhdplus = island().assign(divergence=[0, 1, 2, 0])
    assert faults(nhdplus) == {}
    assert faults(nhdplus.assign(divergence=[0, 1, 0, 0])) == {"divergences start at a node": [2]}


@pytest.mark.parametrize(
    ("column", "value", "cause"),
    [
        ("stream_id", "wb-1", "stream_id contains 'wb-1' in row 1"),
        ("target_stream_id", 1.5, "target_stream_id contains 1.5 in row 1"),
        ("strahler_order", "two", "strahler_order contains 'two' in segment 20"),
        ("source_stream_ids", "[1, x]", "source_stream_ids contains '.1, x.' in 20"),
        ("from_tdx", "maybe", "from_tdx contains 'maybe' in 20"),
        ("divergence", 7, "divergence contains 7 in 20"),
        ("length_m", "long", "length_m contains 'long' in 20"),
    ],
)
def test_columns_that_cannot_be_read_are_named_with_the_segment(column, value, cause):
    with pytest.raises(InputError, match=cause):
        check_network(changed(column, 1, value))
