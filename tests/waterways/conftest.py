"""Small made-up landscapes: fractal terrain, true streams by D8, an ideal probability with gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from headwater.geo.grid import RasterGrid
from headwater.waterways.backbone.dem import dem_backbone, flow
from headwater.waterways.backbone.tdx import Backbone

DX = 1 / 5400


@dataclass(frozen=True)
class Landscape:
    grid: RasterGrid
    elevation: NDArray[np.float32]
    probability: NDArray[np.float32]
    backbone: Backbone
    truth: gpd.GeoSeries
    """True streams, one line for each step between cells."""


def make_landscape(
    seed: int, *, size: int = 160, backbone_km2: float = 1.0, stream_km2: float = 0.08, dropped: float = 0.15
) -> Landscape:
    random = np.random.default_rng(seed)
    grid = RasterGrid(west=11.0, north=8.0, dx=DX, dy=DX, width=size, height=size)
    elevation = _fractal(random, size)
    inside = np.ones(grid.shape, bool)
    water = flow(elevation, inside, grid)
    area = water.upstream_area_km2.reshape(grid.shape)
    backbone = dem_backbone(elevation, inside, grid, min_area_km2=backbone_km2)
    stream = area >= stream_km2
    downstream = water.downstream_index
    cells = np.flatnonzero(stream.ravel() & (downstream != np.arange(downstream.size)))
    truth = shapely.linestrings(np.stack([_centers(cells, grid), _centers(downstream[cells], grid)], axis=1))
    # Gaps of some ten pixels.
    hidden = ndimage.uniform_filter(random.random(grid.shape), 9)
    seen = stream & (hidden > np.quantile(hidden[stream], dropped))
    probability = np.where(seen, 0.95, 0.02) + 0.5 * ndimage.gaussian_filter(seen.astype(float), 1.0)
    probability = np.clip(probability + random.normal(0, 0.02, grid.shape), 0, 1)
    noisy = elevation + random.normal(0, 0.3, grid.shape)
    return Landscape(
        grid,
        noisy.astype(np.float32),
        np.round(probability * 255).astype(np.float32) / 255,
        backbone,
        gpd.GeoSeries(truth, crs="EPSG:4326"),
    )


@pytest.fixture(scope="session")
def landscape() -> Callable[..., Landscape]:
    return make_landscape


def _fractal(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Spectral synthesis with a tilt, so that there is one way out."""
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    wave[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) / wave**1.9).real
    noise = (noise - noise.mean()) / noise.std()
    rows = np.linspace(1, 0, size)[:, None]
    return (80 * noise + 400 * rows + 500).astype(np.float32)


def _centers(cells: NDArray[np.int64], grid: RasterGrid) -> NDArray[np.float64]:
    rows, columns = np.divmod(cells, grid.width)
    return np.column_stack([grid.west + (columns + 0.5) * grid.dx, grid.north - (rows + 0.5) * grid.dy])
