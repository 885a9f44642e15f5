"""Ensembles, symmetries, and batches that do not fit the memory."""

import numpy as np
import pytest
import torch

from headwater.core.errors import InputError, WorkError
from headwater.models.channels import ESRI_STREAMS, PAPER, RELATIVE, RELEASE, Channel, Recipe, Scaling, make_channels
from headwater.models.waternet import MultiplicationBlock, WaterNet, WaterNetConfig
from headwater.predict.ensemble import (
    SYMMETRIES,
    Ensemble,
    EnsembleMember,
    check_symmetries,
    transform_channels,
    undo_symmetry,
)

SIZES = WaterNetConfig(base_channels=2, encoders=2, decoders=1)
TRACES = Recipe(
    name="traces",
    channels=(
        Channel("dE/dy", scaling=Scaling(low=-3, high=3, gain=0.5)),
        Channel("dE/dx", scaling=Scaling(low=-3, high=3, gain=0.5)),
        Channel("R"),
        Channel("TPI"),
        Channel("geomorphon"),
    ),
    dy_sign=-1,
)


def place(shape=(24, 36), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (4, *shape), dtype=np.uint8), rng.normal(100, 9, shape).astype(np.float32)


def rotate(array, symmetry):
    """As the docstring defines it: counterclockwise quarter turns, then mirrored."""
    for _ in range(symmetry & 3):
        array = np.swapaxes(array, -1, -2)[..., ::-1, :]
    return np.ascontiguousarray(array[..., ::-1] if symmetry & 4 else array)


@pytest.mark.parametrize("recipe", [PAPER, RELEASE, RELATIVE, TRACES], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_transformed_channels_are_the_channels_of_the_rotated_terrain(recipe, symmetry):
    composite, elevation = place()
    made, _ = make_channels(composite, elevation, recipe)
    expected, _ = make_channels(rotate(composite, symmetry), rotate(elevation, symmetry), recipe)
    transformed = transform_channels(torch.from_numpy(made)[None], recipe, symmetry)
    np.testing.assert_allclose(transformed[0].numpy(), expected, atol=2e-4)
    plain = torch.from_numpy(made)[None, :1]
    assert torch.equal(undo_symmetry(transform_channels(plain, ESRI_STREAMS, symmetry), symmetry), plain)


def test_the_eight_symmetries_differ():
    ramp = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert len({tuple(transform_channels(ramp, ESRI_STREAMS, s).flatten().tolist()) for s in range(SYMMETRIES)}) == 8


@pytest.mark.parametrize(
    "channels",
    [(Channel("dE/dx"),), (Channel("dE/dx"), Channel("dE/dy", scaling=Scaling(gain=2)))],
)
def test_a_vector_that_cannot_be_rotated_is_refused(channels):
    with pytest.raises(InputError, match="cannot be rotated"):
        check_symmetries([Recipe(name="odd", channels=channels)])


def network(seed=0, sizes=SIZES):
    torch.manual_seed(seed)
    return WaterNet(sizes).eval()


def channels_of(recipe, count):
    return [[make_channels(*place((16, 16), seed), recipe)[0]] for seed in range(count)]


def test_an_ensemble_is_the_mean_of_its_members():
    members = [EnsembleMember(network(seed), PAPER) for seed in range(3)]
    tiles = channels_of(PAPER, 1)
    alone = [Ensemble([member], batch_size=1).start(tiles)[0] for member in members]
    together = Ensemble(members, batch_size=1).start(tiles)[0]
    torch.testing.assert_close(together, torch.stack(alone).mean(dim=0))


def test_each_member_gets_its_own_recipe():
    composite, elevation = place((16, 16))
    members = [
        EnsembleMember(network(0), PAPER),
        EnsembleMember(network(1), RELEASE),
        EnsembleMember(network(2), PAPER),
    ]
    ensemble = Ensemble(members, batch_size=1)
    assert ensemble.recipes == [PAPER, RELEASE]
    made = [make_channels(composite, elevation, recipe)[0] for recipe in ensemble.recipes]
    with torch.inference_mode():
        inputs = [made[0], made[1], made[0]]
        expected = [m.model(torch.from_numpy(x)[None]) for m, x in zip(members, inputs, strict=True)]
    torch.testing.assert_close(ensemble.start([made])[0], torch.stack(expected).mean(dim=0))


def test_symmetries_make_a_prediction_that_rotates_with_the_terrain():
    composite, elevation = place((16, 24))
    ensemble = Ensemble([EnsembleMember(network(), PAPER)], batch_size=1, symmetries=SYMMETRIES)
    straight = ensemble.start([[make_channels(composite, elevation, PAPER)[0]]])[0][0].numpy()
    for symmetry in (1, 4, 6):
        made, _ = make_channels(rotate(composite, symmetry), rotate(elevation, symmetry), PAPER)
        np.testing.assert_allclose(ensemble.start([[made]])[0][0].numpy(), rotate(straight, symmetry), atol=1e-4)


def test_networks_of_different_scale_are_refused():
    other = network(sizes=WaterNetConfig(base_channels=2, encoders=2, decoders=2))
    with pytest.raises(InputError, match="times smaller"):
        Ensemble([EnsembleMember(network(), PAPER), EnsembleMember(other, PAPER)])
    with pytest.raises(InputError, match="no network"):
        Ensemble([])


class Narrow(torch.nn.Module):
    """Runs out of memory above a number of tiles."""

    config = SIZES

    def __init__(self, fits):
        super().__init__()
        self.fits, self.batches = fits, []

    def forward(self, x):
        self.batches.append(len(x))
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("too many tiles")
        return x[:, :1, ::2, ::2]


def test_a_batch_that_does_not_fit_is_halved_for_good_and_no_tile_is_lost():
    tiles = channels_of(PAPER, 11)
    model = Narrow(3)
    ensemble = Ensemble([EnsembleMember(model, PAPER)], batch_size=8)
    output = torch.cat(ensemble.start(tiles))
    np.testing.assert_array_equal(output[:, 0].numpy(), np.stack([tile[0][0, ::2, ::2] for tile in tiles]))
    assert model.batches == [8, 4, 2, 2, 2, 2, 2, 2]
    assert ensemble.batch_size == 2


def test_one_tile_that_does_not_fit_is_an_error_with_a_remedy():
    with pytest.raises(WorkError, match="does not fit"):
        Ensemble([EnsembleMember(Narrow(0), PAPER)], batch_size=2).start(channels_of(PAPER, 2))


def test_the_last_batch_keeps_its_shape():
    model = Narrow(9)
    output = Ensemble([EnsembleMember(model, PAPER)], batch_size=4).start(channels_of(PAPER, 3))
    assert model.batches == [4]
    assert sum(len(part) for part in output) == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_shorter_type_leaves_the_callers_network_alone_and_stays_close(dtype):
    model = network()
    tiles = channels_of(PAPER, 1)
    exact = Ensemble([EnsembleMember(model, PAPER)], batch_size=1).start(tiles)[0]
    short = Ensemble([EnsembleMember(model, PAPER)], batch_size=1, dtype=dtype).start(tiles)[0]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert short.dtype == torch.float32
    assert not torch.equal(short, exact)
    torch.testing.assert_close(short, exact, atol=0.05, rtol=0)


def test_the_batch_size_is_one_on_the_cpu_and_never_above_the_tiles():
    for requested, chosen in ((0, 1), (4, 4), (9, 5)):
        ensemble = Ensemble([EnsembleMember(network(), PAPER)], batch_size=requested)
        ensemble.settle_batch_size((16, 16), 5)
        assert ensemble.batch_size == chosen


def test_gates_that_reach_millions_stay_within_float16():
    model = network(sizes=WaterNetConfig(base_channels=4, encoders=2, decoders=1))
    for module in model.modules():
        if isinstance(module, MultiplicationBlock):
            for convolution in (m for m in module.modules() if isinstance(m, torch.nn.Conv2d)):
                convolution.weight.data *= 20
    tiles = channels_of(PAPER, 1)
    peak = []
    gate = model.encoders[0].multiplication_blocks.multi_conv_block
    handle = gate.register_forward_hook(lambda _module, _inputs, output: peak.append(float(output.abs().max())))
    exact = Ensemble([EnsembleMember(model, PAPER)], batch_size=1).start(tiles)[0]
    handle.remove()
    assert peak[0] > 65504
    short = Ensemble([EnsembleMember(model, PAPER)], batch_size=1, dtype=torch.float16).start(tiles)[0]
    torch.testing.assert_close(short, exact, atol=0.01, rtol=0)
