"""Values of the configuration and of options."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from random import Random
from typing import Any

import yaml

from hostile import place
from hostile.lab import Bench, Input
from hostile.mutation import change_json
from hostile.place import Command
from support.places import ROOT

LOAD = Command(("hostile.loading:load", "config.yaml"), ())
TRAIN = Command(("hostile.loading:load_training", "train.yaml"), ())
CONFIG: dict[str, Any] = {
    "results": "results",
    "basins": {"polygons": place.BASINS, "ids": ["1"]},
    "grid": {"cell_degrees": 0.05},
    "catalog": {"url": "catalog"},
    "search": {"datetime": "2023-01-01/2023-12-31", "years_back": 0},
    "backbone": {"kind": "tdx", "streams": place.STREAMS, "catchments": place.CATCHMENTS},
    "predict": {"checkpoint": place.WEIGHTS},
    "select": {"max_scenes": 3},
    "vectorize": {"threshold": 0.5},
    "network": {"formats": []},
}
TEXTS = {
    "an anchor bomb": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
    "a Python object": "results: !!python/object/apply:os.system ['touch INJECTED']\n",
    "a list": "- 1\n",
    "nothing": "",
    "deep": "results: " + "[" * 500 + "]" * 500,
    "binary": "results: \0\n",
    "a key that is no text": "1: 2\n? [a, b]\n: c\n",
}


def configurations(random: Random) -> Iterator[Input]:
    """Yield configurations of the workflow and of trainings."""
    for name, text in TEXTS.items():
        yield Input("configuration", name, (LOAD,), partial(_write, path="config.yaml", text=text))
    sections = json.loads((files("headwater") / "data" / "config.schema.json").read_text())["properties"]
    numbers = [
        (section, name)
        for section, rule in sections.items() for name, each in rule.get("properties", {}).items()
        if each.get("type") in ("number", "integer")
    ]  # fmt: skip
    training = yaml.safe_load((ROOT / "config" / "train-demo.yaml").read_text())
    while True:
        seed = random.randrange(2**32)
        section, name = random.choice(numbers)
        value = random.choice((float("nan"), float("inf"), -1, 1e308, 10**30, 0, True, "1", None, [1]))
        config = CONFIG | {section: CONFIG.get(section, {}) | {name: value}}
        yield _config(f"{section}.{name} = {str(value)[:20]}", config)
        what, config = change_json(CONFIG, Random(seed))
        yield _config(what, config)
        what, config = change_json(training, Random(seed))
        write = partial(_write, path="train.yaml", text=_yaml(config))
        yield Input("configuration", f"training: {what}", (TRAIN,), write)


def _config(name: str, config: Any) -> Input:
    return Input("configuration", name, (LOAD,), partial(_write, path="config.yaml", text=_yaml(config)))


def _yaml(config: Any) -> str:
    return yaml.safe_dump(config, allow_unicode=False)


def _write(bench: Bench, *, path: str, text: str) -> None:
    bench.replace(path, text.encode(errors="replace"))


OF_COMMANDS: dict[Command, tuple[str, ...]] = {
    place.PLANNING: ("grid",),
    place.SELECT: ("select",),
    place.COMPOSE: ("composite",),
    place.ELEVATE: ("elevation",),
    place.PREDICT: ("predict",),
    place.FLOW: ("backbone",),
    place.VECTORIZE: ("vectorize",),
}
WORDS = (
    "nan", "inf", "-inf", "-1", "0", "1e308", "1" + "0" * 30, "1" * 5000, "", " ", "x", "null", "true", "1.5",
    "; touch INJECTED", "$(touch INJECTED)", "a\nb", "\udcff", "-x", "[1]", "{}", "1e-300", "2", "1000", "1e6",
)  # fmt: skip


def options(random: Random) -> Iterator[Input]:
    """Yield values of options of the commands."""
    sections = json.loads((files("headwater") / "data" / "config.schema.json").read_text())["properties"]
    known = [
        (command, f"--{name.replace('_', '-')}={{}}")
        for command, names in OF_COMMANDS.items() for section in names
        for name, rule in sections[section]["properties"].items()
        if not rule.get("is_file") and rule.get("type") not in ("boolean", "array")
        and name not in ("kind", "device", "compile")
    ]  # fmt: skip
    known += [(command, option) for command in OF_COMMANDS for option in ("--cell={}", "--plan={}", "--log={}")]
    while True:
        command, option = random.choice(known)
        word = option.format(random.choice(WORDS))
        yield Input("options", f"{command.argv[0]} {word[:40]!r}", (Command((*command.argv, word), command.outputs),))
