"""items: a catalog from a folder of the user's own rasters, so that the workflow runs on a single place."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import rasterio.warp
import shapely
from numpy.typing import NDArray

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.files import atomic_path, write_json
from headwater.core.sentinel2 import REFLECTANCE_BANDS, SCL
from headwater.geo.basins import HYDROBASINS_ID
from headwater.geo.grid import CRS

SENTINEL2_COLLECTION = "sentinel-2-l2a"
DEM_COLLECTION = "cop-dem-glo-30"
_DEM_NODATA = -9999.0


def items_from_folder(
    folder: Path, *, dem: Sequence[Path], datetime: str, basin_id: str, baseline: str, out: Path
) -> None:
    """Write a catalog of one scene and its elevation, and a basin polygon around them.

    The rasters are copied as Cloud-Optimized GeoTIFFs with nodata 0, so that the catalog can be read from disk
    (`catalog.url` set to the folder) or served (`headwater demo serve`).

    Parameters
    ----------
    folder : Path
        Contains B02, B03, B04, B08 and optionally SCL, as .tif or .jp2, 16 bit reflectance.
    dem : sequence of Path
        Elevation rasters in meters, any CRS.
    datetime : str
        Acquisition day of the scene, YYYY-MM-DD.
    basin_id : str
        Id of the place: digits.
    baseline : str
        Processing baseline; from 04.00 on, 1000 is subtracted from the digital numbers.
    out : Path
        Folder of the catalog to write; must not exist, or must be a catalog of this command.

    Raises
    ------
    InputError
        A band is missing, a file is not a raster with a CRS, or the date is not valid.
    """
    try:
        taken = dt.datetime.fromisoformat(datetime).replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise InputError(f"{datetime!r} is not a date.", "Write --datetime as YYYY-MM-DD.") from error
    if not basin_id.isdigit():
        raise InputError(f"The basin id {basin_id!r} is not a number.", "Use digits, such as 9000000001.")
    if out.exists() and not (out / "stac").is_dir():
        raise InputError(f"{out} exists and is not a catalog.", "Choose another folder for --out.")
    bands = {name: _band_file(folder, name) for name in (*REFLECTANCE_BANDS, SCL)}
    missing = [name for name in REFLECTANCE_BANDS if bands[name] is None]
    if missing:
        raise InputError(f"{folder} has no band {missing[0]}.", f"Put {missing[0]}.tif there.")
    for path in dem:
        if not path.is_file():
            raise InputError(f"{path} does not exist.", "Give elevation rasters with --dem.")

    scene = f"S2_{taken:%Y%m%d}_{basin_id}"
    assets = {
        name: _copy_band(path, out / "assets" / SENTINEL2_COLLECTION / scene / f"{name}.tif")
        for name, path in bands.items()
        if path is not None
    }
    footprint = _write_item(out, SENTINEL2_COLLECTION, scene, taken, assets, {"s2:processing_baseline": baseline})
    covered = []
    for number, path in enumerate(dem, start=1):
        name = f"DEM_{basin_id}_{number}"
        asset = _copy_dem(path, out / "assets" / DEM_COLLECTION / name / "data.tif")
        covered.append(_write_item(out, DEM_COLLECTION, name, taken, {"data": asset}, {}))
    polygon = footprint.intersection(shapely.union_all(covered))
    if polygon.is_empty:
        raise InputError("The bands and the elevation do not overlap.", "Give an elevation raster of the same place.")
    with atomic_path(out / "hydrobasins.gpkg") as temporary:
        gpd.GeoDataFrame({HYDROBASINS_ID: [int(basin_id)]}, geometry=[polygon], crs=CRS).to_file(
            temporary, layer="basins", driver="GPKG"
        )


def _band_file(folder: Path, name: str) -> Path | None:
    return next((path for suffix in (".tif", ".tiff", ".jp2") if (path := folder / f"{name}{suffix}").is_file()), None)


def _copy_band(source: Path, target: Path) -> Path:
    facts = raster.raster_facts(source)
    data = raster.read_pixels(source)
    if data.dtype not in (np.uint8, np.uint16, np.int16):
        raise InputError(f"{source} contains {data.dtype}, not Sentinel-2 numbers.", "Give bands as uint16.")
    # Reflectance in int16 may be slightly below zero.
    values: NDArray[Any] = np.maximum(data, 0).astype(np.uint8 if target.stem == SCL else np.uint16)
    if facts["nodata"] not in (None, 0):
        values = np.where(data == facts["nodata"], 0, np.maximum(values, 1)).astype(values.dtype)
    resampling = "nearest" if target.stem == SCL else "average"
    raster.write_cog(
        target,
        values[np.newaxis],
        transform=facts["transform"],
        crs=str(facts["crs"]),
        nodata=0,
        overview_resampling=resampling,
    )
    return target


def _copy_dem(source: Path, target: Path) -> Path:
    facts = raster.raster_facts(source)
    data = raster.read_pixels(source).astype(np.float32)
    missing = ~np.isfinite(data)
    if facts["nodata"] is not None:
        missing |= data == facts["nodata"]
    data[missing] = _DEM_NODATA
    raster.write_cog(target, data[np.newaxis], transform=facts["transform"], crs=str(facts["crs"]), nodata=_DEM_NODATA)
    return target


def _write_item(
    out: Path,
    collection: str,
    name: str,
    taken: dt.datetime,
    assets: dict[str, Path],
    properties: dict[str, Any],
) -> shapely.Polygon:
    """Write a STAC item with paths relative to the catalog; return its footprint in EPSG:4326."""
    facts = raster.raster_facts(next(iter(assets.values())))
    height, width = facts["shape"]
    corners = [facts["transform"] @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
    footprint = shapely.Polygon(
        list(zip(*rasterio.warp.transform(facts["crs"], CRS, *zip(*corners, strict=True)), strict=True))
    )
    item = pystac.Item(
        id=name,
        geometry=shapely.geometry.mapping(footprint),
        bbox=list(footprint.bounds),
        datetime=taken,
        collection=collection,
        properties={"proj:epsg": facts["epsg"], "eo:cloud_cover": 0.0, "s2:nodata_pixel_percentage": 0.0, **properties}
        if collection == SENTINEL2_COLLECTION
        else {"proj:epsg": facts["epsg"]},
    )
    for key, path in assets.items():
        item.add_asset(key, pystac.Asset(path.relative_to(out).as_posix(), media_type=pystac.MediaType.COG))
    write_json(out / "stac" / collection / f"{name}.json", item.to_dict(include_self_link=False))
    extent = pystac.Extent(pystac.SpatialExtent([list(footprint.bounds)]), pystac.TemporalExtent([[taken, taken]]))
    described = pystac.Collection(collection, "Made by `headwater items` from one's own rasters.", extent)
    write_json(out / "stac" / f"{collection}.collection.json", described.to_dict(include_self_link=False))
    return footprint
