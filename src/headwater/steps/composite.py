"""composite: the chosen scenes of a cell become one cloud-free image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import composite as compositing
from headwater import raster
from headwater.bands import COMPOSITE_BANDS, COMPOSITE_NODATA, REFLECTANCE_BANDS, SCL
from headwater.catalog.assets import Asset, Signer
from headwater.catalog.signing import make_signer
from headwater.errors import InputError, WorkError
from headwater.files import read_json
from headwater.grid import RasterGrid, cell_grid
from headwater.progress import progress
from headwater.steps.plan import read_plan
from headwater.versions import STEP_VERSIONS

STRIP_ROWS = 2048
"""Rows composited at a time: bounds the memory of a one-degree cell."""


def composite(
    scenes: Path,
    plan: Path,
    cell: str,
    out: Path,
    *,
    method: str = "mean",
    dilate_px: int = 2,
    signing: str = "none",
    token_url: str | None = None,
    readers: int = 4,
) -> None:
    """Write composite.tif of a cell.

    Parameters
    ----------
    scenes : Path
        scenes.json of the cell.
    plan : Path
        plan.json of the basin.
    cell : str
        Name of the cell.
    out : Path
        Five bands uint8: N, R, G, B (0 = nodata) and the count of clear views.
    method : str
        best_first, mean or median.
    dilate_px : int
        Pixels by which clouds and shadows are widened.
    signing, token_url : str
        How assets are signed, see `headwater.catalog.signing.make_signer`.
    readers : int
        Bands read at the same time.

    Raises
    ------
    WorkError
        A scene cannot be read.
    InputError
        The manifest is not one, or a scene is not Sentinel-2 digital numbers.
    """
    the_plan = read_plan(plan)
    grid = cell_grid(the_plan.cell(cell), margin_px=the_plan.margin_px)
    manifest = read_json(scenes)
    _check_manifest(manifest, scenes, cell)
    signer = make_signer(signing, token_url)
    result = np.zeros((len(COMPOSITE_BANDS), *grid.shape), np.uint8)
    starts = range(0, grid.height, STRIP_ROWS)
    with ThreadPoolExecutor(readers) as pool:
        for start in progress(starts, description=f"composite {cell}"):
            rows = min(STRIP_ROWS, grid.height - start)
            strip = grid.crop(row=start, column=0, height=rows, width=grid.width)
            image, views = _composite_strip(manifest["scenes"], strip, method, dilate_px, signer, pool)
            result[:-1, start : start + rows] = image
            result[-1, start : start + rows] = views
    tags = {
        "recipe": f"composite {STEP_VERSIONS['composite']}; {method}; sigmoid {compositing.SIGMOID_SLOPE}; "
        f"dilate {dilate_px} px",
        "scenes": " ".join(scene["id"] for scene in manifest["scenes"]),
        "without_scl": " ".join(scene["id"] for scene in manifest["scenes"] if not scene["assets"].get(SCL)),
    }
    # The mask, not the nodata value, says what is missing: 0 is a good count in band 5.
    raster.write_cog(
        out,
        result,
        transform=grid.transform,
        mask=result[-1] > 0,
        tags={key: value for key, value in tags.items() if value},
        band_names=COMPOSITE_BANDS,
    )


def _composite_strip(
    scenes: Sequence[Mapping[str, Any]],
    strip: RasterGrid,
    method: str,
    dilate_px: int,
    signer: Signer,
    pool: ThreadPoolExecutor,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    compositor = compositing.Compositor(strip.shape, bands=len(REFLECTANCE_BANDS), method=method)
    for scene in scenes:
        clear = _read_clear(scene, strip, dilate_px, signer)
        if clear is not None and not clear.any():
            continue
        bands = list(pool.map(lambda name, scene=scene: _read_band(scene, name, strip, signer), REFLECTANCE_BANDS))
        dn = compositing.harmonise(np.stack(bands), offset=int(scene["offset"]))
        scaled = compositing.sigmoid_scale(dn, mean=scene["mean"], std=scene["std"])
        # Without SCL every pixel inside the swath counts as clear: the stated rule (docs/configuration.md).
        compositor.add(scaled, clear if clear is not None else np.all(scaled != COMPOSITE_NODATA, axis=0))
        if compositor.is_full:
            break
    return compositor.result()


def _read_band(scene: Mapping[str, Any], name: str, grid: RasterGrid, signer: Signer) -> NDArray[np.uint16]:
    values, valid = raster.read_window(_asset(scene, name), grid, signer=signer, nodata=0, crs=_crs(scene))
    if values.dtype not in (np.uint16, np.int16):
        raise InputError(
            f"Band {name} of {scene['id']} holds {values.dtype}, not digital numbers of 16 bits.",
            "Use Sentinel-2 reflectance bands as uint16.",
        )
    return np.where(valid, values, 0).astype(np.uint16)


def _read_clear(scene: Mapping[str, Any], grid: RasterGrid, dilate_px: int, signer: Signer) -> NDArray[np.bool_] | None:
    if not scene["assets"].get(SCL):
        return None
    # Read wider than needed, so that clouds just outside the strip are widened into it.
    halo = dilate_px
    wide = grid.crop(row=-halo, column=-halo, height=grid.height + 2 * halo, width=grid.width + 2 * halo)
    values, valid = raster.read_window(
        _asset(scene, SCL), wide, resampling="nearest", signer=signer, nodata=0, crs=_crs(scene)
    )
    clear = compositing.clear_mask(np.where(valid, values, 0).astype(np.uint8), dilate_px=dilate_px)
    return clear[halo : halo + grid.height, halo : halo + grid.width]


def _asset(scene: Mapping[str, Any], name: str) -> Asset:
    return Asset(href=scene["assets"][name], collection=scene["collection"])


def _crs(scene: Mapping[str, Any]) -> str:
    return f"EPSG:{scene['epsg']}"


def _check_manifest(manifest: Any, path: Path, cell: str) -> None:
    try:
        if manifest["cell"] != cell:
            raise InputError(f"{path} is of cell {manifest['cell']}, not {cell}.", "Give the manifest of the cell.")
        for scene in manifest["scenes"]:
            missing = [name for name in REFLECTANCE_BANDS if not scene["assets"].get(name)]
            if missing:
                raise WorkError(f"Scene {scene['id']} has no band {missing[0]}.", "Run search and select again.")
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a list of scenes.", "Run `headwater select` again.") from error
