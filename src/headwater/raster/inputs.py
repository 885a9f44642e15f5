"""What users give as rasters: arrays and paths, checked, in the form that the kernels take."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from headwater.core.elevations import refuse_no_elevation
from headwater.core.errors import InputError
from headwater.core.sentinel2 import COMPOSITE_BANDS
from headwater.geo.grid import Bounds, RasterGrid
from headwater.raster import arrays
from headwater.raster.elevation_values import check_elevation, meters_per_unit
from headwater.raster.reading import raster_facts

Raster = xr.DataArray | str | Path
"""An array in EPSG:4326, or the path of a raster."""

_BANDS = COMPOSITE_BANDS[:4]


def open_raster(source: Raster, open_file: Any, what: str) -> xr.DataArray:
    """Return an array as it is, or the array that `open_file` opens; `what` names it in messages."""
    if isinstance(source, xr.DataArray):
        return source
    if isinstance(source, str | Path):
        opened: xr.DataArray = open_file(Path(source), name=what)
        return opened
    raise InputError(
        f"The {what} is a {type(source).__name__}; an xarray.DataArray or a path is expected.",
        "Open it with rioxarray.open_rasterio, or give the DataArray of a Dataset.",
    )


def composite_input(source: Raster) -> tuple[xr.DataArray, RasterGrid]:
    """Return N, R, G, B (4, y, x) uint8 of a composite and their grid.

    Raises
    ------
    InputError
        The composite has other dimensions, bands, or another type or CRS.
    """
    image = open_raster(source, arrays.open_bands, "composite")
    if set(image.dims) != {"band", "y", "x"}:
        raise InputError(
            f"The composite has dimensions {', '.join(map(str, image.dims))}; band, y, x are expected.",
            "Rename its dimensions, or stack its bands along `band`.",
        )
    image = image.transpose("band", "y", "x")
    grid = arrays.array_grid(image, "composite")
    image = _first_bands(image)
    if image.dtype != np.uint8:
        raise InputError(
            f"The composite holds {image.dtype}; uint8 from 1 to 255, with 0 where missing, is expected.",
            "Open composite.tif without masking, or scale your image and use .fillna(0).astype('uint8').",
        )
    if arrays.is_lazy(image):
        image = image.chunk(band=-1)
    return image, grid


def _first_bands(image: xr.DataArray) -> xr.DataArray:
    """Return the bands N, R, G, B by their labels, or by order where bands are only numbered."""
    labels = [str(label) for label in image["band"].values] if "band" in image.coords else []
    if set(_BANDS) <= set(labels):
        return image.isel(band=[labels.index(name) for name in _BANDS])
    if all(label.isdecimal() for label in labels) and image.sizes["band"] >= len(_BANDS):
        return image.isel(band=slice(len(_BANDS)))
    raise InputError(
        f"The composite has the bands {', '.join(labels) or image.sizes['band']}; N, R, G, B are expected.",
        "Label them: .assign_coords(band=['N', 'R', 'G', 'B']).",
    )


def single_band(array: xr.DataArray, what: str) -> tuple[xr.DataArray, RasterGrid]:
    """Return an array of numbers (y, x) and its grid; `what` names it in messages.

    Raises
    ------
    InputError
        It has several bands, or another type or CRS.
    """
    if "band" in array.dims and array.sizes["band"] == 1:
        array = array.isel(band=0, drop=True)
    if set(array.dims) != {"y", "x"}:
        raise InputError(
            f"The {what} has dimensions {', '.join(map(str, array.dims))}; y and x are expected.",
            "Select one band, and rename the dimensions if they have other names.",
        )
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise InputError(f"The {what} holds {array.dtype}, not numbers.", "Convert it: .astype('float32').")
    array = array.transpose("y", "x")
    return array, arrays.array_grid(array, what)


def unknown_as_nan(array: xr.DataArray) -> xr.DataArray:
    """Return an array as float32, with NaN in place of its nodata value."""
    missing = arrays.nodata_of(array)
    values = array.astype(np.float32)
    known = values if missing is None else values.where(array != missing)
    # Its nodata value, which is NaN now, must not be looked for again.
    return xr.DataArray(known.data, dims=known.dims, coords=known.coords, name=array.name)


def elevation_input(source: Raster, grid: RasterGrid, *, like: xr.DataArray) -> Any:
    """Return the elevation (y, x) float32 on a composite's grid: a dask array if the composite (`like`) is one.

    Raises
    ------
    InputError
        It is elsewhere, or has several bands, or another type or CRS.
    """
    chunks = (like.chunks[1], like.chunks[2]) if like.chunks is not None else None
    if isinstance(source, str | Path):
        path = Path(source)
        check_elevation(path)
        _check_overlap(raster_facts(path)["bounds"], grid)
        values = arrays.open_warped(path, grid, name="elevation").data
    else:
        array, own = _elevation_array(source)
        _check_overlap(own.bounds, grid)
        if own.place_of(grid) == (0, 0) and own.shape == grid.shape:
            values = unknown_as_nan(array).data
        else:
            values = arrays.warped_to(array, own, grid, chunks=chunks)
    if chunks is None:
        return np.asarray(values, dtype=np.float32)
    return da.asarray(values)


def _elevation_array(source: Raster) -> tuple[xr.DataArray, RasterGrid]:
    """Return an array of elevation and its grid; attributes that make other numbers of its values are refused."""
    array, grid = single_band(open_raster(source, None, "elevation"), "elevation")
    if array.attrs.get("scale_factor", 1.0) != 1.0 or array.attrs.get("add_offset", 0.0) != 0.0:
        raise InputError(
            "The elevation has a scale or an offset that is not applied yet.",
            "Open it with rioxarray.open_rasterio(path, mask_and_scale=True).",
        )
    unit = str(array.attrs.get("units") or "m")
    if meters_per_unit(unit, "The elevation") != 1.0:
        raise InputError(
            f"The elevation is in {unit}; meters are expected.", "Convert it, and set .attrs['units'] to 'm'."
        )
    missing = arrays.nodata_of(array)
    # Checked before it is resampled: mixed with its neighbors, a void may seem to be an elevation.
    if arrays.is_lazy(array):
        checked = array.data.map_blocks(_checked_elevation, missing, dtype=array.dtype)
        return array.copy(data=checked), grid
    _checked_elevation(array.values, missing)
    return array, grid


def _checked_elevation(values: NDArray[Any], missing: float | None) -> NDArray[Any]:
    """Return values of an elevation as they are; refuse those that cannot be meters."""
    known = values if missing is None else np.where(values == missing, np.float32(0), values)
    refuse_no_elevation(known, "The elevation")
    return values


def _check_overlap(bounds: Bounds, grid: RasterGrid) -> None:
    west, south, east, north = grid.bounds
    if bounds[0] >= east or bounds[2] <= west or bounds[1] >= north or bounds[3] <= south:
        raise InputError(
            "The elevation does not cover any of the composite.", "Give both of one place, in longitudes that agree."
        )


def probability_source(source: Raster) -> tuple[Any, RasterGrid]:
    """Return a probability as lines are made from it, and its grid.

    Raises
    ------
    InputError
        It is no probability, or has several bands, or another CRS.
    """
    array, grid = single_band(
        open_raster(source, partial(arrays.open_values, fractions=True), "probability"), "probability"
    )
    fits = array.dtype == np.uint8
    if np.issubdtype(array.dtype, np.floating):
        # A sample, as the command takes one.
        step_y, step_x = (max(1, array.sizes[axis] // 512) for axis in ("y", "x"))
        sample = array[::step_y, ::step_x].values
        fits = not bool((sample > 1).any() or (sample < 0).any())
    if not fits:
        raise InputError(
            f"The probability holds {array.dtype} outside of its range; 0 to 1, or uint8 of 0 to 255, is expected.",
            "Give the result of headwater.predict, or probability.tif.",
        )
    return arrays.ArrayRaster(array, grid), grid


def elevation_source(source: Raster) -> tuple[Any, Bounds]:
    """Return an elevation as lines are made with it, and its bounds.

    Raises
    ------
    InputError
        It has several bands, or another type or CRS.
    """
    if isinstance(source, str | Path):
        check_elevation(Path(source))
        return Path(source), raster_facts(Path(source))["bounds"]
    array, grid = _elevation_array(source)
    return arrays.ArrayRaster(array, grid), grid.bounds
