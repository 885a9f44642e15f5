"""search: ask the catalogue once for all items of a basin and pin them; the only step that searches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from headwater.core.errors import InputError, WorkError
from headwater.core.events import say
from headwater.geo.antimeridian_boxes import Box, enclosing_box, footprint, split_box
from headwater.geo.grid import cell_grid, elevation_grid
from headwater.geo.plan import Plan, read_plan
from headwater.imagery.settings import SearchSettings
from headwater.stac.boxes import MOST_BOXES, cover_boxes
from headwater.stac.changes import Pinned, answers_same_search, keep_what_is_newer, told_changes
from headwater.stac.gather import gather
from headwater.stac.intervals import Interval, parse_interval, time_slices, years_before
from headwater.stac.pages import PageStore, SlicePages
from headwater.stac.pins import write_sorted
from headwater.stac.providers import make_provider
from headwater.stac.query import Provider, Query, answers_but_place
from headwater.stac.search_results import Findings, Found
from headwater.stac.settings import CatalogSettings
from headwater.stac.validation import shown_address, what_lacks_to_use

Item = dict[str, Any]

EDGE_DEGREES = 0.002
"""Two GLO-30 postings and more: interpolation at the edge of a cell's margin needs the pixels beyond it."""
_IDS_TOLD = 3


def search(
    plan: Path,
    out: Path,
    *,
    catalog: CatalogSettings,
    settings: SearchSettings,
    page_limit: int = 250,
) -> None:
    """Write items.parquet: the Sentinel-2 and elevation items that touch the cells of a basin.

    A pin of the same search is refreshed; one line tells what changed. A search that was killed goes on where it was,
    for a day: its pages lie beside `out` until it is done.

    Parameters
    ----------
    plan : Path
        plan.json of the basin.
    out : Path
        STAC GeoParquet to write, if it changes; addresses in it are unsigned.
    catalog : CatalogSettings
        Where to search: a STAC API (http or https), a folder of items, or STAC GeoParquet (a file, or a folder of
        files). It may lack some of the elevation collections.
    settings : SearchSettings
        Dates, clouds, and how the catalog is asked.
    page_limit : int
        Items a page.

    Raises
    ------
    InputError
        The interval, a number or the address is not valid.
    WorkError
        The catalogue does not answer, or has no usable Sentinel-2 item there.
    """
    url, workers = catalog.url, settings.workers
    scenes, dem_collections = catalog.sentinel2_collection, catalog.dem_collections
    intervals = _intervals(settings.datetime, settings.years_back)
    provider = make_provider(url, page_limit=page_limit, timeout_s=settings.timeout_s, connections=workers)
    the_plan = read_plan(plan)
    boxes = cell_boxes(the_plan)
    wanted = _Wanted(
        cells=shapely.union_all([shapely.box(*part) for cell in boxes for part in split_box(cell)]),
        scenes=scenes,
        intervals=intervals,
        below={"eo:cloud_cover": settings.max_cloud_cover},
        remote=provider.remote,
    )
    query = {
        "bbox": list(enclosing_box(boxes)),
        "datetime": [str(interval) for interval in intervals],
        "max_cloud_cover": settings.max_cloud_cover,
        "sentinel2_collection": scenes,
        "dem_collections": list(dem_collections),
    }
    asked = list(_queries(provider.remote, boxes, wanted, settings.slice_days, dem_collections))
    with PageStore(out) as store:
        pages = gather(provider, url, asked, store, workers=workers if provider.remote else 1)
        findings = Findings()
        for part in pages:
            for path in part.paths:
                findings.add(path, wanted)
        pinned = _refresh(out, shown_address(url), query, findings, store, wanted, provider)
        wanted.tell_left_out(zip((query.collection for query in asked), pages, strict=True))
        entries = findings.newest([scenes])
        lack = _what_lacks(entries, scenes, dem_collections)
        if lack is not None:
            store.remove()  # the next search is not to find the same again
            raise WorkError(
                f"The catalogue {shown_address(url)} has no {lack[0]} for basin {the_plan.basin_id}.", lack[1]
            )
        write_sorted(out, findings.items(entries), url=shown_address(url), query=query)
        store.remove()
    if pinned is None:
        say(f"{len(entries)} items pinned in {out.name}.")
    else:
        say(told_changes(pinned, entries) or f"nothing changed in {out.name} ({len(entries)} items).")


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
        # GLO-30's columns are far apart near the poles, and elevation has two beyond the margin.
        wide = max(EDGE_DEGREES, 4 * elevation_grid(cell, margin_px=plan.margin_px).dx)
        boxes.append((west - wide, low, east + wide, high))
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
    try:
        return [years_before(interval, years) for years in range(years_back + 1)]
    except ValueError:
        raise InputError(f"{years_back} years before {text} there is no calendar.", remedy) from None


def _queries(
    remote: bool, boxes: Sequence[Box], wanted: _Wanted, slice_days: int, dem_collections: Sequence[str]
) -> Iterator[Query]:
    """Cut a search into what is asked at once: by collection, place and time.

    A file is read just as often as it is asked, so an index on disk is asked but once.
    """
    places = cover_boxes(boxes, most=MOST_BOXES if remote else 2)
    slices = time_slices(wanted.intervals, slice_days) if remote else wanted.intervals
    for place in places:
        for interval in slices:
            yield Query(wanted.scenes, place, interval, below=wanted.below)
        for collection in dem_collections:
            yield Query(collection, place)


class _Wanted:
    """Tells whether an item that was found is wanted, and what the others lacked.

    Parameters
    ----------
    cells : shapely.Geometry
        The basin's cells.
    scenes : str
        Collection of scenes; items of other collections are elevation.
    intervals : sequence of Interval
        Times of scenes.
    below : mapping
        Properties of scenes and their limits.
    remote : bool
        Whether items came over the network.
    """

    def __init__(
        self,
        *,
        cells: shapely.Geometry,
        scenes: str,
        intervals: Sequence[Interval],
        below: Mapping[str, float],
        remote: bool,
    ) -> None:
        self.scenes, self.intervals, self.below = scenes, intervals, below
        self._cells, self._remote = cells, remote
        self._left_out: dict[tuple[str, str, str], None] = {}
        shapely.prepare(cells)

    def __call__(self, item: Item) -> bool:
        """Whether an item is wanted; takes note of one that would be, did it lack nothing."""
        scene = item["collection"] == self.scenes
        lack = what_lacks_to_use(item, remote=self._remote, bands=scene)
        if lack is not None:
            self._left_out[item["collection"], item["id"], lack] = None
            return False
        return (not scene or self._in_time(item)) and self._touches(item)

    def _in_time(self, item: Item) -> bool:
        world = (-180.0, -90.0, 180.0, 90.0)
        return any(
            answers_but_place(item, Query(self.scenes, world, interval, below=self.below))
            for interval in self.intervals
        )

    def _touches(self, item: Item) -> bool:
        shape = footprint(item["geometry"])
        if shapely.intersects(self._cells, shape):
            return True
        # A footprint across the antimeridian reaches beyond 180; the cells lie within.
        return shape.bounds[2] > 180.0 and bool(
            shapely.intersects(self._cells, shapely.transform(shape, lambda xy: xy - np.array([360.0, 0.0])))
        )

    def tell_left_out(self, parts: Iterable[tuple[str, SlicePages]]) -> None:
        """Say how many items of the collections and their pages were left out and why, with the ids of a few."""
        for collection, pages in parts:
            for header in pages.headers:
                self._left_out |= {(collection, name, lack): None for name, lack in header.left_out}
        told: dict[tuple[str, str], list[str]] = {}
        for collection, name, lack in sorted(self._left_out):
            told.setdefault((collection, lack), []).append(name)
        for (collection, lack), names in sorted(told.items()):
            some = ", ".join(names[:_IDS_TOLD]) + (", ..." if len(names) > _IDS_TOLD else "")
            say(f"{len(names)} item(s) of {collection} without {lack} left out ({some}).")


def _refresh(
    out: Path,
    address: str,
    query: Mapping[str, Any],
    findings: Findings,
    store: PageStore,
    wanted: _Wanted,
    provider: Provider,
) -> Pinned | None:
    """Add what an earlier pin of the same search knows better; returns what it holds, None where there is none."""
    if not answers_same_search(out, address, query):
        return None
    try:
        return keep_what_is_newer(out, findings, store, wanted, provider)
    except InputError:
        say(f"{out.name} is not readable; it is written afresh.")
        return None


def _what_lacks(entries: Sequence[Found], scenes: str, dem_collections: Sequence[str]) -> tuple[str, str] | None:
    """Return what a search lacks to be pinned, and the remedy; or None."""
    found = {entry.collection for entry in entries}
    if scenes not in found:
        return (
            f"usable {scenes} item in the time searched",
            "Widen search.datetime, raise search.years_back or search.max_cloud_cover, or check the collection's name.",
        )
    if dem_collections and not found & set(dem_collections):
        # Nothing at all would be taken for sea in every cell of a land basin.
        return f"elevation tile of {' or '.join(dem_collections)}", "Check the names in catalog.dem_collections."
    return None
