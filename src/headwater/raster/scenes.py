"""Scenes read part by part onto a cell's grid: one small interface, three libraries behind it.

All three give the same pixels within the tolerance that tests/test_scene_readers.py states; docs/imagery.md holds the
measurement the default was chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.plugins import Registry
from headwater.core.sentinel2 import SCL
from headwater.geo.grid import RasterGrid
from headwater.stac.items import Asset, Signer


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene."""

    id: str
    datetime: str
    """RFC 3339."""
    crs: str | None
    """CRS to take where a file has none, "EPSG:32633"."""
    assets: Mapping[str, Asset]
    """By Sentinel-2 name; SCL may be missing."""


class SceneReader(Protocol):
    """Reads one scene; keeps open what it needs between reads."""

    def overlap(self, grid: RasterGrid) -> RasterGrid | None:
        """Return the part of a grid that the scene's files may cover, None if they do not."""
        ...

    def read(self, names: Sequence[str], grid: RasterGrid) -> NDArray[np.uint16]:
        """Read bands onto a grid: bilinear, SCL by nearest neighbour.

        Returns
        -------
        (band, y, x) uint16
            As in the files; 0 where the scene has no data.

        Raises
        ------
        WorkError
            A file cannot be read after several tries.
        InputError
            A file is not what it should be.
        """
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class OpenScene(Protocol):
    """Opens a scene: a class of readers, or a function."""

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
        rasterio: windows of the files, decoded once and warped (the default); odc: odc-stac; stackstac.
    files : SceneFiles
        What to read.
    signer : Signer
        Gives the addresses to open, just before they are opened.
    threads : int
        Bands read at the same time.

    Raises
    ------
    InputError
        There is no such reader.
    """
    return READERS.load(reader)(files, signer, threads=threads)


def resampling_of(name: str) -> str:
    """Return how a band is resampled: classes are never mixed."""
    return "nearest" if name == SCL else "bilinear"


def check_band_type(name: str, dtype: Any, scene: str) -> None:
    """Refuse what only looks like a band.

    Raises
    ------
    InputError
        Reflectance is not 16 bits (8-bit previews carry the same names), or SCL is not 8 or 16 bits.
    """
    kind = np.dtype(dtype).name
    allowed = ("uint8", "uint16", "int16") if name == SCL else ("uint16", "int16")
    if kind not in allowed:
        raise InputError(
            f"Band {name} of {scene} holds {kind}, not "
            + ("classes of 8 bits." if name == SCL else "digital numbers of 16 bits."),
            "Use Sentinel-2 L2A assets: reflectance as uint16, SCL as uint8.",
        )
