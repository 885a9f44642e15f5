"""Kind none: the found water alone is a valid network whose ends are at the edge, the sea or a lake without outlet."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from headwater.core.errors import InputError
from headwater.geo.grid import RasterGrid
from headwater.waterways.backbone.dem import sea
from headwater.waterways.backbone.found import MAX_SPILL_M, closed_lakes, found_backbone
from headwater.waterways.backbone.stream_columns import CATCHMENT_COLUMNS, REACH_COLUMNS, SOURCE_FOUND
from headwater.waterways.backbone.tdx import Backbone
from headwater.waterways.network.check import check_network
from support.found_networks import coast, network_of, pixel

AREA = "area-0123456789"
DX = 1 / 5400


def pixel_center(column, row):
    return 11.0 + (column + 0.5) * DX, 8.0 - (row + 0.5) * DX


@settings(max_examples=12)
@given(st.integers(0, 10_000), st.sampled_from([0, 26, 30]), st.sampled_from([0.15, 0.6, 5.0]), st.booleans())
def test_found_water_alone_is_a_valid_network(landscape, seed, sea_rows, min_area_km2, hole):
    elevation, probability, grid = coast(landscape, seed, sea_rows)
    inside = np.ones(grid.shape, dtype=bool)
    if hole:
        inside[:, :20] = False
        elevation[30:36, 50:56] = np.nan
    made = found_backbone(elevation, probability >= 0.5, inside, grid, min_area_km2=min_area_km2)
    assert tuple(made.reaches.columns) == REACH_COLUMNS
    assert tuple(made.catchments.columns) == CATCHMENT_COLUMNS
    assert not made.reaches["upstream_cut"].any()
    network, result = network_of(np.nan_to_num(elevation), probability, made, grid)
    assert result["faults"] == 0
    # The file alone is valid too: no line is taken as given.
    assert check_network(network)["faults"] == 0
    assert not network["from_tdx"].any()
    assert (network["length_m"] > 0).all()
    # Every end is at the edge of the data or at the sea, within a pixel.
    land = inside & np.isfinite(elevation) & ~sea(elevation)
    edge = land & ndimage.binary_dilation(np.pad(~land, 1, constant_values=True), np.ones((3, 3)))[1:-1, 1:-1]
    near_edge = ndimage.binary_dilation(edge, np.ones((3, 3)))
    lines = network.geometry.to_numpy()
    ends = shapely.get_coordinates(shapely.get_point(lines[network["target_stream_id"] == -1], -1))
    assert near_edge[pixel(ends, grid)].all()
    # No line crosses the sea or leaves the area by more than a pixel.
    along = shapely.get_coordinates(shapely.segmentize(lines, grid.dx / 2))
    rows, columns = pixel(along, grid)
    assert ndimage.binary_dilation(land, np.ones((3, 3)))[rows.clip(0, 79), columns.clip(0, 79)].all()
    # Every source is found water: a new line, or a reach with water at its head.
    sources = network[~network["stream_id"].isin(network["target_stream_id"])]
    heads = shapely.get_coordinates(shapely.get_point(sources.geometry.to_numpy(), 0))
    found = ndimage.binary_dilation(probability >= 0.5, np.ones((3, 3)))
    assert (found[pixel(heads, grid)] | sources["divergence"].to_numpy()).all()


def test_the_network_is_the_same_whatever_is_read_at_a_time(landscape):
    elevation, probability, grid = coast(landscape, 5, 28)
    inside = np.ones(grid.shape, dtype=bool)
    made = found_backbone(elevation, probability >= 0.5, inside, grid, min_area_km2=0.3)
    (one, _), (many, _) = (network_of(elevation, probability, made, grid, block_px=px) for px in (4096, 20))
    assert one.drop(columns="source_stream_ids").equals(many.drop(columns="source_stream_ids"))
    # More of nothing around the area changes nothing either: cells of another size.
    wide = grid.crop(row=-7, column=-9, height=grid.height + 12, width=grid.width + 20)
    pads = ((7, 5), (9, 11))
    padded = found_backbone(
        np.pad(elevation, pads, constant_values=np.nan),
        np.pad(probability >= 0.5, pads),
        np.pad(inside, pads),
        wide,
        min_area_km2=0.3,
    )
    columns = ["link_id", "downstream_link_id", "source", "strahler_order"]
    assert padded.reaches[columns].equals(made.reaches[columns])
    assert shapely.equals_exact(padded.reaches.geometry, made.reaches.geometry, tolerance=1e-9).all()


def test_a_lake_far_below_its_rim_is_an_end(tmp_path):
    size = 80
    grid = RasterGrid(west=11.0, north=8.0, dx=DX, dy=DX, width=size, height=size)
    y, x = np.indices(grid.shape)
    bowl = np.hypot(x - 40, y - 40)
    elevation = np.where(bowl < 15, 100, 100 + 2 * (bowl - 15)).astype(np.float32)
    elevation[bowl > 35] = 140 - (bowl[bowl > 35] - 35)
    stream = (abs(x - 40) <= 0.5) & (y > 10) & (y < 40)
    found = stream | (bowl < 15)
    land = np.ones(grid.shape, dtype=bool)
    lake = closed_lakes(elevation, found, land)
    assert lake[40, 40]
    assert not lake[18, 40]
    made = found_backbone(elevation, found, land, grid, min_area_km2=0.05)
    network, result = network_of(elevation, np.where(found, 0.95, 0.02).astype(np.float32), made, grid)
    assert result["faults"] == 0
    ends = shapely.get_point(network.geometry.to_numpy()[network["target_stream_id"] == -1], -1)
    rows, columns = pixel(shapely.get_coordinates(ends), grid)
    assert (np.hypot(columns - 40, rows - 40) < 18).any()
    # A lake that flows over after a small rise is on the way.
    low = elevation.copy()
    low[40:, 40] = np.minimum(low[40:, 40], 100 + MAX_SPILL_M - 1)
    assert not closed_lakes(low, found, land).any()


def test_water_that_comes_over_the_edge_is_marked():
    # A valley from the north to the south: the area is its southern half.
    size = 60
    grid = RasterGrid(west=11.0, north=8.0, dx=DX, dy=DX, width=size, height=size)
    y, x = np.indices(grid.shape)
    away = np.minimum(abs(x - 30), 40 - abs(x - 30))
    elevation = (5.0 * away + np.where(y < 3, 5.0 * y, (size - y)) + 100).astype(np.float32)
    found = (x == 30) & (y > 5)
    area = y >= 30
    made = found_backbone(elevation, found, area, grid, min_area_km2=0.1, around=np.ones(grid.shape, dtype=bool))
    trunk = made.reaches[shapely.distance(made.reaches.geometry, shapely.Point(pixel_center(30, 45))) < 20 * DX]
    head = trunk[trunk["upstream_cut"]]
    assert len(head) == 1
    assert (head["source"] == SOURCE_FOUND).all()
    # Its area is known from the land around; its line begins at the edge.
    assert head["upstream_area_km2"].iloc[0] > 0.9 * 40 * 27 * 0.0206**2
    assert head.total_bounds[3] == pytest.approx(grid.north - 30.5 * grid.dy)
    network, result = network_of(elevation, np.where(found & area, 0.95, 0.02).astype(np.float32), made, grid)
    assert result["faults"] == 0
    assert network["upstream_cut"].tolist() == [True]
    assert check_network(network)["faults"] == 0


def test_nothing_found_is_an_empty_network(landscape):
    scene = landscape(1, size=64, backbone_km2=0.1)
    nothing = np.zeros(scene.grid.shape, dtype=bool)
    made = found_backbone(scene.elevation, nothing, ~nothing, scene.grid, min_area_km2=100)
    assert isinstance(made, Backbone)
    assert made.reaches.empty
    with pytest.raises(InputError, match="no land"):
        found_backbone(scene.elevation * np.nan, nothing, ~nothing, scene.grid, min_area_km2=1)
