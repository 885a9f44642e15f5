"""Checkpoints: weights as safetensors, and JSON that describes them in a file of the same stem."""

from __future__ import annotations

import hashlib
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
from headwater.models.base import Network
from headwater.models.channels import Recipe
from headwater.models.registry import build_network, describe_network


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

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata as JSON stores it."""
        return {**asdict(self), "recipe": self.recipe.to_dict(), "channels": list(self.channels)}


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
    model = build_network(metadata.network, metadata.config)
    _check_channels(model, metadata.recipe, sidecar)
    fill_network(model, tensors, path, remedy="Use the weights and the JSON file of the same training.")
    return Checkpoint(model=model.eval().requires_grad_(False), metadata=metadata)


def save_checkpoint(
    path: Path,
    model: Network,
    *,
    recipe: Recipe,
    license: str,
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
    license, training, scores
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
    return CheckpointMetadata(**{**values, "recipe": Recipe.from_dict(values["recipe"])})


def fill_network(model: Network, tensors: Mapping[str, Tensor], path: Path, *, remedy: str) -> None:
    """Load tensors into a network, refusing all that do not fit exactly.

    Parameters
    ----------
    model : Network
        Changed in place.
    tensors : mapping
        By the names of the network's state_dict; floating-point ones of any type become float32.
    path : Path
        File they were read from, for messages.
    remedy : str
        What the user can do if they do not fit.

    Raises
    ------
    InputError
        A tensor is missing, unknown, of another shape or kind, or not finite; the message names the first.
    """
    expected = model.state_dict()
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
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()})


def _check_channels(model: Network, recipe: Recipe, path: Path) -> None:
    if len(recipe.channels) != model.config.in_channels:
        raise InputError(
            f"{path}: the recipe {recipe.name!r} makes {len(recipe.channels)} channels, "
            f"the network takes {model.config.in_channels}.",
            "Use a network and a recipe that fit each other.",
        )
