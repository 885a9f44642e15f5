"""Maps of checkpoints on real Sentinel-2 images without elevation or labels: pictures to look at, no figures.

Each image is scaled like a scene (mean and standard deviation of its clear pixels); clouds remain, to show their
effect. The elevation is flat everywhere: a network trained with elevation lacks half of its input, a network of the
recipe `imagery` lacks nothing. Compare with the image next to each map.

    python benchmarks/real_images.py --data ../shared/data --maps maps shipped imagery=imagery.safetensors
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from checkpoints import HELP, mean_probability, named_checkpoints
from headwater import raster
from headwater.evaluate.score_tables import markdown_table
from headwater.geo.grid import RasterGrid
from headwater.imagery.compositor import scaling_tables, sigmoid_scale
from headwater.imagery.masks import clear_mask

PIXEL_DEGREES = 9e-5
"""About 10 m of latitude."""
DILATE_PX = 2


@dataclass(frozen=True)
class Place:
    """An image before processing baseline 04.00, or with its offset removed."""

    bounds: tuple[float, float, float, float]
    """West, south, east, north."""
    bands: Sequence[tuple[str, int]]
    """File and band number of N, R, G, B and the scene classification."""


PLACES: Mapping[str, Place] = {
    "bolzano": Place(
        (11.282, 46.463, 11.399, 46.522), [("s2-bolzano/S2_L2A_sample.tif", band) for band in (4, 1, 2, 3, 5)]
    ),
    "athabasca": Place(
        (-111.930, 56.923, -111.683, 57.104),
        [(f"s2-athabasca/{name}.tif", 1) for name in ("B08", "B04", "B03", "B02", "SCL")],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkpoints", nargs="+", help=HELP)
    parser.add_argument("--data", type=Path, required=True, help="folder of the images' folders")
    parser.add_argument("--maps", type=Path, required=True, help="folder for the pictures: image and probability")
    options = parser.parse_args()
    options.maps.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, place in PLACES.items():
        image, clear = read_image(options.data, place)
        flat = np.zeros(image.shape[1:], dtype=np.float32)
        for text in options.checkpoints:
            label, paths = named_checkpoints(text)
            probability, valid = mean_probability(paths, image, flat)
            seen = valid & clear[::2, ::2]
            rows.append({
                "place": name, "weights": label, "pixels of 20 m": int(valid.sum()),
                "water, clear": share(probability[seen] >= 0.5),
                "water, under clouds and shadows": share(probability[valid & ~seen] >= 0.5),
            })  # fmt: skip
            Image.fromarray(side_by_side(image, probability)).save(options.maps / f"{name}-{label}.png")
    print(markdown_table(pd.DataFrame(rows).set_index("place"), digits=3), end="")


def share(water: npt.NDArray[np.bool_]) -> float:
    """Return the fraction of true values, NaN if there are none."""
    return float(water.mean()) if water.size else float("nan")


def read_image(data: Path, place: Place) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return the scaled bands (N, R, G, B) on a grid of about 10 m with even sides, and the mask of clear pixels."""
    west, south, east, north = place.bounds
    dx = PIXEL_DEGREES / math.cos(math.radians((south + north) / 2))
    width, height = 2 * round((east - west) / dx / 2), 2 * round((north - south) / PIXEL_DEGREES / 2)
    grid = RasterGrid(west, north, dx, PIXEL_DEGREES, width, height)
    *bands, classes = (
        raster.read_window(data / path, grid, band=band, resampling="nearest" if number == 4 else "bilinear")[0]
        for number, (path, band) in enumerate(place.bands)
    )
    dn = np.stack(bands).astype(np.uint16)
    clear = clear_mask(classes.astype(np.uint8), dilate_px=DILATE_PX)
    tables = scaling_tables(mean=[b[clear].mean() for b in dn], std=[b[clear].std() for b in dn], offset=0)
    return sigmoid_scale(dn, tables), clear


def side_by_side(image: npt.NDArray[np.uint8], probability: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the image in infrared, red and green next to the probability, dark where it is high, at 20 m."""
    colours = np.moveaxis(image[:3, ::2, ::2], 0, -1)
    gray = np.repeat((255 - 255 * probability).astype(np.uint8)[..., None], 3, axis=2)
    return np.concatenate([colours, gray], axis=1)


if __name__ == "__main__":
    main()
