"""Tiles, blending and nodata of a prediction, with networks so simple that the answer is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.models.channels import PAPER
from headwater.models.waternet import WaterNet, WaterNetConfig
from headwater.predict.blending import WINDOWS, blend_weights
from headwater.predict.ensemble import EnsembleMember
from headwater.predict.pipeline import Options, predict_arrays, predict_probability, quantize

SIZES = WaterNetConfig(base_channels=1, encoders=2, decoders=1)


class Brightness(torch.nn.Module):
    """Returns the mean of the near infrared over each 2 x 2 block, 0..1: a network that is local and exact."""

    config = SIZES

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return torch.nn.functional.avg_pool2d((x[:, :1] + 1) / 2, 2)


def place(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (4, *shape), dtype=np.uint8), rng.normal(100, 9, shape).astype(np.float32)


def block_mean(nir):
    return nir.reshape(nir.shape[0] // 2, 2, nir.shape[1] // 2, 2).mean(axis=(1, 3)) / 255


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 60), columns=st.integers(1, 60), tile=st.integers(2, 8), overlap=st.integers(0, 5),
    batch_size=st.integers(1, 5),
)  # fmt: skip
def test_a_local_network_is_reproduced_whatever_the_tiling(rows, columns, tile, overlap, batch_size):
    composite, elevation = place((2 * rows, 2 * columns))
    probability, valid = predict_probability(
        Brightness(), PAPER, composite, elevation, tile_px=4 * tile, overlap_px=overlap, batch_size=batch_size
    )
    assert valid.all()
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, block_mean(composite[0]), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(4, 40), columns=st.integers(4, 40), value=st.floats(0, 1, width=32))
def test_blending_a_constant_gives_the_constant(rows, columns, value):
    class Constant(torch.nn.Module):
        config = SIZES

        def forward(self, x):
            return torch.full((len(x), 1, x.shape[2] // 2, x.shape[3] // 2), value)

    composite, elevation = place((2 * rows, 2 * columns))
    probability, _ = predict_probability(Constant(), PAPER, composite, elevation, tile_px=16, overlap_px=4)
    np.testing.assert_allclose(probability, value, rtol=1e-5, atol=1e-7)
    assert probability.max() <= 1


def test_shapes_stay_fixed_and_divide():
    model = Brightness()
    composite, elevation = place((90, 30))
    predict_probability(model, PAPER, composite, elevation, tile_px=40, overlap_px=8)
    assert set(model.shapes) == {(1, 10, 40, 32)}


def test_weights_fall_from_the_center_and_never_vanish():
    weights = blend_weights((9, 9))
    assert weights[4, 4] == 1
    assert weights.argmax() == 40
    assert weights[4, 8] == pytest.approx(0.001 + 0.999 * np.sin(np.pi / 18) ** 2)
    assert weights[8, 8] == pytest.approx(weights[4, 8] ** 2)
    assert (np.diff(weights[4, 4:]) < 0).all()
    np.testing.assert_array_equal(weights, weights[::-1, ::-1].T)
    assert blend_weights((416, 416)).min() > 9e-7


@pytest.mark.parametrize("overlap", [2, 10, 20])
def test_weights_of_neighbors_add_up_over_the_overlap(overlap):
    across = blend_weights((1, 40), (1, overlap))[0]
    np.testing.assert_allclose((across[-overlap:] + across[:overlap]) / across.max(), 1, rtol=5e-3)
    assert (across[overlap : 40 - overlap] == across.max()).all()


@pytest.mark.parametrize("window", WINDOWS.values())
def test_every_window_is_positive_and_symmetric(window):
    weights = window((12, 20), (3, 5))
    assert weights.min() > 0
    np.testing.assert_allclose(weights, weights[::-1, ::-1], rtol=1e-6)


def test_nodata_where_the_composite_has_none_in_the_block():
    composite, elevation = place((64, 64))
    composite[:, 10:12, 20:22] = 0  # a complete block
    composite[:, 30:32, 41] = 0  # half a block
    composite[0, 50:52, 50:52] = 0  # one band of a block
    probability, valid = predict_probability(Brightness(), PAPER, composite, elevation, tile_px=32, overlap_px=8)
    expected = np.ones((32, 32), dtype=bool)
    expected[5, 10] = False
    np.testing.assert_array_equal(valid, expected)
    assert probability[5, 10] == 0


def test_tiles_that_are_mostly_missing_are_not_predicted():
    composite, elevation = place((32, 128))
    composite[:, :, 32:] = 0
    composite[:, 4:6, 100:102] = 99
    model = Brightness()
    _, valid = predict_probability(model, PAPER, composite, elevation, tile_px=32, overlap_px=0)
    # The first tile is full; the others are mostly missing and are skipped with the little data they have.
    np.testing.assert_array_equal(valid, np.arange(64)[None] < np.full((16, 1), 16))
    assert len(model.shapes) == 1


def test_an_empty_composite_gives_nothing():
    composite, elevation = place((32, 32))
    probability, valid = predict_probability(Brightness(), PAPER, composite * 0, elevation, tile_px=32, overlap_px=0)
    assert not valid.any()
    assert not probability.any()


def test_arrays_are_predicted_by_the_mean_of_several_networks():
    composite, elevation = place((64, 80))
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks.append(WaterNet(SIZES).eval())
    alone = [predict_probability(model, PAPER, composite, elevation, tile_px=32, overlap_px=8) for model in networks]
    members = [EnsembleMember(model, PAPER) for model in networks]
    mean, valid = predict_arrays(members, composite, elevation, Options(tile_px=32, overlap_px=8))
    assert valid.all()
    np.testing.assert_allclose(mean, (alone[0][0] + alone[1][0]) / 2, atol=1e-5)
    with pytest.raises(InputError, match="no network"):
        predict_arrays([], composite, elevation)


def test_an_unknown_height_does_not_spread():
    composite, elevation = place((64, 64))
    elevation[5:20, 5:20] = np.nan
    torch.manual_seed(0)
    probability, valid = predict_probability(
        WaterNet(SIZES).eval(), PAPER, composite, elevation, tile_px=32, overlap_px=8
    )
    assert valid.all()
    assert np.isfinite(probability).all()


def test_batches_and_repeats_agree_on_a_real_network():
    torch.manual_seed(1)
    model = WaterNet(SIZES).eval()
    composite, elevation = place((80, 96))
    options = {"tile_px": 32, "overlap_px": 16}
    first, _ = predict_probability(model, PAPER, composite, elevation, **options)
    again, _ = predict_probability(model, PAPER, composite, elevation, **options)
    batched, _ = predict_probability(model, PAPER, composite, elevation, batch_size=7, **options)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, batched, atol=1e-5)


def test_the_number_of_threads_is_the_settings_not_the_machines():
    torch.manual_seed(2)
    model = WaterNet(SIZES).eval()
    composite, elevation = place((64, 64))
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(predict_probability(model, PAPER, composite, elevation, tile_px=64, overlap_px=0)[0])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_quantize_rounds_to_the_nearest():
    np.testing.assert_array_equal(quantize(np.array([0, 0.5, 1, 0.0019, 0.002], dtype=np.float32)), [0, 128, 255, 0, 1])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((63, 64), {}, "does not divide by 2"),
        ((64, 64), {"tile_px": 30}, "multiple of 4 px"),
        ((64, 64), {"tile_px": 4}, "multiple of 4 px"),
        ((64, 64), {"tile_px": 32, "overlap_px": -1}, "overlap"),
    ],
)
def test_impossible_tilings_are_refused(shape, options, message):
    with pytest.raises(InputError, match=message):
        predict_probability(Brightness(), PAPER, *place(shape), **options)
