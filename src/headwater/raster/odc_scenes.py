"""Scenes read with odc-stac."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.core.extras import require_extra
from headwater.geo import grid as grids
from headwater.geo.grid import RasterGrid
from headwater.raster.loaded_scenes import LoadedScene
from headwater.raster.scenes import SceneFiles, resampling_of
from headwater.stac.items import Signer

# odc logs the signed address of a file that it cannot read; our own message names the file without its signature.
logging.getLogger("odc").addHandler(logging.NullHandler())
logging.getLogger("odc").propagate = False


class OdcScene(LoadedScene):
    """A scene loaded by odc-stac onto each grid.

    odc-stac signs when a load is planned, not when it reads, so each part is a separate load.
    """

    def __init__(self, files: SceneFiles, signer: Signer, *, threads: int) -> None:
        require_extra("readers", "odc.stac", purpose="The scene reader 'odc'")
        super().__init__(files, signer)
        self._threads = threads

    def _load(self, item: Any, names: Sequence[str], grid: RasterGrid) -> list[NDArray[Any]]:
        from odc.geo.geobox import GeoBox
        from odc.stac import load

        fields = {name: {"data_type": self._dtype(name), "nodata": 0} for name in names}
        data = load(
            [item],
            bands=list(names),
            geobox=GeoBox(grid.shape, grid.transform, grids.CRS),
            resampling={name: resampling_of(name) for name in names},
            stac_cfg={item.collection_id: {"assets": fields}},
            fail_on_error=True,
            pool=self._threads,
        )
        return [np.asarray(data[name].values[0]) for name in names]
