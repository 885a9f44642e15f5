"""What the numbers of an elevation raster mean: its band, voids, scale, offset and unit, the same for every reader.

A number becomes meters in this order: it is a void by the file's nodata tag or mask, or by rule; else its scale and
offset are applied, and its unit is converted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from headwater.core.elevations import refuse_no_elevation
from headwater.core.errors import InputError
from headwater.raster.opening import with_retry
from headwater.raster.sources import Source, public_name

METERS_PER_UNIT = {
    "m": 1.0,
    "metre": 1.0,
    "metres": 1.0,
    "meter": 1.0,
    "meters": 1.0,
    "dm": 0.1,
    "decimetre": 0.1,
    "decimetres": 0.1,
    "decimeter": 0.1,
    "decimeters": 0.1,
    "cm": 0.01,
    "centimetre": 0.01,
    "centimetres": 0.01,
    "centimeter": 0.01,
    "centimeters": 0.01,
    "mm": 0.001,
    "millimetre": 0.001,
    "millimetres": 0.001,
    "millimeter": 0.001,
    "millimeters": 0.001,
    "km": 1000.0,
    "kilometre": 1000.0,
    "kilometres": 1000.0,
    "kilometer": 1000.0,
    "kilometers": 1000.0,
    "ft": 0.3048,
    "foot": 0.3048,
    "feet": 0.3048,
    "international foot": 0.3048,
    "international feet": 0.3048,
    "us survey foot": 1200 / 3937,
    "us survey feet": 1200 / 3937,
    "foot_us": 1200 / 3937,
    "us-ft": 1200 / 3937,
    "ftus": 1200 / 3937,
}
"""Unit tags that are converted; a file without one is in meters."""
INTEGER_VOID = -32_768
"""Void value of SRTM in integer models, whether or not the file's nodata tag has it."""
_VOID_CODES = (-9_999, -32_767, INTEGER_VOID, 32_767, 65_535)
"""Usual void values. Where no tag says so, they are refused: scaled, or in feet, they would pass as elevations."""
_BAND_NAMES = {"elevation", "elevation_m", "height", "altitude", "dem", "dsm", "dtm", "z"}
_OWN_RECIPE = "elevation "
"""Start of the tag `recipe` of elevation.tif, which is in meters and has no voids."""


@dataclass(frozen=True)
class ElevationBand:
    """The band of a raster that holds elevation, and how its numbers become meters."""

    number: int
    """From 1."""
    scale: float
    """Meters per number."""
    offset: float
    """Meters at number 0."""
    alpha: int = 0
    """Band that is 0 where there is no value; 0 for none."""

    @property
    def is_plain(self) -> bool:
        """Whether the numbers are meters."""
        return self.scale == 1.0 and self.offset == 0.0


def elevation_band(dataset: DatasetReader, source: Source) -> ElevationBand:
    """Return the band of elevation of an open raster, by its name if it has several.

    Raises
    ------
    InputError
        No single band is elevation, or its numbers cannot be converted to meters.
    """
    number = _band_number(dataset, source)
    name, dtype = public_name(source), dataset.dtypes[number - 1]
    if dtype.startswith("complex") or not np.issubdtype(np.dtype(dtype), np.number):
        raise InputError(f"{name} holds {dtype}, not meters.", "Give elevation as float32.")
    scale, offset = dataset.scales[number - 1], dataset.offsets[number - 1]
    if not (math.isfinite(scale) and math.isfinite(offset) and scale > 0):
        raise InputError(
            f"{name} has scale {scale:g} and offset {offset:g}; no elevation results from them.",
            "Correct its tags, or give the model in meters without them.",
        )
    _check_other_tags(dataset, number, scale, offset, name)
    unit = _meters_per_unit(dataset, number, name)
    alpha = next((k for k, color in enumerate(dataset.colorinterp, start=1) if color == ColorInterp.alpha), 0)
    return ElevationBand(number, scale * unit, offset * unit, alpha)


def read_meters(
    dataset: DatasetReader, band: ElevationBand, source: Source, *, window: Window | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read elevation on the raster's own grid.

    Returns
    -------
    values : (y, x) float32
        Meters; 0 where missing.
    valid : (y, x) bool

    Raises
    ------
    InputError
        The numbers cannot be meters, or hold void values that no tag names.
    """
    raw = dataset.read(band.number, window=window)
    valid = dataset.read_masks(band.number, window=window) > 0
    if band.alpha:
        # GDAL makes a mask only of an alpha band of integers.
        valid &= dataset.read(band.alpha, window=window) > 0
    return _to_meters(raw, valid, band, source)


def check_elevation(path: Path) -> None:
    """Refuse a file of elevation that must be read as it is, unless its first band holds meters and tagged voids.

    Pixels of a file that Headwater did not make are read once, by blocks.

    Raises
    ------
    InputError
        It has several bands, a scale, an offset, another unit, or untagged voids.
    """

    def check(dataset: DatasetReader) -> None:
        band = elevation_band(dataset, path)
        if band.number != 1 or band.alpha or not band.is_plain:
            raise InputError(
                f"{path} has elevation next to other bands, or with a scale, an offset or a unit other than meters.",
                "Give one band of meters: gdal_translate -b and -unscale, or `headwater elevation`, make it.",
            )
        if str(dataset.tags().get("recipe", "")).startswith(_OWN_RECIPE):
            return
        for _, window in dataset.block_windows(1):
            raw = dataset.read(1, window=window)
            tagged = dataset.mask_flag_enums[0] != [MaskFlags.all_valid]
            valid = dataset.read_masks(1, window=window) > 0 if tagged else np.ones(raw.shape, bool)
            if np.issubdtype(raw.dtype, np.signedinteger) and (raw[valid] == INTEGER_VOID).any():
                raise _untagged(INTEGER_VOID, path)
            _to_meters(raw, valid, band, path)

    with_retry(path, None, check)


def meters_per_unit(unit: str, name: str) -> float:
    """Return the meters of a unit; `name` is what has it.

    Raises
    ------
    InputError
        The unit is not known.
    """
    known = METERS_PER_UNIT.get(" ".join(unit.lower().split()))
    if known is None:
        raise InputError(
            f"{name} is in the unit {unit!r}, which is not known as one of elevation.",
            "Give the model in meters, or correct its unit tag (m, cm, ft, US survey foot and the like).",
        )
    return known


def _band_number(dataset: DatasetReader, source: Source) -> int:
    numbers = [k for k, color in enumerate(dataset.colorinterp, start=1) if color != ColorInterp.alpha]
    if len(numbers) == 1:
        return numbers[0]
    named = [k for k in numbers if (dataset.descriptions[k - 1] or "").strip().lower() in _BAND_NAMES]
    if len(named) == 1:
        return named[0]
    raise InputError(
        f"{public_name(source)} has {dataset.count} bands; an elevation model has one.",
        "Give a raster of elevation only, or describe one of its bands as 'elevation'.",
    )


def _check_other_tags(dataset: DatasetReader, number: int, scale: float, offset: float, name: str) -> None:
    """Refuse numbers that other programs would scale: by the names of CF, which GDAL only carries along."""
    tags = _tags(dataset, number)
    for key, applied in (("scale_factor", scale), ("add_offset", offset)):
        try:
            value = float(tags.get(key, applied))
        except ValueError:
            value = math.nan
        if not math.isclose(value, applied, rel_tol=1e-9):
            raise InputError(
                f"{name} has {key} {tags[key]} among its tags, which GDAL does not apply.",
                "Remove the tag if the numbers are meters, or set the raster's own scale (gdal_edit.py -scale).",
            )


def _tags(dataset: DatasetReader, number: int) -> dict[str, str]:
    return {key.lower(): value for tags in (dataset.tags(), dataset.tags(number)) for key, value in tags.items()}


def _meters_per_unit(dataset: DatasetReader, number: int, name: str) -> float:
    tags = _tags(dataset, number)
    text = (dataset.units[number - 1] or tags.get("units") or tags.get("unittype") or "").strip()
    of_tag = meters_per_unit(text, name) if text else None
    of_crs = _vertical_unit(dataset)
    if of_tag is not None and of_crs is not None and not math.isclose(of_tag, of_crs, rel_tol=1e-5):
        raise InputError(
            f"{name} has the unit {text!r}, but its CRS has heights of {of_crs:g} m per unit.",
            "Correct the unit tag or the CRS, whichever is wrong.",
        )
    return of_tag or of_crs or 1.0


def _vertical_unit(dataset: DatasetReader) -> float | None:
    """Return the meters per unit of the heights of a CRS; None if the CRS has no heights."""
    if dataset.crs is None:
        return None
    text = dataset.crs.to_wkt()
    if "VERT" not in text and "up" not in text.lower():
        return None
    import pyproj

    axes = pyproj.CRS.from_wkt(text).axis_info
    return next((float(axis.unit_conversion_factor) for axis in axes if axis.direction in ("up", "down")), None)


def _to_meters(
    raw: NDArray[Any], valid: NDArray[np.bool_], band: ElevationBand, source: Source
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return meters, 0 where missing, and where they are valid."""
    integer = np.issubdtype(raw.dtype, np.integer)
    valid = valid & (raw != INTEGER_VOID if integer else np.isfinite(raw))
    if band.is_plain:
        # A double beyond single precision becomes infinite, and is refused below.
        with np.errstate(over="ignore"):
            values = np.where(valid, raw, 0).astype(np.float32)
    else:
        for code in _VOID_CODES:
            if (valid & (raw == code)).any():
                raise _untagged(code, source)
        with np.errstate(over="ignore"):
            values = np.where(valid, raw.astype(np.float64) * band.scale + band.offset, 0).astype(np.float32)
    refuse_no_elevation(values, public_name(source))
    return values, valid


def _untagged(code: int, source: Source) -> InputError:
    return InputError(
        f"{public_name(source)} holds {code}, the usual value of voids, without a nodata tag.",
        f"Write {code} into the file's nodata tag (gdal_edit.py -a_nodata {code}), or remove these pixels.",
    )
