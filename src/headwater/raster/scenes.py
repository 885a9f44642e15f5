"""Scene readers: the contract for reading a scene by parts onto a cell's grid, and the registry of readers.

The three built-in readers return the same pixels within the tolerance in tests/raster/test_scenes.py;
docs/benchmarks.md has the measurements behind the default. Other packages add readers through entry points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from headwater.core.errors import InputError
from headwater.core.plugins import Registry
from headwater.core.sentinel2 import MAX_SCL, OFFSET_DN, SCL
from headwater.geo.grid import RasterGrid
from headwater.stac.items import Asset, Signer

_MAX_TURNED = 1e-6
"""Of a pixel, per pixel: over a Sentinel-2 tile a hundredth of a pixel."""


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene."""

    id: str
    datetime: str
    """RFC 3339."""
    crs: str | None
    """CRS to use if a file has none, for instance "EPSG:32633"."""
    assets: Mapping[str, Asset]
    """By Sentinel-2 name; SCL may be missing."""


class SceneReader(Protocol):
    """Reads one scene; may keep files open between reads."""

    def overlap(self, grid: RasterGrid) -> RasterGrid | None:
        """Return the part of a grid that the scene's files may cover, None if they do not."""
        ...

    def read(self, names: Sequence[str], grid: RasterGrid) -> NDArray[np.uint16]:
        """Read bands onto a grid: bilinear, SCL by nearest neighbor.

        Returns
        -------
        (band, y, x) uint16
            Digital numbers as in the files; 0 where the scene has no data.

        Raises
        ------
        WorkError
            A file cannot be read after several attempts.
        InputError
            A file is not a Sentinel-2 band.
        """
        ...

    def check_unchanged(self) -> None:
        """Check, when all is read, that no open file was replaced meanwhile.

        Raises
        ------
        AssetCorrupt
            One was: its parts may be of two files.
        """
        ...

    def close(self) -> None:
        """Close all open files."""
        ...


class OpenScene(Protocol):
    """Opens a scene: a `SceneReader` class, or a function."""

    def __call__(self, files: SceneFiles, signer: Signer, *, threads: int) -> SceneReader:
        """Return a reader of one scene."""
        ...


READERS: Registry[OpenScene] = Registry(
    "scene reader",
    group="headwater.scene_readers",
    builtin={
        "rasterio": "headwater.raster.rasterio_scenes:RasterioScene",
        "odc": "headwater.raster.odc_scenes:OdcScene",
        "stackstac": "headwater.raster.stackstac_scenes:StackstacScene",
    },
)
"""Libraries that can read scenes; the first is the default."""


def open_scene(reader: str, files: SceneFiles, signer: Signer, *, threads: int = 4) -> SceneReader:
    """Return a reader of one scene.

    Parameters
    ----------
    reader : str
        Name in `READERS`: rasterio (the default), odc (odc-stac), stackstac.
    files : SceneFiles
        Files of the scene.
    signer : Signer
        Returns the addresses to open, just before they are opened.
    threads : int
        Bands read at the same time.

    Raises
    ------
    InputError
        There is no such reader.
    """
    return READERS.load(reader)(files, signer, threads=threads)


def resampling_of(name: str) -> str:
    """Return the resampling of a band: classes are never interpolated."""
    return "nearest" if name == SCL else "bilinear"


def read_numbers(dataset: DatasetReader, name: str, *, window: Window | None = None) -> NDArray[Any]:
    """Read the numbers of a band at full resolution, 0 where there are none.

    Parameters
    ----------
    dataset : DatasetReader
        An open file of one band, see `check_band`.
    name : str
        Sentinel-2 name of the band.
    window : Window, optional
        The part to read; all of it if not given.

    Returns
    -------
    (y, x) uint16 or, for SCL, uint8
        See `valid_numbers`; also 0 where a mask or an alpha band marks missing pixels.
    """
    values = valid_numbers(name, dataset.read(1, window=window), nodata=dataset.nodata)
    if is_masked(dataset):
        values[dataset.read_masks(1, window=window) == 0] = 0
    return values


def valid_numbers(name: str, values: NDArray[Any], *, nodata: float | None = None) -> NDArray[Any]:
    """Return the numbers of a band, with 0 for what cannot be one: the rule for missing pixels of every scene.

    Parameters
    ----------
    name : str
        Sentinel-2 name of the band.
    values : array of uint8, uint16 or int16
        As in the file; may be changed in place.
    nodata : float, optional
        The file's nodata value. Where it is another one than 0, reflectance of 0 or slightly below is a number, 1.

    Returns
    -------
    array of uint16 or, for SCL, uint8
        0 where the file has its nodata value, and where reflectance is not above 0 or over `MAX_DN` (fills, and numbers
        that wrapped around when an offset was subtracted) or SCL is not a class.
    """
    if nodata:
        missing = values == nodata
        if name != SCL:
            values[(values <= 0) & (values > -OFFSET_DN)] = 1
        values[missing] = 0
    if name == SCL:
        return (values * ((values >= 0) & (values <= MAX_SCL))).astype(np.uint8, copy=False)
    # As signed numbers those over MAX_DN are negative: one fast pass, in place.
    signed = values.view(np.int16)
    np.maximum(signed, 0, out=signed)
    return values.view(np.uint16)


def is_masked(dataset: DatasetReader) -> bool:
    """Return whether a mask or an alpha band, not only a nodata value, marks missing pixels of band 1."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0]


def check_band(dataset: DatasetReader, name: str, scene: str) -> None:
    """Check that an open file can be a band; an alpha band may come with it.

    Raises
    ------
    InputError
        See `check_band_type`; or the file has no place on Earth.
    """
    count = 1 + sum(kind != ColorInterp.alpha for kind in dataset.colorinterp[1:])
    check_band_type(name, dataset.dtypes[0], scene, count=count)
    if dataset.transform.is_identity:
        raise InputError(
            f"The file of band {name} of {scene} has no geotransform.", "Write its transform into the file."
        )
    turned = max(abs(dataset.transform.b), abs(dataset.transform.d))
    if turned > _MAX_TURNED * min(abs(dataset.transform.a), abs(dataset.transform.e)):
        raise InputError(
            f"The file of band {name} of {scene} is rotated: its rows do not go from west to east.",
            "Warp it onto the grid of its MGRS tile.",
        )


def check_band_type(name: str, dtype: Any, scene: str, *, count: int = 1) -> None:
    """Check the data type of a band, and that its file holds no others.

    Raises
    ------
    InputError
        Reflectance is not 16 bits (8-bit previews have the same names), SCL is not 8 or 16 bits, or there are several
        bands.
    """
    kind = str(dtype) if str(dtype).startswith("complex") else np.dtype(dtype).name
    allowed = ("uint8", "uint16", "int16") if name == SCL else ("uint16", "int16")
    if kind not in allowed:
        raise InputError(
            f"Band {name} of {scene} holds {kind}, not "
            + ("8-bit classes." if name == SCL else "16-bit digital numbers."),
            "Use Sentinel-2 L2A assets: reflectance as uint16, SCL as uint8.",
        )
    if count != 1:
        raise InputError(
            f"Band {name} of {scene} is a file of {count} bands; one is expected.",
            "Give each band in a file of its own.",
        )
