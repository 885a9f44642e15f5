"""What can be opened as a raster, and what to call it in messages."""

from __future__ import annotations

from pathlib import Path

from headwater.core.events import without_query
from headwater.stac.items import Asset

Source = Asset | Path | str
"""A STAC asset, a file, or the text of a VRT."""


def is_remote(source: Source) -> bool:
    """Return whether a source is a STAC asset on another machine, or one whose address is not a plain file path."""
    return isinstance(source, Asset) and ("://" in source.href or source.href.startswith(("/vsi", "<")))


def public_name(source: Source) -> str:
    """Return what to call a source in a message: never with its signature."""
    text = source.href if isinstance(source, Asset) else str(source)
    return "The mosaic" if text.startswith("<VRT") else without_signature(text)


def without_signature(text: str) -> str:
    """Remove the query of every address from a text: it may hold a signature."""
    return without_query(text).strip().rstrip(".")
