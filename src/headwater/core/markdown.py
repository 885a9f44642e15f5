"""Tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(columns: Sequence[object], rows: Iterable[Sequence[object]], *, digits: int = 4) -> str:
    """Return rows as a Markdown table.

    Parameters
    ----------
    columns : sequence
        Column names.
    rows : iterable of sequence
        One value per column.
    digits : int
        Digits after the point of floating-point numbers, with commas between thousands. NaN is an empty field.

    Returns
    -------
    str
        Lines, each ended by a newline.
    """
    lines = [[str(column) for column in columns], ["---"] * len(columns)]
    lines += [[_text(value, digits) for value in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(value: Any, digits: int) -> str:
    # NumPy's float64 is a float as well.
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:,.{digits}f}"
