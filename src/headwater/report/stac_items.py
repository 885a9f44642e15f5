"""STAC items of what a run made: a basin, a cell, weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import shapely
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from pystac.extensions.table import TableExtension
from shapely.geometry.base import BaseGeometry

from headwater import raster
from headwater.core.files import read_json
from headwater.geo.grid import Bounds
from headwater.geo.longitudes import enclosing_box
from headwater.geo.plan import Plan
from headwater.models.checkpoint import CheckpointMetadata
from headwater.raster.bands import Band
from headwater.stac.pins import item_dates

Dates = tuple[datetime, datetime]
NO_DATES: Dates = (datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))
"""Where nothing says when the data were acquired; `headwater:dates` is "unknown" then."""

_RASTERS = {"composite": raster.COMPOSITE, "elevation": raster.ELEVATION, "probability": raster.PROBABILITY}
_PARQUET, _VRT = "application/vnd.apache.parquet", "application/x-gdal-vrt+xml"
_FILES = {
    "mosaic.vrt": ("mosaic", "Probability of water of all cells", _VRT, "data"),
    "composite.vrt": ("composite", "Composite of all cells", _VRT, "visual"),
    "elevation.vrt": ("elevation", "Elevation of all cells", _VRT, "data"),
    "waterways.parquet": ("network", "The network", _PARQUET, "data"),
    "waterways.gpkg": ("gpkg", "The network as GeoPackage", pystac.MediaType.GEOPACKAGE, "data"),
    "waterways.fgb": ("fgb", "The network as FlatGeobuf", pystac.MediaType.FLATGEOBUF, "data"),
    "waterways.geojsonl": ("geojsonseq", "The network, a GeoJSON feature a line", "application/geo+json-seq", "data"),
    "waterways.kml": ("kml", "The network as KML", pystac.MediaType.KML, "data"),
    "waterways.pmtiles": ("pmtiles", "The network as vector tiles", "application/vnd.pmtiles", "visual"),
    "waterways.published.parquet": ("published", "The network with the published columns", _PARQUET, "data"),
    "water.parquet": ("water", "Polygons of wide water", _PARQUET, "data"),
    "reaches.parquet": ("reaches", "Reaches of the backbone", _PARQUET, "data"),
    "catchments.parquet": ("catchments", "Catchments of the backbone", _PARQUET, "data"),
    "items.parquet": ("items", "The scenes and elevation tiles that were found", _PARQUET, "metadata"),
    "waterways.checks.json": ("checks", "What the checks of the network found", "application/json", "metadata"),
    "schema.json": ("schema", "Columns of the network", "application/json", "metadata"),
    "waterways.qml": ("style", "Style of the network for QGIS", "application/xml", "metadata"),
    "summary.csv": ("summary", "Length by order, source and lake", "text/csv", "metadata"),
    "report/index.html": ("report", "Maps and tables", "text/html", "overview"),
    "report/network.png": ("thumbnail", "Map of the network", pystac.MediaType.PNG, "thumbnail"),
}
"""Asset of each file of a basin that may be there: key, title, media type, role."""
_NO_CHECKSUM = frozenset({"report"})
"""Its table of run times differs between runs that make the same."""
_CELL_FILES = {
    "waterways.parquet": ("segments", "Segments of the cell's catchments", _PARQUET, "data"),
    "water.parquet": ("water", "Polygons of wide water", _PARQUET, "data"),
    "scenes.json": ("scenes", "The scenes of the composite", "application/json", "metadata"),
    "dem.json": ("dem", "The elevation tiles", "application/json", "metadata"),
}


def basin_item(folder: Path, plan: Plan, columns: Iterable[Mapping[str, str]], facts: Mapping[str, Any]) -> pystac.Item:
    """Return the item of a basin, with the assets that are in its folder.

    Parameters
    ----------
    folder : Path
        results/<basin>.
    plan : Plan
        Its plan.
    columns : iterable of mapping
        name, type and description of each column of the network.
    facts : mapping
        Further properties.
    """
    dates = [acquired(folder, cell.name) for cell in plan.cells]
    outline = shapely.union_all([shapely.box(*cell.bounds) for cell in plan.cells])
    box = enclosing_box([cell.bounds for cell in plan.cells])
    item = _item(plan.basin_id, outline, box, span(dates), {"title": f"Waterways of basin {plan.basin_id}", **facts})
    _add_files(item, folder, _FILES)
    network = item.assets["network"]
    described = TableExtension.ext(network, add_if_missing=True)
    described.row_count = int(facts.get("headwater:segments", 0))
    network.extra_fields["table:columns"] = [dict(column) for column in columns]
    network.extra_fields["table:primary_geometry"] = "geometry"
    return item


def cell_item(folder: Path, plan: Plan, cell: str) -> pystac.Item:
    """Return the item of a cell of a basin, with the rasters that were kept."""
    bounds, place = plan.cell(cell).bounds, folder / "cells" / cell
    item = _item(
        f"{plan.basin_id}-{cell}", shapely.box(*bounds), bounds, acquired(folder, cell),
        {"title": f"Cell {cell} of basin {plan.basin_id}", "headwater:basin": plan.basin_id},
    )  # fmt: skip
    for name, bands in _RASTERS.items():
        if (place / f"{name}.tif").is_file():
            _add_raster(item, name, place / f"{name}.tif", bands)
    _add_files(item, place, _CELL_FILES)
    return item


def weights_item(weights: CheckpointMetadata, name: str, files: Mapping[str, Path], box: Bounds, dates: Dates) -> Any:
    """Return the item of weights by the extension for models; its place and time are those of their use here.

    Parameters
    ----------
    weights : CheckpointMetadata
        What is known of them.
    name : str
        Stem of their files.
    files : mapping
        Path of "weights" and "metadata".
    box, dates
        Extent of the collection.
    """
    count = len(weights.recipe.channels)
    names = [str(channel.get("name", number)) for number, channel in enumerate(weights.channels)]
    shape = {"dim_order": ["batch", "bands", "height", "width"], "data_type": "float32"}
    properties = {
        "title": f"Weights {name} ({weights.network})",
        "license": spdx(weights.license),
        "mlm:name": name,
        "mlm:architecture": weights.network,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "pytorch",
        "mlm:pretrained": True,
        "mlm:input": [
            {
                "name": "channels",
                "bands": names,
                "input": {"shape": [-1, count, -1, -1], **shape},
                "description": f"Channels at {weights.input_pixel_m:g} m; formulas are in the metadata.",
            }
        ],
        "mlm:output": [
            {
                "name": "probability of water",
                "tasks": ["semantic-segmentation"],
                "result": {"shape": [-1, 1, -1, -1], **shape},
            }
        ],
        "mlm:hyperparameters": {
            key: value for key, value in weights.config.items() if isinstance(value, int | float | str)
        },
        **({"sci:citation": weights.citation} if weights.citation else {}),
    }
    item = _item(f"weights-{name}", _shape(box), box, dates, properties)
    item.stac_extensions.append(MLMExtension.get_schema_uri())
    for key, path in files.items():
        kind = "application/octet-stream" if key == "weights" else "application/json"
        role = "mlm:model" if key == "weights" else "metadata"
        asset = pystac.Asset(str(path), title=key.capitalize(), media_type=kind, roles=[role])
        item.add_asset(key, asset)
        _add_size(asset, path)
    item.assets["weights"].extra_fields["mlm:artifact_type"] = "safetensors"
    return item


def acquired(folder: Path, cell: str) -> Dates:
    """Return the first and last date of the scenes of a cell; without scenes, of all that was found for the basin."""
    manifest = folder / "cells" / cell / "scenes.json"
    scenes = read_json(manifest).get("scenes", []) if manifest.is_file() else []
    texts = [str(scene["datetime"]) for scene in scenes if scene.get("datetime")]
    times = [pystac.utils.str_to_datetime(text) for text in texts] or item_dates(folder / "items.parquet")
    return (min(times), max(times)) if times else NO_DATES


def spdx(license: str) -> str:
    """Return a license as STAC wants it: an SPDX identifier, or "other"."""
    text = license.strip().replace(" ", "-")
    return text if text in {"Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "MIT", "BSD-3-Clause"} else "other"


def dates_of(item: pystac.Item) -> Dates:
    """Return the first and last date of an item."""
    first, last = item.common_metadata.start_datetime, item.common_metadata.end_datetime
    return (first or NO_DATES[0], last or NO_DATES[1])


def span(dates: Sequence[Dates]) -> Dates:
    """Return the first and last date of several, without those that are not known."""
    known = [pair for pair in dates if pair != NO_DATES] or [NO_DATES]
    return (min(first for first, _ in known), max(last for _, last in known))


def _shape(box: Bounds) -> BaseGeometry:
    west, south, east, north = box
    if west <= east:
        return shapely.box(*box)
    return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])


def _item(name: str, shape: BaseGeometry, box: Bounds, dates: Dates, properties: Mapping[str, Any]) -> pystac.Item:
    known = {} if dates != NO_DATES else {"headwater:dates": "unknown"}
    return pystac.Item(
        id=name,
        geometry=shapely.geometry.mapping(shapely.set_precision(shape, 1e-9)),
        bbox=[float(side) for side in box],
        datetime=None,
        start_datetime=dates[0],
        end_datetime=dates[1],
        properties={**properties, **known},
    )


def _add_files(item: pystac.Item, folder: Path, kinds: Mapping[str, tuple[str, str, str, str]]) -> None:
    for file, (key, title, kind, role) in kinds.items():
        path = folder / file
        if path.is_file():
            asset = pystac.Asset(str(path), title=title, media_type=kind, roles=[role])
            item.add_asset(key, asset)
            if key not in _NO_CHECKSUM:
                _add_size(asset, path)


def _add_raster(item: pystac.Item, name: str, path: Path, bands: Sequence[Band]) -> None:
    facts = raster.raster_facts(path)
    role = "visual" if name == "composite" else "data"
    asset = pystac.Asset(str(path), title=name.capitalize(), media_type=pystac.MediaType.COG, roles=[role])
    item.add_asset(name, asset)
    placed = ProjectionExtension.ext(asset, add_if_missing=True)
    placed.code, placed.shape = f"EPSG:{facts['epsg']}", [int(side) for side in facts["shape"]]
    placed.transform = [float(value) for value in facts["transform"]][:6]
    RasterExtension.add_to(item)
    described = bands[: facts["count"]]
    asset.extra_fields["bands"] = [{"name": band.name, "description": band.meaning} for band in described]
    asset.extra_fields["raster:bands"] = [
        {
            "data_type": facts["dtype"],
            **({"unit": band.unit} if band.unit else {}),
            **({"scale": band.scale, "offset": 0.0} if band.scale != 1 else {}),
        }
        for band in described
    ]
    _add_size(asset, path)


def _add_size(asset: pystac.Asset, path: Path) -> None:
    """Add size and SHA-256, as a multihash: 0x12 is the function, 0x20 the length."""
    described = FileExtension.ext(asset, add_if_missing=True)
    with path.open("rb") as file:
        described.checksum = f"1220{hashlib.file_digest(file, 'sha256').hexdigest()}"
    described.size = path.stat().st_size
