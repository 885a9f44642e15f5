"""WaterNet against the published architecture's golden tensors, and its laws."""

import pytest
import torch
from safetensors.torch import load_file

from headwater.models.waternet import InstanceNorm, WaterNet, WaterNetConfig
from support.places import SHARED

GOLDEN = SHARED / "waternet_golden"
SMALL = WaterNetConfig(base_channels=2, encoders=2, decoders=1)


@pytest.mark.parametrize(("base_channels", "parameters"), [(4, 5_704_129), (16, 91_056_197)])
def test_parameter_counts_of_the_published_sizes(base_channels, parameters):
    with torch.device("meta"):
        model = WaterNet(WaterNetConfig(base_channels=base_channels))
    assert len(model.state_dict()) == 279
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.real
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the shared folder is not next to the checkout")
@pytest.mark.parametrize("pair", ["pair", "pair_small"])
def test_golden_pairs_are_reproduced(pair):
    model = WaterNet(WaterNetConfig()).eval()
    weights = {name: tensor.float() for name, tensor in load_file(GOLDEN / "state_dict.safetensors").items()}
    model.load_state_dict(weights, strict=True)
    golden = load_file(GOLDEN / f"{pair}.safetensors")
    with torch.inference_mode():
        output = model(golden["input"])
    assert (output - golden["output"]).abs().max() < 2e-5


@pytest.mark.parametrize(
    ("encoders", "decoders", "scale"), [(1, 1, 1), (1, 0, 2), (3, 2, 2), (3, 1, 4), (6, 5, 2), (2, 2, 1)]
)
def test_any_depth_gives_the_scale_it_names(encoders, decoders, scale):
    config = WaterNetConfig(in_channels=3, base_channels=1, encoders=encoders, decoders=decoders, out_channels=2)
    assert config.scale == scale
    model = WaterNet(config).eval()
    side = 2 * config.multiple_px
    with torch.inference_mode():
        output = model(torch.rand(2, 3, side, 2 * side))
    assert output.shape == (2, 2, side // scale, 2 * side // scale)
    assert output.min() >= 0
    assert output.max() <= 1


@pytest.mark.parametrize(
    "sizes", [{"encoders": 1, "decoders": 2}, {"base_channels": 0}, {"encoders": 0, "decoders": 0}]
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match=r"needs at least|do not fit"):
        WaterNetConfig(**sizes)


def test_attention_equals_the_written_out_form():
    torch.manual_seed(0)
    attention = WaterNet(SMALL).attention
    x = torch.randn(2, 10, 12, 9)
    features = attention.conv_block1(x)
    spread, mean = torch.std_mean(features, dim=(2, 3), keepdim=True)
    wide = torch.cat([x, mean.expand_as(features), spread.expand_as(features)], dim=1)
    weighted = torch.sigmoid(attention.conv_block2(wide)) * x
    expected = attention.channel_increase_conv(torch.nn.functional.instance_norm(weighted))
    torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_equals_pytorchs_in_values_and_gradients(affine):
    torch.manual_seed(1)
    ours, theirs = InstanceNorm(4, affine=affine), torch.nn.InstanceNorm2d(4, affine=affine)
    if affine:
        torch.nn.init.normal_(ours.weight)
        torch.nn.init.normal_(ours.bias)
        theirs.load_state_dict(ours.state_dict())
    a = torch.randn(2, 4, 6, 7, requires_grad=True)
    b = a.detach().clone().requires_grad_()
    direction = torch.randn(2, 4, 6, 7)
    (ours(a) * direction).sum().backward()
    (theirs(b) * direction).sum().backward()
    torch.testing.assert_close(ours(a), theirs(b), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_tensor_and_stay_finite_on_a_constant_image():
    torch.manual_seed(2)
    model = WaterNet(SMALL)
    for image in (torch.randn(1, 10, 16, 16), torch.ones(1, 10, 16, 16)):
        model.zero_grad()
        model(image).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_images_of_a_batch_do_not_see_each_other():
    torch.manual_seed(3)
    model = WaterNet(SMALL).eval()
    x = torch.randn(3, 10, 16, 24)
    with torch.inference_mode():
        together, alone = model(x), torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
