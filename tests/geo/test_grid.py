import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely import box, union_all

from headwater.core.errors import InputError
from headwater.geo.grid import (
    Cell,
    RasterGrid,
    cell_grid,
    cells_intersecting,
    elevation_grid,
    neighborhoods,
    neighbors,
    prediction_grid,
    tiles,
)

SIZES = (1.0, 0.5, 0.25, 0.2, 0.1, 0.05)
WGS84 = Geod(ellps="WGS84")


@st.composite
def cells(draw):
    degrees = draw(st.sampled_from(SIZES))
    per_degree = round(1 / degrees)
    row = draw(st.integers(-84 * per_degree, 84 * per_degree - 1))
    column = draw(st.integers(-180 * per_degree, 180 * per_degree - 1))
    return Cell(row, column, degrees)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (Cell(40, -106, 1.0), "N40W106"),
        (Cell(-1, 0, 1.0), "S01E000"),
        (Cell(81, 119, 0.1), "N08.1E011.9"),
        (Cell(-1, -1, 0.25), "S00.25W000.25"),
    ],
)
def test_cells_are_named_by_their_south_western_corner_as_glo30_does(cell, name):
    assert cell.name == name


@given(cells())
def test_a_cell_is_found_again_by_its_name(cell):
    assert Cell.from_name(cell.name, cell.degrees) == cell


def test_names_that_are_no_cells_are_refused():
    for name in ("N40", "N40W106.5", "../x", "N40.05E010.00"):
        with pytest.raises(InputError):
            Cell.from_name(name, 0.1)


@given(cells())
def test_pixels_are_square_in_meters_at_the_middle_latitude(cell):
    grid = cell_grid(cell)
    west, south, _east, north = cell.bounds
    middle = (south + north) / 2
    _, _, width = WGS84.inv(west, middle, west + grid.dx * 100, middle)
    _, _, height = WGS84.inv(west, middle - grid.dy * 50, west, middle + grid.dy * 50)
    # As square as an even number of columns allows.
    assert abs(width / height - 1) < 1.5 / grid.width + 1e-4


@given(cells())
def test_pixel_edges_are_on_the_cell_edges_and_both_grids_agree(cell):
    fine, coarse = cell_grid(cell), prediction_grid(cell)
    assert fine.width % 2 == 0
    assert fine.height == round(10_800 * cell.degrees)
    assert fine.bounds == pytest.approx(cell.bounds, abs=1e-9)
    assert coarse.bounds == pytest.approx(cell.bounds, abs=1e-9)
    assert (coarse.height * 2, coarse.width * 2) == fine.shape


@given(cells(), st.integers(-3, 3))
def test_cells_of_one_row_of_the_world_share_one_grid(cell, step):
    other = Cell(cell.row, cell.column + step, cell.degrees)
    assert cell_grid(other).dx == cell_grid(cell).dx
    shift = (cell_grid(other).west - cell_grid(cell).west) / cell_grid(cell).dx
    assert shift == pytest.approx(round(shift), abs=1e-4)


@given(cells(), st.integers(0, 200))
def test_elevation_has_pixel_centers_on_the_degree_lines_and_covers_the_margin(cell, margin):
    grid = elevation_grid(cell, margin_px=margin)
    west, _south, _east, north = cell.bounds
    for edge, origin, step in ((west, grid.west, grid.dx), (north, -grid.north, grid.dy)):
        offset = abs((edge if step is grid.dx else -edge) - origin) / step - 0.5
        assert offset == pytest.approx(round(offset), abs=1e-5)
    fine = cell_grid(cell, margin_px=margin)
    w, s, e, n = grid.bounds
    fw, fs, fe, fn = fine.bounds
    assert w < fw
    assert s < fs
    assert e > fe
    assert n > fn


def test_elevation_has_fewer_columns_towards_the_poles():
    per_degree = [round(1 / elevation_grid(Cell(lat, 0, 1.0), margin_px=0).dx) for lat in (10, 55, 65, 75, 82, -51)]
    assert per_degree == [3600, 2400, 1800, 1200, 720, 2400]


@given(st.floats(-170, 160), st.floats(-60, 60), st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.sampled_from(SIZES))
def test_cells_cover_a_polygon_and_none_is_needless(west, south, width, height, degrees):
    polygon = box(west, south, west + width, south + height)
    found = cells_intersecting(polygon, degrees)
    squares = [box(*cell.bounds) for cell in found]
    assert union_all(squares).buffer(2e-9).covers(polygon)
    assert all(square.intersects(polygon) for square in squares)
    assert len({cell.name for cell in found}) == len(found)


def test_a_polygon_that_ends_on_a_cell_edge_does_not_touch_the_next_cell():
    # 10.000000000000002 is the next number after 10 for a computer.
    for polygon in (box(10, 5, 11, 6), box(math.nextafter(10, 0), 5, 11, math.nextafter(6, 7))):
        assert [cell.name for cell in cells_intersecting(polygon, 1.0)] == ["N05E010"]


def test_cell_sizes_that_do_not_divide_a_degree_are_refused():
    with pytest.raises(InputError, match="cell_degrees"):
        cells_intersecting(box(0, 0, 1, 1), 0.3)


def test_neighbors_are_the_cell_and_those_around_it():
    field = [Cell(row, column, 1.0) for row in range(4) for column in range(4)]
    assert len(neighbors(Cell(1, 1, 1.0), field)) == 9
    assert len(neighbors(Cell(0, 0, 1.0), field)) == 4


@pytest.mark.parametrize("degrees", SIZES)
def test_cells_on_both_sides_of_the_antimeridian_are_neighbors(degrees):
    # Chukotka: the last column of the eastern hemisphere and the first of the western one.
    per_degree = round(1 / degrees)
    rows = range(66 * per_degree, 66 * per_degree + 3)
    columns = (-180 * per_degree, -180 * per_degree + 1, 180 * per_degree - 2, 180 * per_degree - 1)
    field = [Cell(row, column, degrees) for row in rows for column in columns]
    east, west = field[4 + 3], field[4]
    assert east.bounds[2] == 180
    assert west.bounds[0] == -180
    assert west in neighbors(east, field)
    assert east in neighbors(west, field)
    assert len(neighbors(east, field)) == len(neighbors(west, field)) == 9


@given(cells(), cells())
def test_being_neighbors_is_mutual(one, other):
    other = Cell(other.row, other.column, one.degrees)
    assert (one in neighbors(other, [one])) == (other in neighbors(one, [other]))


def test_a_shifted_grid_has_the_same_pixels_360_degrees_away():
    grid = cell_grid(Cell.from_name("S17E179", 1.0), margin_px=64)
    shifted = grid.shifted(-360)
    assert grid.bounds[2] > 180
    assert shifted.bounds == pytest.approx((grid.west - 360, grid.bounds[1], grid.bounds[2] - 360, grid.north))
    assert (shifted.shape, shifted.dx, shifted.dy) == (grid.shape, grid.dx, grid.dy)
    assert shifted.shifted(360).west == pytest.approx(grid.west)


@given(cells(), st.integers(-5000, 5000), st.integers(-5000, 5000))
def test_a_grid_finds_the_position_of_another_on_its_lattice(cell, row, column):
    grid = elevation_grid(cell, margin_px=64)
    other = grid.crop(row=row, column=column, height=100, width=90)
    assert grid.place_of(other) == (row, column)
    half = RasterGrid(other.west + grid.dx / 2, other.north, other.dx, other.dy, 90, 100)
    assert grid.place_of(half) is None
    coarser = RasterGrid(other.west, other.north, 3 * other.dx, 3 * other.dy, 30, 33)
    assert grid.place_of(coarser) is None


def test_neighboring_cells_of_one_latitude_band_share_elevation_postings():
    for name, other in (("N49E010", "N48E011"), ("N64E010", "N63E009"), ("S51W070", "S52W071")):
        one, two = (elevation_grid(Cell.from_name(n, 1.0), margin_px=64) for n in (name, other))
        assert one.place_of(two) is not None
    # 50 N is the limit of a band.
    one, two = (elevation_grid(Cell.from_name(n, 1.0), margin_px=64) for n in ("N49E010", "N50E010"))
    assert one.place_of(two) is None


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(32, 900), st.data())
def test_tiles_cover_the_raster_with_the_requested_overlap(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile // 2))
    found = tiles((height, width), tile_px=tile, overlap_px=overlap)
    for length, starts in ((height, sorted({t.row for t in found})), (width, sorted({t.column for t in found}))):
        assert starts[0] == 0
        assert max(starts[-1] + tile, length) == max(length, tile)
        assert all(b - a <= tile - overlap for a, b in itertools.pairwise(starts))
        if length > tile:
            assert starts[-1] == length - tile
    assert len(found) == len({(t.row, t.column) for t in found})


def test_a_window_snaps_outward_and_its_own_bounds_give_it_back():
    grid = cell_grid(Cell(8, 11, 1.0))
    part = grid.crop(row=17, column=33, height=50, width=60)
    again = grid.window(part.bounds)
    assert (again.height, again.width) == part.shape
    assert again.west == pytest.approx(part.west)
    with pytest.raises(InputError, match="outside"):
        grid.window((50, 50, 51, 51))


def test_coarsening_halves_the_grid():
    grid = RasterGrid(west=0, north=1, dx=0.1, dy=0.1, width=10, height=8)
    assert grid.coarsen(2).shape == (4, 5)
    assert math.isclose(grid.coarsen(2).dx, 0.2)


@pytest.mark.parametrize("degrees", [1.0, 0.1])
def test_neighborhoods_are_the_neighbors_of_each_cell(degrees):
    around = round(360 / degrees)
    cells = [Cell(row, column, degrees) for row in (3, 4, 5, 9) for column in (-around // 2, -2, 0, 1, around // 2 - 1)]
    assert neighborhoods(cells) == {cell.name: neighbors(cell, cells) for cell in cells}
    assert neighborhoods([]) == {}
