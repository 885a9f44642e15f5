"""search: ask the catalogue once for all items of a basin and pin them; the only step that searches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from headwater.catalog.acquisitions import newest_processing
from headwater.catalog.antimeridian import Box, enclosing_box, footprint, split_box
from headwater.catalog.intervals import Interval, parse_interval, years_before
from headwater.catalog.items import DEM_ASSET, asset_href, band_assets
from headwater.catalog.pin import write_items
from headwater.catalog.providers import Provider, Query, find_items, make_provider, say
from headwater.errors import InputError, WorkError
from headwater.grid import cell_grid
from headwater.steps.plan import Plan, read_plan

Item = dict[str, Any]

DEM_COLLECTIONS = ("cop-dem-glo-30", "cop-dem-glo-90")
"""The first has precedence where both cover a place."""
EDGE_DEGREES = 0.002
"""Two GLO-30 postings and more: interpolation at the edge of a cell's margin needs the pixels beyond it."""


def search(
    plan: Path,
    out: Path,
    *,
    url: str,
    datetime: str,
    years_back: int = 1,
    max_cloud_cover: float = 90,
    sentinel2_collection: str = "sentinel-2-l2a",
    dem_collections: Sequence[str] = DEM_COLLECTIONS,
    page_limit: int = 250,
) -> None:
    """Write items.parquet: the Sentinel-2 and elevation items that touch the cells of a basin.

    Parameters
    ----------
    plan : Path
        plan.json of the basin.
    out : Path
        STAC GeoParquet to write, if it changes; addresses in it are unsigned.
    url : str
        STAC API (http or https), a folder of items, or a STAC GeoParquet file.
    datetime : str
        Interval of the images, "2023-05-01/2023-09-30"; both ends are needed.
    years_back : int
        So many earlier years of the same interval are searched too.
    max_cloud_cover : float
        Percent above which a scene is not pinned.
    sentinel2_collection : str
        Collection of Sentinel-2 L2A.
    dem_collections : sequence of str
        Collections of elevation, best first; the catalogue may lack some.
    page_limit : int
        Items a page.

    Raises
    ------
    InputError
        The interval, the page size or the address is not valid.
    WorkError
        The catalogue does not answer, or has no usable Sentinel-2 item there.
    """
    intervals = _intervals(datetime, years_back)
    provider = make_provider(url, page_limit=page_limit)
    the_plan = read_plan(plan)
    boxes = cell_boxes(the_plan)
    box = enclosing_box(boxes)
    cells = shapely.union_all([shapely.box(*part) for cell in boxes for part in split_box(cell)])

    scenes = _scenes(provider, box, intervals, sentinel2_collection, max_cloud_cover)
    usable = _usable(scenes, cells, needs_bands=True)
    if not usable:
        raise WorkError(
            f"The catalogue {url} has no usable {sentinel2_collection} item for basin {the_plan.basin_id} "
            f"in {intervals[0]} or {years_back} year(s) before.",
            "Widen search.datetime, raise search.years_back or search.max_cloud_cover, or check the collection's name.",
        )
    usable = newest_processing(usable)
    tiles = [
        tile
        for collection in dem_collections
        for tile in _usable(find_items(provider, Query(collection, box)), cells, needs_bands=False)
    ]
    if dem_collections and not tiles:
        # Nothing at all would be taken for sea in every cell of a land basin.
        raise WorkError(
            f"The catalogue {url} has no elevation tile of {' or '.join(dem_collections)} "
            f"for basin {the_plan.basin_id}.",
            "Check the names in catalog.dem_collections.",
        )
    usable += tiles
    write_items(
        out,
        usable,
        url=url,
        query={
            "bbox": list(box),
            "datetime": [str(interval) for interval in intervals],
            "max_cloud_cover": max_cloud_cover,
            "sentinel2_collection": sentinel2_collection,
            "dem_collections": list(dem_collections),
        },
    )


def cell_boxes(plan: Plan, names: Iterable[str] | None = None) -> list[Box]:
    """Return the box of each cell with its margin and the pixels that interpolation at its edge needs.

    Parameters
    ----------
    plan : Plan
        The basin's plan.
    names : iterable of str, optional
        Only these cells.
    """
    cells = plan.cells if names is None else [plan.cell(name) for name in names]
    boxes = []
    for cell in cells:
        west, south, east, north = cell_grid(cell, margin_px=plan.margin_px).bounds
        low, high = max(-90.0, south - EDGE_DEGREES), min(90.0, north + EDGE_DEGREES)
        boxes.append((west - EDGE_DEGREES, low, east + EDGE_DEGREES, high))
    return boxes


def _intervals(text: str, years_back: int) -> list[Interval]:
    """Return the interval and the same ones of earlier years, newest first."""
    remedy = "Give search.datetime as two dates, for instance 2023-05-01/2023-09-30."
    try:
        interval = parse_interval(text)
    except ValueError as error:
        raise InputError(f"The date range is not valid: {error}.", remedy) from None
    if interval.start is None or interval.end is None:
        raise InputError(f"The date range {text} is open at one end.", remedy)
    if years_back < 0:
        raise InputError(f"The number of earlier years is {years_back}.", "Set search.years_back to 0 or more.")
    return [years_before(interval, years) for years in range(years_back + 1)]


def _scenes(
    provider: Provider, box: Box, intervals: Sequence[Interval], collection: str, max_cloud_cover: float
) -> list[Item]:
    found: dict[str, Item] = {}
    for interval in intervals:
        query = Query(collection, box, interval, below={"eo:cloud_cover": max_cloud_cover})
        found |= {item["id"]: item for item in find_items(provider, query)}
    return list(found.values())


def _usable(items: Sequence[Item], cells: shapely.Geometry, *, needs_bands: bool) -> list[Item]:
    """Return the items that touch a cell; those that cannot be used are left out, counted and told."""
    usable, reasons = [], Counter[str]()
    shapely.prepare(cells)
    for item in items:
        try:
            shape = footprint(item.get("geometry") or {})
        except ValueError:
            reasons["a valid geometry"] += 1
            continue
        try:
            if needs_bands:
                band_assets(item)
            elif asset_href(item, DEM_ASSET) is None:
                raise ValueError
        except ValueError:
            reasons["a needed band" if needs_bands else f"the asset '{DEM_ASSET}'"] += 1
            continue
        # A footprint across the antimeridian reaches beyond 180; the cells lie within.
        turned = shapely.transform(shape, lambda xy: xy - np.array([360.0, 0.0]))
        if shapely.intersects(cells, shape) or shapely.intersects(cells, turned):
            usable.append(item)
    for reason, count in reasons.items():
        say(f"{count} item(s) of {items[0]['collection']} without {reason} left out.")
    return usable
