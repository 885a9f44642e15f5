"""Reading windows of rasters and writing Cloud-Optimized GeoTIFFs: the only package that opens rasters.

`headwater.raster.resampled` is imported where it is used: it compiles, and most jobs have no need of the compiler.
"""

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
from headwater.raster.rows import rows_of, warped_rows_of
from headwater.raster.writing import cog_writer, write_cog

__all__ = [
    "cog_writer",
    "mosaic_vrt",
    "raster_facts",
    "raster_grid",
    "raster_tags",
    "read_cells",
    "read_overview",
    "read_pixels",
    "read_raster",
    "read_window",
    "rows_of",
    "warped_rows_of",
    "write_cog",
]
