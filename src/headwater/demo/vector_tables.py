"""Vector tables of the planet: TDX-Hydro-like streams and catchments, NHD-like labels, the truth, the basin polygon.

Functions from arrays to GeoDataFrames (EPSG:4326); `headwater.demo.build` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypedDict

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import LineString, MultiPolygon, Polygon, box, shape

from headwater.demo.drainage import EPHEMERAL, INTERMITTENT, OUTLET, PERENNIAL, REGIMES, Drainage, Reach
from headwater.demo.lakes import LAKE, POND, RESERVOIR, SEASONAL_LAKE, SEASONAL_POND
from headwater.demo.landscape import Landscape
from headwater.demo.linear_features import WIDE_RIVER_M, LinearFeatures, river_width_m
from headwater.demo.planet_grid import TRUTH_PER_DEGREE, PlanetGrid

CRS = "EPSG:4326"
_GEOD = Geod(ellps="WGS84")
FLOWLINE_FCODE = {PERENNIAL: 46006, INTERMITTENT: 46003, EPHEMERAL: 46007}
CANAL, ARTIFICIAL_PATH = 33600, 55800
LAKE_PERENNIAL, LAKE_INTERMITTENT, SWAMP, RIVER_AREA = 39004, 39001, 46600, 46006
POND_FCODE = {POND: 39004, SEASONAL_POND: 39001, LAKE: 39004, SEASONAL_LAKE: 39001, RESERVOIR: 43600}


@dataclass(frozen=True)
class Link:
    """A link of the backbone with TauDEM's attributes."""

    reach: Reach | None
    """Its course; None for the link of length zero at a three-way confluence."""
    node: int
    """Flat cell of its downstream end."""
    downstream: int
    """Index of the next link, OUTLET at an outlet."""
    upstream: list[int] = field(default_factory=list)
    """Indices of the links that flow into it, at most two."""
    order: int = 1
    """Strahler order."""
    magnitude: int = 1
    """Number of sources upstream."""


def transform(grid: PlanetGrid) -> Affine:
    """Return the affine map from (column, row) corners of the truth grid to degrees."""
    step = 1 / TRUTH_PER_DEGREE
    return Affine(step, 0, grid.west, 0, -step, grid.north)


def lonlat(grid: PlanetGrid, rows_columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 2) longitude and latitude of pixel centers given as (row, column)."""
    step = 1 / TRUTH_PER_DEGREE
    return np.column_stack(
        [grid.west + (rows_columns[:, 1] + 0.5) * step, grid.north - (rows_columns[:, 0] + 0.5) * step]
    )


def cell_line(grid: PlanetGrid, cells: NDArray[np.int32]) -> LineString:
    """Return the staircase through the centers of flat cells."""
    return LineString(lonlat(grid, np.column_stack(np.divmod(cells, grid.columns)).astype(float)))


def basin_table(grid: PlanetGrid, land: Landscape) -> gpd.GeoDataFrame:
    """Return one row like HydroBASINS level 2: the land, generalized, up to about 100 m beyond the coast."""
    near = ndimage.binary_dilation(land.land, iterations=5)
    polygon = shapely.simplify(shapely.union_all(_polygons(grid, near)), 2.5 / TRUTH_PER_DEGREE)
    # Generalization must not extend into cells without land: they would be planned needlessly.
    pixel = 1 / TRUTH_PER_DEGREE
    polygon = polygon.intersection(box(*grid.bounds).buffer(-pixel, join_style="mitre"))
    if grid.ocean_quadrant is not None:
        polygon = polygon.difference(box(*grid.ocean_quadrant).buffer(pixel, join_style="mitre"))
    parts = [Polygon(p.exterior) for p in shapely.get_parts(shapely.make_valid(polygon)) if p.geom_type == "Polygon"]
    area = abs(_GEOD.geometry_area_perimeter(MultiPolygon(parts))[0]) / 1e6
    columns = {"HYBAS_ID": [int(grid.basin_id)], "NEXT_DOWN": [0], "SUB_AREA": [round(area, 1)], "COAST": [1]}
    return gpd.GeoDataFrame(columns, geometry=[MultiPolygon(parts)], crs=CRS)


def truth_table(grid: PlanetGrid, land: Landscape, drainage: Drainage) -> gpd.GeoDataFrame:
    """Return the true channels (without canals), drawn downstream through the centers of truth cells."""
    last = np.array([reach.cells[-2] for reach in drainage.reaches])  # the last cell that belongs to the reach
    first = np.array([reach.cells[0] for reach in drainage.reaches])
    return gpd.GeoDataFrame(
        {
            "regime": [REGIMES[int(r)] for r in drainage.regime[first]],
            "strahler_order": drainage.strahler[first].astype(np.int32),
            "upstream_area_km2": land.area_km2[last].astype(np.float64).round(6),
            "on_backbone": drainage.backbone[first],
        },
        geometry=[cell_line(grid, reach.cells) for reach in drainage.reaches],
        crs=CRS,
    )


def backbone_links(drainage: Drainage) -> list[Link]:
    """Turn the backbone's reaches into links with at most two upstream links each, upstream ones first.

    A third branch is handled as in TauDEM: two of the three (here those of highest order, to keep Strahler orders) end
    in a link of length zero, which joins the third.
    """
    reaches = drainage.backbone_reaches
    links = [Link(r, int(r.cells[-1]), r.downstream) for r in reaches]
    into: dict[int, list[int]] = {}
    for k, link in enumerate(links):
        into.setdefault(link.downstream, []).append(k)
    for k in range(len(reaches)):  # upstream first, so the orders of the inflow are known
        links[k] = replace(links[k], **_joined(links, into.get(k, [])))
        inflow = sorted(links[k].upstream, key=lambda u: (-links[u].order, u))
        while len(inflow) > 2:
            a, b = inflow[:2]
            zero = Link(None, int(reaches[k].cells[0]), k, **_joined(links, [a, b]))
            links.append(zero)
            links[a], links[b] = (replace(links[u], downstream=len(links) - 1) for u in (a, b))
            inflow = [len(links) - 1, *inflow[2:]]
        links[k] = replace(links[k], upstream=inflow)
    return links


class _Joined(TypedDict):
    upstream: list[int]
    order: int
    magnitude: int


def _joined(links: list[Link], upstream: list[int]) -> _Joined:
    orders = [links[u].order for u in upstream]
    highest = max(orders, default=1)
    return {
        "upstream": list(upstream),
        "order": highest + (orders.count(highest) > 1),
        "magnitude": sum(links[u].magnitude for u in upstream) or 1,
    }


def link_numbers(links: list[Link]) -> NDArray[np.int64]:
    """Return the LINKNO of each link: unique in the region, in arbitrary order, as from TauDEM."""
    count = len(links)
    stride = next(s for s in range(max(count // 3, 1), 2 * count + 2) if np.gcd(s, count) == 1)
    return (np.arange(count, dtype=np.int64) * stride) % count + 1


def streamnet_table(grid: PlanetGrid, land: Landscape, drainage: Drainage, links: list[Link]) -> gpd.GeoDataFrame:
    """Return the backbone with TauDEM's columns.

    Every third link number is drawn upstream and the others downstream: the direction of TauDEM's lines is unreliable.
    A link of length zero has two equal points.
    """
    number = link_numbers(links)
    lines, z = [], land.elevation.ravel()
    for k, link in enumerate(links):
        cells = np.full(2, link.node, np.int32) if link.reach is None else link.reach.cells
        lines.append(cell_line(grid, cells[::-1] if number[k] % 3 == 0 else cells))
    length = np.array([_GEOD.geometry_length(line) for line in lines]).round(1)
    outlet, outflow = _distance_to_outlet(links, length), _outflow_km2(links, land)
    rows = []
    for k, link in enumerate(links):
        first = link.node if link.reach is None else int(link.reach.cells[0])
        inflow_km2 = sum(outflow[u] for u in link.upstream) or float(land.area_km2[first])
        drop = max(float(z[first] - z[link.node]), 0.0)
        ends = np.asarray(lines[k].coords)
        rows.append(
            {
                "LINKNO": number[k],
                "DSLINKNO": number[link.downstream] if link.downstream != OUTLET else -1,
                "USLINKNO1": number[link.upstream[0]] if link.upstream else -1,
                "USLINKNO2": number[link.upstream[1]] if len(link.upstream) > 1 else -1,
                "DSNODEID": -1,
                "strmOrder": link.order,
                "Length": float(length[k]),
                "Magnitude": link.magnitude,
                "DSContArea": round(outflow[k] * 1e6, 1),
                "strmDrop": round(drop, 2),
                "Slope": round(drop / length[k], 8) if length[k] else 0.0,
                "StraightL": round(_GEOD.inv(*ends[0], *ends[-1])[2], 1),
                "USContArea": round(inflow_km2 * 1e6, 1),
                "WSNO": number[k],
                "DOUTEND": round(outlet[k], 1),
                "DOUTSTART": round(outlet[k] + length[k], 1),
                "DOUTMID": round(outlet[k] + length[k] / 2, 1),
            }
        )
    table = gpd.GeoDataFrame(rows, geometry=lines, crs=CRS)
    integers = ["LINKNO", "DSLINKNO", "USLINKNO1", "USLINKNO2", "DSNODEID", "strmOrder", "Magnitude", "WSNO"]
    return table.astype(dict.fromkeys(integers, "int32")).sort_values("LINKNO", ignore_index=True)


def _outflow_km2(links: list[Link], land: Landscape) -> list[float]:
    """Return each link's area where it ends, without the area of links that join there."""
    ends: dict[int, list[int]] = {}
    for k, link in enumerate(links):
        if link.downstream == OUTLET:
            ends.setdefault(link.node, []).append(k)
    area = [float(land.area_km2[link.reach.cells[-2]]) if link.reach is not None else 0.0 for link in links]
    for node, together in ends.items():
        # Where several links end in one outlet cell, the largest gets that cell.
        largest = max(together, key=lambda k: area[k])
        area[largest] = float(land.area_km2[node]) - sum(area[k] for k in together if k != largest)
    for k, link in enumerate(links):  # links of length zero come after their inflow
        if link.reach is None:
            area[k] = sum(area[u] for u in link.upstream)
    return area


def _distance_to_outlet(links: list[Link], length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the meters from each link's downstream end to the sea."""
    distance = np.full(len(links), np.nan)

    def to_outlet(k: int) -> float:
        if np.isnan(distance[k]):
            down = links[k].downstream
            distance[k] = 0.0 if down == OUTLET else to_outlet(down) + length[down]
        return float(distance[k])

    for k in range(len(links)):
        to_outlet(k)
    return distance


def catchment_numbers(land: Landscape, links: list[Link]) -> NDArray[np.int32]:
    """Return the (y, x) number of each cell's link; 0 in the sea and where land drains directly to it."""
    number = link_numbers(links)
    own = np.zeros(land.receiver.size, np.int32)
    outflow = _outflow_km2(links, land)
    for k in np.argsort(outflow, kind="stable"):  # where two links end in the same cell, the larger gets it
        link = links[k]
        if link.reach is not None:
            own[link.reach.cells if link.downstream == OUTLET else link.reach.cells[:-1]] = number[k]
    numbers: NDArray[np.int32] = _drain_to(land.order, land.receiver, own).reshape(land.land.shape)
    ridge = land.land & (land.area_km2 <= land.area_km2[land.land.ravel()].min() * 1.01).reshape(numbers.shape)
    return _detach_pixels(numbers, ridge)


def _detach_pixels(numbers: NDArray[np.int32], ridge: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Give single ridge pixels to the catchment that touches their corner, as in the real catchments."""
    own = numbers[1:-1, 1:-1]
    inner = ridge[1:-1, 1:-1] & (own > 0)
    for adjacent in (numbers[:-2, 1:-1], numbers[2:, 1:-1], numbers[1:-1, :-2], numbers[1:-1, 2:]):
        inner &= adjacent == own
    corner = numbers[:-2, :-2]
    rows, columns = np.nonzero(inner & (corner != own) & (corner > 0))
    numbers = numbers.copy()
    for k in range(0, rows.size, 60):  # a few; neighbors would merge
        r, c = rows[k] + 1, columns[k] + 1
        numbers[r, c] = numbers[r - 1, c - 1]
    return numbers


@njit(cache=True, nogil=True)
def _drain_to(order, receiver, own):  # type: ignore[no-untyped-def]
    for i in range(order.size):  # coast to ridges
        cell = order[i]
        if own[cell] == 0 and receiver[cell] >= 0:
            own[cell] = own[receiver[cell]]
    return own


def catchment_table(grid: PlanetGrid, numbers: NDArray[np.int32]) -> gpd.GeoDataFrame:
    """Return one row per polygon; catchments connected only by pixel corners have several rows of one id."""
    found = [
        (int(value), shape(geometry))
        for geometry, value in shapes(numbers, mask=numbers > 0, connectivity=4, transform=transform(grid))
    ]
    found.sort(key=lambda pair: (pair[0], -pair[1].area, pair[1].bounds))
    ids = np.array([number for number, _ in found], np.int32)
    return gpd.GeoDataFrame({"streamID": ids}, geometry=[polygon for _, polygon in found], crs=CRS)


def nhd_tables(
    grid: PlanetGrid, land: Landscape, drainage: Drainage, lines: LinearFeatures
) -> dict[str, gpd.GeoDataFrame]:
    """Return NHDFlowline, NHDWaterbody and NHDArea with FCODE, the labels for training."""
    standing = land.lake | (land.ponds > 0)
    codes, courses = [], []
    for reach, line in zip(drainage.reaches, lines.channels, strict=True):
        inside = standing[tuple(np.round(line).astype(int).T)]
        inside |= _reach_width_m(drainage, reach, lines.widest_m) >= WIDE_RIVER_M
        own = FLOWLINE_FCODE[int(drainage.regime[reach.cells[0]])]
        for start, stop in _runs(inside[:-1]):
            codes.append(ARTIFICIAL_PATH if inside[start] else own)
            courses.append(LineString(lonlat(grid, line[start : stop + 1])))
    for thread in lines.threads:
        codes.append(ARTIFICIAL_PATH if thread.width_m >= WIDE_RIVER_M else FLOWLINE_FCODE[PERENNIAL])
        courses.append(LineString(lonlat(grid, thread.line)))
    for canal in lines.canals:
        codes.append(CANAL)
        courses.append(LineString(lonlat(grid, canal)))
    bodies = [(LAKE_PERENNIAL, p) for p in _polygons(grid, land.lake)]
    for number in range(1, int(land.ponds.max()) + 1):
        code = POND_FCODE[int(land.pond_kinds[number])]
        bodies += [(code, p) for p in _polygons(grid, land.ponds == number)]
    bodies += [(SWAMP, p) for p in _polygons(grid, land.swamp)]
    return {
        "NHDFlowline": _fcoded(codes, courses),
        "NHDWaterbody": _fcoded([c for c, _ in bodies], _rounded(p for _, p in bodies)),
        "NHDArea": _fcoded([RIVER_AREA] * len(rivers := _river_polygons(grid, drainage, lines)), rivers),
    }


def _fcoded(codes: list[int], geometries: list[LineString] | list[Polygon]) -> gpd.GeoDataFrame:
    table = gpd.GeoDataFrame({"FCODE": np.array(codes, np.int32)}, geometry=geometries, crs=CRS)
    table.insert(0, "permanent_identifier", [f"{k:08d}" for k in range(1, len(table) + 1)])
    return table


def _rounded(polygons: Iterable[Polygon]) -> list[Polygon]:
    """Smooth the staircase of polygons."""
    return [shapely.simplify(p, 0.75 / TRUTH_PER_DEGREE, preserve_topology=True) for p in polygons]


def _runs(flags: NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    """Yield (start, stop) of the runs of equal values."""
    edges = [0, *(np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist(), flags.size]
    return pairwise(edges)


def _reach_width_m(drainage: Drainage, reach: Reach, widest_m: float) -> NDArray[np.float32]:
    """Return the width at each vertex of a perennial reach, 0 for others."""
    if drainage.regime[reach.cells[0]] != PERENNIAL:
        return np.zeros(reach.cells.size, np.float32)
    width = river_width_m(drainage.discharge_km2[reach.cells], float(drainage.discharge_km2.max()), widest_m)
    width[-1] = width[-2]  # the last cell belongs to the next, larger reach
    return width


def _river_polygons(grid: PlanetGrid, drainage: Drainage, lines: LinearFeatures) -> list[Polygon]:
    """Return the water area of rivers that are at least WIDE_RIVER_M wide."""
    dx, dy = grid.pixel_m
    parts = []
    for reach, line in zip(drainage.reaches, lines.channels, strict=True):
        width = _reach_width_m(drainage, reach, lines.widest_m)
        wide = width >= WIDE_RIVER_M
        for start, stop in _runs(wide[:-1]):
            for k in range(start, stop if wide[start] else start, 8):
                section = line[k : min(k + 8, stop) + 1] * [dy, dx]
                parts.append(LineString(section).buffer(float(width[k]) / 2, quad_segs=3))
    for thread in lines.threads:
        if thread.width_m >= WIDE_RIVER_M:
            parts.append(LineString(thread.line * [dy, dx]).buffer(thread.width_m / 2, quad_segs=3))
    to_degrees = [-1 / dy / TRUTH_PER_DEGREE, 1 / dx / TRUTH_PER_DEGREE]
    corner = lonlat(grid, np.zeros((1, 2)))[0]
    water = shapely.simplify(shapely.union_all(parts), 1.5) if parts else Polygon()

    def to_lonlat(rows_columns: NDArray[np.float64]) -> NDArray[np.float64]:
        lonlats: NDArray[np.float64] = corner + (rows_columns * to_degrees)[:, ::-1]
        return lonlats

    polygons = [shapely.transform(part, to_lonlat) for part in shapely.get_parts(water)]
    return [part for part in polygons if isinstance(part, Polygon) and not part.is_empty]


def _polygons(grid: PlanetGrid, mask: NDArray[np.bool_]) -> list[Polygon]:
    found = shapes(mask.astype(np.uint8), mask=mask, connectivity=4, transform=transform(grid))
    return [Polygon(rings[0], rings[1:]) for rings in (geometry["coordinates"] for geometry, _ in found)]
