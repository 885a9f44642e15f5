import itertools

import numpy as np
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.geo.grid import RasterGrid
from headwater.waterways.lines.burn import burn_line, burn_polygon, label_polygons, to_pixels

SHAPE = (12, 15)
# Sixteenths hit edges and corners of cells often, and are exact.
coordinate = st.integers(0, 12 * 16 - 1).map(lambda n: n / 16)
line = st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=5)


@given(line)
@settings(deadline=None)
def test_cells_hold_the_line_and_no_other(points):
    drawn = shapely.LineString(points)
    burned = np.zeros(SHAPE, bool)
    burned.ravel()[burn_line(np.array(points, float), SHAPE)] = True
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            square = shapely.box(column, row, column + 1, row + 1)
            if drawn.intersection(square).length > 1e-9 and not drawn.intersection(square.exterior).length:
                assert burned[row, column]
            if burned[row, column]:
                assert drawn.distance(square) < 1e-9


@given(line)
@example([(1.0, 1.0625), (1.0, 1.0), (1.0, 1.0625)])
@settings(deadline=None)
def test_no_step_between_other_cells_touches_the_line(points):
    drawn = shapely.LineString(points)
    burned = np.zeros(SHAPE, bool)
    burned.ravel()[burn_line(np.array(points, float), SHAPE)] = True
    for row in range(SHAPE[0] - 1):
        for column in range(1, SHAPE[1] - 1):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if not burned[row, column] and not burned[row + down, column + right]:
                    step = shapely.LineString([(column + 0.5, row + 0.5), (column + right + 0.5, row + down + 0.5)])
                    assert not step.intersects(drawn)


def test_a_point_is_one_cell_and_cells_outside_are_left_out():
    assert burn_line(np.array([[3.5, 2.5], [3.5, 2.5]]), SHAPE).tolist() == [2 * 15 + 3]
    assert set(burn_line(np.array([[-3.5, 0.5], [1.5, 0.5]]), SHAPE)) == {0, 1}


def test_pixels_and_polygon_share_the_transform():
    transform = Affine(0.5, 0, 10, 0, -0.5, 20)
    assert to_pixels(np.array([[10.75, 19.25]]), transform).tolist() == [[1.5, 1.5]]
    inside = burn_polygon(shapely.box(10.5, 19, 11, 19.5), transform, (4, 4))
    assert np.argwhere(inside).tolist() == [[1, 1]]


GRID = RasterGrid(west=0.0, north=float(SHAPE[0]), dx=1.0, dy=1.0, width=SHAPE[1], height=SHAPE[0])
# Thirds of cells hit no center.
corner = st.tuples(st.integers(-6, 60), st.integers(-6, 48)).map(lambda p: (p[0] / 3, p[1] / 3))


@given(st.lists(st.lists(corner, min_size=3, max_size=8, unique=True), min_size=1, max_size=3))
@settings(deadline=None)
def test_polygons_are_labelled_as_gdal_burns_them(outlines):
    shapes = [shapely.make_valid(shapely.Polygon(outline)).buffer(0) for outline in outlines]
    shapes = [shape.difference(shapely.box(3, 3, 5, 6)) for shape in shapes if shape.area > 0]
    shapes = [shape for shape in shapes if not shape.is_empty]
    labels = label_polygons(np.array(shapes, dtype=object), np.arange(len(shapes)) + 5, GRID, -1)
    expected = np.full(SHAPE, -1)
    for number, shape in enumerate(shapes):
        expected[burn_polygon(shape, GRID.transform, SHAPE)] = number + 5
    rows, columns = np.indices(SHAPE)
    centers = shapely.points(columns + 0.5, SHAPE[0] - rows - 0.5)
    # A center on an outline may be on either side.
    clear = np.ones(SHAPE, bool)
    for shape in shapes:
        clear &= shapely.distance(centers, shape.boundary) > 1e-9
    assert np.array_equal(labels[clear], expected[clear])


def test_neighbours_leave_no_cell_between_them_and_share_none():
    angles = np.linspace(0, 2 * np.pi, 7)
    fan = [
        shapely.Polygon([(7.3, 6.1), *((7.3 + 20 * np.cos(a), 6.1 + 20 * np.sin(a)) for a in pair)])
        for pair in itertools.pairwise(angles)
    ]
    labels = label_polygons(np.array(fan), np.arange(6), GRID, -1)
    assert (labels >= 0).all()
    assert (np.bincount(labels.ravel()) == [burn_polygon(s, GRID.transform, SHAPE).sum() for s in fan]).all()
