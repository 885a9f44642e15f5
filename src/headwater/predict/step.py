"""predict: probability of water of one cell, from its composite and elevation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.events import say, warn
from headwater.geo.grid import PREDICTION_FACTOR, Cell, RasterGrid, cell_grid, prediction_grid
from headwater.geo.plan import read_plan
from headwater.models.channels import PIXEL_M, Float32Array, Recipe
from headwater.models.checkpoint import Checkpoint, load_checkpoint
from headwater.models.shipped import default_checkpoints, terms_of
from headwater.predict.devices import claimed_gpu, gpus, resolve_device, resolve_dtype
from headwater.predict.ensemble import EnsembleMember, at_scale
from headwater.predict.pipeline import Options, predict_strips, quantize
from headwater.predict.settings import PredictSettings
from headwater.raster.elevation_values import check_elevation


def predict(
    composite: Path,
    elevation: Path,
    cell: str,
    plan: Path,
    out: Path,
    *,
    checkpoint: Path | Sequence[Path] | None = None,
    settings: PredictSettings | None = None,
    items: Path | None = None,
) -> None:
    """Write probability.tif of a cell: 20 m, uint8 p * 255 with an internal mask.

    Masked (nodata) are pixels whose four composite pixels hold no data and those that lie only in tiles too much of
    which is missing: without image or without elevation. In other tiles unknown elevation masks nothing: its channels
    hold their means there. The sea is predicted like
    anything else. The same input gives the same bytes on a CPU, whatever the machine has to do besides and however many
    threads there are.

    The cell is read, predicted and written by bands: memory does not grow with its height.

    Parameters
    ----------
    composite : Path
        composite.tif of the cell, bands N, R, G, B first.
    elevation : Path
        elevation.tif of the cell, meters; read onto the composite's grid bilinearly.
    cell : str
        Name of the cell.
    plan : Path
        plan.json of the basin.
    out : Path
        probability.tif to write.
    checkpoint : Path or sequence of Path, optional
        Weights (.safetensors with its .json); the mean of several; Headwater's own where not given.
    settings : PredictSettings, optional
        How to compute; its checkpoint is not used here. Of several GPUs "auto" and "cuda" use one that no other process
        of ours has.
    items : Path, optional
        items.parquet of the basin, which says whether the scenes are of a demo planet; taken for real ones without it.

    Raises
    ------
    InputError
        An input does not exist or does not fit the cell or the network, or there is no such device.
    """
    settings = settings or PredictSettings()
    options = options_of(settings)
    weights = [load_checkpoint(path) for path in _paths(checkpoint)]
    members = members_of(weights, max_missing=settings.max_missing)
    the_plan = read_plan(plan)
    the_cell = the_plan.cell(cell)
    grid = cell_grid(the_cell, margin_px=the_plan.margin_px)
    terms = terms_of([each.metadata for each in weights], demo_data=items is not None and _is_demo(items))
    for sentence in terms.warning:
        warn(sentence)
    _check_composite(composite, grid)
    _check_elevation(elevation, the_cell)
    core = prediction_grid(the_cell)
    margin = the_plan.margin_px // PREDICTION_FACTOR
    with (
        raster.row_reader(composite, bands=4) as read_composite,
        raster.warped_row_reader(elevation, grid) as read_elevation,
        _on_own_gpu(options) as options,
        raster.cog_writer(
            out,
            grid=core,
            dtype="uint8",
            tags=_tags(weights, members, options) | terms.tags(),
            bands=raster.PROBABILITY,
        ) as write_rows,
    ):

        def read(first: int, end: int) -> tuple[npt.NDArray[np.uint8], Float32Array]:
            return read_composite(first, end), read_elevation(first, end)

        def write(row: int, probability: Float32Array, valid: npt.NDArray[np.bool_]) -> None:
            # Without the margin, which belongs to the neighboring cells.
            rows = slice(max(0, margin - row), max(0, margin + core.height - row))
            window = (rows, slice(margin, margin + core.width))
            if valid[window].size:
                write_rows(max(0, row - margin), quantize(probability[window])[None], valid[window])

        predict_strips(members, grid.shape, read, write, options)


def _is_demo(items: Path) -> bool:
    from headwater.stac.pins import is_demo_pin

    return is_demo_pin(items)


def options_of(settings: PredictSettings) -> Options:
    """Return how to compute, with the device and its type resolved."""
    return Options(
        tile_px=settings.tile_px,
        overlap_px=settings.overlap_px,
        device=resolve_device(settings.device),
        dtype=settings.dtype,
        compile=settings.compile,
        batch_size=settings.batch_size,
        threads=settings.threads,
        tta=settings.tta,
    )


def members_of(weights: Sequence[Checkpoint], *, max_missing: float | None = None) -> list[EnsembleMember]:
    """Return checkpoints as the members of an ensemble that predicts on the 20 m grid.

    Parameters
    ----------
    weights : sequence of Checkpoint
        Networks with their recipes.
    max_missing : float, optional
        Maximum fraction of missing pixels of a tile that is predicted; by default that of each recipe.
    """
    return [EnsembleMember(at_scale(each.predictor, PREDICTION_FACTOR), _recipe(each, max_missing)) for each in weights]


def _paths(checkpoint: Path | Sequence[Path] | None) -> Sequence[Path]:
    if checkpoint is None:
        return default_checkpoints()
    return [checkpoint] if isinstance(checkpoint, Path) else checkpoint


def _recipe(weights: Checkpoint, max_missing: float | None) -> Recipe:
    recipe = weights.metadata.recipe
    if recipe.pixel_m != PIXEL_M:
        say(f"the weights were made for pixels of {recipe.pixel_m:g} m; those here have {PIXEL_M:g} m.")
        # Slopes and areas are computed with the actual pixel size.
        recipe = replace(recipe, pixel_m=PIXEL_M)
    return recipe if max_missing is None else replace(recipe, max_missing_fraction=max_missing)


@contextmanager
def _on_own_gpu(options: Options) -> Iterator[Options]:
    if options.device != "cuda":
        yield options
        return
    with claimed_gpu(gpus()) as number:
        yield replace(options, device=f"cuda:{number}")


def _check_composite(path: Path, expected: RasterGrid) -> None:
    facts = raster.raster_facts(path)
    if facts["count"] < 4 or facts["dtype"] != "uint8":
        raise InputError(
            f"{path} has {facts['count']} band(s) of {facts['dtype']}; four of uint8 are needed.",
            "Give a composite.tif written by headwater composite.",
        )
    grid = raster.raster_grid(path)
    aligned = np.allclose(grid.bounds, expected.bounds, rtol=0, atol=grid.dy / 100)
    if grid.shape != expected.shape or not aligned:
        raise InputError(
            f"{path} is not on the grid of its cell with a margin of the plan's width.",
            "Make the composite again with the same plan.json.",
        )
    if (expected.height | expected.width) & 1:
        raise InputError(f"{path} has an odd number of rows or columns.", "Use an even margin and cell size.")


def _check_elevation(path: Path, cell: Cell) -> None:
    check_elevation(path)
    have, wanted = raster.raster_grid(path).bounds, cell.bounds
    slack = cell.degrees / 1000
    if any(have[side] > wanted[side] + slack for side in (0, 1)) or any(have[s] < wanted[s] - slack for s in (2, 3)):
        raise InputError(f"{path} does not cover the cell {cell.name}.", "Give the elevation.tif of the same cell.")


def _tags(weights: Sequence[Checkpoint], members: Sequence[EnsembleMember], options: Options) -> dict[str, str]:
    """Return tags that record how the map was made; those of an ensemble are in the order of its checkpoints."""
    dtype = resolve_dtype(options.dtype, options.device, [member.model for member in members])
    return {
        "checkpoint_sha256": ", ".join(each.metadata.sha256 for each in weights),
        "network": ", ".join(each.metadata.network for each in weights),
        "recipe": _json([member.recipe.to_dict() for member in members]),
        "tiles": f"{options.tile_px} px, overlap at least {options.overlap_px} px",
        "computed_in": str(dtype).removeprefix("torch."),
        **({"symmetries": "mean of 8"} if options.tta else {}),
        "unit": "probability of water * 255",
    }


def _json(recipes: list[dict[str, object]]) -> str:
    return json.dumps(recipes if len(recipes) > 1 else recipes[0], sort_keys=True)
