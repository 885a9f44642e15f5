"""Scenes read with rasterio: each block is decoded once, and warped with GDAL from memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from rasterio.warp import reproject
from rasterio.warp import transform as transform_points
from rasterio.windows import Window

from headwater.core.errors import InputError
from headwater.core.sentinel2 import REFLECTANCE_BANDS, SCL
from headwater.geo import grid as grids
from headwater.geo.grid import RasterGrid
from headwater.geo.longitudes import shift_toward, wrap_longitude
from headwater.raster.opening import (
    READ_ERRORS,
    ask_remote,
    check_window,
    crs_of,
    gdal_options,
    open_once,
    unreadable,
    with_retry,
)
from headwater.raster.remote_files import FileChanged, RemoteFile, check_unchanged
from headwater.raster.scenes import SceneFiles, check_band, read_numbers, resampling_of
from headwater.raster.sources import public_name
from headwater.stac.items import Asset, Signer

_T = TypeVar("_T")

# rasterio checks the georeferencing of an array before it sets it, and warns that there is none.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

TOLERANCE_PX = 0.01
"""Maximum error of GDAL's approximate transformer, in pixels; cells must agree along their edges."""
_MISSING = 0
_EDGE_POINTS = 33
"""Points on each edge of a window when it is projected into another CRS."""
_PAD_PX = 8
"""Source pixels around a window: two for the interpolation, the rest for edges that curve between the points."""
_WARP_MEMORY_MB = 256
"""GDAL splits a warp that needs more; the parts of a cell need less."""


class RasterioScene:
    """The files of one scene, kept open.

    Parameters
    ----------
    files : SceneFiles
        Its files.
    signer : Signer
        Returns the addresses to open.
    threads : int
        Bands read at the same time.
    """

    def __init__(self, files: SceneFiles, signer: Signer, *, threads: int) -> None:
        self._files = files
        self._open = {name: _OpenAsset(asset, signer) for name, asset in files.assets.items()}
        self._pool = ThreadPoolExecutor(threads)

    def overlap(self, grid: RasterGrid) -> RasterGrid | None:
        """Return the part of a grid that the scene's files may cover, None if they do not."""
        name = next(name for name in (SCL, *REFLECTANCE_BANDS) if name in self._open)
        return self._open[name].read(
            partial(overlap_of, grid=grid, asset=self._files.assets[name], crs=self._files.crs)
        )

    def read(self, names: Sequence[str], grid: RasterGrid) -> NDArray[np.uint16]:
        """Read bands onto a grid, see `headwater.raster.scenes.SceneReader`."""
        out = np.zeros((len(names), *grid.shape), np.uint16)
        list(self._pool.map(partial(self._read_band, grid=grid), names, out))
        return out

    def check_unchanged(self) -> None:
        """Check that each open file is the one that was opened; see `headwater.raster.scenes.SceneReader`."""
        list(self._pool.map(_OpenAsset.check_unchanged, self._open.values()))

    def close(self) -> None:
        """Close all files."""
        self._pool.shutdown()
        for asset in self._open.values():
            asset.close()

    def _read_band(self, name: str, out: NDArray[np.uint16], *, grid: RasterGrid) -> None:
        read = partial(
            _read_onto, grid=grid, out=out, name=name, scene=self._files.id, asset=self._files.assets[name],
            crs=self._files.crs,
        )  # fmt: skip
        self._open[name].read(read)


class _OpenAsset:
    """One asset that stays open between reads: its header is fetched once, and no block is decoded twice in a row.

    To be used by one thread at a time. A failed read is repeated by `with_retry`, which signs again and bypasses GDAL's
    cache; the next read opens the asset again. A token that was renewed in the meantime also closes the old address.
    """

    def __init__(self, asset: Asset, signer: Signer) -> None:
        self._asset = asset
        self._signer = signer
        self._address = ""
        self._file: RemoteFile | None = None
        self._dataset: DatasetReader | None = None

    def read(self, read: Callable[[DatasetReader], _T]) -> _T:
        """Read from the open raster; raise WorkError if it cannot be read after several attempts."""
        try:
            # The options belong to the thread that reads, which may not be the one that opened the raster.
            self._ask()
            with rasterio.Env(**gdal_options(self._asset, self._file)):
                return read(self._opened())
        except READ_ERRORS:
            self.close()
        return with_retry(self._asset, self._signer, read)

    def close(self) -> None:
        """Close the raster if it is open."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = self._file = None

    def check_unchanged(self) -> None:
        """Check that the file is the one that was opened.

        Raises
        ------
        AssetCorrupt
            It is another one: what was read may be of both.
        """
        if self._file is None:
            return
        try:
            check_unchanged(self._file)
        except FileChanged as error:
            self.close()
            raise unreadable(self._asset, error, 1, corrupt=True) from None

    def _ask(self) -> None:
        """Sign the asset, and ask its server where it is unless it is open."""
        address = self._signer(self._asset)
        if self._dataset is None or address != self._address:
            self.close()
            self._file = ask_remote(self._asset, address, self._signer)
            self._address = address

    def _opened(self) -> DatasetReader:
        assert self._file is not None
        if self._dataset is None:
            self._dataset = open_once(self._asset, self._file.address)
        return self._dataset


def overlap_of(dataset: DatasetReader, *, grid: RasterGrid, asset: Asset, crs: str | None) -> RasterGrid | None:
    """Return the part of a grid in EPSG:4326 that a raster may cover, None if it does not.

    Longitudes are wrapped to those of the grid, which may extend beyond 180.

    Raises
    ------
    InputError
        An edge of the raster is at no place on Earth.
    """
    columns, rows = _edge(dataset.width, dataset.height)
    xs, ys = dataset.transform @ (columns, rows)
    lons, lats = transform_points(crs_of(dataset, crs, asset), grids.CRS, xs, ys)
    west, south, east, north = grid.bounds
    middle = (west + east) / 2
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        raise InputError(
            f"{public_name(asset)} reaches beyond where its coordinate reference system is defined: it has"
            f" {dataset.width} x {dataset.height} pixels.",
            "Ask its provider for the right size and transform of the file.",
        )
    turned = wrap_longitude(np.asarray(lons), center=middle)
    found = (float(turned.min()), float(np.min(lats)), float(turned.max()), float(np.max(lats)))
    # Edges curve between the points; one more pixel on each side is empty at worst.
    found = (found[0] - grid.dx, found[1] - grid.dy, found[2] + grid.dx, found[3] + grid.dy)
    if found[0] >= east or found[2] <= west or found[1] >= north or found[3] <= south:
        return None
    return grid.window(found)


def _read_onto(
    dataset: DatasetReader,
    *,
    grid: RasterGrid,
    out: NDArray[np.uint16],
    name: str,
    scene: str,
    asset: Asset,
    crs: str | None,
) -> None:
    check_band(dataset, name, scene)
    source_crs = crs_of(dataset, crs, asset)
    if source_crs.is_geographic:
        # Longitudes may be 0 to 360.
        (west, _, east, _), own = grid.bounds, dataset.bounds
        grid = grid.shifted(float(shift_toward((west + east) / 2, (own.left + own.right) / 2)))
    window = _source_window(dataset, grid, source_crs)
    out[:] = _MISSING
    if window is None:
        return
    check_window(window.width, window.height, asset)
    values = read_numbers(dataset, name, window=window)
    # GDAL warps more than twice as fast without a nodata value, with identical results; most windows have no gap.
    gaps: dict[str, Any] = {"src_nodata": _MISSING, "dst_nodata": _MISSING} if values.min() == _MISSING else {}
    target = out if values.dtype == np.uint16 else np.zeros(grid.shape, values.dtype)
    reproject(
        values,
        target,
        src_transform=dataset.window_transform(window),
        src_crs=source_crs,
        dst_transform=grid.transform,
        dst_crs=grids.CRS,
        resampling=Resampling[resampling_of(name)],
        tolerance=TOLERANCE_PX,
        num_threads=1,
        warp_mem_limit=_WARP_MEMORY_MB,
        **gaps,
    )
    if target is not out:
        out[:] = target


def _source_window(dataset: DatasetReader, grid: RasterGrid, crs: Any) -> Window | None:
    """Return the pixels of a raster that a grid needs, None if they are outside."""
    columns, rows = _edge(grid.width, grid.height)
    lons, lats = grid.west + columns * grid.dx, grid.north - rows * grid.dy
    xs, ys = transform_points(grids.CRS, crs, lons, lats)
    source_columns, source_rows = ~dataset.transform @ (np.asarray(xs), np.asarray(ys))
    if not (np.isfinite(source_columns).all() and np.isfinite(source_rows).all()):
        return None
    left, right = max(0, int(source_columns.min()) - _PAD_PX), min(dataset.width, int(source_columns.max()) + _PAD_PX)
    top, bottom = max(0, int(source_rows.min()) - _PAD_PX), min(dataset.height, int(source_rows.max()) + _PAD_PX)
    return None if left >= right or top >= bottom else Window(left, top, right - left, bottom - top)


def _edge(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points around the border of a raster in (columns, rows)."""
    across, down = np.linspace(0, width, _EDGE_POINTS), np.linspace(0, height, _EDGE_POINTS)
    left, top = np.zeros(_EDGE_POINTS), np.zeros(_EDGE_POINTS)
    columns = np.concatenate([across, across, left, left + width])
    rows = np.concatenate([top, top + height, down, down])
    return columns, rows
