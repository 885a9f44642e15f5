"""predict: probability of water of one cell, from its composite and elevation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from headwater import raster
from headwater.channels import Recipe
from headwater.errors import InputError
from headwater.grid import TILE_PX, RasterGrid, cell_grid, prediction_grid
from headwater.models import Checkpoint, default_checkpoint, load_checkpoint
from headwater.predict import OVERLAP_PX, THREADS, predict_probability, quantise, resolve_device
from headwater.steps.plan import read_plan


def predict(
    composite: Path,
    elevation: Path,
    cell: str,
    plan: Path,
    out: Path,
    *,
    checkpoint: Path | None = None,
    tile_px: int = TILE_PX,
    overlap_px: int = OVERLAP_PX,
    device: str = "auto",
    batch_size: int = 1,
    threads: int = THREADS,
    max_missing: float | None = None,
) -> None:
    """Write probability.tif of a cell: 20 m, uint8 p * 255 with an internal mask.

    Masked (nodata) are pixels whose four composite pixels hold no data and those that lie only in tiles too much of
    which is missing. The sea is predicted like anything else. The same input gives the same bytes whatever the
    machine has to do besides.

    Parameters
    ----------
    composite : Path
        composite.tif of the cell, bands N, R, G, B first.
    elevation : Path
        elevation.tif of the cell, metres; read onto the composite's grid bilinearly.
    cell : str
        Name of the cell.
    plan : Path
        plan.json of the basin.
    out : Path
        probability.tif to write.
    checkpoint : Path, optional
        Weights (.safetensors with its .json); those of the package where not given.
    tile_px, overlap_px, batch_size, threads
        See `headwater.predict.predict_probability`.
    max_missing : float, optional
        Largest share of missing pixels of a tile that is predicted, in place of the recipe's.
    device : str
        "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises
    ------
    InputError
        An input does not exist or does not fit the cell or the network.
    """
    weights = load_checkpoint(checkpoint if checkpoint is not None else default_checkpoint())
    if weights.model.config.scale != 2:
        raise InputError(
            f"The checkpoint's output is {weights.model.config.scale} times smaller than its input.",
            "Use one with one encoder more than decoders.",
        )
    recipe = weights.metadata.recipe
    if max_missing is not None:
        recipe = replace(recipe, max_missing_share=max_missing)
    the_plan = read_plan(plan)
    the_cell = the_plan.cell(cell)
    bands, _, grid, _ = raster.read_raster(composite)
    _check_composite(composite, bands, grid, cell_grid(the_cell, margin_px=the_plan.margin_px))
    metres, known = raster.read_window(elevation, grid)
    heights = np.where(known, metres, np.nan).astype(np.float32, copy=False)
    probability, valid = predict_probability(
        weights.predictor,
        recipe,
        bands[:4],
        heights,
        tile_px=tile_px,
        overlap_px=overlap_px,
        device=resolve_device(device),
        batch_size=batch_size,
        threads=threads,
    )
    core = prediction_grid(the_cell)
    margin = the_plan.margin_px // 2
    window = (slice(margin, margin + core.height), slice(margin, margin + core.width))
    raster.write_cog(
        out,
        quantise(probability[window])[None],
        transform=core.transform,
        mask=valid[window],
        tags=_tags(weights, recipe, tile_px, overlap_px),
        band_names=("probability",),
    )


def _check_composite(path: Path, bands: np.ndarray, grid: RasterGrid, expected: RasterGrid) -> None:
    if bands.shape[0] < 4 or bands.dtype != np.uint8:
        raise InputError(
            f"{path} has {bands.shape[0]} band(s) of {bands.dtype}; four of uint8 are needed.",
            "Give a composite.tif as headwater composite writes it.",
        )
    aligned = np.allclose(grid.bounds, expected.bounds, rtol=0, atol=grid.dy / 100)
    if grid.shape != expected.shape or not aligned:
        raise InputError(
            f"{path} is not on the grid of its cell with a margin of the plan's width.",
            "Make the composite again with the same plan.json.",
        )
    if (expected.height | expected.width) & 1:
        raise InputError(f"{path} has an odd number of rows or columns.", "Use an even margin and cell size.")


def _tags(weights: Checkpoint, recipe: Recipe, tile_px: int, overlap_px: int) -> dict[str, str]:
    return {
        "checkpoint_sha256": weights.metadata.sha256,
        "network": weights.metadata.network,
        "recipe": json.dumps(recipe.to_dict(), sort_keys=True),
        "tiles": f"{tile_px} px, overlap at least {overlap_px} px",
        "unit": "probability of water * 255",
    }
