"""Effect of overlap, window and recipe on seams: two tilings of one place, compared by the distance to a tile's edge.

    python benchmarks/seams.py --composites results/1/cells/*/composite.tif --elevations results/1/cells/*/elevation.tif

Both tilings have the same tiles; the second is moved by half a step. Away from the border of the place their quantized
maps are compared by the distance of a pixel to the nearest tile edge within the place, of either tiling. `step` is the
visible part of a seam: how much more a map changes across an edge than near it, in 1/255.

The recipe `own` is the checkpoint's and the baseline. `datum` takes the elevation above the lowest point of the place
instead of the tile: its gain is the cost of the tile's own lowest point. `relative` takes the elevation above a smooth
surface; weights not trained on it get unknown input, so its figures count only for a checkpoint of that recipe.
"""

from __future__ import annotations

import argparse
import itertools
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from headwater import raster
from headwater.geo.grid import RasterGrid
from headwater.models.base import Network
from headwater.models.channels import RELATIVE, Channel, Scaling
from headwater.models.checkpoint import load_checkpoint
from headwater.models.shipped import default_checkpoints
from headwater.predict.blending import WINDOWS
from headwater.predict.pipeline import predict_probability, quantize
from headwater.predict.tiling import Tiling

DISTANCES_PX = (0, 16, 64, 128, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--composites", type=Path, nargs="+", required=True, help="composite.tif of adjacent cells")
    parser.add_argument("--elevations", type=Path, nargs="+", required=True, help="their elevation.tif")
    parser.add_argument("--side-px", type=int, default=1696, help="side of the place cut from their middle")
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoints()[0])
    parser.add_argument("--tile-px", type=int, default=832)
    parser.add_argument("--overlaps", type=int, nargs="+", default=[104, 208, 416])
    parser.add_argument("--tilt-m", type=float, default=0, help="rise from corner to corner, added")
    parser.add_argument("--recipes", nargs="+", default=["own", "datum", "relative"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    weights = load_checkpoint(options.checkpoint)
    composite, elevation = _place(options.composites, options.elevations, options.side_px)
    rise = np.linspace(0, options.tilt_m / 2, len(elevation), dtype=np.float32)
    elevation = elevation + rise[:, None] + rise[None, :]
    recipe = weights.metadata.recipe
    low, high = float(np.nanmin(elevation)), float(np.nanmax(elevation))
    fixed = Channel("elevation", "min_max_elevation", {"low_m": low, "high_m": high}, Scaling(gain=high - low))
    datum = [fixed if channel.feature == "elevation" else channel for channel in recipe.channels]
    recipes = {
        "own": recipe,
        "datum": replace(recipe, name="datum", channels=tuple(datum)),
        "relative": replace(recipe, name="relative", channels=RELATIVE.channels),
    }
    print(f"place of {elevation.shape} px, elevation {np.nanmin(elevation):.0f} to {np.nanmax(elevation):.0f} m")
    bins = " ".join(f"{f'{low}-{high}' if high < 9999 else f'{low}-':>13}" for low, high in _bins())
    print(f"{'recipe':9} {'overlap':>7} {'window':8} {bins} {'step':>6}   (mean and 99.9th percentile by distance, px)")
    rows = []
    for name in options.recipes:
        used = recipes[name]
        for overlap in options.overlaps:
            remembered = Remembered(weights.predictor)
            for window in WINDOWS:
                figures = compare(remembered, used, composite, elevation, overlap, window, options)
                rows.append({"recipe": name, "overlap_px": overlap, "window": window, **figures})
                shown = " ".join(f"{mean:6.2f} {high:6.1f}" for mean, high in figures["differences"])
                print(f"{name:9} {overlap:7} {window:8} {shown} {figures['step']:6.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


class Remembered(Network):
    """A network that computes each input once: windows differ only in the use of its output."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        self.outputs: dict[int, torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities of channels."""
        key = zlib.crc32(x.contiguous().numpy().tobytes())
        if key not in self.outputs:
            self.outputs[key] = self.network(x)
        return self.outputs[key]


def compare(remembered, recipe, composite, elevation, overlap, window, options) -> dict[str, object]:
    """Return mean and 99.9th percentile of the difference by distance, and the step at the edges."""
    layout = {"tile_px": options.tile_px, "overlap_px": overlap}
    tiling = Tiling.over(elevation.shape, **layout, multiple=remembered.config.multiple_px)
    # The same tiling over a place that starts and ends half a step later: cut here instead of read again.
    move = (tiling.rows[1] // 2) // 2 * 2
    size = elevation.shape[0] - move
    maps, edges = [], []
    for first in (0, move):
        part = (slice(first, first + size), slice(first, first + size))
        values, _ = predict_probability(
            remembered, recipe, composite[(slice(None), *part)], elevation[part], window=window,
            threads=options.threads, **layout,
        )  # fmt: skip
        maps.append(quantize(values).astype(np.int16))
        over = Tiling.over((size, size), **layout, multiple=remembered.config.multiple_px)
        edges.append(_inner_edges(over, size) + first)
    half = move // 2
    common = np.abs(maps[0][half:, half:] - maps[1][: size // 2 - half, : size // 2 - half])
    # Coordinates of the middle of the common pixels in the complete place, away from both places' borders.
    center = move + 1 + 2 * np.arange(len(common))
    nearest = np.abs(center[:, None] - np.concatenate(edges)[None, :]).min(axis=1)
    distance = np.minimum(nearest[:, None], nearest[None, :])
    inside = (center - move > 64) & (size - center > 64)
    inside = inside[:, None] & inside[None, :]
    differences = []
    for low, high in _bins():
        chosen = common[inside & (distance >= low) & (distance < high)]
        differences.append((float(chosen.mean()), float(np.quantile(chosen, 0.999))) if chosen.size else (0.0, 0.0))
    return {"differences": differences, "step": _step(maps[0], edges[0] // 2)}


def _bins() -> list[tuple[int, int]]:
    return list(itertools.pairwise(DISTANCES_PX))


def _inner_edges(tiling: Tiling, size: int) -> np.ndarray:
    ends = {edge for row in tiling.rows for edge in (row, row + tiling.tile[0])}
    return np.array(sorted(ends - {0, size}))


def _step(values: np.ndarray, edges: np.ndarray) -> float:
    """Return mean |difference| of neighbors across the edges, minus that of pixels three away on both sides."""
    excess = []
    for axis in (0, 1):
        change = np.abs(np.diff(values, axis=axis)).mean(axis=1 - axis)
        excess += [change[edge - 1] - (change[edge - 4] + change[edge + 2]) / 2 for edge in edges]
    return float(np.mean(excess))


def _place(composites: list[Path], elevations: list[Path], side: int) -> tuple[np.ndarray, np.ndarray]:
    grids = [raster.raster_grid(path) for path in composites]
    first = grids[0]
    west, north = min(grid.bounds[0] for grid in grids), max(grid.bounds[3] for grid in grids)
    east, south = max(grid.bounds[2] for grid in grids), min(grid.bounds[1] for grid in grids)
    width, height = round((east - west) / first.dx), round((north - south) / first.dy)
    complete = RasterGrid(west=west, north=north, dx=first.dx, dy=first.dy, width=width, height=height)
    side = min(side, width, height) // 2 * 2
    grid = complete.crop(row=(height - side) // 2, column=(width - side) // 2, height=side, width=side)
    bands = [raster.read_cells(composites, grid, band=band, resampling="nearest")[0] for band in range(1, 5)]
    heights, known = raster.read_cells(elevations, grid)
    return np.stack(bands), np.where(known, heights, np.nan).astype(np.float32)


if __name__ == "__main__":
    main()
