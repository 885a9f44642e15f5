"""The backbone from the files of TDX-Hydro, with messages on what had to be repaired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.geo.features import read_attributes, read_table, some
from headwater.geo.grid import CRS, Bounds
from headwater.waterways.backbone.area import cut_to_area
from headwater.waterways.backbone.stream_columns import (
    CATCHMENT_ID_COLUMNS,
    CATCHMENTS,
    REQUIRED_STREAM_COLUMNS,
    STREAM_COLUMNS,
    STREAMS,
)
from headwater.waterways.backbone.tdx import NO_LINK, OUTSIDE_TABLE, Backbone, integers_of, tdx_backbone
from headwater.waterways.link_ids import global_link_ids

READ_BEYOND_DEGREES = 0.25
"""How far beyond what is mapped catchments are read: more than the neighbors of a cell's own reach."""
NEIGHBOR_STEPS = 3
"""Links up- and downstream of wanted ones that are read as well: their ends decide where wanted links without geometry
are, and which way the lines are drawn."""

EXAMPLES = 20
"""Connected links that are read to know which way a file draws its lines, where no wanted ones are connected."""


def read_tdx(
    streams: Path, catchments: Path, *, cells: Iterable[tuple[str, Bounds]] = (), bounds: Bounds | None = None
) -> Backbone:
    """Read streams and catchments as a backbone, and report all repairs.

    Parameters
    ----------
    streams, catchments : Path
        Tables with TDX-Hydro's columns, in any format that `headwater.geo.features.read_table` reads. One file with
        two layers may be both.
    cells : iterable of (name, (west, south, east, north))
        See `headwater.waterways.backbone.tdx.tdx_backbone`.
    bounds : (west, south, east, north), optional
        Degrees that catchments are read in.

    Raises
    ------
    InputError
        A file cannot be read, or its table cannot be used.
    """
    made = tdx_backbone(
        read_table(streams, STREAMS, columns=STREAM_COLUMNS),
        read_table(catchments, CATCHMENTS, columns=CATCHMENT_ID_COLUMNS, bounds=bounds),
        cells,
    )
    report_repairs(made)
    return made


def read_tdx_area(
    streams: Sequence[Path],
    catchments: Sequence[Path],
    area: BaseGeometry,
    *,
    regions: Sequence[str] = (),
    cells: Sequence[tuple[str, Bounds]] = (),
) -> Backbone:
    """Read the part of TDX-Hydro's regions that is in an area, and report all repairs.

    The result is that of reading everything and cutting it to the area (`headwater.waterways.backbone.area`). Read are
    the columns of all links without their lines, the catchments near the area, and the lines of the links that are in
    the area and of those next to them.

    Parameters
    ----------
    streams, catchments : sequence of Path
        One file of each per region; see `read_tdx`.
    area : shapely geometry
        Polygons in EPSG:4326, between -180 and 180 degrees.
    regions : sequence of str
        HYBAS_ID of the region of each file: links then get TDX-Hydro's global ids, LINKNO + header * 10,000,000, which
        regions do not share. Needed for several.
    cells : sequence of (name, (west, south, east, north))
        Cells of the plan.

    Raises
    ------
    InputError
        A file cannot be read, its table cannot be used, numbers of files and regions differ, or no link is in the area.
    """
    several = max(len(streams), len(catchments)) > 1
    if len(streams) != len(catchments) or ((several or regions) and len(regions) != len(streams)):
        raise InputError(
            f"There are {len(streams)} files of streams, {len(catchments)} of catchments and {len(regions)} regions.",
            "Give one file of each per region, in the order of backbone.regions.",
        )
    parts = [_read_part(s, c, area) for s, c in zip(streams, catchments, strict=True)]
    if regions:
        parts = [_with_global_ids(part, region) for part, region in zip(parts, regions, strict=True)]
    made = cut_to_area(_together(parts), area, cells)
    report_repairs(made)
    return made


def report_repairs(backbone: Backbone) -> None:
    """Report what had to be repaired to get a backbone, one message each."""
    for note, count in backbone.notes.items():
        say(f"{count} {note}.", count=count)


def _read_part(streams: Path, catchments: Path, area: BaseGeometry) -> Backbone:
    """Read the links of an area with those next to them, and the catchments around it."""
    bounds = _read_bounds(area)
    polygons = read_table(catchments, CATCHMENTS, columns=CATCHMENT_ID_COLUMNS, bounds=bounds)
    lines = read_table(streams, STREAMS, columns=STREAM_COLUMNS, bounds=bounds)
    links = read_attributes(streams, STREAMS, columns=REQUIRED_STREAM_COLUMNS)
    if not set(links.columns).issuperset(REQUIRED_STREAM_COLUMNS):
        return tdx_backbone(lines, polygons)  # which says what is missing
    ids, near = integers_of(links["LINKNO"], "LINKNO"), integers_of(lines["LINKNO"], "LINKNO")
    column = next((name for name in CATCHMENT_ID_COLUMNS if name in polygons.columns), None)
    drained = integers_of(polygons[column], column) if column else np.zeros(0, dtype=np.int64)
    downstream = integers_of(links["DSLINKNO"], "DSLINKNO", ids)
    wanted = _with_neighbors(np.union1d(near, drained), ids, downstream, steps=NEIGHBOR_STEPS)
    if len(wanted) and not (np.isin(ids, wanted) & np.isin(downstream, wanted)).any():
        # Lone links are drawn the way that connected ones of their file are.
        examples = np.flatnonzero(np.isin(downstream, ids))[:EXAMPLES]
        wanted = np.unique(np.concatenate([wanted, ids[examples], downstream[examples]]))
    # By box no link without geometry is found, and of rows that repeat an id perhaps only one.
    rows, rows_near = _count(wanted, ids), _count(wanted, near)
    absent = wanted[rows_near < rows]
    if len(absent):
        # Only of integers all formats find rows.
        is_integer = pd.api.types.is_integer_dtype(links["LINKNO"].dtype)
        others = read_table(streams, STREAMS, columns=STREAM_COLUMNS, ids=("LINKNO", absent) if is_integer else None)
        others = others[np.isin(integers_of(others["LINKNO"], "LINKNO"), absent)]
        lines = gpd.GeoDataFrame(pd.concat([lines[~np.isin(near, absent)], others], ignore_index=True), crs=lines.crs)
    known = np.isin(drained, ids)
    # Without any that is known they are of another region, which the backbone refuses.
    made = tdx_backbone(lines, polygons[known] if known.any() else polygons)
    # Those of neighbors flow on.
    made.notes.pop(OUTSIDE_TABLE, None)
    if column is not None:
        # Those of neighbors may be beyond the box.
        drained = integers_of(read_attributes(catchments, CATCHMENTS, columns=[column])[column], column)
        made.reaches["has_catchment"] = np.isin(made.reaches["link_id"], drained)
    return made


def _read_bounds(area: BaseGeometry) -> Bounds | None:
    """Return the box that rows are read in; none next to 180 degrees, where files differ in longitude."""
    west, south, east, north = area.bounds
    more = READ_BEYOND_DEGREES
    if west - more <= -180 or east + more >= 180:
        return None
    return (west - more, south - more, east + more, north + more)


def _with_neighbors(
    wanted: NDArray[np.int64], ids: NDArray[np.int64], downstream: NDArray[np.int64], *, steps: int
) -> NDArray[np.int64]:
    """Return the links that are wanted and in the table, and those up to some steps up- and downstream of them."""
    found = np.isin(ids, wanted)
    for _ in range(steps):
        below = np.isin(ids, downstream[found])
        above = np.isin(downstream, ids[found])
        found = found | below | above
    return np.unique(ids[found])


def _count(values: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each value occurs; `values` ascend."""
    among = np.sort(among)
    return np.searchsorted(among, values, side="right") - np.searchsorted(among, values, side="left")


def _with_global_ids(backbone: Backbone, region: str) -> Backbone:
    reaches, catchments = backbone.reaches, backbone.catchments
    below = reaches["downstream_link_id"].to_numpy(np.int64)
    return replace(
        backbone,
        reaches=reaches.assign(
            link_id=global_link_ids(reaches["link_id"].to_numpy(np.int64), region),
            downstream_link_id=np.where(below == NO_LINK, NO_LINK, global_link_ids(np.maximum(below, 0), region)),
        ),
        catchments=catchments.assign(link_id=global_link_ids(catchments["link_id"].to_numpy(np.int64), region)),
    )


def _together(parts: Sequence[Backbone]) -> Backbone:
    """Return the backbones of several regions as one; their ids must differ."""
    if len(parts) == 1:
        return parts[0]
    ids = pd.concat([part.reaches["link_id"] for part in parts])
    if ids.duplicated().any():
        raise InputError(
            f"Two regions share links: {some(np.unique(ids[ids.duplicated()]))}.",
            "Give the files of different regions, in the order of backbone.regions.",
        )
    notes: dict[str, int] = {}
    for part in parts:
        for note, count in part.notes.items():
            notes[note] = notes.get(note, 0) + count
    reaches, catchments = (
        gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=CRS)
        for tables in ([part.reaches for part in parts], [part.catchments for part in parts])
    )
    return Backbone(reaches, catchments, notes)
