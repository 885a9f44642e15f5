"""Terms of use that travel with data: what a file's source asks of whatever is made of it.

The probability of a cell names them in its tags, and each later step writes the union of its inputs' terms into what it
makes: as tags, as metadata of a table, and on the report page. Data without terms of their own, such as a network of
Headwater's weights on demo planets, carry none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

PUBLISHED_RECIPE = "published"
"""First word of the tag `recipe` of a probability that comes from published rasters."""
_MAX_LINES, _MAX_LETTERS = 100, 2000


@dataclass(frozen=True)
class Terms:
    """Each field is one key of a file's metadata, and its texts are lines there."""

    license: tuple[str, ...] = ()
    """Licenses that hold for what is made of the data, such as "CC BY-SA 4.0"."""
    citation: tuple[str, ...] = ()
    """What to cite."""
    weights: tuple[str, ...] = ()
    """"demo" where weights made the data that were trained on generated landscapes."""
    warning: tuple[str, ...] = ()
    """What a user of the data should know, one sentence each."""
    attribution: tuple[str, ...] = ()
    """Notices that the owners of the data ask for, see `headwater.core.notices`."""

    @classmethod
    def of(cls, metadata: Mapping[Any, Any]) -> Terms:
        """Return the terms in a file's metadata, whose keys and values may be bytes."""
        texts = {_text(key): _text(value) for key, value in metadata.items() if isinstance(value, str | bytes)}
        return cls(**{name: _lines(texts.get(name, "")) for name in KEYS})

    @classmethod
    def union(cls, terms: Iterable[Terms]) -> Terms:
        """Return what several files ask, each text once, in the order of the files."""
        every = list(terms)
        return cls(
            **{name: tuple(dict.fromkeys(text for each in every for text in getattr(each, name))) for name in KEYS}
        )

    def tags(self) -> dict[str, str]:
        """Return the metadata to write; empty where nothing is asked."""
        return {name: "\n".join(texts) for name, texts in asdict(self).items() if texts}


KEYS = tuple(field.name for field in fields(Terms))


def _lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text that are fit to be shown."""
    shown = (line.strip() for line in text.splitlines()[:_MAX_LINES])
    return tuple(dict.fromkeys(line[:_MAX_LETTERS] for line in shown if line and line.isprintable()))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
