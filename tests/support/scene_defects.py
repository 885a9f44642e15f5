"""A catalog of defects of a scene's files, each with what must come of it.

A defect changes files, or the item, of a scene of `tiny_catalog`. What must come of it is one of three:

- "equal": the composite is that of the sound scene;
- "rule": it is that of the sound scene except at the changed pixels, which are missing (the documented rule);
- "left out": the scene is refused or left out in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling

from headwater.core.sentinel2 import MAX_DN, OFFSET_DN, REFLECTANCE_BANDS, SCL

HARMLESS, MISSING, LEFT_OUT = "equal", "rule", "left out"


@dataclass(frozen=True)
class Place:
    """Where a defect is made."""

    folder: Path
    """Files of the scene."""
    item: Path
    """Its STAC item."""
    band: str
    """Sentinel-2 name of the band to change."""
    hole: tuple[slice, slice]
    """Pixels of a reflectance band to change."""

    @property
    def file(self) -> Path:
        """The file to change."""
        return self.folder / f"{self.band}.tif"


@dataclass(frozen=True)
class Defect:
    """One kind of defect."""

    make: Callable[[Place], None]
    outcome: str
    of_scl: bool = False
    """Whether it is made in SCL, not in a band of reflectance."""


def read(path: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return band 1 of a raster, and its CRS, transform and nodata value."""
    with rasterio.open(path) as dataset:
        return dataset.read(1), {key: dataset.profile[key] for key in ("crs", "transform", "nodata")}


def write(path: Path, values: NDArray[Any], **facts: Any) -> None:
    """Write a GeoTIFF of one or several bands anew."""
    stack = values if values.ndim == 3 else values[np.newaxis]
    count, height, width = stack.shape
    path.unlink(missing_ok=True)
    shape = {"count": count, "height": height, "width": width, "dtype": stack.dtype}
    with rasterio.open(path, "w", driver="GTiff", **(facts | shape)) as dataset:
        dataset.write(stack)


def change(
    values_of: Callable[[NDArray[Any], Place], NDArray[Any]] = lambda values, place: values, **facts: Any
) -> Callable[[Place], None]:
    """Return a defect that writes a band again with other values or facts."""

    def make(place: Place) -> None:
        values, known = read(place.file)
        write(place.file, values_of(values, place), **(known | facts))

    return make


def fill(number: int, **facts: Any) -> Callable[[Place], None]:
    """Return a defect that puts a number into the hole."""

    def filled(values: NDArray[Any], place: Place) -> NDArray[Any]:
        values = values.astype(np.int16) if number < 0 else values
        values[place.hole] = number
        return values

    return change(filled, **facts)


def _wrap(values: NDArray[Any], place: Place) -> NDArray[Any]:
    values[place.hole] = (np.int64(250) - OFFSET_DN) % 2**16
    return values


def _mask(place: Place) -> None:
    values, facts = read(place.file)
    mask = np.full(values.shape, 255, np.uint8)
    mask[place.hole] = 0
    write(place.file, values, **(facts | {"nodata": None}))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(place.file, "r+") as dataset:
        dataset.write_mask(mask)


def _alpha(place: Place) -> None:
    values, facts = read(place.file)
    alpha = np.full(values.shape, MAX_DN, values.dtype)
    alpha[place.hole] = 0
    write(place.file, np.stack([values, alpha]), **(facts | {"nodata": None, "photometric": "minisblack"}))
    with rasterio.open(place.file, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.alpha)


def _south_up(place: Place) -> None:
    values, facts = read(place.file)
    here = facts["transform"]
    upside_down = Affine(here.a, 0, here.c, 0, -here.e, here.f + here.e * values.shape[0])
    write(place.file, values[::-1], **(facts | {"transform": upside_down}))


def _average_overviews(place: Place) -> None:
    values, facts = read(place.file)
    write(place.file, values, **facts)
    with rasterio.open(place.file, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.average)


def _cut(place: Place) -> None:
    content = place.file.read_bytes()
    place.file.write_bytes(content[: len(content) // 3])


def _damage(place: Place) -> None:
    """Overwrite compressed blocks: the header stays sound."""
    values, facts = read(place.file)
    write(place.file, values, **(facts | {"compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64}))
    content = bytearray(place.file.read_bytes())
    content[len(content) // 2 :] = b"\xa5" * (len(content) - len(content) // 2)
    place.file.write_bytes(bytes(content))


def _gone(place: Place) -> None:
    place.file.unlink()


def _empty(place: Place) -> None:
    place.file.write_bytes(b"")


def _other_crs(place: Place) -> None:
    item = json.loads(place.item.read_text())
    item["properties"]["proj:epsg"] = 32634
    place.item.write_text(json.dumps(item))


def _without_transform(place: Place) -> None:
    values, facts = read(place.file)
    write(place.file, values, crs=facts["crs"], nodata=facts["nodata"])


def _as_uint8(values: NDArray[Any], place: Place) -> NDArray[Any]:
    return (values // 64).astype(np.uint8)


def _no_class(values: NDArray[Any], place: Place) -> NDArray[Any]:
    return np.where(values == 0, 255, values).astype(np.uint8)


DEFECTS: dict[str, Defect] = {
    # Harmless: read as what they are.
    "int16": Defect(change(lambda values, place: values.astype(np.int16)), HARMLESS),
    "south-up": Defect(_south_up, HARMLESS),
    "no CRS": Defect(change(crs=None), HARMLESS),
    "no nodata tag": Defect(change(nodata=None), HARMLESS),
    "SCL as uint16": Defect(change(lambda values, place: values.astype(np.uint16)), HARMLESS, of_scl=True),
    "SCL south-up": Defect(_south_up, HARMLESS, of_scl=True),
    "SCL with averaged overviews": Defect(_average_overviews, HARMLESS, of_scl=True),
    "SCL filled with 255": Defect(change(_no_class, nodata=None), HARMLESS, of_scl=True),
    # Missing pixels by the rule.
    "fill of 65535": Defect(fill(65_535, nodata=None), MISSING),
    "fill of 65535, tagged": Defect(fill(65_535, nodata=65_535), MISSING),
    "fill of 32768 next to the tag 0": Defect(fill(32_768), MISSING),
    "fill of 9999, tagged": Defect(fill(9_999, nodata=9_999), MISSING),
    "fill of -9999": Defect(fill(-9_999, nodata=None), MISSING),
    "fill of -9999, tagged": Defect(fill(-9_999, nodata=-9_999), MISSING),
    "fill of -32768": Defect(fill(-32_768, nodata=None), MISSING),
    "wrapped numbers": Defect(change(_wrap), MISSING),
    "internal mask": Defect(_mask, MISSING),
    "alpha band": Defect(_alpha, MISSING),
    # No scene.
    "8 bits": Defect(change(_as_uint8), LEFT_OUT),
    "float": Defect(change(lambda values, place: (values / 10_000).astype(np.float32)), LEFT_OUT),
    "32 bits": Defect(change(lambda values, place: values.astype(np.uint32)), LEFT_OUT),
    "three bands": Defect(change(lambda values, place: np.stack([values] * 3)), LEFT_OUT),
    "other CRS": Defect(_other_crs, LEFT_OUT),
    "other ground": Defect(change(transform=Affine(40, 0, 503_000, 0, -40, 5_108_000)), LEFT_OUT),
    "half of the rows": Defect(change(lambda values, place: values[: len(values) // 2]), LEFT_OUT),
    "no geotransform": Defect(_without_transform, LEFT_OUT),
    "truncated": Defect(_cut, LEFT_OUT),
    "damaged blocks": Defect(_damage, LEFT_OUT),
    "gone": Defect(_gone, LEFT_OUT),
    "empty file": Defect(_empty, LEFT_OUT),
    "SCL as float": Defect(change(lambda values, place: values.astype(np.float32)), LEFT_OUT, of_scl=True),
    "SCL of three bands": Defect(change(lambda values, place: np.stack([values] * 3)), LEFT_OUT, of_scl=True),
    "SCL truncated": Defect(_cut, LEFT_OUT, of_scl=True),
}
"""By name."""

BANDS = REFLECTANCE_BANDS
SCL_NAME = SCL
