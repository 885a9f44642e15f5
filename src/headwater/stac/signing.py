"""Signing addresses just before they are opened (tokens of the Planetary Computer live about 45 minutes).

A signed address is passed to the reader and to nothing else: it is never logged, stored or put into a message. Tokens
are shared by the processes of a user on a machine (`headwater.stac.tokens`).

A signing scheme is a callable in one file that takes the token address and returns a `Signer`. Other packages register
theirs in the entry point group "headwater.signers".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

from headwater.core.plugins import Registry

# The command line imports this module for the names of schemes: shapely waits.
if TYPE_CHECKING:
    from headwater.stac.items import Asset, Signer


class OpenSigner(Protocol):
    """Opens a signer: a class of signers, or a function."""

    def __call__(self, token_url: str | None) -> Signer:
        """Return a signer; `token_url` is catalog.token_url of the configuration."""
        ...


SIGNERS: Registry[OpenSigner] = Registry(
    "signing scheme",
    group="headwater.signers",
    builtin={
        "none": "headwater.stac.signing:no_signer",
        "token": "headwater.stac.token_endpoint:TokenSigner",
        "planetary_computer": "headwater.stac.planetary_computer:PlanetaryComputerSigner",
    },
)
"""Signing schemes, imported when they are chosen; the first is the default."""


@dataclass(frozen=True, eq=False)
class CatalogSigner:
    """The signer of a configuration, and the hosts that the configuration adds to those of its files."""

    sign: Signer
    hosts: tuple[str, ...]
    """catalog.hosts: files may be redirected there."""

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        """Return the address to open; see `headwater.stac.items.Signer`."""
        return self.sign(asset, renew=renew)


@cache
def make_signer(signing: str, token_url: str | None = None, hosts: tuple[str, ...] = ()) -> Signer:
    """Return the signer of a configuration; the same one each time within a process.

    Parameters
    ----------
    signing : str
        "none"; "token": an endpoint of the Planetary Computer's shape, GET {token_url}/{collection};
        "planetary_computer": the SDK, which knows the service's addresses and takes PC_SDK_SUBSCRIPTION_KEY and
        PC_SDK_SAS_URL from the environment or its settings file; or a registered scheme.
    token_url : str, optional
        For "token", for instance https://planetarycomputer.microsoft.com/api/sas/v1/token.
    hosts : tuple of str, optional
        Hosts that tokens may be sent to and files may be redirected to, besides those of `headwater.stac.hosts`.

    Raises
    ------
    InputError
        There is no such scheme, or "token" lacks its address.
    """
    if signing == "token" and hosts:
        from headwater.stac.token_endpoint import TokenSigner

        return CatalogSigner(TokenSigner(token_url, hosts=hosts), hosts)
    return CatalogSigner(SIGNERS.load(signing)(token_url), hosts)


def no_signer(token_url: str | None) -> Signer:
    """Return a signer that leaves addresses as they are."""
    return _unsigned


def _unsigned(asset: Asset, *, renew: bool = False) -> str:
    return asset.href
