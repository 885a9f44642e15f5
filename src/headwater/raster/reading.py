"""Reading windows, overviews and whole rasters."""

from __future__ import annotations

from collections.abc import Sequence
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

from headwater.core.errors import InputError
from headwater.geo import grid as grids
from headwater.geo.grid import RasterGrid
from headwater.raster.opening import check_blocks, crs_of, doubt, grid_of, is_remote, public_name, with_retry
from headwater.stac.assets import Asset, Signer


def read_window(
    source: Asset | Path | str,
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
        Grid to read onto.
    band : int
        Band number, from 1.
    resampling : str
        Name of a GDAL resampling: nearest, bilinear, cubic, average, ...
    signer : Signer, optional
        Gives the address to open for an asset.
    nodata : float, optional
        Value of missing pixels where the file's own tag is missing or wrong.
    crs : str, optional
        CRS to take where the file has none.

    Returns
    -------
    values : (y, x) array of the file's dtype
    valid : (y, x) bool
        True inside the file where its pixels are not missing.

    Raises
    ------
    WorkError
        The file cannot be read after several tries.
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
    source: Asset | Path | str,
    grid: RasterGrid,
    band: int,
    resampling: str,
    nodata: float | None = None,
    crs: str | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if band > dataset.count:
        raise InputError(
            f"{public_name(source)} has {dataset.count} band(s); band {band} was asked for.",
            "Give a raster with the expected bands.",
        )
    missing = nodata if nodata is not None else dataset.nodata
    options = warp_options(dataset, source=source, grid=grid, resampling=resampling, missing=missing, crs=crs)
    with WarpedVRT(dataset, **options) as warped:
        values = warped.read(band)
        # Without a nodata value the last band of the VRT is the mask that add_alpha made.
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
    source: Asset | Path | str,
    grid: RasterGrid,
    resampling: str,
    missing: float | None,
    crs: str | None = None,
) -> dict[str, Any]:
    """Return what a WarpedVRT of a raster onto a grid is opened with."""
    options: dict[str, Any] = {
        "src_crs": crs_of(dataset, crs, source),
        "crs": grids.CRS,
        "transform": grid.transform,
        "width": grid.width,
        "height": grid.height,
        "resampling": Resampling[resampling],
        # The approximate transformer is exact to this share of a pixel; cells must agree along their edges.
        "tolerance": 0.01,
    }
    if missing is not None:
        options |= {"src_nodata": missing, "nodata": missing}
    elif not _is_whole(dataset, grid):
        options |= {"add_alpha": True}
    return options


def _is_whole(dataset: DatasetReader, grid: RasterGrid) -> bool:
    """Whether a raster has a value in every pixel of a grid: then no mask need be warped, which takes as long again."""
    masked = any(flags != [MaskFlags.all_valid] for flags in dataset.mask_flag_enums)
    west, south, east, north = grid.bounds
    own = dataset.bounds
    within = own.left <= west and own.bottom <= south and own.right >= east and own.top >= north
    return not masked and within and dataset.crs == grids.CRS and not dataset.gcps[0]


def read_overview(
    source: Asset | Path | str, *, max_px: int, signer: Signer | None = None, crs: str | None = None
) -> tuple[NDArray[Any], Affine, CRS]:
    """Read a whole raster decimated, which GDAL serves from its overviews.

    Parameters
    ----------
    source : Asset, Path or str
        What to read.
    max_px : int
        Longest side of the result.
    signer : Signer, optional
        Gives the address to open for an asset.
    crs : str, optional
        CRS to take where the file has none.

    Returns
    -------
    values : (y, x) array
        Band 1, nearest neighbour.
    transform : Affine
        From pixels of the result to the file's CRS.
    crs : CRS
    """

    def read(dataset: DatasetReader) -> tuple[NDArray[Any], Affine, CRS]:
        if is_remote(source):
            _check_overviews(dataset, source, max_px)
        shrink = max(1.0, max(dataset.width, dataset.height) / max_px)
        height, width = max(1, round(dataset.height / shrink)), max(1, round(dataset.width / shrink))
        values = dataset.read(1, out_shape=(height, width), resampling=Resampling.nearest)
        transform = dataset.transform @ Affine.scale(dataset.width / width, dataset.height / height)
        return values, transform, crs_of(dataset, crs, source)

    return with_retry(source, signer, read)


def _check_overviews(dataset: DatasetReader, source: Asset | Path | str, max_px: int) -> None:
    """Doubt a file from the network whose overviews are missing, or miss blocks: other overviews mean other pixels."""
    factors = dataset.overviews(1)
    too_fine = max(dataset.width, dataset.height) / max(factors, default=1) >= 2 * max_px
    doubt(source, "overviews", too_fine and f"only {factors}")
    for number in range(len(factors)):
        check_blocks(dataset, source, overview=number)


def read_cells(
    paths: Sequence[Path], grid: RasterGrid, *, band: int = 1, resampling: str = "bilinear"
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read one band of many cells' rasters onto one coarse grid, each from the overview that is fine enough.

    Parameters
    ----------
    paths : sequence of Path
        Rasters of ours in EPSG:4326, of one dtype; where they overlap, the later one wins. Those outside are skipped.
    grid : RasterGrid
        Grid to read onto; may be much coarser than the rasters, and reach beyond 180 degrees.
    band : int
        Band number, from 1.
    resampling : str
        Name of a GDAL resampling.

    Returns
    -------
    values : (y, x) array
        0 where no raster lies.
    valid : (y, x) bool
    """
    values, valid = None, np.zeros(grid.shape, bool)
    for path in paths:
        found = grid.window_of(raster_grid(path))
        if found is None:
            continue  # not on the map
        part, turned = found
        own = part.turned(-turned)
        level = _overview_level(path, part.dx)
        cell_values, cell_valid = with_retry(
            path, None, partial(_read_warped, source=path, grid=own, band=band, resampling=resampling), level=level
        )
        if values is None:
            values = np.zeros(grid.shape, cell_values.dtype)
        row, column = round((grid.north - part.north) / grid.dy), round((part.west - grid.west) / grid.dx)
        place = (slice(row, row + part.height), slice(column, column + part.width))
        np.copyto(values[place], cell_values, where=cell_valid)
        valid[place] |= cell_valid
    if values is None:
        raise InputError("There is no raster to read.", "Check the list of cells in plan.json.")
    return values, valid


def _overview_level(path: Path, dx: float) -> int | None:
    """Return the coarsest overview whose pixels are not larger than `dx` degrees; None for the raster itself."""

    def level(dataset: DatasetReader) -> int | None:
        fine_enough = [number for number, factor in enumerate(dataset.overviews(1)) if factor * dataset.res[0] <= dx]
        return fine_enough[-1] if fine_enough else None

    return with_retry(path, None, level)


def read_raster(path: Path) -> tuple[NDArray[Any], NDArray[np.bool_], RasterGrid, dict[str, str]]:
    """Read a raster of ours whole.

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
    """Read band 1 of a raster whole, on its own grid: (y, x) array of the file's dtype."""

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


def raster_facts(path: Path) -> dict[str, Any]:
    """Return what a STAC item tells of a file: CRS, transform, shape, dtype, nodata, bounds in EPSG:4326."""

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
