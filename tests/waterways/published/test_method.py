import numpy as np
import pytest
import shapely

from headwater.geo.grid import Tile
from headwater.waterways.network.build import build_network
from headwater.waterways.network.check import check_network
from headwater.waterways.published.method import vectorize_catchment, vectorize_catchments
from headwater.waterways.segments import SEGMENT_COLUMNS
from headwater.waterways.settings import VectorizeSettings
from headwater.waterways.windows import catchment_tile
from support.valleys import DX, valley


def vectorize(grid, elevation, probability, reach, catchment, *, flows_on=True, **options):
    return vectorize_catchment(
        probability,
        elevation,
        grid,
        catchment=catchment,
        reach=reach,
        flows_on=flows_on,
        settings=VectorizeSettings(**options),
    )


def test_a_side_stream_joins_the_reach_where_it_meets_it():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert segments.from_backbone.tolist() == [True, True, False]
    assert segments.downstream_index.tolist() == [1, -1, 1]
    upper, lower, new = segments.lines
    assert new.coords[-1] == lower.coords[0] == upper.coords[-1]
    assert new.coords[0] == pytest.approx((grid.west + 32.5 * DX, grid.north - 45.5 * DX))
    # Straight: the cells between its ends are no vertices.
    assert len(new.coords) <= 4
    assert segments.mean_probability[2] == pytest.approx(0.9)
    assert segments.mean_probability[:2] == pytest.approx([0.02 + 0.88 / 16, 0.02 + 0.88 / 25], abs=0.06)
    assert segments.missing_share == 0


def test_a_gap_is_crossed_where_there_is_some_signal_only():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:44] = 0.9
    assert len(vectorize(grid, elevation, probability, reach, catchment).lines) == 1
    probability[45, 44:50] = 0.2
    # The flow falls by a meter a cell; outwards it rises as much, which is what costs: 2 bits a cell.
    assert len(vectorize(grid, elevation, probability, reach, catchment).lines) == 3
    assert len(vectorize(grid, elevation, probability, reach, catchment, cost_limits=(8.0,)).lines) == 1


def test_nothing_found_leaves_the_reach_uncut():
    segments = vectorize(*valley())
    assert len(segments.lines) == 1
    assert segments.downstream_index.tolist() == [-1]


def test_data_that_are_missing_are_no_signal():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    probability[:, :50] = np.nan
    elevation[:, :40] = np.nan
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert len(segments.lines) == 1
    assert segments.missing_share == 0.5
    probability[:] = np.nan
    elevation[:] = np.nan
    nothing = vectorize(grid, elevation, probability, reach, catchment)
    assert nothing.missing_share == 1
    assert np.isnan(nothing.mean_probability).all()


def test_all_polygons_of_a_catchment_count():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    probability[60, 32:50] = 0.9
    west, south, east, north = catchment.bounds
    cut = grid.north - 52 * DX
    two = shapely.multipolygons([shapely.box(west, cut + 2 * DX, east, north), shapely.box(west, south, east, cut)])
    assert len(vectorize(grid, elevation, probability, reach, two).lines) == 5


@pytest.mark.parametrize("flows_on", [True, False])
def test_a_stream_at_the_tail(flows_on):
    grid, elevation, probability, reach, catchment = valley()
    probability[69, 32:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment, flows_on=flows_on)
    new = segments.lines[-1]
    if flows_on:
        # The reach ends in the middle of that row: the stream joins the head of the next link.
        assert segments.downstream_index.tolist() == [-1, -1]
        assert new.coords[-1] == reach.coords[-1]
    else:
        assert segments.downstream_index.tolist() == [1, -1, 1]
        assert segments.lines[1].coords[-1] == reach.coords[-1]


def test_result_does_not_depend_on_the_window(landscape):
    scene = landscape(5)
    tables = [run(scene, extra) for extra in (0, 17)]
    assert shapely.equals_exact(tables[0].geometry.to_numpy(), tables[1].geometry.to_numpy(), 0).all()
    assert tables[0].drop(columns="geometry").equals(tables[1].drop(columns="geometry"))


def run(scene, extra=0, **options):
    """All catchments of a made-up landscape, read through a window that is `extra` pixels wider than needed."""
    reaches, catchments = scene.backbone.reaches, scene.backbone.catchments
    lines = dict(zip(reaches["link_id"], reaches.geometry, strict=True))
    rows = zip(catchments["link_id"], catchments.geometry, strict=True)
    tiles = [catchment_tile(shape, lines[link], scene.grid) for link, shape in rows]
    top, left = min(t.row for t in tiles), min(t.column for t in tiles)
    least = Tile(top, left, max(t.row + t.height for t in tiles) - top, max(t.column + t.width for t in tiles) - left)
    tile = Tile(least.row - extra, least.column - extra, least.height + 2 * extra, least.width + 2 * extra)
    row, column = -tile.row, -tile.column
    layers = []
    for layer in (scene.probability, scene.elevation):
        whole = np.full((tile.height, tile.width), np.nan, np.float32)
        whole[row : row + scene.grid.height, column : column + scene.grid.width] = layer
        layers.append(whole)
    return vectorize_catchments(
        *layers, scene.grid, tile, reaches=reaches, catchments=catchments, settings=VectorizeSettings(**options)
    )


@pytest.mark.parametrize("seed", range(3))
def test_made_up_landscapes_give_valid_networks(landscape, seed):
    scene = landscape(seed)
    segments = run(scene)
    assert list(segments.columns) == list(SEGMENT_COLUMNS)
    network = build_network(segments, scene.backbone.reaches, "0")
    result = check_network(network, scene.backbone.reaches)
    assert result["faults"] == 0, {name: law for name, law in result["laws"].items() if law["faults"]}
    assert result["not_checked"] == []
    assert (~network["from_tdx"]).sum() > 5
    # New streams are in the catchment of the link they belong to, and cross nothing.
    tree = shapely.STRtree(network.geometry.to_numpy())
    one, other = tree.query(network.geometry.to_numpy(), predicate="crosses")
    assert len(one) == 0
    assert len(other) == 0
