"""select: the scenes and elevation tiles of one cell, in small stable files that decide what is rebuilt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.events import say, warn
from headwater.core.files import write_json
from headwater.core.settings import default_of
from headwater.geo.longitudes import FULL_CIRCLE, Box, footprint, split_box, touches
from headwater.geo.plan import cell_boxes, read_plan
from headwater.imagery.left_out import LeftOut
from headwater.imagery.scene_statistics import SceneCache, SceneRefused, SceneStatistics
from headwater.imagery.selection import choose_scenes
from headwater.imagery.settings import SelectSettings
from headwater.raster.opening import AssetCorrupt, AssetGone
from headwater.stac.intervals import Interval, parse_instant, parse_interval
from headwater.stac.items import Scene, asset_href, epsg_code, scene_facts
from headwater.stac.pins import fallback_of, read_items, read_query
from headwater.stac.presets import DEM_ASSET
from headwater.stac.settings import CatalogSettings, SigningSettings
from headwater.stac.signing import make_signer

Item = dict[str, Any]
_T = TypeVar("_T")

TILE_DEGREES = 1.2
"""More than the side of an MGRS tile, 109.8 km, on a meridian."""
_ENTRY_FIELDS = ("id", "collection", "datetime", "mgrs_tile", "baseline", "offset", "epsg", "cloud_cover", "assets")


def select(
    items: Path,
    plan: Path,
    cell: str,
    scenes_out: Path,
    dem_out: Path,
    *,
    cache_dir: Path,
    settings: SelectSettings | None = None,
    signing: SigningSettings | None = None,
) -> None:
    """Write scenes.json and dem.json of a cell, each only if it changes.

    Scenes are chosen per MGRS tile over the complete tile, so that neighboring cells choose the same.

    Parameters
    ----------
    items : Path
        items.parquet of the basin.
    plan : Path
        plan.json of the basin.
    cell : str
        Name of the cell.
    scenes_out, dem_out : Path
        scenes.json and dem.json to write.
    cache_dir : Path
        Folder of what was read of scenes, shared by all cells; may be deleted at any time.
    settings : SelectSettings, optional
        How many scenes, how cloudy, and what each must add; what an item without SCL means.
    signing : SigningSettings, optional
        How assets are signed; as they are where not given.

    Raises
    ------
    NetworkError
        A scene cannot be read now.
    WorkError, InputError
        An argument or an input file is not valid; or more than `settings.max_left_out` of the scenes cannot be used:
        they are gone from their server, are damaged, have no SCL while `settings.missing_scl` is "refuse", or their
        bands are not what they should be.
    """
    settings, signing = settings or SelectSettings(), signing or SigningSettings()
    the_plan = read_plan(plan)
    (box,) = cell_boxes(the_plan, [cell])
    pinned = read_items(items, box=around(box))
    query = read_query(items).get("query", {})
    _check_place(query.get("bbox"), box, items, cell)
    dem_collections = query.get("dem_collections") or default_of(CatalogSettings, "dem_collections")
    catalog = fallback_of(items)
    # Only where it is not the first catalog: what is written of that one stays as it was.
    origin = {"catalog": catalog} if catalog else {}
    cache = SceneCache(cache_dir, make_signer(*signing.access_to(catalog)), settings.missing_scl)

    # Of cells around an area only the elevation is used.
    mapped = the_plan.cell(cell) in the_plan.cells
    images = [item for item in pinned if mapped and item["collection"] not in dem_collections]
    selection = choose_entries(images, box, query.get("datetime"), settings, cache)
    # A search without dates pins elevation only.
    if mapped and not selection.entries and query.get("datetime") != []:
        warn(f"{selection.why_empty(cell, settings)}: its composite will be empty.")
    collection = query.get("sentinel2_collection") or (images[0]["collection"] if images else "")
    write_json(
        scenes_out,
        {
            "cell": cell,
            **origin,
            "collection": collection,
            "missing_scl": settings.missing_scl,
            "scenes": selection.entries,
            "left_out": selection.left_out,
        },
        sealed=True,
    )
    write_json(
        dem_out,
        {"cell": cell, **origin, "collections": dem_collections, "items": _dem_entries(pinned, box, dem_collections)},
        sealed=True,
    )


@dataclass(frozen=True)
class Selection:
    """The scenes of a place."""

    entries: list[dict[str, Any]]
    """The scenes to composite, best first: rows of scenes.json."""
    left_out: list[str]
    """Ids of scenes that cannot be used, sorted."""
    touching: int
    """How many scenes touch the place."""

    def why_empty(self, cell: str, rule: SelectSettings) -> str:
        """Return why there are no entries, as the beginning of a sentence."""
        if self.touching == 0:
            return f"no usable scene touches cell {cell}"
        return (
            f"{self.touching} scene(s) touch cell {cell}, but add less than {rule.stop_uncovered:.0%} of their tile,"
            f" have {rule.cloud_steps[-1]:g} % of clouds or more, or were left out"
        )


def choose_entries(
    images: Sequence[Item], box: Box, searched: Sequence[str] | None, rule: SelectSettings, cache: SceneCache
) -> Selection:
    """Return the scenes to composite over a box.

    Parameters
    ----------
    images : sequence of dict
        Sentinel-2 items. Scenes are chosen over complete MGRS tiles, so items beyond the box count too.
    box : (west, south, east, north)
        Degrees; may cross the antimeridian.
    searched : sequence of str, optional
        Intervals that the items were searched for, newest first; the calendar years of the items if not given.
    rule : SelectSettings
        Limits of the choice.
    cache : SceneCache
        Coarse views and statistics of scenes.

    Raises
    ------
    WorkError, InputError
        See `select`.
    """
    intervals = _intervals(searched, images)
    shapes = {item["id"]: footprint(item["geometry"]) for item in images}
    touching = {name for name, shape in shapes.items() if touches(shape, box)}
    by_tile: dict[str, list[Scene]] = {}
    for item in images:
        scene = _facts(item)
        by_tile.setdefault(scene.mgrs_tile, []).append(scene)
    tiles = [scenes for scenes in by_tile.values() if any(scene.id in touching for scene in scenes)]
    left_out = LeftOut(sum(map(len, tiles)), rule.max_left_out, setting="select.max_left_out")

    ranked: list[tuple[int, float, str, Scene]] = []
    for scenes in tiles:
        years = [[scene for scene in scenes if _year(scene, intervals) == year] for year in range(len(intervals))]
        for place, scene in enumerate(_choose_of_tile(years, rule, cache, left_out)):
            # A swath that ends before the cell shows nothing of it, but counts for the tile.
            if scene.id in touching:
                ranked.append((place, scene.cloud_cover + scene.nodata_percentage, scene.id, scene))
    # The first choice of every tile, then the second of every tile: the same order in every cell.
    chosen = [scene for *_, scene in sorted(ranked, key=lambda entry: entry[:3])]
    return Selection(_entries(chosen, cache), left_out.ids, len(touching))


def _check_place(searched: Sequence[float] | None, box: Box, items: Path, cell: str) -> None:
    """Refuse the items of another basin, if the pin records where it was searched."""
    if searched is None:
        return
    west, south, east, north = (float(edge) for edge in searched)
    # Rounding of either box must not matter.
    found = shapely.union_all([shapely.box(*part).buffer(1e-6) for part in split_box((west, south, east, north))])
    if not all(found.covers(shapely.box(*part)) for part in split_box(box)):
        raise InputError(
            f"{items} was not searched for cell {cell}: it covers another place.",
            "Run 'headwater search' with this plan.",
        )


def around(box: Box) -> Box:
    """Return a box extended by the side of an MGRS tile: it contains every scene of each tile that touches the box."""
    west, south, east, north = box
    south, north = max(-90.0, south - TILE_DEGREES), min(90.0, north + TILE_DEGREES)
    wide = TILE_DEGREES / max(math.cos(math.radians(max(abs(south), abs(north)))), 1e-3)
    if (east - west) % FULL_CIRCLE + 2 * wide >= FULL_CIRCLE:
        return (-180.0, south, 180.0, north)
    return (west - wide, south, east + wide, north)


def _choose_of_tile(
    years: Sequence[Sequence[Scene]], rule: SelectSettings, cache: SceneCache, left_out: LeftOut
) -> list[Scene]:
    """Return the scenes of an MGRS tile, best first; the choice is repeated without scenes that turn out useless."""

    def look(scene: Scene) -> NDArray[np.bool_] | None:
        return _unless_unusable(cache.clear_views, scene, left_out)

    while True:
        left = [[scene for scene in scenes if scene.id not in left_out] for scenes in years]
        choice = choose_scenes(left, look, rule)
        # Also scenes that do not touch the cell: the neighboring cell, which they touch, must choose the same.
        for scene in choice.scenes:
            if _unless_unusable(cache.statistics, scene, left_out) is None and scene.id not in left_out:
                left_out.add(scene.id, InputError("It has no clear pixel with a value.", "Ask its provider."))
        if not any(scene.id in left_out for scene in choice.scenes):
            break
    if choice.is_full and choice.unseen >= rule.stop_uncovered:
        tile = choice.scenes[0].mgrs_tile
        say(f"{choice.unseen:.0%} of tile {tile} is in none of the {rule.max_scenes} scenes of select.max_scenes.")
    return choice.scenes


def _unless_unusable(look: Callable[[Scene], _T], scene: Scene, left_out: LeftOut) -> _T | None:
    """Return what `look` reads of a scene; None if the scene cannot be used, whatever the network does."""
    try:
        return look(scene)
    except (AssetGone, AssetCorrupt, SceneRefused, InputError) as error:
        left_out.add(scene.id, error)
        return None


def _facts(item: Item) -> Scene:
    try:
        return scene_facts(item)
    except ValueError as error:
        raise InputError(f"In the pinned items, {error}.", "Run 'headwater search' again.") from None


def _intervals(searched: Sequence[str] | None, images: Sequence[Item]) -> list[Interval]:
    """Return the searched intervals, newest first; for a foreign pin, the calendar years of its images."""
    texts = searched or sorted({_facts(item).datetime[:4] for item in images}, reverse=True)
    return [parse_interval(text) for text in texts]


def _year(scene: Scene, intervals: Sequence[Interval]) -> int:
    """Return the number of the first interval that contains the scene."""
    instant = parse_instant(scene.datetime)
    return next((k for k, interval in enumerate(intervals) if interval.overlaps(instant, instant)), len(intervals) - 1)


def _entries(scenes: Sequence[Scene], cache: SceneCache) -> list[dict[str, Any]]:
    entries = []
    for scene in scenes:
        statistics = cache.statistics(scene)
        assert statistics is not None
        if statistics.offset != scene.offset:
            warn(_offset_note(scene, statistics))
        facts = asdict(scene) | {"offset": statistics.offset}
        mean, std = ([round(float(value), 3) for value in values] for values in (statistics.mean, statistics.std))
        entries.append({name: facts[name] for name in _ENTRY_FIELDS} | {"mean": mean, "std": std})
    return entries


def _offset_note(scene: Scene, statistics: SceneStatistics) -> str:
    return (
        f"the offset of {scene.id} was subtracted before: subtracting {scene.offset} again would leave "
        f"{statistics.floor_fraction:.0%} of its clear land at zero. Nothing is subtracted."
    )


def _dem_entries(pinned: Sequence[Item], box: Box, collections: Sequence[str]) -> list[dict[str, Any]]:
    """Return the elevation tiles that touch the box, the better collection first, sorted by id."""
    entries = []
    for item in pinned:
        href = asset_href(item, DEM_ASSET)
        if item["collection"] in collections and href and touches(footprint(item["geometry"]), box):
            entries.append(
                {"id": item["id"], "collection": item["collection"], "href": href, "epsg": epsg_code(item) or 4326}
            )
    return sorted(entries, key=lambda entry: (collections.index(entry["collection"]), entry["id"]))
