"""Tables of scores and lengths as CSV, Markdown and figures."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headwater.core import markdown
from headwater.core.files import atomic_path, write_if_changed

matplotlib.use("Agg")

EXISTING, NEW = "Existing (km)", "New (km)"
_DPI = 150
_COLORS = ("#9ecae1", "#3182bd", "#08306b", "#d7301f")


def length_table(network: pd.DataFrame, by: str) -> pd.DataFrame:
    """Sum lengths as the paper does: what the backbone had, and what is new.

    Parameters
    ----------
    network : DataFrame
        Columns from_tdx, length_m and the one to sum by.
    by : str
        strahler_order, basin_id or any other.

    Returns
    -------
    DataFrame
        Index of the values of `by`, sorted, and "all"; columns `EXISTING` and `NEW`, km.
    """
    source = network["from_tdx"].map({True: EXISTING, False: NEW})
    table = (network["length_m"] / 1000).groupby([network[by], source]).sum().unstack(fill_value=0)
    table = table.reindex(columns=[EXISTING, NEW], fill_value=0.0).rename_axis(columns=None)
    table.index = table.index.astype(str)
    table.loc["all"] = table.sum(axis=0)
    return table.rename_axis(by)


def markdown_table(table: pd.DataFrame, *, digits: int = 4) -> str:
    """Return a table, its index first, as Markdown; numbers have `digits` decimals, NaN is empty."""
    flat = table.reset_index() if table.index.name else table
    return markdown.markdown_table(list(flat.columns), flat.itertuples(index=False), digits=digits)


def write_table(folder: Path, name: str, table: pd.DataFrame, *, digits: int = 4) -> None:
    """Write `name`.csv and `name`.md into a folder."""
    text = table.to_csv(index=bool(table.index.name), float_format=f"%.{digits}f", lineterminator="\n")
    write_if_changed(folder / f"{name}.csv", text.encode())
    write_if_changed(folder / f"{name}.md", markdown_table(table, digits=digits).encode())


def draw_bars(path: Path, table: pd.DataFrame, *, title: str, label: str) -> None:
    """Draw the columns of a table as bars, a group for each row.

    Parameters
    ----------
    path : Path
        PNG to write.
    table : DataFrame
        Up to four columns of numbers.
    title, label : str
        Heading, and what the numbers are.
    """
    rows, columns = table.shape
    figure = Figure(figsize=(8.0, 1.2 + 0.14 * rows * (columns + 1)), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / max(columns, 1)
    for k, column in enumerate(table.columns):
        place = np.arange(rows) + (k - (columns - 1) / 2) * height
        axes.barh(place, table[column].to_numpy(np.float64), height, label=str(column), color=_COLORS[k])
    axes.set_yticks(np.arange(rows), [str(name) for name in table.index])
    axes.invert_yaxis()
    axes.set(xlabel=label, ylabel=str(table.index.name or "").replace("_", " "), title=title)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    with atomic_path(path) as temporary:
        # Without the version of matplotlib in the file, the same figure is the same bytes.
        figure.savefig(temporary, metadata={"Software": None})
