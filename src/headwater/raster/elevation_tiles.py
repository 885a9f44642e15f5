"""Reading elevation tiles: the window around a grid on the tile's own lattice, with one opening of the tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import rasterio.warp
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely import Polygon

from headwater.core.errors import InputError
from headwater.geo import grid as grids
from headwater.geo.grid import Bounds, RasterGrid
from headwater.geo.longitudes import FULL_CIRCLE, shift_toward
from headwater.raster.elevation_values import ElevationBand, elevation_band, read_meters
from headwater.raster.opening import check_window, crs_of, with_retry
from headwater.raster.sources import public_name
from headwater.stac.items import Asset, Signer

MARGIN_POSTS = 4
"""Posts read beyond a grid on each side: bicubic interpolation needs two, and a seam needs both of its sides."""
_MIN_POST_SPACING = 0.49
"""Tiles with posts closer than this fraction of a pixel are averaged by GDAL; others keep their lattice (the columns of
GLO-30 halve at 80 N)."""
_MAX_DISTANCE_DEGREES = 0.5
"""A tile farther than this from the cell that its item intersects has a wrong CRS or transform."""
_EDGE_POINTS = 33
_TOLERANCE_PX = 0.01
"""Maximum error of GDAL's approximate transformer, in pixels; cells must agree along their edges."""
_PAD_PX = 8
_MAX_STRIP_PX = 2**24
"""Pixels of a finer raster that are in memory at the same time."""


@dataclass(frozen=True)
class ElevationTile:
    """A window of an elevation tile."""

    grid: RasterGrid
    """On the tile's own lattice, wrapped to the longitudes of the cell; or the cell's, if the tile was warped."""
    values: NDArray[np.float32]
    """(y, x) meters; 0 where missing."""
    valid: NDArray[np.bool_]
    """(y, x) True where the tile has a value."""
    covered: NDArray[np.bool_]
    """(y, x) True inside the tile, with or without a value."""


def read_elevation_tile(
    asset: Asset,
    grid: RasterGrid,
    *,
    cell: Bounds,
    signer: Signer,
    crs: str | None = None,
    resampling: str = "bilinear",
) -> ElevationTile | None:
    """Read the part of an elevation tile around a grid.

    A tile in EPSG:4326 is returned unchanged, on its own lattice: `headwater.terrain.surface` joins tiles before
    interpolating, so that there is no edge between them. Any other is warped onto the grid.

    Parameters
    ----------
    asset : Asset
        The tile: a raster of elevation, see `headwater.raster.elevation_values`.
    grid : RasterGrid
        Grid in EPSG:4326; may extend beyond longitude 180 or -180.
    cell : (west, south, east, north)
        The cell that the tile's item intersects: the tile must be near it.
    signer : Signer
        Returns the address to open.
    crs : str, optional
        CRS to use if the file has none.
    resampling : str
        For tiles that are warped: bilinear or cubic.

    Returns
    -------
    ElevationTile or None
        None if the tile does not overlap the grid.

    Raises
    ------
    WorkError
        The file cannot be read after several attempts.
    InputError
        It is not a raster of elevation, or not where its item specifies.
    """
    read = partial(_read, asset=asset, grid=grid, cell=cell, crs=crs, resampling=resampling)
    return with_retry(asset, signer, read)


def _read(
    dataset: DatasetReader, *, asset: Asset, grid: RasterGrid, cell: Bounds, crs: str | None, resampling: str
) -> ElevationTile | None:
    band = elevation_band(dataset, asset)
    source_crs = crs_of(dataset, crs, asset)
    transform = dataset.transform
    if source_crs.to_epsg() == 4326 and not transform.b and not transform.d and transform.e < 0:
        own = RasterGrid(transform.c, transform.f, transform.a, -transform.e, dataset.width, dataset.height)
        own = own.shifted(_turn(own.bounds, grid.bounds))
        _check_place(own.bounds, cell, source_crs, asset)
        if min(own.dx / grid.dx, own.dy / grid.dy) > _MIN_POST_SPACING:
            return _read_native(dataset, band, asset, own, grid)
    footprint = raster_footprint(dataset, source_crs)
    turn = _turn(footprint.bounds, grid.bounds)
    west, south, east, north = footprint.bounds
    _check_place((west + turn, south, east + turn, north), cell, source_crs, asset)
    turned = grid.shifted(-turn)
    covered = rasterize([(footprint, 1)], turned.shape, transform=turned.transform, dtype=np.uint8) > 0
    if not covered.any():
        return None
    values, valid = _read_warped(dataset, band, asset, turned, source_crs, resampling)
    return ElevationTile(grid, values, valid, covered | valid)


def _read_native(
    dataset: DatasetReader, band: ElevationBand, asset: Asset, own: RasterGrid, grid: RasterGrid
) -> ElevationTile | None:
    west, south, east, north = grid.bounds
    margin_x, margin_y = MARGIN_POSTS * own.dx, MARGIN_POSTS * own.dy
    around = (west - margin_x, south - margin_y, east + margin_x, north + margin_y)
    if not _intersect(own.bounds, around):
        return None
    part = own.window(around)
    row, column = round((own.north - part.north) / own.dy), round((part.west - own.west) / own.dx)
    window = Window(column, row, part.width, part.height)
    values, valid = read_meters(dataset, band, asset, window=window)
    return ElevationTile(part, values, valid, np.ones(valid.shape, bool))


def _read_warped(
    dataset: DatasetReader, band: ElevationBand, asset: Asset, grid: RasterGrid, crs: CRS, resampling: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return meters on a grid, 0 where missing, and where they are valid; missing posts are not interpolated with."""
    values = np.full(grid.shape, np.nan, np.float32)
    scale = _warp_scale(dataset, grid, crs)
    for part, window in _strips(dataset, asset, grid, crs):
        meters, valid = read_meters(dataset, band, asset, window=window)
        meters[~valid] = np.nan
        row = round((grid.north - part.north) / grid.dy)
        rasterio.warp.reproject(
            meters,
            values[row : row + part.height],
            src_transform=dataset.window_transform(window),
            src_crs=crs,
            src_nodata=float("nan"),
            dst_transform=part.transform,
            dst_crs=grids.CRS,
            dst_nodata=float("nan"),
            resampling=Resampling[resampling],
            tolerance=_TOLERANCE_PX,
            num_threads=1,
            **scale,
        )
    known = np.isfinite(values)
    return np.where(known, values, np.float32(0)), known


def _strips(dataset: DatasetReader, asset: Asset, grid: RasterGrid, crs: CRS) -> Iterator[tuple[RasterGrid, Window]]:
    """Yield strips of a grid's rows and the pixels of a raster that each needs, few enough to be in memory."""
    complete = _source_window(dataset, grid, crs)
    if complete is None:
        return
    count = min(grid.height, -(-int(complete.width * complete.height) // _MAX_STRIP_PX))
    edges = [grid.height * number // count for number in range(count + 1)]
    for top, bottom in pairwise(edges):
        part = grid.crop(row=top, column=0, height=bottom - top, width=grid.width)
        window = _source_window(dataset, part, crs)
        if window is not None:
            check_window(2 * window.width, window.height, asset)  # twice as wide numbers as those of scenes
            yield part, window


def _warp_scale(dataset: DatasetReader, grid: RasterGrid, crs: CRS) -> dict[str, float]:
    """Return GDAL's options for how many pixels of a grid one of a raster is, 1 at most.

    GDAL would estimate it for each strip, and interpolate each a little differently.
    """
    lon, lat = grid.west + grid.width / 2 * grid.dx, grid.north - grid.height / 2 * grid.dy
    xs, ys = (
        np.asarray(found)
        for found in rasterio.warp.transform(grids.CRS, crs, [lon, lon + grid.dx, lon], [lat, lat, lat - grid.dy])
    )
    columns, rows = ~dataset.transform @ (xs, ys)
    along = {"XSCALE": abs(columns[1] - columns[0]), "YSCALE": abs(rows[2] - rows[0])}
    return {name: 1 / max(1.0, float(pixels)) for name, pixels in along.items() if np.isfinite(pixels)}


def _source_window(dataset: DatasetReader, grid: RasterGrid, crs: CRS) -> Window | None:
    """Return the pixels of a raster that interpolation onto a grid may read, None if there are none."""
    columns, rows = _outline(grid.width, grid.height)
    lons, lats = grid.west + columns * grid.dx, grid.north - rows * grid.dy
    xs, ys = (np.asarray(values) for values in rasterio.warp.transform(grids.CRS, crs, lons, lats))
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        return Window(0, 0, dataset.width, dataset.height)  # beyond the projection: its edges say nothing
    across, down = ~dataset.transform @ (xs, ys)
    # A coarser grid interpolates over as many pixels as lie between two of its own.
    pads = [
        _PAD_PX + 3 * int(np.ceil(np.ptp(along) / length))
        for along, length in ((across, grid.width), (down, grid.height))
    ]
    left, right = max(0, int(across.min()) - pads[0]), min(dataset.width, int(across.max()) + pads[0])
    top, bottom = max(0, int(down.min()) - pads[1]), min(dataset.height, int(down.max()) + pads[1])
    return None if left >= right or top >= bottom else Window(left, top, right - left, bottom - top)


def _check_place(bounds: Bounds, cell: Bounds, crs: CRS, asset: Asset) -> None:
    west, south, east, north = cell
    far = _MAX_DISTANCE_DEGREES
    if not _intersect(bounds, (west - far, south - far, east + far, north + far)):
        edges = ", ".join(f"{edge:.2f}" for edge in bounds)
        raise InputError(
            f"{public_name(asset)} is at {edges} (west, south, east, north) by its CRS {crs.to_string()}, "
            "far from the cell that its item intersects.",
            "Correct the CRS or the transform of the file, or proj:code of its item.",
        )


def _intersect(one: Bounds, other: Bounds) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _turn(bounds: Bounds, grid_bounds: Bounds) -> float:
    """Return the multiple of 360 degrees that moves a tile nearest to a grid."""
    return float(shift_toward((bounds[0] + bounds[2]) / 2, (grid_bounds[0] + grid_bounds[2]) / 2))


def raster_footprint(dataset: DatasetReader, crs: CRS) -> Polygon:
    """Return the outline of a raster in EPSG:4326, with edges curved as in the projection.

    It is in one piece: across the antimeridian its longitudes are beyond 180 or -180.

    Raises
    ------
    InputError
        It is not on the earth.
    """
    x, y = dataset.transform @ _outline(dataset.width, dataset.height)
    longitude, latitude = (np.array(values) for values in rasterio.warp.transform(crs, grids.CRS, x, y))
    on_earth = np.isfinite(longitude).all() and np.isfinite(latitude).all()
    # A grid of the world reaches half a pixel beyond a pole.
    if not on_earth or np.abs(latitude).max() > 91 or np.abs(longitude).max() > 541:
        raise InputError(
            f"{public_name(dataset.name)} cannot be placed on the earth by its CRS {crs.to_string()}.",
            "Correct its CRS or its transform.",
        )
    # Across the antimeridian they jump.
    longitude = longitude - FULL_CIRCLE * np.cumsum(np.rint(np.diff(longitude, prepend=longitude[0]) / FULL_CIRCLE))
    if abs(longitude[-1] - longitude[0]) > 180:
        # Once around the world: a pole is inside.
        south, north = (float(latitude.min()), 90.0) if latitude.mean() > 0 else (-90.0, float(latitude.max()))
        return shapely.box(-180.0, south, 180.0, north)
    return Polygon(np.column_stack([longitude, latitude]))


def _outline(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points around a raster or grid in (columns, rows), in one ring."""
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    right, down = along * width, along * height
    columns = np.concatenate([right, np.full(_EDGE_POINTS, width), right[::-1], np.zeros(_EDGE_POINTS)])
    rows = np.concatenate([np.zeros(_EDGE_POINTS), down, np.full(_EDGE_POINTS, height), down[::-1]])
    return columns, rows
