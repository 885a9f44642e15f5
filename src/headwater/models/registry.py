"""Networks by name, for checkpoints and training configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from headwater.core.errors import InputError
from headwater.models.base import Network
from headwater.models.evanet import EvaNet, EvaNetConfig
from headwater.models.fcn8s import FCN8s, FCN8sConfig
from headwater.models.hourglass import Hourglass, HourglassConfig
from headwater.models.unet import UNet, UNetConfig
from headwater.models.waternet import WaterNet, WaterNetConfig


class Entry(NamedTuple):
    """A network of the registry."""

    config: type[Any]
    """Frozen dataclass of its sizes."""
    network: type[Network]
    """Built from the config alone."""
    summary: str
    """What it is, in a line."""


NETWORKS: Mapping[str, Entry] = {
    "waternet": Entry(WaterNetConfig, WaterNet, "WaterNet (Pierson and Mehrabi 2024), the main network"),
    "evanet": Entry(EvaNetConfig, EvaNet, "EvaNet (Sami et al. 2024), regulated by elevation"),
    "hourglass": Entry(HourglassConfig, Hourglass, "stacked hourglass with an orientation head (Batra et al. 2019)"),
    "unet": Entry(UNetConfig, UNet, "U-Net (Ronneberger et al. 2015), baseline; elevation_channel regulates it"),
    "fcn8s": Entry(FCN8sConfig, FCN8s, "FCN-8s (Long et al. 2015), baseline"),
}


def build_network(name: str, config: Mapping[str, Any]) -> Network:
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
    entry = NETWORKS[name]
    known = [field.name for field in fields(entry.config)]
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise InputError(f"{name} has no size {', '.join(unknown)}.", f"Use some of: {', '.join(known)}.")
    try:
        return entry.network(entry.config(**config))
    except (TypeError, ValueError) as error:
        raise InputError(f"These sizes make no {name}: {error}.", "Correct the network's sizes.") from error


def describe_network(network: Network) -> tuple[str, dict[str, Any]]:
    """Return the name and the sizes `build_network` makes this network from."""
    for name, entry in NETWORKS.items():
        if type(network) is entry.network:
            return name, asdict(network.config)
    raise InputError(f"{type(network).__name__} is not a registered network.", "Add it to NETWORKS.")
