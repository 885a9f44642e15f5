"""Reading windows of rasters and writing Cloud-Optimized GeoTIFFs: the only package that opens rasters."""

from __future__ import annotations

from headwater.raster.mosaic import mosaic_vrt
from headwater.raster.reading import (
    raster_facts,
    raster_grid,
    raster_tags,
    read_cells,
    read_overview,
    read_pixels,
    read_raster,
    read_window,
)
from headwater.raster.writing import write_cog

__all__ = [
    "mosaic_vrt",
    "raster_facts",
    "raster_grid",
    "raster_tags",
    "read_cells",
    "read_overview",
    "read_pixels",
    "read_raster",
    "read_window",
    "write_cog",
]
