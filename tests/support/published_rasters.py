"""Rasters in the form of WaterNet's published ones: files {x}_{y}.tif of zoom 6, or parts of them."""

import math

import numpy as np
from affine import Affine

from headwater import raster

SQUARE_DEGREES = 360 / 64
STEP = 1 / 5400
"""Degrees of a published pixel, 20.6 m."""


def square_bounds(x, y):
    """West, south, east, north of a square, written independently of the code under test."""
    edges = [math.degrees(2 * math.atan(math.exp(math.pi * (1 - row / 32))) - math.pi / 2) for row in (y, y + 1)]
    return (x * SQUARE_DEGREES - 180, edges[1], (x + 1) * SQUARE_DEGREES - 180, edges[0])


def square_at(longitude, latitude):
    """(x, y) of the square that a place is in."""
    mercator = math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
    return math.floor((longitude + 180) / SQUARE_DEGREES), math.floor((1 - mercator / math.pi) * 32)


def value_at(longitude, latitude):
    """uint8 that tells places apart: a hash of the published pixel, the same in every file."""
    column, row = np.floor(np.asarray(longitude) / STEP), np.floor(np.asarray(latitude) / STEP)
    return ((7 * column[None, :] + 13 * row[:, None]) % 251).astype(np.uint8)


def write_square(folder, name, bounds, *, values=None, step=STEP, dtype="uint8", **options):
    """Write a file that covers the bounds, snapped outward to whole steps; return its path."""
    west, south = (math.floor(edge / step + 1e-9) for edge in bounds[:2])
    east, north = (math.ceil(edge / step - 1e-9) for edge in bounds[2:])
    if values is None:
        longitude, latitude = (np.arange(west, east) + 0.5) * step, (np.arange(north, south, -1) - 0.5) * step
        values = value_at(longitude, latitude)[None]
    transform = Affine(step, 0, west * step, 0, -step, north * step)
    folder.mkdir(parents=True, exist_ok=True)
    raster.write_cog(folder / f"{name}.tif", values.astype(dtype), transform=transform, **options)
    return folder / f"{name}.tif"
