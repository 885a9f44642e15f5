"""Coarse views and statistics of scenes, read once for all cells.

Both cover the complete scene and come from overviews: over a cell's window the same scene would look different in
neighboring cells. They are kept as small files named by the item's id and its update time; if
they are deleted, they are read again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.core.files import atomic_path, write_json
from headwater.core.sentinel2 import CLEAR_SCL, REFLECTANCE_BANDS, SCL
from headwater.imagery.selection import resize_nearest
from headwater.raster.scenes import check_band_type
from headwater.stac.items import Asset, Scene, Signer

OVERVIEW_PX = 512
"""Longest side of the coarse view: 200 m pixels of a Sentinel-2 tile."""
_MIN_STD = 1.0
"""DN; a scene of one color must not cause a division by zero."""
_MAX_REMEMBERED = 128
"""Coarse views in memory, 0.3 MB each: the candidates of a tile are considered again at each cloud limit."""
_VERSION = 2
"""Part of the file names; raised when the content of the files changes."""


@dataclass(frozen=True)
class _View:
    """A complete band, coarse."""

    values: NDArray[Any]
    """(y, x)"""
    extent: NDArray[np.float64]
    """Upper left and lower right corner (x, y, x, y) in the file's CRS."""


class SceneCache:
    """Coarse views and statistics of scenes, kept in a folder.

    Parameters
    ----------
    folder : Path
        Where they are kept; created if needed. Safe to share between processes and to delete.
    signer : Signer
        Signs the files that must be read.
    missing_scl : str
        "clear": without SCL every valid pixel is clear; "refuse": an error.
    """

    def __init__(self, folder: Path, signer: Signer, missing_scl: str) -> None:
        self._folder = folder
        self._signer = signer
        self._missing_scl = missing_scl
        self._remembered: dict[Path, _View] = {}

    def clear_views(self, scene: Scene) -> NDArray[np.bool_]:
        """Return (y, x) bool over the complete scene, True where it shows the ground clearly.

        Raises
        ------
        WorkError
            The scene cannot be read, or has no SCL and such scenes are refused.
        InputError
            A band is not valid, such as a preview of 8 bits.
        """
        return self._view(scene).values

    def statistics(self, scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return mean and standard deviation of N, R, G, B over the scene's clear pixels, harmonized DN.

        None if no clear pixel has a value.

        Raises
        ------
        WorkError
            The scene cannot be read.
        InputError
            A band is not valid, or covers other ground than the others.
        """
        path = self._path(scene, "statistics.json")
        try:
            kept = json.loads(path.read_bytes())
            mean, std = np.array(kept["mean"], float), np.array(kept["std"], float)
            if mean.shape == std.shape == (len(REFLECTANCE_BANDS),):
                return mean, std
        except (OSError, ValueError, KeyError, TypeError):
            pass
        clear = self._view(scene)
        bands = [self._read(scene, name) for name in REFLECTANCE_BANDS]
        for name, band in zip(REFLECTANCE_BANDS, bands, strict=True):
            _check_same_ground(scene, clear, name, band)
        stack = np.stack([resize_nearest(band.values, bands[0].values.shape) for band in bands])
        found = scene_statistics(stack, clear.values, offset=scene.offset)
        if found is None:
            return None
        mean, std = found
        write_json(path, {"id": scene.id, "mean": mean.tolist(), "std": std.tolist()}, sealed=True)
        return mean, std

    def _view(self, scene: Scene) -> _View:
        """Return where the scene is clear, from memory, the folder or its files."""
        path = self._path(scene, "clear.npz")
        view = self._remembered.get(path) or _kept(path)
        if view is None:
            view = self._read_clear(scene)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, clear=view.values, extent=view.extent)
            with atomic_path(path) as temporary:
                temporary.write_bytes(buffer.getvalue())
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[path] = view
        return view

    def _read_clear(self, scene: Scene) -> _View:
        if scene.assets[SCL] is None:
            if self._missing_scl == "refuse":
                raise WorkError(
                    f"Scene {scene.id} has no SCL.",
                    "Set select.missing_scl to 'clear' to take its valid pixels as clear, or leave the scene out.",
                )
            band = self._read(scene, REFLECTANCE_BANDS[0])
            return _View(band.values > 0, band.extent)
        classes = self._read(scene, SCL)
        return _View(np.isin(classes.values, CLEAR_SCL), classes.extent)

    def _read(self, scene: Scene, name: str) -> _View:
        href = scene.assets[name]
        assert href is not None
        asset = Asset(href=href, collection=scene.collection)
        crs = f"EPSG:{scene.epsg}" if scene.epsg else None
        values, transform, file_crs = raster.read_overview(asset, max_px=OVERVIEW_PX, signer=self._signer, crs=crs)
        # Checked here, before any composite starts.
        check_band_type(name, values.dtype, scene.id)
        if scene.epsg and file_crs.to_epsg() not in (scene.epsg, None):
            raise InputError(
                f"Band {name} of {scene.id} is in EPSG:{file_crs.to_epsg()}, but its item specifies EPSG:{scene.epsg}.",
                "Leave the item out, or ask its provider which of the two is right.",
            )
        corners = np.array([transform @ (0, 0), transform @ (values.shape[1], values.shape[0])])
        return _View(np.asarray(np.maximum(values, 0), np.uint16), corners.ravel())

    def _path(self, scene: Scene, suffix: str) -> Path:
        # The addresses are part of the key: another catalog may serve another file under the same id.
        facts = json.dumps([_VERSION, scene.updated, scene.offset, self._missing_scl, scene.assets], sort_keys=True)
        key = hashlib.sha256(facts.encode()).hexdigest()[:16]
        return self._folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', scene.id)}.{key}.{suffix}"


def _kept(path: Path) -> _View | None:
    """Return a kept view; None if it is not there yet, or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
            view = _View(np.asarray(arrays["clear"], bool), np.asarray(arrays["extent"], float))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return view if view.values.ndim == 2 and view.extent.shape == (4,) else None


def _check_same_ground(scene: Scene, clear: _View, name: str, band: _View) -> None:
    """Refuse a band whose extent differs from that of the scene classification by more than a coarse pixel."""
    west, north, east, south = clear.extent
    pixel = max(abs(east - west), abs(north - south)) / OVERVIEW_PX
    if np.abs(band.extent - clear.extent).max() > pixel:
        raise InputError(
            f"Band {name} of {scene.id} covers other ground than {SCL if scene.assets[SCL] else REFLECTANCE_BANDS[0]}.",
            "Leave the item out, or ask its provider.",
        )


def scene_statistics(
    bands: NDArray[Any], clear: NDArray[np.bool_], *, offset: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return mean and standard deviation per band over clear, valid pixels.

    Parameters
    ----------
    bands : (band, y, x) uint16
        Digital numbers, 0 = nodata.
    clear : (y, x) bool
        Clear views over the same ground, at any shape.
    offset : int
        What the processing baseline added to DN.

    Returns
    -------
    mean, std : (band,) float64
        Harmonised DN (clipped at 1 from below); std is at least 1; None if no pixel is clear and valid
        in all bands. Source: docs/explanation/method.md (release's normalization).
    """
    seen = resize_nearest(clear, bands.shape[1:]) & (bands > 0).all(axis=0)
    if not seen.any():
        return None
    # Kept statistics need no compiled loops, which are slow to load.
    from headwater.imagery.compositor import harmonize

    values = harmonize(bands[:, seen], offset=offset).astype(np.float64)
    return values.mean(axis=1), np.maximum(values.std(axis=1), _MIN_STD)
