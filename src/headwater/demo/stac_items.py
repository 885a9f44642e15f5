"""STAC items and collections as the Planetary Computer writes them.  Pure: dictionaries from facts."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from headwater.demo.acquisitions import Acquisition
from headwater.demo.glo30 import POSTS_PER_DEGREE, DegreeTile
from headwater.demo.planet_grid import MgrsTile
from headwater.stac.items import DEMO_PROCESSING

S2, GLO30 = "sentinel-2-l2a", "cop-dem-glo-30"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
_PROJECTION = "https://stac-extensions.github.io/projection/v1.0.0/schema.json"
_PROJECTION_CODE = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_EO = "https://stac-extensions.github.io/eo/v1.0.0/schema.json"
_SAT = "https://stac-extensions.github.io/sat/v1.0.0/schema.json"
_BANDS = {
    "B02": ("Band 2 - Blue - 10m", "blue", 0.49, 0.098),
    "B03": ("Band 3 - Green - 10m", "green", 0.56, 0.045),
    "B04": ("Band 4 - Red - 10m", "red", 0.665, 0.038),
    "B08": ("Band 8 - NIR - 10m", "nir", 0.842, 0.145),
}
_CLASS_PROPERTIES = {
    "s2:saturated_defective_pixel_percentage": 1,
    "s2:dark_features_percentage": 2,
    "s2:cloud_shadow_percentage": 3,
    "s2:vegetation_percentage": 4,
    "s2:not_vegetated_percentage": 5,
    "s2:water_percentage": 6,
    "s2:unclassified_percentage": 7,
    "s2:medium_proba_clouds_percentage": 8,
    "s2:high_proba_clouds_percentage": 9,
    "s2:thin_cirrus_percentage": 10,
    "s2:snow_ice_percentage": 11,
}


def scene_id(tile: MgrsTile, date: Acquisition, baseline: str) -> str:
    """Return the item id, e.g. S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531."""
    sensed, made = (t.strftime("%Y%m%dT%H%M%S") for t in (date.time, generation_time(date, baseline)))
    return f"{_satellite(date)}_MSIL2A_{sensed}_R{date.orbit:03d}_T{tile.name}_{made}"


def generation_time(date: Acquisition, baseline: str) -> dt.datetime:
    """Return when the product was made: hours after sensing, or in the reprocessing campaign of 2024."""
    if baseline == "05.10":
        return dt.datetime(2024, 6, 3, 11, 20, 31) + dt.timedelta(minutes=7 * date.number)
    return (date.time + dt.timedelta(hours=5, minutes=42)).replace(microsecond=0)


def scene_item(
    tile: MgrsTile, date: Acquisition, baseline: str, scl: NDArray[np.uint8], *, swath: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the STAC item of a scene.

    Parameters
    ----------
    tile, date, baseline
        Tile, acquisition and processing baseline.
    scl
        (y, x) scene classification at 20 m; gives the percentages of classes.
    swath
        (y, x) bool at 10 m, True where the satellite imaged the ground: the footprint.
    """
    name = scene_id(tile, date, baseline)
    counts = np.bincount(scl.ravel(), minlength=12)
    seen = max(int(counts[1:].sum()), 1)
    percentages = {key: round(100 * int(counts[value]) / seen, 6) for key, value in _CLASS_PROPERTIES.items()}
    clouds = sum(percentages[f"s2:{k}_percentage"] for k in ("medium_proba_clouds", "high_proba_clouds", "thin_cirrus"))
    made = generation_time(date, baseline)
    number, sensed = baseline.replace(".", ""), date.time.strftime("%Y%m%dT%H%M%S")
    # The catalog writes either the old or the new projection property, never both.
    coded = date.number % 2 == 1
    ring = _footprint(tile, swath)
    lon, lat = zip(*ring, strict=True)
    properties = {
        "datetime": _stamp(date.time),
        "created": _stamp(made),
        "updated": _stamp(made + dt.timedelta(hours=1)),
        "platform": date.platform,
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "proj:code" if coded else "proj:epsg": f"EPSG:{tile.epsg}" if coded else tile.epsg,
        "eo:cloud_cover": round(clouds, 6),
        "sat:orbit_state": "descending",
        "sat:relative_orbit": date.orbit,
        "s2:mgrs_tile": tile.name,
        "s2:processing_baseline": baseline,
        "processing:version": DEMO_PROCESSING,
        "s2:product_type": "S2MSI2A",
        "s2:datatake_type": "INS-NOBS",
        "s2:datatake_id": f"G{_satellite(date)}_{sensed}_{10_000 + 143 * date.number + date.orbit:06d}_N{baseline}",
        "s2:product_uri": f"{_satellite(date)}_MSIL2A_{sensed}_N{number}_R{date.orbit:03d}_T{tile.name}_"
        f"{made:%Y%m%dT%H%M%S}.SAFE",
        "s2:generation_time": made.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "s2:mean_solar_zenith": round(date.sun_zenith, 6),
        "s2:mean_solar_azimuth": round(date.sun_azimuth, 6),
        "s2:nodata_pixel_percentage": round(100 * int(counts[0]) / scl.size, 6),
        "s2:degraded_msi_data_percentage": 0.0,
        "s2:reflectance_conversion_factor": 1.0,
        **percentages,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_EO, _SAT, _PROJECTION_CODE if coded else _PROJECTION],
        "id": name,
        "collection": S2,
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
        "links": [],
        "assets": _scene_assets(tile, name),
    }


def _scene_assets(tile: MgrsTile, name: str) -> dict[str, Any]:
    right, bottom = tile.west + 10 * tile.width, tile.north - 10 * tile.height
    assets: dict[str, Any] = {}
    for band, (title, common, center, width) in _BANDS.items():
        bands = [
            {
                "name": band,
                "common_name": common,
                "description": title.removesuffix(" - 10m"),
                "center_wavelength": center,
                "full_width_half_max": width,
            }
        ]
        assets[band] = {**_raster_asset(tile, name, band, 10), "title": title, "eo:bands": bands}
    assets["SCL"] = {**_raster_asset(tile, name, "SCL", 20), "title": "Scene classification map (SCL)"}
    for asset in assets.values():
        asset["proj:bbox"] = [tile.west, bottom, right, tile.north]
    return assets


def _raster_asset(tile: MgrsTile, name: str, key: str, pixel_m: int) -> dict[str, Any]:
    return {
        "href": f"assets/{S2}/{name}/{key}.tif",
        "type": COG_TYPE,
        "roles": ["data"],
        "gsd": pixel_m,
        "proj:shape": [tile.height * 10 // pixel_m, tile.width * 10 // pixel_m],
        "proj:transform": [pixel_m, 0, tile.west, 0, -pixel_m, tile.north],
    }


def _footprint(tile: MgrsTile, swath: NDArray[np.bool_]) -> list[list[float]]:
    """Closed ring of longitude and latitude around the imaged pixels (a quadrilateral: swath edges are straight)."""
    top, bottom = int(swath[0].sum()), int(swath[-1].sum())
    north, south = tile.north, tile.north - 10 * tile.height
    corners = [(0, north), (0, south), (bottom, south), (top, north), (0, north)]
    to_degrees = Transformer.from_crs(tile.epsg, 4326, always_xy=True)
    points = (to_degrees.transform(tile.west + 10 * column, y) for column, y in corners)
    return [[round(lon, 8), round(lat, 8)] for lon, lat in points]


def elevation_item(tile: DegreeTile) -> dict[str, Any]:
    """Return the STAC item of an elevation tile."""
    post = 1 / POSTS_PER_DEGREE
    west, north = tile.longitude - post / 2, tile.latitude + 1 + post / 2
    south, east = north - 1, west + 1
    ring = [[east, south], [east, north], [west, north], [west, south], [east, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_PROJECTION],
        "id": tile.name,
        "collection": GLO30,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "datetime": "2021-04-22T00:00:00Z",
            "gsd": 30,
            "platform": "TanDEM-X",
            "processing:version": DEMO_PROCESSING,
            "proj:epsg": 4326,
            "proj:shape": [POSTS_PER_DEGREE, POSTS_PER_DEGREE],
            "proj:transform": [post, 0.0, west, 0.0, -post, north],
        },
        "links": [],
        "assets": {
            "data": {
                "href": f"assets/{GLO30}/{tile.name}/{tile.name}.tif",
                "type": COG_TYPE,
                "title": tile.name.removesuffix("_DEM"),
                "roles": ["data"],
            }
        },
    }


def collections(bounds: tuple[float, float, float, float]) -> list[dict[str, Any]]:
    """Return the two collection documents."""
    sentinel = {
        **_collection(S2, "Sentinel-2 Level-2A (demo planet)", bounds, ["2022-01-01T00:00:00Z", None]),
        "description": "Bottom-of-atmosphere reflectance of an invented landscape, in the shape of Sentinel-2 L2A.",
        "keywords": ["sentinel", "reflectance", "demo"],
        "summaries": {"gsd": [10, 20], "platform": ["Sentinel-2A", "Sentinel-2B"], "instruments": ["msi"]},
        "item_assets": {
            **{
                band: {"type": COG_TYPE, "roles": ["data"], "title": facts[0], "gsd": 10}
                for band, facts in _BANDS.items()
            },
            "SCL": {"type": COG_TYPE, "roles": ["data"], "title": "Scene classification map (SCL)", "gsd": 20},
        },
    }
    period = ["2021-04-22T00:00:00Z", "2021-04-22T00:00:00Z"]
    elevation = {
        **_collection(GLO30, "Copernicus DEM GLO-30 (demo planet)", bounds, period),
        "description": "Digital surface model of an invented landscape, in the shape of Copernicus GLO-30.",
        "keywords": ["Copernicus", "DEM", "DSM", "Elevation", "demo"],
        "summaries": {"gsd": [30], "platform": ["TanDEM-X"]},
        "item_assets": {"data": {"type": COG_TYPE, "roles": ["data"]}},
    }
    return [elevation, sentinel]


def _collection(
    name: str, title: str, bounds: tuple[float, float, float, float], period: list[str | None] | list[str]
) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/item-assets/v1.0.0/schema.json"],
        "id": name,
        "title": title,
        "license": "CC0-1.0",
        "extent": {"spatial": {"bbox": [list(bounds)]}, "temporal": {"interval": [period]}},
        "links": [],
    }


def _satellite(date: Acquisition) -> str:
    return "S2" + date.platform[-1]


def _stamp(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
