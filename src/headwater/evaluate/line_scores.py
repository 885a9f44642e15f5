"""evaluate lines: score networks against true lines by Strahler order, and sum up their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely import box

from headwater.core.errors import InputError
from headwater.core.files import write_json
from headwater.evaluate.line_types import NEAR_DEGREES, type_lengths
from headwater.evaluate.networks import NO_ORDER, PIXEL_M, connected_fraction, order_scores
from headwater.evaluate.nhd import read_nhd
from headwater.evaluate.score_tables import draw_bars, length_table, markdown_table, write_table
from headwater.geo.features import read_lines
from headwater.geo.geodesy import geodesic_length_m

_ORDER_COLUMNS = ("strahler_order", "streamorde", "stream_order")
"""Ours, NHDPlus V2's (the first ten letters), and the published data's."""
_APART_DEGREES = 0.01


def evaluate_lines(
    network: Sequence[Path],
    truth: Path,
    out: Path,
    *,
    truth_layer: str | None = None,
    pixels: Sequence[float] = (1, 2, 3),
    nhd: Sequence[Path] = (),
) -> pd.DataFrame:
    """Write tables of how networks match true lines, of their lengths, and how much of them is connected.

    Parameters
    ----------
    network : sequence of Path
        Lines of one or several networks. With the columns of waterways.parquet they are summed up as well.
    truth : Path
        True lines; their orders are in a column strahler_order or StreamOrde.
    out : Path
        Folder to write lines, length_by_order, length_by_basin, length_by_type and connected.json into.
    truth_layer : str, optional
        Layer of `truth`.
    pixels : sequence of float
        Half widths of the buffer, in pixels of 20 m.
    nhd : sequence of Path
        NHD files that give waterways their types.

    Returns
    -------
    DataFrame
        The scores by distance and order; printed as well.
    """
    if not pixels or min(pixels) <= 0:
        raise InputError("--pixels must be above 0.", "Give half widths of the buffer in pixels.")
    found = gpd.GeoDataFrame(pd.concat([read_lines(path) for path in network], ignore_index=True))
    true_lines = read_lines(truth, layer=truth_layer)
    _check_place(found, true_lines, truth)
    table = order_scores(
        found.geometry,
        _orders(found),
        true_lines.geometry,
        _orders(true_lines),
        distances_m=[PIXEL_M * count for count in pixels],
    )
    write_table(out, "lines", table)
    print(markdown_table(table[table["strahler_order"] == "all"]), end="")
    if "from_tdx" in found.columns:
        _sum_up(found, out, nhd)
    return table


def _check_place(found: gpd.GeoDataFrame, true_lines: gpd.GeoDataFrame, truth: Path) -> None:
    if true_lines.empty:
        raise InputError(f"{truth} contains no line.", "Give the true channels as lines.")
    # A network without a line has found nothing, which can be scored.
    if len(found) and box(*found.total_bounds).distance(box(*true_lines.total_bounds)) > _APART_DEGREES:
        raise InputError(f"The network and {truth} are in different places.", "Give true lines of the same place.")


def _sum_up(network: gpd.GeoDataFrame, out: Path, nhd: Sequence[Path]) -> None:
    """Write lengths by order, basin and type, and what is connected, where its columns exist."""
    if "length_m" not in network.columns:
        parts, line = shapely.get_parts(network.geometry.to_numpy(), return_index=True)
        length_m = np.bincount(line, weights=geodesic_length_m(parts), minlength=len(network))
        network = network.assign(length_m=length_m)
    for column, name in {"strahler_order": "length_by_order", "basin_id": "length_by_basin"}.items():
        if column in network.columns:
            _write_lengths(out, name, length_table(network, column))
    if nhd and len(network):
        west, south, east, north = network.total_bounds
        near = (west - NEAR_DEGREES, south - NEAR_DEGREES, east + NEAR_DEGREES, north + NEAR_DEGREES)
        features = read_nhd(*nhd, bounds=near)
        lengths = type_lengths(network.geometry, features)
        long = lengths.assign(from_tdx=network["from_tdx"]).melt("from_tdx", var_name="type", value_name="length_m")
        by_type = length_table(long, "type")
        _write_lengths(out, "length_by_type", by_type.loc[by_type.sum(axis=1) > 0])
    if {"stream_id", "target_stream_id"} <= set(network.columns):
        fractions = connected_fraction(network)
        write_json(out / "connected.json", {key: None if np.isnan(v) else round(v, 6) for key, v in fractions.items()})
        print(
            f"flows to an outlet of the backbone: {fractions['all']:.2%} of all length, {fractions['new']:.2%} of new"
        )


def _write_lengths(out: Path, name: str, table: pd.DataFrame) -> None:
    write_table(out, name, table, digits=1)
    draw_bars(out / f"{name}.png", table.drop(index="all", errors="ignore"), title="Length of waterways", label="km")


def _orders(lines: gpd.GeoDataFrame) -> NDArray[np.int64] | None:
    column = next((name for name in lines.columns if name.lower() in _ORDER_COLUMNS), None)
    if column is None:
        return None
    # Lines without an order, such as those off the network of NHDPlus, count only among all.
    orders = pd.to_numeric(lines[column], errors="coerce").fillna(NO_ORDER)
    values: NDArray[np.int64] = orders.clip(lower=NO_ORDER).to_numpy(np.int64)
    return values
