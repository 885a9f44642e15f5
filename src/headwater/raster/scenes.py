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
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from headwater.core.errors import InputError
from headwater.core.plugins import Registry
from headwater.core.sentinel2 import MAX_DN, SCL
from headwater.geo.grid import RasterGrid
from headwater.stac.items import Asset, Signer


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


def check_band_type(name: str, dtype: Any, scene: str, *, count: int = 1) -> None:
    """Check the data type of a band, and that its file holds no others.

    Raises
    ------
    InputError
        Reflectance is not 16 bits (8-bit previews have the same names), SCL is not 8 or 16 bits, or there are several
        bands.
    """
    if count != 1:
        raise InputError(
            f"Band {name} of {scene} is a file of {count} bands; one is expected.",
            "Give each band in a file of its own.",
        )
    kind = np.dtype(dtype).name
    allowed = ("uint8", "uint16", "int16") if name == SCL else ("uint16", "int16")
    if kind not in allowed:
        raise InputError(
            f"Band {name} of {scene} holds {kind}, not "
            + ("8-bit classes." if name == SCL else "16-bit digital numbers."),
            "Use Sentinel-2 L2A assets: reflectance as uint16, SCL as uint8.",
        )


def check_missing_pixels(name: str, dataset: DatasetReader, scene: str) -> None:
    """Check that 0, or a number that cannot be, marks the missing pixels of a band, and no mask.

    Raises
    ------
    InputError
        Other pixels are missing, which would be taken for views of the ground.
    """
    nodata = dataset.nodata
    masked = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    if masked or (nodata is not None and 0 < nodata <= MAX_DN and name != SCL):
        marks = "a mask" if masked else f"the number {nodata:g}"
        raise InputError(
            f"Band {name} of {scene} marks its missing pixels by {marks}; 0 is expected.",
            "Write 0 there, or make a catalog of the rasters with `headwater items`, which does.",
        )
