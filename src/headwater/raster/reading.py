"""Reading windows, overviews and complete rasters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from headwater.core.errors import InputError
from headwater.core.terms import Terms
from headwater.geo import grid as grids
from headwater.geo.grid import RasterGrid
from headwater.raster.opening import crs_of, grid_of, with_retry
from headwater.raster.sources import Source, is_remote, public_name
from headwater.raster.truncation import check_blocks, check_suspicion
from headwater.stac.items import Signer


def read_window(
    source: Source,
    grid: RasterGrid,
    *,
    band: int = 1,
    resampling: str = "bilinear",
    signer: Signer | None = None,
    nodata: float | None = None,
    crs: str | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read one band warped onto a grid.

    Parameters
    ----------
    source : Asset, Path or str
        A STAC asset (signed just before it is opened), a file, or the text of a VRT.
    grid : RasterGrid
        Target grid.
    band : int
        Band number, from 1.
    resampling : str
        Name of a GDAL resampling: nearest, bilinear, cubic, average, ...
    signer : Signer, optional
        Returns the address to open for an asset.
    nodata : float, optional
        Value of missing pixels, if the file's own tag is missing or wrong.
    crs : str, optional
        CRS to use if the file has none.

    Returns
    -------
    values : (y, x) array of the file's dtype
    valid : (y, x) bool
        True inside the file where its pixels are not missing.

    Raises
    ------
    WorkError
        The file cannot be read after several attempts.
    InputError
        The file has no CRS and none was given.
    """
    read = partial(_read_warped, source=source, grid=grid, band=band, resampling=resampling, nodata=nodata, crs=crs)
    return with_retry(source, signer, read)


def read_dataset(
    dataset: DatasetReader, grid: RasterGrid, *, resampling: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read band 1 of an open raster warped onto a grid; see `read_window`."""
    return _read_warped(dataset, source="The array", grid=grid, band=1, resampling=resampling)


def _read_warped(
    dataset: DatasetReader,
    *,
    source: Source,
    grid: RasterGrid,
    band: int,
    resampling: str,
    nodata: float | None = None,
    crs: str | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if band > dataset.count:
        raise InputError(
            f"{public_name(source)} has {dataset.count} band(s); band {band} was requested.",
            "Give a raster with the expected bands.",
        )
    missing = nodata if nodata is not None else dataset.nodata
    options = warp_options(dataset, source=source, grid=grid, resampling=resampling, missing=missing, crs=crs)
    with WarpedVRT(dataset, **options) as warped:
        values = warped.read(band)
        # Without a nodata value the last band of the VRT is the mask that add_alpha created.
        if "add_alpha" in options:
            valid = warped.read(warped.count) > 0
        else:
            valid = np.ones(grid.shape, dtype=bool) if missing is None else values != missing
    if np.issubdtype(values.dtype, np.floating):
        valid &= np.isfinite(values)
    return values, valid


def warp_options(
    dataset: DatasetReader,
    *,
    source: Source,
    grid: RasterGrid,
    resampling: str,
    missing: float | None,
    crs: str | None = None,
) -> dict[str, Any]:
    """Return the options of a WarpedVRT that warps a raster onto a grid."""
    options: dict[str, Any] = {
        "src_crs": crs_of(dataset, crs, source),
        "crs": grids.CRS,
        "transform": grid.transform,
        "width": grid.width,
        "height": grid.height,
        "resampling": Resampling[resampling],
        # Maximum error of the approximate transformer in pixels; cells must agree along their edges.
        "tolerance": 0.01,
    }
    if missing is not None:
        options |= {"src_nodata": missing, "nodata": missing}
    elif not _covers_completely(dataset, grid):
        options |= {"add_alpha": True}
    return options


def _covers_completely(dataset: DatasetReader, grid: RasterGrid) -> bool:
    """Return whether a raster has a value in every pixel of a grid: warping a mask would double the time."""
    masked = any(flags != [MaskFlags.all_valid] for flags in dataset.mask_flag_enums)
    west, south, east, north = grid.bounds
    own = dataset.bounds
    within = own.left <= west and own.bottom <= south and own.right >= east and own.top >= north
    return not masked and within and dataset.crs == grids.CRS and not dataset.gcps[0]


def read_overview(
    source: Source, *, max_px: int, signer: Signer | None = None, crs: str | None = None
) -> tuple[NDArray[Any], Affine, CRS]:
    """Read a complete raster at reduced resolution, which GDAL reads from its overviews.

    Parameters
    ----------
    source : Asset, Path or str
        A STAC asset, a file, or the text of a VRT.
    max_px : int
        Longest side of the result.
    signer : Signer, optional
        Returns the address to open for an asset.
    crs : str, optional
        CRS to use if the file has none.

    Returns
    -------
    values : (y, x) array
        Band 1, nearest neighbor.
    transform : Affine
        From pixels of the result to the file's CRS.
    crs : CRS
    """

    def read(dataset: DatasetReader) -> tuple[NDArray[Any], Affine, CRS]:
        if is_remote(source):
            check_overviews(dataset, source, max_px)
        shrink = max(1.0, max(dataset.width, dataset.height) / max_px)
        height, width = max(1, round(dataset.height / shrink)), max(1, round(dataset.width / shrink))
        values = dataset.read(1, out_shape=(height, width), resampling=Resampling.nearest)
        transform = dataset.transform @ Affine.scale(dataset.width / width, dataset.height / height)
        return values, transform, crs_of(dataset, crs, source)

    return with_retry(source, signer, read)


def check_overviews(dataset: DatasetReader, source: Source, max_px: int) -> None:
    """Check a remote file for missing overviews or missing blocks in them: other overviews mean other pixels.

    Raises
    ------
    InputError
        An overview is larger than the image.
    RasterioIOError
        See `headwater.raster.truncation.check_suspicion`.
    """
    factors = dataset.overviews(1)
    if min(factors, default=1) < 1:
        raise InputError(
            f"{public_name(source)} has overviews that are larger than the image itself.",
            "Ask its provider for the file with its right size, or write its overviews again.",
        )
    too_fine = max(dataset.width, dataset.height) / max(factors, default=1) >= 2 * max_px
    check_suspicion(source, "overviews", too_fine and f"only {factors}")
    for number in range(len(factors)):
        check_blocks(dataset, source, overview=number)


def read_cells(
    paths: Sequence[Path], grid: RasterGrid, *, band: int = 1, resampling: str = "bilinear"
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read one band of many cells' rasters onto one coarse grid, each from the coarsest overview that is fine enough.

    Parameters
    ----------
    paths : sequence of Path
        Headwater rasters in EPSG:4326, of one dtype; where they overlap, the later one wins. Those outside are skipped.
    grid : RasterGrid
        Target grid; may be much coarser than the rasters, and extend beyond 180 degrees.
    band : int
        Band number, from 1.
    resampling : str
        Name of a GDAL resampling.

    Returns
    -------
    values : (y, x) array
        0 outside all rasters.
    valid : (y, x) bool
        True where a raster has a value.

    Raises
    ------
    InputError
        None of the rasters is on the grid.
    """
    return _cells_onto(
        paths,
        grid,
        lambda path, own: partial(_read_warped, source=path, grid=own, band=band, resampling=resampling),
    )


def sample_cells(
    paths: Sequence[Path], grid: RasterGrid, *, bands: Sequence[int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read bands of many cells' rasters at the pixels nearest to those of a grid, without warping.

    Parameters
    ----------
    paths, grid
        See `read_cells`.
    bands : sequence of int
        Band numbers, from 1.

    Returns
    -------
    values : (band, y, x) array
        0 outside all rasters.
    valid : (y, x) bool
        True where the first band has a value.

    Raises
    ------
    InputError
        None of the rasters is on the grid.
    """
    return _cells_onto(paths, grid, lambda _, own: partial(_sample, grid=own, bands=bands))


def _cells_onto(
    paths: Sequence[Path],
    grid: RasterGrid,
    reader: Callable[[Path, RasterGrid], Callable[[DatasetReader], tuple[NDArray[Any], NDArray[np.bool_]]]],
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Put what is read of each cell, on the part of the grid that it is on, into arrays of the grid."""
    values, valid = None, np.zeros(grid.shape, bool)
    for path in paths:
        found = grid.window_of(raster_grid(path))
        if found is None:
            continue  # not on the map
        part, turned = found
        level = _overview_level(path, part.dx)
        cell_values, cell_valid = with_retry(path, None, reader(path, part.shifted(-turned)), level=level)
        if values is None:
            values = np.zeros((*cell_values.shape[:-2], *grid.shape), cell_values.dtype)
        row, column = round((grid.north - part.north) / grid.dy), round((part.west - grid.west) / grid.dx)
        place = (slice(row, row + part.height), slice(column, column + part.width))
        np.copyto(values[..., *place], cell_values, where=cell_valid)
        valid[place] |= cell_valid
    if values is None:
        raise InputError("There is no raster to read.", "Check the list of cells in plan.json.")
    return values, valid


def _sample(
    dataset: DatasetReader, *, grid: RasterGrid, bands: Sequence[int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read the pixels in which the centers of a grid's pixels are; nothing is valid beyond the raster's edge."""
    dx, dy = dataset.transform.a, -dataset.transform.e
    columns = np.floor((grid.west + (np.arange(grid.width) + 0.5) * grid.dx - dataset.transform.c) / dx).astype(int)
    rows = np.floor((dataset.transform.f - grid.north + (np.arange(grid.height) + 0.5) * grid.dy) / dy).astype(int)
    inside = ((rows >= 0) & (rows < dataset.height))[:, None] & ((columns >= 0) & (columns < dataset.width))
    rows, columns = np.clip(rows, 0, dataset.height - 1), np.clip(columns, 0, dataset.width - 1)
    top, left = int(rows.min()), int(columns.min())
    window = Window(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
    at = np.ix_(rows - top, columns - left)
    values = dataset.read(list(bands), window=window)
    known = dataset.read_masks(bands[0], window=window) > 0
    return values[:, *at], known[at] & inside


def _overview_level(path: Path, dx: float) -> int | None:
    """Return the coarsest overview whose pixels are not larger than `dx` degrees; None for the raster itself."""

    def level(dataset: DatasetReader) -> int | None:
        fine_enough = [number for number, factor in enumerate(dataset.overviews(1)) if factor * dataset.res[0] <= dx]
        return fine_enough[-1] if fine_enough else None

    return with_retry(path, None, level)


def read_raster(path: Path) -> tuple[NDArray[Any], NDArray[np.bool_], RasterGrid, dict[str, str]]:
    """Read all bands of a Headwater raster.

    Returns
    -------
    data : (band, y, x) array
    valid : (y, x) bool
        The dataset's mask.
    grid : RasterGrid
    tags : dict of str
    """

    def read(dataset: DatasetReader) -> tuple[NDArray[Any], NDArray[np.bool_], RasterGrid, dict[str, str]]:
        return dataset.read(), dataset.dataset_mask() > 0, grid_of(dataset, path), dict(dataset.tags())

    return with_retry(path, None, read)


def read_pixels(path: Path) -> NDArray[Any]:
    """Read all of band 1 of a raster on its own grid: (y, x) array of the file's dtype."""

    def read(dataset: DatasetReader) -> NDArray[Any]:
        return np.asarray(dataset.read(1))

    return with_retry(path, None, read)


def raster_grid(path: Path | str) -> RasterGrid:
    """Return the grid of a raster in EPSG:4326 (a file or the text of a VRT).

    Raises
    ------
    InputError
        The raster is in another CRS, or rotated.
    """
    return with_retry(path, None, lambda dataset: grid_of(dataset, path))


def raster_tags(path: Path) -> dict[str, str]:
    """Return the dataset tags of a raster."""
    return with_retry(path, None, lambda dataset: dict(dataset.tags()))


def terms_of_rasters(paths: Iterable[Path]) -> Terms:
    """Return the terms of use in the tags of rasters, together."""
    return Terms.union(Terms.of(raster_tags(path)) for path in paths)


def raster_facts(path: Path) -> dict[str, Any]:
    """Return the fields a STAC item has of a file: CRS, transform, shape, dtype, nodata, bounds in EPSG:4326."""

    def read(dataset: DatasetReader) -> dict[str, Any]:
        crs = crs_of(dataset, None, path)
        return {
            "crs": crs,
            "epsg": crs.to_epsg(),
            "transform": dataset.transform,
            "shape": dataset.shape,
            "count": dataset.count,
            "dtype": dataset.dtypes[0],
            "nodata": dataset.nodata,
            "bounds": transform_bounds(crs, grids.CRS, *dataset.bounds),
        }

    return with_retry(path, None, read)
