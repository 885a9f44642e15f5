"""Following targets downstream on a table of segments or reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.core.errors import InputError


def refuse_wrong_rows(rows: NDArray[np.int64], count: int | None = None, *, least: int = -1) -> None:
    """Refuse numbers of rows that are outside of a table: a kernel that looks one up would read other memory.

    Parameters
    ----------
    rows : (n,) int64
        Rows that each refers to.
    count : int, optional
        Rows of the table that they are of; n if not given.
    least : int
        Smallest number that is allowed; -1 stands for none.

    Raises
    ------
    InputError
        A number is smaller, or there is no such row.
    """
    count = len(rows) if count is None else count
    if len(rows) and not (least <= rows.min() and rows.max() < count):
        wrong = int(rows.min() if rows.min() < least else rows.max())
        raise InputError(
            f"A row refers to row {wrong} of a table of {count} rows.", "Run the step that made the tables again."
        )


def last_rows(downstream: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the path down from each row ends.

    Parameters
    ----------
    downstream : (n,) int64
        Row that each flows into; negative where it flows into none.

    Returns
    -------
    (n,) int64
        The row at the end of the path, which flows into none; for rows on a cycle, or upstream of one, a row of that
        cycle (every row of it is reached from itself by some path).
    """
    rows = np.arange(len(downstream))
    far = np.where(downstream >= 0, downstream, rows)
    # Doubling: after k rounds `far` is 2**k steps downstream, at the end at least n.
    for _ in range(max(len(rows), 1).bit_length()):
        far = far[far]
    return np.asarray(far, dtype=np.int64)


def rows_on_cycles(downstream: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows on cycles, ascending: far enough downstream, what has not ended is on a cycle."""
    last = last_rows(downstream)
    return np.unique(last[downstream[last] >= 0])
