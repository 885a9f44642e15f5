"""Training configurations: read and checked before anything runs; docs/reference/training.md lists every key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.fetch.settings import FetchSettings
from headwater.geo.grid import PREDICTION_FACTOR
from headwater.models.channels import PIXEL_M, RECIPES, Recipe
from headwater.models.checkpoint import load_checkpoint, load_metadata
from headwater.models.registry import NETWORKS, build_network
from headwater.models.shipped import checkpoint_named, default_checkpoints
from headwater.predict.devices import resolve_device
from headwater.train.objective import Objective
from headwater.train.planets import MARGIN_PX, PlanetSettings, read_planet
from headwater.train.settings import RENAMED_KEYS, LoopSettings, Losses, Stage

SPLITS = ("training", "validation", "test")
NEEDED = ("work", "out", "license", "loop")
OPTIONAL = ("network", "init", "recipe", "planets", "chips", "validation_window_px", "tensorboard")
SHIPPED = "shipped"
"""In place of a file: the checkpoint that comes with Headwater, of the network named or the first."""
_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number such as 0.01",
    str: "text",
    bool: "true or false",
    bool | None: "true or false",
}

_T = TypeVar("_T")


@dataclass(frozen=True)
class TrainConfig:
    """A training configuration, checked."""

    work: Path
    """Folder of planets, states and intermediate weights."""
    out: Path
    """The checkpoint to write."""
    license: str
    """License of the weights."""
    network: Mapping[str, Any]
    """name, and the sizes of the network."""
    recipe: Recipe
    """Channels of the network."""
    loop: LoopSettings
    """Stages, optimizer, losses and other settings."""
    init: Path | None = None
    """Checkpoint whose weights the training begins with; random ones without it."""
    chips: str = ""
    """Folder or address of chips cut by `headwater chips`; empty to train on planets."""
    planets: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """Planets for training, validation and test by variety and seed; each is in one part only."""
    planet: PlanetSettings = field(default_factory=PlanetSettings)
    """How planets are built."""
    validation_window_px: int = 832
    """Side of the window scored in each validation cell or chip."""
    tensorboard: bool = False
    """Whether curves and images are written to `work`/tensorboard."""


def read_config(path: Path) -> TrainConfig:
    """Read and check a training configuration; paths in it are relative to the current folder.

    Raises
    ------
    InputError
        The file is not readable, or has unknown, missing or impossible values.
    """
    (values,) = current_names([read_yaml(path, like="config/train-demo.yaml")], {"licence": "license"}, path)
    check_keys(values, {*NEEDED, *OPTIONAL}, "the top level", path, needed=NEEDED)
    if ("planets" in values) == ("chips" in values):
        raise InputError(f"{path} gives both planets and chips, or neither.", "Give exactly one of them to train on.")
    planets, planet = _read_planets(values["planets"], path) if "planets" in values else ({}, PlanetSettings())
    for key in ("work", "out", "license", "chips", "init"):
        if not isinstance(values.get(key, "text"), str):
            raise InputError(f"In {path}, {key} is {values[key]!r}.", f"Give {_WORDS[str]}.")
    if Path(values["out"]).suffix != ".safetensors":
        raise InputError(f"In {path}, out is {values['out']}.", "Give a file ending in .safetensors.")
    side, tensorboard = values.get("validation_window_px", 832), values.get("tensorboard", False)
    if type(side) is not int or type(tensorboard) is not bool:
        raise InputError(
            f"In {path}, validation_window_px is {side!r} and tensorboard {tensorboard!r}.",
            "Give a whole number, and true or false.",
        )
    init = _init_file(values, path)
    network, recipe = _network_of(values, path) if init is None else _network_of_checkpoint(values, init, path)
    config = TrainConfig(
        work=Path(values["work"]),
        out=Path(values["out"]),
        license=values["license"],
        network=network,
        recipe=recipe,
        loop=_read_loop(values["loop"], path),
        init=init,
        chips=str(values.get("chips", "")),
        planets=planets,
        planet=planet,
        validation_window_px=side,
        tensorboard=tensorboard,
    )
    _check_sizes(config, path)
    return config


def _network_of(values: Mapping[str, Any], path: Path) -> tuple[Mapping[str, Any], Recipe]:
    """Return the network and the recipe that a configuration names."""
    network = values.get("network")
    if not isinstance(network, dict) or not isinstance(network.get("name"), str):
        raise InputError(f"{path} does not name a network.", "Set network.name, for instance to waternet.")
    recipe = values.get("recipe", NETWORKS.load(network["name"]).default_recipe)
    if not isinstance(recipe, str):
        raise InputError(f"There is no channel recipe {recipe!r}.", f"Use one of: {', '.join(RECIPES.names())}.")
    # Chips have 10 m pixels, whatever the recipe's own pixel size is.
    return network, replace(RECIPES.load(recipe), pixel_m=PIXEL_M)


def _init_file(values: Mapping[str, Any], path: Path) -> Path | None:
    """Return the checkpoint that a training begins with, None for random weights."""
    if "init" not in values:
        return None
    if values["init"] != SHIPPED:
        return checkpoint_named(values["init"], FetchSettings().path)
    network = values.get("network")
    name = network.get("name") if isinstance(network, dict) else None
    shipped = {load_metadata(file).network: file for file in default_checkpoints()}
    if name is not None and name not in shipped:
        raise InputError(
            f"In {path}, init is {SHIPPED}, but no checkpoint of a network {name} comes with Headwater.",
            f"Remove network, or name one of: {', '.join(shipped)}.",
        )
    return shipped[name] if name else next(iter(shipped.values()))


def _network_of_checkpoint(values: Mapping[str, Any], init: Path, path: Path) -> tuple[Mapping[str, Any], Recipe]:
    """Return the network and the recipe of a checkpoint; refuse other ones in the configuration."""
    metadata = load_checkpoint(init).metadata
    network = {**metadata.config, "name": metadata.network}
    given = values.get("network", {})
    if not isinstance(given, dict):
        raise InputError(f"In {path}, network is {given!r}.", "Remove it: the network is that of init.")
    for key, value in given.items():
        if network.get(key) != value:
            raise InputError(
                f"In {path}, network.{key} is {value!r}, but in the checkpoint {init} it is {network.get(key)!r}.",
                "Remove it: the network is that of init.",
            )
    named = values.get("recipe")
    if named is not None and (
        not isinstance(named, str) or replace(RECIPES.load(named), pixel_m=PIXEL_M) != metadata.recipe
    ):
        raise InputError(
            f"In {path}, recipe is {named!r}, but the checkpoint {init} has the recipe {metadata.recipe.name!r}.",
            "Remove it: weights only fit the channels that they were trained with.",
        )
    if metadata.recipe.pixel_m != PIXEL_M:
        raise InputError(
            f"The checkpoint {init} is for pixels of {metadata.recipe.pixel_m:g} m; chips have {PIXEL_M:g} m.",
            f"Begin with a checkpoint for {PIXEL_M:g} m.",
        )
    return network, metadata.recipe


def read_yaml(path: Path, *, like: str) -> Any:
    """Read a YAML file; refuse one that cannot be read, naming an example."""
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read ({error}).", f"Give a YAML file like {like}.") from error


def current_names(values: Sequence[Any], renamed: Mapping[str, str], path: Path) -> list[Any]:
    """Return mappings with the current names of their keys, and report each former name once.

    Parameters
    ----------
    values : sequence
        Mappings of one kind; other values stay unchanged.
    renamed : mapping
        Current names by former ones.
    path : Path
        Configuration file, for messages.

    Raises
    ------
    InputError
        A mapping has a key under both names.
    """
    mappings = [each for each in values if isinstance(each, dict)]
    for former, name in renamed.items():
        if any(former in each and name in each for each in mappings):
            raise InputError(f"In {path}, both {former} and {name} are given.", f"Keep {name} only.")
        if any(former in each for each in mappings):
            say(f"in {path}, the key {former} is now called {name}; the former name is still read.")
    return [
        {renamed.get(key, key): value for key, value in each.items()} if isinstance(each, dict) else each
        for each in values
    ]


def check_keys(values: Any, known: set[str], place: str, path: Path, *, needed: Sequence[str]) -> None:
    """Refuse anything but a mapping with the needed and no unknown keys."""
    wanted = set(needed)
    if not isinstance(values, dict) or not wanted <= set(values) or set(values) - known:
        have = set(values) if isinstance(values, dict) else set()
        wrong = ", ".join(sorted((wanted - have) | (have - known))) or "everything"
        raise InputError(
            f"In {path}, {place} has missing or unknown keys: {wrong}.",
            f"The keys there are {', '.join(sorted(known))}.",
        )


def check_list(values: Any, place: str, path: Path, *, of: type | tuple[type, ...]) -> list[Any]:
    """Return a list unchanged; refuse anything else, and a list with values of another type."""
    if not isinstance(values, list) or any(not isinstance(value, of) or isinstance(value, bool) for value in values):
        raise InputError(f"In {path}, {place} is {values!r}.", f"Give a list for {place} (docs/reference/training.md).")
    return values


def filled(kind: type[_T], values: Mapping[str, Any], place: str, path: Path) -> _T:
    """Return a dataclass with its fields from a mapping; refuse values of another type."""
    hints = get_type_hints(kind)
    for key, value in values.items():
        hint = hints[key]
        # YAML reads 1e-3 as text, and true is a whole number to Python.
        fits = isinstance(value, (int, float) if hint is float else hint) if hint in _WORDS else True
        if not fits or (hint in (int, float) and isinstance(value, bool)):
            raise InputError(f"In {path}, {place}.{key} is {value!r}.", f"Give {_WORDS[hint]}.")
    return kind(**values)


def _read_planets(planets: Any, path: Path) -> tuple[dict[str, tuple[tuple[str, int], ...]], PlanetSettings]:
    known = {item.name for item in fields(PlanetSettings)}
    check_keys(planets, {*SPLITS, *known}, "planets", path, needed=SPLITS)
    settings = filled(PlanetSettings, {key: value for key, value in planets.items() if key in known}, "planets", path)
    names = {
        part: tuple(
            read_planet(name, settings.variety)
            for name in check_list(planets[part], f"planets.{part}", path, of=(int, str))
        )
        for part in SPLITS
    }
    everything = [name for part in names.values() for name in part]
    if len(set(everything)) < len(everything) or not names["training"] or not names["validation"]:
        raise InputError(
            f"{path} lists a planet twice, or none for training or validation.",
            "Assign every planet to one part only; training and validation need at least one.",
        )
    return names, settings


def _read_loop(loop: Any, path: Path) -> LoopSettings:
    (loop,) = current_names([loop], RENAMED_KEYS, path)
    check_keys(loop, {item.name for item in fields(LoopSettings)}, "loop", path, needed=("stages",))
    needed = ("chip_px", "batch_size", "steps", "learning_rate")
    stages = []
    for stage in current_names(check_list(loop["stages"], "loop.stages", path, of=dict), RENAMED_KEYS, path):
        check_keys(stage, {item.name for item in fields(Stage)}, "loop.stages", path, needed=needed)
        stages.append(filled(Stage, stage, "loop.stages", path))
    losses = loop.get("losses", {})
    check_keys(losses, {item.name for item in fields(Losses)}, "loop.losses", path, needed=())
    device = loop.get("device", LoopSettings.device)
    if not isinstance(device, str):
        raise InputError(f"In {path}, loop.device is {device!r}.", "Give auto, cpu or cuda.")
    device = resolve_device(device)
    parts = {"stages": tuple(stages), "losses": filled(Losses, losses, "loop.losses", path), "device": device}
    return filled(LoopSettings, {**loop, **parts}, "loop", path)


def _check_sizes(config: TrainConfig, path: Path) -> None:
    """Refuse a network that does not fit the recipe, the chips or the losses, before any planet is built."""
    sizes = {key: value for key, value in config.network.items() if key != "name"}
    network = build_network(config.network["name"], sizes)
    Objective(network, config.loop.losses, config.loop.precision)
    channels, takes = len(config.recipe.channels), network.config.in_channels
    if channels != takes:
        raise InputError(
            f"In {path}, the recipe {config.recipe.name!r} makes {channels} channels, the network takes {takes}.",
            f"Omit recipe, or set in_channels of the network to {channels}.",
        )
    maps, scale = sizes.get("out_channels", 1), network.config.scale
    if maps != 1 or scale > PREDICTION_FACTOR:
        raise InputError(
            f"In {path}, the network gives {maps} map(s), {scale} times smaller than its input.",
            f"Choose sizes that give one map, of water at 20 m, at most {PREDICTION_FACTOR} times smaller.",
        )
    if config.planets and config.loop.halo_px > MARGIN_PX:
        raise InputError(
            f"In {path}, loop.halo_px is {config.loop.halo_px}, but planets have {MARGIN_PX} px to spare.",
            f"Give {MARGIN_PX} or less.",
        )
    multiple = network.config.multiple_px
    for side in (*(stage.chip_px for stage in config.loop.stages), config.validation_window_px):
        if side % multiple or side < multiple:
            raise InputError(
                f"In {path}, {side} px do not divide by {multiple}, as the network needs.",
                f"Use {max(1, side // multiple) * multiple} px.",
            )
