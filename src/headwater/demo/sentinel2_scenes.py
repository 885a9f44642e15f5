"""Sentinel-2-like scenes: reflectance of the land cover under season, sun and sky.  Pure arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from headwater.demo.acquisitions import BOA_OFFSET, Acquisition
from headwater.demo.clouds import TileSky
from headwater.demo.land_cover import LandCover
from headwater.demo.planet_parameters import PlanetParameters
from headwater.demo.resampling import GridPositions, resample
from headwater.demo.rock_relief import fractal_noise

# Reflectance in N, R, G, B.
_GRASS_GREEN = (0.360, 0.055, 0.080, 0.042)
_GRASS_DRY = (0.270, 0.175, 0.135, 0.085)
_LUSH = (0.400, 0.040, 0.070, 0.032)
_CANOPY = (0.270, 0.026, 0.043, 0.024)
_SAND = (0.390, 0.330, 0.275, 0.205)
_ROAD = (0.240, 0.215, 0.200, 0.180)
_SNOW = (0.720, 0.830, 0.850, 0.870)
_ICE = (0.420, 0.560, 0.600, 0.630)
_TILES = (0.270, 0.215, 0.150, 0.125)
_METAL = (0.285, 0.275, 0.270, 0.265)
_CLEAR_WATER = (0.018, 0.026, 0.042, 0.048)
_BROWN_WATER = (0.055, 0.105, 0.095, 0.062)
_SWAMP = (0.170, 0.045, 0.060, 0.038)
_DEEP_SEA = (0.010, 0.015, 0.028, 0.042)
_SHALLOW_SEA = (0.016, 0.055, 0.090, 0.098)
_CLOUD = (0.66, 0.62, 0.62, 0.64)

Field = NDArray[np.float32]


@dataclass(frozen=True)
class TileLandCover:
    """Land cover on a tile's 10 m grid: (field, y, x) float32 in the field order of `LandCover`."""

    stack: Field

    def __getitem__(self, name: str) -> Field:
        """Return one field, (y, x)."""
        field: Field = self.stack[_NAMES[name]]
        return field


_NAMES = {field.name: k for k, field in enumerate(fields(LandCover))}


def over_tile(land_cover: LandCover, at: GridPositions) -> TileLandCover:
    """Resample land cover to a tile's grid; beyond the window is sea."""
    stack = np.empty((len(_NAMES), *at.shape), np.float32)
    for name, k in _NAMES.items():
        stack[k] = resample(getattr(land_cover, name), at, fill=1.0 if name == "sea" else 0.0)
    return TileLandCover(stack)


def surface_reflectance(
    ground: TileLandCover, parameters: PlanetParameters, date: Acquisition, rng: np.random.Generator
) -> Field:
    """Return the (band, y, x) reflectance N, R, G, B without clouds."""
    season = date.season
    cover = ground["moisture"] * (0.35 + 0.75 * season) + parameters.field_contrast * ground["parcel"] * (
        0.4 + 0.6 * season
    )
    cover += 0.05 * ground["texture"]
    if parameters.ploughed:  # which fields are bare changes from date to date
        rotation = (7.31 * ground["parcel"] + 0.37 * date.number) % 1
        cover -= cover * np.float32(0.9) * ((rotation < parameters.ploughed) & (ground["parcel"] != 0))
    np.clip(cover, 0.02, 0.95, out=cover)
    freshness = np.clip(season * 0.85 + 0.35 * (ground["moisture"] - 0.4), 0.03, 1)
    banks = ground["green"] * (0.45 + 0.35 * ground["moisture"]) * (1 - 0.6 * ground["canopy"])
    banks = np.minimum(banks * np.float32(parameters.riparian), 1)
    ripples = fractal_noise(cover.shape, rng, wavelength_px=60, octaves=3)
    flow = np.float32(max(0.0, season - 0.3) / 0.7)  # fraction of the intermittent beds that carries water
    bright = 1 + 0.09 * ground["texture"]
    light = _illumination(ground, date)
    turbidity: float | Field = parameters.turbidity
    if parameters.turbidity_spread:
        turbidity = np.clip(ground["murk"] + np.float32(parameters.turbidity), 0, 1)
    snow, ice = snow_and_ice(ground, parameters, date)
    dark_roof = np.clip(0.5 + 0.5 * ground["parcel"], 0, 1)
    out = np.empty((4, *cover.shape), np.float32)
    for band in range(4):
        rock = ground["rock"] * ground["rock"]
        layer = (parameters.soil[band] * (1 - rock) + parameters.rock[band] * rock) * bright
        leaf = parameters.leaf_nir if band == 0 else parameters.leaf_visible
        grass = _GRASS_DRY[band] + (_GRASS_GREEN[band] - _GRASS_DRY[band]) * freshness
        layer += (grass * leaf - layer) * cover
        layer += (_CANOPY[band] * leaf * (0.9 + 0.1 * season) * (1 + 0.05 * ground["texture"]) - layer) * ground[
            "canopy"
        ]
        layer += (_LUSH[band] * leaf - layer) * banks
        layer += (_SAND[band] - layer) * ground["wash"] * (1 - 0.8 * ground["canopy"]) * 0.7
        layer += (_ROAD[band] - layer) * ground["bare"]
        if parameters.towns:
            roof = (_TILES[band] * (1 - dark_roof) + _METAL[band] * dark_roof) * (1 + 0.45 * ground["parcel"])
            layer += (roof - layer) * ground["built"]
        river = _CLEAR_WATER[band] + (_BROWN_WATER[band] - _CLEAR_WATER[band]) * turbidity * (0.4 + 0.6 * season)
        layer += (_SAND[band] * (1 - flow) + river * flow - layer) * ground["bed"] * (1 - 0.6 * ground["canopy"])
        layer += (_SWAMP[band] * (1.25 - 0.35 * season) - layer) * ground["swamp"] * 0.75
        if snow is not None:
            layer += (_SNOW[band] - layer) * snow * (1 - 0.7 * ground["canopy"])
        layer *= light
        layer += (river - layer) * ground["water"]
        if ice is not None:
            layer += (_ICE[band] - layer) * ice * ground["water"]
        sea = _DEEP_SEA[band] + (_SHALLOW_SEA[band] - _DEEP_SEA[band]) * ground["shallow"] * 0.7
        layer += (sea * (1 + 0.04 * ripples) - layer) * ground["sea"]
        out[band] = layer
    return out


def snow_and_ice(
    ground: TileLandCover, parameters: PlanetParameters, date: Acquisition
) -> tuple[Field, Field] | tuple[None, None]:
    """Return the (y, x) fractions of ground under snow and of water under ice; None if there is neither.

    The dry season is the winter half-year: the snow line descends, and standing water freezes well above it.
    """
    line = parameters.snow_line_m * (0.55 + 0.45 * date.season)
    above = ground["height"] - np.float32(line)
    if not bool((above > -200).any()):
        return None, None
    slope = np.hypot(ground["slope_east"], ground["slope_north"])
    edge = 60 * np.clip(ground["texture"], -2, 2) - 150 * np.clip(slope - 0.5, 0, 1)
    snow: Field = np.clip((above + edge) / 120, 0, 1).astype(np.float32)
    ice: Field = np.clip((above - 150) / 80, 0, 1).astype(np.float32) * np.float32(date.season < 0.5)
    return snow, ice


def snow_fraction(ground: TileLandCover, parameters: PlanetParameters, date: Acquisition) -> Field | None:
    """Return the (y, x) fraction of snow and ice, None if there is neither."""
    snow, ice = snow_and_ice(ground, parameters, date)
    if snow is None or ice is None:
        return None
    return (snow * (1 - ground["water"]) + ice * ground["water"]) * (1 - ground["sea"])


def _illumination(ground: TileLandCover, date: Acquisition) -> Field:
    """Brightness of slopes under the sun relative to flat ground, with diffuse light in the shade."""
    zenith, azimuth = np.radians(date.sun_zenith), np.radians(date.sun_azimuth)
    east, north = ground["slope_east"], ground["slope_north"]
    toward = np.cos(zenith) - np.sin(zenith) * (east * np.sin(azimuth) + north * np.cos(azimuth))
    incidence = np.maximum(toward, 0) / np.sqrt(1 + east * east + north * north)
    light: Field = (0.28 + 0.72 * incidence / np.cos(zenith)).astype(np.float32)
    return np.minimum(light, 1.8)


def add_sky_and_noise(clear: Field, sky: TileSky, parameters: PlanetParameters, rng: np.random.Generator) -> Field:
    """Add shadow, thin and thick cloud, haze and the sensor's noise to clear reflectance (band, y, x), in place."""
    haze: np.float32 | Field = np.float32(rng.uniform(0, parameters.haze))
    if parameters.haze_patches:
        patches = parameters.haze_patches * fractal_noise(sky.cloud.shape, rng, wavelength_px=350, octaves=3)
        haze = haze * np.clip(1 + patches, 0, 3).astype(np.float32)
    dim = 1 - 0.58 * sky.shadow
    billows = 0.85 + 0.15 * np.clip(sky.cloud, 0, 1)
    for band in range(4):
        layer = clear[band]
        layer *= dim
        layer += (0.55 - layer) * sky.cirrus
        layer += (_CLOUD[band] * billows - layer) * sky.cloud
        layer += haze * (0.6, 1.0, 1.3, 1.8)[band]
        noise = rng.standard_normal(layer.shape, dtype=np.float32)
        layer += noise * ((0.0016 + 0.018 * layer) * np.float32(parameters.sensor_noise))
    return clear


def digital_numbers(reflectance: Field, valid: NDArray[np.bool_], baseline: str) -> NDArray[np.uint16]:
    """Return (band, y, x) DN: reflectance times 10,000, plus 1000 from baseline 04.00 on; 0 where not `valid`."""
    offset = BOA_OFFSET if baseline >= "04.00" else 0
    dn: NDArray[np.uint16] = np.clip(np.rint(reflectance * 10_000) + offset, 1, 65_535).astype(np.uint16)
    dn[:, ~valid] = 0
    return dn


def swath_mask(shape: tuple[int, int], date: Acquisition) -> NDArray[np.bool_]:
    """Return the (y, x) mask of imaged pixels: all, or all west of a slanted edge."""
    if not date.swath_edge:
        return np.ones(shape, np.bool_)
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    seen: NDArray[np.bool_] = x + 0.21 * y < 0.72 * shape[1]
    return seen
