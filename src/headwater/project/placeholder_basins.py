"""Placeholder basins: land tiles divided among the basins whose polygons are not available. For planning only.

The division is deterministic:

1. A tile belongs to the continent of the first box in `continent_of` that contains its center; south of 60 S it
   belongs to none, since HydroBASINS ends there.
2. The tiles of a continent go to the basins whose HYBAS_ID begins with its digit. They are split across their longer
   extent (in degrees of longitude or latitude) so that each part has tiles in proportion to its basins, with the basins
   in the order of their ids; each part is split again until it has one basin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LandTile = tuple[int, int]
"""South and west edge of a one-degree square."""

AFRICA, EUROPE, SIBERIA, ASIA, AUSTRALIA, SOUTH_AMERICA, NORTH_AMERICA, ARCTIC, GREENLAND = "123456789"
"""First digits of HYBAS_ID. Europe includes the Middle East, Australia the islands from Sumatra to Hawaii."""


def continent_of(tile: LandTile) -> str | None:
    """Return the continent of a tile as the first digit of HYBAS_ID; None in Antarctica."""
    south, west = tile
    lat, lon = south + 0.5, west + 0.5
    if lat < -60:
        return None
    return _west(lat, lon) if lon < -26 or (lon < -10 and lat >= 67) else _east(lat, lon)


def placeholder_basins(tiles: Iterable[LandTile], basin_ids: Iterable[str]) -> dict[str, list[LandTile]]:
    """Divide land tiles among basins.

    Parameters
    ----------
    tiles : iterable of (south, west)
        Squares of one degree with land.
    basin_ids : iterable of str
        HYBAS_ID of the basins that need a placeholder.

    Returns
    -------
    dict
        Tiles of each basin, north to south, then west to east; may be none. Tiles of a continent are left out if none
        of its basins needs a placeholder.
    """
    basins: dict[str, list[str]] = {}
    for basin_id in sorted(basin_ids):
        basins.setdefault(basin_id[0], []).append(basin_id)
    land: dict[str, list[LandTile]] = {}
    for tile in tiles:
        continent = continent_of(tile)
        if continent in basins:
            land.setdefault(continent, []).append(tile)
    assigned: dict[str, list[LandTile]] = {}
    for continent, ids in basins.items():
        _divide(land.get(continent, []), ids, assigned)
    return {basin_id: sorted(part, key=lambda tile: (-tile[0], tile[1])) for basin_id, part in sorted(assigned.items())}


def _divide(tiles: Sequence[LandTile], ids: Sequence[str], into: dict[str, list[LandTile]]) -> None:
    if len(ids) == 1:
        into[ids[0]] = list(tiles)
        return
    places = {tile: (tile[0], _eastward(tile)) for tile in tiles}
    spans = [max(side) - min(side) for side in zip(*places.values(), strict=True)]
    longer = 1 if not spans or spans[1] >= spans[0] else 0
    ordered = sorted(tiles, key=lambda tile: (places[tile][longer], places[tile][1 - longer]))
    half = len(ids) // 2
    cut = len(ordered) * half // len(ids)
    _divide(ordered[:cut], ids[:half], into)
    _divide(ordered[cut:], ids[half:], into)


def _eastward(tile: LandTile) -> int:
    """Return a longitude that is continuous across the Pacific: it wraps in the Atlantic."""
    return tile[1] + 360 if tile[1] < -168 or (tile[1] < -130 and tile[0] < 30) else tile[1]


def _west(lat: float, lon: float) -> str:
    if lon < -168 and lat >= 60:
        return SIBERIA
    if lon < -130 and lat < 30:
        return AUSTRALIA
    if lat >= 59 and lon >= (-58 if lat < 76 else -73):
        return GREENLAND
    if lat >= 60:
        return ARCTIC
    return SOUTH_AMERICA if lat < 12.5 and lon >= (-77 if lat >= 7 else -92) else NORTH_AMERICA


def _east(lat: float, lon: float) -> str:
    if lon >= 130 and lat < 25:
        return AUSTRALIA
    if lon >= 95 and lat < 6:
        return AUSTRALIA
    if lon >= 60:
        return SIBERIA if lat >= 50 else ASIA
    red_sea = 33 + (30 - lat) * 0.55
    if lat < 12.5 or (lat < 30 and lon < red_sea) or (lat < 37 and lon < 11) or (lat < 33.5 and lon < 34):
        return AFRICA
    return EUROPE
