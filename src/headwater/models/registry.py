"""Networks by name, for checkpoints and training configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

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
    try:
        return network(network.config_type(**config))
    except (TypeError, ValueError) as error:
        raise InputError(f"These sizes make no {name}: {error}.", "Correct the network's sizes.") from error


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
