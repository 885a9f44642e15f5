"""Sentinel-2 bands, SCL classes that count as clear, composite bands and channels; each is defined only here."""

from __future__ import annotations

NIR, RED, GREEN, BLUE = "B08", "B04", "B03", "B02"
REFLECTANCE_BANDS = (NIR, RED, GREEN, BLUE)
"""Sentinel-2 bands of the composite, in its order: N, R, G, B."""
SCL = "SCL"
"""Scene classification layer."""

CLEAR_SCL = (2, 4, 5, 6, 7, 11)
"""Classes taken as a clear view: dark area, vegetation, bare soil, water, unclassified, snow.

Source: docs/explanation/method.md, Imagery.
"""

LAND_SCL = (4, 5)
"""Vegetation and bare soil: clear classes whose reflectance is hardly ever zero."""
MAX_SCL = 11

MAX_DN = 32_767
"""Largest digital number of reflectance; larger ones are fills, or numbers below zero that wrapped around."""
OFFSET_DN = 1000
"""Added to reflectance from processing baseline 04.00 on."""

COMPOSITE_NODATA = 0
COMPOSITE_BANDS = ("N", "R", "G", "B", "clear_views")
"""Bands of composite.tif."""

CHANNELS = ("N", "R", "G", "B", "NDVI", "NDWI", "elevation", "dE/dx", "dE/dy", "gradient")
"""The ten channels in the paper's order."""
