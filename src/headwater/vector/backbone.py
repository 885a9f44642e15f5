"""The backbone: TDX-Hydro streams and catchments as the tables `reaches` and `catchments`.

TDX-Hydro (NGA, 2022) was made with TauDEM, whose `streamnet` table it ships. Its columns are renamed here, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.grid import CRS, Bounds
from headwater.vector.geodesy import METRES_PER_DEGREE, geodesic_length_m

NO_LINK = -1
"""Downstream id of a link that flows out of the area."""
REACH_COLUMNS = (
    "link_id",
    "downstream_link_id",
    "strahler_order",
    "upstream_area_km2",
    "length_m",
    "has_catchment",
    "upstream_outside",
    "cell",
    "geometry",
)
CATCHMENT_COLUMNS = ("link_id", "cell", "geometry")
CATCHMENT_ID_COLUMNS = ("streamID", "LINKNO", "link_id")
"""Names under which the link's id stands in files of catchments: TDX-Hydro's own first."""

# Ends nearer than this are one point that two files rounded differently.
_SAME_POINT_DEGREES = 0.01 / METRES_PER_DEGREE
_ROWS_PER_GROUP = 20_000


@dataclass
class Backbone:
    """Reaches and catchments of an area, and what had to be repaired to get them."""

    reaches: gpd.GeoDataFrame
    """Columns REACH_COLUMNS, sorted by cell then link_id, EPSG:4326, drawn downstream."""
    catchments: gpd.GeoDataFrame
    """Columns CATCHMENT_COLUMNS, one row per link."""
    notes: dict[str, int] = field(default_factory=dict)
    """Counts of repairs, by what was repaired; zero counts left out."""


def read_table(path: Path) -> gpd.GeoDataFrame:
    """Read a table with geometry: GeoParquet by its suffix, else whatever GDAL reads.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist.", "Give the path of a GeoPackage or GeoParquet file.")
    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            return gpd.read_parquet(path)
        return gpd.read_file(path)
    except (pyogrio.errors.DataSourceError, ValueError, OSError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as a table with geometry ({str(error).splitlines()[0]}).",
            "Give a GeoPackage or GeoParquet file.",
        ) from error


def tdx_backbone(
    streams: gpd.GeoDataFrame, catchments: gpd.GeoDataFrame, cells: Iterable[tuple[str, Bounds]] = ()
) -> Backbone:
    """Normalise the tables of TDX-Hydro (or any TauDEM `streamnet`).

    Parameters
    ----------
    streams : GeoDataFrame
        One row per link: LINKNO, DSLINKNO, strmOrder, lines drawn up- or downstream; used if present: DSContArea
        (m2), USLINKNO1, USLINKNO2.
    catchments : GeoDataFrame
        Polygons with the link's id in `streamID`; several rows of one id are one catchment.
    cells : iterable of (name, (west, south, east, north))
        Cells of the plan. A link belongs to the cell whose half-open bounds hold its downstream end.

    Raises
    ------
    InputError
        A column or the CRS is missing, an id stands twice with different content, links flow in a circle.
    """
    notes: dict[str, int] = {}
    table = _renamed_streams(streams, notes)
    downstream = _downstream_rows(table, notes)
    _refuse_cycles(table["link_id"].to_numpy(), downstream)
    lines = _joined(
        _drawn_downstream(_placed(_single_lines(table, notes), downstream, notes), downstream), downstream, notes
    )
    polygons = _dissolved_catchments(catchments, table["link_id"].to_numpy(), notes)
    tail = shapely.get_coordinates(shapely.get_point(lines, -1)).reshape(-1, 2)
    reaches = gpd.GeoDataFrame(
        {
            "link_id": table["link_id"].to_numpy(),
            "downstream_link_id": np.where(downstream >= 0, table["link_id"].to_numpy()[downstream], NO_LINK),
            "strahler_order": table["strahler_order"].to_numpy(),
            "upstream_area_km2": table["upstream_area_km2"].to_numpy(),
            "length_m": geodesic_length_m(lines),
            "has_catchment": np.isin(table["link_id"].to_numpy(), polygons["link_id"].to_numpy()),
            "upstream_outside": _upstream_outside(table, downstream),
            "cell": cell_of_points(tail, cells),
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
    """Return the name of the cell that holds each point ("" where none does).

    Parameters
    ----------
    points : (n, 2) float
        Longitude, latitude.
    cells : iterable of (name, bounds)
        Bounds are half-open: the western and southern edges belong to a cell.
    """
    names = np.full(len(points), "", dtype=object)
    x, y = points[:, 0], points[:, 1]
    for name, (west, south, east, north) in cells:
        names[(x >= west) & (x < east) & (y >= south) & (y < north)] = name
    return names


def write_backbone(backbone: Backbone, out_reaches: Path, out_catchments: Path) -> None:
    """Write both tables as GeoParquet, in row groups small enough that a cell reads little more than its own."""
    for table, path in ((backbone.reaches, out_reaches), (backbone.catchments, out_catchments)):
        table.to_parquet(
            path,
            compression="zstd",
            schema_version="1.1.0",
            write_covering_bbox=True,
            row_group_size=_ROWS_PER_GROUP,
            index=False,
        )


def _renamed_streams(streams: gpd.GeoDataFrame, notes: dict[str, int]) -> gpd.GeoDataFrame:
    for column in ("LINKNO", "DSLINKNO", "strmOrder"):
        if column not in streams.columns:
            raise InputError(
                f"The streams have no column {column}.", "Give a TDX-Hydro streamnet (or TauDEM's) with its columns."
            )
    geometry = _in_wgs84(streams, "streams")
    ids = _integers(streams["LINKNO"], "LINKNO")
    area = streams["DSContArea"].to_numpy(float) / 1e6 if "DSContArea" in streams.columns else np.nan
    upstream = [_integers(streams[c], c) for c in ("USLINKNO1", "USLINKNO2") if c in streams.columns]
    table = gpd.GeoDataFrame(
        {
            "link_id": ids,
            "downstream_link_id": _integers(streams["DSLINKNO"], "DSLINKNO"),
            "strahler_order": _integers(streams["strmOrder"], "strmOrder").astype(np.int32),
            "upstream_area_km2": area,
            # TauDEM names a link's upstream links; one that is not in the table lies outside the area.
            "names_missing_upstream": np.logical_or.reduce([(u >= 0) & ~np.isin(u, ids) for u in upstream])
            if upstream
            else np.zeros(len(ids), bool),
        },
        geometry=shapely.force_2d(geometry),
        crs=CRS,
    )
    if (table["link_id"] < 0).any():
        raise InputError("The streams have negative LINKNO.", "Give each link an id of 0 or more.")
    return _without_copies(table, notes)


def _without_copies(table: gpd.GeoDataFrame, notes: dict[str, int]) -> gpd.GeoDataFrame:
    """Drop rows that repeat another exactly; refuse one id for different links."""
    twice = table["link_id"].duplicated(keep=False).to_numpy()
    if twice.any():
        keys = table[["link_id", "downstream_link_id"]].assign(wkb=shapely.to_wkb(table.geometry.to_numpy()))
        copies = keys.duplicated().to_numpy()
        table = table[~copies]
        left = table["link_id"][table["link_id"].duplicated()].tolist()
        if left:
            raise InputError(
                f"{len(left)} LINKNO stand more than once in the streams, such as {left[0]}.",
                "Give each link an id of its own, and only one region in a file.",
            )
        notes["rows that repeat a link"] = int(copies.sum())
    return table.sort_values("link_id", ignore_index=True)


def _downstream_rows(table: gpd.GeoDataFrame, notes: dict[str, int]) -> NDArray[np.int64]:
    """Return the row of each link's downstream link; -1 where there is none (`table` is sorted by link_id)."""
    ids = table["link_id"].to_numpy()
    wanted = table["downstream_link_id"].to_numpy()
    row = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    found = (wanted >= 0) & (ids[row] == wanted) if len(ids) else np.zeros(0, bool)
    notes["links that flow to a link outside the table"] = int(((wanted >= 0) & ~found).sum())
    return np.where(found, row, -1).astype(np.int64)


def _refuse_cycles(ids: NDArray[np.int64], downstream: NDArray[np.int64]) -> None:
    # Doubling: after k rounds `far` is the link 2**k steps downstream; outlets absorb into the extra last row.
    count = len(ids)
    far = np.append(np.where(downstream >= 0, downstream, count), count)
    for _ in range(max(count, 1).bit_length()):
        far = far[far]
    stuck = far[:-1] != count
    if stuck.any():
        # A link that far downstream of another one lies in a circle itself.
        circle = ids[np.unique(far[:-1][stuck])]
        names = ", ".join(map(str, circle[:5]))
        raise InputError(f"Links flow in a circle through LINKNO {names}.", "Correct DSLINKNO of one of these links.")


def _single_lines(table: gpd.GeoDataFrame, notes: dict[str, int]) -> NDArray[Any]:
    lines = table.geometry.to_numpy().copy()
    kinds = shapely.get_type_id(lines)
    several = kinds == 5
    if several.any():
        merged = shapely.line_merge(lines[several])
        parts = shapely.get_type_id(merged) == 5
        notes["links of several lines"] = int(parts.sum())
        # What does not meet is joined in the order given: a link is one line.
        merged[parts] = [shapely.LineString(shapely.get_coordinates(line)) for line in merged[parts]]
        lines[several] = merged
    wrong = (kinds >= 0) & ~np.isin(kinds, [1, 5]) & ~shapely.is_empty(lines)
    if wrong.any():
        raise InputError(
            f"Link {table['link_id'].to_numpy()[wrong][0]} is not a line.", "Give streams as LineString geometry."
        )
    return np.asarray(lines)


def _placed(lines: NDArray[Any], downstream: NDArray[np.int64], notes: dict[str, int]) -> NDArray[Any]:
    """Give links without geometry (zero length in TauDEM) the point where their neighbours end."""
    missing = np.flatnonzero(shapely.is_missing(lines) | shapely.is_empty(lines))
    notes["links without geometry"] = len(missing)
    if len(missing) == 0:
        return lines
    rows = np.arange(len(lines))
    for _ in range(len(missing)):
        for link in [i for i in missing if shapely.is_missing(lines[i]) or shapely.is_empty(lines[i])]:
            near = [*rows[downstream == link], *([downstream[link]] if downstream[link] >= 0 else [])]
            siblings = rows[(downstream == downstream[link]) & (rows != link)] if downstream[link] >= 0 else []
            ends = [_ends(lines[i]) for i in (*near, *siblings) if lines[i] is not None and not lines[i].is_empty]
            if ends:
                # The point that most of the neighbours share.
                points, counts = np.unique(np.concatenate(ends), axis=0, return_counts=True)
                point = points[np.argmax(counts)]
                lines[link] = shapely.LineString([point, point])
    left = shapely.is_missing(lines) | shapely.is_empty(lines)
    if left.any():
        raise InputError(f"{int(left.sum())} links have no geometry.", "Give each link a line, or remove it.")
    return lines


def _ends(line: shapely.LineString) -> NDArray[np.float64]:
    return np.unique(shapely.get_coordinates(line)[[0, -1]], axis=0)


def _drawn_downstream(lines: NDArray[Any], downstream: NDArray[np.int64]) -> NDArray[Any]:
    """Turn lines so that they end where they meet their downstream link and start where upstream links meet them."""
    first = shapely.get_coordinates(shapely.get_point(lines, 0)).reshape(-1, 2)
    last = shapely.get_coordinates(shapely.get_point(lines, -1)).reshape(-1, 2)
    link = np.flatnonzero(downstream >= 0)
    below = downstream[link]

    def gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.hypot(*(a - b).T))

    as_drawn, turned = np.zeros(len(lines)), np.zeros(len(lines))
    as_drawn[link] = np.minimum(gap(last[link], first[below]), gap(last[link], last[below]))
    turned[link] = np.minimum(gap(first[link], first[below]), gap(first[link], last[below]))
    np.add.at(as_drawn, below, np.minimum(gap(first[below], first[link]), gap(first[below], last[link])))
    np.add.at(turned, below, np.minimum(gap(last[below], first[link]), gap(last[below], last[link])))
    flip = turned < as_drawn
    # A link that touches nothing is drawn like the others of its file: TauDEM draws upstream.
    told = turned != as_drawn
    flip[~told] = flip[told].mean() > 0.5 if told.any() else False
    lines = lines.copy()
    lines[flip] = shapely.reverse(lines[flip])
    return lines


def _joined(lines: NDArray[Any], downstream: NDArray[np.int64], notes: dict[str, int]) -> NDArray[Any]:
    """Let each line end in exactly the first vertex of its downstream line."""
    lines = lines.copy()
    head = shapely.get_coordinates(shapely.get_point(lines, 0)).reshape(-1, 2)
    tail = shapely.get_coordinates(shapely.get_point(lines, -1)).reshape(-1, 2)
    link = np.flatnonzero(downstream >= 0)
    apart = link[(tail[link] != head[downstream[link]]).any(axis=1)]
    gaps = 0
    for i in apart:
        points = shapely.get_coordinates(lines[i])
        target = head[downstream[i]]
        # The first vertex stays: upstream lines end in it.
        if len(points) > 2 and np.hypot(*(points[-1] - target)) <= _SAME_POINT_DEGREES:
            points[-1] = target
        else:
            points = np.vstack([points, target])
            gaps += 1
        lines[i] = shapely.LineString(points)
    notes["gaps between a link and its downstream link closed"] = gaps
    return lines


def _upstream_outside(table: gpd.GeoDataFrame, downstream: NDArray[np.int64]) -> NDArray[np.bool_]:
    inflows = np.bincount(downstream[downstream >= 0], minlength=len(table))
    without_inflow = (inflows == 0) & (table["strahler_order"].to_numpy() > 1)
    return np.asarray(table["names_missing_upstream"].to_numpy(bool) | without_inflow)


def _dissolved_catchments(
    catchments: gpd.GeoDataFrame, link_ids: NDArray[np.int64], notes: dict[str, int]
) -> gpd.GeoDataFrame:
    column = next((name for name in CATCHMENT_ID_COLUMNS if name in catchments.columns), None)
    if column is None:
        raise InputError(
            "The catchments have no column streamID.", "Give a TDX-Hydro streamreach_basins file with its columns."
        )
    geometry = np.asarray(shapely.force_2d(_in_wgs84(catchments, "catchments")))
    ids = _integers(catchments[column], column)
    known = np.isin(ids, link_ids) & ~shapely.is_missing(geometry) & ~shapely.is_empty(geometry)
    notes["catchment polygons without a link"] = int((~known).sum())
    ids, geometry = ids[known], geometry[known]
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = [_polygons_only(shapely.make_valid(shape)) for shape in geometry[invalid]]
    notes["catchment polygons made valid"] = int(invalid.sum())
    order = np.argsort(ids, kind="stable")
    unique, start = np.unique(ids[order], return_index=True)
    groups = np.split(geometry[order], start[1:]) if len(unique) else []
    dissolved = [group[0] if len(group) == 1 else _polygons_only(shapely.union_all(group)) for group in groups]
    notes["catchments of several polygons dissolved"] = int(sum(len(group) > 1 for group in groups))
    shapes = np.array(dissolved, dtype=object)
    filled = ~shapely.is_empty(shapes) if len(shapes) else np.zeros(0, bool)
    return gpd.GeoDataFrame({"link_id": unique[filled]}, geometry=shapes[filled], crs=CRS)


def _polygons_only(shape: Any) -> Any:
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts)


def _in_wgs84(table: gpd.GeoDataFrame, what: str) -> NDArray[Any]:
    if table.crs is None:
        raise InputError(f"The {what} have no coordinate reference system.", "Write the CRS into the file.")
    return np.asarray(table.geometry.to_crs(CRS).to_numpy(), dtype=object)


def _integers(values: pd.Series[Any], name: str) -> NDArray[np.int64]:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    if not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        raise InputError(f"Column {name} holds values that are not whole numbers.", "Give an integer in every row.")
    # Straight from the column where it is an integer already: 64 bits do not survive the way over a double.
    return values.to_numpy(np.int64) if pd.api.types.is_integer_dtype(values.dtype) else numbers.astype(np.int64)
