"""What can be opened as a raster, and what to call it in messages."""

from __future__ import annotations

from pathlib import Path

from headwater.core.secrets import without_secrets
from headwater.stac.items import Asset
from headwater.stac.validation import is_plain_path

Source = Asset | Path | str
"""A STAC asset, a file, or the text of a VRT."""


def is_remote(source: Source) -> bool:
    """Return whether a source is a STAC asset on another machine, or one whose address is not a plain file path."""
    return isinstance(source, Asset) and not is_plain_path(source.href)


def public_name(source: Source) -> str:
    """Return what to call a source in a message: never with its signature."""
    text = source.href if isinstance(source, Asset) else str(source)
    return "The mosaic" if text.startswith("<VRT") else without_signature(text)


def without_signature(text: str) -> str:
    """Remove secrets from a text (`headwater.core.secrets`), and its last full stop."""
    return without_secrets(text).strip().rstrip(".")
