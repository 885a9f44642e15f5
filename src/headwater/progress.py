"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

_T = TypeVar("_T")
_SECONDS_BETWEEN_LINES = 15.0


def progress(items: Iterable[_T], *, description: str, total: int | None = None) -> Iterator[_T]:
    """Iterate over `items` and report on stderr how far it is.

    Parameters
    ----------
    items : Iterable
        What to go through.
    description : str
        Few words, shown before the count.
    total : int, optional
        Number of items, where `items` has no length.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=description, total=total, file=sys.stderr)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            of = f" of {total}" if total is not None else ""
            print(f"{description}: {done}{of}, {now - start:.0f} s", file=sys.stderr, flush=True)
