"""select: the scenes and elevation tiles of one cell, in small stable files that decide what is rebuilt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.core.files import write_json
from headwater.core.settings import default_of
from headwater.geo.longitudes import FULL_CIRCLE, Box, footprint, split_box, touches
from headwater.geo.plan import cell_boxes, read_plan
from headwater.imagery.scene_statistics import SceneCache
from headwater.imagery.selection import choose_scenes
from headwater.imagery.settings import SelectSettings
from headwater.raster.opening import AssetGone
from headwater.stac.intervals import Interval, parse_instant, parse_interval
from headwater.stac.items import DEM_ASSET, Scene, asset_href, epsg_code, scene_facts
from headwater.stac.pins import read_items, read_query
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
    WorkError
        A scene cannot be read, or has no SCL and `settings.missing_scl` is "refuse". A scene that is gone from its
        server is left out instead.
    InputError
        An argument or an input file is not valid, or a band is not what it should be.
    """
    settings, signing = settings or SelectSettings(), signing or SigningSettings()
    the_plan = read_plan(plan)
    (box,) = cell_boxes(the_plan, [cell])
    pinned = read_items(items, box=around(box))
    query = read_query(items).get("query", {})
    _check_place(query.get("bbox"), box, items, cell)
    dem_collections = query.get("dem_collections") or default_of(CatalogSettings, "dem_collections")
    cache = SceneCache(cache_dir, make_signer(signing.signing, signing.token_url), settings.missing_scl)

    images = [item for item in pinned if item["collection"] not in dem_collections]
    entries = choose_entries(images, box, query.get("datetime"), settings, cache)
    if not entries:
        say(f"no usable scene touches cell {cell}: its composite will be empty.")
    collection = query.get("sentinel2_collection") or (images[0]["collection"] if images else "")
    write_json(
        scenes_out,
        {"cell": cell, "collection": collection, "missing_scl": settings.missing_scl, "scenes": entries},
        sealed=True,
    )
    write_json(
        dem_out,
        {"cell": cell, "collections": dem_collections, "items": _dem_entries(pinned, box, dem_collections)},
        sealed=True,
    )


def choose_entries(
    images: Sequence[Item], box: Box, searched: Sequence[str] | None, rule: SelectSettings, cache: SceneCache
) -> list[dict[str, Any]]:
    """Return the scenes to composite over a box, best first: rows of scenes.json.

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
    return _entries(_choose(images, box, _intervals(searched, images), rule, cache), cache)


def _choose(
    images: Sequence[Item], box: Box, intervals: Sequence[Interval], rule: SelectSettings, cache: SceneCache
) -> list[Scene]:
    """Return the scenes of all MGRS tiles that touch the box, best first."""
    shapes = {item["id"]: footprint(item["geometry"]) for item in images}
    touching = {name for name, shape in shapes.items() if touches(shape, box)}
    by_tile: dict[str, list[Scene]] = {}
    for item in images:
        scene = _facts(item)
        by_tile.setdefault(scene.mgrs_tile, []).append(scene)

    ranked: list[tuple[int, float, str, Scene]] = []
    for scenes in by_tile.values():
        if not any(scene.id in touching for scene in scenes):
            continue
        years = [[scene for scene in scenes if _year(scene, intervals) == year] for year in range(len(intervals))]
        for place, scene in enumerate(_choose_of_tile(years, rule, cache)):
            # A swath that ends before the cell shows nothing of it, but counts for the tile.
            if scene.id in touching:
                ranked.append((place, scene.cloud_cover + scene.nodata_percentage, scene.id, scene))
    # The first choice of every tile, then the second of every tile: the same order in every cell.
    return [scene for *_, scene in sorted(ranked, key=lambda entry: entry[:3])]


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


def _choose_of_tile(years: Sequence[Sequence[Scene]], rule: SelectSettings, cache: SceneCache) -> list[Scene]:
    """Return the scenes of an MGRS tile, best first; the choice is repeated without scenes that turn out useless."""
    useless: set[str] = set()

    def look(scene: Scene) -> NDArray[np.bool_] | None:
        return _unless_gone(cache.clear_views, scene, useless)

    while True:
        left = [[scene for scene in scenes if scene.id not in useless] for scenes in years]
        chosen = choose_scenes(left, look, rule)
        # Also scenes that do not touch the cell: the neighboring cell, which they touch, must choose the same.
        for scene in chosen:
            if _unless_gone(cache.statistics, scene, useless) is None and scene.id not in useless:
                say(f"scene {scene.id} has no clear pixel with a value; it is left out.")
                useless.add(scene.id)
        if not any(scene.id in useless for scene in chosen):
            return chosen


def _unless_gone(look: Callable[[Scene], _T], scene: Scene, gone: set[str]) -> _T | None:
    """Return what `look` reads of a scene; None if the catalog's server does not have the scene any more."""
    try:
        return look(scene)
    except AssetGone as error:
        say(f"scene {scene.id} is left out: {error.cause}")
        gone.add(scene.id)
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
        facts = asdict(scene)
        mean, std = ([round(float(value), 3) for value in values] for values in statistics)
        entries.append({name: facts[name] for name in _ENTRY_FIELDS} | {"mean": mean, "std": std})
    return entries


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
