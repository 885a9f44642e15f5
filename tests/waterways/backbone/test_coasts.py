"""Land that drains to no reach: its water is a valid network of its own, and that of the catchments stays."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from headwater.core.errors import InputError
from headwater.geo.grid import RasterGrid
from headwater.waterways.backbone.coasts import FIRST_LINK_ID, coast_links, with_links
from headwater.waterways.backbone.dem import dem_backbone, sea
from headwater.waterways.backbone.stream_columns import CATCHMENT_COLUMNS, REACH_COLUMNS, SOURCE_COAST
from headwater.waterways.backbone.tdx import Backbone
from headwater.waterways.lines.burn import burn_polygon
from support.found_networks import coast, network_of, pixel


def covered_by(backbone: Backbone, grid: RasterGrid):
    return burn_polygon(shapely.union_all(backbone.catchments.geometry.to_numpy()), grid.transform, grid.shape)


def with_coasts(backbone: Backbone, elevation, grid: RasterGrid, min_area_km2=0.005) -> Backbone:
    part = coast_links(elevation, ~covered_by(backbone, grid), grid, min_area_km2=min_area_km2)
    return with_links(backbone, [part])


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from([0, 26]), st.sampled_from([1e-6, 0.01, 0.05]))
def test_uncovered_land_is_divided_among_the_places_where_its_water_leaves(landscape, seed, sea_rows, min_area_km2):
    elevation, _, grid = coast(landscape, seed, sea_rows)
    uncovered = np.ones(grid.shape, dtype=bool)
    uncovered[:, 30:50] = False
    reaches, catchments = coast_links(elevation, uncovered, grid, min_area_km2=min_area_km2)
    assert set(reaches.columns) == set(REACH_COLUMNS)
    assert reaches["link_id"].is_unique
    assert reaches["link_id"].tolist() == list(range(FIRST_LINK_ID, FIRST_LINK_ID + len(reaches)))
    assert set(catchments["link_id"]) == set(reaches["link_id"])
    assert (reaches["upstream_area_km2"] >= min_area_km2).all()
    assert (shapely.length(reaches.geometry.to_numpy()) == 0).all()
    # Each pixel of land is in one piece at most, and without a smallest piece in exactly one.
    land = uncovered & ~sea(elevation)
    count = np.zeros(grid.shape, np.uint8)
    for polygon in catchments.geometry:
        count += rasterize([(polygon, 1)], out_shape=grid.shape, transform=grid.transform, dtype="uint8")
    assert count.max() <= 1
    if min_area_km2 < 0.0001:
        assert (count[land] == 1).all()
    assert not count[sea(elevation)].any()
    # Where water leaves is in its own piece.
    of_link = catchments.set_index("link_id").geometry
    points = shapely.get_point(reaches.geometry.to_numpy(), 0)
    assert shapely.covers(of_link[reaches["link_id"]].to_numpy(), points).all()


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from([0, 26]))
def test_water_of_the_coast_is_a_valid_network_next_to_that_of_the_backbone(landscape, seed, sea_rows):
    elevation, probability, grid = coast(landscape, seed, sea_rows)
    inside = np.ones(grid.shape, dtype=bool)
    given_backbone = dem_backbone(elevation, inside, grid, min_area_km2=0.3)
    made = with_coasts(given_backbone, elevation, grid)
    assert tuple(made.reaches.columns) == REACH_COLUMNS
    assert tuple(made.catchments.columns) == CATCHMENT_COLUMNS
    before, _ = network_of(elevation, probability, given_backbone, grid)
    network, result = network_of(elevation, probability, made, grid)
    assert result["faults"] == 0
    assert result["counts"]["links"] == len(given_backbone.reaches)
    assert check_ids(network, made)
    # No water is lost for it, and the backbone is what it was.
    assert network["length_m"].sum() >= before["length_m"].sum() * 0.99
    assert network["length_m"][network["from_tdx"]].sum() == pytest.approx(before["length_m"][before["from_tdx"]].sum())
    # What is marked is on uncovered land, within two pixels of its edge.
    marked = network[network["without_backbone"]]
    assert not marked["from_tdx"].any()
    middles = shapely.get_coordinates(shapely.line_interpolate_point(marked.geometry.to_numpy(), 0.5, normalized=True))
    rows, columns = pixel(middles, grid)
    near = np.pad(~covered_by(given_backbone, grid), 2, mode="edge")
    assert all(near[r : r + 5, c : c + 5].any() for r, c in zip(rows, columns, strict=True))


def check_ids(network: gpd.GeoDataFrame, made: Backbone) -> bool:
    links = network["stream_id"].to_numpy() // 100_000 % 10_000_000
    coasts = made.reaches["link_id"][made.reaches["source"] == SOURCE_COAST]
    return bool((np.isin(links, coasts) == network["without_backbone"].to_numpy()).all())


def test_the_network_is_the_same_whatever_is_read_at_a_time(landscape):
    elevation, probability, grid = coast(landscape, 3, 26)
    made = with_coasts(
        dem_backbone(elevation, np.ones(grid.shape, dtype=bool), grid, min_area_km2=0.3), elevation, grid
    )
    (one, _), (many, _) = (network_of(elevation, probability, made, grid, block_px=px) for px in (4096, 20))
    assert one["without_backbone"].any()
    assert one.drop(columns="source_stream_ids").equals(many.drop(columns="source_stream_ids"))


def test_nothing_uncovered_adds_nothing(landscape):
    elevation, _, grid = coast(landscape, 3, 0)
    reaches, catchments = coast_links(elevation, np.zeros(grid.shape, dtype=bool), grid, min_area_km2=0.01)
    assert len(reaches) == len(catchments) == 0
    made = dem_backbone(elevation, np.ones(grid.shape, dtype=bool), grid, min_area_km2=0.3)
    same = with_links(made, [(reaches, catchments)])
    assert same.reaches["link_id"].tolist() == made.reaches["link_id"].tolist()


def test_ids_of_coasts_that_are_taken_are_refused(landscape):
    elevation, _, grid = coast(landscape, 3, 26)
    made = dem_backbone(elevation, np.ones(grid.shape, dtype=bool), grid, min_area_km2=0.3)
    part = coast_links(elevation, ~covered_by(made, grid), grid, min_area_km2=0.005)
    taken = made.reaches.assign(link_id=made.reaches["link_id"] + FIRST_LINK_ID)
    with pytest.raises(InputError, match=r"9,000,000 and more.*\n?.*backbone\.coasts"):
        with_links(Backbone(taken, made.catchments, {}), [part])
    many = pd.concat([part[0]] * 2, ignore_index=True)
    many["link_id"] = np.arange(9_999_999, 9_999_999 + len(many))
    with pytest.raises(InputError, match="more than 1,000,000 coasts"):
        with_links(made, [(gpd.GeoDataFrame(many, crs=4326), part[1])])


def test_elevation_that_cannot_be_one_is_refused():
    grid = RasterGrid(west=11.0, north=8.0, dx=0.001, dy=0.001, width=4, height=4)
    with pytest.raises(InputError, match="not an elevation"):
        coast_links(np.full((4, 4), 30_000, np.float32), np.ones((4, 4), bool), grid, min_area_km2=0.01)
