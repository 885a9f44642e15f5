"""A part of TDX-Hydro's regions: what is read of it is what cutting the complete regions to the area gives."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.geo.features import read_table
from headwater.geo.grid import Cell
from headwater.waterways.backbone import tdx_files
from headwater.waterways.backbone.area import cut_to_area
from headwater.waterways.backbone.tdx import NO_LINK, tdx_backbone
from headwater.waterways.backbone.tdx_files import read_tdx_area
from headwater.waterways.link_ids import region_header
from headwater.waterways.network.check import check_network
from headwater.waterways.network_step import checked_network
from headwater.waterways.segments import segment_table
from support.small_place import tdx_tables

AREA = "area-0123456789"
REGIONS = ("7020038340", "6020006540")
CELLS = [(cell.name, cell.bounds) for cell in (Cell(row, 220, 0.05) for row in (159, 158, 160))]


def tables(landscape, seed):
    """TDX-Hydro's tables of a landscape, with links of no length and no geometry below some junctions."""
    scene = landscape(seed, size=120, backbone_km2=0.12, stream_km2=0.05)
    streams, catchments = tdx_tables(scene.backbone)
    below = streams["DSLINKNO"].value_counts()
    new = []
    for number, link in enumerate(sorted(below[(below > 1) & (below.index > 0)].index)):
        if number % 2 == 0:
            added = 1000 + number
            streams.loc[streams["DSLINKNO"] == link, "DSLINKNO"] = added
            row = streams[streams["LINKNO"] == link].iloc[0]
            new.append(row.to_dict() | {"LINKNO": added, "DSLINKNO": link, "geometry": None})
    streams = gpd.GeoDataFrame(pd.concat([streams, gpd.GeoDataFrame(new)], ignore_index=True), crs="EPSG:4326")
    # TauDEM draws upstream.
    streams.geometry = streams.geometry.reverse()
    return streams, catchments


@pytest.fixture(scope="module")
def region(landscape, tmp_path_factory):
    folder = tmp_path_factory.mktemp("region")
    streams, catchments = tables(landscape, 7)
    files = {}
    for kind in ("gpkg", "parquet"):
        files[kind] = [folder / f"streams.{kind}", folder / f"catchments.{kind}"]
    for table, each in zip((streams, catchments), zip(*files.values(), strict=True), strict=True):
        table.to_file(each[0])
        table.sample(frac=1, random_state=0).to_parquet(
            each[1], write_covering_bbox=True, schema_version="1.1.0", row_group_size=10
        )
    everything = {kind: tdx_backbone(*map(read_table, paths)) for kind, paths in files.items()}
    return streams, files, everything


boxes = st.tuples(*[st.floats(0.0, 0.018)] * 2, *[st.floats(0.001, 0.012)] * 2).map(
    lambda b: shapely.box(11.0 + b[0], 8.0 - b[1] - b[3], 11.0 + b[0] + b[2], 8.0 - b[1])
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(area=boxes, kind=st.sampled_from(["gpkg", "parquet"]))
def test_a_part_that_is_read_is_that_part_of_everything(region, area, kind, monkeypatch):
    monkeypatch.setattr(tdx_files, "READ_BEYOND_DEGREES", 0.0005)
    streams, files, everything = region
    full = cut_to_area(everything[kind], area, CELLS)
    part = read_tdx_area([files[kind][0]], [files[kind][1]], area, cells=CELLS)
    assert part.reaches.equals(full.reaches)
    assert part.catchments.equals(full.catchments)
    # What is kept is in the area; each link next to one that is not is marked or an outlet.
    shapes = part.catchments.set_index("link_id").geometry
    assert shapely.covers(area.buffer(1e-9), shapes.to_numpy()).all()
    kept = set(part.reaches["link_id"])
    flows = dict(zip(streams["LINKNO"], streams["DSLINKNO"], strict=True))
    cut = {flows[link] for link in flows if link not in kept} & kept
    marked = part.reaches["upstream_cut"]
    assert set(part.reaches["link_id"][marked]) == cut
    outlets = part.reaches["link_id"][part.reaches["downstream_link_id"] == NO_LINK]
    assert set(outlets) == {link for link in kept if flows[link] not in kept}
    assert (part.reaches["upstream_outside"] | ~marked).all()
    # Each meets a cell of the plan, and the network is valid, alone too; orders begin with those of TDX-Hydro.
    assert (part.reaches["cell"] != "").all()
    network, result = checked_network(segment_table([]), part.reaches.assign(cell=""), basin_id=AREA)
    assert result["faults"] == check_network(network)["faults"] == 0
    assert network["upstream_cut"].sum() == len(cut)
    assert (network["strahler_order"] == network["tdx_strahler_order"])[network["upstream_cut"]].all()


def test_an_area_over_two_regions_uses_both(region, tmp_path):
    # The same ids in both regions, which are next to each other.
    _, files, _ = region
    east = [table.assign(geometry=table.geometry.translate(120 / 5400, 0)) for table in map(read_table, files["gpkg"])]
    for table, name in zip(east, ("s.gpkg", "c.gpkg"), strict=True):
        table.to_file(tmp_path / name)
    area = shapely.box(11.01, 7.98, 11.034, 7.998)
    both = [files["gpkg"][0], tmp_path / "s.gpkg"], [files["gpkg"][1], tmp_path / "c.gpkg"]
    made = read_tdx_area(*both, area, regions=REGIONS, cells=CELLS)
    headers = made.reaches["link_id"] // 10_000_000
    assert set(headers) == {region_header(region) for region in REGIONS}
    assert made.reaches["link_id"].is_unique
    assert made.catchments.union_all().area == pytest.approx(area.area, rel=0.1)
    network, result = checked_network(segment_table([]), made.reaches.assign(cell=""), basin_id=AREA)
    assert result["faults"] == 0
    # An area has the ids of its regions, so the same reach has one id in every area.
    alone, _ = checked_network(
        segment_table([]),
        read_tdx_area([both[0][1]], [both[1][1]], area, regions=REGIONS[1:], cells=CELLS).reaches.assign(cell=""),
        basin_id="area-fedcba9876",
    )
    assert set(alone["stream_id"]) < set(network["stream_id"])
    assert network["stream_id"].max() < 2**53
    with pytest.raises(InputError, match="2 files of streams, 2 of catchments and 1 regions"):
        read_tdx_area(*both, area, regions=REGIONS[:1], cells=CELLS)
    with pytest.raises(InputError, match="Two regions share"):
        read_tdx_area(*both, area, regions=(REGIONS[0], REGIONS[0]), cells=CELLS)
    with pytest.raises(InputError, match="No reach of the backbone is in the area"):
        read_tdx_area(*both, shapely.box(20, 7, 20.1, 7.1), regions=REGIONS, cells=CELLS)


def test_the_longest_way_around_180_degrees():
    line = shapely.LineString([(179.99, 1.0), (180.01, 1.0)])
    streams = gpd.GeoDataFrame({"LINKNO": [1], "DSLINKNO": [-1], "strmOrder": [1]}, geometry=[line], crs="EPSG:4326")
    catchments = gpd.GeoDataFrame({"streamID": [1]}, geometry=[line.buffer(0.01)], crs="EPSG:4326")
    full = tdx_backbone(streams, catchments)
    for area in (shapely.box(179.9, 0.9, 180, 1.1), shapely.box(-180, 0.9, -179.9, 1.1)):
        made = cut_to_area(full, area, [])
        assert made.catchments.geometry[0].area == pytest.approx(line.buffer(0.01).area / 2, rel=0.01)
        assert np.isclose(abs(made.catchments.total_bounds), 180).any()
