"""A small valley as arrays, files and results: what the tests and examples of the public functions work on."""

import json

import geopandas as gpd
import numpy as np
import torch
from rasterio.warp import transform_bounds
from shapely.geometry import box, mapping

from headwater import raster
from headwater.geo.grid import cell_grid, elevation_grid, prediction_grid
from headwater.models.channels import PAPER
from headwater.models.checkpoint import save_checkpoint
from headwater.models.registry import build_network
from headwater.raster.arrays import located
from support.local_place import CELL, MARGIN_PX, UTM, utm_grid, write_plan, write_scene

COMPOSITE_GRID = cell_grid(CELL, margin_px=MARGIN_PX)
ELEVATION_GRID = elevation_grid(CELL, margin_px=MARGIN_PX)
PROBABILITY_GRID = prediction_grid(CELL)


def heights(grid):
    """(y, x) float32: a valley that falls to the south, with ripples that gather water."""
    west, south, east, _ = CELL.bounds
    x = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    y = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    across = np.abs(x - (west + east) / 2)[None, :] * 4000
    ripples = 6 * np.cos(np.arange(grid.height) * grid.dy * 2 * np.pi * 100)[:, None]
    return (100 + across + (y - south)[:, None] * 1500 + ripples).astype(np.float32)


def water(grid):
    """(y, x) uint8: probability * 255, high along side streams and the middle of the valley."""
    values = np.full(grid.shape, 5, np.uint8)
    middle = grid.width // 2
    values[20:-20, middle - 1 : middle + 1] = 230
    for row in range(40, grid.height - 40, 35):
        values[row, 30 : middle - 6] = 240
        values[row + 12, middle + 6 : grid.width - 40] = 240
    return values


def image_values(grid, seed=0):
    """(5, y, x) uint8: noise without missing pixels, and one clear view."""
    values = np.random.default_rng(seed).integers(1, 256, (5, *grid.shape), dtype=np.uint8)
    values[4] = 1
    return values


def image_array(grid):
    return located(image_values(grid), grid, name="composite", band=("N", "R", "G", "B", "clear_views"))


def elevation_array(grid=ELEVATION_GRID):
    return located(heights(grid), grid, name="elevation")


def probability_array(grid=PROBABILITY_GRID):
    return located(water(grid) / np.float32(255), grid, name="probability")


def window(array, size, start=(0, 0)):
    """The window of an array that starts at a row and a column, with its own coordinates."""
    return array.isel(y=slice(start[0], start[0] + size[0]), x=slice(start[1], start[1] + size[1]))


def write_weights(folder, recipe=PAPER):
    """Write a checkpoint of a tiny network; the same each time."""
    torch.manual_seed(0)
    path = folder / "tiny.safetensors"
    sizes = {"base_channels": 1, "encoders": 2, "decoders": 1, "in_channels": len(recipe.channels)}
    save_checkpoint(path, build_network("waternet", sizes), recipe=recipe, license="CC0-1.0")
    return path


def write_rasters(folder):
    """Write composite.tif, elevation.tif and probability.tif of the cell as the workflow does; return their paths."""
    paths = {name: folder / f"{name}.tif" for name in ("composite", "elevation", "probability")}
    image = image_values(COMPOSITE_GRID)
    raster.write_cog(
        paths["composite"], image, transform=COMPOSITE_GRID.transform, mask=image[0] > 0, bands=raster.COMPOSITE
    )
    raster.write_cog(paths["elevation"], heights(ELEVATION_GRID)[None], transform=ELEVATION_GRID.transform)
    values = water(PROBABILITY_GRID)
    raster.write_cog(
        paths["probability"], values[None], transform=PROBABILITY_GRID.transform, mask=np.ones(values.shape, bool)
    )
    return paths


def write_results(folder):
    """Write results/<basin> of the one cell, its network made by the command's functions; return the folder."""
    from headwater.raster.mosaic import mosaic
    from headwater.waterways.backbone.dem import dem_backbone
    from headwater.waterways.backbone.tdx import write_backbone
    from headwater.waterways.network_step import network
    from headwater.waterways.vectorize_step import vectorize_cell

    cell = folder / "cells" / CELL.name
    cell.mkdir(parents=True)
    plan, paths = write_plan(folder), write_rasters(cell)
    mosaic([paths["probability"]], folder / "mosaic.vrt")
    grid = ELEVATION_GRID
    made = dem_backbone(
        heights(grid), np.ones(grid.shape, bool), grid, min_area_km2=0.5, cells=[(CELL.name, CELL.bounds)]
    )
    write_backbone(made, folder / "reaches.parquet", folder / "catchments.parquet")
    vectorize_cell(
        [paths["probability"]], [paths["elevation"]], folder / "reaches.parquet", folder / "catchments.parquet",
        CELL.name, cell / "waterways.parquet",
    )  # fmt: skip
    network(
        [cell / "waterways.parquet"], folder / "reaches.parquet", folder / "waterways.parquet",
        folder / "waterways.checks.json", basin_id=json.loads(plan.read_text())["basin_id"],
    )  # fmt: skip
    return folder


def tdx_tables(backbone):
    """TDX-Hydro's tables of a backbone: its columns and names."""
    reaches = backbone.reaches
    streams = gpd.GeoDataFrame(
        {
            "LINKNO": reaches["link_id"],
            "DSLINKNO": reaches["downstream_link_id"],
            "strmOrder": reaches["strahler_order"],
            "DSContArea": reaches["upstream_area_km2"] * 1e6,
        },
        geometry=reaches.geometry,
        crs=reaches.crs,
    )
    return streams, backbone.catchments.rename(columns={"link_id": "streamID"})[["streamID", "geometry"]]


def write_stac_items(folder):
    """Write two scenes over the cell, one cloudy in its south; return their STAC items."""
    transform, shape = utm_grid()
    edges = (transform.c, transform.f - 10 * shape[0], transform.c + 10 * shape[1], transform.f)
    bounds = transform_bounds(UTM, "EPSG:4326", *edges)
    items = []
    for number, cloud in enumerate((None, slice(shape[0] // 2, shape[0]))):
        scene = write_scene(folder, f"S2A_{number}", cloud=cloud, value=2000 + 500 * number)
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": scene["id"],
                "collection": scene["collection"],
                "geometry": mapping(box(*bounds)),
                "bbox": list(bounds),
                "links": [],
                "properties": {
                    "datetime": f"2023-0{number + 1}-01T00:00:00Z",
                    "s2:mgrs_tile": "32PRV",
                    "s2:processing_baseline": "03.00",
                    "proj:epsg": 32632,
                    "eo:cloud_cover": 40.0 * number,
                },
                "assets": {name: {"href": href} for name, href in scene["assets"].items()},
            }
        )
    return items
