"""A finished run of one small cell: its inputs, and every kind of file that the steps leave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
from shapely.geometry import box

from headwater.core.files import write_json
from headwater.waterways.backbone.tdx import Backbone
from support import local_place, small_place

CELL = local_place.CELL
WEIGHTS = "tiny.safetensors"
STREAMS, CATCHMENTS, BASINS = "streams.gpkg", "tdx_catchments.gpkg", "basins.gpkg"
RESULTS = "results/1"
OF_CELL = f"{RESULTS}/cells/{CELL.name}"
PLAN, ITEMS = f"{RESULTS}/plan.json", f"{RESULTS}/items.parquet"
REACHES, AREAS = f"{RESULTS}/reaches.parquet", f"{RESULTS}/catchments.parquet"
NETWORK, CHECKS = f"{RESULTS}/waterways.parquet", f"{RESULTS}/waterways.checks.json"
SCENES, DEM, SEGMENTS = (f"{OF_CELL}/{name}" for name in ("scenes.json", "dem.json", "waterways.parquet"))
COMPOSITE, ELEVATION, PROBABILITY = (f"{OF_CELL}/{name}.tif" for name in ("composite", "elevation", "probability"))
MOSAIC = f"{RESULTS}/mosaic.vrt"
STATISTICS, CLEAR = "results/cache/*.statistics.json", "results/cache/*.npz"
BANDS = tuple(f"scenes/S2A_{scene}/{band}.tif" for scene in "01" for band in ("B02", "B03", "B04", "B08", "SCL"))
TILE = "elevation/dem0.tif"
_AT = ("--plan", PLAN, "--cell", CELL.name)


@dataclass(frozen=True)
class Command:
    """Arguments of `headwater`, and the files that it writes."""

    argv: tuple[str, ...]
    outputs: tuple[str, ...]


def search(url: str) -> Command:
    """Return the search of a catalog."""
    dates = ("--datetime", "2023-01-01/2023-12-31", "--years-back", "0", "--slice-days", "3660")
    bounds = ("--patience-s", "1", "--timeout-s", "2")
    return Command(("search", "--plan", PLAN, "--url", url, *dates, *bounds, "--out", ITEMS), (ITEMS,))


PLANNING = Command(("plan", "--polygons", BASINS, "--basin", "1", "--cell-degrees", "0.05", "--out", PLAN), (PLAN,))
SELECT = Command(
    ("select", "--items", ITEMS, *_AT, "--scenes-out", SCENES, "--dem-out", DEM, "--cache", "results/cache"),
    (SCENES, DEM),
)
COMPOSE = Command(("composite", "--scenes", SCENES, *_AT, "--out", COMPOSITE), (COMPOSITE,))
ELEVATE = Command(("elevation", "--dem", DEM, *_AT, "--out", ELEVATION), (ELEVATION,))
PREDICT = Command(
    ("predict", "--composite", COMPOSITE, "--elevation", ELEVATION, *_AT, "--checkpoint", WEIGHTS, "--device", "cpu",
     "--out", PROBABILITY),
    (PROBABILITY,),
)  # fmt: skip
COMBINE = Command(("mosaic", "--rasters", PROBABILITY, "--out", MOSAIC), (MOSAIC,))
TDX = Command(
    ("backbone", "--plan", PLAN, "--kind", "tdx", "--streams", STREAMS, "--catchments", CATCHMENTS,
     "--reaches-out", REACHES, "--catchments-out", AREAS),
    (REACHES, AREAS),
)  # fmt: skip
FLOW = Command(
    ("backbone", "--plan", PLAN, "--kind", "dem", "--min-area-km2", "0.5", "--polygons", BASINS, "--elevation",
     ELEVATION, "--reaches-out", REACHES, "--catchments-out", AREAS),
    (REACHES, AREAS),
)  # fmt: skip
VECTORIZE = Command(
    ("vectorize", "--probability", PROBABILITY, "--elevation", ELEVATION, "--reaches", REACHES, "--catchments", AREAS,
     "--cell", CELL.name, "--out", SEGMENTS),
    (SEGMENTS,),
)  # fmt: skip
VECTORIZE_MOSAIC = Command(
    ("vectorize", "--probability", MOSAIC, "--elevation", ELEVATION, "--streams", STREAMS, "--catchments", CATCHMENTS,
     "--out", "whole.parquet"),
    ("whole.parquet",),
)  # fmt: skip
JOIN = Command(
    ("network", "--segments", SEGMENTS, "--reaches", REACHES, "--basin", "1", "--out", NETWORK, "--checks", CHECKS),
    (NETWORK, CHECKS),
)
CHECK = Command(("network", "check", NETWORK), ())
REPORT = Command(
    ("report", "--plan", PLAN, "--network", NETWORK, "--checks", CHECKS, "--probability", PROBABILITY,
     "--summary", "summary.csv", "--page", "report/index.html"),
    ("summary.csv", "report/index.html"),
)  # fmt: skip
VERIFY = Command(("models", "verify", WEIGHTS), ())
INFO = Command(("models", "info", WEIGHTS), ())
FIRST = (search("catalog"), SELECT)
"""Commands that complete the run that `build` writes."""


def build(folder: Path) -> None:
    """Write the inputs, and results/ as the workflow leaves it.

    Parameters
    ----------
    folder : Path
        A new folder; paths in the files begin with it.
    """
    catalog = folder / "catalog" / "stac"
    for item in small_place.write_stac_items(folder / "scenes"):
        write_json(catalog / item["collection"] / f"{item['id']}.json", item)
    _write_elevation_item(folder, catalog)
    edges = box(*CELL.bounds).buffer(-0.002)
    gpd.GeoDataFrame({"HYBAS_ID": [1]}, geometry=[edges], crs=4326).to_file(folder / BASINS)
    small_place.write_weights(folder)
    results = small_place.write_results(folder / RESULTS)
    reaches = gpd.read_parquet(results / "reaches.parquet")
    catchments = gpd.read_parquet(results / "catchments.parquet")
    streams, areas = small_place.tdx_tables(Backbone(reaches, catchments, {}))
    streams.to_file(folder / STREAMS)
    areas.to_file(folder / CATCHMENTS)


def _write_elevation_item(folder: Path, catalog: Path) -> None:
    west, south, east, north = CELL.bounds
    bounds = (west - 0.05, south - 0.05, east + 0.05, north + 0.05)
    tile = ("cop-dem-glo-30", *bounds, lambda lon, lat: 100 + 1000 * (lat - south) + 0 * lon)
    (folder / "elevation").mkdir()
    local_place.write_dem(folder / "elevation", [tile])
    write_json(
        catalog / "cop-dem-glo-30" / "tile0.json",
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": "tile0",
            "collection": "cop-dem-glo-30",
            "geometry": json.loads(gpd.GeoSeries([box(*bounds)]).to_json())["features"][0]["geometry"],
            "bbox": list(bounds),
            "links": [],
            "properties": {"datetime": "2021-04-22T00:00:00Z", "proj:epsg": 4326},
            "assets": {"data": {"href": str(folder / "elevation" / "dem0.tif")}},
        },
    )
