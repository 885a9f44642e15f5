"""Length of a network by order and source: pure tables."""

from __future__ import annotations

import pandas as pd

SOURCE_BACKBONE, SOURCE_NEW = "backbone", "new"


def summary_table(network: pd.DataFrame) -> pd.DataFrame:
    """Sum the length of a network.

    Parameters
    ----------
    network : DataFrame
        A basin's waterways: columns basin_id, strahler_order, from_tdx, intersects_lake, length_m.

    Returns
    -------
    DataFrame
        Columns basin_id, strahler_order, source (backbone or new), intersects_lake, segments, length_km; one row per
        existing combination, sorted.
    """
    facts = pd.DataFrame(
        {
            "basin_id": network["basin_id"].astype(str),
            "strahler_order": network["strahler_order"].astype("int64"),
            "source": network["from_tdx"].map({True: SOURCE_BACKBONE, False: SOURCE_NEW}),
            "intersects_lake": network["intersects_lake"].astype(bool),
            "length_km": network["length_m"] / 1000.0,
        }
    )
    keys = ["basin_id", "strahler_order", "source", "intersects_lake"]
    table = facts.groupby(keys, sort=True)["length_km"].agg(segments="size", length_km="sum").reset_index()
    return table.round({"length_km": 3})


def order_by_source(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with one row per order, one column per source, and totals, as shown on the page.

    Parameters
    ----------
    summary : DataFrame
        Result of `summary_table`.

    Returns
    -------
    DataFrame
        Index Strahler order and "all"; columns backbone, new, all; km.
    """
    table = summary.pivot_table(
        index="strahler_order", columns="source", values="length_km", aggfunc="sum", fill_value=0.0
    ).reindex(columns=[SOURCE_BACKBONE, SOURCE_NEW], fill_value=0.0)
    table["all"] = table.sum(axis=1)
    table.loc["all"] = table.sum(axis=0)
    return table
