"""Networks by name, for checkpoints and training configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from headwater.errors import InputError
from headwater.models.waternet import WaterNet, WaterNetConfig

NETWORKS = {"waternet": (WaterNetConfig, WaterNet)}


def build_network(name: str, config: Mapping[str, Any]) -> WaterNet:
    """Return a network with fresh weights.

    Parameters
    ----------
    name : str
        Key of `NETWORKS`.
    config : mapping
        Fields of the network's config; the others keep their defaults.

    Raises
    ------
    InputError
        No network of that name, or no such sizes.
    """
    if name not in NETWORKS:
        raise InputError(f"There is no network {name!r}.", f"Use one of: {', '.join(NETWORKS)}.")
    config_class, network_class = NETWORKS[name]
    known = [field.name for field in fields(config_class)]
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise InputError(f"{name} has no size {', '.join(unknown)}.", f"Use some of: {', '.join(known)}.")
    try:
        return network_class(config_class(**config))
    except (TypeError, ValueError) as error:
        raise InputError(f"These sizes make no {name}: {error}.", "Correct the network's sizes.") from error


def describe_network(network: WaterNet) -> tuple[str, dict[str, Any]]:
    """Return the name and the sizes `build_network` makes this network from."""
    for name, (_, network_class) in NETWORKS.items():
        if type(network) is network_class:
            return name, asdict(network.config)
    raise InputError(f"{type(network).__name__} is not a registered network.", "Add it to NETWORKS.")
