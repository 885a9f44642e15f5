"""What makes one planet unlike another: relief, climate, rocks, forest, noise and weather, drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Character:
    """Properties of one planet."""

    relief_m: float
    """Height of the mountains above the sea (99.5th percentile), metres."""
    concavity: float
    """Area exponent of the stream-power law."""
    steepest: float
    """Slope at which hillslopes fail, rise per run."""
    head_area_km2: float
    """Upstream area at which channels begin on rock of middling permeability."""
    head_spread: float
    """How much the rock changes that area, natural-log standard deviation."""
    wetness: float
    """Runoff relative to a temperate climate; 1 is middling."""
    canopy: float
    """Share of the land under closed forest."""
    canopy_height_m: float
    """Mean height of closed forest."""
    dem_noise_m: float
    """Standard deviation of the elevation model's noise."""
    texture: float
    """Strength of the soil and vegetation patterns that have nothing to do with water; 1 is middling."""
    soil: tuple[float, float, float, float]
    """Reflectance of bare dry soil in N, R, G, B."""
    rock: tuple[float, float, float, float]
    """Reflectance of the permeable rock's soil in N, R, G, B."""
    farmed: float
    """Share of gentle land in parcels."""
    cloudiness: float
    """Factor on the cloud cover of the scenes; 1 is middling."""
    season_shift: int
    """Days by which the acquisitions are moved."""
    turbidity: float
    """Suspended matter of the rivers, 0 (clear) to 1 (brown)."""


_SOILS = (
    (0.290, 0.205, 0.150, 0.100),  # brown
    (0.330, 0.265, 0.200, 0.135),  # sandy
    (0.270, 0.200, 0.115, 0.070),  # lateritic red
    (0.215, 0.150, 0.120, 0.095),  # dark volcanic
    (0.310, 0.250, 0.215, 0.170),  # grey calcareous
)


def character(seed: int) -> Character:
    """Draw the character of a seed's planet."""
    rng = np.random.default_rng([seed, 1])
    soils = rng.permutation(len(_SOILS))
    return Character(
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
