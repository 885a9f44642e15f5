"""The backbone without TDX-Hydro: reaches and catchments from an elevation model by flow accumulation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pyflwdir
import shapely
from numba import njit
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import shape

from headwater.core.elevations import refuse_no_elevation
from headwater.core.errors import InputError
from headwater.geo.geodesy import geodesic_length_m
from headwater.geo.grid import CRS, Bounds, RasterGrid
from headwater.geo.longitudes import align_with_outlets, middle_longitudes, shift_longitudes, wraps_to
from headwater.waterways.backbone.stream_columns import SOURCE_GIVEN
from headwater.waterways.backbone.tdx import NO_LINK, Backbone, assemble, cell_of_points
from headwater.waterways.orders import strahler_orders

MIN_SEA_PX = 2_000
"""Connected cells of exactly 0 m from which a flat is considered sea."""
NODATA = -9999.0
"""Of elevation given to pyflwdir."""


@dataclass(frozen=True)
class Flow:
    """Where water flows, on a raster of n cells."""

    downstream_index: NDArray[np.int64]
    """(n,) flat index of the next cell downstream; the cell itself where water leaves, negative outside."""
    sequence: NDArray[np.int64]
    """(m,) the cells of the area, each after its downstream cell."""
    upstream_area_km2: NDArray[np.float64]
    """(n,) area that drains through a cell, itself included; negative outside."""


def flow(elevation: NDArray[np.float32], inside: NDArray[np.bool_], grid: RasterGrid) -> Flow:
    """Follow D8 flow on a depression-filled elevation model (pyflwdir, Wang & Liu 2006).

    Parameters
    ----------
    elevation : (y, x) float32
        Meters.
    inside : (y, x) bool
        Cells to use; water leaves the area where it meets others.
    grid : RasterGrid
        Grid of both, EPSG:4326.
    """
    filled = np.where(inside & np.isfinite(elevation), elevation, NODATA).astype(np.float32)
    with warnings.catch_warnings():
        # pyflwdir multiplies affine transforms in a way that affine has deprecated.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        # Water leaves at every edge: a coast has many outlets.
        directions = pyflwdir.from_dem(filled, nodata=NODATA, transform=grid.transform, latlon=True, outlets="edge")
        area = np.asarray(directions.upstream_area(unit="km2"), dtype=np.float64).ravel()
    return Flow(
        downstream_index=np.asarray(directions.idxs_ds, dtype=np.int64),
        sequence=np.asarray(directions.idxs_seq, dtype=np.int64),
        upstream_area_km2=area,
    )


def sea(elevation: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return large connected areas at exactly 0 m: the sea, in elevation without ocean tiles."""
    labels, count = ndimage.label(elevation == 0)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = sizes >= MIN_SEA_PX
    large[0] = False
    return np.asarray(large[labels])


def dem_backbone(
    elevation: NDArray[np.float32],
    inside: NDArray[np.bool_],
    grid: RasterGrid,
    *,
    min_area_km2: float,
    cells: Iterable[tuple[str, Bounds]] = (),
    is_area: bool = False,
) -> Backbone:
    """Make reaches and their catchments from elevation, in the columns of TDX-Hydro's.

    Parameters
    ----------
    elevation : (y, x) float32
        Meters, NaN where missing.
    inside : (y, x) bool
        Cells of the basin.
    grid : RasterGrid
        Grid of both, EPSG:4326.
    min_area_km2 : float
        Upstream area from which a reach begins.
    cells : iterable of (name, bounds)
        Cells of the plan.
    is_area : bool
        Whether the edge of `inside` is no divide, so that water may come over it: `upstream_cut` is then true where a
        catchment falls away from that edge.

    Returns
    -------
    Backbone
        Links are numbered 1..N in the order of their first cell, row by row. Where the grid reaches beyond 180 degrees,
        rivers are drawn next to their outlets: see `headwater.geo.longitudes`.

    Raises
    ------
    InputError
        No cell has that much upstream area, or an elevation inside cannot be one.
    """
    if min_area_km2 <= 0:
        raise InputError(f"min_area_km2 is {min_area_km2}.", "Give the upstream area at which reaches begin, above 0.")
    refuse_no_elevation(np.where(inside, elevation, np.nan), "The elevation")
    ocean = sea(elevation)
    usable = inside & np.isfinite(elevation) & ~ocean
    if not usable.any():
        raise InputError("The basin has no land with elevation.", "Check the basin polygon and the elevation.")
    water = flow(elevation, usable, grid)
    area, next_cell = water.upstream_area_km2, water.downstream_index
    stream = usable.ravel() & (area >= min_area_km2)
    if not stream.any():
        raise InputError(
            f"No place in the basin drains {min_area_km2} km2 (the largest area is {area.max():.2f} km2).",
            "Lower backbone.min_area_km2.",
        )
    link_of_cell, start, last, junction = links_of(next_cell, stream, np.zeros(len(stream), dtype=bool))
    link_of_cell = _spread_upstream(next_cell, water.sequence, link_of_cell)
    downstream = np.where(junction >= 0, link_of_cell[np.maximum(junction, 0)], -1)
    end = np.where(junction >= 0, junction, last)
    lines = np.array([line_of(next_cell, s, e, grid) for s, e in zip(start, end, strict=True)])
    lines = align_with_outlets(lines, downstream)
    catchments = polygons_of(np.where(usable.ravel(), link_of_cell, -1).reshape(grid.shape), grid)
    areas, of_links = catchments.geometry.to_numpy(), middle_longitudes(lines)[catchments["link_id"].to_numpy() - 1]
    catchments = catchments.set_geometry(shift_longitudes(areas, wraps_to(middle_longitudes(areas), of_links)), crs=CRS)
    ids = np.arange(1, len(start) + 1)
    entered = entering(water, usable, ocean) if is_area else np.zeros(0, dtype=np.int64)
    cut = np.isin(ids, link_of_cell[entered] + 1)
    tail = shapely.get_coordinates(shapely.get_point(lines, -1)).reshape(-1, 2)
    reaches = gpd.GeoDataFrame(
        {
            "link_id": ids,
            "downstream_link_id": np.where(downstream >= 0, downstream + 1, NO_LINK),
            "strahler_order": strahler_orders(downstream, np.zeros(len(ids), np.int32)),
            "upstream_area_km2": area[last],
            "length_m": geodesic_length_m(lines),
            "has_catchment": np.isin(ids, catchments["link_id"].to_numpy()),
            "upstream_outside": cut,
            "upstream_cut": cut,
            "source": SOURCE_GIVEN,
            "cell": cell_of_points(tail, cells),
        },
        geometry=lines,
        crs=CRS,
    )
    return assemble(reaches, catchments, {})


def entering(water: Flow, usable: NDArray[np.bool_], ocean: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the cells, flat indices, at the edge of the land with elevation whose water flows inward.

    What flows to them from beyond that edge is not known. Nothing flows there from the sea.
    """
    beyond = np.pad(~usable & ~ocean, 1, constant_values=True)
    edge = usable & ndimage.binary_dilation(beyond, np.ones((3, 3), dtype=bool))[1:-1, 1:-1]
    cells = np.flatnonzero(edge.ravel())
    return np.asarray(cells[water.downstream_index[cells] != cells])


@njit(cache=True)
def links_of(downstream: Any, stream: Any, begins: Any) -> Any:
    """Cut stream cells into links between junctions, and where `begins` is true for another reason.

    Returns the link of each stream cell (-1 elsewhere) and, per link, its first cell, its last cell and the junction
    it flows into (-1 where it leaves the area). A link ends above a junction, whose cell is the next link's first.
    """
    count = stream.size
    inflows = np.zeros(count, np.int64)
    for cell in range(count):
        if stream[cell] and downstream[cell] != cell and downstream[cell] >= 0 and stream[downstream[cell]]:
            inflows[downstream[cell]] += 1
    link_of_cell = np.full(count, -1, np.int64)
    start = [np.int64(0) for _ in range(0)]
    last = [np.int64(0) for _ in range(0)]
    junction = [np.int64(0) for _ in range(0)]
    for cell in range(count):
        if not stream[cell] or (inflows[cell] == 1 and not begins[cell]):
            continue
        link = len(start)
        start.append(np.int64(cell))
        here = cell
        link_of_cell[here] = link
        while True:
            following = downstream[here]
            if following == here or following < 0 or not stream[following]:
                last.append(np.int64(here))
                junction.append(np.int64(-1))
                break
            if inflows[following] > 1 or begins[following]:
                last.append(np.int64(here))
                junction.append(np.int64(following))
                break
            here = following
            link_of_cell[here] = link
    return link_of_cell, np.array(start), np.array(last), np.array(junction)


@njit(cache=True)
def _spread_upstream(downstream: Any, sequence: Any, link_of_cell: Any) -> Any:
    """Give every cell the link it drains to, down- to upstream."""
    for cell in sequence:
        if link_of_cell[cell] < 0:
            link_of_cell[cell] = link_of_cell[downstream[cell]]
    return link_of_cell


def line_of(downstream: NDArray[np.int64], start: int, end: int, grid: RasterGrid) -> shapely.LineString:
    """Return the path from a cell down to another as a line through the middles of cells."""
    cells = [int(start)]
    while cells[-1] != end:
        cells.append(int(downstream[cells[-1]]))
    if len(cells) == 1:
        # A junction at the outlet: a link of zero length, as TauDEM has them.
        cells *= 2
    rows, columns = np.divmod(np.array(cells), grid.width)
    return shapely.LineString(
        np.column_stack([grid.west + (columns + 0.5) * grid.dx, grid.north - (rows + 0.5) * grid.dy]).round(10)
    )


def polygons_of(link_of_cell: NDArray[np.int64], grid: RasterGrid) -> gpd.GeoDataFrame:
    """Return the outlines of the cells (y, x) of each link, from 0 on, as catchments of link_id from 1 on."""
    labels = link_of_cell.astype(np.int32)
    found = [
        (int(value) + 1, shape(outline))
        for outline, value in shapes(labels, mask=labels >= 0, connectivity=4, transform=grid.transform)
    ]
    if not found:
        return gpd.GeoDataFrame({"link_id": np.zeros(0, np.int64)}, geometry=np.zeros(0, dtype=object), crs=CRS)
    ids = np.array([link for link, _ in found], dtype=np.int64)
    outlines = np.array([outline for _, outline in found], dtype=object)
    order = np.argsort(ids, kind="stable")
    unique, first = np.unique(ids[order], return_index=True)
    # Parts of a catchment that touch only at a corner are polygons of one multipolygon.
    parts = np.split(outlines[order], first[1:])
    shapes_of = [group[0] if len(group) == 1 else shapely.multipolygons(group) for group in parts]
    return gpd.GeoDataFrame({"link_id": unique}, geometry=np.array(shapes_of, dtype=object), crs=CRS)
