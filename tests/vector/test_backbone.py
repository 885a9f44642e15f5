from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import shapes
from shapely.geometry import shape

from headwater.errors import InputError
from headwater.grid import RasterGrid
from headwater.raster import read_window
from headwater.vector.backbone import (
    CATCHMENT_COLUMNS,
    REACH_COLUMNS,
    cell_of_points,
    read_table,
    tdx_backbone,
    write_backbone,
)
from headwater.vector.check import check_network
from headwater.vector.extent import tile_grid, union_tile
from headwater.vector.network import build_network
from headwater.vector.segments import segment_table
from headwater.vector.settings import Settings
from headwater.vector.window import MARGIN_PX, segments_of_window, vectorize_window

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

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
        (lambda s, c: (s.assign(DSLINKNO=[3, 3, 4, 1, 4]), c), "circle through LINKNO 1, 3, 4"),
        (lambda s, c: (s.assign(LINKNO=[1, 1, 3, 4, 5]), c), "1 LINKNO stand more than once"),
        (lambda s, c: (s.assign(LINKNO=[-1, 2, 3, 4, 5]), c), "negative"),
        (lambda s, c: (s.assign(LINKNO=[1.5, 2, 3, 4, 5]), c), "not whole numbers"),
        (lambda s, c: (s.set_geometry(s.geometry.centroid), c), "is not a line"),
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


def test_cells_are_half_open():
    cells = [("W", (0, 0, 1, 1)), ("E", (1, 0, 2, 1))]
    points = np.array([[0, 0], [1, 0.5], [2, 0.5], [0.5, 1], [0.999, 0.999]])
    assert cell_of_points(points, cells).tolist() == ["W", "E", "", "", "W"]


def test_files_round_trip_and_filter_by_cell(tmp_path):
    made = tdx_backbone(streams(), catchments(), [("A", (0, 0.5, 2, 3)), ("B", (0, -1, 2, 0.5))])
    write_backbone(made, tmp_path / "reaches.parquet", tmp_path / "catchments.parquet")
    read = gpd.read_parquet(tmp_path / "reaches.parquet", filters=[("cell", "==", "B")])
    assert read["link_id"].tolist() == [4]
    assert read_table(tmp_path / "catchments.parquet")["link_id"].tolist() == [1, 2, 4]
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
    # Cells that 100 others drain through are water; the more drain through, the lower they are taken to lie.
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
        settings=Settings(),
    )
    segments = segments_of_window(found, links)
    network = build_network(segments, made.reaches, "0")
    assert check_network(network, made.reaches)["faults"] == 0
    assert (~network["from_tdx"]).sum() > 500
    one, _ = shapely.STRtree(network.geometry.to_numpy()).query(network.geometry.to_numpy(), predicate="crosses")
    assert len(one) == 0
