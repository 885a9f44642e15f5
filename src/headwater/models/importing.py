"""Import of published weights as Headwater checkpoints: tensors are read by name, code is never executed."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from headwater.core.errors import InputError
from headwater.models.channels import RECIPES
from headwater.models.checkpoint import CheckpointMetadata, filled_network, save_checkpoint

Tensors = Mapping[str, Tensor]

_NESTS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
"""Keys under which programs save the tensors."""
_UNKNOWN_LICENSE = "not stated with the weights"


@dataclass(frozen=True)
class Published:
    """How a published network is recognized."""

    anchor: str
    """Name of a tensor it has; prefixes may precede it."""
    sizes: Callable[[Tensors], dict[str, int]]
    """Derives the sizes of the network from the shapes of its tensors."""
    recipe: str
    """Channel recipe its program trains with."""


def import_checkpoint(
    network: str,
    source: Path,
    out: Path,
    *,
    recipe: str | None = None,
    license: str | None = None,
    pixel_m: float | None = None,
    origin: Mapping[str, Any] | None = None,
) -> CheckpointMetadata:
    """Write a Headwater checkpoint from a published file of weights.

    Parameters
    ----------
    network : str
        Key of `PUBLISHED`.
    source : Path
        .pt, .ckpt or .safetensors: a state_dict, alone or nested in what a training program saved, with or without a
        common prefix of its names such as "model." or "module.".
    out : Path
        File to write, ending in .safetensors; the JSON is written next to it.
    recipe : str, optional
        Name of the channel recipe; by default that of the published program.
    license : str, optional
        License of the weights.
    pixel_m : float, optional
        Pixel size of the training data, in meters; by default the recipe's.
    origin : mapping, optional
        Where the file is from: noted with the training.

    Raises
    ------
    InputError
        The file contains code, is incomplete, or its tensors differ from those of the network in name or shape.
    """
    if network not in PUBLISHED:
        raise InputError(f"There is no import of {network!r}.", f"Use one of: {', '.join(PUBLISHED)}.")
    published = PUBLISHED[network]
    channels = RECIPES.load(recipe or published.recipe)
    if pixel_m is not None:
        channels = replace(channels, pixel_m=pixel_m)
    source = Path(source)
    tensors = _without_prefix(read_state_dict(source), published.anchor, network, source)
    try:
        sizes = published.sizes(tensors)
    except (KeyError, IndexError) as error:
        raise InputError(
            f"{source} holds no complete {network}: the tensor {error} is missing or has too few axes.",
            "Give the file as it was published.",
        ) from error
    remedy = f"Give a file of weights of {network}, as it was published."
    model = filled_network(network, sizes, tensors, source, remedy=remedy)
    training = {"imported_from": source.name, "imported_sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    training |= origin or {}
    return save_checkpoint(
        out,
        model,
        recipe=channels,
        license=license or _UNKNOWN_LICENSE,
        training=training,
        dtype=_common_dtype(tensors),
    )


def read_state_dict(path: Path) -> Tensors:
    """Read the tensors of a file by name; nothing in it is executed.

    Parameters
    ----------
    path : Path
        Safetensors, recognized by suffix, or a file of torch.save.

    Raises
    ------
    InputError
        The file is missing or damaged, contains anything but plain data, or no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The weights {path} do not exist.", "Give the path of a .pt, .ckpt or .safetensors file.")
    if path.suffix == ".safetensors":
        try:
            return load_tensors(path.read_bytes())
        except (SafetensorError, ValueError) as error:
            raise InputError(f"{path} is not a complete safetensors file ({error}).", "Copy it again.") from error
    try:
        with warnings.catch_warnings():
            # PyTorch warns about pickles of other programs before it refuses them.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged pickle can fail in any way; code in it is refused before it runs.
        forbidden = re.search(r"(?:GLOBAL|Unsupported class|Unsupported global)[:\s]+(?:GLOBAL )?(\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and forbidden:
            raise InputError(
                f"{path} holds pickled code ({forbidden[1]}), which is not run.",
                "Ask its author for the tensors alone, as a state_dict or safetensors.",
            ) from error
        if isinstance(error, pickle.UnpicklingError):
            raise InputError(
                f"{path} contains other data than plain tensors as torch.save writes them, which is not read.",
                "Ask its author for the tensors alone, as a state_dict or safetensors.",
            ) from error
        first = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise InputError(f"{path} is not a complete file of weights ({first}).", "Copy it again.") from error
    tensors = _find_tensors(content)
    if tensors is None:
        raise InputError(
            f"{path} holds no state_dict.",
            f"It must be one, or hold one under {', '.join(_NESTS)}, as trainings save it.",
        )
    return tensors


def _find_tensors(content: Any) -> Tensors | None:
    if not isinstance(content, Mapping):
        return None
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): tensor for name, tensor in content.items()}
    found = (_find_tensors(content[nest]) for nest in _NESTS if nest in content)
    return next((tensors for tensors in found if tensors is not None), None)


def _without_prefix(tensors: Tensors, anchor: str, network: str, path: Path) -> Tensors:
    """Remove the anchor's prefix from all names; a name without it stays, and is refused later as unknown."""
    full = [name for name in tensors if name == anchor or name.endswith(f".{anchor}")]
    if not full:
        raise InputError(
            f"{path} holds no {network}: there is no tensor {anchor} among its {len(tensors)} "
            f"(the first is {next(iter(tensors), 'none')}).",
            f"Give a file of weights of {network}, as it was published.",
        )
    prefix = full[0].removesuffix(anchor)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _waternet_sizes(tensors: Tensors) -> dict[str, int]:
    return {
        "in_channels": tensors["attention.conv_block1.conv_1.weight"].shape[1],
        "base_channels": tensors["attention.channel_increase_conv.conv_2.weight"].shape[0],
        "encoders": _count(tensors, r"encoders\.(\d+)\."),
        "decoders": _count(tensors, r"decoders\.(\d+)\."),
        "out_channels": tensors["fully_connected.layers.3.weight"].shape[0],
    }


def _evanet_sizes(tensors: Tensors) -> dict[str, int]:
    base, image = tensors["inc.conv.first_Conv.conv_layer_img.weight"].shape[:2]
    return {"image_channels": image, "base_channels": base, "depth": _count(tensors, r"down(\d+)\.")}


def _count(tensors: Tensors, pattern: str) -> int:
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})


def _common_dtype(tensors: Tensors) -> torch.dtype:
    """Return the common type of all floating-point tensors if it has 16 bits, so values stay exact; else float32."""
    kinds = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    kind = kinds.pop() if len(kinds) == 1 else torch.float32
    return kind if kind in (torch.float16, torch.bfloat16) else torch.float32


PUBLISHED: Mapping[str, Published] = {
    "waternet": Published("attention.conv_block1.conv_1.weight", _waternet_sizes, "release"),
    "evanet": Published("inc.conv.first_Conv.conv_layer_img.weight", _evanet_sizes, "evanet_release"),
}
"""Networks whose published weights can be imported."""
