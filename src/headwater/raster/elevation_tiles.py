"""Reading elevation tiles: the window around a grid on the tile's own lattice, with one opening of the tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import rasterio.warp
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely import Polygon

from headwater.core.errors import InputError
from headwater.geo import grid as grids
from headwater.geo.grid import Bounds, RasterGrid
from headwater.geo.longitudes import shift_toward
from headwater.raster.opening import crs_of, with_retry
from headwater.raster.sources import public_name
from headwater.stac.items import Asset, Signer

MAX_ABS_ELEVATION_M = 9_000.0
"""No land is higher, or deeper below sea level: a larger number is not an elevation in meters."""
MARGIN_POSTS = 4
"""Posts read beyond a grid on each side: bicubic interpolation needs two, and a seam needs both of its sides."""
_MIN_POST_SPACING = 0.49
"""Tiles with posts closer than this fraction of a pixel are averaged by GDAL; others keep their lattice (the columns of
GLO-30 halve at 80 N)."""
_INTEGER_VOID = -32_768
"""Void value of SRTM in integer models, whether or not the file's nodata tag has it."""
_MAX_DISTANCE_DEGREES = 0.5
"""A tile farther than this from the cell that its item intersects has a wrong CRS or transform."""
_EDGE_POINTS = 33


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
        The tile: one band, meters.
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
        It is not a raster of elevation in meters, or not where its item specifies.
    """
    read = partial(_read, asset=asset, grid=grid, cell=cell, crs=crs, resampling=resampling)
    return with_retry(asset, signer, read)


def _read(
    dataset: DatasetReader, *, asset: Asset, grid: RasterGrid, cell: Bounds, crs: str | None, resampling: str
) -> ElevationTile | None:
    _check_kind(dataset, asset)
    source_crs = crs_of(dataset, crs, asset)
    transform = dataset.transform
    if source_crs.to_epsg() == 4326 and not transform.b and not transform.d and transform.e < 0:
        own = RasterGrid(transform.c, transform.f, transform.a, -transform.e, dataset.width, dataset.height)
        own = own.shifted(_turn(own.bounds, grid.bounds))
        _check_place(own.bounds, cell, source_crs, asset)
        if min(own.dx / grid.dx, own.dy / grid.dy) > _MIN_POST_SPACING:
            return _read_native(dataset, asset, own, grid)
    return _read_warped(dataset, asset, grid, cell, source_crs, resampling)


def _read_native(dataset: DatasetReader, asset: Asset, own: RasterGrid, grid: RasterGrid) -> ElevationTile | None:
    west, south, east, north = grid.bounds
    margin_x, margin_y = MARGIN_POSTS * own.dx, MARGIN_POSTS * own.dy
    around = (west - margin_x, south - margin_y, east + margin_x, north + margin_y)
    if not _intersect(own.bounds, around):
        return None
    part = own.window(around)
    row, column = round((own.north - part.north) / own.dy), round((part.west - own.west) / own.dx)
    window = Window(column, row, part.width, part.height)
    values, valid = _checked(dataset.read(1, window=window), dataset.read_masks(1, window=window) > 0, asset)
    return ElevationTile(part, values, valid, np.ones(valid.shape, bool))


def _read_warped(
    dataset: DatasetReader, asset: Asset, grid: RasterGrid, cell: Bounds, source_crs: CRS, resampling: str
) -> ElevationTile | None:
    footprint = _footprint(dataset, source_crs)
    turn = _turn(footprint.bounds, grid.bounds)
    west, south, east, north = footprint.bounds
    _check_place((west + turn, south, east + turn, north), cell, source_crs, asset)
    turned = grid.shifted(-turn)
    covered = rasterize([(footprint, 1)], turned.shape, transform=turned.transform, dtype=np.uint8) > 0
    if not covered.any():
        return None
    integer = np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer)
    missing = dataset.nodata if dataset.nodata is not None else _INTEGER_VOID if integer else float("nan")
    options: dict[str, Any] = {
        "src_crs": source_crs,
        "crs": grids.CRS,
        "transform": turned.transform,
        "width": turned.width,
        "height": turned.height,
        "resampling": Resampling[resampling],
        "src_nodata": missing,
        "nodata": float("nan"),
        # Integer models are interpolated in floats.
        "dtype": "float32",
        "tolerance": 0.01,
    }
    with WarpedVRT(dataset, **options) as warped:
        values, valid = _checked(warped.read(1), np.ones(turned.shape, bool), asset)
    return ElevationTile(grid, values, valid, covered | valid)


def _checked(
    raw: NDArray[Any], valid: NDArray[np.bool_], asset: Asset
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return meters, 0 where missing, and where they are valid; raise InputError if they cannot be meters."""
    valid = valid & (raw != _INTEGER_VOID if np.issubdtype(raw.dtype, np.integer) else np.isfinite(raw))
    values = np.where(valid, raw, 0).astype(np.float32)
    highest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
    if highest > MAX_ABS_ELEVATION_M:
        worst = float(values.flat[int(np.argmax(np.abs(values)))])
        raise InputError(
            f"{public_name(asset)} holds {worst:g}, which is not an elevation in meters.",
            "Write the value of its voids into the file's nodata tag, or give the model in meters.",
        )
    return values, valid


def _check_kind(dataset: DatasetReader, asset: Asset) -> None:
    if dataset.count != 1:
        raise InputError(
            f"{public_name(asset)} has {dataset.count} bands; an elevation model has one.",
            "Give a raster of elevation only.",
        )
    if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.number) or dataset.dtypes[0].startswith("complex"):
        raise InputError(f"{public_name(asset)} holds {dataset.dtypes[0]}, not meters.", "Give elevation as float32.")


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


def _footprint(dataset: DatasetReader, crs: CRS) -> Polygon:
    """Return the outline of a raster in EPSG:4326, with edges curved as in the projection."""
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    right, down = along * dataset.width, along * dataset.height
    columns = np.concatenate([right, np.full(_EDGE_POINTS, dataset.width), right[::-1], np.zeros(_EDGE_POINTS)])
    rows = np.concatenate([np.zeros(_EDGE_POINTS), down, np.full(_EDGE_POINTS, dataset.height), down[::-1]])
    x, y = dataset.transform @ (columns, rows)
    longitude, latitude = (np.array(values) for values in rasterio.warp.transform(crs, grids.CRS, x, y))
    if not np.isfinite(longitude).all() or not np.isfinite(latitude).all():
        raise InputError(
            f"A raster in {crs.to_string()} cannot be placed on the earth.", "Correct the CRS of the elevation model."
        )
    # A tile across the antimeridian has longitudes on both sides of it.
    longitude = longitude + shift_toward(longitude, longitude[0])
    return Polygon(np.column_stack([longitude, latitude]))
