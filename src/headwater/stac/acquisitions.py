"""The same acquisition published more than once: the newest processing wins (pitfalls: PlanetaryComputer#291)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import shapely

from headwater.geo.antimeridian_boxes import footprint
from headwater.stac.intervals import parse_instant
from headwater.stac.items import mgrs_tile, processing_baseline

Item = dict[str, Any]

_SAME_PLACE = 0.5
"""Share of a footprint above which two items of one acquisition and baseline show the same ground."""


def newest_processing(items: Iterable[Item]) -> list[Item]:
    """Keep one item per acquisition: the one of the newest baseline.

    An acquisition is a platform, a second and an MGRS tile. Among equal baselines the later generation time wins,
    then the later update, then the greater id. Two items of the same baseline whose footprints hardly overlap are
    two parts of one swath (datastrips that meet inside the tile) and are both kept. An item without an MGRS tile is
    kept as it is.

    Parameters
    ----------
    items : iterable of dict
        Sentinel-2 items in any order.

    Returns
    -------
    list of dict
        Sorted by id; the same for any order of the input.
    """
    groups: dict[tuple[str, str, str], list[Item]] = {}
    for item in items:
        groups.setdefault(acquisition(item), []).append(item)
    kept = [item for group in groups.values() for item in _newest(group)]
    return sorted(kept, key=lambda item: str(item["id"]))


def acquisition(item: Item) -> tuple[str, str, str]:
    """Return what tells an acquisition from others: platform, second and MGRS tile (the id where there is none)."""
    properties = item["properties"]
    text = properties.get("datetime") or properties.get("start_datetime") or ""
    second = parse_instant(text).replace(microsecond=0).isoformat() if text else ""
    # Catalogues write Sentinel-2A and sentinel-2a.
    return (str(properties.get("platform", "")).lower(), second, mgrs_tile(item) or item["id"])


def _newest(group: list[Item]) -> list[Item]:
    ranked = sorted(group, key=_processing, reverse=True)
    baseline = processing_baseline(ranked[0])
    kept: list[Item] = []
    for item in ranked:
        if processing_baseline(item) == baseline and not any(_same_place(item, other) for other in kept):
            kept.append(item)
    return kept


def _processing(item: Item) -> tuple[tuple[int, int], str, str, str]:
    properties = item["properties"]
    return (
        processing_baseline(item) or (-1, -1),
        str(properties.get("s2:generation_time") or ""),
        str(properties.get("updated") or ""),
        str(item["id"]),
    )


def _same_place(item: Item, other: Item) -> bool:
    if not item.get("geometry") or not other.get("geometry"):
        return True
    one, two = footprint(item["geometry"]), footprint(other["geometry"])
    smaller = min(one.area, two.area)
    return smaller <= 0 or shapely.intersection(one, two).area >= _SAME_PLACE * smaller
