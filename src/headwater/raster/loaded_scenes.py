"""Base class of readers whose library loads STAC items: builds a signed item, and retries a failed load."""

from __future__ import annotations

import datetime as dt
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds

from headwater.core.retry import retry_policy
from headwater.core.sentinel2 import REFLECTANCE_BANDS, SCL
from headwater.geo import grid as grids
from headwater.geo.grid import RasterGrid
from headwater.raster.opening import READ_ATTEMPTS, ask_remote, crs_of, gdal_options, with_retry
from headwater.raster.rasterio_scenes import RasterioScene, overlap_of
from headwater.raster.scenes import SceneFiles, check_band, is_masked, valid_numbers
from headwater.raster.sources import is_remote
from headwater.stac.items import Asset, Signer

_SUSPICIOUS_DN = 16_000
"""Impossible numbers are over 64,000 in practice; interpolation leaves at least a quarter of one somewhere."""


class LoadedScene(ABC):
    """A scene that a library loads from a STAC item.

    The libraries know one nodata value per band. What has other missing pixels (a mask, another nodata value, numbers
    that cannot be) is read by rasterio instead, by the rule that all readers share.
    """

    def __init__(self, files: SceneFiles, signer: Signer) -> None:
        self._files = files
        self._signer = signer
        self._facts: dict[str, dict[str, Any]] = {}

    def overlap(self, grid: RasterGrid) -> RasterGrid | None:
        """Return the part of a grid that the scene's files may cover, None if they do not."""
        name = next(name for name in (SCL, *REFLECTANCE_BANDS) if name in self._files.assets)
        asset = self._files.assets[name]
        return with_retry(asset, self._signer, partial(overlap_of, grid=grid, asset=asset, crs=self._files.crs))

    def read(self, names: Sequence[str], grid: RasterGrid) -> NDArray[np.uint16]:
        """Read bands onto a grid, see `headwater.raster.scenes.SceneReader`."""
        for name in names:
            if name not in self._facts:
                asset = self._files.assets[name]
                self._facts[name] = with_retry(
                    asset,
                    self._signer,
                    partial(_facts, name=name, scene=self._files.id, asset=asset, crs=self._files.crs),
                )
        if not all(self._facts[name]["plain"] for name in names):
            return self._read_with_rasterio(names, grid)
        loaded = self._load_with_retry(names, grid)
        if loaded is None or any(
            name != SCL and _is_suspicious(values) for name, values in zip(names, loaded, strict=True)
        ):
            return self._read_with_rasterio(names, grid)
        numbers = [valid_numbers(name, values) for name, values in zip(names, loaded, strict=True)]
        return np.stack(numbers).astype(np.uint16, copy=False)

    def _read_with_rasterio(self, names: Sequence[str], grid: RasterGrid) -> NDArray[np.uint16]:
        with closing(RasterioScene(self._files, self._signer, threads=1)) as scene:
            return scene.read(names, grid)

    def _load_with_retry(self, names: Sequence[str], grid: RasterGrid) -> list[NDArray[Any]] | None:
        import rasterio

        try:
            # Each library raises its own errors for a failed read, so every error is retried.
            remote = is_remote(self._files.assets[names[0]])
            for attempt in retry_policy("read", Exception, max_attempts=READ_ATTEMPTS if remote else 1):
                with attempt, rasterio.Env(**gdal_options(self._files.assets[names[0]])), warnings.catch_warnings():
                    # Deprecations in these libraries' use of their own dependencies.
                    warnings.simplefilter("ignore")
                    again = attempt.retry_state.attempt_number > 1
                    loaded = self._load(self._item(names, renew=again), names, grid)
            return [np.array(values) for values in loaded]
        except Exception:
            # The libraries' own messages contain signed addresses, and do not distinguish damaged files.
            return None

    def check_unchanged(self) -> None:  # noqa: B027
        """Do nothing: the libraries open a file for each part."""

    def close(self) -> None:  # noqa: B027
        """Do nothing: the libraries close the files they open."""

    @abstractmethod
    def _load(self, item: Any, names: Sequence[str], grid: RasterGrid) -> list[NDArray[Any]]:
        """Return each band as the library reads it, a (y, x) array."""

    def _dtype(self, name: str) -> str:
        return str(self._facts[name]["dtype"])

    def _item(self, names: Sequence[str], *, renew: bool) -> Any:
        """Return an item with signed addresses, to be used for one load only."""
        import pystac

        first = self._facts[names[0]]
        item = pystac.Item(
            id=self._files.id,
            geometry={"type": "Point", "coordinates": list(first["bounds"][:2])},
            bbox=list(first["bounds"]),
            datetime=dt.datetime.fromisoformat(self._files.datetime.replace("Z", "+00:00")),
            properties={"proj:epsg": first["epsg"], "proj:code": f"EPSG:{first['epsg']}"},
            collection=next(iter(self._files.assets.values())).collection,
            stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        )
        for name in names:
            facts = self._facts[name]
            fields = {"proj:shape": list(facts["shape"]), "proj:transform": list(facts["transform"])[:6]}
            asset = self._files.assets[name]
            # Also where redirects end: the libraries would follow any.
            href = ask_remote(asset, self._signer(asset, renew=renew), self._signer).address
            item.add_asset(
                name, pystac.Asset(href, media_type=pystac.MediaType.COG, roles=["data"], extra_fields=fields)
            )
        return item


def _is_suspicious(values: NDArray[Any]) -> bool:
    return bool(values.min() < 0 or values.max() >= _SUSPICIOUS_DN)


def _facts(dataset: DatasetReader, *, name: str, scene: str, asset: Asset, crs: str | None) -> dict[str, Any]:
    check_band(dataset, name, scene)
    known = crs_of(dataset, crs, asset)
    return {
        "epsg": known.to_epsg(),
        "shape": dataset.shape,
        "transform": dataset.transform,
        "dtype": dataset.dtypes[0],
        "plain": dataset.nodata == 0 and not is_masked(dataset) and dataset.count == 1,
        "bounds": transform_bounds(known, grids.CRS, *dataset.bounds),
    }
