"""`headwater train CONFIG`: planets, chips, training, scores, checkpoint; started again, it goes on where it was."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml

from headwater.channels import RECIPES, Recipe
from headwater.errors import InputError
from headwater.evaluate.pixels import PixelCounts, count_pixels
from headwater.models import load_checkpoint, save_checkpoint
from headwater.models.network import Network
from headwater.models.registry import build_network
from headwater.predict import predict_probability, resolve_device
from headwater.train.chips import CellChips
from headwater.train.labels import values_of_types
from headwater.train.loop import LoopSettings, Stage, train_network, validation_scores
from headwater.train.losses import targets_of_values
from headwater.train.planets import PlanetSettings, prepare_planet

_SECTIONS = {"work", "out", "licence", "network", "recipe", "planets", "loop", "validation_window_px"}
_SEEDS = ("training", "validation", "test")
_NOT_TOLD = ("save_minutes", "threads", "device")
"""Settings of the loop that say something of the machine, not of the weights."""


@dataclass(frozen=True)
class TrainConfig:
    """A training configuration, checked."""

    work: Path
    """Folder of planets, states and weights on the way."""
    out: Path
    """The checkpoint to write."""
    licence: str
    """Licence of the weights."""
    network: Mapping[str, Any]
    """name, and the sizes that the registry takes."""
    recipe: Recipe
    """Channels."""
    seeds: Mapping[str, tuple[int, ...]]
    """Planets for training, validation and test; no planet is in two."""
    planet: PlanetSettings
    """How they are built."""
    loop: LoopSettings
    """Stages, optimizer and the rest."""
    validation_window_px: int
    """Side of the window scored in each validation cell."""


def train(config_path: Path) -> None:
    """Train a network on demo planets and write its checkpoint with scores.

    Parameters
    ----------
    config_path : Path
        YAML, see config/train-demo.yaml.

    Raises
    ------
    InputError
        The configuration has unknown, missing or impossible values.
    """
    config = read_config(config_path)
    cells = {part: prepare(config, part) for part in _SEEDS}
    torch.manual_seed(config.loop.seed)
    sizes = {key: value for key, value in config.network.items() if key != "name"}
    model = build_network(config.network["name"], sizes)

    def validate(network: Network) -> dict[str, float]:
        return validation_scores(
            network,
            cells["validation"],
            config.recipe,
            window_px=config.validation_window_px,
            device=config.loop.device,
        )

    best = config.work / "best.safetensors"

    def keep(network: Network, step: int, scores: dict[str, float]) -> None:
        save_checkpoint(
            best,
            network,
            recipe=config.recipe,
            licence=config.licence,
            training={**_describe(config, config_path), "steps_done": step},
            scores={"validation": _rounded(scores)},
        )

    train_network(
        model,
        cells["training"],
        config.recipe,
        config.loop,
        state_path=config.work / "state.pt",
        validate=validate,
        keep=keep,
    )
    finish(config, best, cells["test"])


def prepare(config: TrainConfig, part: str) -> list[CellChips]:
    """Make the chips of the training, validation or test planets that are not there yet."""
    cells = []
    for seed in config.seeds[part]:
        _say(f"planet {seed} ({part})")
        cells += prepare_planet(seed, config.work / "planets", config.planet)
    return cells


def finish(config: TrainConfig, best: Path, test_cells: Sequence[CellChips]) -> None:
    """Score the best weights, as they are stored, on the test planets and write the checkpoint."""
    checkpoint = load_checkpoint(best)
    scores = dict(checkpoint.metadata.scores)
    if test_cells:
        scores["test"] = _rounded(test_scores(checkpoint.model, config, test_cells))
        _say(f"test: {scores['test']}")
    save_checkpoint(
        config.out,
        checkpoint.model,
        recipe=config.recipe,
        licence=config.licence,
        training=checkpoint.metadata.training,
        scores=scores,
    )
    _say(f"wrote {config.out}")


def test_scores(model: Network, config: TrainConfig, cells: Sequence[CellChips]) -> dict[str, float]:
    """Score a network on whole cells, tiled and blended as in prediction."""
    total = PixelCounts()
    for cell in cells:
        probability, valid = predict_probability(
            model.predictor(),
            config.recipe,
            cell.composite,
            cell.elevation,
            device=config.loop.device,
            threads=config.loop.threads,
        )
        values = torch.from_numpy(values_of_types(cell.types))[None, None]
        targets = targets_of_values(values, scale=model.config.scale)
        counted = valid & (targets.counted[0, 0] > 0).numpy()
        total += count_pixels(probability >= 0.5, (targets.target[0, 0] > 0).numpy(), counted)
    return total.scores()


def read_config(path: Path) -> TrainConfig:
    """Read and check a training configuration; paths in it are relative to the current folder.

    Raises
    ------
    InputError
        The file is not readable, or has unknown, missing or impossible values.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} cannot be read ({error}).", "Give a YAML file like config/train-demo.yaml."
        ) from error
    _check_keys(values, _SECTIONS, "the top level", path)
    planets, loop, network = values["planets"], values["loop"], values["network"]
    planet_fields = {field.name for field in fields(PlanetSettings)}
    _check_keys(planets, {*_SEEDS, *planet_fields}, "planets", path, needed=_SEEDS)
    _check_keys(loop, {field.name for field in fields(LoopSettings)}, "loop", path, needed=("stages",))
    seeds = {part: tuple(planets[part]) for part in _SEEDS}
    everything = [seed for part in seeds.values() for seed in part]
    if len(set(everything)) < len(everything) or not seeds["training"] or not seeds["validation"]:
        raise InputError(
            f"{path} lists a planet twice, or none for training or validation.",
            "Give every planet to one part only; training and validation need one at least.",
        )
    if values["recipe"] not in RECIPES:
        raise InputError(f"There is no channel recipe {values['recipe']!r}.", f"Use one of: {', '.join(RECIPES)}.")
    stage_fields = {field.name for field in fields(Stage)}
    for stage in loop["stages"]:
        _check_keys(
            stage, stage_fields, "loop.stages", path, needed=("chip_px", "batch_size", "steps", "learning_rate")
        )
    if "name" not in network:
        raise InputError(f"{path} does not name a network.", "Set network.name, for instance to waternet.")
    return TrainConfig(
        work=Path(values["work"]),
        out=Path(values["out"]),
        licence=values["licence"],
        network=network,
        recipe=RECIPES[values["recipe"]],
        seeds=seeds,
        planet=PlanetSettings(**{key: value for key, value in planets.items() if key in planet_fields}),
        loop=LoopSettings(
            **{
                **loop,
                "stages": tuple(Stage(**stage) for stage in loop["stages"]),
                "device": resolve_device(loop.get("device", LoopSettings.device)),
            }
        ),
        validation_window_px=values["validation_window_px"],
    )


def _check_keys(values: Any, known: set[str], place: str, path: Path, *, needed: Sequence[str] | None = None) -> None:
    wanted = set(known if needed is None else needed)
    if not isinstance(values, dict) or not wanted <= set(values) or set(values) - known:
        have = set(values) if isinstance(values, dict) else set()
        wrong = ", ".join(sorted((wanted - have) | (have - known))) or "everything"
        raise InputError(
            f"In {path}, {place} has missing or unknown keys: {wrong}.",
            f"The keys there are {', '.join(sorted(known))}.",
        )


def _describe(config: TrainConfig, config_path: Path) -> dict[str, Any]:
    """Return what the checkpoint tells of its training."""
    return {
        "data": "demo planets, labelled by their NHD-like lines and polygons",
        "command": f"headwater train {config_path.name}",
        "planets": {part: list(seeds) for part, seeds in config.seeds.items()},
        "planet_settings": {key: value for key, value in asdict(config.planet).items() if key != "jobs"},
        "loop": {key: value for key, value in asdict(config.loop).items() if key not in _NOT_TOLD},
    }


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
