"""Checkpoints: weights as safetensors and, beside them under the same stem, JSON that says all about them."""

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
    """What a checkpoint's JSON file holds."""

    network: str
    """Name in the registry."""
    config: Mapping[str, Any]
    """Sizes of the network."""
    recipe: Recipe
    """How its channels are made."""
    sha256: str
    """Hash of the weights file, hexadecimal."""
    licence: str
    """Licence of the weights."""
    input_pixel_m: float = 10.0
    """Pixel size of the input it was trained at."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Data, command and settings of the training."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Scores on data it was not trained on."""
    channels: Sequence[Mapping[str, Any]] = ()
    """The recipe told for people: name, source, formula, parameters and scaling (the normalisation) of each channel."""

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata as JSON stores it."""
        return {**asdict(self), "recipe": self.recipe.to_dict(), "channels": list(self.channels)}


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights, and where they come from."""

    model: Network
    """In evaluation mode. WaterNet, hourglass, U-Net and FCN-8s take channels (batch, channel, y, x) float32 to
    probabilities (batch, 1, y / scale, x / scale), EvaNet image and elevation to scores (batch, 2, y, x)."""
    metadata: CheckpointMetadata

    @property
    def predictor(self) -> Network:
        """The same for prediction: whatever the network, channels (batch, channel, y, x) to probabilities."""
        return self.model.predictor()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read weights and their JSON, checking that they belong together and fit the network.

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
            f"The checkpoint {path} has no {sidecar.name} beside it.", "Keep the two files of a checkpoint together."
        )
    metadata = _read_metadata(sidecar)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != metadata.sha256:
        raise InputError(
            f"The weights in {path} are not those {sidecar.name} describes (sha256 differs).",
            "Copy both files again from where they came.",
        )
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}).", "Copy it again.") from error
    model = build_network(metadata.network, metadata.config)
    _check_channels(model, metadata.recipe, sidecar)
    fill_network(model, tensors, path, remedy="Use the weights and the JSON file of one and the same training.")
    return Checkpoint(model=model.eval().requires_grad_(False), metadata=metadata)


def save_checkpoint(
    path: Path,
    model: Network,
    *,
    recipe: Recipe,
    licence: str,
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
        The network; stays as it is.
    recipe : Recipe
        The channels it was trained with.
    licence, training, scores
        See `CheckpointMetadata`.
    dtype : torch.dtype
        How the weights are stored. What is not learnt stays as it is: the variances that batch norms keep may be larger
        than float16 can tell.

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
    tensors, learnt = {}, {name for name, _ in model.named_parameters()}
    for name, tensor in model.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        stored = stored.to(dtype) if name in learnt else stored
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
        licence=licence,
        input_pixel_m=recipe.pixel_m,
        channels=recipe.describe(),
        training=training or {},
        scores=scores or {},
    )
    # Both are on the disk before either takes its place: a full disk leaves the last pair as it was.
    with atomic_path(path.with_suffix(".json")) as sidecar:
        write_json(sidecar, metadata.to_dict())
        write_if_changed(path, content)
    return metadata


def _read_metadata(sidecar: Path) -> CheckpointMetadata:
    values = read_json(sidecar)
    known = {item.name for item in fields(CheckpointMetadata)}
    needed = {"network", "config", "recipe", "sha256", "licence"}
    if not isinstance(values, dict) or not needed <= set(values) <= known:
        raise InputError(
            f"{sidecar} does not describe a checkpoint.",
            f"It must be an object with {', '.join(sorted(needed))}, as headwater train writes it.",
        )
    return CheckpointMetadata(**{**values, "recipe": Recipe.from_dict(values["recipe"])})


def fill_network(model: Network, tensors: Mapping[str, Tensor], path: Path, *, remedy: str) -> None:
    """Put tensors into a network, refusing all that do not fit it exactly.

    Parameters
    ----------
    model : Network
        Changed in place.
    tensors : mapping
        By the names of the network's state_dict; floating ones of any type become float32.
    path : Path
        Where they were read, for messages.
    remedy : str
        What the user can do where they do not fit.

    Raises
    ------
    InputError
        Names the first tensor that is missing, unknown, of another shape or kind, or not finite.
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
            "Use a network and a recipe that go together.",
        )
