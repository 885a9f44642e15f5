"""Scenes read with stackstac."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from headwater.core.extras import require_extra
from headwater.geo.grid import RasterGrid
from headwater.raster.loaded_scenes import LoadedScene
from headwater.raster.scenes import SceneFiles, resampling_of
from headwater.stac.items import Signer


class StackstacScene(LoadedScene):
    """A scene loaded by stackstac onto each grid, which its author no longer maintains."""

    def __init__(self, files: SceneFiles, signer: Signer, *, threads: int) -> None:
        require_extra("readers", "stackstac", purpose="The scene reader 'stackstac'")
        super().__init__(files, signer)
        self._threads = threads

    def _load(self, item: Any, names: Sequence[str], grid: RasterGrid) -> list[NDArray[Any]]:
        # A stack has one resampling and one type for all its bands.
        return [self._load_band(item, name, grid) for name in names]

    def _load_band(self, item: Any, name: str, grid: RasterGrid) -> NDArray[Any]:
        import stackstac

        stack = stackstac.stack(
            [item.to_dict(transform_hrefs=False)],
            assets=[name],
            epsg=4326,
            resolution=(grid.dx, grid.dy),
            bounds=grid.bounds,
            snap_bounds=False,
            resampling=Resampling[resampling_of(name)],
            dtype=np.dtype(self._dtype(name)),
            fill_value=np.dtype(self._dtype(name)).type(0),
            rescale=False,
            # A missing file is an error, not a gap in the data.
            errors_as_nodata=(),
        )
        # stackstac's rounding of the bounds may add a pixel.
        return np.asarray(stack.compute(scheduler="threads", num_workers=self._threads).values)[
            0, 0, : grid.height, : grid.width
        ]
