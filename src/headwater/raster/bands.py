"""What the bands of our rasters hold, as their files tell other programs: name, meaning, color, unit, scale."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.core.sentinel2 import COMPOSITE_BANDS


@dataclass(frozen=True)
class Band:
    """A band of a raster."""

    name: str
    meaning: str = ""
    """Tag `long_name` of the band, which xarray shows."""
    color: str = "undefined"
    """Name of a rasterio.enums.ColorInterp."""
    unit: str = ""
    scale: float = 1.0
    """Value = pixel * scale. No reader of ours applies it: pixels are read as they are."""


_SIGMOID = "reflectance, sigmoid-scaled to 1 to 255; 0 where there is no clear view"
COMPOSITE = tuple(
    Band(name, meaning, color)
    for name, (meaning, color) in zip(
        COMPOSITE_BANDS,
        (
            (f"Near-infrared {_SIGMOID}", "nir"),
            (f"Red {_SIGMOID}", "red"),
            (f"Green {_SIGMOID}", "green"),
            (f"Blue {_SIGMOID}", "blue"),
            ("Clear views: scenes that the pixel was computed from", "undefined"),
        ),
        strict=True,
    )
)
"""Bands of composite.tif."""
ELEVATION = (Band("elevation_m", "Elevation above the geoid; sea is 0", "gray", "m"),)
"""The band of elevation.tif."""
PROBABILITY = (Band("probability", "Probability of water", "gray", "1", 1 / 255),)
"""The band of probability.tif; pixels hold probability * 255."""

_KNOWN = {band.name: band for band in (*COMPOSITE, *ELEVATION, *PROBABILITY)}


def known_band(name: str | None, dtype: str) -> Band | None:
    """Return what a band of this name holds, in files of any version; None if it is none of ours.

    Parameters
    ----------
    name : str, optional
        Description of the band.
    dtype : str
        Its data type: a probability that is no uint8 is not scaled as ours.
    """
    band = _KNOWN.get(name or "")
    return band if band is not None and dtype == ("float32" if band in ELEVATION else "uint8") else None
