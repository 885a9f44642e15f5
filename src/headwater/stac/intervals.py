"""Time intervals in the notation of STAC: RFC 3339 instants, dates, and two of either with a slash, ".." for open."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from headwater.core.errors import InputError

_PERIOD = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*")


@dataclass(frozen=True)
class Interval:
    """A span of time, both ends included, in UTC."""

    start: datetime | None
    """First instant; None is open."""
    end: datetime | None
    """Last instant; None is open."""

    def overlaps(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether the span from `start` to `end` (None is open) shares an instant with this one."""
        return (self.start is None or end is None or end >= self.start) and (
            self.end is None or start is None or start <= self.end
        )

    def __str__(self) -> str:
        return f"{_text(self.start)}/{_text(self.end)}"


def parse_interval(text: str) -> Interval:
    """Read "2023", "2023-06", "2023-06-01", "2023-06-01T10:00:00Z", "A/B", "A/.." or "../B".

    A year, month or day includes its last microsecond: near longitude 180 Sentinel-2 passes at midnight UTC.

    Raises
    ------
    ValueError
        The text is none of these, is open at both ends, or its end is before its start.
    """
    parts = text.strip().split("/")
    if len(parts) > 2 or not any(part.strip() not in ("", "..") for part in parts):
        raise ValueError(f"'{text}' is not a date or an interval of two dates")
    if len(parts) == 1:
        start, end = _span(parts[0])
        return Interval(start, end)
    first, last = (part.strip() for part in parts)
    start_or_open = None if first in ("", "..") else _span(first)[0]
    end_or_open = None if last in ("", "..") else _span(last)[1]
    if start_or_open is not None and end_or_open is not None and end_or_open < start_or_open:
        raise ValueError(f"'{text}' ends before it starts")
    return Interval(start_or_open, end_or_open)


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 instant; without a zone it is UTC.

    Raises
    ------
    ValueError
        The text is not one.
    """
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"'{text}' is not an RFC 3339 date and time")
    instant = datetime.fromisoformat(text.replace("z", "Z").replace("t", "T"))
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def years_before(interval: Interval, years: int) -> Interval:
    """Return the same interval some years earlier; 29 February becomes 28 February where needed.

    Raises
    ------
    ValueError
        That is before the year 1.
    """
    return Interval(_years_before(interval.start, years), _years_before(interval.end, years))


def time_slices(intervals: Iterable[Interval], days: int) -> list[Interval]:
    """Cut intervals into slices of so many days; the slices cover the intervals and nothing else.

    Neighboring slices share the instant at which they meet, because catalogs disagree on fractions of a second: an
    item there is found twice, but never missed. Overlapping intervals are joined, so that no query is repeated.

    Parameters
    ----------
    intervals : iterable of Interval
        Closed at both ends.
    days : int
        Longest slice.

    Returns
    -------
    list of Interval
        Oldest first.
    """
    joined: list[tuple[datetime, datetime]] = []
    for start, end in sorted((interval.start, interval.end) for interval in intervals):
        assert start is not None
        assert end is not None
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    slices = []
    for start, end in joined:
        while end - start > timedelta(days=days):
            slices.append(Interval(start, start + timedelta(days=days)))
            start += timedelta(days=days)
        slices.append(Interval(start, end))
    return slices


def parse_date_range(text: str) -> tuple[date, date]:
    """Return first and last day of `YYYY-MM-DD/YYYY-MM-DD`.

    Raises
    ------
    InputError
        The text is not a range of dates, or is empty (it ends before it starts).
    """
    parts = text.split("/")
    try:
        # Python accepts more forms of dates than the search does.
        if not all(_DAY.fullmatch(part) for part in parts):
            raise ValueError
        first, last = (date.fromisoformat(part) for part in parts)
    except ValueError as error:
        raise InputError(
            f"{text!r} is not a range of dates.", "Write search.datetime as YYYY-MM-DD/YYYY-MM-DD."
        ) from error
    if last < first:
        raise InputError(f"The date range {text} is empty: it ends before it starts.", "Put the earlier date first.")
    return first, last


def _years_before(instant: datetime | None, years: int) -> datetime | None:
    if instant is None:
        return None
    year = instant.year - years
    return instant.replace(year=year, day=min(instant.day, calendar.monthrange(year, instant.month)[1]))


def _span(text: str) -> tuple[datetime, datetime]:
    """Return the first and the last instant of a date or instant."""
    text = text.strip()
    period = _PERIOD.fullmatch(text)
    if period is None:
        instant = parse_instant(text)
        return instant, instant
    year, month, day = (int(part) if part else None for part in period.groups())
    assert year is not None
    start = datetime(year, month or 1, day or 1, tzinfo=UTC)
    if day is not None:
        last = start
    elif month is not None:
        last = start.replace(day=calendar.monthrange(year, month)[1])
    else:
        last = start.replace(month=12, day=31)
    return start, last.replace(hour=23, minute=59, second=59, microsecond=999_999)


def _text(instant: datetime | None) -> str:
    return ".." if instant is None else instant.isoformat().replace("+00:00", "Z")
