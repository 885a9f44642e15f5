"""Parameters of a planet: relief, climate, geology, land cover, noise and weather, drawn from the seed.

There are two presets. "plain" planets are similar enough to show what the workflow does; "wide" planets differ in
everything but water, so a network trained on them learns valleys and water and not one generator's habits.

The random stream of a parameter depends on its name: renaming a parameter changes every wide planet.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from headwater.core.errors import InputError


@dataclass(frozen=True)
class PlanetParameters:
    """Properties of one planet."""

    relief_m: float
    """Height of the mountains above the sea (99.5th percentile), meters."""
    concavity: float
    """Area exponent of the stream-power law."""
    steepest: float
    """Slope at which hillslopes fail, rise per run."""
    head_area_km2: float
    """Upstream area at which channels begin on rock of average permeability."""
    head_spread: float
    """How much the rock changes that area, natural-log standard deviation."""
    wetness: float
    """Runoff relative to a temperate climate; 1 is average."""
    canopy: float
    """Fraction of the land under closed forest."""
    canopy_height_m: float
    """Mean height of closed forest."""
    dem_noise_m: float
    """Standard deviation of the elevation model's noise."""
    texture: float
    """Strength of the soil and vegetation patterns that are unrelated to water; 1 is average."""
    soil: tuple[float, float, float, float]
    """Reflectance of bare dry soil in N, R, G, B."""
    rock: tuple[float, float, float, float]
    """Reflectance of the permeable rock's soil in N, R, G, B."""
    farmed: float
    """Fraction of gentle land in parcels."""
    cloudiness: float
    """Factor on the cloud cover of the scenes; 1 is average."""
    season_shift: int
    """Days by which the acquisitions are moved."""
    turbidity: float
    """Suspended matter of the rivers, 0 (clear) to 1 (brown)."""
    # From here on: constant on plain planets.
    tilt: float = 0.8
    """How much uplift grows along the planet."""
    vale: float = 2.5
    """Depth of the vale that gathers the main river, relative to the first relief; 0 is none."""
    vale_uplift: float = 0.16
    """Uplift in the middle of the vale."""
    uplift_patches: float = 0.4
    """Natural-log standard deviation of uplift between ranges and basins."""
    soft_rock: float = 0.35
    """Natural-log standard deviation of the rock's erodibility."""
    bedding: float = 0.0
    """Natural-log amplitude of erodibility between beds of layered rock; 0 is massive rock."""
    bedding_px: float = 60.0
    """Width of a bed, truth pixels."""
    joints: float = 0.0
    """Natural-log weakness of straight joints, which valleys follow; 0 is none."""
    structure_degrees: float = 0.0
    """Direction of beds and joints, clockwise from east."""
    roughness: float = 1.0
    """Small relief that erosion starts from, on each scale; 1 is average."""
    steepest_spread: float = 0.0
    """Natural-log standard deviation of the slope at which hillslopes fail; 0 makes steep slopes plane."""
    creep_px: float = 2.2
    """Reach of soil creep, which rounds ridges and valley heads, truth pixels."""
    floodplain: float = 0.0
    """Width of flat valley floors along the greatest river, kilometers; lesser ones by their size."""
    perennial_km2: float = 2.2
    """Discharge from which a channel never dries, square kilometers of average climate."""
    intermittent_km2: float = 0.45
    """Discharge from which a channel flows for a season; below it after rain only."""
    lakes: int = 0
    """Lakes in addition to the one that every planet has."""
    reservoirs: int = 0
    """Reservoirs behind straight dams."""
    km2_per_pond: float = 18.0
    """Land area per pond, square kilometers."""
    seasonal_ponds: float = 0.0
    """Fraction of the cover of seasonal ponds and lakes that dries out with the season."""
    swamps: int = 1
    """Number of swamps."""
    canals: int = 1
    """Number of canals."""
    canal_bends: int = 1
    """Bends of a canal."""
    braids: float = 0.0
    """Fraction of the length of large rivers that splits around islands."""
    widest_m: float = 60.0
    """Width of the greatest river, meters."""
    wash_shows: float = 1.0
    """How visible the beds of ephemeral channels are; 1 is average."""
    riparian: float = 1.0
    """How lush banks are; 1 is average, 0 is like their surroundings."""
    hollow_moisture: float = 0.16
    """How much moister the ends of long slopes are, with or without a channel."""
    aspect_moisture: float = 0.25
    """How much moister slopes away from the sun are."""
    forest_px: float = 120.0
    """Size of woods and clearings, truth pixels."""
    grain_px: float = 24.0
    """Size of the ground's brighter and darker patches, truth pixels."""
    soil_brightness: float = 1.0
    """Brightness of bare ground; 1 is average."""
    leaf_nir: float = 1.0
    """Brightness of leaves in the near infrared; 1 is average."""
    leaf_visible: float = 1.0
    """Brightness of leaves in the visible; 1 is average."""
    field_px: float = 700.0
    """Size of a field, truth pixels."""
    field_grid: float = 0.0
    """Fraction of the farmed land in rectangles; the rest is in irregular polygons."""
    field_contrast: float = 0.3
    """How much fields differ in growth, as a fraction of cover."""
    ploughed: float = 0.0
    """Fraction of fields that are bare on a date."""
    hedges: float = 0.55
    """Cover of hedges between fields: green lines that are not streams."""
    roads: float = 6.0
    """Roads on 0.3 x 0.2 degrees."""
    road_m: float = 7.0
    """Width of a road, meters."""
    towns: int = 0
    """Number of towns, made of blocks and straight streets."""
    turbidity_spread: float = 0.0
    """How much waters of one planet differ in suspended matter."""
    snow_line_m: float = 1000000.0
    """Height above which snow stays in summer and lakes freeze in winter, meters."""
    season_contrast: float = 1.0
    """How much the seasons differ in greenness; 1 is average."""
    season_offset: float = 0.0
    """Greenness added on all dates."""
    low_sun_degrees: float = 0.0
    """Degrees added to the sun's zenith angle of the place and date, as nearer the poles."""
    haze: float = 0.006
    """Largest reflectance that haze adds in the red."""
    haze_patches: float = 0.0
    """How much haze varies in space; 0 is even haze."""
    thin_cloud: float = 0.35
    """Area of thin cloud relative to thick cloud."""
    sensor_noise: float = 1.0
    """Noise of the scenes; 1 is average."""


@dataclass(frozen=True)
class ParameterRange:
    """Range that a parameter of wide planets is drawn from."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    scale: str = "linear"
    """linear; log, where equal ratios are equally likely; or whole, for whole numbers including both ends."""

    def draw(self, rng: np.random.Generator) -> float | int:
        """Return a value, uniform over the range on its scale."""
        if self.scale == "whole":
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.scale == "log":
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return float(rng.uniform(self.low, self.high))


WIDE_RANGES: Mapping[str, ParameterRange] = MappingProxyType(
    {
        "relief_m": ParameterRange(25.0, 1300.0, "log"),
        "concavity": ParameterRange(0.4, 0.55),
        "steepest": ParameterRange(0.45, 1.0),
        "head_area_km2": ParameterRange(0.015, 0.3, "log"),
        "head_spread": ParameterRange(0.3, 1.0),
        "wetness": ParameterRange(0.25, 3.0, "log"),
        "canopy": ParameterRange(0.0, 0.85),
        "canopy_height_m": ParameterRange(3.0, 30.0),
        "dem_noise_m": ParameterRange(0.3, 2.0, "log"),
        "texture": ParameterRange(0.3, 2.2, "log"),
        "farmed": ParameterRange(0.0, 0.95),
        "cloudiness": ParameterRange(0.4, 1.8, "log"),
        "season_shift": ParameterRange(-36, 96, "whole"),
        "turbidity": ParameterRange(0.0, 1.0),
        "tilt": ParameterRange(0.0, 1.4),
        "vale": ParameterRange(0.0, 3.0),
        "vale_uplift": ParameterRange(0.08, 1.2, "log"),
        "uplift_patches": ParameterRange(0.2, 1.1),
        "soft_rock": ParameterRange(0.15, 0.8),
        "bedding": ParameterRange(0.0, 1.3),
        "bedding_px": ParameterRange(20.0, 150.0, "log"),
        "joints": ParameterRange(0.0, 1.8),
        "structure_degrees": ParameterRange(0.0, 180.0),
        "roughness": ParameterRange(0.7, 3.0, "log"),
        "steepest_spread": ParameterRange(0.2, 0.55),
        "creep_px": ParameterRange(0.8, 4.0, "log"),
        "floodplain": ParameterRange(0.0, 1.6),
        "perennial_km2": ParameterRange(0.3, 12.0, "log"),
        "intermittent_km2": ParameterRange(0.04, 3.0, "log"),
        "lakes": ParameterRange(0, 9, "whole"),
        "reservoirs": ParameterRange(0, 6, "whole"),
        "km2_per_pond": ParameterRange(4.0, 90.0, "log"),
        "seasonal_ponds": ParameterRange(0.4, 1.0),
        "swamps": ParameterRange(0, 7, "whole"),
        "canals": ParameterRange(0, 9, "whole"),
        "canal_bends": ParameterRange(0, 5, "whole"),
        "braids": ParameterRange(0.0, 0.8),
        "widest_m": ParameterRange(25.0, 190.0, "log"),
        "wash_shows": ParameterRange(0.15, 1.3),
        "riparian": ParameterRange(0.0, 1.4),
        "hollow_moisture": ParameterRange(0.0, 0.35),
        "aspect_moisture": ParameterRange(0.0, 0.4),
        "forest_px": ParameterRange(30.0, 320.0, "log"),
        "grain_px": ParameterRange(8.0, 70.0, "log"),
        "soil_brightness": ParameterRange(0.6, 1.4, "log"),
        "leaf_nir": ParameterRange(0.75, 1.2),
        "leaf_visible": ParameterRange(0.75, 1.5, "log"),
        "field_px": ParameterRange(120.0, 5000.0, "log"),
        "field_grid": ParameterRange(0.0, 1.0),
        "field_contrast": ParameterRange(0.05, 0.6),
        "ploughed": ParameterRange(0.0, 0.6),
        "hedges": ParameterRange(0.0, 0.8),
        "roads": ParameterRange(3.0, 40.0, "log"),
        "road_m": ParameterRange(4.0, 24.0, "log"),
        "towns": ParameterRange(0, 10, "whole"),
        "turbidity_spread": ParameterRange(0.0, 0.5),
        "snow_line_m": ParameterRange(350.0, 4000.0, "log"),
        "season_contrast": ParameterRange(0.2, 1.15),
        "season_offset": ParameterRange(-0.25, 0.3),
        "low_sun_degrees": ParameterRange(0.0, 28.0),
        "haze": ParameterRange(0.002, 0.05, "log"),
        "haze_patches": ParameterRange(0.0, 0.9),
        "thin_cloud": ParameterRange(0.1, 1.1),
        "sensor_noise": ParameterRange(0.5, 2.2, "log"),
    }
)
"""Range of every parameter of a wide planet."""
PRESETS = ("plain", "wide")

_SOILS = (
    (0.290, 0.205, 0.150, 0.100),  # brown
    (0.330, 0.265, 0.200, 0.135),  # sandy
    (0.270, 0.200, 0.115, 0.070),  # lateritic red
    (0.215, 0.150, 0.120, 0.095),  # dark volcanic
    (0.310, 0.250, 0.215, 0.170),  # gray calcareous
)


def planet_parameters(seed: int, preset: str = "plain") -> PlanetParameters:
    """Draw the parameters of a seed's planet.

    Parameters
    ----------
    seed
        Which planet.
    preset
        One of `PRESETS`; the parameters of plain planets never change.

    Raises
    ------
    InputError
        There is no such preset.
    """
    if preset not in PRESETS:
        raise InputError(f"There is no preset {preset!r} of planets.", f"Use one of {', '.join(PRESETS)}.")
    plain = _plain(seed)
    if preset == "plain":
        return plain
    # Each parameter has its own stream: adding one leaves the others unchanged.
    drawn = {
        name: span.draw(np.random.default_rng([seed, 11, zlib.crc32(name.encode())]))
        for name, span in WIDE_RANGES.items()
    }
    rng = np.random.default_rng([seed, 12])
    soil, rock = (_mixed_soil(rng, float(drawn["soil_brightness"])) for _ in range(2))
    return replace(plain, soil=soil, rock=rock, **drawn)  # type: ignore[arg-type]


def _mixed_soil(rng: np.random.Generator, brightness: float) -> tuple[float, float, float, float]:
    """Mix the soils; one or two dominate."""
    n, r, g, b = brightness * rng.dirichlet(np.full(len(_SOILS), 0.5)) @ np.array(_SOILS)
    return float(n), float(r), float(g), float(b)


def _plain(seed: int) -> PlanetParameters:
    rng = np.random.default_rng([seed, 1])
    soils = rng.permutation(len(_SOILS))
    return PlanetParameters(
        relief_m=float(np.exp(rng.uniform(np.log(150), np.log(620)))),
        concavity=float(rng.uniform(0.42, 0.5)),
        steepest=float(rng.uniform(0.5, 0.75)),
        head_area_km2=float(np.exp(rng.uniform(np.log(0.03), np.log(0.1)))),
        head_spread=float(rng.uniform(0.45, 0.7)),
        wetness=float(np.exp(rng.uniform(np.log(0.5), np.log(1.8)))),
        canopy=float(rng.uniform(0.12, 0.6)),
        canopy_height_m=float(rng.uniform(7, 18)),
        dem_noise_m=float(rng.uniform(0.6, 1.3)),
        texture=float(rng.uniform(0.7, 1.3)),
        soil=_SOILS[soils[0]],
        rock=_SOILS[soils[1]],
        farmed=float(rng.uniform(0.2, 0.7)),
        cloudiness=float(rng.uniform(0.6, 1.4)),
        season_shift=int(rng.integers(-12, 13)),
        turbidity=float(rng.uniform(0.1, 0.9)),
    )
