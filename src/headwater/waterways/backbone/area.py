"""A backbone cut to an area whose edge is no divide: a box, a country."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.geo.grid import CRS, Bounds
from headwater.geo.longitudes import FULL_CIRCLE, shift_shape
from headwater.waterways.backbone.tdx import NO_LINK, Backbone, assemble, cells_of_reaches


def cut_to_area(backbone: Backbone, area: BaseGeometry, cells: Sequence[tuple[str, Bounds]]) -> Backbone:
    """Keep the reaches of an area, and of their catchments what is in it.

    A reach is kept, in full length, if its catchment shares ground with the area or, without catchment, if its line
    meets it; so is one without catchment between two that are kept, as TauDEM has at junctions. A reach that flows to
    one that is not kept becomes an outlet. One that such a reach flows to has `upstream_cut`, and the network starts
    there with its order.

    Parameters
    ----------
    backbone : Backbone
        Of the area and around it; its cells are not used, and catchments that are not in the area may be missing.
    area : shapely geometry
        Polygons in EPSG:4326, between -180 and 180 degrees.
    cells : sequence of (name, bounds)
        Cells of the plan. A reach belongs to the one it ends in; if it ends outside of all, to the nearest that its
        part of the catchment meets.

    Raises
    ------
    InputError
        No reach is in the area.
    """
    reaches, notes = backbone.reaches.sort_values("link_id", ignore_index=True), dict(backbone.notes)
    links = reaches["link_id"].to_numpy(np.int64)
    everywhere = _on_all_maps(area, [backbone.reaches, backbone.catchments])
    catchments = _clipped(backbone.catchments, everywhere)
    notes["catchments at the edge of the area of which a part is kept"] = len(catchments.attrs.pop("clipped"))
    downstream = _rows(links, reaches["downstream_link_id"].to_numpy(np.int64))
    kept = np.isin(links, catchments["link_id"])
    without = ~reaches["has_catchment"].to_numpy(bool)
    kept[without] = shapely.intersects(reaches.geometry.to_numpy()[without], everywhere)
    _keep_between(kept, without, downstream)
    if not kept.any():
        raise InputError(
            "No reach of the backbone is in the area.",
            "Give the streams of the place, or set backbone.kind to dem or none.",
        )
    flows_in = np.zeros(len(links), dtype=bool)
    flows_in[downstream[(downstream >= 0) & ~kept]] = True
    cut = reaches["upstream_cut"].to_numpy(bool) | flows_in
    goes_on = (downstream >= 0) & kept[downstream]
    inside = reaches.assign(
        downstream_link_id=np.where(goes_on, reaches["downstream_link_id"], NO_LINK),
        has_catchment=np.isin(links, catchments["link_id"]),
        upstream_cut=cut,
        upstream_outside=reaches["upstream_outside"].to_numpy(bool) | cut,
    )[kept]
    notes["reaches whose upstream is cut by the edge of the area"] = int(cut[kept].sum())
    lines = inside.geometry.to_numpy()
    inside["cell"] = cells_of_reaches(lines, links[kept], catchments, cells, notes)
    return assemble(inside, catchments, notes)


def _keep_between(kept: NDArray[np.bool_], without: NDArray[np.bool_], downstream: NDArray[np.int64]) -> None:
    """Keep what has no catchment and is between two reaches that are kept, in place."""
    # Chains of them: first what leads down to a kept one, then what of it begins at a kept one.
    leads = kept.copy()
    while True:
        more = without & ~leads & (downstream >= 0) & leads[downstream]
        if not more.any():
            break
        leads |= more
    front = np.flatnonzero(kept)
    while len(front):
        front = np.unique(downstream[front])
        front = front[front >= 0]
        front = front[leads[front] & ~kept[front]]
        kept[front] = True


def _clipped(catchments: gpd.GeoDataFrame, area: BaseGeometry) -> gpd.GeoDataFrame:
    """Return the parts of catchments that are in an area, rows by link_id; `attrs["clipped"]` are those at its edge."""
    table = catchments.sort_values("link_id", ignore_index=True)
    shapes = np.array(table.geometry.to_numpy(), dtype=object)
    shapely.prepare(area)
    meets = shapely.intersects(area, shapes)
    across = np.flatnonzero(meets & ~shapely.covers(area, shapes))
    for row in across:
        parts = shapely.get_parts(shapely.get_parts(shapely.intersection(shapes[row], area)))
        parts = parts[shapely.get_dimensions(parts) == 2]
        shapes[row] = parts[0] if len(parts) == 1 else shapely.multipolygons(parts)
        meets[row] = len(parts) > 0
    made = gpd.GeoDataFrame({"link_id": table["link_id"][meets]}, geometry=shapes[meets], crs=CRS)
    made.attrs["clipped"] = table["link_id"].to_numpy()[across[meets[across]]]
    return made.reset_index(drop=True)


def _rows(links: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of each wanted link, -1 where there is none; `links` ascend."""
    at = np.minimum(np.searchsorted(links, wanted), max(len(links) - 1, 0))
    return np.where(links[at] == wanted, at, -1) if len(links) else np.zeros(0, np.int64)


def _on_all_maps(area: BaseGeometry, tables: Sequence[gpd.GeoDataFrame]) -> BaseGeometry:
    """Return an area with its copies 360 degrees to the east and west, where a table reaches beyond 180 degrees."""
    edges: list[Any] = [edge for table in tables if len(table) for edge in table.total_bounds[::2]]
    if not edges or max(map(abs, edges)) <= FULL_CIRCLE / 2:
        return area
    copies = [shift_shape(area, degrees) for degrees in (-FULL_CIRCLE, 0.0, FULL_CIRCLE)]
    united: BaseGeometry = shapely.union_all(copies)
    return united
