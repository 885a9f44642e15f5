"""Reading the posts of an elevation tile: the window around a grid on the tile's own lattice, the tile opened once."""

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
from headwater.raster.opening import crs_of, public_name, with_retry
from headwater.stac.items import Asset, Signer

HIGHEST_M = 9_000.0
"""No land lies higher, and none deeper under the sea level: such a number is no elevation in metres."""
POSTS_AROUND = 4
"""Posts read beyond a grid on each side: bicubic interpolation takes two, and a seam is seen from both sides."""
_FINEST = 0.49
"""Posts closer than this share of a pixel are averaged by GDAL; others keep their lattice (GLO-30 halves at 80 N)."""
_INTEGER_VOID = -32_768
"""SRTM's mark of a void in integer models, told by the file or not."""
_ASTRAY_DEGREES = 0.5
"""A tile that should touch a cell and lies farther away than this has a wrong CRS or transform."""
_RING_POINTS = 33


@dataclass(frozen=True)
class Posts:
    """A window of an elevation tile."""

    grid: RasterGrid
    """On the tile's own lattice, turned to the longitudes of the cell; or the cell's, where the tile was warped."""
    values: NDArray[np.float32]
    """(y, x) metres; 0 where missing."""
    valid: NDArray[np.bool_]
    """(y, x) True where the tile has a value."""
    covered: NDArray[np.bool_]
    """(y, x) True inside the tile, with a value or without."""


def read_posts(
    asset: Asset,
    grid: RasterGrid,
    *,
    cell: Bounds,
    signer: Signer,
    crs: str | None = None,
    resampling: str = "bilinear",
) -> Posts | None:
    """Read what an elevation tile holds around a grid.

    A tile in EPSG:4326 comes as it is, on its own lattice: the caller joins tiles before interpolating, so that
    there is no edge between them. Any other is warped onto the grid.

    Parameters
    ----------
    asset : Asset
        The tile: one band, metres.
    grid : RasterGrid
        What is wanted, EPSG:4326; may reach beyond longitude 180 or -180.
    cell : (west, south, east, north)
        The cell that the tile's item touches: the tile must lie near it.
    signer : Signer
        Gives the address to open.
    crs : str, optional
        CRS to take where the file has none.
    resampling : str
        Of tiles that are warped: bilinear or cubic.

    Returns
    -------
    Posts or None
        None where the tile does not reach the grid.

    Raises
    ------
    WorkError
        The file cannot be read after several tries.
    InputError
        It is no raster of elevation in metres, or lies elsewhere than its item tells.
    """
    read = partial(_read, asset=asset, grid=grid, cell=cell, crs=crs, resampling=resampling)
    return with_retry(asset, signer, read)


def _read(
    dataset: DatasetReader, *, asset: Asset, grid: RasterGrid, cell: Bounds, crs: str | None, resampling: str
) -> Posts | None:
    _check_kind(dataset, asset)
    source_crs = crs_of(dataset, crs, asset)
    transform = dataset.transform
    if source_crs.to_epsg() == 4326 and not transform.b and not transform.d and transform.e < 0:
        own = RasterGrid(transform.c, transform.f, transform.a, -transform.e, dataset.width, dataset.height)
        own = own.shifted(_turn(own.bounds, grid.bounds))
        _check_place(own.bounds, cell, source_crs, asset)
        if min(own.dx / grid.dx, own.dy / grid.dy) > _FINEST:
            return _read_native(dataset, asset, own, grid)
    return _read_warped(dataset, asset, grid, cell, source_crs, resampling)


def _read_native(dataset: DatasetReader, asset: Asset, own: RasterGrid, grid: RasterGrid) -> Posts | None:
    west, south, east, north = grid.bounds
    wide, high = POSTS_AROUND * own.dx, POSTS_AROUND * own.dy
    wanted = (west - wide, south - high, east + wide, north + high)
    if not _meet(own.bounds, wanted):
        return None
    part = own.window(wanted)
    row, column = round((own.north - part.north) / own.dy), round((part.west - own.west) / own.dx)
    window = Window(column, row, part.width, part.height)
    values, valid = _cleaned(dataset.read(1, window=window), dataset.read_masks(1, window=window) > 0, asset)
    return Posts(part, values, valid, np.ones(valid.shape, bool))


def _read_warped(
    dataset: DatasetReader, asset: Asset, grid: RasterGrid, cell: Bounds, source_crs: CRS, resampling: str
) -> Posts | None:
    ring = _footprint(dataset, source_crs)
    turn = _turn(ring.bounds, grid.bounds)
    west, south, east, north = ring.bounds
    _check_place((west + turn, south, east + turn, north), cell, source_crs, asset)
    turned = grid.shifted(-turn)
    covered = rasterize([(ring, 1)], turned.shape, transform=turned.transform, dtype=np.uint8) > 0
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
        values, valid = _cleaned(warped.read(1), np.ones(turned.shape, bool), asset)
    return Posts(grid, values, valid, covered | valid)


def _cleaned(
    raw: NDArray[Any], valid: NDArray[np.bool_], asset: Asset
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return metres with 0 where nothing is known, and where something is."""
    valid = valid & (raw != _INTEGER_VOID if np.issubdtype(raw.dtype, np.integer) else np.isfinite(raw))
    values = np.where(valid, raw, 0).astype(np.float32)
    highest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
    if highest > HIGHEST_M:
        worst = float(values.flat[int(np.argmax(np.abs(values)))])
        raise InputError(
            f"{public_name(asset)} holds {worst:g}, which is no elevation in metres.",
            "Write the value of its voids into the file's nodata tag, or give the model in metres.",
        )
    return values, valid


def _check_kind(dataset: DatasetReader, asset: Asset) -> None:
    if dataset.count != 1:
        raise InputError(
            f"{public_name(asset)} has {dataset.count} bands; an elevation model has one.",
            "Give a raster of elevation alone.",
        )
    if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.number) or dataset.dtypes[0].startswith("complex"):
        raise InputError(f"{public_name(asset)} holds {dataset.dtypes[0]}, not metres.", "Give elevation as float32.")


def _check_place(bounds: Bounds, cell: Bounds, crs: CRS, asset: Asset) -> None:
    west, south, east, north = cell
    near = (west - _ASTRAY_DEGREES, south - _ASTRAY_DEGREES, east + _ASTRAY_DEGREES, north + _ASTRAY_DEGREES)
    if not _meet(bounds, near):
        where = ", ".join(f"{edge:.2f}" for edge in bounds)
        raise InputError(
            f"{public_name(asset)} lies at {where} (west, south, east, north) by its CRS {crs.to_string()}, "
            "far from the cell that its item touches.",
            "Correct the CRS or the transform of the file, or proj:code of its item.",
        )


def _meet(one: Bounds, other: Bounds) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _turn(bounds: Bounds, grid_bounds: Bounds) -> float:
    """Return by how many degrees, in whole turns, a tile is moved to lie nearest to a grid."""
    return float(shift_toward((bounds[0] + bounds[2]) / 2, (grid_bounds[0] + grid_bounds[2]) / 2))


def _footprint(dataset: DatasetReader, crs: CRS) -> Polygon:
    """Return the outline of a raster in EPSG:4326, its edges bent as the projection bends them."""
    along = np.linspace(0.0, 1.0, _RING_POINTS)
    right, down = along * dataset.width, along * dataset.height
    columns = np.concatenate([right, np.full(_RING_POINTS, dataset.width), right[::-1], np.zeros(_RING_POINTS)])
    rows = np.concatenate([np.zeros(_RING_POINTS), down, np.full(_RING_POINTS, dataset.height), down[::-1]])
    x, y = dataset.transform @ (columns, rows)
    longitude, latitude = (np.array(values) for values in rasterio.warp.transform(crs, grids.CRS, x, y))
    if not np.isfinite(longitude).all() or not np.isfinite(latitude).all():
        raise InputError(
            f"A raster in {crs.to_string()} cannot be placed on the earth.", "Correct the CRS of the elevation model."
        )
    # A tile across the antimeridian has longitudes on both sides of it.
    longitude = longitude + shift_toward(longitude, longitude[0])
    return Polygon(np.column_stack([longitude, latitude]))
