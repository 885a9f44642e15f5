"""items: a catalog from a folder of the user's own rasters, so that the workflow runs on a single place."""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import pystac
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS as RasterioCRS
from rasterio.io import DatasetReader

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.files import write_json
from headwater.core.sentinel2 import REFLECTANCE_BANDS, SCL
from headwater.geo.basins import HYDROBASINS_ID
from headwater.geo.grid import CRS
from headwater.geo.longitudes import cut_footprint, footprint_box, shift_shape, shift_toward
from headwater.raster.elevation_tiles import raster_footprint
from headwater.raster.elevation_values import elevation_band, read_meters
from headwater.raster.opening import with_retry
from headwater.raster.scenes import check_band, read_numbers

SENTINEL2_COLLECTION = "sentinel-2-l2a"
DEM_COLLECTION = "cop-dem-glo-30"
_DEM_NODATA = -9999.0
_STRAIGHT_DEGREES = 1e-7
_MIN_SHARED_FRACTION = 0.95
"""Of the ground that two bands of a scene cover together, what both must cover."""


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
        Elevation rasters, any CRS; read as `headwater.raster.elevation_values` describes.
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
        A band is missing, a file is not a raster with a CRS, holds something else than it should, or the date is not
        valid. Nothing is written then.
    """
    taken = _instant(datetime)
    # Digits of other scripts are no digits of a number, and a table has integers of 64 bits.
    if re.fullmatch(r"[0-9]{1,18}", basin_id) is None or basin_id.endswith("\n"):
        raise InputError(f"The basin id {basin_id!r} is not a number.", "Use at most 18 digits, such as 9000000001.")
    if not re.fullmatch(r"\d{2}\.\d{2}", baseline):
        raise InputError(f"The processing baseline {baseline!r} is not valid.", "Write --baseline as 04.00 or 05.09.")
    if out.exists() and not (out / "stac").is_dir():
        raise InputError(f"{out} exists and is not a catalog.", "Choose another folder for --out.")
    bands = {name: _band_file(folder, name) for name in (*REFLECTANCE_BANDS, SCL)}
    missing = [name for name in REFLECTANCE_BANDS if bands[name] is None]
    if missing:
        raise InputError(f"{folder} has no band {missing[0]}.", f"Put {missing[0]}.tif there.")
    for path in dem:
        if not path.is_file():
            raise InputError(f"{path} does not exist.", "Give elevation rasters with --dem.")
    if not dem:
        raise InputError("No elevation is given.", "Give elevation rasters with --dem.")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Nothing of a refused place is left behind, and nothing in an existing catalog is replaced by it.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        made = Path(temporary) / "catalog"
        _write_catalog(made, {name: path for name, path in bands.items() if path}, dem, taken, basin_id, baseline)
        # Items last: they refer to the others.
        for path in sorted(
            (path for path in made.rglob("*") if path.is_file()), key=lambda path: path.suffix == ".json"
        ):
            target = out / path.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def _instant(text: str) -> dt.datetime:
    try:
        taken = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is not a date.", "Write --datetime as YYYY-MM-DD.") from error
    return taken.replace(tzinfo=dt.UTC) if taken.tzinfo is None else taken.astimezone(dt.UTC)


def _write_catalog(
    out: Path, bands: Mapping[str, Path], dem: Sequence[Path], taken: dt.datetime, basin_id: str, baseline: str
) -> None:
    _check_same_ground(bands)
    scene = f"S2_{taken:%Y%m%d}_{basin_id}"
    folder = out / "assets" / SENTINEL2_COLLECTION / scene
    assets = {name: _copy_band(path, folder / f"{name}.tif") for name, path in bands.items()}
    footprint = _write_item(out, SENTINEL2_COLLECTION, scene, taken, assets, {"s2:processing_baseline": baseline})
    covered = []
    for number, path in enumerate(dem, start=1):
        name = f"DEM_{basin_id}_{number}"
        asset = _copy_dem(path, out / "assets" / DEM_COLLECTION / name / "data.tif")
        place = _write_item(out, DEM_COLLECTION, name, taken, {"data": asset}, {})
        covered.append(shift_shape(place, float(shift_toward(place.centroid.x, footprint.centroid.x))))
    polygon = footprint.intersection(shapely.union_all(covered))
    if polygon.is_empty:
        raise InputError("The bands and the elevation do not overlap.", "Give an elevation raster of the same place.")
    gpd.GeoDataFrame({HYDROBASINS_ID: [int(basin_id)]}, geometry=[cut_footprint(polygon)], crs=CRS).to_file(
        out / "hydrobasins.gpkg", layer="basins", driver="GPKG"
    )


def _check_same_ground(bands: Mapping[str, Path]) -> None:
    places = {name: _outline(path, _located_facts(path)["crs"]) for name, path in bands.items()}
    first = next(iter(places))
    for name, place in places.items():
        shared = shapely.intersection(place, places[first]).area
        if shared < _MIN_SHARED_FRACTION * shapely.union(place, places[first]).area:
            raise InputError(
                f"{bands[name]} covers other ground than {bands[first].name}.",
                "Give bands of one scene, each with its right CRS and transform.",
            )


def _outline(path: Path, crs: RasterioCRS) -> shapely.Polygon:
    return with_retry(path, None, lambda dataset: raster_footprint(dataset, crs))


def _band_file(folder: Path, name: str) -> Path | None:
    found = [path for suffix in (".tif", ".tiff", ".jp2") if (path := folder / f"{name}{suffix}").is_file()]
    if len(found) > 1:
        raise InputError(
            f"{folder} has band {name} twice: {' and '.join(path.name for path in found)}.", "Remove one of them."
        )
    return found[0] if found else None


def _copy_band(source: Path, target: Path) -> Path:
    """Copy a band by the rules of the scene readers: the same types, and the same numbers are missing."""
    facts = _located_facts(source)
    name = target.stem

    def read(dataset: DatasetReader) -> NDArray[Any]:
        check_band(dataset, name, str(source))
        return read_numbers(dataset, name)

    values = with_retry(source, None, read)
    raster.write_cog(
        target,
        values[np.newaxis],
        transform=facts["transform"],
        crs=facts["crs"].to_wkt(),
        nodata=0,
        overview_resampling="nearest" if name == SCL else "average",
    )
    return target


def _copy_dem(source: Path, target: Path) -> Path:
    """Copy elevation as meters, by the rules for elevation tiles of a catalog."""
    facts = _located_facts(source)

    def read(dataset: DatasetReader) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return read_meters(dataset, elevation_band(dataset, source), source)

    meters, valid = with_retry(source, None, read)
    meters[~valid] = _DEM_NODATA
    raster.write_cog(
        target,
        meters[np.newaxis],
        transform=facts["transform"],
        crs=_horizontal(facts["crs"]),
        nodata=_DEM_NODATA,
    )
    return target


def _horizontal(crs: RasterioCRS) -> str:
    """Return a CRS without its heights, whose unit is not that of the copy."""
    return str(pyproj.CRS.from_wkt(crs.to_wkt()).to_2d().to_wkt())


def _located_facts(source: Path) -> dict[str, Any]:
    facts = raster.raster_facts(source)
    if facts["transform"].is_identity:
        raise InputError(
            f"{source} has no georeference: its pixels have no place.",
            "Write its transform into the file, or put its world file next to it.",
        )
    return facts


def _write_item(
    out: Path,
    collection: str,
    name: str,
    taken: dt.datetime,
    assets: dict[str, Path],
    properties: dict[str, Any],
) -> shapely.Polygon:
    """Write a STAC item with paths relative to the catalog; return its footprint in EPSG:4326, in one piece."""
    path = next(iter(assets.values()))
    facts = raster.raster_facts(path)
    # Edges that are straight in degrees need no points between their ends.
    footprint = shapely.simplify(_outline(path, facts["crs"]), _STRAIGHT_DEGREES)
    on_map = shapely.geometry.mapping(cut_footprint(footprint))
    box = list(footprint_box(on_map))
    item = pystac.Item(
        id=name,
        geometry=on_map,
        bbox=box,
        datetime=taken,
        collection=collection,
        properties={"proj:epsg": facts["epsg"], "eo:cloud_cover": 0.0, "s2:nodata_pixel_percentage": 0.0, **properties}
        if collection == SENTINEL2_COLLECTION
        else {"proj:epsg": facts["epsg"]},
    )
    for key, path in assets.items():
        item.add_asset(key, pystac.Asset(path.relative_to(out).as_posix(), media_type=pystac.MediaType.COG))
    write_json(out / "stac" / collection / f"{name}.json", item.to_dict(include_self_link=False))
    extent = pystac.Extent(pystac.SpatialExtent([box]), pystac.TemporalExtent([[taken, taken]]))
    described = pystac.Collection(collection, "Made by `headwater items` from one's own rasters.", extent)
    write_json(out / "stac" / f"{collection}.collection.json", described.to_dict(include_self_link=False))
    return footprint
