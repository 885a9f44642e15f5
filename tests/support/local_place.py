"""One small cell for tests of the raster steps: plan, two scenes in UTM and elevation tiles, as real files."""

import json

import numpy as np
from affine import Affine
from rasterio.warp import transform_bounds

from headwater import raster
from headwater.geo.grid import Cell, cell_grid, elevation_grid

CELL = Cell(160, 239, 0.05)  # N08.00E011.95
MARGIN_PX = 32
UTM = "EPSG:32632"


def write_plan(folder):
    path = folder / "plan.json"
    cells = [{"name": CELL.name, "bounds": list(CELL.bounds)}]
    path.write_text(
        json.dumps(
            {
                "basin_id": "1",
                "cell_degrees": 0.05,
                "margin_px": MARGIN_PX,
                "basin_bounds": list(CELL.bounds),
                "cells": cells,
            }
        )
        + "\n"
    )
    return path


def utm_grid():
    west, south, east, north = transform_bounds("EPSG:4326", UTM, *cell_grid(CELL, margin_px=MARGIN_PX).bounds)
    west, north = west // 20 * 20 - 100, north // 20 * 20 + 100
    width, height = int((east - west) // 20 + 6) * 2, int((north - south) // 20 + 6) * 2
    return Affine(10, 0, west, 0, -10, north), (height, width)


def write_scene(folder, name, *, offset=0, cloud=None, value=2000, with_scl=True, mean=2000.0):
    """Write a scene of constant reflectance with a cloud in a slice of its rows; return its entry of scenes.json."""
    transform, shape = utm_grid()
    assets = {}
    for number, band in enumerate(("B08", "B04", "B03", "B02")):
        dn = np.full((1, *shape), value + 100 * number + offset, np.uint16)
        if cloud is not None:
            dn[0, cloud] = 12000 + offset
        dn[0, :40, :40] = 0
        raster.write_cog(folder / name / f"{band}.tif", dn, transform=transform, crs=UTM, nodata=0)
        assets[band] = str(folder / name / f"{band}.tif")
    scl = np.full((1, shape[0] // 2, shape[1] // 2), 4, np.uint8)
    if cloud is not None:
        scl[0, cloud.start // 2 : cloud.stop // 2] = 9
    scl[0, :20, :20] = 0
    half = transform @ Affine.scale(2)
    raster.write_cog(folder / name / "SCL.tif", scl, transform=half, crs=UTM, nodata=0, overview_resampling="nearest")
    assets["SCL"] = str(folder / name / "SCL.tif") if with_scl else None
    return {
        "id": name, "collection": "sentinel-2-l2a", "datetime": "2023-01-01T00:00:00Z", "mgrs_tile": "32PRV",
        "baseline": "05.09" if offset else "03.00", "offset": offset, "epsg": 32632, "cloud_cover": 1.0,
        "assets": assets, "mean": [mean] * 4, "std": [500.0] * 4,
    }  # fmt: skip


def write_scenes(folder, scenes):
    path = folder / "scenes.json"
    path.write_text(json.dumps({"cell": CELL.name, "collection": "sentinel-2-l2a", "scenes": scenes}))
    return path


def write_dem(folder, tiles):
    """Write dem.json over tiles of (collection, west, south, east, north, function of lon and lat)."""
    items = []
    grid = elevation_grid(CELL, margin_px=200)
    for number, (collection, west, south, east, north, height) in enumerate(tiles):
        part = grid.window((west, south, east, north))
        columns = part.west + (np.arange(part.width) + 0.5) * part.dx
        rows = part.north - (np.arange(part.height) + 0.5) * part.dy
        values = height(columns[np.newaxis], rows[:, np.newaxis]) + np.zeros(part.shape)
        path = folder / f"dem{number}.tif"
        raster.write_cog(path, values[np.newaxis].astype(np.float32), transform=part.transform)
        items.append({"id": f"tile{number}", "collection": collection, "href": str(path), "epsg": 4326})
    path = folder / "dem.json"
    path.write_text(json.dumps({"cell": CELL.name, "items": items}))
    return path
