"""Terrain indices: properties, and slow reference implementations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.terrain import relief
from headwater.terrain.relief import LANDFORM_OF_COUNTS, LANDFORMS


def plane(rise_y=0.0, rise_x=0.0, shape=(23, 31)):
    rows, columns = np.indices(shape)
    return (500 + rise_y * rows + rise_x * columns).astype(np.float32)


def cone(side=41, slope=4.0):
    rows, columns = np.indices((side, side)) - side // 2
    return (900 - slope * np.hypot(rows, columns)).astype(np.float32)


def rough(seed=0, shape=(24, 30)):
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 5, shape).cumsum(axis=0).cumsum(axis=1) / 5 + 300).astype(np.float32)


def valley(shape=(40, 41)):
    """A V-shaped valley along the middle column that descends southward."""
    rows, columns = np.indices(shape)
    return (200 - 0.5 * rows + 3 * np.abs(columns - shape[1] // 2)).astype(np.float32)


INDICES = {
    "position": lambda e: relief.topographic_position(e, radius_px=4),
    "annulus": lambda e: relief.topographic_position(e, radius_px=6, inner_px=3),
    "square": lambda e: relief.topographic_position(e, radius_px=2, square=True),
    "geomorphons": lambda e: relief.geomorphons(e, pixel_m=10, search_px=8, skip_px=1),
    "relative": lambda e: relief.relative_elevation(e, radius_px=3),
    "min_max": relief.min_max_elevation,
}


@pytest.mark.parametrize("radius_px", [1, 3, 8, 40])
@pytest.mark.parametrize("kind", [{}, {"square": True}, {"inner_px": 1}])
@pytest.mark.parametrize("rises", [(0, 0), (2.5, 0), (-1.25, 3)])
def test_position_of_a_plane_is_zero_also_at_its_borders(radius_px, kind, rises):
    position = relief.topographic_position(plane(*rises), radius_px=radius_px, **kind)
    np.testing.assert_allclose(position, 0, atol=1e-3)


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize(("radius_px", "inner_px"), [(1, 0), (3, 0), (5, 2), (5, 5), (4, 1)])
def test_position_equals_the_reference_mean(radius_px, inner_px, square):
    elevation = rough(1, (15, 13))
    elevation[7, 6] = np.nan
    got = relief.topographic_position(elevation, radius_px=radius_px, inner_px=inner_px, square=square)
    rows, columns = elevation.shape
    for row, column in itertools.product(range(rows), range(columns)):
        if np.isnan(elevation[row, column]):
            assert np.isnan(got[row, column])
            continue
        near = []
        for dy, dx in itertools.product(range(-radius_px, radius_px + 1), repeat=2):
            distance = max(abs(dy), abs(dx)) if square else math.hypot(dy, dx)
            pair = [(row + dy, column + dx), (row - dy, column - dx)]
            if inner_px <= distance <= radius_px and all(0 <= y < rows and 0 <= x < columns for y, x in pair):
                near.append(elevation[pair[0]])
        expected = elevation[row, column] - np.nanmean(near, dtype=float) if np.isfinite(near).any() else 0
        assert got[row, column] == pytest.approx(expected, abs=1e-3)


def test_a_summit_stands_above_and_a_valley_below_its_surroundings():
    assert relief.topographic_position(cone(), radius_px=5)[20, 20] > 5
    assert relief.topographic_position(-cone(), radius_px=5)[20, 20] < -5
    position = relief.topographic_position(valley(), radius_px=5)
    assert (position[10:30, 20] < -1).all()


def test_a_level_plane_is_flat_and_a_tilted_one_a_slope():
    assert (relief.geomorphons(plane(), pixel_m=10) == relief.FLAT).all()
    # Below the threshold everywhere.
    assert (relief.geomorphons(plane(0.05), pixel_m=10) == relief.FLAT).all()
    tilted = relief.geomorphons(plane(3.0, 1.0), pixel_m=10, search_px=5)
    assert (tilted[5:-5, 5:-5] == relief.SLOPE).all()


def test_known_landforms():
    assert relief.geomorphons(cone(), pixel_m=10)[20, 20] == relief.PEAK
    assert relief.geomorphons(-cone(), pixel_m=10)[20, 20] == relief.PIT
    level = valley() + np.float32(0.5) * np.indices((40, 41))[0]
    forms = relief.geomorphons(level.astype(np.float32), pixel_m=10, search_px=6)
    assert (forms[8:-8, 20] == relief.VALLEY).all()
    assert (relief.geomorphons(-level.astype(np.float32), pixel_m=10, search_px=6)[8:-8, 20] == relief.RIDGE).all()
    # Half plane, half slope: where the ground begins to rise and where it begins to descend.
    foot = np.maximum(np.arange(41) - 20, 0)[None].repeat(31, axis=0).astype(np.float32) * 4
    assert (relief.geomorphons(foot, pixel_m=10, search_px=6)[10:-10, 20] == relief.FOOTSLOPE).all()
    assert (relief.geomorphons(-foot, pixel_m=10, search_px=6)[10:-10, 20] == relief.SHOULDER).all()


def test_lines_of_sight_ignore_pixels_within_the_skip_radius():
    elevation = plane()
    elevation[11, 15] += 5
    near = relief.geomorphons(elevation, pixel_m=10, search_px=6)
    past = relief.geomorphons(elevation, pixel_m=10, search_px=6, skip_px=2)
    assert near[11, 15] == past[11, 15] == relief.PEAK
    elevation[11, 15] = np.nan
    assert relief.geomorphons(elevation, pixel_m=10)[11, 15] == 0
    elevation = plane()
    elevation[10:13, 14:17] += 5
    elevation[11, 15] -= 5
    assert relief.geomorphons(elevation, pixel_m=10, search_px=6)[11, 15] == relief.PIT
    assert relief.geomorphons(elevation, pixel_m=10, search_px=6, skip_px=2)[11, 15] == relief.FLAT


def test_lines_of_sight_have_the_same_length_on_diagonals():
    elevation = plane(shape=(41, 41))
    elevation[20 + 8, 20 + 8] += 100
    elevation[20, 20 + 8] += 100
    # 8 diagonal steps are 11.3 pixels: visible from a search radius of 12 on.
    assert relief.geomorphons(elevation, pixel_m=10, search_px=8)[20, 20] == LANDFORM_OF_COUNTS[0, 1]
    far = relief.geomorphons(elevation, pixel_m=10, search_px=12, flat_degrees=30)
    assert far[20, 20] == LANDFORM_OF_COUNTS[0, 2]


def test_the_table_has_498_patterns_with_one_landform_each():
    def rotated(pattern):
        for start in range(8):
            yield (*pattern[start:], *pattern[:start])

    patterns = {}
    for pattern in itertools.product((-1, 0, 1), repeat=8):
        name = min(min(rotated(pattern)), min(rotated(pattern[::-1])))
        patterns.setdefault(name, set()).add(LANDFORM_OF_COUNTS[pattern.count(-1), pattern.count(1)])
    assert len(patterns) == 498
    assert all(len(forms) == 1 for forms in patterns.values())
    assert {form for forms in patterns.values() for form in forms} == set(range(1, 11))
    assert len(LANDFORMS) == 10


def test_the_table_is_inverted_with_the_terrain():
    opposite = dict(zip(range(1, 11), (1, 10, 9, 8, 7, 6, 5, 4, 3, 2), strict=True))
    for lower in range(9):
        for higher in range(9 - lower):
            form, other = int(LANDFORM_OF_COUNTS[lower, higher]), int(LANDFORM_OF_COUNTS[higher, lower])
            assert opposite[form] == other, (lower, higher)


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("gap", [False, True])
def test_rotation_and_reflection_permute_positions_only(name, gap):
    elevation = rough(2)
    if gap:
        elevation[5:7, 9] = np.nan
    index = INDICES[name](elevation)
    for turn in range(4):
        np.testing.assert_allclose(INDICES[name](np.rot90(elevation, turn)), np.rot90(index, turn), atol=2e-4)
    np.testing.assert_allclose(INDICES[name](elevation[:, ::-1]), index[:, ::-1], atol=2e-4)


@given(offset=st.integers(-400, 8000))
def test_only_differences_of_height_count(offset):
    elevation = np.round(rough(3))
    for name, compute in INDICES.items():
        np.testing.assert_allclose(compute(elevation + np.float32(offset)), compute(elevation), atol=2e-3, err_msg=name)


def test_wetness_is_larger_in_valleys_and_grows_downstream():
    elevation = valley()
    wetness = relief.topographic_wetness(elevation, pixel_m=10)
    thalweg, side = wetness[2:-2, 20], wetness[2:-2, [8, 14, 26, 32]]
    assert (thalweg[:, None] > side + 2).all()
    assert (np.diff(thalweg) > 0).all()
    np.testing.assert_allclose(wetness[:, ::-1], wetness, atol=1e-4)


def test_wetness_by_hand_on_a_tilted_plane():
    # Water runs south in columns: the pixel in row r drains r + 1 pixels at a slope of 0.2.
    wetness = relief.topographic_wetness(plane(-2.0, shape=(12, 9)), pixel_m=10)
    expected = np.log((np.arange(12) + 1) * 10 / 0.2)
    np.testing.assert_allclose(wetness[:, 4], expected, rtol=1e-4)


def test_wetness_of_flats_and_pits_is_finite_and_unknown_pixels_stay_unknown():
    elevation = plane()
    elevation[8:12, 10:15] -= 30
    elevation[3, 3] = np.nan
    wetness = relief.topographic_wetness(elevation, pixel_m=10)
    assert np.isnan(wetness[3, 3])
    assert np.isfinite(wetness).sum() == wetness.size - 1
    assert np.isnan(relief.topographic_wetness(np.full((5, 6), np.nan, np.float32), pixel_m=10)).all()


def test_upslope_area_by_hand_on_a_tilted_plane():
    # Water runs south in columns: the pixel in row r drains r + 1 pixels of 0.0001 km2, clipped at 10 of them.
    area = relief.upslope_area(plane(-2.0, shape=(12, 9)), pixel_m=10, smoothing_px=0, max_km2=0.001)
    expected = np.log10(np.minimum(np.arange(12) + 1, 10) * 1e-4)
    np.testing.assert_allclose(area[:, 4], expected, rtol=1e-5)


def test_upslope_area_is_largest_in_valleys_whatever_the_noise_and_altitude():
    elevation = valley()
    noisy = elevation + np.random.default_rng(3).normal(0, 0.3, elevation.shape).astype(np.float32)
    area = relief.upslope_area(noisy + 3000, pixel_m=10, smoothing_px=2)
    assert (area[6:-6, 18:23].max(axis=1) > area[6:-6, [8, 14, 26, 32]].max(axis=1)).all()


def test_upslope_area_counts_every_known_pixel_once():
    elevation = rough(7, (40, 50))
    elevation[10:14, 20:25] = np.nan
    area = 10 ** relief.upslope_area(elevation, pixel_m=10, max_km2=1000) / 1e-4
    assert np.isnan(area).sum() == 20
    # All water leaves at the edges of the known ground, whose pixels together drain every pixel.
    assert np.nansum(np.where(np.isfinite(area), 1, 0)) <= np.nansum(area)
    assert np.nanmin(area) >= 1 - 1e-4
    assert np.nanmax(area) <= area.size


def test_relative_elevation_has_a_finite_support():
    elevation = rough(4, (80, 80))
    support_px = relief.SMOOTHING_PASSES * 5
    other = elevation.copy()
    other[:20] += 1000
    np.testing.assert_allclose(
        relief.relative_elevation(other, radius_px=5)[20 + support_px :],
        relief.relative_elevation(elevation, radius_px=5)[20 + support_px :],
        atol=1e-3,
    )


def test_relative_elevation_of_a_plane_is_zero_inside():
    relative = relief.relative_elevation(plane(2, -1, (60, 60)), radius_px=4)
    np.testing.assert_allclose(relative[12:-12, 12:-12], 0, atol=1e-3)


def test_min_max_is_0_to_1_also_with_fixed_heights():
    elevation = rough(5)
    elevation[0, 0] = np.nan
    scaled = relief.min_max_elevation(elevation)
    assert np.nanmin(scaled) == 0
    assert np.nanmax(scaled) == 1
    assert np.isnan(scaled[0, 0])
    np.testing.assert_array_equal(relief.min_max_elevation(plane()), 0)
    fixed = relief.min_max_elevation(np.array([[-50, 0, 50, 100, 150]], np.float32), low_m=0, high_m=100)
    np.testing.assert_array_equal(fixed, [[0, 0, 0.5, 1, 1]])


@pytest.mark.parametrize(
    "make",
    [
        lambda e: relief.topographic_position(e, radius_px=0),
        lambda e: relief.topographic_position(e, radius_px=2, inner_px=3),
        lambda e: relief.geomorphons(e, pixel_m=10, search_px=3, skip_px=3),
        lambda e: relief.geomorphons(e, pixel_m=0),
        lambda e: relief.geomorphons(e, pixel_m=10, flat_degrees=-1),
        lambda e: relief.topographic_wetness(e, pixel_m=-1),
        lambda e: relief.topographic_wetness(e, pixel_m=10, min_slope=0),
        lambda e: relief.relative_elevation(e, radius_px=0),
        lambda e: relief.upslope_area(e, pixel_m=10, smoothing_px=-1),
        lambda e: relief.upslope_area(e, pixel_m=10, max_km2=0),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(InputError):
        make(plane())
