"""Writing Cloud-Optimized GeoTIFFs atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.windows import Window

from headwater.core.errors import DiskError
from headwater.core.files import atomic_path
from headwater.core.seals import SEALED_TAG, seal_raster
from headwater.geo import grid as grids
from headwater.geo.grid import RasterGrid
from headwater.raster.bands import Band
from headwater.raster.opening import READ_ERRORS

_COG_BLOCK_PX = 512
WRITING_CACHE = 64 * 2**20
"""Size of GDAL's block cache in bytes while a raster is written by strips of rows."""


def write_cog(
    path: Path,
    data: NDArray[Any],
    *,
    transform: Affine,
    crs: str = grids.CRS,
    nodata: float | None = None,
    mask: NDArray[np.bool_] | None = None,
    tags: Mapping[str, str] | None = None,
    bands: Sequence[Band] | None = None,
    overview_resampling: str = "average",
) -> None:
    """Write a Cloud-Optimized GeoTIFF atomically, with the same bytes for the same input.

    Parameters
    ----------
    path : Path
        File to write.
    data : (band, y, x) array
        Pixels.
    transform : Affine
        From pixels to `crs`.
    crs : str
        Coordinate reference system.
    nodata : float, optional
        Value of missing pixels.
    mask : (y, x) bool, optional
        True where pixels are valid; written as an internal mask.
    tags : mapping, optional
        Dataset tags.
    bands : sequence of Band, optional
        What each band holds.
    overview_resampling : str
        nearest for classes, average for continuous values.

    Raises
    ------
    WorkError
        The file cannot be written: a full disk, for instance.
    """
    data = np.asarray(data)
    count, height, width = data.shape
    profile = _profile(count, height, width, data.dtype.name, crs=crs, transform=transform, nodata=nodata)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        _clear_errors(path),
        atomic_path(path) as temporary,
        MemoryFile() as memory,
    ):
        with memory.open(**profile) as dataset:
            dataset.write(data)
            if mask is not None:
                dataset.write_mask(mask)
            _describe(dataset, tags, bands)
        with memory.open() as dataset:
            rasterio.shutil.copy(dataset, str(temporary), driver="COG", **_cog_options(overview_resampling))
        seal_raster(temporary)


@contextmanager
def cog_writer(
    path: Path,
    *,
    grid: RasterGrid,
    dtype: str,
    tags: Mapping[str, str] | None = None,
    bands: Sequence[Band] | None = None,
    overview_resampling: str = "average",
) -> Iterator[Callable[[int, NDArray[Any], NDArray[np.bool_]], None]]:
    """Write a Cloud-Optimized GeoTIFF with a mask by strips of rows, atomically.

    The strips go to a temporary tiled GeoTIFF, which is converted when the block ends without an error: the memory
    needed is one strip and `WRITING_CACHE` bytes, independent of the raster's size. The bytes are those of `write_cog`.

    Parameters
    ----------
    path : Path
        File to write.
    grid : RasterGrid
        Its grid.
    dtype : str
        Data type of its pixels.
    tags, bands, overview_resampling
        See `write_cog`.

    Yields
    ------
    callable
        Takes the first row, pixels (band, y, x) over the full width, and the mask (y, x) bool, True where valid. To be
        called by one thread; rows that are not written are masked.
    """
    count = len(bands) if bands else 1
    profile = _profile(count, grid.height, grid.width, dtype, crs=grids.CRS, transform=grid.transform, nodata=None)
    tiled = {"tiled": True, "blockxsize": _COG_BLOCK_PX, "blockysize": _COG_BLOCK_PX}
    environment = {"GDAL_TIFF_INTERNAL_MASK": True, "GDAL_CACHEMAX": WRITING_CACHE}
    with atomic_path(path) as temporary:
        # Its name begins with the temporary name, so it is removed together with it.
        strips = temporary.with_name(f"{temporary.name}.bands.tif")
        with rasterio.Env(**environment):
            dataset = rasterio.open(strips, "w", **profile, **tiled)
            try:
                _describe(dataset, tags, bands)

                def write(row: int, data: NDArray[Any], mask: NDArray[np.bool_]) -> None:
                    window = Window(0, row, grid.width, mask.shape[0])
                    # The options belong to the thread that writes.
                    with rasterio.Env(**environment):
                        dataset.write(data, window=window)
                        dataset.write_mask(mask, window=window)

                yield write
            finally:
                dataset.close()
            with _clear_errors(path), rasterio.open(strips) as complete:
                rasterio.shutil.copy(complete, str(temporary), driver="COG", **_cog_options(overview_resampling))
        strips.unlink()
        seal_raster(temporary)


def _profile(
    count: int, height: int, width: int, dtype: str, *, crs: str, transform: Affine, nodata: float | None
) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": dtype,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
        "BIGTIFF": "IF_SAFER",
    }


def _cog_options(overview_resampling: str) -> dict[str, str]:
    return {
        "BLOCKSIZE": str(_COG_BLOCK_PX),
        "COMPRESS": "DEFLATE",
        # 3 % larger than level 6 on a composite, in half the time.
        "LEVEL": "1",
        "PREDICTOR": "YES",
        "OVERVIEW_RESAMPLING": overview_resampling.upper(),
        "NUM_THREADS": "1",
        "BIGTIFF": "IF_SAFER",
    }


def _describe(dataset: DatasetWriter, tags: Mapping[str, str] | None, bands: Sequence[Band] | None) -> None:
    dataset.update_tags(**(tags or {}), **{SEALED_TAG: "YES"})
    if not bands:
        return
    dataset.descriptions = [band.name for band in bands]
    # Nothing that is the default is written.
    if any(band.color != "undefined" for band in bands):
        dataset.colorinterp = [ColorInterp[band.color] for band in bands]
    if any(band.scale != 1 for band in bands):
        dataset.scales = [band.scale for band in bands]
    if any(band.unit for band in bands):
        dataset.units = [band.unit for band in bands]
    for number, band in enumerate(bands, start=1):
        if band.meaning:
            dataset.update_tags(number, long_name=band.meaning)


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Replace GDAL's errors on writing by a `DiskError`."""
    try:
        yield
    except READ_ERRORS as error:
        raise DiskError(
            f"{path} could not be written: {error}.", "Check the free space and the permissions, then run again."
        ) from None
