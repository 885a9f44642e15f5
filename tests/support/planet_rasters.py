"""Published rasters of a demo planet: its true waterways, drawn as the published maps show them."""

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from support.published_rasters import STEP, square_at, square_bounds, write_square


def write_planet_rasters(planet, folder):
    """Write the squares that a planet is on, around the planet only; return their names."""
    truth = gpd.read_file(planet / "truth.gpkg", layer=0)
    west, south, east, north = truth.total_bounds
    around = (west - 0.02, south - 0.02, east + 0.02, north + 0.02)
    names = []
    corners = {square_at(x, y) for x in (around[0], around[2]) for y in (around[1], around[3])}
    for x, y in sorted(corners):
        box = shapely.box(*around).intersection(shapely.box(*square_bounds(x, y))).bounds
        left, low = (np.floor(edge / STEP + 1e-9) for edge in box[:2])
        right, high = (np.ceil(edge / STEP - 1e-9) for edge in box[2:])
        shape = (int(high - low), int(right - left))
        lines = rasterize(
            truth.geometry, out_shape=shape, transform=Affine(STEP, 0, left * STEP, 0, -STEP, high * STEP),
            all_touched=True, dtype="uint8",
        )  # fmt: skip
        values = np.clip(gaussian_filter(lines.astype(np.float32), 0.6) * 400, 0, 255)
        write_square(folder, f"{x}_{y}", box, values=np.rint(values)[None])
        names.append(f"{x}_{y}")
    return names
