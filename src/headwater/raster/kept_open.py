"""A raster that stays open between reads: its header is fetched once, and no block is decoded twice in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import rasterio
from rasterio.io import DatasetReader

from headwater.raster.opening import GDAL_HTTP_OPTIONS, READ_ERRORS, open_once, with_retry
from headwater.stac.items import Asset, Signer

_T = TypeVar("_T")


class KeptOpen:
    """One asset, read by one thread at a time.

    A read that fails is done again by `with_retry`, which signs afresh and reads past GDAL's cache; the next read
    opens the asset anew. A token that was renewed in the meantime closes the old address as well.
    """

    def __init__(self, asset: Asset, signer: Signer) -> None:
        self._asset = asset
        self._signer = signer
        self._address = ""
        self._dataset: DatasetReader | None = None

    def read(self, read: Callable[[DatasetReader], _T]) -> _T:
        """Read from the open raster.

        Raises
        ------
        WorkError
            It cannot be read after several tries.
        """
        try:
            # Options belong to the thread that reads, which need not be the one that opened.
            with rasterio.Env(**GDAL_HTTP_OPTIONS):
                return read(self._opened())
        except READ_ERRORS:
            self.close()
        return with_retry(self._asset, self._signer, read)

    def close(self) -> None:
        """Close the raster if it is open."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def _opened(self) -> DatasetReader:
        address = self._signer(self._asset)
        if self._dataset is None or address != self._address:
            self.close()
            self._dataset = open_once(self._asset, address)
            self._address = address
        return self._dataset
