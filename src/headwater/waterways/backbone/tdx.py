"""The backbone: TDX-Hydro streams and catchments as the tables `reaches` and `catchments`.

TDX-Hydro (NGA, 2022) was made with TauDEM, whose `streamnet` table it ships. Its columns are renamed here, once;
`headwater.waterways.backbone.stream_columns` lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.geo.features import extent_of, in_degrees, only, refuse_no_degrees, some
from headwater.geo.geodesy import GEOD, METERS_PER_DEGREE, geodesic_length_m
from headwater.geo.grid import CRS, Bounds
from headwater.geo.longitudes import align_with_outlets, middle_longitudes, unwrap_shapes
from headwater.geo.parquet import write_geoparquet
from headwater.geo.repair import repaired_all
from headwater.waterways.backbone.link_parts import one_line
from headwater.waterways.backbone.stream_columns import (
    CATCHMENT_COLUMNS,
    CATCHMENT_ID_COLUMNS,
    CATCHMENTS,
    REACH_COLUMNS,
    REQUIRED_STREAM_COLUMNS,
    SOURCE_GIVEN,
    STREAMS,
)
from headwater.waterways.downstream import rows_on_cycles

NO_LINK = -1
"""Downstream id of a link that flows out of the area."""

OUTSIDE_TABLE = "links that flow to a link outside the table"
"""Key of their count in the notes of a backbone."""

# Ends nearer than this are one point that two files rounded differently.
_SAME_POINT_DEGREES = 0.01 / METERS_PER_DEGREE
_ROWS_PER_GROUP = 500
_FOUND_BY = ("link_id", "cell")
_MAX_ORDER = 30
_LAND_KM2 = 150e6
_LONG_GAP_M, _MAX_GAP_M = 1_000.0, 20_000.0
MAX_LINK_ID = 2**53 // 100_000 - 1
"""Largest LINKNO: five more digits make an id of a segment, which JavaScript must be able to hold."""


@dataclass
class Backbone:
    """Reaches and catchments of an area, and what had to be repaired to get them."""

    reaches: gpd.GeoDataFrame
    """Columns REACH_COLUMNS, sorted by cell then link_id, EPSG:4326, drawn downstream."""
    catchments: gpd.GeoDataFrame
    """Columns CATCHMENT_COLUMNS, one row per link."""
    notes: dict[str, int] = field(default_factory=dict)
    """Counts of repairs, by what was repaired; zero counts left out."""


def tdx_backbone(
    streams: gpd.GeoDataFrame, catchments: gpd.GeoDataFrame, cells: Iterable[tuple[str, Bounds]] = ()
) -> Backbone:
    """Normalize the tables of TDX-Hydro (or any TauDEM `streamnet`).

    Parameters
    ----------
    streams : GeoDataFrame
        One row per link: LINKNO, DSLINKNO, strmOrder, lines drawn up- or downstream; used if present: DSContArea
        (m2), USLINKNO1, USLINKNO2.
    catchments : GeoDataFrame
        Polygons with the link's id in `streamID`; several rows of one id are one catchment.
    cells : iterable of (name, (west, south, east, north))
        Cells of the plan. A link belongs to the cell whose half-open bounds contain its downstream end; if there is
        none, to the one nearest to that end that its catchment meets.

    Raises
    ------
    InputError
        A column or the CRS is missing, an id occurs twice with different content, links form a cycle, no
        catchment is of any link.

    Notes
    -----
    A river that crosses 180 degrees is drawn next to its outlet, in one piece: see `headwater.geo.longitudes`.
    """
    notes: dict[str, int] = {}
    table = _renamed_streams(streams, notes)
    links = table["link_id"].to_numpy()
    downstream = _downstream_rows(table, notes)
    _refuse_cycles(links, downstream)
    lines = align_with_outlets(_single_lines(table, notes), downstream)
    lines = _drawn_downstream(_with_points(lines, links, downstream, notes), downstream)
    lines = _joined(lines, links, downstream, notes)
    beyond = np.abs(shapely.bounds(lines).reshape(-1, 4)[:, ::2]).max(axis=1, initial=0) > 180
    notes["links drawn beyond 180 degrees, next to their outlet"] = int(beyond.sum())
    polygons = _dissolved_catchments(catchments, links, middle_longitudes(lines), notes)
    reaches = gpd.GeoDataFrame(
        {
            "link_id": links,
            "downstream_link_id": np.where(downstream >= 0, links[downstream], NO_LINK),
            "strahler_order": table["strahler_order"].to_numpy(),
            "upstream_area_km2": table["upstream_area_km2"].to_numpy(),
            "length_m": geodesic_length_m(lines),
            "has_catchment": np.isin(links, polygons["link_id"].to_numpy()),
            "upstream_outside": _upstream_outside(table, downstream),
            "upstream_cut": False,
            "source": SOURCE_GIVEN,
            "cell": cells_of_reaches(lines, links, polygons, list(cells), notes),
        },
        geometry=lines,
        crs=CRS,
    )
    return assemble(reaches, polygons, notes)


def assemble(reaches: gpd.GeoDataFrame, polygons: gpd.GeoDataFrame, notes: dict[str, int]) -> Backbone:
    """Sort both tables and give each catchment its link's cell.

    Parameters
    ----------
    reaches : GeoDataFrame
        REACH_COLUMNS in any order of rows.
    polygons : GeoDataFrame
        link_id and geometry.
    notes : dict
        Counts of repairs.
    """
    reaches = reaches.sort_values(["cell", "link_id"], ignore_index=True)[list(REACH_COLUMNS)]
    polygons = polygons.merge(reaches[["link_id", "cell"]], on="link_id", how="inner", validate="one_to_one")
    polygons = polygons.sort_values(["cell", "link_id"], ignore_index=True)[list(CATCHMENT_COLUMNS)]
    return Backbone(reaches, polygons, {name: count for name, count in notes.items() if count})


def cell_of_points(points: NDArray[np.float64], cells: Iterable[tuple[str, Bounds]]) -> NDArray[Any]:
    """Return the name of the cell that contains each point ("" where none does).

    Parameters
    ----------
    points : (n, 2) float
        Longitude, latitude; longitudes beyond 180 are wrapped.
    cells : iterable of (name, bounds)
        Bounds are half-open: the western and southern edges belong to a cell.
    """
    names = np.full(len(points), "", dtype=object)
    x, y = points[:, 0] - 360 * np.floor((points[:, 0] + 180) / 360), points[:, 1]
    for name, (west, south, east, north) in cells:
        names[(x >= west) & (x < east) & (y >= south) & (y < north)] = name
    return names


def write_backbone(backbone: Backbone, out_reaches: Path, out_catchments: Path) -> None:
    """Write both tables as GeoParquet, so that a cell reads little more than its own rows and those around them.

    Rows are sorted by cell, and within a cell along a Hilbert curve; row groups are much smaller than a cell of one
    degree, so that only the near edges of the cells around it are read.
    """
    for table, path in ((backbone.reaches, out_reaches), (backbone.catchments, out_catchments)):
        along = table.geometry.hilbert_distance().to_numpy() if len(table) else np.zeros(0)
        cell, link = table["cell"].to_numpy().astype(str), table["link_id"].to_numpy()
        write_geoparquet(
            table.iloc[np.lexsort((link, along, cell))],
            path,
            write_covering_bbox=True,
            row_group_size=_ROWS_PER_GROUP,
            # Minimum and maximum of geometry bytes are useless, and would be most of what is read to find the groups.
            write_statistics=[*_FOUND_BY, *(f"bbox.{side}" for side in ("xmin", "ymin", "xmax", "ymax"))],
        )


def cells_of_reaches(
    lines: NDArray[Any],
    links: NDArray[np.int64],
    polygons: gpd.GeoDataFrame,
    cells: Sequence[tuple[str, Bounds]],
    notes: dict[str, int],
) -> NDArray[Any]:
    """Return each reach's cell: where it ends or, for ends outside of all cells, the nearest that its catchment meets.

    Cells follow the basin's polygon, which leaves out the ends of some reaches on coasts and borders.
    """
    tail = shapely.get_coordinates(shapely.get_point(lines, -1)).reshape(-1, 2)
    names = cell_of_points(tail, cells)
    rows = np.searchsorted(links, polygons["link_id"].to_numpy())
    outside = names[rows] == ""
    rows = rows[outside]
    if not cells or len(lines) == 0:
        return names
    # By name, for ties; shifted by 360 degrees too, for catchments beyond 180 degrees.
    by_name = sorted(cells)
    boxes = np.array(
        [shapely.box(w + shift, s, e + shift, n) for shift in (0, -360, 360) for _, (w, s, e, n) in by_name]
    )
    shape, box = shapely.STRtree(boxes).query(polygons.geometry.to_numpy()[outside], predicate="intersects")
    away = shapely.distance(shapely.points(tail[rows[shape]]), boxes[box])
    nearest = np.lexsort((box, away, shape))
    shape, first = np.unique(shape[nearest], return_index=True)
    names[rows[shape]] = np.array([name for name, _ in by_name], dtype=object)[box[nearest][first] % len(by_name)]
    notes["links that end outside every cell put into the cell their catchment meets"] = len(shape)
    notes["links outside every cell"] = int((names == "").sum())
    if (names == "").all():
        raise InputError(
            f"None of the {len(links)} links is in the basin's cells.",
            "Give polygon and streams of the same basin; latitude and longitude may be swapped in one of them.",
        )
    return names


def _renamed_streams(streams: gpd.GeoDataFrame, notes: dict[str, int]) -> gpd.GeoDataFrame:
    for column in REQUIRED_STREAM_COLUMNS:
        if column not in streams.columns:
            raise InputError(f"The streams have no column {column}.", STREAMS.remedy)
    geometry = _in_wgs84(streams, "streams")
    ids = integers_of(streams["LINKNO"], "LINKNO")
    _refuse_rows(ids, (ids < 0) | (ids > MAX_LINK_ID), f"a LINKNO that is negative or over {MAX_LINK_ID}")
    downstream = integers_of(streams["DSLINKNO"], "DSLINKNO", ids)
    order = integers_of(streams["strmOrder"], "strmOrder", ids)
    _refuse_rows(ids, (order < 1) | (order > _MAX_ORDER), f"a strmOrder that is not from 1 to {_MAX_ORDER}")
    area = np.full(len(ids), np.nan)
    if "DSContArea" in streams.columns:
        area = _numbers(streams["DSContArea"], "DSContArea", ids) / 1e6
        _refuse_rows(ids, (area < 0) | (area > _LAND_KM2), "a DSContArea that is negative or larger than all land")
    # No value means that there is no such link.
    upstream = [
        integers_of(streams[name].where(streams[name].notna(), NO_LINK), name, ids)
        for name in ("USLINKNO1", "USLINKNO2")
        if name in streams.columns
    ]
    table = gpd.GeoDataFrame(
        {
            "link_id": ids,
            "downstream_link_id": downstream,
            "strahler_order": order.astype(np.int32),
            "upstream_area_km2": area,
            # TauDEM names a link's upstream links; one that is not in the table is outside the area.
            "names_missing_upstream": np.logical_or.reduce([(u >= 0) & ~np.isin(u, ids) for u in upstream])
            if upstream
            else np.zeros(len(ids), bool),
        },
        geometry=_flat(only(geometry, STREAMS, "The table of streams", column="LINKNO", ids=ids)),
        crs=CRS,
    )
    return _without_copies(table, notes)


def _refuse_rows(ids: NDArray[np.int64], wrong: NDArray[np.bool_], what: str) -> None:
    if wrong.any():
        raise InputError(
            f"{int(wrong.sum())} rows of the streams have {what}: LINKNO {some(ids[wrong])}.",
            "Correct these rows, or remove them.",
        )


def _without_copies(table: gpd.GeoDataFrame, notes: dict[str, int]) -> gpd.GeoDataFrame:
    """Drop rows that repeat another exactly; refuse one id for different links."""
    twice = table["link_id"].duplicated(keep=False).to_numpy()
    if twice.any():
        rows = table[twice]
        keys = pd.DataFrame(rows.drop(columns="geometry")).assign(wkb=shapely.to_wkb(rows.geometry.to_numpy()))
        copies = np.flatnonzero(twice)[keys.duplicated().to_numpy()]
        table = table.drop(index=table.index[copies])
        left = np.unique(table["link_id"][table["link_id"].duplicated()])
        if len(left):
            raise InputError(
                f"{len(left)} LINKNO are used by several links in the streams: {some(left)}.",
                "Give each link an id of its own, and only one region in a file.",
            )
        notes["rows that repeat a link"] = len(copies)
    return table.sort_values("link_id", ignore_index=True)


def _downstream_rows(table: gpd.GeoDataFrame, notes: dict[str, int]) -> NDArray[np.int64]:
    """Return the row of each link's downstream link; -1 where there is none (`table` is sorted by link_id)."""
    ids = table["link_id"].to_numpy()
    wanted = table["downstream_link_id"].to_numpy()
    row = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    found = (wanted >= 0) & (ids[row] == wanted) if len(ids) else np.zeros(0, bool)
    notes[OUTSIDE_TABLE] = int(((wanted >= 0) & ~found).sum())
    return np.where(found, row, -1).astype(np.int64)


def _refuse_cycles(ids: NDArray[np.int64], downstream: NDArray[np.int64]) -> None:
    cycle = rows_on_cycles(downstream)
    if len(cycle):
        raise InputError(
            f"Links form a cycle through LINKNO {some(ids[cycle])}.", "Correct DSLINKNO of one of these links."
        )


def _single_lines(table: gpd.GeoDataFrame, notes: dict[str, int]) -> NDArray[Any]:
    """Return one line per link, missing or empty where there is none, in one piece at 180 degrees."""
    lines = table.geometry.to_numpy().copy()
    there = ~shapely.is_missing(lines)
    with np.errstate(invalid="ignore"):
        nowhere = np.flatnonzero(there & ~np.isfinite(shapely.length(lines)))
    if len(nowhere):
        raise InputError(
            f"Links have coordinates that are not finite: LINKNO {some(table['link_id'].to_numpy()[nowhere])}.",
            "Check the streams and their coordinate reference system.",
        )
    several = (shapely.get_type_id(lines) == 5) & ~shapely.is_empty(lines)
    boxes = shapely.bounds(lines).reshape(-1, 4)
    wide = np.flatnonzero(boxes[:, 2] - boxes[:, 0] > 180)
    points, owner = shapely.get_coordinates(lines[wide], return_index=True)
    lines[wide] = unwrap_shapes(lines[wide], points[np.searchsorted(owner, np.arange(len(wide))), 0])
    if several.any():
        merged = shapely.line_merge(lines[several])
        apart = np.flatnonzero(shapely.get_type_id(merged) != 1)
        ids = table["link_id"].to_numpy()[several]
        gaps = 0
        for row in apart:
            merged[row], closed = one_line(merged[row], int(ids[row]))
            gaps += closed
        notes["gaps between parts of a link closed"] = gaps
        lines[several] = merged
    return np.asarray(lines)


def _with_points(
    lines: NDArray[Any], links: NDArray[np.int64], downstream: NDArray[np.int64], notes: dict[str, int]
) -> NDArray[Any]:
    """Give links without geometry (zero length in TauDEM) the point where their neighbors end."""
    gone = shapely.is_missing(lines) | shapely.is_empty(lines)
    notes["links without geometry"] = int(gone.sum())
    if not gone.any():
        return lines
    row = np.arange(len(lines))
    missing, known = row[gone], row[~gone]
    # A link runs from its own node to that of its downstream link (at an outlet to one of its own).
    end_node = np.where(downstream >= 0, downstream, len(lines) + row)
    place = _places_of_nodes(missing, end_node)
    candidates, everywhere = _points_near_nodes(lines[known], known, end_node[known], place)
    chosen = _shared_points(candidates[candidates["place"].isin(place[missing])], everywhere)
    points = chosen.reindex(place[missing]).to_numpy()
    lost = links[missing[np.isnan(points[:, 0])]]
    if len(lost):
        raise InputError(
            f"{len(lost)} links and all that they join have no geometry: LINKNO {some(lost)}.",
            "Give each link a line, or remove it.",
        )
    lines = lines.copy()
    lines[missing] = shapely.linestrings(np.stack([points, points], axis=1))
    return lines


def _places_of_nodes(missing: NDArray[np.int64], end_node: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each node: both nodes of a link without geometry are one place."""
    # The jobs of the cells load this module only for its constants.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = 2 * len(end_node)
    same = coo_array((np.ones(len(missing), bool), (missing, end_node[missing])), shape=(nodes, nodes))
    _, place = connected_components(same, directed=False)
    return np.asarray(place)


def _points_near_nodes(
    lines: NDArray[Any], rows: NDArray[np.int64], end_node: NDArray[np.int64], place: NDArray[np.int64]
) -> tuple[pd.DataFrame, pd.Series[int]]:
    """Return both ends of each line as candidates for the places of both its nodes, and how often each point occurs."""
    ends = np.stack([shapely.get_coordinates(shapely.get_point(lines, at)).reshape(-1, 2) for at in (0, -1)], axis=1)
    x, y = ends[..., 0].ravel(), ends[..., 1].ravel()
    candidates = pd.DataFrame(
        {
            "place": np.concatenate([place[node].repeat(2) for node in (rows, end_node)]),
            "link": np.tile(rows.repeat(2), 2),
            "x": np.tile(x, 2),
            "y": np.tile(y, 2),
        }
    )
    return candidates, pd.DataFrame({"x": x, "y": y}).value_counts()


def _shared_points(candidates: pd.DataFrame, everywhere: pd.Series[int]) -> pd.DataFrame:
    """Choose the point of each place that most neighbors share; of several, the one that the fewest others have.

    A lone neighbor meets its other neighbors at its other end.
    """
    points = candidates.drop_duplicates().groupby(["place", "x", "y"]).size().rename("here").reset_index()
    points["all"] = everywhere.reindex(pd.MultiIndex.from_frame(points[["x", "y"]])).to_numpy()
    points = points.sort_values(["place", "here", "all", "x", "y"], ascending=[True, False, True, True, True])
    return points.drop_duplicates("place").set_index("place")[["x", "y"]]


def _drawn_downstream(lines: NDArray[Any], downstream: NDArray[np.int64]) -> NDArray[Any]:
    """Reverse lines so that they end where they meet their downstream link and start where upstream links meet them."""
    first = shapely.get_coordinates(shapely.get_point(lines, 0)).reshape(-1, 2)
    last = shapely.get_coordinates(shapely.get_point(lines, -1)).reshape(-1, 2)
    link = np.flatnonzero(downstream >= 0)
    following = downstream[link]

    def gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.hypot(*(a - b).T))

    as_drawn, as_reversed = np.zeros(len(lines)), np.zeros(len(lines))
    as_drawn[link] = np.minimum(gap(last[link], first[following]), gap(last[link], last[following]))
    as_reversed[link] = np.minimum(gap(first[link], first[following]), gap(first[link], last[following]))
    np.add.at(as_drawn, following, np.minimum(gap(first[following], first[link]), gap(first[following], last[link])))
    np.add.at(as_reversed, following, np.minimum(gap(last[following], first[link]), gap(last[following], last[link])))
    flip = as_reversed < as_drawn
    # A link that touches nothing is drawn like the others of its file: TauDEM draws upstream.
    known = as_reversed != as_drawn
    flip[~known] = flip[known].mean() > 0.5 if known.any() else False
    lines = lines.copy()
    lines[flip] = shapely.reverse(lines[flip])
    return lines


def _joined(
    lines: NDArray[Any], links: NDArray[np.int64], downstream: NDArray[np.int64], notes: dict[str, int]
) -> NDArray[Any]:
    """Let each line end in exactly the first vertex of its downstream line."""
    head = shapely.get_coordinates(shapely.get_point(lines, 0)).reshape(-1, 2)
    tail = shapely.get_coordinates(shapely.get_point(lines, -1)).reshape(-1, 2)
    link = np.flatnonzero(downstream >= 0)
    apart = link[(tail[link] != head[downstream[link]]).any(axis=1)]
    target = head[downstream[apart]]
    _judge_gaps(links[apart], links[downstream[apart]], GEOD.inv(*tail[apart].T, *target.T)[2], notes)
    points, owner = shapely.get_coordinates(lines[apart], return_index=True)
    number = np.bincount(owner, minlength=len(apart))
    # The first vertex stays because upstream lines end at it; of a line of two the last one stays too.
    moved = (number > 2) & (np.hypot(*(tail[apart] - target).T) <= _SAME_POINT_DEGREES)
    after = np.cumsum(number)
    points[after[moved] - 1] = target[moved]
    points = np.insert(points, after[~moved], target[~moved], axis=0)
    owner = np.insert(owner, after[~moved], np.flatnonzero(~moved))
    lines = lines.copy()
    if len(apart):
        lines[apart] = shapely.linestrings(points, indices=owner)
    notes["gaps between a link and its downstream link closed"] = int((~moved).sum())
    return lines


def _judge_gaps(
    upper: NDArray[np.int64], lower: NDArray[np.int64], gap_m: NDArray[np.float64], notes: dict[str, int]
) -> None:
    """Refuse gaps that no straight line should close, and note long ones: one of the ids is probably wrong."""
    too_long = np.flatnonzero(gap_m > _MAX_GAP_M)
    if len(too_long):
        gaps = [f"{upper[row]} and {lower[row]} ({gap_m[row] / 1000:.1f} km)" for row in too_long]
        raise InputError(
            f"Links are far from the links that they flow to: LINKNO {some(gaps)}.",
            f"Correct their DSLINKNO or their lines; gaps up to {_MAX_GAP_M / 1000:.0f} km are closed.",
        )
    if (gap_m > _LONG_GAP_M).any():
        row = int(gap_m.argmax())
        name = f"{upper[row]} and {lower[row]} ({gap_m[row] / 1000:.1f} km)"
        notes[f"gaps of more than a kilometer closed, the longest between LINKNO {name}"] = int(
            (gap_m > _LONG_GAP_M).sum()
        )


def _upstream_outside(table: gpd.GeoDataFrame, downstream: NDArray[np.int64]) -> NDArray[np.bool_]:
    inflows = np.bincount(downstream[downstream >= 0], minlength=len(table))
    without_inflow = (inflows == 0) & (table["strahler_order"].to_numpy() > 1)
    return np.asarray(table["names_missing_upstream"].to_numpy(bool) | without_inflow)


def _dissolved_catchments(
    catchments: gpd.GeoDataFrame,
    link_ids: NDArray[np.int64],
    longitude: NDArray[np.float64],
    notes: dict[str, int],
) -> gpd.GeoDataFrame:
    """Return one valid catchment per link, drawn next to its reach; `longitude` is that of each link's middle."""
    column = next((name for name in CATCHMENT_ID_COLUMNS if name in catchments.columns), None)
    if column is None:
        raise InputError(f"The catchments have no column {CATCHMENT_ID_COLUMNS[0]}.", CATCHMENTS.remedy)
    geometry = _flat(_in_wgs84(catchments, "catchments"))
    ids = integers_of(catchments[column], column)
    collections = int((shapely.get_type_id(geometry) == 7).sum())
    geometry = only(geometry, CATCHMENTS, "The table of catchments", column=column, ids=ids)
    notes["collections of shapes of which the polygons are used"] = collections
    known = np.isin(ids, link_ids)
    if len(ids) and len(link_ids) and not known.any():
        raise InputError(
            f"No catchment is of a link of the streams ({column} is {some(ids)}, LINKNO is {some(link_ids)}).",
            "Give streams and catchments of one region, with the same ids.",
        )
    there = ~shapely.is_missing(geometry) & ~shapely.is_empty(geometry)
    notes["catchment polygons without a link"] = int((~known).sum())
    notes["catchment polygons without geometry"] = int((known & ~there).sum())
    ids, geometry = ids[known & there], geometry[known & there]
    with np.errstate(invalid="ignore"):
        wild = ids[~np.isfinite(shapely.area(geometry))]
    if len(wild):
        raise InputError(
            f"The catchments have coordinates that are not finite: {column} {some(np.unique(wild))}.",
            "Check the catchments and their coordinate reference system.",
        )
    geometry = unwrap_shapes(geometry, longitude[np.searchsorted(link_ids, ids)])
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = _made_valid(geometry[invalid])
    notes["catchment polygons made valid"] = int(invalid.sum())
    unique, group, number = np.unique(ids, return_inverse=True, return_counts=True)
    shapes = np.empty(len(unique), dtype=object)
    shapes[group] = geometry
    several = number > 1
    notes["catchments of several polygons dissolved"] = int(several.sum())
    if several.any():
        place = np.cumsum(several) - 1
        polygons, owner = shapely.get_parts(geometry[several[group]], return_index=True)
        of = place[group[several[group]]][owner]
        order = np.lexsort((np.arange(len(of)), of))
        gathered = np.full(int(several.sum()), shapely.MultiPolygon(), dtype=object)
        shapely.multipolygons(polygons[order], indices=of[order], out=gathered)
        # Parts that are apart, or touch at corners as fragments of one pixel do, need no union.
        touching = ~shapely.is_valid(gathered)
        gathered[touching] = shapely.union_all(gathered[touching][:, np.newaxis], axis=1)
        shapes[several] = shapely.normalize(gathered)
    filled = ~shapely.is_empty(shapes)
    notes["catchments without area, whose links are not cut"] = int((~filled).sum())
    unique, shapes = unique[filled], shapes[filled]
    if not len(unique):
        # A file of another place, or one that was cut, looks like this too.
        notes["links, none of which has a catchment: nothing can be added to them"] = len(link_ids)
    notes["catchments whose middle is in another one too"] = _overlapping(shapes)
    return gpd.GeoDataFrame({"link_id": unique}, geometry=shapes, crs=CRS)


def _made_valid(shapes: NDArray[Any]) -> NDArray[Any]:
    """Return the areas of invalid polygons: lines and points that are left over are dropped."""
    parts, owner = shapely.get_parts(repaired_all(shapes, "The catchment"), return_index=True)
    areas = np.isin(shapely.get_type_id(parts), (3, 6))
    polygons, within = shapely.get_parts(parts[areas], return_index=True)
    made = np.full(len(shapes), shapely.MultiPolygon(), dtype=object)
    if len(polygons):
        shapely.multipolygons(polygons, indices=owner[areas][within], out=made)
    return made


def _overlapping(shapes: NDArray[Any]) -> int:
    """Count catchments with an inner point inside another one: cheap, and slivers at borders do not count."""
    point, _ = shapely.STRtree(shapes).query(shapely.point_on_surface(shapes), predicate="within")
    return int((np.bincount(point, minlength=len(shapes)) > 1).sum())


def _flat(shapes: NDArray[Any]) -> NDArray[Any]:
    """Return shapes without heights, those that have none as they are."""
    high = shapely.has_z(shapes)
    shapes[high] = shapely.force_2d(shapes[high])
    return shapes


def _in_wgs84(table: gpd.GeoDataFrame, what: str) -> NDArray[Any]:
    if not isinstance(table, gpd.GeoDataFrame) or table.active_geometry_name is None:
        raise InputError(f"The {what} have no geometry.", f"Give the {what} as a table with geometry.")
    if table.crs is None:
        raise InputError(f"The {what} have no coordinate reference system.", "Write the CRS into the file.")
    shapes = np.array(in_degrees(table, f"the {what}").geometry.to_numpy(), dtype=object)
    try:
        refuse_no_degrees(extent_of(shapes))
    except ValueError as error:
        raise InputError(
            f"The {what} cannot be where they are ({error}).", "Write the CRS of the coordinates into the file."
        ) from error
    return shapes


def _numbers(values: pd.Series[Any], name: str, ids: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return numbers, however a file stores them; NaN where there is no value."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    _refuse_values(values, np.isinf(numbers) | (np.isnan(numbers) & values.notna().to_numpy()), f"{name} a number", ids)
    return np.asarray(numbers)


def integers_of(values: pd.Series[Any], name: str, ids: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return integers, however a file stores them."""
    # Straight from the column where it is an integer already: 64 bits do not survive a conversion to double.
    if pd.api.types.is_integer_dtype(values.dtype) and not values.isna().any():
        return values.to_numpy(np.int64)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = ~(np.abs(numbers) < 2**53) | (numbers != np.round(numbers))
    _refuse_values(values, wrong, f"{name} an integer", ids)
    return numbers.astype(np.int64)


def _refuse_values(values: pd.Series[Any], wrong: NDArray[np.bool_], what: str, ids: NDArray[np.int64] | None) -> None:
    if wrong.any():
        column, kind = what.split(" ", 1)
        rows = [f"row {row}" if ids is None else f"LINKNO {ids[row]}" for row in np.flatnonzero(wrong)]
        raise InputError(
            f"Column {column} contains values that are not {kind.removeprefix('a ').removeprefix('an ')}s: "
            f"{values[wrong].tolist()[0]!r} and the like in {some(rows)}.",
            f"Give {kind} in every row.",
        )
