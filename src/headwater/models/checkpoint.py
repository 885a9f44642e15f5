"""Checkpoints: weights as safetensors, and JSON that describes them in a file of the same stem."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from headwater.core.errors import InputError
from headwater.core.files import atomic_path, read_json, write_if_changed, write_json
from headwater.core.texts import ONE_LINE
from headwater.models.base import Network
from headwater.models.channels import PIXEL_M, PIXEL_M_RANGE, Recipe, is_number
from headwater.models.registry import build_network, describe_network

_SAME_TRAINING = "Use the weights and the JSON file of the same training."
_MAX_BYTES_PER_VALUE = 8
_MAX_HEADER_BYTES = 16 * 2**20
_MAX_LICENSE = 1000


@dataclass(frozen=True)
class CheckpointMetadata:
    """Content of a checkpoint's JSON file."""

    network: str
    """Name in the registry."""
    config: Mapping[str, Any]
    """Sizes of the network."""
    recipe: Recipe
    """Recipe of its channels."""
    sha256: str
    """Hash of the weights file, hexadecimal."""
    license: str
    """License of the weights."""
    input_pixel_m: float = 10.0
    """Pixel size of the input it was trained with, in meters."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Data, command and settings of the training."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Scores on data it was not trained on."""
    channels: Sequence[Mapping[str, Any]] = ()
    """The recipe for people: name, source, formula, parameters and scaling (the normalization) of each channel."""
    citation: str = ""
    """What to cite for the weights, one line."""

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata as JSON stores it."""
        values = {**asdict(self), "recipe": self.recipe.to_dict(), "channels": list(self.channels)}
        return {name: value for name, value in values.items() if name != "citation" or value}


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights and their metadata."""

    model: Network
    """In evaluation mode. WaterNet, hourglass, U-Net and FCN-8s map channels (batch, channel, y, x) float32 to
    probabilities (batch, 1, y / scale, x / scale); EvaNet maps image and elevation to scores (batch, 2, y, x)."""
    metadata: CheckpointMetadata

    @property
    def predictor(self) -> Network:
        """The network for prediction: it maps channels (batch, channel, y, x) to probabilities, whatever its kind."""
        return self.model.predictor()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read weights and their JSON; check that they belong together and fit the network.

    Parameters
    ----------
    path : Path
        The .safetensors file; float16 and bfloat16 weights become float32.

    Raises
    ------
    InputError
        A file is missing or unreadable, the hash differs, or a tensor is missing, unknown, of another shape or
        not finite.
    """
    path = Path(path)
    sidecar = path.with_suffix(".json")
    if not path.is_file():
        raise InputError(f"The checkpoint {path} does not exist.", "Give the path of a .safetensors file.")
    if not sidecar.is_file():
        raise InputError(
            f"The checkpoint {path} has no {sidecar.name} next to it.", "Keep the two files of a checkpoint together."
        )
    metadata = _read_metadata(sidecar)
    skeleton = _skeleton(metadata.network, metadata.config)
    _check_channels(skeleton, metadata.recipe, sidecar)
    most = sum(_MAX_BYTES_PER_VALUE * tensor.numel() for tensor in skeleton.state_dict().values()) + _MAX_HEADER_BYTES
    if path.stat().st_size > most:
        raise InputError(f"{path} is larger than the network in {sidecar.name} needs.", _SAME_TRAINING)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != metadata.sha256:
        raise InputError(
            f"The weights in {path} are not those {sidecar.name} describes (sha256 differs).",
            "Copy both files again from their source.",
        )
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is not a complete safetensors file ({error}).", "Copy it again.") from error
    check_tensors(skeleton, tensors, path, remedy=_SAME_TRAINING)
    model = _with_tensors(metadata.network, metadata.config, tensors)
    return Checkpoint(model=model.eval().requires_grad_(False), metadata=metadata)


def load_metadata(path: Path) -> CheckpointMetadata:
    """Read the JSON of a checkpoint alone, see `load_checkpoint`."""
    return _read_metadata(Path(path).with_suffix(".json"))


def save_checkpoint(
    path: Path,
    model: Network,
    *,
    recipe: Recipe,
    license: str,
    citation: str = "",
    training: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float16,
) -> CheckpointMetadata:
    """Write weights and JSON; the same weights and metadata give the same bytes.

    Parameters
    ----------
    path : Path
        Where to write, ending in .safetensors.
    model : Network
        The network; stays unchanged.
    recipe : Recipe
        The channels it was trained with.
    license, citation, training, scores
        See `CheckpointMetadata`.
    dtype : torch.dtype
        Type of the stored weights. Tensors that are not learned keep their type: the variances of batch norms may
        exceed the range of float16.

    Raises
    ------
    InputError
        A weight is not finite in `dtype`, the name does not end in .safetensors, or the recipe does not make as many
        channels as the network takes.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path} does not end in .safetensors.", "Give the checkpoint that suffix.")
    _check_channels(model, recipe, path)
    tensors, learned = {}, {name for name, _ in model.named_parameters()}
    for name, tensor in model.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        stored = stored.to(dtype) if name in learned else stored
        if not torch.isfinite(stored).all():
            raise InputError(
                f"The tensor {name} is not finite as {stored.dtype}.", "Store it as float32 or train again."
            )
        tensors[name] = stored
    content = save_tensors(tensors)
    network, config = describe_network(model)
    metadata = CheckpointMetadata(
        network=network,
        config=config,
        recipe=recipe,
        sha256=hashlib.sha256(content).hexdigest(),
        license=license,
        input_pixel_m=recipe.pixel_m,
        channels=recipe.describe(),
        training=training or {},
        scores=scores or {},
        citation=citation,
    )
    # Both files are written before either is renamed: a full disk leaves the last pair unchanged.
    with atomic_path(path.with_suffix(".json")) as sidecar:
        write_json(sidecar, metadata.to_dict())
        write_if_changed(path, content)
    return metadata


def _read_metadata(sidecar: Path) -> CheckpointMetadata:
    values = read_json(sidecar)
    if isinstance(values, dict) and "licence" in values:
        # The name of this key in checkpoints of older versions.
        values["license"] = values.pop("licence")
    known = {item.name for item in fields(CheckpointMetadata)}
    needed = {"network", "config", "recipe", "sha256", "license"}
    if not isinstance(values, dict) or not needed <= set(values) <= known:
        raise InputError(
            f"{sidecar} does not describe a checkpoint.",
            f"It must be an object with {', '.join(sorted(needed))}, as written by headwater train.",
        )
    _check_types(values, sidecar)
    return CheckpointMetadata(**{**values, "recipe": Recipe.from_dict(values["recipe"])})


def _check_types(values: Mapping[str, Any], sidecar: Path) -> None:
    """Refuse values of other types than those that are written, and texts that a terminal would not only show."""
    kinds = {"network": str, "config": dict, "recipe": dict, "sha256": str, "license": str}
    kinds |= {"training": dict, "scores": dict, "channels": list, "citation": str}
    wrong = [name for name, kind in kinds.items() if name in values and not isinstance(values[name], kind)]
    pixel_m = values.get("input_pixel_m", PIXEL_M)
    if not is_number(pixel_m, *PIXEL_M_RANGE):
        wrong.append("input_pixel_m")
    texts = [name for name in ("network", "license", "citation") if name in values and name not in wrong]
    wrong += [name for name in texts if not _is_line(values[name])]
    if wrong:
        raise InputError(
            f"{sidecar} does not describe a checkpoint: {wrong[0]} is {repr(values[wrong[0]])[:80]}.",
            "Use the file as written by headwater train.",
        )


def _is_line(text: str) -> bool:
    return len(text) <= _MAX_LICENSE and re.fullmatch(ONE_LINE, text) is not None and not text.endswith("\n")


def _skeleton(network: str, config: Mapping[str, Any]) -> Network:
    """Return a network without memory for its weights: its tensors have shapes and types only."""
    with torch.device("meta"):
        return build_network(network, config)


def filled_network(
    network: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path, *, remedy: str
) -> Network:
    """Return a network of given sizes with the given tensors; see `check_tensors`."""
    check_tensors(_skeleton(network, config), tensors, path, remedy=remedy)
    return _with_tensors(network, config, tensors)


def _with_tensors(network: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Network:
    """Return a network with tensors that fit it; floating-point ones of any type become float32."""
    model = build_network(network, config)
    kinds = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor.to(kinds[name]) for name, tensor in tensors.items()})
    return model


def check_tensors(skeleton: Network, tensors: Mapping[str, Tensor], path: Path, *, remedy: str) -> None:
    """Refuse tensors that do not fit a network exactly, before it is built.

    Parameters
    ----------
    skeleton : Network
        The network, whose own tensors need no memory.
    tensors : mapping
        By the names of the network's state_dict.
    path : Path
        File they were read from, for messages.
    remedy : str
        What the user can do if they do not fit.

    Raises
    ------
    InputError
        A tensor is missing, unknown, of another shape or kind, or not finite; the message names the first.
    """
    expected = skeleton.state_dict()
    problems = [f"lacks {name}" for name in expected if name not in tensors]
    problems += [f"has an unknown tensor {name}" for name in tensors if name not in expected]
    for name in expected.keys() & tensors.keys():
        have, want = tuple(tensors[name].shape), tuple(expected[name].shape)
        if have != want:
            problems.append(f"holds {name} as {have} where the network has {want}")
        elif tensors[name].is_floating_point() != expected[name].is_floating_point():
            problems.append(f"holds {name} as {tensors[name].dtype} where the network has {expected[name].dtype}")
        elif not torch.isfinite(tensors[name]).all():
            problems.append(f"holds values in {name} that are not finite")
    if problems:
        more = f" (and {len(problems) - 1} more such tensors)" if len(problems) > 1 else ""
        raise InputError(f"{path} {sorted(problems)[0]}{more}.", remedy)


def _check_channels(model: Network, recipe: Recipe, path: Path) -> None:
    if len(recipe.channels) != model.config.in_channels:
        raise InputError(
            f"{path}: the recipe {recipe.name!r} makes {len(recipe.channels)} channels, "
            f"the network takes {model.config.in_channels}.",
            "Use a network and a recipe that fit each other.",
        )
