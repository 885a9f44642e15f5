"""Channels and recipes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headwater.core.errors import InputError
from headwater.core.sentinel2 import CHANNELS
from headwater.models.channels import PAPER, RECIPES, RELEASE, Channel, Recipe, Scaling, make_channels
from headwater.terrain import relief


def tile(seed=0, shape=(6, 8)):
    rng = np.random.default_rng(seed)
    composite = rng.integers(1, 256, (4, *shape), dtype=np.uint8)
    elevation = rng.normal(300, 20, shape).astype(np.float32)
    return composite, elevation


def test_paper_formulas():
    composite, elevation = tile()
    channels, missing_fraction = make_channels(composite, elevation, PAPER)
    n, r, g, b = composite.astype(float) / 255
    e = elevation.astype(float)
    dx, dy = np.gradient(e, axis=1), np.gradient(e, axis=0)
    expected = [2 * n - 1, 2 * r - 1, 2 * g - 1, 2 * b - 1, (n - r) / (n + r), (g - n) / (g + n)]
    expected += [e - e.min(), dx, dy, np.sqrt(dx**2 + dy**2)]
    assert channels.dtype == np.float32
    assert missing_fraction == 0
    np.testing.assert_allclose(channels, expected, rtol=1e-5, atol=5e-5)


def test_inner_differences_are_halved_and_border_ones_are_not():
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
    channels, missing_fraction = make_channels(composite, elevation, PAPER)
    assert np.isfinite(channels).all()
    nir = composite[0].ravel()[1:] / 255 * 2 - 1
    assert channels[0, 0, 0] == pytest.approx(nir.mean(), rel=1e-5)
    assert channels[1, 0, 0] == pytest.approx(composite[1, 0, 0] / 255 * 2 - 1, rel=1e-5)
    assert channels[6, 3, 4] == pytest.approx(np.nanmean(elevation) - np.nanmin(elevation), rel=1e-4)
    # One pixel of imagery; and of the heights the unknown one with the four whose differences read it.
    assert missing_fraction == pytest.approx(6 / elevation.size)


def test_missing_pixels_stay_nan_on_request():
    composite, elevation = tile(2)
    composite[0, 0, 0] = 0
    elevation[3, 4] = np.nan
    filled, missing_fraction = make_channels(composite, elevation, PAPER)
    channels, same = make_channels(composite, elevation, PAPER, fill=False)
    assert same == missing_fraction
    unknown = np.isnan(channels)
    assert unknown[0].sum() == unknown[6].sum() == 1
    np.testing.assert_array_equal(channels[~unknown], filled[~unknown])


def test_a_tile_without_any_data_is_finite_and_completely_missing():
    channels, missing_fraction = make_channels(
        np.zeros((4, 4, 4), dtype=np.uint8), np.full((4, 4), np.nan, dtype=np.float32), RELEASE
    )
    assert missing_fraction == 1
    np.testing.assert_array_equal(channels, 0)


@settings(max_examples=40, deadline=None)
@given(
    composite=hnp.arrays(np.uint8, (4, 5, 7)),
    elevation=hnp.arrays(np.float32, (5, 7), elements=st.floats(-400, 8800, width=32) | st.just(np.nan)),
    recipe=st.sampled_from([PAPER, RELEASE]),
)
def test_channels_are_always_finite_and_indices_within_one(composite, elevation, recipe):
    channels, missing_fraction = make_channels(composite, elevation, recipe)
    assert np.isfinite(channels).all()
    assert np.abs(channels[:6]).max() <= 1
    assert channels[6].min() >= 0
    assert 0 <= missing_fraction <= 1
    some_missing = (composite == 0).any() or not np.isfinite(elevation).all()
    assert (missing_fraction > 0) == some_missing


def test_elevation_offset_does_not_matter():
    composite, elevation = tile(3)
    elevation = np.round(elevation)
    low, _ = make_channels(composite, elevation, PAPER)
    high, _ = make_channels(composite, elevation + np.float32(1024), PAPER)
    np.testing.assert_array_equal(low, high)


def test_inputs_stay_unchanged():
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


@pytest.mark.parametrize("recipe", [RECIPES.load(name) for name in RECIPES.names()])
def test_recipe_survives_json(recipe):
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    "values",
    [
        {"name": "x"},
        {"name": "x", "channels": []},
        {"name": "x", "channels": [*CHANNELS, "N"]},
        {"name": "x", "channels": ["N", "SWIR"]},
        {"name": "x", "channels": [7]},
        {"name": "x", "channels": [{"name": "TPI", "parameters": {"radius": 3}}]},
        {"name": "x", "channels": [{"name": "TPI", "parameters": {"radius_px": 2.5}}]},
        {"name": "x", "channels": [{"name": "TPI", "color": 3}]},
        {"name": "x", "channels": [{"name": "TPI", "scaling": {"levels": 255}}]},
        {"name": "x", "channels": [{"name": "TPI", "scaling": {"low": 2, "high": 2}}]},
        {"name": "x", "channels": CHANNELS, "pixel_m": 0},
        {"name": "x", "channels": CHANNELS, "gamma": 1},
        {"name": "x", "channels": CHANNELS, "dy_sign": 0},
    ],
)
def test_bad_recipes_are_refused(values):
    with pytest.raises(InputError):
        Recipe.from_dict(values)


OLD = {
    "name": "paper",
    "channels": list(CHANNELS),
    "index_epsilon": 0.0,
    "dy_sign": 1,
    "max_missing_share": 0.5,
}


def test_recipes_of_older_checkpoints_are_the_same_values():
    assert Recipe.from_dict(OLD) == PAPER
    assert PAPER.to_dict() == OLD
    assert PAPER.names == CHANNELS


def test_both_names_of_a_key_are_read_and_the_first_is_written():
    channel = Channel("slope", feature="gradient")
    recipe = Recipe(name="both", channels=(channel,), max_missing_fraction=0.2)
    written = recipe.to_dict()
    assert written["max_missing_share"] == 0.2
    assert written["channels"] == [{"name": "slope", "quantity": "gradient", "parameters": {}}]
    new = {"name": "both", "channels": [{"name": "slope", "feature": "gradient"}], "max_missing_fraction": 0.2}
    assert Recipe.from_dict(written) == Recipe.from_dict(new) == recipe


@pytest.mark.parametrize("recipe", [RECIPES.load(name) for name in RECIPES.names()], ids=lambda recipe: recipe.name)
def test_every_recipe_makes_finite_channels_and_describes_them(recipe):
    composite, elevation = tile(5, (40, 36))
    composite[:, 3, 4] = 0
    elevation[20:22, 7] = np.nan
    channels, missing_fraction = make_channels(composite, elevation, recipe)
    assert channels.shape == (len(recipe.channels), 40, 36)
    assert channels.dtype == np.float32
    assert np.isfinite(channels).all()
    assert 0 < missing_fraction < 0.1
    for described, name in zip(recipe.describe(), recipe.names, strict=True):
        assert described["name"] == name
        assert described["source"]
        assert "{" not in described["formula"]


def test_a_recipe_of_relief_alone_needs_no_image_and_one_of_imagery_no_elevation():
    composite, elevation = tile(6, (20, 20))
    composite[0, :5] = 0
    alone, missing = make_channels(None, elevation, RECIPES.load("esri_streams"))
    both, _ = make_channels(composite, elevation, RECIPES.load("esri_streams"))
    np.testing.assert_array_equal(alone, both)
    assert missing == 0
    image = Recipe(name="image", channels=("NDVI", "R"))
    only, _ = make_channels(composite, None, image)
    np.testing.assert_array_equal(only, make_channels(composite, elevation, image)[0])


def test_a_missing_band_is_named():
    composite, elevation = tile(7)
    with pytest.raises(InputError, match="'paper' needs the band N"):
        make_channels(composite[1:], elevation, PAPER, bands=("R", "G", "B"))
    with pytest.raises(InputError, match="needs the elevation"):
        make_channels(composite, None, PAPER)
    with pytest.raises(InputError, match="needs the band N"):
        make_channels(None, elevation, PAPER)


def test_bands_may_come_in_any_order():
    composite, elevation = tile(8)
    expected, _ = make_channels(composite, elevation, PAPER)
    reversed_, _ = make_channels(composite[::-1], elevation, PAPER, bands=("B", "G", "R", "N"))
    np.testing.assert_array_equal(reversed_, expected)


def test_bytes_of_the_eight_bit_recipe():
    _, elevation = tile(9, (30, 30))
    channels, _ = make_channels(None, elevation * 10, RECIPES.load("esri_streams"))
    np.testing.assert_array_equal(channels, np.round(channels))
    assert channels.min() >= 0
    assert channels.max() <= 255


def test_evanet_channels_run_from_0_to_1_and_its_releases_image_from_minus_1():
    composite, elevation = tile(10)
    ours, _ = make_channels(composite, elevation, RECIPES.load("evanet"))
    np.testing.assert_allclose(ours[:3], composite[1:] / 255, atol=1e-6)
    assert ours[3].min() == 0
    assert ours[3].max() == 1
    release, _ = make_channels(composite, elevation, RECIPES.load("evanet_release"))
    np.testing.assert_allclose(release[:3], ours[:3] * 2 - 1, atol=1e-6)
    np.testing.assert_array_equal(release[3], ours[3])


def test_with_a_halo_a_tiles_channels_are_those_of_the_complete_raster():
    composite, elevation = tile(11, (260, 250))
    recipe = RECIPES.load("relative")
    assert not recipe.reads_entire_tile
    reach = int(recipe.support_px)
    whole, _ = make_channels(composite, elevation, recipe)
    rows, columns = slice(110, 140), slice(100, 150)
    wide = (slice(110 - reach, 140 + reach), slice(100 - reach, 150 + reach))
    part, _ = make_channels(composite[(slice(None), *wide)], elevation[wide], recipe, halo_px=(reach,) * 4)
    np.testing.assert_allclose(part, whole[:, rows, columns], atol=1e-3)
    assert PAPER.reads_entire_tile
    assert RECIPES.load("esri_streams").support_px == np.inf


def test_a_feature_may_occur_twice_with_different_parameters():
    _, elevation = tile(12, (30, 30))
    recipe = Recipe(
        name="two",
        channels=(
            Channel("TPI"),
            Channel("TPI wide", feature="TPI", parameters={"radius_px": 9}, scaling=Scaling(gain=0.1)),
        ),
    )
    channels, _ = make_channels(None, elevation, recipe)
    np.testing.assert_allclose(channels[0], relief.topographic_position(elevation, radius_px=3))
    np.testing.assert_allclose(channels[1], relief.topographic_position(elevation, radius_px=9) / 10, rtol=1e-5)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_what_cannot_be_an_elevation_is_unknown():
    image = np.full((4, 40, 40), 100, np.uint8)
    heights = np.add.outer(np.arange(40.0), np.arange(40.0)).astype(np.float32)
    expected, fraction = None, None
    for value in (np.nan, np.inf, -32768, 1e30, 9001):
        heights[10:12, 10:12] = value
        made, missing = make_channels(image, heights, PAPER)
        if expected is None:
            expected, fraction = made, missing
        assert np.isfinite(made).all()
        np.testing.assert_array_equal(made, expected)
        assert missing == fraction > 0
