"""`headwater train CONFIG`: prepare data, train, score, write the checkpoint; an interrupted training resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headwater.core.events import warn
from headwater.evaluate.pixel_counts import PixelCounts, count_pixels
from headwater.evaluate.water_types import water_and_counted
from headwater.models.base import Network
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.registry import build_network
from headwater.predict.pipeline import predict_probability
from headwater.train.batches import Draw
from headwater.train.chips import CellChips, Chip, middle_of, random_chip
from headwater.train.config import SPLITS, TrainConfig, read_config
from headwater.train.distributed import Distributed, join_processes, local_device
from headwater.train.loop import print_status, train_network, validation_scores
from headwater.train.lr_finder import rate_table, try_rates
from headwater.train.planets import made_with_settings, prepare_planet
from headwater.train.records import Records, example_image, open_records
from headwater.train.shards import open_chips

_MACHINE_SETTINGS = ("save_minutes", "threads", "num_workers", "device", "deterministic")
"""Settings of the loop that depend on the machine and do not change the weights."""


@dataclass(frozen=True)
class Data:
    """Data for training, validation and test."""

    draw: Draw
    """Draws a chip for training."""
    validation: Callable[[], Iterable[Chip]]
    """Yields the chips of validation."""
    test: Callable[[], Iterable[Chip]]
    """Yields complete cells or chips of the test."""
    description: Mapping[str, Any]
    """Description in the checkpoint and the state."""


def train(config_path: Path, *, find_lr: bool = False) -> None:
    """Train a network and write its checkpoint with scores; in several processes if torchrun started them.

    Parameters
    ----------
    config_path : Path
        YAML, see config/train-demo.yaml and docs/reference/training.md.
    find_lr : bool
        Only try learning rates; print a table and a suggestion.

    Raises
    ------
    InputError
        The configuration has unknown, missing or impossible values.
    """
    config = read_config(config_path)
    config = replace(config, loop=replace(config.loop, device=local_device(config.loop.device)))
    with join_processes(config.loop.device) as distributed:
        with distributed.main_first():
            data = prepare(config)
        torch.manual_seed(config.loop.seed)
        sizes = {key: value for key, value in config.network.items() if key != "name"}
        model = build_network(config.network["name"], sizes)
        if config.init is not None:
            model, data = _begun(config.init, data)
        if find_lr:
            if distributed.is_main:
                print(rate_table(try_rates(model, data.draw, config.recipe, config.loop)))
            return
        _train(config, config_path, model, data, distributed)


def _begun(init: Path, data: Data) -> tuple[Network, Data]:
    """Return the network of a checkpoint, to be trained on, and the data with the origin of its weights."""
    checkpoint = load_checkpoint(init)
    origin = {"file": init.name, "sha256": checkpoint.metadata.sha256, "license": checkpoint.metadata.license}
    print_status(f"begins with {init} (license {checkpoint.metadata.license}: its terms go with what is made of it)")
    model = checkpoint.model.requires_grad_(True).train()
    return model, replace(data, description={**data.description, "init": origin})


def _train(config: TrainConfig, config_path: Path, model: Network, data: Data, distributed: Distributed) -> None:
    best = config.work / "best.safetensors"
    before: dict[str, float] = {}
    if config.init is not None and distributed.is_main:
        before = validation_scores(
            load_checkpoint(config.init).model, data.validation(), config.recipe, device=config.loop.device
        )
        print_status(f"before, validation: {_shown(before)}")

    def validate(network: Network) -> dict[str, float]:
        return validation_scores(network, data.validation(), config.recipe, device=config.loop.device)

    def keep(network: Network, step: int, scores: dict[str, float]) -> None:
        save_checkpoint(
            best,
            network,
            recipe=config.recipe,
            license=config.license,
            training={**_describe(config, config_path, data, distributed), "steps_done": step},
            scores={"validation": _rounded(scores), **({"validation_before": _rounded(before)} if before else {})},
        )

    train_network(
        model,
        data.draw,
        config.recipe,
        config.loop,
        state_path=config.work / "state.pt",
        validate=validate,
        keep=keep,
        data=repr((data.description, config.validation_window_px)),
        distributed=distributed,
        records=_records(config, data) if config.tensorboard and distributed.is_main else None,
    )
    if distributed.is_main:
        finish(config, best, data)


def prepare(config: TrainConfig) -> Data:
    """Open the chips, or make the planets that do not exist yet."""
    if config.chips:
        return _data_of_chips(config)
    cells: dict[str, list[CellChips]] = {}
    for part in SPLITS:
        cells[part] = []
        for variety, seed in config.planets[part]:
            print_status(f"planet {variety}-{seed} ({part})")
            cells[part] += prepare_planet(seed, config.work / "planets", replace(config.planet, variety=variety))
    side, multiple = config.validation_window_px, _multiple(config)
    return Data(
        draw=partial(random_chip, cells["training"]),
        validation=lambda: (cell.middle(side, multiple) for cell in cells["validation"]),
        test=lambda: ((cell.composite, cell.elevation, cell.types) for cell in cells["test"]),
        description={
            "data": "demo planets, labelled by their NHD-like lines and polygons",
            "planets": {part: [f"{name}-{seed}" for name, seed in all_] for part, all_ in config.planets.items()},
            "planet_settings": {k: v for k, v in made_with_settings(config.planet).items() if k != "variety"},
        },
    )


def finish(config: TrainConfig, best: Path, data: Data) -> None:
    """Score the best weights as stored on the test data, and those that they began with; write the checkpoint."""
    checkpoint = load_checkpoint(best)
    scores = dict(checkpoint.metadata.scores)
    before = scores.get("validation_before", {}).get("f1*", 0.0)
    if scores["validation"].get("f1*", 0.0) < before:
        warn(
            f"the training did not help: F1* of validation is {scores['validation']['f1*']}, and {before} with the"
            f" weights of {config.init}."
        )
    if config.init is not None:
        counts = test_counts(load_checkpoint(config.init).model, config, data.test())
        if counts is not None:
            scores["test_before"] = _rounded(counts.scores())
            print_status(f"before, test: {scores['test_before']}")
    counts = test_counts(checkpoint.model, config, data.test())
    if counts is not None:
        scores["test"] = _rounded(counts.scores())
        print_status(f"test: {scores['test']}")
    save_checkpoint(
        config.out,
        checkpoint.model,
        recipe=config.recipe,
        license=config.license,
        training=checkpoint.metadata.training,
        scores=scores,
    )
    print_status(f"wrote {config.out}")


def test_counts(model: Network, config: TrainConfig, places: Iterable[Chip]) -> PixelCounts | None:
    """Count pixels of complete places, tiled and blended as in prediction, against labels; None without a place."""
    total = None
    for composite, elevation, types in places:
        probability, valid = predict_probability(
            model.predictor(),
            config.recipe,
            composite,
            elevation,
            device=config.loop.device,
            threads=config.loop.threads,
        )
        water, counted = water_and_counted(types, model.config.scale)
        counts = count_pixels(probability >= 0.5, water, valid & counted)
        total = counts if total is None else total + counts
    return total


def _data_of_chips(config: TrainConfig) -> Data:
    store = open_chips(config.chips, config.work / "chips")
    parts = {part: store.part(part) for part in SPLITS}
    side, multiple = config.validation_window_px, _multiple(config)
    for stage in config.loop.stages:
        parts["training"].side_for(stage.chip_px + 2 * config.loop.halo_px)
    for part in ("validation", "test"):
        # Refuse before training what the test would refuse after it.
        if parts[part].sides or part == "validation":
            parts[part].side_for(side)
    return Data(
        draw=parts["training"].draw,
        validation=lambda: (middle_of(chip, side, multiple) for chip in parts["validation"].each(side)),
        test=lambda: parts["test"].each(side) if parts["test"].sides else (),
        description={"data": "chips", "manifest_sha256": store.sha256, "regions": store.regions},
    )


def _records(config: TrainConfig, data: Data) -> Records | None:
    def example(network: Network) -> npt.NDArray[np.float32]:
        return example_image(network, next(iter(data.validation())), config.recipe, config.loop.device)

    return open_records(config.work / "tensorboard", example)


def _multiple(config: TrainConfig) -> int:
    sizes = {key: value for key, value in config.network.items() if key != "name"}
    # At least 2, so that no 20 m pixel is cut.
    return max(2, build_network(config.network["name"], sizes).config.multiple_px)


def _describe(config: TrainConfig, config_path: Path, data: Data, distributed: Distributed) -> dict[str, Any]:
    """Return the description of the training in the checkpoint."""
    return {
        **data.description,
        "command": f"headwater train {config_path.name}",
        "loop": {key: value for key, value in asdict(config.loop).items() if key not in _MACHINE_SETTINGS},
        **({"processes": distributed.size} if distributed.size > 1 else {}),
    }


def _shown(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}
