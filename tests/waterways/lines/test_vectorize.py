import numpy as np
import pytest
import shapely

from headwater.geo.grid import RasterGrid
from headwater.waterways.backbone.tdx import NO_LINK
from headwater.waterways.lines.vectorize import (
    MARGIN_PX,
    RINGS,
    WATER_COLUMNS,
    no_water,
    segments_of_window,
    vectorize_window,
    water_of_window,
)
from headwater.waterways.network.build import build_network
from headwater.waterways.network.check import check_network
from headwater.waterways.segments import SEGMENT_COLUMNS
from headwater.waterways.settings import VectorizeSettings
from headwater.waterways.windows import tile_grid, union_tile, with_rings
from support.methods import by_components as vectorize
from support.methods import vectorized_window as find
from support.valleys import DX, valley


def test_the_water_of_a_catchment_is_counted():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert segments["mean_probability"][:2].tolist() == pytest.approx([0.02, 0.02], abs=0.06)
    assert segments["water_px"].tolist() == [18, 18, 18]
    assert segments["dropped_px"].tolist() == [0, 0, 0]


def test_a_gap_is_bridged_if_the_water_behind_it_is_worth_it():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:44] = 0.9
    assert len(vectorize(grid, elevation, probability, reach, catchment)) == 3
    dear = vectorize(grid, elevation, probability, reach, catchment, max_cost_per_px=1.0)
    assert len(dear) == 1
    assert dear["dropped_px"].tolist() == [12]
    # A round patch of the same length speaks for no stream.
    probability[45, 32:44] = 0.02
    probability[40:52, 32:44] = 0.9
    assert len(vectorize(grid, elevation, probability, reach, catchment)) == 1


def test_a_gap_is_bridged_along_the_valley():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:36] = probability[45, 36:40] = 0.9
    # A hollow leads around the straight path.
    elevation[44:47, 40:51] += 6
    elevation[50, 38:51] -= 6
    elevation[45:51, 38] -= 6
    new = vectorize(grid, elevation, probability, reach, catchment).geometry[2]
    rows = (grid.north - shapely.get_coordinates(new)[:, 1]) / DX - 0.5
    assert rows.max() == pytest.approx(50)


def test_all_water_leaves_the_reach_uncut_too():
    grid, elevation, probability, reach, catchment = valley()
    probability[:] = 1
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert segments["from_backbone"].all()


def test_a_wide_river_is_one_line_from_its_end_and_tributaries_meet_it():
    grid, elevation, probability, reach, catchment = valley(columns=80)
    # A river seven cells wide comes from the west, and two streams flow into it.
    probability[43:50, 32:70] = 0.9
    probability[34:43, 56] = 0.9
    probability[50:60, 62] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment)
    new = segments[~segments["from_backbone"]]
    # Two streams and three stretches of the river: no ladder.
    assert len(new) == 5
    columns = (shapely.get_coordinates(new.geometry)[:, 0] - grid.west) / DX
    assert columns.min() == pytest.approx(32.5, abs=1)
    # A lake has no channel of its own.
    grid, elevation, probability, reach, catchment = valley()
    probability[40:52, 36:50] = 0.9
    assert vectorize(grid, elevation, probability, reach, catchment)["from_backbone"].all()


def test_wide_water_is_outlined_where_it_is_asked_for():
    grid, elevation, probability, reach, catchment = valley()
    probability[40:52, 36:60] = 0.9
    probability[60, 32:50] = 0.9
    found = find(grid, elevation, probability, reach, catchment, water_polygons=True)
    water = water_of_window(found, np.array([7]))
    assert water["link_id"].tolist() == [7]
    # Twelve rows of 24 pixels on both sides of the reach; the narrow stream is no part of it.
    assert water.geometry[0].area == pytest.approx(12 * 24 * DX**2)
    assert water["area_m2"][0] == pytest.approx(12 * 24 * (DX * 111_000) ** 2, rel=0.02)
    assert water["mean_probability"][0] == pytest.approx(0.9, abs=0.01)
    nothing = water_of_window(find(grid, elevation, probability, reach, catchment), np.array([7]))
    assert list(nothing.columns) == list(no_water().columns) == list(WATER_COLUMNS)
    assert len(nothing) == 0


def test_reaches_without_catchments_have_no_wide_water():
    empty = RasterGrid(west=0.0, north=0.0, dx=DX, dy=DX, width=0, height=0)
    found = vectorize_window(
        np.zeros((0, 0), np.uint8),
        np.zeros((0, 0), bool),
        np.zeros((0, 0), np.float32),
        empty,
        reaches=np.array([shapely.LineString([(0, 0), (1, 1)])]),
        flows_on=np.array([True]),
        catchments=np.array([], dtype=object),
        catchment_label=np.zeros(0, np.int64),
        own=np.array([True]),
        settings=VectorizeSettings(water_polygons=True),
    )
    assert len(found.lines) == 1
    assert len(water_of_window(found, np.array([7]))) == 0


def test_both_arms_around_an_island_are_kept_and_one_is_reported_a_divergence():
    grid, elevation, probability, reach, catchment = valley()
    probability[45, 32:38] = 0.9
    for column in range(38, 46):
        probability[[40, 50], column] = 0.9
    probability[40:51, [38, 46]] = 0.9
    probability[45, 46:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert segments["divergence"].sum() == 1
    arm = segments.geometry[segments["divergence"]].iloc[0]
    others = segments[~segments["divergence"] & ~segments["from_backbone"]]
    # It begins and ends at nodes of the others.
    assert arm.coords[0] in {line.coords[0] for line in others.geometry}
    assert arm.coords[-1] in {line.coords[0] for line in others.geometry}
    into = segments.geometry[segments.loc[segments["divergence"], "downstream_index"].iloc[0]]
    assert arm.coords[-1] == into.coords[0]


def test_an_arm_of_the_reach_itself_leaves_it_and_comes_back():
    grid, elevation, probability, reach, catchment = valley()
    probability[40, 42:50] = 0.9
    probability[40:56, 42] = 0.9
    probability[55, 42:50] = 0.9
    segments = vectorize(grid, elevation, probability, reach, catchment)
    assert segments["divergence"].tolist().count(True) == 1
    arm = segments.geometry[segments["divergence"]].iloc[0]
    pieces = segments[segments["from_backbone"]]
    assert len(pieces) == 3
    assert arm.coords[0] == pieces.geometry[1].coords[0]
    assert arm.coords[-1] == pieces.geometry[2].coords[0]


def test_water_flows_over_a_border_where_the_other_side_is_lower():
    """Two catchments side by side, a stream that crosses the divide, and the reach of the lower one."""
    grid, elevation, probability, reach, catchment = valley()
    west, south, east, north = catchment.bounds
    border = grid.west + 40 * DX
    upper, lower = shapely.box(west, south, border, north), shapely.box(border, south, east, north)
    far = shapely.LineString([(west + 1.5 * DX, north - DX), (west + 1.5 * DX, south + DX)])
    probability[45, 36:50] = 0.9
    own = np.array([True, True])

    def run(elevation):
        found = vectorize_window(
            np.rint(probability * 255).astype(np.uint8),
            np.isfinite(probability),
            elevation,
            grid,
            reaches=np.array([reach, far], dtype=object),
            flows_on=own,
            catchments=np.array([lower, upper], dtype=object),
            catchment_label=np.array([0, 1]),
            own=own,
            settings=VectorizeSettings(),
        )
        return segments_of_window(found, np.array([1, 2]))

    over = run(elevation)
    new = over[~over["from_backbone"]]
    assert new["link_id"].tolist() == [1]
    assert new.geometry.iloc[0].coords[0][0] == pytest.approx(grid.west + 36.5 * DX)


def run(scene, extra=0, own=None, **options):
    """A made-up landscape, read through a window that is `extra` pixels wider than needed."""
    reaches = scene.backbone.reaches.sort_values("link_id", ignore_index=True)
    catchments = scene.backbone.catchments
    links = reaches["link_id"].to_numpy()
    own = np.ones(len(links), bool) if own is None else np.isin(links, own)
    there = catchments[with_rings(catchments, catchments["link_id"].isin(links[own]).to_numpy(), RINGS)]
    shapes = np.concatenate([there.geometry.to_numpy(), reaches.geometry.to_numpy()[own]])
    tile = union_tile(shapes, scene.grid, margin_px=MARGIN_PX + extra)
    row, column = -tile.row, -tile.column
    layers = []
    for layer in (scene.probability, scene.elevation):
        whole = np.full((tile.height + 400, tile.width + 400), np.nan, np.float32)
        whole[200 + row : 200 + row + scene.grid.height, 200 + column : 200 + column + scene.grid.width] = layer
        layers.append(whole[200 : 200 + tile.height, 200 : 200 + tile.width].copy())
    valid = np.isfinite(layers[0])
    around = np.isin(links, there["link_id"]) | own
    found = vectorize_window(
        np.rint(np.where(valid, layers[0], 0) * 255).astype(np.uint8),
        valid,
        layers[1],
        tile_grid(scene.grid, tile),
        reaches=reaches.geometry.to_numpy()[around],
        flows_on=(reaches["downstream_link_id"] != NO_LINK).to_numpy()[around],
        catchments=there.geometry.to_numpy(),
        catchment_label=np.searchsorted(links[around], there["link_id"]),
        own=own[around],
        settings=VectorizeSettings(**options),
    )
    return segments_of_window(found, links[around])


def same(one, other):
    assert (
        one.drop(columns="geometry")
        .reset_index(drop=True)
        .equals(other.drop(columns="geometry").reset_index(drop=True))
    )
    assert shapely.equals_exact(one.geometry.to_numpy(), other.geometry.to_numpy(), 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_result_does_not_depend_on_the_window_nor_on_what_else_is_done(landscape, seed):
    scene = landscape(seed)
    whole = run(scene)
    same(whole, run(scene, 17))
    links = scene.backbone.catchments["link_id"].to_numpy()
    for part in np.array_split(np.random.default_rng(seed).permutation(links), 3):
        same(run(scene, own=part), whole[whole["link_id"].isin(part)])


@pytest.mark.parametrize("seed", range(12))
def test_made_up_landscapes_give_valid_networks(landscape, seed):
    scene = landscape(seed)
    segments = run(scene)
    assert list(segments.columns) == list(SEGMENT_COLUMNS)
    network = build_network(segments, scene.backbone.reaches, "0")
    result = check_network(network, scene.backbone.reaches)
    assert result["faults"] == 0, {name: law for name, law in result["laws"].items() if law["faults"]}
    assert result["not_checked"] == []
    assert (~network["from_tdx"]).sum() > 10
    tree = shapely.STRtree(network.geometry.to_numpy())
    one, other = tree.query(network.geometry.to_numpy(), predicate="crosses")
    assert len(one) == len(other) == 0
