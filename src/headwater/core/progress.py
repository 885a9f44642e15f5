"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

from headwater.core.events import PROGRESSED, emit

_T = TypeVar("_T")
_SECONDS_BETWEEN_LINES = 15.0


def progress(
    items: Iterable[_T],
    *,
    description: str,
    total: int | None = None,
    start: int = 0,
    note: Callable[[], str] | None = None,
) -> Iterator[_T]:
    """Iterate over `items` and report on stderr how far it is.

    Parameters
    ----------
    items : Iterable
        What to go through.
    description : str
        Few words, shown before the count.
    total : int, optional
        Number of items, where `items` has no length.
    start : int
        Number of items done before.
    note : callable, optional
        Few words that change on the way, shown behind the count.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        with tqdm(items, desc=description, total=total, initial=start, file=sys.stderr) as bar:
            for item in bar:
                yield item
                if note is not None:
                    bar.set_postfix_str(note(), refresh=False)
        return
    begun = last = time.monotonic()
    for done, item in enumerate(items, start=start + 1):
        yield item
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            of = f" of {total}" if total is not None else ""
            more = f", {note()}" if note is not None else ""
            print(f"{description}: {done}{of}, {now - begun:.0f} s{more}", file=sys.stderr, flush=True)
            emit(PROGRESSED, text=description, done=done, total=total)
