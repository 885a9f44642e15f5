"""Networks of found water on small landscapes, made without files."""

import geopandas as gpd
import numpy as np
import xarray as xr

from headwater.raster.arrays import ArrayRaster
from headwater.waterways.blocks import Rasters, part_vectors, parts_of
from headwater.waterways.network_step import checked_network
from headwater.waterways.segments import SEGMENT_COLUMNS
from headwater.waterways.settings import VectorizeSettings

AREA = "area-0123456789"


def network_of(elevation, probability, backbone, grid, *, block_px=4096):
    """Return the network of the found water, and what its making found."""
    layers = [ArrayRaster(xr.DataArray(values, dims=("y", "x")), grid) for values in (probability, elevation)]
    rasters = Rasters((layers[0],), (layers[1],), grid)
    parts = parts_of(backbone.reaches, backbone.catchments, grid, block_px=block_px)
    tables = [part_vectors(rasters, VectorizeSettings(), part).segments for part in parts]
    segments = gpd.GeoDataFrame(gpd.pd.concat([t for t in tables if len(t)], ignore_index=True), crs="EPSG:4326")
    assert set(segments.columns) == set(SEGMENT_COLUMNS)
    return checked_network(segments, backbone.reaches, basin_id=AREA)


def coast(landscape, seed, sea_rows):
    scene = landscape(seed, size=80, backbone_km2=0.3, stream_km2=0.04)
    elevation, probability = scene.elevation.copy(), scene.probability.copy()
    if sea_rows:
        elevation[-sea_rows:], probability[-sea_rows:] = 0, 0.95
    return elevation, probability, scene.grid


def pixel(points, grid):
    points = np.asarray(points).reshape(-1, 2)
    return np.floor((grid.north - points[:, 1]) / grid.dy).astype(int), np.floor(
        (points[:, 0] - grid.west) / grid.dx
    ).astype(int)
