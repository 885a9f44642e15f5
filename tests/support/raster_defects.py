"""A catalogue of what is wrong with, or unusual about, rasters that people have: each made into a valid one.

A defect changes a `Picture` of a valid raster. Its verdict says what a reader must make of it: the same values as of
the valid raster, or a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

Verdict = Literal["equal", "refused"]
FEET, SURVEY_FEET = 0.3048, 1200 / 3937


@dataclass(frozen=True)
class Picture:
    """A raster to write."""

    values: NDArray[Any]
    """(y, x) numbers as they are stored."""
    void: NDArray[np.bool_]
    """(y, x) True where there is no value."""
    transform: Affine
    crs: str | None
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    mask: Literal["", "internal", "beside"] = ""
    more_bands: tuple[NDArray[Any], ...] = ()
    """Bands before the one that counts."""
    names: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    alpha: bool = False
    beside: dict[str, str] = field(default_factory=dict)
    """Texts of files next to it, by suffix."""
    bare: bool = False
    """Written as a plain TIFF, without georeference."""
    cut: float = 1.0
    """Fraction of the file that is there."""

    def filled(self, value: float, dtype: Any = None) -> Picture:
        """Return it with a value in its voids."""
        values = self.values.astype(dtype or self.values.dtype)
        values[self.void] = value
        return replace(self, values=values)

    def write(self, path: Path) -> None:
        """Write it and the files next to it."""
        bands = [*self.more_bands, self.values]
        count = len(bands) + self.alpha
        options: dict[str, Any] = {"count": count, "dtype": self.values.dtype, "nodata": self.nodata}
        if self.bare:
            options["PROFILE"] = "BASELINE"
        else:
            options |= {"crs": self.crs, "transform": self.transform}
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=self.mask == "internal"),
            rasterio.open(
                path, "w", driver="GTiff", width=self.values.shape[1], height=self.values.shape[0], **options
            ) as out,
        ):
            for number, band in enumerate(bands, start=1):
                out.write(band.astype(self.values.dtype), number)
            if self.alpha:
                out.write(np.where(self.void, 0, 255).astype(self.values.dtype), count)
                out.colorinterp = [ColorInterp.gray] * len(bands) + [ColorInterp.alpha]
            if self.scale != 1:
                out.scales = [self.scale] * count
            if self.offset:
                out.offsets = [self.offset] * count
            if self.unit:
                out.units = [self.unit] * count
            for number, name in enumerate(self.names, start=1):
                out.set_band_description(number, name)
            if self.tags:
                out.update_tags(1, **self.tags)
            if self.mask:
                out.write_mask(~self.void)
        if self.bare:
            path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
        for suffix, text in self.beside.items():
            (path.with_suffix(suffix) if suffix != ".aux.xml" else path.with_name(path.name + suffix)).write_text(text)
        if self.cut < 1:
            content = path.read_bytes()
            path.write_bytes(content[: int(len(content) * self.cut)])


Defect = tuple[Verdict, Callable[[Picture], Picture]]


def world_file(transform: Affine) -> str:
    """Return the text of a world file: it names the center of the first pixel."""
    x, y = transform @ (0.5, 0.5)
    return "\n".join(str(number) for number in (transform.a, 0, 0, transform.e, x, y))


def _aux(content: str) -> dict[str, str]:
    return {".aux.xml": f"<PAMDataset>{content}</PAMDataset>"}


def _nodata_beside(value: float) -> dict[str, str]:
    return _aux(f'<PAMRasterBand band="1"><NoDataValue>{value}</NoDataValue></PAMRasterBand>')


def _plain_tiff(picture: Picture) -> Picture:
    beside = {".tfw": world_file(picture.transform), **_aux(f"<SRS>{picture.crs}</SRS>")}
    return replace(picture, bare=True, beside=beside)


def _scaled(
    picture: Picture, dtype: Any, *, scale: float = 1.0, offset: float = 0.0, unit: str = "", void: float | None = None
) -> Picture:
    per_number = scale * {"": 1.0, "ft": FEET, "US survey foot": SURVEY_FEET, "cm": 0.01, "m": 1.0}[unit]
    numbers = picture.values / per_number - offset / scale
    if np.issubdtype(dtype, np.integer):
        numbers = np.rint(np.nan_to_num(numbers))
    made = replace(picture, values=numbers.astype(dtype), scale=scale, offset=offset, unit=unit, nodata=void)
    return made.filled(np.nan if void is None else void)


def _in_feet_by_crs(picture: Picture) -> Picture:
    made = replace(_scaled(picture, np.float32, unit="US survey foot"), unit="")
    return replace(made, crs=f"{picture.crs}+6360")


def _flipped(picture: Picture) -> Picture:
    t = picture.transform
    upside = Affine(t.a, 0, t.c, 0, -t.e, t.f + t.e * len(picture.values))
    return replace(picture, values=picture.values[::-1], void=picture.void[::-1], transform=upside).filled(np.nan)


def _around(picture: Picture) -> Picture:
    """Shift a raster in degrees by a full circle; one in meters stays."""
    moved = Affine.translation(360, 0) @ picture.transform if picture.crs == "EPSG:4326" else picture.transform
    return replace(picture, transform=moved).filled(np.nan)


ELEVATION_DEFECTS: dict[str, Defect] = {
    "voids are NaN": ("equal", lambda p: p.filled(np.nan)),
    "voids are infinite": ("equal", lambda p: p.filled(np.inf)),
    "nodata -9999": ("equal", lambda p: replace(p, nodata=-9999).filled(-9999)),
    "nodata 0": ("equal", lambda p: replace(p, nodata=0).filled(0)),
    "nodata of ArcGIS": ("equal", lambda p: replace(p, nodata=float(np.finfo("f4").min)).filled(np.finfo("f4").min)),
    "nodata of GDAL in doubles": ("equal", lambda p: replace(p, nodata=-1.7976931348623157e308).filled(
        -1.7976931348623157e308, np.float64)),
    "-32768 untagged in integers": ("equal", lambda p: replace(
        _scaled(p, np.int16, void=-32768), nodata=None)),
    "nodata in a file beside": ("equal", lambda p: replace(p, beside=_nodata_beside(0)).filled(0)),
    "mask beside": ("equal", lambda p: replace(p, mask="beside").filled(0)),
    "mask inside": ("equal", lambda p: replace(p, mask="internal").filled(0)),
    "mask as alpha": ("equal", lambda p: replace(p, alpha=True).filled(0)),
    "world file": ("equal", lambda p: _plain_tiff(p.filled(np.nan))),
    "decimeters by scale": ("equal", lambda p: _scaled(p, np.int16, scale=0.1, void=-32768)),
    "scale and untagged -32768": ("equal", lambda p: replace(
        _scaled(p, np.int16, scale=0.1, void=-32768), nodata=None)),
    "offset": ("equal", lambda p: _scaled(p, np.float32, offset=500.0)),
    "scale and offset": ("equal", lambda p: _scaled(p, np.uint16, scale=0.05, offset=-1000.0, void=65535)),
    "feet": ("equal", lambda p: _scaled(p, np.float32, unit="ft")),
    "US survey feet": ("equal", lambda p: _scaled(p, np.float32, unit="US survey foot", void=-9999)),
    "feet by the CRS": ("equal", _in_feet_by_crs),
    "centimeters": ("equal", lambda p: _scaled(p, np.int32, unit="cm", void=-2147483648)),
    "meters by tag": ("equal", lambda p: _scaled(p, np.float32, unit="m")),
    "doubles": ("equal", lambda p: p.filled(np.nan, np.float64)),
    "heights in the CRS": ("equal", lambda p: replace(p, crs=f"{p.crs}+3855").filled(np.nan)),
    "a named band among two": ("equal", lambda p: replace(
        p, more_bands=(np.full_like(p.values, 3.0),), names=("slope", "elevation")).filled(np.nan)),
    "longitudes of 0 to 360": ("equal", _around),
    "two bands": ("refused", lambda p: replace(p, more_bands=(np.full_like(p.values, 3.0),)).filled(np.nan)),
    "two bands of elevation": ("refused", lambda p: replace(
        p, more_bands=(p.values + 9,), names=("dem", "elevation")).filled(np.nan)),
    "-9999 untagged": ("refused", lambda p: p.filled(-9999)),
    "-32767 untagged": ("refused", lambda p: p.filled(-32767)),
    "-9999 untagged in feet": ("refused", lambda p: replace(
        _scaled(p, np.float32, unit="ft", void=-9999), nodata=None)),
    "-9999 untagged and scaled": ("refused", lambda p: replace(
        _scaled(p, np.int16, scale=0.1, void=-9999), nodata=None)),
    "65535 untagged and scaled": ("refused", lambda p: replace(
        _scaled(p, np.uint16, scale=0.05, void=65535), nodata=None)),
    "huge values untagged": ("refused", lambda p: p.filled(1e20)),
    "feet by a tag of CF": ("equal", lambda p: replace(
        _scaled(p, np.float32, unit="ft"), unit="", tags={"units": "ft"})),
    "scaled by a tag of CF": ("refused", lambda p: replace(p, tags={"scale_factor": "0.1"}).filled(np.nan)),
    "a local CRS": ("refused", lambda p: replace(p, crs='LOCAL_CS["grid",UNIT["metre",1]]').filled(np.nan)),
    "an unknown unit": ("refused", lambda p: replace(p, unit="fathom").filled(np.nan)),
    "two units": ("refused", lambda p: replace(_in_feet_by_crs(p), unit="m")),
    "complex numbers": ("refused", lambda p: p.filled(0, np.complex64)),
    "no CRS": ("refused", lambda p: replace(p, crs=None).filled(np.nan)),
    "no georeference": ("refused", lambda p: replace(p, bare=True).filled(np.nan)),
    "truncated": ("refused", lambda p: replace(p, cut=0.6).filled(np.nan)),
    "empty": ("refused", lambda p: replace(p, cut=0.0).filled(np.nan)),
}  # fmt: skip
"""By name: the verdict, and what makes it of a valid raster of elevation in meters as float32."""


BAND_DEFECTS: dict[str, Defect] = {
    "nodata 0": ("equal", lambda p: replace(p, nodata=0).filled(0)),
    "nodata 65535": ("equal", lambda p: replace(p, nodata=65535).filled(65535)),
    "wrapped fill untagged": ("equal", lambda p: p.filled(64536)),
    "16 signed bits": ("equal", lambda p: replace(p, nodata=-9999).filled(-9999, np.int16)),
    "16 signed bits, untagged": ("equal", lambda p: p.filled(-9999, np.int16)),
    "nodata in a file beside": ("equal", lambda p: replace(p, beside=_nodata_beside(65535)).filled(65535)),
    "mask beside": ("equal", lambda p: replace(p, mask="beside").filled(7)),
    "mask inside": ("equal", lambda p: replace(p, mask="internal").filled(7)),
    "world file": ("equal", lambda p: _plain_tiff(p.filled(0))),
    "8 bits": ("refused", lambda p: replace(p, values=(p.values // 20).astype(np.uint8))),
    "floats": ("refused", lambda p: replace(p, values=(p.values / 10_000).astype(np.float32))),
    "32 bits": ("refused", lambda p: p.filled(0, np.int32)),
    "two bands": ("refused", lambda p: replace(p, more_bands=(p.values,)).filled(0)),
    "no CRS": ("refused", lambda p: replace(p, crs=None).filled(0)),
    "no georeference": ("refused", lambda p: replace(p, bare=True).filled(0)),
    "truncated": ("refused", lambda p: replace(p, cut=0.6).filled(0)),
    "empty": ("refused", lambda p: replace(p, cut=0.0).filled(0)),
}
"""As `ELEVATION_DEFECTS`, of a valid band of reflectance in uint16 with 0 where it is missing."""
