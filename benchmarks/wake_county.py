"""Scores of checkpoints on Wake County, North Carolina: a real elevation model and real labels, no image.

The elevation (NED, 30 m) is interpolated to 10 m. Channels of the image get the middle of their range everywhere, like
pixels that training dropped: the network sees no image, and nothing that it would take for a gap. The baseline is D8
flow accumulation on the same elevation.

    python benchmarks/wake_county.py --data ../shared/data/dem-streams-wake-nc shipped relief=relief.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from checkpoints import FLOW_KM2, HELP, mean_probability, named_checkpoints
from headwater import raster
from headwater.evaluate.nhd import WATER_TYPES, read_nhd
from headwater.evaluate.pixel_counts import count_pixels
from headwater.evaluate.score_tables import markdown_table
from headwater.evaluate.water_types import burn_types, water_and_counted
from headwater.geo.grid import RasterGrid
from headwater.terrain.relief import upslope_area

BOUNDS = (-78.770, 35.692, -78.612, 35.806)
"""Within both the elevation and the labels: west, south, east, north."""
PIXEL_DEGREES = 1e-4
MIDDLE = 128
"""Middle of a band's bytes, 1 to 255; 0 is no data."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkpoints", nargs="+", help=HELP)
    parser.add_argument("--data", type=Path, required=True, help="folder of the elevation and the streams")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--maps", type=Path, help="folder for a picture of each map")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    grid = grid_of(BOUNDS)
    heights, _ = raster.read_window(options.data / "elev_ned_30m.tif", grid, resampling="cubic")
    types = burn_types(read_nhd(options.data / "streams.parquet", bounds=grid.bounds), grid)
    truth, counted = water_and_counted(types)
    image = np.full((4, *grid.shape), MIDDLE, dtype=np.uint8)
    rows = []
    for text in options.checkpoints:
        name, paths = named_checkpoints(text)
        probability, valid = mean_probability(paths, image, heights.astype(np.float32))
        found = probability >= options.threshold
        rows.append({"weights": name, **count_pixels(found, truth, counted & valid).scores()})
        if options.maps:
            draw(options.maps / f"{name}.png", probability, truth)
    table = pd.DataFrame([*rows, flow_accumulation(heights.astype(np.float32), truth, counted)]).set_index("weights")
    print(f"{int(truth.sum())} water pixels of 20 m; types: {count_types(types)}")
    print(markdown_table(table, digits=3), end="")
    if options.json:
        options.json.write_text(json.dumps(table.reset_index().to_dict("records"), indent=1) + "\n")


def grid_of(bounds: tuple[float, float, float, float]) -> RasterGrid:
    """Return the grid of about 10 m within bounds, its sides even."""
    west, south, east, north = bounds
    width, height = (2 * round(length / PIXEL_DEGREES / 2) for length in (east - west, north - south))
    return RasterGrid(west, north, PIXEL_DEGREES, PIXEL_DEGREES, width, height)


def flow_accumulation(
    elevation: npt.NDArray[np.float32],
    truth: npt.NDArray[np.bool_],
    counted: npt.NDArray[np.bool_],
) -> dict[str, float | str]:
    """Score D8 flow accumulation at the best of some thresholds: only the baseline may tune itself on the test."""
    area = 10 ** upslope_area(elevation, pixel_m=10, max_km2=1000)
    rows, columns = truth.shape
    coarse = area.reshape(rows, 2, columns, 2).max(axis=(1, 3))
    scores = {limit: count_pixels(coarse >= limit, truth, counted).scores() for limit in FLOW_KM2}
    best = max(scores, key=lambda limit: scores[limit]["f1*"])
    return {"weights": f"flow accumulation from {best:g} km2", **scores[best]}


def count_types(types: npt.NDArray[np.uint8]) -> str:
    """Return the pixels of each water type as text."""
    found, counts = np.unique(types[types > 0], return_counts=True)
    return ", ".join(f"{WATER_TYPES[int(kind)][0]} {count}" for kind, count in zip(found, counts, strict=True))


def draw(
    path: Path,
    probability: npt.NDArray[np.float32],
    truth: npt.NDArray[np.bool_],
) -> None:
    """Draw the probability in gray with the true lines over it in blue, next to the probability alone."""
    gray = np.repeat((255 - 255 * probability).astype(np.uint8)[..., None], 3, axis=2)
    over = gray.copy()
    over[truth] = (0, 90, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([gray, over], axis=1)).save(path)


if __name__ == "__main__":
    main()
