from itertools import combinations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.geo.geodesy import geodesic_length_m
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
            "topological_order": [0, 1, 2],
            "terminal_stream_id": 30,
        },
        geometry=lines,
        crs="EPSG:4326",
    )


def backbone():
    own = sound().iloc[[0, 2]]
    return gpd.GeoDataFrame(
        {"link_id": [1, 2], "length_m": own["length_m"].to_numpy(), "upstream_outside": False},
        geometry=own.geometry.values,
    )


def faults(table, reaches=None):
    laws = check_network(table, reaches)["laws"]
    return {name: law["ids"] for name, law in laws.items() if law["faults"]}


def test_a_sound_network_passes_every_check():
    result = check_network(sound(), backbone())
    assert result["faults"] == 0
    assert len(result["laws"]) == 20
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
    from headwater.waterways.network import check

    lines = [shapely.LineString([(x, 0), (x + 1.5, 0.1)]) for x in range(20)]
    table = gpd.GeoDataFrame({"stream_id": range(20), "target_stream_id": -1}, geometry=lines, crs="EPSG:4326")
    found = check_network(table)["laws"]["no crossing without a node"]
    monkeypatch.setattr(check, "_LINES_AT_ONCE", 3)
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
