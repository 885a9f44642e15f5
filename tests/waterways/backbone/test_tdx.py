import time

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import shapes
from shapely.geometry import shape

from headwater.core.errors import InputError
from headwater.geo.features import read_table
from headwater.geo.geodesy import geodesic_length_m
from headwater.geo.grid import RasterGrid
from headwater.raster import read_window
from headwater.waterways.backbone.stream_columns import CATCHMENT_COLUMNS, CATCHMENT_ID_COLUMNS, REACH_COLUMNS
from headwater.waterways.backbone.tdx import cell_of_points, tdx_backbone, write_backbone
from headwater.waterways.lines.vectorize import MARGIN_PX, segments_of_window, vectorize_window
from headwater.waterways.network.build import build_network
from headwater.waterways.network.check import check_network
from headwater.waterways.segments import segment_table
from headwater.waterways.settings import VectorizeSettings
from headwater.waterways.windows import tile_grid, union_tile
from support.places import SHARED

# Links 1 and 2 meet at (1, 1) and flow through 3, of zero length, into 4; 5 joins there as well.
LINES = {
    1: [(0.0, 2.0), (0.5, 1.5), (1.0, 1.0)],
    2: [(2.0, 2.0), (1.0, 1.0)],
    3: [(1.0, 1.0), (1.0, 1.0)],
    4: [(1.0, 1.0), (1.0, 0.0)],
    5: [(0.0, 0.9), (1.0, 1.0)],
}
BELOW = {1: 3, 2: 3, 3: 4, 5: 4, 4: -1}


def streams(lines=LINES, below=BELOW, crs="EPSG:4326", **columns):
    ids = sorted(lines)
    return gpd.GeoDataFrame(
        {
            "LINKNO": ids,
            "DSLINKNO": [below[i] for i in ids],
            "strmOrder": [2 if i in (3, 4) else 1 for i in ids],
            "DSContArea": [1e6 * i for i in ids],
            **columns,
        },
        geometry=[shapely.LineString(lines[i]) for i in ids],
        crs=crs,
    )


def catchments(crs="EPSG:4326"):
    squares = [shapely.box(x, 0, x + 1, 1) for x in range(4)]
    return gpd.GeoDataFrame({"streamID": [1, 2, 4, 1]}, geometry=squares, crs=crs)


def test_tables_have_the_columns_and_catchments_are_dissolved():
    made = tdx_backbone(streams(), catchments(), [("A", (0, 0.5, 2, 3)), ("B", (0, -1, 2, 0.5))])
    assert tuple(made.reaches.columns) == REACH_COLUMNS
    assert tuple(made.catchments.columns) == CATCHMENT_COLUMNS
    assert made.reaches["link_id"].tolist() == [1, 2, 3, 5, 4]
    assert made.reaches["cell"].tolist() == ["A"] * 4 + ["B"]
    assert made.reaches["downstream_link_id"].tolist() == [3, 3, 4, 4, -1]
    assert made.reaches["has_catchment"].tolist() == [True, True, False, False, True]
    assert made.reaches["upstream_area_km2"].tolist() == [1, 2, 3, 5, 4]
    assert made.reaches["length_m"].iloc[2] == 0
    assert made.reaches["length_m"].iloc[4] == pytest.approx(110574, abs=1)
    assert not made.reaches["upstream_outside"].any()
    assert made.catchments["link_id"].tolist() == [1, 2, 4]
    assert made.catchments.geometry[0].geom_type == "MultiPolygon"
    assert made.notes == {"catchments of several polygons dissolved": 1}


@given(st.sets(st.sampled_from(sorted(LINES))), st.permutations(sorted(LINES)))
@settings(deadline=None)
def test_lines_drawn_any_way_come_out_drawn_downstream(reversed_links, order):
    drawn = {i: LINES[i][:: -1 if i in reversed_links else 1] for i in LINES}
    table = streams(drawn).set_index("LINKNO", drop=False).loc[list(order)].reset_index(drop=True)
    made = tdx_backbone(table, catchments())
    found = dict(zip(made.reaches["link_id"], made.reaches.geometry, strict=True))
    assert {i: list(line.coords) for i, line in found.items()} == LINES


def test_a_link_that_touches_nothing_is_drawn_as_the_others():
    lines = LINES | {9: [(5.0, 0.0), (5.0, 1.0)]}
    upstream = {i: points[::-1] for i, points in lines.items() if i != 9} | {9: lines[9]}
    made = tdx_backbone(streams(upstream, BELOW | {9: -1}), catchments()).reaches.set_index("link_id")
    assert list(made.geometry[9].coords) == lines[9][::-1]


def test_small_and_large_gaps_are_closed():
    moved = LINES | {1: [(0.0, 2.0), (0.5, 1.5), (1.0, 1.0 + 1e-9)], 2: [(2.0, 2.0), (1.1, 1.0)]}
    made = tdx_backbone(streams(moved), catchments())
    lines = made.reaches.set_index("link_id").geometry
    assert list(lines[1].coords) == LINES[1]
    assert list(lines[2].coords) == [(2, 2), (1.1, 1), (1, 1)]
    assert made.notes["gaps between a link and its downstream link closed"] == 1


def test_links_that_leave_the_table_and_upstream_outside():
    below = BELOW | {4: 77}
    made = tdx_backbone(streams(below=below), catchments())
    assert made.reaches.set_index("link_id").loc[4, "downstream_link_id"] == -1
    assert made.notes["links that flow to a link outside the table"] == 1
    named = tdx_backbone(streams(USLINKNO1=[-1, 88, 1, 3, -1], USLINKNO2=[-1, -1, 2, 5, -1]), catchments())
    assert named.reaches["link_id"][named.reaches["upstream_outside"]].tolist() == [2]
    headless = streams().assign(strmOrder=[3, 1, 3, 3, 1])
    unnamed = tdx_backbone(headless, catchments())
    assert unnamed.reaches["link_id"][unnamed.reaches["upstream_outside"]].tolist() == [1]


def test_geometry_that_is_missing_or_in_parts():
    table = streams()
    table.loc[table["LINKNO"] == 3, "geometry"] = None
    assert (
        tdx_backbone(table, catchments())
        .reaches.set_index("link_id")
        .geometry[3]
        .equals_exact(shapely.LineString(LINES[3]), 0)
    )
    table = streams()
    table.loc[table["LINKNO"] == 1, "geometry"] = gpd.GeoSeries(
        [shapely.MultiLineString([[(0.5, 1.5), (1, 1)], [(0.5, 1.5), (0, 2)]])], index=[0], crs="EPSG:4326"
    )
    assert list(tdx_backbone(table, catchments()).reaches.geometry[0].coords) == LINES[1]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda s, c: (s.drop(columns="LINKNO"), c), "no column LINKNO"),
        (lambda s, c: (s.drop(columns="DSLINKNO"), c), "no column DSLINKNO"),
        (lambda s, c: (s.drop(columns="strmOrder"), c), "no column strmOrder"),
        (lambda s, c: (s, c.drop(columns="streamID")), "no column streamID"),
        (lambda s, c: (s.set_crs(None, allow_override=True), c), "streams have no coordinate"),
        (lambda s, c: (s, c.set_crs(None, allow_override=True)), "catchments have no coordinate"),
        (lambda s, c: (s.assign(DSLINKNO=[3, 3, 4, 1, 4]), c), "cycle through LINKNO 1, 3, 4"),
        (lambda s, c: (s.assign(LINKNO=[1, 1, 3, 4, 5]), c), "1 LINKNO are used by several links in the streams: 1"),
        (lambda s, c: (s.assign(LINKNO=[-1, 2, 3, 4, 5]), c), "negative"),
        (lambda s, c: (s.assign(LINKNO=[1.5, 2, 3, 4, 5]), c), "not integers"),
        (
            lambda s, c: (s.set_geometry(s.geometry.centroid), c),
            "other shapes than lines: 5 of 5 rows, the first a Point .LINKNO 1, 2",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Geometry is in a geographic CRS")
def test_what_cannot_be_used_is_refused(change, cause):
    with pytest.raises(InputError, match=cause):
        tdx_backbone(*change(streams(), catchments()))


def test_copied_rows_are_dropped_and_other_crs_are_reprojected():
    twice = gpd.GeoDataFrame(pd.concat([streams(), streams().iloc[:2]], ignore_index=True), crs="EPSG:4326")
    made = tdx_backbone(twice.to_crs("EPSG:3857"), catchments().to_crs("EPSG:3857"))
    assert made.notes["rows that repeat a link"] == 2
    assert made.reaches.crs == made.catchments.crs == "EPSG:4326"
    assert np.allclose(shapely.get_coordinates(made.reaches.geometry[0]), LINES[1])


def test_streams_of_another_place_are_refused():
    """As where latitude and longitude of the basin's polygon are swapped: the network would have no new waterways."""
    with pytest.raises(InputError, match="None of the 5 links is in the basin's cells"):
        tdx_backbone(streams(), catchments(), [("A", (40, 50, 41, 51))])


def test_cells_are_half_open():
    cells = [("W", (0, 0, 1, 1)), ("E", (1, 0, 2, 1))]
    points = np.array([[0, 0], [1, 0.5], [2, 0.5], [0.5, 1], [0.999, 0.999]])
    assert cell_of_points(points, cells).tolist() == ["W", "E", "", "", "W"]


def test_files_round_trip_and_filter_by_cell(tmp_path):
    made = tdx_backbone(streams(), catchments(), [("A", (0, 0.5, 2, 3)), ("B", (0, -1, 2, 0.5))])
    write_backbone(made, tmp_path / "reaches.parquet", tmp_path / "catchments.parquet")
    read = gpd.read_parquet(tmp_path / "reaches.parquet", filters=[("cell", "==", "B")])
    assert read["link_id"].tolist() == [4]
    assert read_table(tmp_path / "catchments.parquet")["link_id"].tolist() == [2, 1, 4]
    streams().to_file(tmp_path / "s.gpkg")
    assert len(read_table(tmp_path / "s.gpkg")) == 5
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.gpkg")
    (tmp_path / "bad.gpkg").write_text("no table")
    (tmp_path / "bad.parquet").write_text("no table")
    for name in ("bad.gpkg", "bad.parquet"):
        with pytest.raises(InputError, match="cannot be read"):
            read_table(tmp_path / name)


def no_catchments():
    return gpd.GeoDataFrame({"streamID": np.array([], np.int64)}, geometry=[], crs="EPSG:4326")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "links"), [("taudem-network-ar/net1.parquet", 3483), ("taudem-logan/streamnet.gpkg", 152)]
)
def test_real_taudem_networks_become_valid_networks(name, links):
    if not (SHARED / name).is_file():
        pytest.skip(f"{SHARED / name} is not there")
    table = read_table(SHARED / name)
    made = tdx_backbone(table, no_catchments())
    assert len(made.reaches) == links
    assert "gaps between a link and its downstream link closed" not in made.notes
    network = build_network(segment_table([]), made.reaches, "0")
    result = check_network(network, made.reaches)
    assert result["faults"] == 0, result["laws"]
    # TauDEM's own orders are Strahler's.
    assert (network["strahler_order"] == network["tdx_strahler_order"]).all()
    # Down the links the ground falls: TauDEM draws upstream, we draw downstream.
    assert made.reaches["length_m"].sum() == pytest.approx(table["Length"].sum(), rel=0.01)


@pytest.mark.real
def test_streams_found_on_the_real_watersheds_of_logan_make_a_valid_network():
    folder = SHARED / "taudem-logan"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    lattice = RasterGrid(west=-111.83, north=42.12, dx=1 / 4000, dy=1 / 5400, width=1520, height=2500)
    sheds, inside = read_window(folder / "watersheds.tif", lattice, resampling="nearest")
    labels = np.where(inside, sheds, -1).astype(np.int32)
    outlines = [
        (int(value), shape(outline)) for outline, value in shapes(labels, mask=labels >= 0, transform=lattice.transform)
    ]
    polygons = gpd.GeoDataFrame(
        {"streamID": [link for link, _ in outlines]}, geometry=[outline for _, outline in outlines], crs="EPSG:4326"
    )
    made = tdx_backbone(read_table(folder / "streamnet.gpkg"), polygons)
    assert made.notes["catchments of several polygons dissolved"] > 20
    # Cells that 100 others drain through are water; the more drain through, the lower they are assumed to be.
    reaches = made.reaches.sort_values("link_id")
    extent = np.concatenate([made.catchments.geometry.to_numpy(), reaches.geometry.to_numpy()])
    grid = tile_grid(lattice, union_tile(extent, lattice, margin_px=MARGIN_PX))
    area, known = read_window(folder / "ad8.tif", grid, resampling="nearest")
    area = np.where(known & (area > 0), area, np.nan).astype(np.float32)
    links = reaches["link_id"].to_numpy()
    found = vectorize_window(
        np.where(area >= 100, np.uint8(230), np.uint8(13)) * np.isfinite(area),
        np.isfinite(area),
        -50 * np.log10(area),
        grid,
        reaches=reaches.geometry.to_numpy(),
        flows_on=(reaches["downstream_link_id"] != -1).to_numpy(),
        catchments=made.catchments.geometry.to_numpy(),
        catchment_label=np.searchsorted(links, made.catchments["link_id"]),
        own=np.ones(len(links), bool),
        settings=VectorizeSettings(),
    )
    segments = segments_of_window(found, links)
    network = build_network(segments, made.reaches, "0")
    assert check_network(network, made.reaches)["faults"] == 0
    assert (~network["from_tdx"]).sum() > 500
    one, _ = shapely.STRtree(network.geometry.to_numpy()).query(network.geometry.to_numpy(), predicate="crosses")
    assert len(one) == 0


# TDX-Hydro as it is


@st.composite
def forests(draw):
    """Links of some rivers and coasts as {link: (downstream link, line)}; junctions of three have zero-length links."""
    count = draw(st.integers(1, 12))
    below = [-1] + [draw(st.integers(-1, i - 1)) for i in range(1, count)]
    zero = [below[i] >= 0 and below.count(i) >= 2 and draw(st.booleans()) for i in range(count)]
    # Places are dyadic: moved by 360 degrees and back they are the same doubles.
    place = [(draw(st.integers(-64, 64)) / 64, i / 64 + 1 / 128) for i in range(count)]
    for i in range(count):
        if zero[i]:
            place[i] = place[below[i]]
    end = [place[below[i]] if below[i] >= 0 else (place[i][0] / 2, place[i][1] - 1 / 256) for i in range(count)]
    middle = [[] if zero[i] else [(place[i][0], (place[i][1] + end[i][1]) / 2)] for i in range(count)]
    lines = [[place[i], *middle[i], end[i]] for i in range(count)]
    return {i + 1: (below[i] + 1 if below[i] >= 0 else -1, lines[i]) for i in range(count)}


def tables_of(forest, lines=None):
    ids = list(forest)
    shapes = lines or [shapely.LineString(forest[i][1]) for i in ids]
    table = {"LINKNO": ids, "DSLINKNO": [forest[i][0] for i in ids], "strmOrder": 1}
    areas = [shapely.LineString(forest[i][1]).buffer(1 / 512, cap_style="square") for i in ids]
    return gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:4326"), areas


def violations(made):
    result = check_network(build_network(segment_table([]), made.reaches.assign(cell=""), "0"), made.reaches)
    return {name: law for name, law in result["laws"].items() if law["faults"]}


@given(forests(), st.data())
def test_any_forest_becomes_a_valid_network(forest, data):
    wanted, _ = tables_of(forest)
    lines = []
    for _, line in forest.values():
        way = data.draw(st.sampled_from(["as it is", "turned", "parts"]))
        if line[0] == line[-1] and data.draw(st.booleans()):
            lines.append(data.draw(st.sampled_from([None, shapely.LineString()])))
        elif way == "parts" and len(line) > 2:
            lines.append(shapely.MultiLineString([line[1:][::-1], line[:2]]))
        else:
            lines.append(shapely.LineString(line[:: -1 if way == "turned" else 1]))
    table, _ = tables_of(forest, lines)
    repeated = data.draw(st.lists(st.integers(0, len(table) - 1)))
    order = data.draw(st.permutations([*range(len(table)), *repeated]))
    made = tdx_backbone(table.iloc[order], no_catchments())
    assert violations(made) == {}
    assert made.reaches["link_id"].tolist() == sorted(forest)
    assert made.reaches["length_m"].to_numpy() == pytest.approx(geodesic_length_m(wanted.geometry.to_numpy()))
    assert made.notes.get("rows that repeat a link", 0) == len(repeated)
    assert "gaps between a link and its downstream link closed" not in made.notes


def wrapped(points):
    return [((x + 180) % 360 - 180, y) for x, y in points]


def cut_at_180(line):
    """The line from 0 to 360 degrees as two in -180 to 180, as files made for maps have them."""
    sides = shapely.box(0, -90, 180, 90), shapely.box(180, -90, 360, 90)
    west, east = (shapely.intersection(line, side) for side in sides)
    parts = [*shapely.get_parts(west), *shapely.get_parts(shapely.transform(east, lambda xy: xy - [360, 0]))]
    return [part for part in parts if part.geom_type == line.geom_type]


@given(forests(), st.data())
def test_rivers_that_cross_180_degrees_are_drawn_next_to_their_outlets(forest, data):
    there = {i: (below, [(x + 180, y) for x, y in line]) for i, (below, line) in forest.items()}
    lines, rows, areas = [], [], []
    for (i, (_, points)), area in zip(there.items(), tables_of(there)[1], strict=True):
        line = shapely.LineString(points)
        shape = data.draw(st.sampled_from(["jump", "beyond", "cut"]))
        if shape == "cut" and line.bounds[0] < 180 < line.bounds[2]:
            lines.append(shapely.MultiLineString(cut_at_180(line)))
        else:
            lines.append(line if shape == "beyond" else shapely.LineString(wrapped(points)))
        parts = cut_at_180(area) if shape == "cut" else [area]
        if shape == "jump":
            parts = [shapely.Polygon(wrapped(area.exterior.coords))]
        rows += [i] * len(parts)
        areas += parts
    table, _ = tables_of(there, lines)
    polygons = gpd.GeoDataFrame({"streamID": rows}, geometry=areas, crs="EPSG:4326")
    cells = [("E", (178, -1, 180, 1)), ("W", (-180, -1, -178, 1))]
    made = tdx_backbone(table, polygons, cells)
    plain, plain_areas = tables_of(forest)
    cells = [("E", (-2, -1, 0, 1)), ("W", (0, -1, 2, 1))]
    same = tdx_backbone(plain, gpd.GeoDataFrame({"streamID": plain["LINKNO"]}, geometry=plain_areas, crs=4326), cells)
    assert violations(made) == {}
    assert made.reaches[["link_id", "cell"]].equals(same.reaches[["link_id", "cell"]])
    assert made.reaches["length_m"].to_numpy() == pytest.approx(same.reaches["length_m"].to_numpy(), rel=1e-6)
    assert shapely.area(made.catchments.geometry.to_numpy()) == pytest.approx(
        shapely.area(same.catchments.geometry.to_numpy()), rel=1e-6
    )
    assert shapely.intersects(made.catchments.sort_values("link_id").geometry.to_numpy(), _by_link(made)).all()
    outlets = made.reaches[made.reaches["downstream_link_id"] == -1].bounds
    assert (abs((outlets["minx"] + outlets["maxx"]) / 2) <= 180).all()
    assert (made.reaches.bounds["maxx"] - made.reaches.bounds["minx"]).max() < 3


def test_another_crs_may_be_continuous_at_180_degrees():
    lines = {1: [(179.5, 1.0), (180.25, 1.0)], 2: [(180.25, 1.0), (180.5, 0.5)]}
    shapes = [shapely.LineString(line).buffer(0.1) for line in lines.values()]
    polygons = gpd.GeoDataFrame({"streamID": [1, 2]}, geometry=shapes, crs="EPSG:4326")
    table = streams(lines, {1: 2, 2: -1})
    made = tdx_backbone(table.to_crs("EPSG:3832"), polygons.to_crs("EPSG:3832"))
    assert violations(made) == {}
    assert made.reaches.total_bounds == pytest.approx([-180.5, 0.5, -179.5, 1.0])
    assert made.catchments.total_bounds == pytest.approx([-180.6, 0.4, -179.4, 1.1], abs=1e-3)
    assert made.notes["links drawn beyond 180 degrees, next to their outlet"] == 1


def _by_link(made):
    return made.reaches.sort_values("link_id").geometry.to_numpy()


def test_coasts_and_islands_are_links_of_their_own():
    lines = {i: [(i, 0.0), (i, 1.0)] for i in range(3)}
    made = tdx_backbone(streams(lines, dict.fromkeys(lines, -1)), no_catchments())
    assert violations(made) == {}
    assert made.reaches["downstream_link_id"].tolist() == [-1, -1, -1]


def test_streams_without_any_catchment_are_reported():
    notes = tdx_backbone(streams(), no_catchments()).notes
    assert notes == {"links, none of which has a catchment: nothing can be added to them": 5}


def test_no_streams_give_no_reaches():
    made = tdx_backbone(streams().iloc[:0], catchments(), [("A", (0, 0, 1, 1))])
    assert len(made.reaches) == len(made.catchments) == 0
    assert made.notes == {"catchment polygons without a link": 4}


def test_an_id_of_different_links_is_refused_by_its_number():
    twice = pd.concat([streams(), streams().assign(strmOrder=7)], ignore_index=True)
    with pytest.raises(InputError, match="5 LINKNO are used by several links in the streams: 1, 2, 3, 4, 5"):
        tdx_backbone(twice, catchments())


def test_links_without_geometry_and_without_neighbours_are_refused_by_number():
    table = streams()
    table.loc[table["LINKNO"].isin([1, 3]), "geometry"] = None
    table = pd.concat([table, table.iloc[:1].assign(LINKNO=9, DSLINKNO=-1)], ignore_index=True)
    with pytest.raises(InputError, match=r"1 links .* no geometry: LINKNO 9"):
        tdx_backbone(table, catchments())


def test_a_link_without_geometry_lies_at_the_free_end_of_its_only_neighbour():
    lines = {1: [(0.0, 2.0), (1.0, 1.0)], 2: [(2.0, 2.0), (1.0, 1.0)], 3: [(1.0, 1.0), (1.0, 0.0)], 4: [(0, 0), (0, 0)]}
    table = streams(lines, {1: 3, 2: 3, 3: 4, 4: -1})
    table.loc[table["LINKNO"] == 4, "geometry"] = None
    made = tdx_backbone(table, no_catchments())
    assert list(made.reaches.geometry[3].coords) == [(1, 0), (1, 0)]
    assert made.notes["links without geometry"] == 1


@pytest.mark.filterwarnings("ignore:invalid value")
def test_coordinates_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="coordinates that are not finite: LINKNO 2"):
        tdx_backbone(streams(LINES | {2: [(2.0, 2.0), (np.nan, 1.0)]}), catchments())


def test_faulty_catchments_are_mended_and_counted():
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    spike = shapely.Polygon([(3, 0), (4, 0), (4, 1), (3, 1), (3, 0), (2.5, 0), (3, 0)])
    shapes = {1: [bow], 2: [shapely.box(1, 0, 2, 1), shapely.box(2, 1, 3, 2)], 3: [shapely.box(1.1, 0.1, 1.9, 0.9)]}
    shapes |= {4: [spike], 5: [None, shapely.Polygon()], 77: [shapely.box(5, 5, 6, 6)]}
    ids = [i for i, parts in shapes.items() for _ in parts]
    polygons = gpd.GeoDataFrame(
        {"streamID": ids}, geometry=[part for parts in shapes.values() for part in parts], crs="EPSG:4326"
    )
    made = tdx_backbone(streams(), polygons)
    assert made.notes == {
        "catchment polygons without a link": 1,
        "catchment polygons without geometry": 2,
        "catchment polygons made valid": 2,
        "catchments of several polygons dissolved": 1,
        "catchments whose middle is in another one too": 1,
    }
    assert made.catchments["link_id"].tolist() == [1, 2, 3, 4]
    assert shapely.area(made.catchments.geometry).tolist() == pytest.approx([0.5, 2, 0.64, 1])
    assert made.catchments.is_valid.all()
    assert set(made.catchments.geom_type) <= {"Polygon", "MultiPolygon"}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=8), st.data())
def test_the_parts_of_a_catchment_are_united_in_any_order(corners, data):
    parts = [shapely.box(x, y, x + side, y + side) for x, y, side in corners]
    shuffled = data.draw(st.permutations(parts))
    rows = gpd.GeoDataFrame({"streamID": [4] * len(parts)}, geometry=parts, crs="EPSG:4326")
    shapes = [tdx_backbone(streams(), t).catchments.geometry[0] for t in (rows, rows.set_geometry(shuffled, crs=4326))]
    assert shapes[0].is_valid
    assert shapes[0].symmetric_difference(shapely.union_all(parts)).area == 0
    assert shapes[0].equals(shapes[1])


def test_catchments_of_many_vertices_do_not_take_long():
    angle = np.linspace(0, 2 * np.pi, 20_000)
    radius = 0.3 + 0.1 * np.sin(angle * 500)
    stars = [
        shapely.Polygon(np.column_stack([x + radius * np.cos(angle), radius * np.sin(angle * way)]))
        for x, way in ((0, 1), (1, 1.001), (2, 1), (2.5, 1))
    ]
    polygons = gpd.GeoDataFrame({"streamID": [1, 2, 3, 3]}, geometry=stars, crs="EPSG:4326")
    start = time.process_time()
    made = tdx_backbone(streams(), polygons)
    assert time.process_time() - start < 5
    assert made.catchments.is_valid.all()


def test_catchments_of_other_streams_are_refused():
    with pytest.raises(InputError, match=r"No catchment is of a link .*streamID is 11, 12, 14, 11, LINKNO is 1, 2, 3,"):
        tdx_backbone(streams(), catchments().assign(streamID=[11, 12, 14, 11]))


def test_links_that_end_outside_every_cell_go_where_their_catchment_lies():
    lines = {1: [(0.2, 0.5), (-0.3, 0.5)], 2: [(1.8, 0.5), (2.5, 0.5)], 3: [(5.0, 0.5), (5.0, 0.0)]}
    lines |= {4: [(7.0, 0.5), (7.0, 0.0)], 5: [(1.0, -0.1), (1.0, -0.2)]}
    shapes = [shapely.LineString(lines[i]).buffer(0.2) for i in (1, 2, 3, 5)]
    polygons = gpd.GeoDataFrame({"streamID": [1, 2, 3, 5]}, geometry=shapes, crs="EPSG:4326")
    cells = [("B", (1, 0, 2, 1)), ("A", (0, 0, 1, 1))]
    made = [tdx_backbone(streams(lines, dict.fromkeys(lines, -1)), polygons, some) for some in (cells, cells[::-1])]
    reaches = made[0].reaches.set_index("link_id")
    # Link 5 ends as near to both cells.
    assert reaches["cell"].to_dict() == {1: "A", 2: "B", 3: "", 4: "", 5: "A"}
    assert made[0].notes["links that end outside every cell put into the cell their catchment meets"] == 3
    assert made[0].notes["links outside every cell"] == 2
    assert made[0].catchments.set_index("link_id")["cell"].to_dict() == {1: "A", 2: "B", 3: "", 5: "A"}
    assert made[0].reaches.equals(made[1].reaches)


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "geoparquet"])
def test_only_the_columns_and_the_place_asked_for_are_read(tmp_path, suffix):
    table = catchments().assign(name="a long text")
    path = tmp_path / f"c.{suffix}"
    if suffix == "gpkg":
        table.to_file(path)
    else:
        table.to_parquet(path, write_covering_bbox=suffix == "geoparquet", schema_version="1.1.0")
    options = {"columns": CATCHMENT_ID_COLUMNS, "bounds": (0.2, 0.2, 0.8, 0.8)}
    read = read_table(path, **options)
    assert list(read.columns) == ["streamID", "geometry"]
    # Without a covering column rows cannot be found by box.
    assert len(read) == (4 if suffix == "parquet" else 1)
    table = table.to_crs(3857)
    if suffix == "gpkg":
        table.to_file(path)
    else:
        table.to_parquet(path, write_covering_bbox=True, schema_version="1.1.0")
    assert read_table(path, **options)["streamID"].tolist() == [1]


def test_files_are_sorted_by_cell_in_small_groups(tmp_path):
    count = 1_500
    x, y = np.divmod(np.random.default_rng(1).permutation(count), 40)
    table = gpd.GeoDataFrame(
        {"LINKNO": np.arange(count), "DSLINKNO": -1, "strmOrder": 1},
        geometry=shapely.linestrings(np.stack([np.column_stack([x, y]), np.column_stack([x, y + 0.5])], axis=1) / 40),
        crs="EPSG:4326",
    )
    areas = gpd.GeoDataFrame(
        {"streamID": np.arange(count)}, geometry=shapely.buffer(table.geometry.to_numpy(), 0.01), crs="EPSG:4326"
    )
    made = tdx_backbone(table, areas, [("A", (0, 0, 0.5, 1)), ("B", (0.5, 0, 1, 1))])
    write_backbone(made, tmp_path / "reaches.parquet", tmp_path / "catchments.parquet")
    file = pq.ParquetFile(tmp_path / "catchments.parquet")
    assert file.num_row_groups > 2
    assert gpd.read_parquet(tmp_path / "catchments.parquet")["cell"].is_monotonic_increasing


@pytest.mark.real
def test_real_nhdplus_made_like_tdx_hydro_is_a_valid_network():
    path = SHARED / "nhdplus-new-hope" / "new_hope.gpkg"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    table, polygons = nhdplus_as_tdx(path)
    made = tdx_backbone(table, polygons)
    assert made.notes == {}
    assert len(made.reaches) == 746
    assert (made.reaches["downstream_link_id"] == -1).sum() == 1
    assert made.reaches["has_catchment"].sum() == 695
    assert made.reaches["length_m"].sum() == pytest.approx(577_376, rel=0.001)
    network = build_network(segment_table([]), made.reaches, "0")
    result = check_network(network, made.reaches)
    assert result["faults"] == 0, result["laws"]
    # What is dropped: that water flows into the minor arm too where it parts. Those 84 begin at a node without inflow.
    minor = table["LINKNO"][table["minor"]]
    assert len(minor) == 84
    assert not made.reaches["downstream_link_id"].isin(minor).any()
    assert (network["source_stream_ids"][network["tdx_stream_id"].isin(minor)].map(len) == 0).all()


def nhdplus_as_tdx(path):
    """Flowlines and catchments of NHDPlus under TDX-Hydro's names; each flows on along the main path alone."""
    lines = gpd.read_file(path, layer="NHDFlowline_Network")
    main_path = lines.set_index("Hydroseq")["COMID"].reindex(lines["DnHydroseq"])
    table = gpd.GeoDataFrame(
        {
            "LINKNO": lines["COMID"],
            "DSLINKNO": main_path.fillna(-1).to_numpy(np.int64),
            "strmOrder": lines["StreamOrde"],
            "DSContArea": lines["TotDASqKM"] * 1e6,
            "minor": lines["Divergence"] == 2,
        },
        geometry=lines.geometry,
    )
    areas = gpd.read_file(path, layer="CatchmentSP")
    return table, areas.rename(columns={"FEATUREID": "streamID"})[["streamID", "geometry"]]
