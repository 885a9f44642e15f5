import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyproj import Geod
from shapely import MultiPolygon, box

from headwater.geo.grid import Cell, RasterGrid, cell_grid, elevation_grid
from headwater.terrain.surface import (
    MAX_VOID_DISTANCE_M,
    POLYGON_PRECISION_DEGREES,
    Surface,
    area_km2,
    bridge_seams,
    extend_edges,
    fill_seams,
    fill_voids,
    land_mask,
    merge,
    paste,
    sample,
)

GRID = RasterGrid(west=10.0, north=50.0, dx=0.001, dy=0.001, width=60, height=50)
heights = st.floats(-100, 4000, width=32)
layers = st.lists(
    st.tuples(hnp.arrays(np.float32, (8, 9), elements=heights), hnp.arrays(bool, (8, 9))), min_size=1, max_size=3
)


def surface(grid, values, valid=None):
    valid = np.ones(grid.shape, bool) if valid is None else valid
    values = np.where(valid, values, 0).astype(np.float32)
    return Surface(grid, values, valid, np.ones(grid.shape, bool), np.zeros(grid.shape, bool))


def plane(grid):
    """Linear in longitude and latitude: interpolation must reproduce it."""
    columns = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    rows = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    return 300 + 4000 * (columns[np.newaxis] - 10) - 3000 * (rows[:, np.newaxis] - 50)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_a_seam_is_bridged_linearly_from_both_sides(width, turned):
    elevation = np.tile(np.arange(20, dtype=np.float32), (15, 1))
    valid = np.ones((15, 20), bool)
    valid[:, 9 : 9 + width] = False
    if turned:
        elevation, valid = elevation.T, valid.T
    filled, known = fill_seams(elevation * valid, valid)
    assert known.all()
    assert np.allclose(filled, elevation, atol=1e-4)


def test_crossing_seams_and_seams_along_the_edge_are_bridged():
    elevation = plane(GRID).astype(np.float32)
    valid = np.ones(GRID.shape, bool)
    valid[20] = valid[:, 30] = False
    valid[1] = valid[:, -2] = False
    filled, known = fill_seams(elevation * valid, valid)
    assert known.all()
    assert np.allclose(filled, elevation, atol=0.01)


def test_wider_gaps_are_not_seams():
    valid = np.ones((30, 30), bool)
    valid[10:13] = False
    _, known = fill_seams(np.ones((30, 30), np.float32), valid)
    assert np.array_equal(known, valid)


def test_a_lake_sized_void_is_not_a_seam():
    rows, columns = np.mgrid[:60, :60]
    valid = (rows - 30) ** 2 + (columns - 30) ** 2 > 12**2
    _, known = fill_seams(np.ones((60, 60), np.float32), valid)
    # Not even its rim, except for a pixel or two at its four ends.
    assert (known & ~valid).sum() <= 12
    assert not known[22:39, 22:39].any()


@given(hnp.arrays(bool, (12, 14)), st.integers(0, 3))
def test_the_open_sea_beyond_a_coast_is_never_bridged(land, turns):
    # A straight coast, broken land on one side of it: the sea has land on one side only.
    valid = np.rot90(np.hstack([land, np.zeros((12, 10), bool)]), turns)
    sea = np.rot90(np.hstack([np.zeros((12, 14), bool), np.ones((12, 10), bool)]), turns)
    _, known = fill_seams(np.ones(valid.shape, np.float32), valid)
    assert not (known & sea).any()
    assert (known | ~valid).all()


@given(hnp.arrays(np.float32, (9, 11), elements=heights), hnp.arrays(bool, (9, 11)))
def test_bridging_keeps_known_values_and_stays_between_them(values, valid):
    filled, known = fill_seams(np.where(valid, values, 0).astype(np.float32), valid)
    assert np.array_equal(filled[valid], values[valid])
    new = known & ~valid
    if new.any():
        assert filled[new].max() <= values[valid].max() + 1e-2
        assert filled[new].min() >= values[valid].min() - 1e-2


@given(layers)
def test_the_first_model_has_priority_and_the_rest_is_sea(stack):
    grid = GRID.crop(row=0, column=0, height=8, width=9)
    merged, source = Surface.empty(grid), np.zeros(grid.shape, np.uint8)
    for number, (values, valid) in enumerate(stack, start=1):
        merge(merged, source, surface(grid, values, valid), number)
    known = np.zeros(grid.shape, bool)
    for number, (values, valid) in enumerate(stack, start=1):
        first = valid & ~known
        assert np.array_equal(merged.values[first], values[first])
        assert (source[first] == number).all()
        known |= valid
    assert np.array_equal(merged.valid, known)
    assert not merged.values[~known].any()
    assert not source[~known].any()


@given(st.integers(-30, 80), st.integers(-30, 90))
def test_a_tile_is_pasted_at_its_position(row, column):
    around = GRID.crop(row=-40, column=-40, height=200, width=200)
    tile = GRID.crop(row=row, column=column, height=30, width=20)
    target = Surface.empty(GRID)
    paste(target, surface(tile, plane(tile)))
    expected = np.zeros(GRID.shape, bool)
    expected[max(0, row) : max(0, row + 30), max(0, column) : max(0, column + 20)] = True
    assert np.array_equal(target.valid, expected)
    assert np.array_equal(target.covered, expected)
    assert np.allclose(target.values[expected], plane(GRID)[expected])
    assert around.place_of(GRID) == (40, 40)


def test_a_tile_of_another_lattice_is_not_pasted():
    with pytest.raises(ValueError, match="lattice"):
        paste(Surface.empty(GRID), surface(GRID.coarsen(2), 1))


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_a_surface_sampled_at_its_own_posts_is_unchanged(method):
    values = np.random.default_rng(1).normal(500, 300, GRID.shape).astype(np.float32)
    valid = np.random.default_rng(2).random(GRID.shape) > 0.1
    part = GRID.crop(row=5, column=-3, height=30, width=40)
    found = sample(surface(GRID, values, valid), part, method=method)
    inside = (slice(5, 35), slice(0, 37))
    assert np.array_equal(found.valid[:, 3:], valid[inside])
    assert not found.covered[:, :3].any()
    assert np.array_equal(found.values[:, 3:], np.where(valid, values, 0)[inside])


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
@given(shift=st.floats(0, 1), factor=st.floats(0.3, 2.5))
def test_a_plane_is_interpolated_exactly(method, shift, factor):
    step_x, step_y = GRID.dx * factor, GRID.dy / factor
    grid = RasterGrid(10.01 + shift * step_x, 49.99 - shift * step_y, step_x, step_y, 12, 12)
    found = sample(surface(GRID, plane(GRID)), grid, method=method)
    inside = found.valid & found.covered
    assert inside[:4, :4].all()
    # float32 is exact to 0.0001 m here. A grid within a hundredth of a pixel of the lattice is not interpolated.
    tolerance_m = 0.01 if GRID.place_of(grid) is None else 0.08
    assert np.allclose(found.values[4:-4][:, 4:-4], plane(grid)[4:-4, 4:-4], atol=tolerance_m) or not inside.all()
    core = (grid.bounds[2] < GRID.bounds[2] - 3 * GRID.dx) and (grid.bounds[1] > GRID.bounds[1] + 3 * GRID.dy)
    if core:
        assert inside.all()
        assert np.allclose(found.values, plane(grid), atol=tolerance_m)


def test_cubic_is_gdals_cubic():
    from rasterio.warp import Resampling, reproject

    values = np.random.default_rng(3).normal(500, 50, GRID.shape).astype(np.float32)
    fine = RasterGrid(GRID.west, GRID.north, GRID.dx / 3, GRID.dy / 3, GRID.width * 3, GRID.height * 3)
    expected = np.zeros(fine.shape, np.float32)
    reproject(
        values, expected, src_transform=GRID.transform, dst_transform=fine.transform, src_crs=4326, dst_crs=4326,
        resampling=Resampling.cubic,
    )  # fmt: skip
    found = sample(surface(GRID, values), fine, method="cubic").values
    assert np.allclose(found[9:-9, 9:-9], expected[9:-9, 9:-9], atol=0.01)


def test_a_missing_post_does_not_lower_its_neighbors():
    valid = np.ones(GRID.shape, bool)
    valid[20:30, 20:30] = False
    half = RasterGrid(GRID.west + GRID.dx / 3, GRID.north - GRID.dy / 3, GRID.dx, GRID.dy, 58, 48)
    for method in ("bilinear", "cubic"):
        found = sample(surface(GRID, np.full(GRID.shape, 700), valid), half, method=method)
        assert np.allclose(found.values[found.valid], 700, atol=0.01)
        assert (~found.valid).sum() == 100
        assert found.covered.all()


def test_two_tiles_of_one_lattice_are_interpolated_without_an_edge():
    left, right = GRID.crop(row=0, column=0, height=50, width=30), GRID.crop(row=0, column=30, height=50, width=30)
    joined = Surface.empty(GRID)
    for tile in (left, right):
        paste(joined, surface(tile, plane(tile)))
    fine = RasterGrid(10.02, 49.98, GRID.dx / 3.3, GRID.dy / 3.3, 70, 40)
    assert np.allclose(sample(joined, fine).values, plane(fine), atol=0.01)


def test_bridged_pixels_are_marked():
    valid = np.ones(GRID.shape, bool)
    valid[20] = False
    found = bridge_seams(surface(GRID, plane(GRID), valid))
    assert found.valid.all()
    assert np.array_equal(found.bridged, ~valid)


def test_a_small_void_is_interpolated_and_a_large_one_stays():
    elevation = plane(GRID).astype(np.float32)
    voids = np.zeros(GRID.shape, bool)
    voids[5:12, 5:12] = True
    voids[20:45, 20:50] = True
    pixel_m = (111.0, 71.0)
    filled, where = fill_voids(np.where(voids, 0, elevation).astype(np.float32), ~voids, voids, pixel_m=pixel_m)
    assert where[5:12, 5:12].all()
    assert where.sum() == 49
    # The plane continues through it.
    assert np.allclose(filled[5:12, 5:12], elevation[5:12, 5:12], atol=0.01)
    assert np.array_equal(filled[~voids], elevation[~voids])


@pytest.mark.parametrize("half_width_m", [MAX_VOID_DISTANCE_M - 60, MAX_VOID_DISTANCE_M + 60])
def test_the_size_of_a_void_is_its_width_in_meters(half_width_m):
    # The width decides, however long the void is.
    pixel_m = (30.0, 20.0)
    voids = np.zeros((90, 400), bool)
    rows = round(2 * half_width_m / pixel_m[0])
    voids[20 : 20 + rows, 30:370] = True
    _, where = fill_voids(np.zeros(voids.shape, np.float32), ~voids, voids, pixel_m=pixel_m)
    assert where.sum() == (voids.sum() if half_width_m < MAX_VOID_DISTANCE_M else 0)


@given(hnp.arrays(np.float32, (9, 11), elements=heights), hnp.arrays(bool, (9, 11)))
def test_a_filled_void_stays_between_the_values_on_its_rim(values, valid):
    filled, where = fill_voids(np.where(valid, values, 0).astype(np.float32), valid, ~valid, pixel_m=(30.0, 20.0))
    assert np.array_equal(filled[valid], values[valid])
    # No pixel is far from a value here, and a void without adjacent values is the complete raster.
    assert np.array_equal(where, ~valid) or not valid.any()
    if where.any():
        assert filled[where].max() <= values[valid].max() + 0.01
        assert filled[where].min() >= values[valid].min() - 0.01


def test_without_values_nothing_is_filled():
    nothing = np.zeros((20, 20), bool)
    _, where = fill_voids(np.zeros((20, 20), np.float32), nothing, ~nothing, pixel_m=(30.0, 30.0))
    assert not where.any()


def test_edges_are_extended_with_the_nearest_elevation():
    source = np.zeros((5, 5), np.uint8)
    source[:, :2] = 1
    elevation = np.where(source == 1, np.arange(5, dtype=np.float32)[:, np.newaxis], 0).astype(np.float32)
    assert np.array_equal(extend_edges(elevation, source), np.repeat(np.arange(5.0)[:, np.newaxis], 5, axis=1))


def test_land_is_inside_the_polygon_farther_than_its_precision_from_its_edge():
    grid = elevation_grid(Cell.from_name("N08.00E011.95", 0.05), margin_px=32)
    land = land_mask(box(11, 8.02, 13, 9), grid)
    rows = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    expected = rows > 8.02 + POLYGON_PRECISION_DEGREES
    assert np.abs(land.sum(axis=0) - expected.sum()).max() <= 2
    # The grid's edge is not an edge of the polygon.
    assert land[0].all()
    assert not land_mask(box(20, 8, 21, 9), grid).any()


@pytest.mark.parametrize("name", ["S17E179", "S17W180", "N66E179", "N66W180"])
def test_land_on_both_sides_of_the_antimeridian_is_found(name):
    # Fiji and Chukotka, cut at 180 as HydroBASINS are.
    south = Cell.from_name(name, 1.0).bounds[1]
    polygon = MultiPolygon([box(179, south, 180, south + 1), box(-180, south, -179, south + 1)])
    grid = elevation_grid(Cell.from_name(name, 1.0), margin_px=64).coarsen(16)
    land = land_mask(polygon, grid)
    inner = land[land.shape[0] // 2]
    columns = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    beyond = np.abs(columns) > 180
    assert beyond.any()
    # The cut of the polygon at 180 is an edge too: only its precision is lost there.
    near = np.abs(np.abs(columns) - 180) < POLYGON_PRECISION_DEGREES + 2 * grid.dx
    assert inner[~near & (np.abs(columns) > 179.1)].all()


@pytest.mark.parametrize("name", ["N00E010", "N45E010", "N70E010"])
def test_areas_are_in_square_kilometers(name):
    cell = Cell.from_name(name, 1.0)
    grid = cell_grid(cell).coarsen(100)
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(box(*grid.bounds))
    assert area_km2(np.ones(grid.shape, bool), grid) == pytest.approx(abs(area) / 1e6, rel=0.01)
