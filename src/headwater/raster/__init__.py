"""Reading windows of rasters and writing Cloud-Optimized GeoTIFFs: the only package that opens rasters.

Import `headwater.raster.resampled` where it is used: it loads the numba compiler, which most jobs do not need.
"""

from __future__ import annotations

from headwater.raster.bands import COMPOSITE, ELEVATION, PROBABILITY, Band
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
    sample_cells,
    terms_of_rasters,
)
from headwater.raster.row_reading import row_reader, warped_row_reader
from headwater.raster.writing import cog_writer, write_cog

__all__ = [
    "COMPOSITE",
    "ELEVATION",
    "PROBABILITY",
    "Band",
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
    "row_reader",
    "sample_cells",
    "terms_of_rasters",
    "warped_row_reader",
    "write_cog",
]
