"""What is asked of a catalogue and how it answers: the interface that every kind of catalogue keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from headwater.geo.antimeridian_boxes import Box
from headwater.stac.filters import matches_box, matches_query, matches_time
from headwater.stac.intervals import Interval

Item = dict[str, Any]
Link = dict[str, Any]
"""Of a page to the next one, as STAC APIs write it: href, method, body, headers, merge."""


@dataclass(frozen=True)
class Query:
    """What is asked of a catalogue."""

    collection: str
    box: Box
    """West, south, east, north in degrees; west > east crosses the antimeridian."""
    interval: Interval | None = None
    """None asks for any time."""
    below: Mapping[str, float] = field(default_factory=dict)
    """Properties and the value each must not exceed; an item that does not tell the property passes."""


@dataclass(frozen=True)
class Page:
    """A piece of an answer."""

    items: Sequence[Item]
    """Cut to what is pinned, with unsigned addresses."""
    left_out: Sequence[tuple[str, str]] = ()
    """Id (what can be shown of it) and what the item lacks; an empty reason means that it does not answer the query."""
    next: Link | None = None
    """None at the last page."""
    matched: int | None = None
    """Items that the whole answer has, where the catalogue tells."""


class LostPlace(Exception):
    """The catalogue refuses a link to a next page that it gave itself: the answer has to be asked for anew."""


class Provider(Protocol):
    """A catalogue that can be asked."""

    @property
    def remote(self) -> bool:
        """Whether asking costs: a search is then cut into parts, which are kept until all are there."""
        ...

    def pages(self, query: Query, after: Link | None = None) -> Iterator[Page]:
        """Give the items of one collection that touch a box (which does not cross the antimeridian).

        Parameters
        ----------
        query : Query
            What is asked.
        after : dict, optional
            Link of an earlier page to the next one, to go on from there.

        Raises
        ------
        LostPlace
            A link is refused.
        WorkError
            The catalogue does not answer, or answers nonsense.
        """
        ...

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        """Give those of the named items that the catalogue has, whatever a search finds.

        Raises
        ------
        WorkError
            The catalogue does not answer, or answers nonsense.
        """
        ...

    def give_up(self) -> None:
        """Let threads that are asking stop at the first failure; the provider is of no more use."""
        ...


def answers(item: Item, query: Query) -> bool:
    """Whether an item's time, place and properties are those asked for."""
    return answers_but_place(item, query) and matches_box(item, query.box)


def answers_but_place(item: Item, query: Query) -> bool:
    """Whether an item's time and properties are those asked for; a property it does not tell is."""
    told = {name: {"lte": limit} for name, limit in query.below.items() if item["properties"].get(name) is not None}
    return matches_query(item, told) and (query.interval is None or matches_time(item, query.interval))
