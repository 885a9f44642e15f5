"""Where a demo planet is: window, cells, degree tiles, UTM zones, MGRS tiles and sun.  Pure arithmetic.

Every planet straddles a border of two UTM zones and, if it has two rows of cells, an integer latitude, so the
seams of the real services (zone borders, degree tiles) run through its middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyproj import Transformer

from headwater.core.errors import InputError

TRUTH_PER_DEGREE = 9_000
"""Pixels per degree of the true landscape: 0.4 arc seconds, the posting of TanDEM-X and hence of TDX-Hydro."""
SCENE_MARGIN_DEGREES = 0.012
"""How far scenes extend beyond the window, to cover the margin of a border cell (64 px)."""

_ZONE_BORDERS = range(-174, 175, 6)
_LATITUDES = [lat for lat in range(-38, 39) if lat != 0]
_MGRS_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_MGRS_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_MGRS_BANDS = "CDEFGHJKLMNPQRSTUVWX"


@dataclass(frozen=True)
class MgrsTile:
    """One Sentinel-2 tile of the planet, cut to the surroundings of the planet."""

    name: str
    """MGRS name, e.g. 32PRV."""
    epsg: int
    """UTM zone of the tile as an EPSG code."""
    west: float
    """Left edge, meters, a multiple of 60 as on the real tiles."""
    north: float
    """Upper edge, meters, a multiple of 60."""
    width: int
    """Columns of 10 m, even."""
    height: int
    """Rows of 10 m, even."""


@dataclass(frozen=True)
class PlanetGrid:
    """Position and grid of a planet."""

    seed: int
    west: float
    """Degrees east of the window's left edge."""
    north: float
    """Degrees north of the window's upper edge."""
    columns: int
    """Pixels of the true landscape, west to east."""
    rows: int
    """Pixels of the true landscape, north to south."""
    cell_degrees: float
    """Side of a cell; a whole number of cells fills the window."""
    zone_border: int
    """Longitude of the border between the two UTM zones, degrees."""
    degree_line: int
    """Integer latitude that crosses (or bounds) the window, degrees."""
    ocean_quadrant: tuple[float, float, float, float] | None
    """(w, s, e, n) of the window's part in a degree tile without land; None with one row or column of cells."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) in degrees."""
        return (
            self.west,
            round(self.north - self.rows / TRUTH_PER_DEGREE, 9),
            round(self.west + self.columns / TRUTH_PER_DEGREE, 9),
            self.north,
        )

    @property
    def middle(self) -> tuple[float, float]:
        """(longitude, latitude) of the window's middle, degrees."""
        w, s, e, n = self.bounds
        return (w + e) / 2, (s + n) / 2

    @property
    def pixel_m(self) -> tuple[float, float]:
        """(dx, dy) of a truth pixel at the middle latitude, meters (WGS 84 radii of curvature)."""
        lat = math.radians(self.middle[1])
        a, e2 = 6_378_137.0, 0.006_694_38
        w2 = 1 - e2 * math.sin(lat) ** 2
        step = math.radians(1 / TRUTH_PER_DEGREE)
        return a / math.sqrt(w2) * math.cos(lat) * step, a * (1 - e2) / w2**1.5 * step

    @property
    def basin_id(self) -> str:
        """Ten digits like a HYBAS_ID, outside the numbers that HydroBASINS uses."""
        return str(9_990_000_000 + self.seed)

    def mgrs_tiles(self) -> tuple[MgrsTile, MgrsTile]:
        """Return the western and the eastern tile: each covers 65 % of the width, in its own UTM zone."""
        w, s, e, n = self.bounds
        m = SCENE_MARGIN_DEGREES
        covered = 0.65 * (e - w)
        zone = (self.zone_border + 180) // 6  # the zone that ends at the border
        west = _mgrs_tile(zone, (w - m, s - m, w + covered, n + m))
        east = _mgrs_tile(zone + 1, (e - covered, s - m, e + m, n + m))
        return west, east


def planet_grid(seed: int, *, size_degrees: tuple[float, float], cell_degrees: float) -> PlanetGrid:
    """Place the planet of a seed.

    Parameters
    ----------
    seed
        0 or more; seeds below 4,000 have different places.
    size_degrees
        (longitude, latitude) of the window; multiples of `cell_degrees`, at most (1, 0.9).
    cell_degrees
        Side of a cell; must divide a degree.

    Raises
    ------
    InputError
        If the seed is negative or the sizes do not fit together.
    """
    if seed < 0 or seed > 999_999:
        raise InputError(f"seed must be between 0 and 999999 (got {seed}).", "Give another --seed.")
    cells_per_degree = round(1 / cell_degrees)
    across, down = (round(s / cell_degrees) for s in size_degrees)
    fits = math.isclose(cells_per_degree * cell_degrees, 1) and all(
        n >= 1 and math.isclose(n * cell_degrees, s) for n, s in zip((across, down), size_degrees, strict=True)
    )
    if not fits or TRUTH_PER_DEGREE % cells_per_degree or size_degrees[0] > 1 or size_degrees[1] > 0.9:
        raise InputError(
            f"A planet of {size_degrees[0]} x {size_degrees[1]} degrees has no whole number of cells of "
            f"{cell_degrees} degrees, or is larger than 1 x 0.9.",
            "Use for instance a size of 0.3 x 0.2 with cells of 0.1.",
        )
    places = len(_ZONE_BORDERS) * len(_LATITUDES)
    position = (seed * 1_597 + 2_333) % places  # 1597 and the number of places have no common divisor: no place repeats
    border = _ZONE_BORDERS[position % len(_ZONE_BORDERS)]
    line = _LATITUDES[position // len(_ZONE_BORDERS)]
    cells_west = (across + seed % 2) // 2 if across > 1 else 0
    cells_south = (down + seed // 2 % 2) // 2 if down > 1 else 0
    west = round(border - cells_west * cell_degrees, 9)
    south = round(line - cells_south * cell_degrees, 9)
    east, north = round(west + across * cell_degrees, 9), round(south + down * cell_degrees, 9)
    ocean = None
    if across > 1 and down > 1:
        # The smallest of the four quadrants (ties by seed) has no land: its degree tile does not exist.
        sides_x = [(west, float(border)), (float(border), east)]
        sides_y = [(south, float(line)), (float(line), north)]
        quadrants = [(x[0], y[0], x[1], y[1]) for x in sides_x for y in sides_y]
        quadrants = quadrants[seed % 4 :] + quadrants[: seed % 4]
        ocean = min(quadrants, key=lambda q: round((q[2] - q[0]) * (q[3] - q[1]), 9))
    per_cell = TRUTH_PER_DEGREE // cells_per_degree
    return PlanetGrid(seed, west, north, across * per_cell, down * per_cell, cell_degrees, border, line, ocean)


def sun_position(latitude: float, day_of_year: int, *, hour: float = 10.5) -> tuple[float, float]:
    """Solar zenith and azimuth in degrees at a local solar hour (Cooper's declination, 1969)."""
    declination = math.radians(23.45) * math.sin(2 * math.pi * (284 + day_of_year) / 365)
    lat, angle = math.radians(latitude), math.radians(15 * (hour - 12))
    cos_zenith = math.sin(lat) * math.sin(declination) + math.cos(lat) * math.cos(declination) * math.cos(angle)
    east = -math.cos(declination) * math.sin(angle)
    north = math.cos(lat) * math.sin(declination) - math.sin(lat) * math.cos(declination) * math.cos(angle)
    return math.degrees(math.acos(cos_zenith)), math.degrees(math.atan2(east, north)) % 360


def mgrs_name(zone: int, latitude: float, easting: float, northing: float) -> str:
    """Name of the 100 km square, e.g. 32PRV (lettering of the Military Grid Reference System, WGS 84)."""
    band = _MGRS_BANDS[min(int((latitude + 80) // 8), len(_MGRS_BANDS) - 1)]
    column = _MGRS_COLUMNS[(zone - 1) % 3][int(easting // 100_000) - 1]
    row = _MGRS_ROWS[(int(northing // 100_000) + (5 if zone % 2 == 0 else 0)) % 20]
    return f"{zone:02d}{band}{column}{row}"


def _mgrs_tile(zone: int, bounds: tuple[float, float, float, float]) -> MgrsTile:
    w, s, e, n = bounds
    latitude = (s + n) / 2
    epsg = (32600 if latitude > 0 else 32700) + zone
    to_utm = Transformer.from_crs(4326, epsg, always_xy=True)
    left, bottom, right, top = to_utm.transform_bounds(w, s, e, n, densify_pts=21)
    west, north = math.floor(left / 60) * 60, math.ceil(top / 60) * 60
    # Multiples of 60 m keep the 20 m classes aligned with the 10 m bands.
    width, height = math.ceil((right - west) / 60) * 6, math.ceil((north - bottom) / 60) * 6
    x, y = to_utm.transform((w + e) / 2, latitude)
    return MgrsTile(mgrs_name(zone, latitude, x, y), epsg, west, north, width, height)
