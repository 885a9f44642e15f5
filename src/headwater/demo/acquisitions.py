"""When and how the planet is imaged: dates, baselines, satellites, sun, cloudiness.  Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from headwater.demo.planet_grid import PlanetGrid, sun_position
from headwater.demo.planet_parameters import PlanetParameters

BOA_OFFSET = 1000
"""Added to DN from processing baseline 04.00 on (25 January 2022)."""


@dataclass(frozen=True)
class Acquisition:
    """One pass of a satellite over both tiles."""

    number: int
    """Position in the list; seeds the weather."""
    time: dt.datetime
    """Sensing time, UTC."""
    platform: str
    """Sentinel-2A or Sentinel-2B."""
    baselines: tuple[str, ...]
    """Processing baselines of the western tile; the eastern tile has only the first."""
    season: float
    """Greenness of the season, 0 dry to 1 wet."""
    sun_zenith: float
    """Degrees."""
    sun_azimuth: float
    """Degrees clockwise from north."""
    cloud_fraction: float
    """Fraction of the sky under cloud."""
    swath_edge: bool
    """True where the swath ends within the eastern tile."""
    orbit: int
    """Relative orbit."""


def acquisitions(grid: PlanetGrid, parameters: PlanetParameters, count: int) -> list[Acquisition]:
    """Plan `count` dates, 2 or more: dry and wet season of 2023, with 2 in 5 of them (at least one) in January 2022.

    The western tile has one date of 2022 twice: as first processed (03.01, without the offset) and reprocessed
    (05.10, with the offset).  The other dates have one baseline; those of 2022 before 25 January precede 04.00.
    """
    rng = np.random.default_rng([grid.seed, 7])
    early = max(1, round(count * 0.4))
    # (month, day, greenness): the wet season is the hemisphere's summer half-year.
    north = grid.middle[1] > 0
    wet, dry = ((8, 9), (2, 3)) if north else ((2, 3), (8, 9))
    of_2023 = [(2023, dry[0], 9, 0.2), (2023, wet[0], 22, 0.95), (2023, wet[1], 16, 0.85), (2023, dry[1], 14, 0.3)]
    of_2022 = [(2022, 1, 3, 0.35 if north else 0.9), (2022, 1, 13, 0.3 if north else 0.95)]
    cloud_fractions = [0.09, 0.18, 0.12, 0.32, 0.06, 0.6]
    planned = []
    for k in range(count):
        late = k < count - early
        pool, step = (of_2023, k) if late else (of_2022, k - (count - early))
        year, month, day, green = pool[step % len(pool)]
        shift = parameters.season_shift if late else min(abs(parameters.season_shift) // 2, 6)  # before 25 January
        round_ = step // len(pool) * (5 if late else 2)
        date = dt.datetime(year, month, day) + dt.timedelta(days=shift + round_)
        cloud_fraction = float(np.clip(cloud_fractions[k % len(cloud_fractions)] * parameters.cloudiness, 0.03, 0.85))
        zenith, azimuth = sun_position(grid.middle[1], date.timetuple().tm_yday)
        zenith = max(zenith, min(zenith + parameters.low_sun_degrees, 78.0))
        green += (parameters.season_contrast - 1) * (green - 0.5) + parameters.season_offset
        hours = 10.5 - grid.middle[0] / 15
        seconds = int(rng.integers(0, 600))
        time = date + dt.timedelta(hours=hours, seconds=seconds, milliseconds=24)
        time = time.replace(microsecond=24_000)
        first = k == count - early
        baselines = ("05.09",) if late else (("03.01", "05.10") if first else ("03.01",))
        planned.append(
            Acquisition(
                number=k,
                time=time,
                platform=("Sentinel-2A", "Sentinel-2B")[k % 2],
                baselines=baselines,
                season=float(np.clip(green, 0, 1)),
                sun_zenith=zenith,
                sun_azimuth=azimuth,
                cloud_fraction=cloud_fraction,
                swath_edge=k == min(2, count - 1),
                orbit=int(grid.seed * 7 % 143 + 1),
            )
        )
    return planned
