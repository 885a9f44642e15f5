import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from headwater.waterways.published.connect import EIGHT
from headwater.waterways.published.thin import fill_holes, is_removable, thin

SHAPE = (9, 11)
field = npst.arrays(np.float32, SHAPE, elements=st.integers(0, 5).map(float))
blob = npst.arrays(np.bool_, SHAPE, elements=st.booleans())


def cleared(water):
    """The outer cells are never water: the catchment is cut with a margin."""
    water = water.copy()
    water[[0, -1]] = water[:, [0, -1]] = False
    return water


@given(blob, field, blob)
@settings(max_examples=200, deadline=None)
def test_thinning_keeps_topology_and_the_reach(water, elevation, reach):
    reach = cleared(reach) & (elevation > 3)
    water = cleared(water) | reach
    lines = thin(water, elevation, reach)
    assert not (lines & ~water).any()
    assert (lines >= reach).all()
    assert ndimage.label(lines, structure=EIGHT)[1] == ndimage.label(water, structure=EIGHT)[1]
    assert ndimage.label(~lines)[1] == ndimage.label(~water)[1]
    # Nothing that could go is left.
    flat = lines.ravel()
    left = [cell for cell in np.flatnonzero(flat) if is_removable(flat, cell, SHAPE[1]) and not reach.ravel()[cell]]
    assert left == []


@given(npst.arrays(np.bool_, (3, 3)))
@settings(deadline=None)
def test_a_removable_cell_splits_nothing_and_opens_no_hole(around):
    water = np.zeros((5, 5), bool)
    water[1:4, 1:4] = around
    water[2, 2] = True
    without = water.copy()
    without[2, 2] = False
    same = (
        ndimage.label(water, structure=EIGHT)[1] == ndimage.label(without, structure=EIGHT)[1]
        and ndimage.label(~water)[1] == ndimage.label(~without)[1]
    )
    assert is_removable(water.ravel(), 12, 5) == (same and around.sum() - around[1, 1] > 1)


def test_lines_follow_the_lowest_cells():
    water = np.zeros((9, 20), bool)
    water[2:7, 2:18] = True
    elevation = np.tile(np.abs(np.arange(9) - 5.0)[:, None], (1, 20)).astype(np.float32)
    lines = thin(water, elevation, np.zeros_like(water))
    assert lines[5, 3:17].all()
    assert lines.sum() < 30


def test_flat_water_is_thinned_to_its_middle():
    water = np.zeros((9, 30), bool)
    water[2:7, 2:28] = True
    lines = thin(water, np.zeros(water.shape, np.float32), np.zeros_like(water))
    assert lines[4, 6:24].all()
    assert lines[:, 6:24].sum() == 18


def test_holes():
    inside = np.ones((60, 60), bool)
    inside[[0, -1]] = inside[:, [0, -1]] = False
    water = np.zeros_like(inside)
    water[2:8, 2:8] = True
    water[4:6, 4:6] = False  # small
    water[10:32, 2:24] = True
    water[12:30, 4:22] = False  # 324 cells
    elevation = np.zeros(inside.shape, np.float32)
    filled = fill_holes(water, inside, elevation)
    assert filled[2:8, 2:8].all()
    assert filled[10:32, 2:24].all()
    elevation[20, 10] = 4
    hilly = fill_holes(water, inside, elevation)
    assert hilly[4:6, 4:6].all()
    assert not hilly[12:30, 4:22].any()
    # A hole that is not all inside stays.
    inside[5, 5] = False
    assert not fill_holes(water, inside, elevation)[4:6, 4:6].any()
