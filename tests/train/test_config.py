"""Every network trains by configuration, and every key is documented."""

from dataclasses import fields

import pytest
import yaml

from headwater.cli import main
from headwater.core.errors import InputError
from headwater.evaluate.nhd import WATER_TYPES
from headwater.evaluate.own_labels import LabelTables
from headwater.models.checkpoint import load_checkpoint
from headwater.models.registry import NETWORKS
from headwater.train.config import NEEDED, OPTIONAL, read_config
from headwater.train.cut import CutSettings, Region
from headwater.train.planets import PlanetSettings
from headwater.train.settings import RENAMED_KEYS, LoopSettings, Losses, Stage
from support.places import ROOT

SIZES = {
    "waternet": {"base_channels": 1, "encoders": 2, "decoders": 1},
    "evanet": {"base_channels": 1, "depth": 2, "scale": 2},
    "hourglass": {"base_channels": 4, "stacks": 1, "depth": 1},
    "unet": {"base_channels": 1, "encoders": 2, "decoders": 1},
    "fcn8s": {"base_channels": 1},
}
STAGES = [{"chip_px": 32, "batch_size": 2, "steps": 2, "learning_rate": 0.01}]


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_network_trains_by_its_recipe(tmp_path, configure, name):
    losses = {"elevation": 0.1, **({"orientation": 0.5} if name == "hourglass" else {})}
    assert main(["train", str(configure(network={"name": name, **SIZES[name]}, stages=STAGES, losses=losses))]) == 0
    metadata = load_checkpoint(tmp_path / "a" / "net.safetensors").metadata
    assert metadata.network == name
    assert metadata.recipe.name == NETWORKS.load(name).default_recipe
    assert metadata.input_pixel_m == 10
    assert metadata.training["regions"]["training"] == ["north", "south"]
    assert set(metadata.scores) == {"validation", "test"}


def test_the_papers_training_is_valid():
    config = read_config(ROOT / "config" / "train-paper.yaml")
    first, second = config.loop.stages
    assert (config.loop.optimizer, config.loop.weight_decay, config.loop.batch_growth_patience) == ("sgd", 1e-4, 15)
    assert (first.learning_rate, second.learning_rate, first.final_fraction) == (0.0625, 0.01, 1)
    assert first.batch_size * first.steps == 1_500_000
    assert second.batch_size * second.steps == 90_000


def test_former_names_of_keys_are_read_with_a_warning_that_names_the_current_one(tmp_path, configure, capsys):
    path = configure()
    values = yaml.safe_load(path.read_text())
    current = read_config(path)
    assert capsys.readouterr().err == ""
    values["licence"] = values.pop("license")
    loop = values["loop"]
    loop.update(drop_share=0.2, average_decay=loop.pop("ema_decay"), grow_after=0, loaders=0)
    for stage in loop["stages"]:
        stage["final_share"] = 0.0
    path.write_text(yaml.safe_dump(values))
    assert read_config(path) == current
    warned = capsys.readouterr().err.splitlines()
    names = {"licence": "license", **RENAMED_KEYS}
    assert len(warned) == len(names)
    for former, name in names.items():
        assert sum(f"the key {former} is now called {name};" in line for line in warned) == 1
    loop["ema_decay"] = 0.5
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match="both average_decay and ema_decay are given"):
        read_config(path)


def test_every_key_is_documented():
    text = (ROOT / "docs" / "reference" / "training.md").read_text()
    keys = {*NEEDED, *OPTIONAL}
    for kind in (LoopSettings, Stage, Losses, PlanetSettings, Region, LabelTables):
        keys |= {field.name for field in fields(kind)}
    assert {key for key in keys if f"`{key}`" not in text} == set()
    cutting = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert set(cutting) == {"out", "regions", *(field.name for field in fields(CutSettings))}
    assert set(cutting["regions"][0]) <= {field.name for field in fields(Region)}
    assert all(f"| {name} |" in text for name, _ in WATER_TYPES.values())


def test_defaults_are_documented():
    text = (ROOT / "docs" / "reference" / "training.md").read_text()
    rows = dict(
        tuple(part.strip() for part in line.split("|")[1:3]) for line in text.splitlines() if line.startswith("| `")
    )
    for field in fields(LoopSettings):
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            shown = rows[f"`{field.name}`"]
            assert shown == field.default if isinstance(field.default, str) else float(shown) == field.default
