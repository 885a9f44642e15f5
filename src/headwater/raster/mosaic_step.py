"""mosaic: the basin's raster, a VRT over its cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.core.files import write_if_changed
from headwater.raster import mosaic_vrt


def mosaic(rasters: Sequence[Path], out: Path) -> None:
    """Write a VRT over the cells' rasters, with paths relative to its own folder.

    Parameters
    ----------
    rasters : sequence of Path
        probability.tif of each cell.
    out : Path
        mosaic.vrt.
    """
    text = mosaic_vrt([Path(path) for path in rasters], relative_to=out.parent)
    write_if_changed(out, text.encode())
