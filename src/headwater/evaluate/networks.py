"""Scores of a network by Strahler order, and how much of it is connected to its backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from headwater.evaluate.line_matching import local_metric_crs, scores_of_lengths
from headwater.waterways.downstream import last_rows
from headwater.waterways.network.build import NO_STREAM, rows_of

PIXEL_M = 20.0
"""One pixel of the prediction."""
ALL_ORDERS = "all"
NO_ORDER = 0
"""Order of lines whose order is unknown."""


def order_scores(
    found: gpd.GeoSeries,
    found_order: NDArray[np.int64] | None,
    truth: gpd.GeoSeries,
    true_order: NDArray[np.int64] | None,
    *,
    distances_m: Sequence[float] = (PIXEL_M, 2 * PIXEL_M, 3 * PIXEL_M),
) -> pd.DataFrame:
    """Score lines within several distances, all together and by Strahler order.

    Completeness of an order is that of the true lines of this order, whatever the order of what was found near them;
    correctness that of the found lines of this order. Where the orders of one side are unknown, its scores are NaN.

    Parameters
    ----------
    found, truth : GeoSeries
        Lines with a CRS.
    found_order, true_order : (n,) int, optional
        Strahler order of each line, NO_ORDER where it has none: such lines count only among all.
    distances_m : sequence of float
        Half widths of the buffer, meters.

    Returns
    -------
    DataFrame
        Columns strahler_order (the first row of a distance is "all"), distance_m and those of `LineScores`.
    """
    crs = local_metric_crs(truth if len(truth) else found)
    found_m, truth_m = found.to_crs(crs).to_numpy(), truth.to_crs(crs).to_numpy()
    lengths = {"true": shapely.length(truth_m), "found": shapely.length(found_m)}
    orders = {"true": true_order, "found": found_order}
    values = sorted({int(order) for known in orders.values() if known is not None for order in known} - {NO_ORDER})
    rows = []
    for distance in distances_m:
        matched = {
            "true": length_near(truth_m, found_m, distance=distance),
            "found": length_near(found_m, truth_m, distance=distance),
        }
        for value in (None, *values):
            sums: dict[str, float] = {}
            for side, known in orders.items():
                if value is None:
                    chosen = np.ones(len(lengths[side]), dtype=bool)
                else:
                    chosen = np.zeros(len(lengths[side]), dtype=bool) if known is None else known == value
                sums[f"{side}_m"] = float(lengths[side][chosen].sum())
                sums[f"{side}_matched_m"] = float(matched[side][chosen].sum())
            order = ALL_ORDERS if value is None else str(value)
            rows.append({"strahler_order": order, "distance_m": distance, **asdict(scores_of_lengths(**sums))})
    return pd.DataFrame(rows)


def length_near(lines: NDArray[np.object_], others: NDArray[np.object_], *, distance: float) -> NDArray[np.float64]:
    """Return how much of each line is within a distance of any of the others.

    Parameters
    ----------
    lines, others : (n,), (m,) arrays of lines
        In a projection that is true to scale.
    distance : float
        In units of the projection.
    """
    near = np.zeros(len(lines))
    line, other = shapely.STRtree(others).query(lines, predicate="dwithin", distance=distance)
    buffers = shapely.buffer(others, distance, quad_segs=8)
    order = np.argsort(line, kind="stable")
    starts = np.flatnonzero(np.diff(line[order], prepend=-1))
    # Buffers are joined line by line: one polygon of all would be slow to cut with.
    for pairs in np.split(order, starts[1:]) if len(order) else []:
        i = line[pairs[0]]
        near[i] = shapely.length(shapely.intersection(lines[i], shapely.union_all(buffers[other[pairs]])))
    return near


def connected_fraction(network: pd.DataFrame) -> dict[str, float]:
    """Return how much of a network's length flows, segment by segment, to an outlet of the backbone.

    Parameters
    ----------
    network : DataFrame
        Columns stream_id, target_stream_id (-1 at an outlet), from_tdx and length_m.

    Returns
    -------
    dict
        Fractions of all segments' length, of those of the backbone and of new ones; NaN where there are none.
    """
    ids, target = network["stream_id"].to_numpy(), network["target_stream_id"].to_numpy()
    backbone, length = network["from_tdx"].to_numpy(bool), network["length_m"].to_numpy(np.float64)
    outlet = (target == NO_STREAM) & backbone
    connected = outlet[last_rows(np.where(outlet, -1, rows_of(ids, target)))]
    fractions = {}
    for name, chosen in {"all": np.ones(len(ids), dtype=bool), "backbone": backbone, "new": ~backbone}.items():
        total = float(length[chosen].sum())
        fractions[name] = float(length[chosen & connected].sum()) / total if total else float("nan")
    return fractions
