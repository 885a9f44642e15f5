"""The checkpoints that come with Headwater or are fetched, and what weights ask of the maps made with them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from headwater.core.errors import InputError
from headwater.core.files import read_json
from headwater.core.terms import Terms

OWN_LICENSE = "Apache-2.0"
"""License of the weights that come with Headwater: it asks nothing of a map."""
DEMO_WEIGHTS = "demo"
"""Mark of a map that weights made which were trained on generated landscapes, of a place that is none."""
DEMO_WARNING = (
    "Made with the weights that come with Headwater, which were trained on generated landscapes only: not suitable for"
    " maps of real places."
)

FETCHED = {"waternet": "waternet.safetensors"}
"""Fetched checkpoints by the word that configurations use: the file in the folder of that name."""


def default_checkpoints() -> tuple[Path, ...]:
    """Return the paths of the checkpoints that come with Headwater; the default prediction is their mean."""
    folder = Path(str(files("headwater"))) / "data"
    return tuple(folder / f"{name}-demo.safetensors" for name in ("waternet", "unet"))


def fetched_checkpoint(word: str, folder: Path) -> Path:
    """Return where the checkpoint is, or will be, that a word such as "waternet" names, in the data folder."""
    return folder / word / FETCHED[word]


def checkpoint_named(name: str | Path, folder: Path) -> Path:
    """Return the file of a checkpoint: a path as it is, or what a word such as "waternet" names in the data folder.

    Raises
    ------
    InputError
        The word's checkpoint was not fetched.
    """
    if str(name) not in FETCHED:
        return Path(name)
    file = fetched_checkpoint(str(name), folder)
    if not is_there(file):
        raise InputError(f"{name} needs {file}, which is not there.", f"Fetch it: headwater models fetch {name}.")
    return file


def is_there(checkpoint: Path) -> bool:
    """Whether both files of a checkpoint are there."""
    return checkpoint.is_file() and checkpoint.with_suffix(".json").is_file()


class Described(Protocol):
    """What is known of weights, such as `headwater.models.checkpoint.CheckpointMetadata`."""

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        ...

    @property
    def license(self) -> str:
        """License of the weights."""
        ...

    @property
    def citation(self) -> str:
        """What to cite; "" for nothing."""
        ...


def terms_of(weights: Iterable[Described], *, demo_data: bool) -> Terms:
    """Return what weights ask of a map made with them, and whether they suit its data.

    Parameters
    ----------
    weights : iterable
        Metadata of the checkpoints.
    demo_data : bool
        Whether the map is of a demo planet, for which the weights that come with Headwater are made.
    """
    every = list(weights)
    asked = [each for each in every if each.license != OWN_LICENSE or each.citation]
    of_weights = Terms.union(Terms(license=(each.license,), citation=_texts(each.citation)) for each in asked)
    if demo_data or demo_hashes().isdisjoint(each.sha256 for each in every):
        return of_weights
    return Terms.union([of_weights, Terms(weights=(DEMO_WEIGHTS,), warning=(DEMO_WARNING,))])


def uses_demo_weights(checkpoints: Iterable[str | Path]) -> bool:
    """Whether any of the checkpoints that a configuration names is one that comes with Headwater; so if it names none.

    A checkpoint that cannot be read is reported where it is loaded.
    """
    sidecars = [Path(path).with_suffix(".json") for path in checkpoints or default_checkpoints()]
    described = [read_json(path) for path in sidecars if path.is_file()]
    return any(isinstance(each, dict) and each.get("sha256") in demo_hashes() for each in described)


@cache
def demo_hashes() -> frozenset[str]:
    """Return the hashes of the weights that come with Headwater."""
    return frozenset(read_json(path.with_suffix(".json"))["sha256"] for path in default_checkpoints())


def _texts(text: str) -> tuple[str, ...]:
    return (text,) if text else ()
