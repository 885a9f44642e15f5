"""A catalog folder with a few small scenes and elevation tiles, for tests and for trying a step within a second.

Two overlapping MGRS tiles at 46 N, 15 E in UTM zone 33, 40 m pixels, and an elevation tile on each side of 46 N. The
ground is random; clouds are stripes whose position and width the caller chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from shapely.geometry import box, mapping

from headwater import raster
from headwater.core.files import write_json
from headwater.core.sentinel2 import OFFSET_DN, REFLECTANCE_BANDS, SCL
from headwater.geo.grid import Cell, cell_grid

EPSG = 32633
SIZE_PX = 300
PIXEL_M = 40.0
TILES = {"33TWM": (500_000.0, 5_108_000.0), "33TWL": (500_000.0, 5_098_000.0)}
"""Upper left corners; the second starts 2 km above the lower edge of the first."""
CELL_DEGREES = 0.05
CELLS = ("N46.00E015.00", "N46.00E015.05", "N45.95E015.00")
_SCL_CLEAR, _SCL_CLOUD = 4, 9
_SEED = 7


@dataclass(frozen=True)
class TinyScene:
    """Description of a scene."""

    tile: str
    day: str
    """YYYYMMDD."""
    cloudy: tuple[float, float] = (0.0, 0.0)
    """Stripe of cloud: start and end as fractions of the tile's width."""
    empty: float = 0.0
    """Fraction of the width, from the left, outside the swath."""
    baseline: str = "05.09"
    scl: bool = True
    generated: str = "20240101T000000"

    @property
    def id(self) -> str:
        """Name as on the Planetary Computer."""
        return f"S2A_MSIL2A_{self.day}T100000_R079_T{self.tile}_{self.generated}"


DEFAULT_SCENES = (
    TinyScene("33TWM", "20230610", cloudy=(0.0, 0.3)),
    TinyScene("33TWM", "20230620", cloudy=(0.2, 0.8)),
    TinyScene("33TWM", "20230630", cloudy=(0.1, 0.15), empty=0.1),
    TinyScene("33TWM", "20220615"),
    TinyScene("33TWL", "20230610", cloudy=(0.5, 0.9)),
    TinyScene("33TWL", "20230620", baseline="03.01"),
)


def write_tiny_catalog(folder: Path, scenes: Sequence[TinyScene] = DEFAULT_SCENES) -> None:
    """Write items, collections and files as in a demo planet's folder (stac/, assets/).

    Parameters
    ----------
    folder : Path
        Folder to write into.
    scenes : sequence of TinyScene
        Scenes to make.
    """
    for scene in scenes:
        _write_scene(folder, scene)
    for collection, step in (("cop-dem-glo-30", 3600), ("cop-dem-glo-90", 1200)):
        for south in (45, 46):
            _write_elevation(folder, collection, step, south)
    for collection in ("sentinel-2-l2a", "cop-dem-glo-30", "cop-dem-glo-90"):
        document = {"type": "Collection", "id": collection, "description": f"Tiny {collection}.", "license": "other"}
        write_json(folder / "stac" / f"{collection}.collection.json", document)


def write_tiny_plan(path: Path, *, margin_px: int = 16, names: Sequence[str] = CELLS) -> None:
    """Write a plan.json of some cells, by default the three cells of the tiny catalog."""
    cells = [Cell.from_name(name, CELL_DEGREES) for name in names]
    entries = [
        {"name": cell.name, "bounds": cell.bounds, "width": cell_grid(cell).width, "height": cell_grid(cell).height}
        for cell in cells
    ]
    edges = np.array([cell.bounds for cell in cells])
    bounds = [*edges[:, :2].min(axis=0).tolist(), *edges[:, 2:].max(axis=0).tolist()]
    write_json(
        path,
        {
            "basin_id": "1",
            "cell_degrees": CELL_DEGREES,
            "margin_px": margin_px,
            "bounds": bounds,
            "basin_bounds": bounds,
            "cells": entries,
        },
    )


def _write_scene(folder: Path, scene: TinyScene) -> None:
    west, north = TILES[scene.tile]
    transform = Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north)
    across = np.broadcast_to((np.arange(SIZE_PX) + 0.5) / SIZE_PX, (SIZE_PX, SIZE_PX))
    cloud = (across >= scene.cloudy[0]) & (across < scene.cloudy[1])
    swath = across >= scene.empty
    level = tuple(int(part) for part in scene.baseline.split("."))
    offset = OFFSET_DN if level >= (4, 0) else 0
    # The ground is the same in all scenes of a tile.
    random = np.random.default_rng([_SEED, *scene.tile.encode()])
    assets: dict[str, Any] = {}
    for name in REFLECTANCE_BANDS:
        ground = random.integers(200, 3000, (SIZE_PX, SIZE_PX))
        dn = np.where(swath, np.where(cloud, 9000, ground) + offset, 0).astype(np.uint16)
        assets[name] = _write_asset(folder, "sentinel-2-l2a", scene.id, name, dn, transform, EPSG, nodata=0)
    if scene.scl:
        classes = np.where(swath, np.where(cloud, _SCL_CLOUD, _SCL_CLEAR), 0).astype(np.uint8)
        half = Affine(2 * PIXEL_M, 0, west, 0, -2 * PIXEL_M, north)
        assets[SCL] = _write_asset(folder, "sentinel-2-l2a", scene.id, SCL, classes[::2, ::2], half, EPSG, nodata=0)
    side = SIZE_PX * PIXEL_M
    edges = (west + scene.empty * side, north - side, west + side, north)
    day = f"{scene.day[:4]}-{scene.day[4:6]}-{scene.day[6:]}"
    properties = {
        "datetime": f"{day}T10:00:00.024000Z",
        "platform": "Sentinel-2A",
        "eo:cloud_cover": round(100 * float((cloud & swath).mean()), 6),
        "proj:epsg": EPSG,
        "s2:mgrs_tile": scene.tile,
        "s2:nodata_pixel_percentage": round(100 * scene.empty, 6),
        "s2:processing_baseline": scene.baseline,
    }
    _write_item(
        folder, "sentinel-2-l2a", scene.id, transform_bounds(f"EPSG:{EPSG}", "EPSG:4326", *edges), properties, assets
    )


def _write_elevation(folder: Path, collection: str, per_degree: int, south: int) -> None:
    name = f"Copernicus_DSM_COG_{36000 // per_degree}_N{south}_00_E015_00_DEM"
    size, step = per_degree // 6, 1 / per_degree
    # A sixth of a degree around 46 N is enough; pixel centers are on the degree lines.
    north = 46.0 if south == 45 else 46.0 + size * step
    transform = Affine(step, 0, 15.0 - step / 2, 0, -step, north + step / 2)
    rows, columns = np.mgrid[:size, :size]
    height_m: NDArray[np.float32] = (300 + 0.2 * rows + 0.1 * columns).astype(np.float32)
    assets = {"data": _write_asset(folder, collection, name, "data", height_m, transform, 4326, nodata=None)}
    bounds = (15.0 - step / 2, north + step / 2 - size * step, 15.0 - step / 2 + size * step, north + step / 2)
    properties = {"datetime": "2021-04-22T00:00:00Z", "proj:epsg": 4326}
    _write_item(folder, collection, name, bounds, properties, assets)


def _write_asset(
    folder: Path,
    collection: str,
    item_id: str,
    name: str,
    values: NDArray[Any],
    transform: Affine,
    epsg: int,
    *,
    nodata: float | None,
) -> dict[str, str]:
    href = f"assets/{collection}/{item_id}/{name}.tif"
    raster.write_cog(
        folder / href,
        values[np.newaxis],
        transform=transform,
        crs=f"EPSG:{epsg}",
        nodata=nodata,
        overview_resampling="nearest",
    )
    return {"href": href, "type": "image/tiff; application=geotiff; profile=cloud-optimized"}


def _write_item(
    folder: Path,
    collection: str,
    item_id: str,
    bounds: tuple[float, float, float, float],
    properties: dict[str, Any],
    assets: dict[str, Any],
) -> None:
    write_json(
        folder / "stac" / collection / f"{item_id}.json",
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": item_id,
            "collection": collection,
            "bbox": list(bounds),
            "geometry": mapping(box(*bounds)),
            "properties": properties,
            "assets": assets,
            "links": [],
        },
    )
