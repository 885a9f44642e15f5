"""What the catalogue hands to the readers: an unsigned address and a way to sign it just before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Asset:
    """A file of a STAC item."""

    href: str
    """Unsigned address or path."""
    collection: str
    """Collection the item belongs to; tokens are given per collection."""


class Signer(Protocol):
    """Gives the address to open now."""

    def __call__(self, asset: Asset, *, renew: bool = False) -> str:
        """Return a readable address; with `renew`, one signed with a fresh token."""
        ...
