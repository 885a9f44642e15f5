"""`headwater models`: list, info, import and verify, by the command line."""

import json

import pytest
import torch

from headwater.cli import main
from headwater.models.channels import RECIPES
from headwater.models.registry import NETWORKS, build_network
from headwater.models.shipped import default_checkpoints


@pytest.fixture
def published(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "published.ckpt"
    model = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 1})
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()}}, path)
    return path


def test_list_names_every_network_recipe_and_default_checkpoint(capsys):
    assert main(["models", "list"]) == 0
    printed = capsys.readouterr().out
    for name in (*NETWORKS.names(), *RECIPES.names(), *(path.name for path in default_checkpoints())):
        assert name in printed


def test_import_info_and_verify_go_together(published, tmp_path, capsys):
    out = tmp_path / "ours.safetensors"
    assert main(["models", "import", "waternet", str(published), "--out", str(out), "--licence", "CC0-1.0"]) == 0
    assert json.loads(out.with_suffix(".json").read_text())["recipe"]["name"] == "release"
    capsys.readouterr()
    assert main(["models", "info", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "CC0-1.0" in printed
    assert "base_channels 1" in printed
    assert "4 NDWI from G, N: (G - N) / (G + N + 1e-09)" in printed
    assert main(["models", "verify", str(out)]) == 0
    first = capsys.readouterr().out
    assert "the same twice" in first
    assert main(["models", "verify", str(out)]) == 0
    assert capsys.readouterr().out == first


def test_info_without_a_file_shows_the_default_checkpoints(capsys):
    assert main(["models", "info"]) == 0
    printed = capsys.readouterr().out
    assert all(path.name in printed for path in default_checkpoints())


def test_verify_and_import_refuse_damaged_files(published, tmp_path, capsys):
    out = tmp_path / "ours.safetensors"
    main(["models", "import", "waternet", str(published), "--out", str(out)])
    out.write_bytes(out.read_bytes()[:-4])
    assert main(["models", "verify", str(out)]) == 2
    assert "sha256 differs" in capsys.readouterr().err
    assert main(["models", "import", "evanet", str(published), "--out", str(out)]) == 2
    assert "holds no evanet" in capsys.readouterr().err
