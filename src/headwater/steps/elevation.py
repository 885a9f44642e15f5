"""elevation: the tiles of the elevation models of a cell become one raster at GLO-30 posting."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater import raster, terrain
from headwater.catalog.assets import Asset, Signer
from headwater.catalog.signing import make_signer
from headwater.errors import InputError, WorkError
from headwater.files import read_json
from headwater.grid import RasterGrid, elevation_grid
from headwater.steps.plan import read_plan
from headwater.versions import STEP_VERSIONS


def elevation(
    dem: Path,
    plan: Path,
    cell: str,
    out: Path,
    *,
    signing: str = "none",
    token_url: str | None = None,
    missing: str = "sea",
) -> None:
    """Write elevation.tif of a cell.

    Parameters
    ----------
    dem : Path
        dem.json of the cell.
    plan : Path
        plan.json of the basin.
    cell : str
        Name of the cell.
    out : Path
        One band float32, metres; sea 0.
    signing, token_url : str
        How assets are signed, see `headwater.catalog.signing.make_signer`.
    missing : str
        What to make of pixels that no tile covers: "sea" takes them for sea at elevation 0 (GLO-30 has no ocean
        tiles), "extend" repeats the nearest elevation (a model of one's own that ends on land), "refuse" fails.

    Raises
    ------
    WorkError
        A tile cannot be read, or does not cover the cell.
    InputError
        The manifest is not one.
    """
    the_plan = read_plan(plan)
    the_cell = the_plan.cell(cell)
    grid = elevation_grid(the_cell, margin_px=the_plan.margin_px)
    manifest = read_json(dem)
    signer = make_signer(signing, token_url)
    try:
        items = [(item["collection"], item["id"], item["href"], item["epsg"]) for item in manifest["items"]]
        right_cell = manifest["cell"] == cell
    except (KeyError, TypeError) as error:
        raise InputError(f"{dem} is not a list of elevation tiles.", "Run `headwater select` again.") from error
    if not right_cell:
        raise InputError(f"{dem} is of cell {manifest['cell']}, not {cell}.", "Give the manifest of the cell.")
    names: list[str] = []
    layers: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
    for collection, members in groupby(items, key=lambda item: item[0]):
        layer = _blank(grid)
        for _, _, href, epsg in members:
            # The fallbacks are coarser (GLO-90): bicubic, as the paper fills Armenia and Azerbaijan.
            resampling = "cubic" if layers else "bilinear"
            layer = _lay_over(layer, Asset(href=href, collection=collection), grid, epsg, signer, resampling)
        names.append(collection)
        layers.append(layer)
    merged, source = terrain.merge_elevation(layers or [_blank(grid)])
    if missing != "sea":
        _check_cover(source, cell, missing)
        merged = terrain.extend_edges(merged, source)
    shares = {name: float(np.mean(source == number)) for number, name in enumerate(["sea", *names])}
    tags = {
        "recipe": f"elevation {STEP_VERSIONS['elevation']}",
        "source": "; ".join(f"{name} {share:.4f}" for name, share in shares.items()),
        "tiles": " ".join(item[1] for item in items),
    }
    raster.write_cog(
        out,
        merged[np.newaxis],
        transform=grid.transform,
        tags={key: value for key, value in tags.items() if value},
        band_names=("elevation_m",),
    )


def _blank(grid: RasterGrid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    return np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool)


def _lay_over(
    layer: tuple[NDArray[np.float32], NDArray[np.bool_]],
    asset: Asset,
    grid: RasterGrid,
    epsg: int | None,
    signer: Signer,
    resampling: str,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read a tile where the layer has no value yet.

    A tile on the grid's own posting comes through bilinear reading unchanged; others (GLO-90, SRTM) are interpolated.
    """
    crs = f"EPSG:{epsg}" if epsg else None
    values, valid = raster.read_window(asset, grid, signer=signer, crs=crs, resampling=resampling)
    take = valid & ~layer[1]
    return np.where(take, values, layer[0]).astype(np.float32), layer[1] | take


def _check_cover(source: NDArray[np.uint8], cell: str, missing: str) -> None:
    share = float(np.mean(source == terrain.SOURCE_SEA))
    if share == 1 or (share > 0 and missing == "refuse"):
        raise WorkError(
            f"The elevation model does not cover {share:.1%} of cell {cell} with its margin.",
            "Give an elevation model that reaches beyond the cells, or a smaller basin polygon.",
        )
