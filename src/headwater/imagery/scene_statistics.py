"""Coarse views and statistics of scenes, read once for all cells.

Both cover the complete scene: over a cell's window the same scene would look different in neighboring cells. Classes
are read at full resolution, reflectance from overviews. They are kept as small files named by the item's id and its
update time; if they are deleted, they are read again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from headwater.core.errors import HeadwaterError, InputError, WorkError
from headwater.core.files import atomic_path, read_json, write_json
from headwater.core.private_files import is_own_file
from headwater.core.sentinel2 import CLEAR_SCL, GREEN, LAND_SCL, NIR, REFLECTANCE_BANDS, SCL
from headwater.imagery.selection import resize_nearest
from headwater.raster.coarse_bands import (
    CoarseNumbers,
    extent_of,
    has_impossible_numbers,
    read_averaged,
    read_decimated,
    read_flags,
)
from headwater.raster.opening import crs_of, with_retry
from headwater.raster.placement import check_place
from headwater.raster.scenes import check_band
from headwater.stac.items import Asset, Scene, Signer

OVERVIEW_PX = 512
"""Longest side of the coarse view: 200 m pixels of a Sentinel-2 tile."""
MAX_FLOOR_FRACTION = 0.05
"""More of a band's clear land at the floor after the offset is subtracted means that it had been subtracted before."""
MIN_LAND_PX = 20
"""Coarse pixels of clear land below which nothing is concluded from them."""
MIN_CLEAR_PX = 64
"""Coarse pixels that are clear throughout below which statistics are taken from full resolution."""
_CLEAR, _LAND = 1, 2
"""Flags of a number of SCL, or of a band where there is no SCL."""
_MIN_STD = 1.0
"""DN; a scene of one color must not cause a division by zero."""
_MAX_REMEMBERED = 128
"""Coarse views in memory, 0.5 MB each: the candidates of a tile are considered again at each cloud limit."""
_VERSION = 4
"""Part of the file names; raised when the content of the files changes."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class SceneStatistics:
    """What scales a scene to 8 bits."""

    mean: NDArray[np.float64]
    """(band,) of N, R, G, B, harmonized DN over the clear pixels."""
    std: NDArray[np.float64]
    """(band,)"""
    offset: int
    """What is subtracted from DN."""
    floor_fraction: float
    """Largest fraction of a band's clear land that the item's offset would leave at the floor."""


@dataclass(frozen=True)
class _View:
    """Where a scene is clear, coarse."""

    nearest: NDArray[np.uint8]
    """(y, x) flags of the pixel in the middle of each cell."""
    throughout: NDArray[np.uint8]
    """(y, x) flags that all pixels of a cell have."""
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
        AssetGone, AssetCorrupt
            A file of the scene is not there any more, or is damaged.
        SceneRefused
            The scene has no SCL and such scenes are refused.
        InputError
            A band is not valid, such as a preview of 8 bits.
        NetworkError
            A file cannot be read now.
        """
        return (self._view(scene).nearest & _CLEAR) > 0

    def statistics(self, scene: Scene) -> SceneStatistics | None:
        """Return the statistics of a scene's clear pixels; None if no clear pixel has a value.

        Raises
        ------
        AssetGone, AssetCorrupt, SceneRefused, InputError, NetworkError
            See `clear_views`; also if a band covers other ground than the others.
        """
        path = self._path(scene, "statistics.json")
        kept = _kept_statistics(path)
        if kept is not None:
            return kept
        found = self._read_statistics(scene)
        if found is not None:
            facts = {"offset": found.offset, "floor_fraction": found.floor_fraction}
            write_json(
                path, {"id": scene.id, "mean": found.mean.tolist(), "std": found.std.tolist(), **facts}, sealed=True
            )
        return found

    def _read_statistics(self, scene: Scene) -> SceneStatistics | None:
        view = self._view(scene)
        clear = _eroded((view.throughout & _CLEAR) > 0)
        read = [self._read_band(scene, name, partial(_read_checked, clear=clear), view) for name in REFLECTANCE_BANDS]
        bands = [band for band, _ in read]
        if not any(band.averaged for band in bands):
            # Not reduced, so nothing was averaged across the edges of clouds.
            clear = (view.throughout & _CLEAR) > 0
        stack, seen = _stacked(bands, clear)
        land_flags = view.throughout
        if any(bad for _, bad in read) or (any(band.averaged for band in bands) and seen.sum() < MIN_CLEAR_PX):
            # Averages hide what single pixels are: clouds everywhere, or numbers that cannot be.
            bands = [self._read_band(scene, name, _read_exactly, view) for name in REFLECTANCE_BANDS]
            stack, seen = _stacked(bands, (view.nearest & _CLEAR) > 0)
            land_flags = view.nearest
        land = seen & (resize_nearest(land_flags, seen.shape) & _LAND > 0)
        if scene.assets[SCL] is None:
            # Water reflects less near infrared than green, whatever was added to both.
            land = seen & (stack[REFLECTANCE_BANDS.index(NIR)] > stack[REFLECTANCE_BANDS.index(GREEN)])
        at_floor = floor_fraction(stack[:, land], offset=scene.offset)
        offset = 0 if at_floor > MAX_FLOOR_FRACTION else scene.offset
        found = scene_statistics(stack, seen, offset=offset)
        return None if found is None else SceneStatistics(*found, offset, at_floor)

    def _view(self, scene: Scene) -> _View:
        """Return where the scene is clear, from memory, the folder or its files."""
        path = self._path(scene, "clear.npz")
        view = self._remembered.get(path) or _kept(path)
        if view is None:
            view = self._read_view(scene)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, nearest=view.nearest, throughout=view.throughout, extent=view.extent)
            with atomic_path(path) as temporary:
                temporary.write_bytes(buffer.getvalue())
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[path] = view
        return view

    def _read_view(self, scene: Scene) -> _View:
        if scene.assets[SCL] is not None:
            return self._read(scene, SCL, partial(_read_view, name=SCL, table=_scl_flags()))
        if self._missing_scl == "refuse":
            raise SceneRefused(
                f"Scene {scene.id} has no SCL.",
                "Set select.missing_scl to 'clear' to take its valid pixels as clear.",
            )
        name = REFLECTANCE_BANDS[0]
        valid = np.full(2**16, _CLEAR, np.uint8)
        valid[0] = 0
        return self._read(scene, name, partial(_read_view, name=name, table=valid))

    def _read_band(self, scene: Scene, name: str, read: Callable[[DatasetReader, str, Asset], _T], view: _View) -> _T:
        asset = self._asset(scene, name)

        def checked(dataset: DatasetReader) -> _T:
            _check_same_ground(scene, view.extent, name, extent_of(dataset))
            return read(dataset, name, asset)

        return self._read(scene, name, checked)

    def _read(self, scene: Scene, name: str, read: Callable[[DatasetReader], _T]) -> _T:
        """Read a file of a scene that was checked: before any composite starts."""
        asset = self._asset(scene, name)

        def checked(dataset: DatasetReader) -> _T:
            check_band(dataset, name, scene.id)
            crs = crs_of(dataset, f"EPSG:{scene.epsg}" if scene.epsg else None, asset)
            if scene.epsg and crs.to_epsg() not in (scene.epsg, None):
                raise InputError(
                    f"Band {name} of {scene.id} is in EPSG:{crs.to_epsg()}, but its item specifies EPSG:{scene.epsg}.",
                    "Ask its provider which of the two is right.",
                )
            # The other bands are compared with this one.
            if name == (REFLECTANCE_BANDS[0] if scene.assets[SCL] is None else SCL):
                check_place(dataset, crs, scene.corners, f"Band {name} of {scene.id}")
            return read(dataset)

        return with_retry(asset, self._signer, checked)

    def _asset(self, scene: Scene, name: str) -> Asset:
        href = scene.assets[name]
        assert href is not None
        return Asset(href=href, collection=scene.collection)

    def _path(self, scene: Scene, suffix: str) -> Path:
        # The addresses are part of the key: another catalog may serve another file under the same id.
        facts = json.dumps(
            [_VERSION, scene.updated, scene.offset, self._missing_scl, scene.assets, scene.corners], sort_keys=True
        )
        key = hashlib.sha256(facts.encode()).hexdigest()[:16]
        return self._folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', scene.id)}.{key}.{suffix}"


class SceneRefused(WorkError):
    """The settings do not accept a scene."""


def _scl_flags() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(CLEAR_SCL)] |= _CLEAR
    table[list(LAND_SCL)] |= _LAND
    return table


def _read_view(dataset: DatasetReader, *, name: str, table: NDArray[np.uint8]) -> _View:
    return _View(*read_flags(dataset, name, table, max_px=OVERVIEW_PX), extent_of(dataset))


def _read_checked(
    dataset: DatasetReader, name: str, asset: Asset, *, clear: NDArray[np.bool_]
) -> tuple[CoarseNumbers, bool]:
    """Read a band from its overviews; return it, and whether impossible numbers are hidden in its averages."""
    band = read_averaged(dataset, name, asset, max_px=OVERVIEW_PX)
    if not band.averaged:
        return band, False
    # Numbers that cannot be are the largest of all, and what they were averaged into is brightest.
    shown = np.where(resize_nearest(clear, band.values.shape), band.values, 0)
    row, column = np.unravel_index(int(shown.argmax()), shown.shape)
    return band, has_impossible_numbers(dataset, row=int(row), column=int(column), shape=band.values.shape)


def _read_exactly(dataset: DatasetReader, name: str, asset: Asset) -> CoarseNumbers:
    return read_decimated(dataset, name, max_px=OVERVIEW_PX)


def _stacked(bands: Sequence[CoarseNumbers], clear: NDArray[np.bool_]) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Return all bands at the shape of the first, and where they have numbers and the view is clear."""
    stack = np.stack([resize_nearest(band.values, bands[0].values.shape) for band in bands])
    return stack, resize_nearest(clear, stack.shape[1:]) & (stack > 0).all(axis=0)


def _eroded(clear: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells all of whose neighbors are clear too: averages of overviews reach into the next cell."""
    padded = np.pad(clear, 1, constant_values=True)
    rows = padded[:-2] & padded[1:-1] & padded[2:]
    return np.asarray(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:])


def _kept(path: Path) -> _View | None:
    """Return a kept view; None if it is not there yet, not ours, or damaged."""
    if not is_own_file(path):
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
            nearest, throughout = (np.asarray(arrays[name], np.uint8) for name in ("nearest", "throughout"))
            view = _View(nearest, throughout, np.asarray(arrays["extent"], float))
    except Exception:  # numpy and zipfile raise many kinds for a damaged file
        return None
    whole = view.nearest.ndim == 2 and view.nearest.shape == view.throughout.shape
    return view if whole and view.extent.shape == (4,) else None


def _kept_statistics(path: Path) -> SceneStatistics | None:
    """Return kept statistics; None if they are not there yet, not ours, or damaged."""
    if not is_own_file(path):
        return None
    try:
        kept = read_json(path)
        mean, std = np.array(kept["mean"], float), np.array(kept["std"], float)
        found = SceneStatistics(mean, std, int(kept["offset"]), float(kept["floor_fraction"]))
    except (HeadwaterError, OSError, ValueError, KeyError, TypeError):
        return None
    return found if mean.shape == std.shape == (len(REFLECTANCE_BANDS),) else None


def _check_same_ground(scene: Scene, clear: NDArray[np.float64], name: str, band: NDArray[np.float64]) -> None:
    """Refuse a band whose extent differs from that of the scene classification by more than a coarse pixel."""
    west, north, east, south = clear
    pixel = max(abs(east - west), abs(north - south)) / OVERVIEW_PX
    if np.abs(band - clear).max() > pixel:
        raise InputError(
            f"Band {name} of {scene.id} covers other ground than {SCL if scene.assets[SCL] else REFLECTANCE_BANDS[0]}.",
            "Ask its provider.",
        )


def floor_fraction(land: NDArray[Any], *, offset: int) -> float:
    """Return the largest fraction of a band's clear land that subtracting an offset leaves at the floor.

    Parameters
    ----------
    land : (band, pixel) uint16
        Digital numbers of clear land; water may be at the floor.
    offset : int
        What the item's baseline says was added.

    Returns
    -------
    float
        0 where there is too little land to conclude anything.
    """
    if offset == 0 or land.shape[1] < MIN_LAND_PX:
        return 0.0
    return float((land <= offset).mean(axis=1).max())


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
        Harmonized DN (clipped at 1 from below); std is at least 1; None if no pixel is clear and valid
        in all bands. Source: docs/explanation/method.md (release's normalization).
    """
    seen = resize_nearest(clear, bands.shape[1:]) & (bands > 0).all(axis=0)
    if not seen.any():
        return None
    # Kept statistics need no compiled loops, which are slow to load.
    from headwater.imagery.compositor import harmonize

    values = harmonize(bands[:, seen], offset=offset).astype(np.float64)
    return values.mean(axis=1), np.maximum(values.std(axis=1), _MIN_STD)
