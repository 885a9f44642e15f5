import numpy as np
import pytest
import shapely

from headwater.geo.grid import Tile
from headwater.waterways.network.build import build_network
from headwater.waterways.network.check import check_network
from headwater.waterways.published.method import vectorize_catchments
from headwater.waterways.segments import SEGMENT_COLUMNS
from headwater.waterways.settings import VectorizeSettings
from headwater.waterways.windows import catchment_tile
from support.methods import as_published as vectorize
from support.valleys import valley


def test_the_probability_of_a_reach_is_that_of_the_cells_around_it():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment)
    expected = [0.02 + 0.88 / 16, 0.02 + 0.88 / 25]
    assert segments["mean_probability"][:2].tolist() == pytest.approx(expected, abs=0.06)


def test_a_gap_is_crossed_where_there_is_some_signal_only():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:44] = 0.9
    assert len(vectorize(grid, elevation, probability, reach, catchment)) == 1
    probability[45, 44:50] = 0.2
    # The flow falls by a meter a cell; outwards it rises as much, which is what costs: 2 bits a cell.
    assert len(vectorize(grid, elevation, probability, reach, catchment)) == 3
    assert len(vectorize(grid, elevation, probability, reach, catchment, cost_limits=(8.0,))) == 1


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
