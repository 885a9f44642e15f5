"""Elevation like Copernicus GLO-30: a surface model at one arc second, in tiles of one degree.  Pure arrays.

Pixel centers are on the degree lines, so a tile extends half a pixel north and west of its degree and lacks its
southern and eastern lines, which belong to the neighbors.  Tiles without land do not exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from headwater.demo.lakes import LAKE
from headwater.demo.land_cover import LandCover
from headwater.demo.landscape import Landscape
from headwater.demo.planet_grid import TRUTH_PER_DEGREE, PlanetGrid
from headwater.demo.planet_parameters import PlanetParameters
from headwater.demo.rock_relief import fractal_noise

POSTS_PER_DEGREE = 3_600
"""Rows and, below 50 degrees of latitude, columns of a tile."""


@dataclass(frozen=True)
class DegreeTile:
    """One tile of the elevation model."""

    latitude: int
    """Southern edge, degrees."""
    longitude: int
    """Western edge, degrees."""
    elevation: NDArray[np.float32]
    """(3600, 3600) meters; 0 in the sea."""

    @property
    def name(self) -> str:
        """Name as on the Planetary Computer, e.g. Copernicus_DSM_COG_10_N08_00_E011_00_DEM."""
        ns, ew = "N" if self.latitude >= 0 else "S", "E" if self.longitude >= 0 else "W"
        return f"Copernicus_DSM_COG_10_{ns}{abs(self.latitude):02d}_00_{ew}{abs(self.longitude):03d}_00_DEM"

    @property
    def transform(self) -> Affine:
        """Map from (column, row) corners to degrees: the origin is half a pixel off the degree lines."""
        post = 1 / POSTS_PER_DEGREE
        return Affine(post, 0, self.longitude - post / 2, 0, -post, self.latitude + 1 + post / 2)


def degree_tiles(
    grid: PlanetGrid, parameters: PlanetParameters, land: Landscape, land_cover: LandCover
) -> list[DegreeTile]:
    """Return the planet's tiles that contain land, north to south and west to east."""
    model, first_row, first_column = surface_model(grid, parameters, land, land_cover)
    south, north = math.floor(grid.bounds[1]) - 1, math.floor(grid.bounds[3])
    west, east = math.floor(grid.bounds[0]) - 1, math.floor(grid.bounds[2])
    tiles = []
    for latitude in range(north, south - 1, -1):
        for longitude in range(west, east + 1):
            # Posts are counted from the north pole and from longitude 0.
            top = (90 - latitude - 1) * POSTS_PER_DEGREE - first_row
            left = longitude * POSTS_PER_DEGREE - first_column
            rows = slice(max(top, 0), min(top + POSTS_PER_DEGREE, model.shape[0]))
            columns = slice(max(left, 0), min(left + POSTS_PER_DEGREE, model.shape[1]))
            if rows.start >= rows.stop or columns.start >= columns.stop or not model[rows, columns].any():
                continue
            elevation = np.zeros((POSTS_PER_DEGREE, POSTS_PER_DEGREE), np.float32)
            elevation[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = model[
                rows, columns
            ]
            tiles.append(DegreeTile(latitude, longitude, elevation))
    return tiles


def surface_model(
    grid: PlanetGrid, parameters: PlanetParameters, land: Landscape, land_cover: LandCover
) -> tuple[NDArray[np.float32], int, int]:
    """Return the (y, x) surface model over the window at one arc second and the post number of its first row, column.

    Rows are counted southward from the north pole, columns eastward from longitude 0.
    """
    rng = np.random.default_rng([grid.seed, 10])
    truth = land.elevation.astype(np.float32)
    # Radar measures most of the canopy's height, with gaps.
    depth = 0.75 + 0.12 * fractal_noise(truth.shape, rng, wavelength_px=10, octaves=2)
    truth += land_cover.canopy * np.float32(parameters.canopy_height_m) * depth
    smooth = ndimage.gaussian_filter(truth, 1.1)
    w, s, e, n = grid.bounds
    first_row, first_column = math.ceil((90 - n) * POSTS_PER_DEGREE - 1e-6), math.ceil(w * POSTS_PER_DEGREE - 1e-6)
    last_row, last_column = math.floor((90 - s) * POSTS_PER_DEGREE), math.floor(e * POSTS_PER_DEGREE)
    latitude = 90 - np.arange(first_row, last_row + 1) / POSTS_PER_DEGREE
    longitude = np.arange(first_column, last_column + 1) / POSTS_PER_DEGREE
    rows = (n - latitude) * TRUTH_PER_DEGREE - 0.5
    columns = (longitude - w) * TRUTH_PER_DEGREE - 0.5
    at = np.meshgrid(rows, columns, indexing="ij")
    model = ndimage.map_coordinates(smooth, at, order=1, mode="nearest")
    model += parameters.dem_noise_m * (
        0.8 * fractal_noise(model.shape, rng, wavelength_px=6, octaves=3)
        + 0.6 * rng.standard_normal(model.shape, dtype=np.float32)
    )
    flat = _nearest(land.lake | (land.ponds > 0), rows, columns)
    bottom = _nearest(land.elevation, rows, columns).astype(np.float32)
    model = np.where(flat, np.round(bottom, 1), model)
    if land.lake.any():
        level = np.float32(round(float(land.elevation[land.lake].min()), 2))
        model = np.where(_nearest(land.lake, rows, columns), level, model)
    for number in np.flatnonzero(land.pond_kinds >= LAKE):
        rings = _nearest(land.ponds == number, rows, columns)
        if rings.any():
            model[rings] = np.float32(round(float(land.elevation[land.ponds == number].min()), 2))
    on_land = _nearest(land.land, rows, columns)
    return np.where(on_land, np.maximum(model, 0.1), 0).astype(np.float32), first_row, first_column


def _nearest(field: NDArray, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray:  # type: ignore[type-arg]
    """Return the nearest pixels; posts are regular, so rows and columns are looked up separately."""
    r = np.clip(np.round(rows).astype(int), 0, field.shape[0] - 1)
    c = np.clip(np.round(columns).astype(int), 0, field.shape[1] - 1)
    nearest: NDArray = field[np.ix_(r, c)]  # type: ignore[type-arg]
    return nearest
