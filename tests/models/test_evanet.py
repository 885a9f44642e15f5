"""EvaNet against the published checkpoint's golden pair, and elevation-regulated convolution."""

import pytest
import torch
from safetensors.torch import load_file

from headwater.models.checkpoint import load_checkpoint
from headwater.models.elevation_regulated import ElevationRegulatedConv, ElevationRegulatedUpsampling
from headwater.models.evanet import EvaNet, EvaNetConfig
from headwater.models.importing import import_checkpoint

CHECKPOINT = "evanet4c_region2_epoch135.ckpt"


def test_size_of_the_published_network():
    model = EvaNet()
    assert len(model.state_dict()) == 222
    assert sum(parameter.numel() for parameter in model.parameters()) == 288_676


@pytest.mark.real
def test_published_weights_give_their_published_output(shared_data, tmp_path):
    folder, out = shared_data / "evanet_golden", tmp_path / "evanet.safetensors"
    import_checkpoint("evanet", folder / CHECKPOINT, out, license="MIT")
    checkpoint = load_checkpoint(out)
    golden = load_file(folder / "pair.safetensors")
    with torch.inference_mode():
        logits = checkpoint.model(golden["image"], golden["elevation"])
    assert logits.shape == (1, 2, 128, 128)
    torch.testing.assert_close(logits, golden["logits"], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(torch.sigmoid(logits), golden["output"], rtol=0, atol=2e-5)
    assert checkpoint.metadata.config == {"image_channels": 3, "base_channels": 8, "depth": 3, "scale": 1}
    assert checkpoint.metadata.recipe.name == "evanet_release"
    assert checkpoint.metadata.license == "MIT"
    assert len(checkpoint.model.state_dict()) == 222
    # For prediction: the stack, and flood where its score is the larger one.
    stack = torch.cat([golden["image"], golden["elevation"]], dim=1)
    with torch.inference_mode():
        probability = checkpoint.predictor(stack)
    assert torch.equal(probability[:, 0] >= 0.5, logits[:, 0] >= logits[:, 1])


def test_prediction_at_half_the_size_averages_the_log_odds():
    torch.manual_seed(0)
    full = EvaNet(EvaNetConfig(base_channels=2, depth=2)).eval()
    half = EvaNet(EvaNetConfig(base_channels=2, depth=2, scale=2)).eval()
    half.load_state_dict(full.state_dict())
    x = torch.rand(1, 4, 16, 8)
    with torch.inference_mode():
        expected = torch.nn.functional.avg_pool2d(full.logits(x), 2)
        torch.testing.assert_close(half.logits(x), expected)
        assert half(x[:, :3], x[:, 3:]).shape == (1, 2, 16, 8)


def test_an_open_gate_leaves_the_convolution_and_a_shut_one_nothing():
    torch.manual_seed(0)
    layer = ElevationRegulatedConv(3, 1, 5)
    image, elevation = torch.rand(2, 3, 9, 7), torch.rand(2, 1, 9, 7)
    torch.nn.init.zeros_(layer.conv_layer_elev.weight)
    torch.nn.init.constant_(layer.conv_layer_elev.bias, 50)
    open_, gate = layer(image, elevation)
    torch.testing.assert_close(open_, layer.conv_layer_img(image))
    assert gate.shape == (2, 5, 9, 7)
    torch.nn.init.constant_(layer.conv_layer_elev.bias, -50)
    assert layer(image, elevation)[0].abs().max() < 1e-12


def test_constant_images_stay_constant_up_to_the_border():
    torch.manual_seed(1)
    layer = ElevationRegulatedConv(2, 1, 3)
    out, gate = layer(torch.full((1, 2, 6, 6), 0.7), torch.full((1, 1, 6, 6), 0.2))
    for values in (out, gate):
        assert (values.amax(dim=(2, 3)) - values.amin(dim=(2, 3))).max() < 1e-6


def test_written_out_form():
    torch.manual_seed(2)
    layer = ElevationRegulatedUpsampling(2, 3)
    image, elevation = torch.rand(1, 2, 4, 5), torch.rand(1, 2, 4, 5)
    out, gate = layer(image, elevation)
    assert out.shape == gate.shape == (1, 3, 8, 10)
    torch.testing.assert_close(out, layer.trans_conv_layer_img(image) * gate)
    torch.testing.assert_close(gate, torch.sigmoid(layer.trans_conv_layer_elev(elevation)))
