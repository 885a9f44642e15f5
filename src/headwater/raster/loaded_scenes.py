"""Base class of readers whose library loads STAC items: builds a signed item, and retries a failed load."""

from __future__ import annotations

import datetime as dt
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds

from headwater.core.errors import NetworkError
from headwater.core.retry import retry_policy
from headwater.core.sentinel2 import REFLECTANCE_BANDS, SCL
from headwater.geo import grid as grids
from headwater.geo.grid import RasterGrid
from headwater.raster.opening import READ_ATTEMPTS, crs_of, gdal_options, with_retry
from headwater.raster.rasterio_scenes import overlap_of
from headwater.raster.scenes import SceneFiles, check_band_type, check_missing_pixels
from headwater.raster.sources import public_name
from headwater.stac.items import Asset, Signer


class LoadedScene(ABC):
    """A scene that a library loads from a STAC item."""

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
        import rasterio

        for name in names:
            if name not in self._facts:
                asset = self._files.assets[name]
                check = partial(check_missing_pixels, name, scene=self._files.id)
                facts = partial(_facts, asset=asset, crs=self._files.crs, check=check)
                self._facts[name] = with_retry(asset, self._signer, facts)
            check_band_type(name, self._facts[name]["dtype"], self._files.id, count=self._facts[name]["count"])
        try:
            # Each library raises its own errors for a failed read, so every error is retried.
            for attempt in retry_policy("read", Exception, max_attempts=READ_ATTEMPTS):
                with attempt, rasterio.Env(**gdal_options(self._files.assets[names[0]])), warnings.catch_warnings():
                    # Deprecations in these libraries' use of their own dependencies.
                    warnings.simplefilter("ignore")
                    again = attempt.retry_state.attempt_number > 1
                    loaded = self._load(self._item(names, renew=again), names, grid)
        except Exception as error:
            # The libraries' own messages contain signed addresses.
            files = ", ".join(public_name(self._files.assets[name]) for name in names)
            raise NetworkError(
                f"{files} could not be read after {READ_ATTEMPTS} tries ({type(error).__name__}).",
                "Check that the files are complete and the server answers, then run again.",
            ) from None
        return np.stack([np.maximum(values, 0).astype(np.uint16) for values in loaded])

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
            href = self._signer(self._files.assets[name], renew=renew)
            item.add_asset(
                name, pystac.Asset(href, media_type=pystac.MediaType.COG, roles=["data"], extra_fields=fields)
            )
        return item


def _facts(
    dataset: DatasetReader, *, asset: Asset, crs: str | None, check: Callable[[DatasetReader], None]
) -> dict[str, Any]:
    check(dataset)
    known = crs_of(dataset, crs, asset)
    return {
        "epsg": known.to_epsg(),
        "shape": dataset.shape,
        "count": dataset.count,
        "transform": dataset.transform,
        "dtype": dataset.dtypes[0],
        "bounds": transform_bounds(known, grids.CRS, *dataset.bounds),
    }
