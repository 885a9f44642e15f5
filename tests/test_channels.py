"""The ten channels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headwater.bands import CHANNELS
from headwater.channels import PAPER, RECIPES, RELEASE, Recipe, make_channels
from headwater.errors import InputError


def tile(seed=0, shape=(6, 8)):
    rng = np.random.default_rng(seed)
    composite = rng.integers(1, 256, (4, *shape), dtype=np.uint8)
    elevation = rng.normal(300, 20, shape).astype(np.float32)
    return composite, elevation


def test_paper_formulas():
    composite, elevation = tile()
    channels, missing_share = make_channels(composite, elevation, PAPER)
    n, r, g, b = composite.astype(float) / 255
    e = elevation.astype(float)
    dx, dy = np.gradient(e, axis=1), np.gradient(e, axis=0)
    expected = [2 * n - 1, 2 * r - 1, 2 * g - 1, 2 * b - 1, (n - r) / (n + r), (g - n) / (g + n)]
    expected += [e - e.min(), dx, dy, np.sqrt(dx**2 + dy**2)]
    assert channels.dtype == np.float32
    assert missing_share == 0
    np.testing.assert_allclose(channels, expected, rtol=1e-5, atol=5e-5)


def test_inner_differences_are_half_and_border_ones_whole():
    elevation = np.array([[0, 1, 4, 9], [0, 1, 4, 9]], dtype=np.float32)
    composite = np.full((4, 2, 4), 100, dtype=np.uint8)
    channels, _ = make_channels(composite, elevation, PAPER)
    np.testing.assert_array_equal(channels[7], [[1, 2, 4, 5]] * 2)
    np.testing.assert_array_equal(channels[8], np.zeros((2, 4)))


def test_release_differs_in_order_and_sign_only():
    composite, elevation = tile(1)
    paper, _ = make_channels(composite, elevation, PAPER)
    release, _ = make_channels(composite, elevation, RELEASE)
    np.testing.assert_allclose(release[4], paper[5], atol=1e-6)
    np.testing.assert_allclose(release[5], paper[4], atol=1e-6)
    np.testing.assert_array_equal(release[8], -paper[8])
    np.testing.assert_array_equal(release[[0, 1, 2, 3, 6, 7, 9]], paper[[0, 1, 2, 3, 6, 7, 9]])


def test_missing_pixels_hold_the_mean_of_the_others():
    composite, elevation = tile(2)
    composite[0, 0, 0] = 0  # NIR only: N, NDVI and NDWI have a gap, the others do not
    elevation[3, 4] = np.nan
    channels, missing_share = make_channels(composite, elevation, PAPER)
    assert np.isfinite(channels).all()
    nir = composite[0].ravel()[1:] / 255 * 2 - 1
    assert channels[0, 0, 0] == pytest.approx(nir.mean(), rel=1e-5)
    assert channels[1, 0, 0] == pytest.approx(composite[1, 0, 0] / 255 * 2 - 1, rel=1e-5)
    assert channels[6, 3, 4] == pytest.approx(np.nanmean(elevation) - np.nanmin(elevation), rel=1e-4)
    # One pixel of imagery; and of the heights the unknown one with the four whose differences read it.
    assert missing_share == pytest.approx(6 / elevation.size)


def test_a_tile_without_any_data_is_finite_and_wholly_missing():
    channels, missing_share = make_channels(
        np.zeros((4, 4, 4), dtype=np.uint8), np.full((4, 4), np.nan, dtype=np.float32), RELEASE
    )
    assert missing_share == 1
    np.testing.assert_array_equal(channels, 0)


@settings(max_examples=40, deadline=None)
@given(
    composite=hnp.arrays(np.uint8, (4, 5, 7)),
    elevation=hnp.arrays(np.float32, (5, 7), elements=st.floats(-400, 8800, width=32) | st.just(np.nan)),
    recipe=st.sampled_from(list(RECIPES.values())),
)
def test_channels_are_always_finite_and_indices_within_one(composite, elevation, recipe):
    channels, missing_share = make_channels(composite, elevation, recipe)
    assert np.isfinite(channels).all()
    assert np.abs(channels[:6]).max() <= 1
    assert channels[6].min() >= 0
    assert 0 <= missing_share <= 1
    some_missing = (composite == 0).any() or not np.isfinite(elevation).all()
    assert (missing_share > 0) == some_missing


def test_elevation_offset_does_not_matter():
    composite, elevation = tile(3)
    elevation = np.round(elevation)
    low, _ = make_channels(composite, elevation, PAPER)
    high, _ = make_channels(composite, elevation + np.float32(1024), PAPER)
    np.testing.assert_array_equal(low, high)


def test_inputs_stay_as_they_are():
    composite, elevation = tile(4)
    composite[:, 0, 0] = 0
    before = composite.copy(), elevation.copy()
    make_channels(composite, elevation, RELEASE)
    np.testing.assert_array_equal(composite, before[0])
    np.testing.assert_array_equal(elevation, before[1])


def test_different_grids_are_refused():
    composite, elevation = tile()
    with pytest.raises(InputError, match="same grid"):
        make_channels(composite, elevation[1:], PAPER)


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_recipe_survives_json(recipe):
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    "values",
    [
        {"name": "x"},
        {"name": "x", "channels": CHANNELS[1:]},
        {"name": "x", "channels": CHANNELS, "gamma": 1},
        {"name": "x", "channels": CHANNELS, "dy_sign": 0},
    ],
)
def test_bad_recipes_are_refused(values):
    with pytest.raises(InputError):
        Recipe.from_dict(values)
