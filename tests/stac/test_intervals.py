from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.stac.intervals import Interval, parse_instant, parse_interval, time_slices, years_before

instants = st.datetimes(min_value=datetime(1972, 1, 1), max_value=datetime(2090, 1, 1)).map(
    lambda instant: instant.replace(tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2023", "2023-01-01T00:00:00Z", "2023-12-31T23:59:59.999999Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("2023-06-01", "2023-06-01T00:00:00Z", "2023-06-01T23:59:59.999999Z"),
        ("2023-06-01/2023-06-30", "2023-06-01T00:00:00Z", "2023-06-30T23:59:59.999999Z"),
        ("2023-06-01T10:00:00+02:00", "2023-06-01T08:00:00Z", "2023-06-01T08:00:00Z"),
    ],
)
def test_periods_are_complete(text: str, start: str, end: str) -> None:
    assert parse_interval(text) == Interval(parse_instant(start), parse_instant(end))


@pytest.mark.parametrize(("text", "open_end"), [("2023/..", "end"), ("../2023", "start"), ("2023/", "end")])
def test_open_ends(text: str, open_end: str) -> None:
    interval = parse_interval(text)
    assert [name for name in ("start", "end") if getattr(interval, name) is None] == [open_end]


@pytest.mark.parametrize(
    "text", ["", "..", "../..", "yesterday", "2023-13", "2023-02-30", "2023-06-30/2023-06-01", "2023/2024/2025"]
)
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_interval(text)


@settings(deadline=None)
@given(instants, st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)))
def test_text_and_back(start: datetime, length: timedelta) -> None:
    interval = Interval(start, start + length)
    assert parse_interval(str(interval)) == interval


@settings(deadline=None)
@given(instants, st.integers(0, 40))
def test_years_before_keeps_the_season(instant: datetime, years: int) -> None:
    earlier = years_before(Interval(instant, None), years)
    assert earlier.end is None
    assert earlier.start is not None
    assert (earlier.start.year, earlier.start.month) == (instant.year - years, instant.month)
    assert instant.day - earlier.start.day in ((0, 1) if (instant.month, instant.day) == (2, 29) else (0,))


@settings(deadline=None)
@given(instants, instants, instants, instants)
def test_overlap_is_mutual(a: datetime, b: datetime, c: datetime, d: datetime) -> None:
    (a, b), (c, d) = sorted((a, b)), sorted((c, d))
    expected = max(a, c) <= min(b, d)
    assert Interval(a, b).overlaps(c, d) == Interval(c, d).overlaps(a, b) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(instants, st.integers(0, 400)), min_size=1, max_size=4), st.integers(1, 100))
def test_slices_cover_the_intervals_and_nothing_else(spans: list[tuple[datetime, int]], days: int) -> None:
    intervals = [Interval(start, start + timedelta(days=length, hours=5)) for start, length in spans]
    slices = time_slices(intervals, days)
    assert all(part.end - part.start <= timedelta(days=days) for part in slices)
    ends = [(part.start, part.end) for part in slices]
    assert ends == sorted(set(ends))
    # Neighbors meet in an instant that both contain; no two share more.
    assert all(one.end <= other.start for one, other in pairwise(slices))
    for interval in intervals:
        assert any(part.overlaps(interval.start, interval.start) for part in slices)
        assert any(part.overlaps(interval.end, interval.end) for part in slices)
        inside = [part for part in slices if part.overlaps(interval.start, interval.end)]
        assert all(one.end == other.start for one, other in pairwise(inside))
    for part in slices:
        assert any(interval.overlaps(part.start, part.start) for interval in intervals)
        assert any(interval.overlaps(part.end, part.end) for interval in intervals)


def test_a_year_is_sliced_by_month_and_overlapping_years_once() -> None:
    year = parse_interval("2023-01-01/2023-12-31")
    assert len(time_slices([year], 31)) == 12
    two = parse_interval("2022-01-01/2023-12-31")
    (joined,) = time_slices([two, years_before(two, 1)], 3660)
    assert str(joined) == "2021-01-01T00:00:00Z/2023-12-31T23:59:59.999999Z"


def test_no_microsecond_is_lost_between_years() -> None:
    last = parse_interval("2022").end
    first = parse_interval("2023").start
    assert first is not None
    assert last is not None
    assert first - last == timedelta(microseconds=1)


@pytest.mark.parametrize("text", ["9999-12-31", "9999", "9999-12"])
def test_the_end_of_the_calendar_is_a_date_too(text: str) -> None:
    assert str(parse_interval(text)).endswith("9999-12-31T23:59:59.999999Z")


def test_before_the_calendar_there_is_nothing() -> None:
    with pytest.raises(ValueError):
        years_before(parse_interval("0001-05-01/0001-06-01"), 1)
