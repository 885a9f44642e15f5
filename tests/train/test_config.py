"""Every network by configuration, and every key documented."""

from dataclasses import fields

import pytest
import yaml

from headwater.cli import main
from headwater.models.checkpoint import load_checkpoint
from headwater.models.registry import NETWORKS
from headwater.train.config import NEEDED, OPTIONAL, RECIPE_OF_NETWORK, read_config
from headwater.train.cut import CutSettings, Region
from headwater.train.planets import PlanetSettings
from headwater.train.settings import LoopSettings, Losses, Stage
from support.places import ROOT

SIZES = {
    "waternet": {"base_channels": 1, "encoders": 2, "decoders": 1},
    "evanet": {"base_channels": 1, "depth": 2, "scale": 2},
    "hourglass": {"base_channels": 4, "stacks": 1, "depth": 1},
    "unet": {"base_channels": 1, "encoders": 2, "decoders": 1},
    "fcn8s": {"base_channels": 1},
}
STAGES = [{"chip_px": 32, "batch_size": 2, "steps": 2, "learning_rate": 0.01}]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_trains_by_its_recipe(tmp_path, configure, name):
    losses = {"elevation": 0.1, **({"orientation": 0.5} if name == "hourglass" else {})}
    assert main(["train", str(configure(network={"name": name, **SIZES[name]}, stages=STAGES, losses=losses))]) == 0
    metadata = load_checkpoint(tmp_path / "a" / "net.safetensors").metadata
    assert metadata.network == name
    assert metadata.recipe.name == RECIPE_OF_NETWORK[name]
    assert metadata.input_pixel_m == 10
    assert metadata.training["regions"]["training"] == ["north", "south"]
    assert set(metadata.scores) == {"validation", "test"}


def test_the_papers_training_is_valid():
    config = read_config(ROOT / "config" / "train-paper.yaml")
    first, second = config.loop.stages
    assert (config.loop.optimizer, config.loop.weight_decay, config.loop.grow_after) == ("sgd", 1e-4, 15)
    assert (first.learning_rate, second.learning_rate, first.final_share) == (0.0625, 0.01, 1)
    assert first.batch_size * first.steps == 1_500_000
    assert second.batch_size * second.steps == 90_000


def test_every_key_is_documented():
    text = (ROOT / "docs" / "reference" / "training.md").read_text()
    keys = {*NEEDED, *OPTIONAL}
    for kind in (LoopSettings, Stage, Losses, PlanetSettings):
        keys |= {field.name for field in fields(kind)}
    assert {key for key in keys if f"`{key}`" not in text} == set()
    cutting = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert set(cutting) == {"out", "regions", *(field.name for field in fields(CutSettings))}
    assert set(cutting["regions"][0]) == {field.name for field in fields(Region)}


def test_defaults_are_documented():
    text = (ROOT / "docs" / "reference" / "training.md").read_text()
    rows = dict(
        tuple(part.strip() for part in line.split("|")[1:3]) for line in text.splitlines() if line.startswith("| `")
    )
    for field in fields(LoopSettings):
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            shown = rows[f"`{field.name}`"]
            assert shown == field.default if isinstance(field.default, str) else float(shown) == field.default
