"""models: list networks and checkpoints, show one, import published weights, verify a checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from headwater.core.errors import InputError, WorkError
from headwater.models.base import Network
from headwater.models.channels import RECIPES
from headwater.models.checkpoint import Checkpoint, load_checkpoint
from headwater.models.importing import PUBLISHED, import_checkpoint
from headwater.models.registry import NETWORKS, build_network
from headwater.models.shipped import default_checkpoints

_VERIFY_PX = 256
_SEED = 0


def list_models() -> None:
    """Print the networks with their default sizes, the channel recipes and the checkpoints that come with Headwater."""
    print("networks (parameters and sizes by default)")
    for name in NETWORKS.names():
        try:
            with torch.device("meta"):
                model = build_network(name, {})
        except InputError as error:
            # A plugin that cannot be imported leaves the others usable.
            print(f"  {name:<10} {error.cause}")
            continue
        print(f"  {name:<10} {_count(model):>11,}  {model.summary}")
        print(f"  {'':<10} {'':>11}  {_sizes(asdict(model.config))}")
    print("channel recipes")
    for name in RECIPES.names():
        try:
            recipe = RECIPES.load(name)
        except InputError as error:
            print(f"  {name:<15} {error.cause}")
            continue
        print(f"  {name:<15} {recipe.pixel_m:g} m: {', '.join(recipe.names)}")
    print(f"import: {', '.join(PUBLISHED)}")
    print("default checkpoints, whose predictions are averaged")
    for path in default_checkpoints():
        print(f"  {path.name}")
        print(f"  {_line(load_checkpoint(path))}")


def show_model(file: Path | None = None) -> None:
    """Print the metadata and the size of a checkpoint.

    Parameters
    ----------
    file : Path, optional
        The .safetensors file; by default those that come with Headwater, one after the other.
    """
    for path in default_checkpoints() if file is None else [file]:
        _show(path)


def _show(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    metadata, sizes = checkpoint.metadata, checkpoint.model.config
    print(path.name)
    print(_line(checkpoint))
    print(f"license: {metadata.license}")
    print(f"sha256: {metadata.sha256}")
    print(
        f"input: {sizes.in_channels} channels at {metadata.input_pixel_m:g} m, both sides divisible by "
        f"{sizes.multiple_px} px; output {sizes.scale} times smaller"
    )
    print(f"recipe {metadata.recipe.name}:")
    for number, channel in enumerate(metadata.recipe.describe()):
        source = ", ".join(channel["source"])
        print(f"  {number} {channel['name']} from {source}: {channel['formula']}; scaling: {channel['scaling']}")
        if channel["parameters"]:
            print(f"    {_sizes(channel['parameters'])}")
    for title, values in (("scores", metadata.scores), ("training", metadata.training)):
        print(f"{title}: {json.dumps(values, indent=1, sort_keys=True) if values else 'not stated'}")


def import_model(
    network: str,
    file: Path,
    out: Path,
    *,
    recipe: str | None = None,
    license: str | None = None,
    pixel_m: float | None = None,
) -> None:
    """Write a checkpoint from a published file of weights; see `headwater.models.importing.import_checkpoint`."""
    import_checkpoint(network, file, out, recipe=recipe, license=license, pixel_m=pixel_m)
    checkpoint = load_checkpoint(out)
    print(f"{out}: {_line(checkpoint).strip()}, recipe {checkpoint.metadata.recipe.name}")


def verify_model(file: Path) -> None:
    """Load a checkpoint, run it twice on a seeded input and print a digest of the output.

    Parameters
    ----------
    file : Path
        The .safetensors file.

    Raises
    ------
    InputError
        The checkpoint cannot be loaded.
    WorkError
        The two outputs differ, or are not probabilities.
    """
    checkpoint = load_checkpoint(file)
    model, sizes = checkpoint.predictor, checkpoint.model.config
    side = max(2, -(-_VERIFY_PX // sizes.multiple_px)) * sizes.multiple_px
    image = torch.rand((1, sizes.in_channels, side, side), generator=torch.Generator().manual_seed(_SEED))
    threads = torch.get_num_threads()
    # The order of sums depends on the number of threads.
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            first, second = (model(image) for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    if not torch.equal(first, second):
        raise WorkError(f"{file} gives different outputs for one input.", "Try another machine, or report it.")
    if not (torch.isfinite(first).all() and first.min() >= 0 and first.max() <= 1):
        raise WorkError(f"{file} gives values that are not probabilities.", "Use other weights.")
    digest = hashlib.sha256(first.contiguous().numpy().tobytes()).hexdigest()
    print(f"{file}: sha256 of the weights as stated, {_line(checkpoint).strip()}")
    print(f"input {tuple(image.shape)} of seed {_SEED}, output {tuple(first.shape)}, the same twice")
    print(f"mean {first.mean():.6f}, least {first.min():.6f}, most {first.max():.6f}, sha256 {digest}")


def _line(checkpoint: Checkpoint) -> str:
    metadata = checkpoint.metadata
    tensors = len(checkpoint.model.state_dict())
    count = f"{_count(checkpoint.model):,} parameters in {tensors} tensors"
    return f"  {metadata.network} ({_sizes(metadata.config)}): {count}"


def _count(model: Network) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _sizes(values: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
