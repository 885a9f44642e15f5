import numpy as np
import shapely
from hypothesis import given

from headwater.waterways.lines.burn import burn_line
from headwater.waterways.lines.catchment_raster import NO_LABEL, owns_reach_cell, without_checkers
from support.small_windows import burn, checkered, picture, windows


def burned(window):
    """Cells of each reach by `burn_line`, those of the outermost ring left out, as sets."""
    shape = window.grid.shape
    inner = np.zeros(shape, bool)
    inner[1:-1, 1:-1] = True
    lines = [burn_line(shapely.get_coordinates(line) * [1, -1], shape) for line in window.reaches]
    return [{int(cell) for cell in line if inner.ravel()[cell]} for line in lines]


@given(windows())
def test_each_reach_has_its_cells_and_the_outermost_cells_have_no_label(window):
    labels = window.labels
    for edge in (labels.catchment[[0, -1]], labels.catchment[:, [0, -1]]):
        assert (edge == NO_LABEL).all()
    reaches = burned(window)
    assert labels.count == len(reaches)
    assert set(np.flatnonzero(labels.reach_mask)) == set().union(*reaches)
    flat = labels.catchment.ravel()
    for label, cells in enumerate(reaches):
        own = labels.reach_cells[labels.reach_start[label] : labels.reach_start[label + 1]]
        assert set(own.tolist()) == cells
        assert len(own) == len(cells)
    for cell in np.flatnonzero(labels.reach_mask):
        owners = [label for label, cells in enumerate(reaches) if cell in cells]
        for label in range(labels.count):
            assert owns_reach_cell(cell, label, labels.owners) == (label in owners)
        # The first of them gives the label.
        assert flat[cell] == owners[0]


@given(windows())
def test_no_two_catchments_cross_in_a_square(window):
    labels = window.labels
    for row, column in checkered(labels.catchment):
        assert labels.reach_mask[row : row + 2, column : column + 2].all()


@given(windows())
def test_cells_keep_their_catchment_but_for_reaches_and_checkered_squares(window):
    labels = window.labels
    changed = (labels.catchment != window.drawn) & ~labels.reach_mask
    # No land gets or loses its catchment, and none gets one that no neighbor has.
    assert ((labels.catchment >= 0) == (window.drawn >= 0))[~labels.reach_mask].all()
    for row, column in np.argwhere(changed):
        assert labels.catchment[row, column] in np.delete(
            labels.catchment[row - 1 : row + 2, column - 1 : column + 2].ravel(), 4
        )
    with_reaches = np.where(labels.reach_mask, labels.catchment, window.drawn)
    if len(checkered(with_reaches)) == 0:
        assert not changed.any()


@given(windows())
def test_labels_do_not_depend_on_the_window(window):
    labels = window.labels
    larger = burn(window.drawn, window.reaches, window.grid, north=3, west=5)
    inside = np.s_[3:-3, 5:-5]
    assert np.array_equal(larger.catchment[inside], labels.catchment)
    assert np.array_equal(larger.reach_mask[inside], labels.reach_mask)
    assert (np.delete(larger.catchment, np.s_[3:-3], axis=0) == NO_LABEL).all()
    assert np.array_equal(larger.reach_start, labels.reach_start)
    rows, columns = np.divmod(labels.reach_cells, labels.catchment.shape[1])
    assert np.array_equal(larger.reach_cells, (rows + 3) * larger.catchment.shape[1] + columns + 5)


def test_mending_comes_to_an_end():
    labels, _ = picture(
        """
        ,.A
        .,,
        ,..
        """
    )
    without_checkers(labels, np.zeros(labels.reach_mask.shape, bool))
    assert len(checkered(labels.catchment)) == 0
