"""Networks by name, for checkpoints and training configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any, get_type_hints

from headwater.core.errors import InputError
from headwater.core.plugins import Registry
from headwater.models.base import Network

NETWORKS: Registry[type[Network]] = Registry(
    "network",
    group="headwater.networks",
    builtin={
        "waternet": "headwater.models.waternet:WaterNet",
        "evanet": "headwater.models.evanet:EvaNet",
        "hourglass": "headwater.models.hourglass:Hourglass",
        "unet": "headwater.models.unet:UNet",
        "fcn8s": "headwater.models.fcn8s:FCN8s",
    },
)
"""Classes of networks; a network's file is imported when it is chosen."""
MAX_SIZE = 4096
"""Largest size of a network where nothing else is given: of channels, mostly."""
MAX_SIZES: Mapping[str, int] = MappingProxyType({"encoders": 10, "decoders": 10, "depth": 10, "stacks": 16})
"""Largest sizes that count layers: each encoder doubles the channels."""


def build_network(name: str, config: Mapping[str, Any]) -> Network:
    """Return a network with fresh weights.

    Parameters
    ----------
    name : str
        A name of `NETWORKS`.
    config : mapping
        Fields of the network's config; the others keep their defaults.

    Raises
    ------
    InputError
        No network has that name, it cannot be imported, or it does not have these sizes.
    """
    network = NETWORKS.load(name)
    known = [field.name for field in fields(network.config_type)]
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise InputError(f"{name} has no size {', '.join(unknown)}.", f"Use some of: {', '.join(known)}.")
    hints = get_type_hints(network.config_type)
    for key, value in config.items():
        _check_size(name, key, value, hints[key])
    try:
        return network(network.config_type(**config))
    # A RuntimeError is PyTorch's, of sizes whose product overflows.
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"These sizes make no {name}: {error}.", "Correct the network's sizes.") from error


def _check_size(network: str, key: str, value: Any, hint: Any) -> None:
    """Refuse a size that is not a whole number, or so large that its network could not be built."""
    if hint not in (int, int | None) or (value is None and hint is not int):
        return
    most = MAX_SIZES.get(key, MAX_SIZE)
    if type(value) is not int or not 0 <= value <= most:
        raise InputError(
            f"The size {key} of {network} is {repr(value)[:40]}.", f"Give a whole number of at most {most}."
        )


def describe_network(network: Network) -> tuple[str, dict[str, Any]]:
    """Return the name and the sizes from which `build_network` builds this network.

    Raises
    ------
    InputError
        Its class is not registered.
    """
    for name in NETWORKS.names():
        try:
            registered = NETWORKS.load(name)
        except InputError:
            # A plugin that cannot be imported is not the class at hand.
            continue
        if type(network) is registered:
            return name, asdict(network.config)
    raise InputError(f"{type(network).__name__} is not a registered network.", "Add it to NETWORKS.")
