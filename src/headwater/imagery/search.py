"""search: query the catalog once for all items of a basin and pin them; the only step that searches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import shapely

from headwater.core.errors import InputError, WorkError
from headwater.core.events import say, warn
from headwater.geo.longitudes import FULL_CIRCLE, Box, enclosing_box, footprint, shift_shape, split_box
from headwater.geo.plan import Plan, cell_boxes, read_plan
from headwater.imagery.settings import SearchSettings
from headwater.stac.boxes import MAX_BOXES, cover_boxes
from headwater.stac.hosts import may_hold_files
from headwater.stac.intervals import Interval, parse_interval, time_slices, years_before
from headwater.stac.pages import PageStore, SlicePages, fetch_pages
from headwater.stac.pins import read_query, write_sorted
from headwater.stac.providers import make_provider
from headwater.stac.query import WORLD, CatalogUnreachable, Provider, Query, matches_time_and_properties
from headwater.stac.search_results import (
    FoundItem,
    PinnedDigests,
    SearchResult,
    describe_changes,
    is_pin_of,
    keep_newer_pinned,
)
from headwater.stac.settings import PAGE_LIMIT, CatalogSettings, PlaceSettings
from headwater.stac.validation import PUBLIC_ADDRESSES, WEB_ADDRESSES, asset_defect, public_address, sanitize_for_log

Item = dict[str, Any]

MAX_SLICE_DAYS = 3660
_MAX_LISTED_IDS = 3


def search(
    plan: Path,
    out: Path,
    *,
    catalog: CatalogSettings,
    settings: SearchSettings,
    page_limit: int = PAGE_LIMIT,
) -> None:
    """Write items.parquet: the Sentinel-2 and elevation items that touch the cells of a basin.

    Without `settings.datetime` no scenes are searched, only elevation.

    A pin of the same search is refreshed; one line describes the changes. A killed search resumes for a day: its pages
    are kept next to `out` until it is done.

    Parameters
    ----------
    plan : Path
        plan.json of the basin.
    out : Path
        STAC GeoParquet to write, if it changes; addresses in it are unsigned.
    catalog : CatalogSettings
        Where to search: a STAC API (http or https), a folder of items, or STAC GeoParquet (a file, or a folder of
        files). It may lack some of the elevation collections. If it cannot be reached, its fallback is asked, and the
        file records it.
    settings : SearchSettings
        Dates, clouds, and how the catalog is asked.
    page_limit : int
        Items a page.

    Raises
    ------
    InputError
        The interval, a number or the address is not valid.
    WorkError
        The catalog does not answer, or has no usable Sentinel-2 item there.
    """
    fallback = catalog.next_catalog
    intervals = [] if settings.datetime is None else _intervals(settings.datetime, settings.years_back)
    task = _Task(read_plan(plan), intervals, settings, page_limit)
    first, second = (task.provider(each) if each is not None else None for each in (catalog, fallback))
    assert first is not None
    with PageStore(out) as store:
        try:
            _search_catalog(task, catalog, first, store, out)
        except CatalogUnreachable as error:
            if fallback is None or second is None:
                raise
            dead, address = public_address(catalog.url), public_address(fallback.url)
            warn(f"{error.cause} The fallback {address} is asked instead: all items will be from it.")
            try:
                _search_catalog(task, fallback, second, store, out, instead_of=dead)
            except CatalogUnreachable as other:
                raise CatalogUnreachable(
                    f"{error.cause} Its fallback does not answer either: {other.cause}", other.remedy
                ) from None


@dataclass(frozen=True)
class _Task:
    """What is searched, whichever catalog is asked."""

    plan: Plan
    intervals: Sequence[Interval]
    settings: SearchSettings
    page_limit: int

    def provider(self, catalog: PlaceSettings) -> Provider:
        """Return the provider of a catalog; no request is sent yet."""
        return make_provider(
            catalog.url,
            page_limit=self.page_limit,
            timeout_s=self.settings.timeout_s,
            patience_s=self.settings.patience_s,
            connections=self.settings.workers,
            hosts=catalog.hosts,
        )


def _search_catalog(
    task: _Task, catalog: PlaceSettings, provider: Provider, store: PageStore, out: Path, *, instead_of: str = ""
) -> None:
    """Pin what one catalog has: a pin is of one catalog alone, so one of another is replaced, never added to.

    Parameters
    ----------
    task : _Task
        What is searched.
    catalog : PlaceSettings
        The catalog.
    provider : Provider
        The same, to be asked.
    store : PageStore
        Where its pages are kept, apart from those of other catalogs.
    out : Path
        STAC GeoParquet to write.
    instead_of : str
        The first catalog, if that could not be reached and this is its fallback.
    """
    url, settings, the_plan, intervals = catalog.url, task.settings, task.plan, task.intervals
    scenes, dem_collections = catalog.sentinel2_collection, catalog.dem_collections
    boxes = cell_boxes(the_plan)
    # Around an area only elevation is wanted.
    dem_boxes = [*boxes, *cell_boxes(the_plan, [cell.name for cell in the_plan.buffer_cells])]
    wanted = _Wanted(
        cells=_union(boxes),
        dem_cells=_union(dem_boxes),
        scenes=scenes,
        intervals=intervals,
        below={"eo:cloud_cover": settings.max_cloud_cover},
        remote=provider.remote,
        may_hold_files=partial(may_hold_files, url, hosts=catalog.hosts) if provider.remote else lambda _: True,
        exclude=settings.exclude,
    )
    address = public_address(url)
    record = {
        "bbox": list(enclosing_box(dem_boxes)),
        "datetime": [str(interval) for interval in intervals],
        "max_cloud_cover": settings.max_cloud_cover,
        "sentinel2_collection": scenes,
        "dem_collections": list(dem_collections),
    }
    if not intervals:
        say("No dates are given: only elevation tiles are pinned, no scenes.")
    queries = list(_queries(provider.remote, boxes, dem_boxes, wanted, settings.slice_days, dem_collections))
    slices = fetch_pages(provider, url, queries, store, workers=settings.workers if provider.remote else 1)
    result = SearchResult()
    for path in (path for pages in slices for path in pages.paths):
        result.add(path, wanted)
    pinned = None
    _say_if_replaced(out, address)
    if is_pin_of(out, address, record):
        pinned = _keep_newer_pinned(out, result, store, wanted, provider)
    wanted.report_left_out(zip((query.collection for query in queries), slices, strict=True))
    entries = result.newest([scenes])
    missing = _missing_collection(entries, scenes if intervals else None, dem_collections)
    if missing is not None:
        store.remove()  # the next search must not find the same pages again
        what, remedy, collections = missing
        why, remedy = wanted.why_none(collections) or ("", remedy)
        raise WorkError(f"The catalog {address} has no {what} for basin {the_plan.basin_id}{why}.", remedy)
    if result.conflicts:
        store.remove()
        collection, name = min(result.conflicts)
        raise InputError(
            f"The catalog {address} has different items of {collection} with the same id, such as "
            f"{sanitize_for_log(name)}; only one of them would be used.",
            "Give each item an id of its own, or set another catalog in catalog.url.",
        )
    write_sorted(out, result.items(entries), url=address, query=record, instead_of=instead_of)
    store.remove()
    if pinned is None:
        say(f"{len(entries)} items pinned in {out.name}.")
    else:
        say(describe_changes(pinned, entries) or f"nothing changed in {out.name} ({len(entries)} items).")


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


def _union(boxes: Sequence[Box]) -> shapely.Geometry:
    return shapely.union_all([shapely.box(*part) for box in boxes for part in split_box(box)])


def _queries(
    remote: bool,
    boxes: Sequence[Box],
    dem_boxes: Sequence[Box],
    wanted: _Wanted,
    slice_days: int,
    dem_collections: Sequence[str],
) -> Iterator[Query]:
    """Split a search into queries by collection, place and time.

    Each query reads a file again, so that an index on disk is queried only once.
    """
    max_boxes = MAX_BOXES if remote else 2
    slices = time_slices(wanted.intervals, slice_days) if remote else wanted.intervals
    places = cover_boxes(boxes, max_boxes=max_boxes)
    dem_places = places if dem_boxes == boxes else cover_boxes(dem_boxes, max_boxes=max_boxes)
    for number in range(max(len(places), len(dem_places))):
        for place in places[number : number + 1]:
            for interval in slices:
                yield Query(wanted.scenes, place, interval, below=wanted.below)
        for place in dem_places[number : number + 1]:
            for collection in dem_collections:
                yield Query(collection, place)


class _Wanted:
    """Decides whether a found item is wanted, and records the defects of the others.

    Parameters
    ----------
    cells : shapely.Geometry
        The basin's cells.
    dem_cells : shapely.Geometry
        Those and the cells around an area.
    scenes : str
        Collection of scenes; items of other collections are elevation.
    intervals : sequence of Interval
        Times of scenes.
    below : mapping
        Properties of scenes and their limits.
    remote : bool
        Whether items came over the network.
    may_hold_files : callable
        Whether the catalog may lead to the address of a file.
    exclude : sequence of str
        Ids of items that are not wanted.
    """

    def __init__(
        self,
        *,
        cells: shapely.Geometry,
        dem_cells: shapely.Geometry,
        scenes: str,
        intervals: Sequence[Interval],
        below: Mapping[str, float],
        remote: bool,
        may_hold_files: Callable[[str], bool],
        exclude: Sequence[str] = (),
    ) -> None:
        self.scenes, self.intervals, self.below = scenes, intervals, below
        self._may_hold_files = may_hold_files
        self._cells, self._dem_cells, self._remote = cells, dem_cells, remote
        self._exclude = frozenset(exclude)
        self._left_out: dict[tuple[str, str, str], None] = {}
        shapely.prepare(cells)
        shapely.prepare(dem_cells)

    def __call__(self, item: Item) -> bool:
        """Whether an item is wanted; records an item with a defect."""
        if item["id"] in self._exclude:
            return False
        scene = item["collection"] == self.scenes
        defect = asset_defect(item, remote=self._remote, bands=scene, may_hold_files=self._may_hold_files)
        if defect is not None:
            self._left_out[item["collection"], item["id"], defect] = None
            return False
        return (not scene or self._in_time(item)) and self._touches(item, self._cells if scene else self._dem_cells)

    def _in_time(self, item: Item) -> bool:
        return any(
            matches_time_and_properties(item, Query(self.scenes, WORLD, interval, below=self.below))
            for interval in self.intervals
        )

    def _touches(self, item: Item, cells: shapely.Geometry) -> bool:
        shape = footprint(item["geometry"])
        if shapely.intersects(cells, shape):
            return True
        # A footprint across the antimeridian reaches beyond 180; the cells do not.
        return shape.bounds[2] > 180.0 and bool(shapely.intersects(cells, shift_shape(shape, -FULL_CIRCLE)))

    def why_none(self, collections: Sequence[str]) -> tuple[str, str] | None:
        """Return why items of collections that were found could not be used, and the remedy; None if none was found."""
        of_defect: dict[str, int] = {}
        for collection, _, defect in self._left_out:
            if collection in collections:
                of_defect[defect] = of_defect.get(defect, 0) + 1
        if not of_defect:
            return None
        defect, count = max(of_defect.items(), key=lambda pair: (pair[1], pair[0]))
        remedy = "Set another catalog in catalog.url, or correct the items."
        if defect.startswith(WEB_ADDRESSES):
            remedy = (
                "Set catalog.url to a catalog whose files anyone may read over http(s), or download them and use a "
                "catalog on disk."
            )
        if defect.startswith(PUBLIC_ADDRESSES):
            remedy = "If you know that the files are there, add that host to catalog.hosts."
        return f": {count} item(s) were found, but lack {defect}", remedy

    def report_left_out(self, parts: Iterable[tuple[str, SlicePages]]) -> None:
        """Report how many items of the collections and their pages were left out and why, with the ids of a few."""
        for collection, pages in parts:
            for header in pages.headers:
                self._left_out |= {(collection, name, defect): None for name, defect in header.left_out}
        by_defect: dict[tuple[str, str], list[str]] = {}
        for collection, name, defect in sorted(self._left_out):
            by_defect.setdefault((collection, defect), []).append(name)
        for (collection, defect), names in sorted(by_defect.items()):
            some = ", ".join(names[:_MAX_LISTED_IDS]) + (", ..." if len(names) > _MAX_LISTED_IDS else "")
            say(f"{len(names)} item(s) of {collection} without {defect} left out ({some}).")


def _say_if_replaced(out: Path, address: str) -> None:
    """Report that a pin of another catalog is replaced: all cells are then made again."""
    with suppress(InputError):
        before = read_query(out).get("catalogue", address)
        if before != address:
            say(f"{out.name} was of {before}; it is replaced by the items of {address}, and all cells are made again.")


def _keep_newer_pinned(
    out: Path, result: SearchResult, store: PageStore, wanted: _Wanted, provider: Provider
) -> PinnedDigests | None:
    """Add newer items of an earlier pin; return its digests, None if it is not readable."""
    try:
        return keep_newer_pinned(out, result, store, wanted, provider)
    except InputError:
        say(f"{out.name} is not readable; it is written anew.")
        return None


def _missing_collection(
    entries: Sequence[FoundItem], scenes: str | None, dem_collections: Sequence[str]
) -> tuple[str, str, Sequence[str]] | None:
    """Return what a search lacks to be pinned, the remedy, and the collections it lacks; None if nothing."""
    found = {entry.collection for entry in entries}
    if scenes is not None and scenes not in found:
        return (
            f"usable {scenes} item in the time searched",
            "Widen search.datetime, raise search.years_back or search.max_cloud_cover, or check the collection's name"
            " and whether the place is land.",
            [scenes],
        )
    if dem_collections and not found & set(dem_collections):
        # Without any, every cell of a land basin would be taken for sea.
        return (
            f"elevation tile of {' or '.join(dem_collections)}",
            "Check the names in catalog.dem_collections.",
            dem_collections,
        )
    return None
