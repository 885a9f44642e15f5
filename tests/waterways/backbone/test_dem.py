import geopandas as gpd
import numpy as np
import pytest
import shapely

from headwater.core.errors import InputError
from headwater.geo.grid import RasterGrid
from headwater.waterways.backbone.dem import dem_backbone, flow, sea
from headwater.waterways.backbone.stream_columns import CATCHMENT_COLUMNS, REACH_COLUMNS
from headwater.waterways.network.build import build_network
from headwater.waterways.network.check import check_network
from headwater.waterways.segments import segment_table

DX = 1 / 3600


def grid_of(shape):
    return RasterGrid(west=10, north=5, dx=DX, dy=DX, width=shape[1], height=shape[0])


def test_area_is_conserved(landscape):
    scene = landscape(1)
    inside = np.ones(scene.grid.shape, bool)
    water = flow(scene.elevation, inside, scene.grid)
    leaves = water.downstream_index == np.arange(water.downstream_index.size)
    cell_km2 = (6371 * np.radians(scene.grid.dx)) ** 2 * np.cos(np.radians(8))
    assert water.upstream_area_km2[leaves].sum() == pytest.approx(inside.size * cell_km2, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_reaches_and_catchments_fit_each_other(landscape, seed):
    scene = landscape(seed)
    made = scene.backbone
    assert tuple(made.reaches.columns) == REACH_COLUMNS
    assert tuple(made.catchments.columns) == CATCHMENT_COLUMNS
    reaches = made.reaches.set_index("link_id")
    assert sorted(reaches.index) == list(range(1, len(reaches) + 1))
    shapes = made.catchments.set_index("link_id").geometry
    assert shapes.is_valid.all()
    # Catchments do not overlap, and each holds its reach up to the junction's cell.
    assert shapely.union_all(shapes.to_numpy()).area == pytest.approx(sum(s.area for s in shapes), rel=1e-9)
    for link, line in reaches.geometry.items():
        assert shapes[link].intersects(shapely.Point(line.coords[0]))
        assert line.difference(shapes[link]).length < 2 * scene.grid.dx
    # Area grows downstream, and is what drains to the last cell of the link.
    below = reaches["downstream_link_id"]
    flows = below[below > 0]
    assert (reaches["upstream_area_km2"][flows.index].to_numpy() < reaches["upstream_area_km2"][flows].to_numpy()).all()
    network = build_network(segment_table([]), made.reaches.assign(cell=""), "0")
    assert check_network(network, made.reaches)["faults"] == 0
    assert (network["strahler_order"] == network["tdx_strahler_order"]).all()


def test_polygon_sea_and_holes_are_left_out():
    elevation = np.tile(np.arange(100, dtype=np.float32)[::-1], (100, 1)) + abs(np.arange(100) - 50.0)[:, None].astype(
        np.float32
    )
    elevation[:, 70:] = 0
    assert sea(elevation)[:, 70:].all()
    assert not sea(elevation)[:, :70].any()
    # A small flat at 0 m is land.
    elevation[48:52, 40:44] = 0
    assert not sea(elevation)[48:52, 40:44].any()
    elevation[10, 10] = np.nan
    inside = np.ones(elevation.shape, bool)
    inside[:20] = False
    grid = grid_of(elevation.shape)
    made = dem_backbone(elevation, inside, grid, min_area_km2=1.0, cells=[("A", (10, 4.9, 10.1, 5.0))])
    _, _, east, north = made.catchments.total_bounds
    assert east <= 10 + 70 * DX + 1e-9
    assert north <= 5 - 20 * DX + 1e-9
    assert set(made.reaches["cell"]) == {"A"}


def test_nothing_to_find_is_reported():
    elevation = np.ones((20, 20), np.float32)
    grid = grid_of(elevation.shape)
    everywhere = np.ones(elevation.shape, bool)
    with pytest.raises(InputError, match="drains 50"):
        dem_backbone(elevation, everywhere, grid, min_area_km2=50)
    with pytest.raises(InputError, match="no land"):
        dem_backbone(elevation * np.nan, everywhere, grid, min_area_km2=1)
    with pytest.raises(InputError, match="min_area_km2"):
        dem_backbone(elevation, everywhere, grid, min_area_km2=0)


def test_a_junction_at_the_outlet_makes_a_zero_length_link():
    # Two valleys meet in the last cell of the area.
    elevation = np.full((7, 7), 99, np.float32)
    for i in range(6):
        elevation[i, 6] = elevation[6, i] = 20 - i
    elevation[6, 6] = 0
    inside = elevation < 99
    made = dem_backbone(elevation, inside, grid_of(elevation.shape), min_area_km2=1e-3)
    assert (made.reaches["length_m"] == 0).sum() == 1
    network = build_network(segment_table([]), made.reaches, "0")
    assert check_network(network, made.reaches)["faults"] == 0
    assert isinstance(made.reaches, gpd.GeoDataFrame)
