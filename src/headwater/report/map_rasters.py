"""Rasters of a basin as map tiles: images in the grid of web maps, in PMTiles files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray
from PIL import Image

from headwater import raster
from headwater.core.files import atomic_path
from headwater.geo.grid import Bounds, RasterGrid
from headwater.report.figures import TINTS, height_range, hillshade, relief_colors
from headwater.waterways.network.pmtiles import TileFile, write_pmtiles

TILE_PX = 512
MAX_TILES = 128
"""Tiles of the deepest zoom at most: 34 million pixels, some 3 MB. Larger basins have larger pixels."""
MAX_LATITUDE = 85.05
"""Where the square map of the web ends."""
_QUALITY = 80
_SMALLEST_PX = 128
"""Zooms end where the image is as small as this."""
_SAMPLE_PX = 400
"""Longest side of the sample that the stretch of colors comes from."""

_SEA_ALPHA = 80
"""Of the sea: a tint of the page's ground, light or dark."""
PROBABILITY_COLORS = LinearSegmentedColormap.from_list("probability", ["#fde5c0", "#f5a73c", "#d95f0e", "#7f2704"])


@dataclass(frozen=True)
class Legend:
    """What the colors of a layer mean: colors from `low` to `high`."""

    low: float
    high: float
    unit: str
    colors: tuple[str, ...]


Reader = Callable[[RasterGrid], NDArray[np.uint8]]


@dataclass(frozen=True)
class TileBlock:
    """Tiles of one zoom over a box. Columns go beyond the last one where the box goes beyond 180 degrees."""

    zoom: int
    left: int
    top: int
    right: int
    bottom: int
    """Last column and row are not part of it."""

    @property
    def count(self) -> int:
        """How many tiles."""
        return (self.right - self.left) * (self.bottom - self.top)

    @classmethod
    def over(cls, bounds: Bounds, zoom: int) -> TileBlock:
        """Return the tiles that a box meets."""
        side = 2**zoom
        west, south, east, north = bounds
        left, right = ((x + 180) / 360 * side for x in (west, east))
        top, bottom = (_row(latitude) * side for latitude in (north, south))
        return cls(zoom, math.floor(left), max(math.floor(top), 0), math.ceil(right), min(math.ceil(bottom), side))


def tile_block(bounds: Bounds, dx: float) -> TileBlock:
    """Return the tiles whose pixels are closest to a pixel width in degrees; coarser ones beyond MAX_TILES."""
    zoom = max(round(math.log2(360 / TILE_PX / dx)), 0)
    while (block := TileBlock.over(bounds, zoom)).count > MAX_TILES and zoom:
        zoom -= 1
    return block


def pixel_degrees(paths: Sequence[Path]) -> float:
    """Return the width of the narrowest pixel of rasters, degrees."""
    return min(raster.raster_grid(path).dx for path in paths)


def write_raster_tiles(path: Path, block: TileBlock, read: Reader, *, bounds: Bounds, name: str) -> int:
    """Write tiles of a block and of the zooms before it, down to the one where the image is small.

    Parameters
    ----------
    path : Path
        PMTiles file to write.
    block : TileBlock
        Tiles of the deepest zoom.
    read : function
        Returns the (y, x, 4) colors of a grid in degrees, a strip of the map at a time.
    bounds : (west, south, east, north)
        Degrees.
    name : str
        Name of the layer.

    Returns
    -------
    int
        The first zoom.
    """
    with (
        atomic_path(path) as temporary,
        TemporaryDirectory(dir=path.parent, prefix=f"{temporary.stem}.") as folder,
    ):
        tiles: list[TileFile] = []
        coarser = []
        for row in range(block.top, block.bottom):
            strip = _strip(block, row, read)
            tiles += _save(strip, block.zoom, block.left, row, Path(folder))
            coarser.append(_halved(strip))
        # The next zoom begins at an even tile: half of a tile is free where this one begins at an odd one.
        image, left, top, zoom = np.concatenate(coarser), block.left, block.top, block.zoom
        half = TILE_PX // 2
        while zoom > 0 and max(image.shape[:2]) > _SMALLEST_PX:
            zoom -= 1
            before = (top % 2 * half, left % 2 * half)
            left, top = left // 2, top // 2
            after = (-(image.shape[0] + before[0]) % TILE_PX, -(image.shape[1] + before[1]) % TILE_PX)
            image = np.pad(image, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
            for row in range(image.shape[0] // TILE_PX):
                tiles += _save(image[row * TILE_PX : (row + 1) * TILE_PX], zoom, left, top + row, Path(folder))
            image = _halved(image)
        described = {"name": name, "minzoom": str(zoom), "maxzoom": str(block.zoom)}
        west, south, east, north = bounds
        box = (west, south, min(east, 180.0), north)
        write_pmtiles(tiles, temporary, bounds=box, metadata=described, kind="webp")
    return zoom


def composite_colors(paths: Sequence[Path], bounds: Bounds) -> tuple[Reader, Legend | None]:
    """Return how to read natural colors: one stretch for red, green and blue, so that hues stay."""
    sample = _sample_grid(bounds)
    values, valid = _bands(paths, sample, (2, 3, 4))
    seen = values[valid]
    low, high = np.percentile(seen, (1, 99.5)) if seen.size else (0.0, 255.0)
    # An image of one value is gray.
    low = min(float(low), float(high) - 8)
    scale = 1 / (float(high) - low)

    def read(grid: RasterGrid) -> NDArray[np.uint8]:
        colors, clear = _bands(paths, grid, (2, 3, 4))
        # Brighter in the middle: forests are not black.
        stretched = np.clip((colors - np.float32(low)) * np.float32(scale), 0, 1) ** np.float32(0.75) * 255
        return _with_alpha(stretched.astype(np.uint8), np.where(clear, 255, 0))

    return read, None


def clear_view_colors(paths: Sequence[Path], bounds: Bounds) -> tuple[Reader, Legend | None]:
    """Return how to read the count of clear views."""
    colors = matplotlib.colormaps["cividis"]
    most = max(int(_bands(paths, _sample_grid(bounds), (5,))[0].max(initial=0)), 1)

    def read(grid: RasterGrid) -> NDArray[np.uint8]:
        views, valid = _bands(paths, grid, (5,))
        return _colored(colors, views[..., 0] / most, valid)

    return read, Legend(0, most, "clear views", _ramp(colors))


def elevation_colors(paths: Sequence[Path], bounds: Bounds) -> tuple[Reader, Legend | None]:
    """Return how to read heights as tints with relief shading."""
    heights, known = _on(paths, _sample_grid(bounds))
    low, high = height_range(np.where(known, heights, np.nan).astype(np.float32))

    def read(grid: RasterGrid) -> NDArray[np.uint8]:
        heights, known = _on(paths, grid)
        colors = relief_colors(heights, _light(heights, known, grid), low, high)
        colors[..., 3] = np.where(known, np.where(heights == 0, _SEA_ALPHA, 255), 0)
        return colors

    return read, Legend(low, high, "m", _ramp(TINTS))


def hillshade_colors(paths: Sequence[Path], bounds: Bounds) -> tuple[Reader, Legend | None]:
    """Return how to read relief shading in gray."""

    def read(grid: RasterGrid) -> NDArray[np.uint8]:
        heights, known = _on(paths, grid)
        gray = (_light(heights, known, grid) * 250).astype(np.uint8)
        return _with_alpha(np.repeat(gray[..., np.newaxis], 3, axis=-1), known * 255)

    return read, None


def probability_colors(paths: Sequence[Path], bounds: Bounds) -> tuple[Reader, Legend | None]:
    """Return how to read the probability of water: clear where there is none, gray where it is unknown."""

    def read(grid: RasterGrid) -> NDArray[np.uint8]:
        values, valid = _bands(paths, grid, (1,))
        share = values[..., 0] / np.float32(255)
        colors = _colored(PROBABILITY_COLORS, share, valid)
        colors[..., 3] = np.where(valid, np.clip(share * 1.6, 0, 1) * 255, 0)
        return colors

    return read, Legend(0, 1, "probability of water", _ramp(PROBABILITY_COLORS))


def _row(latitude: float) -> float:
    """Return how far a latitude is from the upper edge of the square map, 0 to 1."""
    radians = math.radians(min(max(latitude, -MAX_LATITUDE), MAX_LATITUDE))
    return (1 - math.asinh(math.tan(radians)) / math.pi) / 2


def _latitudes(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * rows))))


def _strip(block: TileBlock, row: int, read: Reader) -> NDArray[np.uint8]:
    """Return the colors of a row of tiles: read in degrees, and each line of the map from the nearest of its lines."""
    side = 2**block.zoom
    dx = 360 / side / TILE_PX
    lines = _latitudes((row + (np.arange(TILE_PX) + 0.5) / TILE_PX) / side)
    north, south = _latitudes(np.array([row, row + 1]) / side)
    dy = dx * math.cos(math.radians((north + south) / 2))
    # Two more lines at each edge: relief shading looks at the next ones.
    height = math.ceil((north - south) / dy) + 4
    width = (block.right - block.left) * TILE_PX
    grid = RasterGrid(
        west=block.left / side * 360 - 180, north=north + 2 * dy, dx=dx, dy=dy, width=width, height=height
    )
    nearest = np.clip(((grid.north - lines) / dy).astype(int), 0, height - 1)
    strip: NDArray[np.uint8] = np.take(read(grid), nearest, axis=0)
    return strip


def _save(strip: NDArray[np.uint8], zoom: int, left: int, row: int, folder: Path) -> Iterator[TileFile]:
    """Write the tiles of a strip that show anything."""
    for number in range(strip.shape[1] // TILE_PX):
        part = strip[:, number * TILE_PX : (number + 1) * TILE_PX]
        if part[..., 3].any():
            column = (left + number) % 2**zoom
            path = folder / f"{zoom}-{column}-{row}.webp"
            Image.fromarray(part).save(path, quality=_QUALITY, method=0)
            yield TileFile(zoom, column, row, path)


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image of half the size; each pixel is the mean of what four pixels show."""
    corners = [image[row::2, column::2].astype(np.uint32) for row in (0, 1) for column in (0, 1)]
    alpha = [corner[..., 3:] for corner in corners]
    shown = sum(alpha, start=np.zeros_like(alpha[0]))
    colors = sum((corner[..., :3] * weight for corner, weight in zip(corners, alpha, strict=True)), start=0 * shown)
    return np.concatenate([colors // np.maximum(shown, 1), shown // 4], axis=-1).astype(np.uint8)


def _on(paths: Sequence[Path], grid: RasterGrid) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return heights: interpolated, since relief shading shows the edges of pixels."""
    if not _is_on(paths, grid):
        return np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool)
    return raster.read_cells(paths, grid)


def _is_on(paths: Sequence[Path], grid: RasterGrid) -> bool:
    return any(grid.window_of(raster.raster_grid(path)) for path in paths)


def _bands(
    paths: Sequence[Path], grid: RasterGrid, bands: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the (y, x, band) values of the nearest pixels, which are about as large, or those of an overview are."""
    if not _is_on(paths, grid):
        return np.zeros((*grid.shape, len(bands)), np.float32), np.zeros(grid.shape, bool)
    values, valid = raster.sample_cells(paths, grid, bands=bands)
    return np.moveaxis(values, 0, -1).astype(np.float32), valid


def _light(heights: NDArray[Any], known: NDArray[np.bool_], grid: RasterGrid) -> NDArray[np.float32]:
    return np.nan_to_num(hillshade(np.where(known, heights, np.nan).astype(np.float32), grid), nan=np.sin(np.pi / 4))


def _colored(colors: Any, share: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    made: NDArray[np.uint8] = colors(np.clip(share, 0, 1), bytes=True)
    made[~valid] = (0, 0, 0, 0)
    return made


def _with_alpha(colors: NDArray[np.uint8], alpha: NDArray[Any]) -> NDArray[np.uint8]:
    return np.concatenate([colors, alpha.astype(np.uint8)[..., np.newaxis]], axis=-1)


def _ramp(colors: Any) -> tuple[str, ...]:
    return tuple(matplotlib.colors.to_hex(colors(step / 6)) for step in range(7))


def _sample_grid(bounds: Bounds) -> RasterGrid:
    west, south, east, north = bounds
    step = max(east - west, north - south) / _SAMPLE_PX
    width, height = max(1, round((east - west) / step)), max(1, round((north - south) / step))
    return RasterGrid(
        west=west, north=north, dx=(east - west) / width, dy=(north - south) / height, width=width, height=height
    )
