"""Labels from the National Hydrography Dataset: feature codes to 21 water types, burned onto a cell's grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import shapely
from rasterio.features import rasterize

from headwater.errors import InputError
from headwater.grid import CRS, RasterGrid

WATER_TYPES: Mapping[int, tuple[str, float]] = {
    1: ("playa", 0),
    2: ("inundation area", 0),
    3: ("swamp intermittent", 0.5),
    4: ("swamp perennial", 0.5),
    5: ("swamp", 0.5),
    6: ("reservoir", 2),
    7: ("lake intermittent", 0.5),
    8: ("lake perennial", 7),
    9: ("lake", 7),
    10: ("spillway", 0),
    11: ("drainage", 0.5),
    12: ("wash", 0.5),
    13: ("canal, storm", 0.5),
    14: ("canal, aqueduct", 1),
    15: ("canal", 0.5),
    16: ("artificial path", 1),
    17: ("ephemeral stream", 7.5),
    18: ("intermittent stream", 7.5),
    19: ("perennial stream", 6.5),
    20: ("stream, other", 6.5),
    21: ("other", 1),
}
"""Name and training value of each type, in the order they are burned: the later wins (method.md, section 4)."""

_CODES: Mapping[int, Iterable[int]] = {
    1: [36100],
    2: [40300, *range(40307, 40310)],
    3: [46601],
    4: [46602],
    5: [46600],
    6: [43600, *range(43601, 43627)],
    7: [39001, 39005, 39006],
    8: [39004, *range(39009, 39013)],
    9: [39000],
    10: [45500],
    11: [46800],
    12: [48400],
    13: [33603],
    14: [33601],
    15: [33600, 33602],
    16: [55800],
    17: [46007],
    18: [46003],
    19: [46006],
    20: [46000],
    # Connectors, flumes and drowned stream beds carry water from one feature to the next.
    21: [33400, 36200, 46100],
}
TYPE_OF_FCODE: Mapping[int, int] = {code: water_type for water_type, codes in _CODES.items() for code in codes}
"""Water type of each NHD feature code. Codes not listed (dams, gates, bridges, pipelines under ground, coastline, sea)
are not water that could be seen flowing and stay unlabelled."""

NHD_LAYERS = ("NHDFlowline", "NHDWaterbody", "NHDArea")

UNKNOWN_TYPE = 255
"""Marks pixels that nobody has mapped; they are not counted."""

_VALUES = np.zeros(256, dtype=np.float32)
_VALUES[UNKNOWN_TYPE] = 0.5
for _type, (_, _value) in WATER_TYPES.items():
    _VALUES[_type] = _value


def read_nhd(path: Path) -> gpd.GeoDataFrame:
    """Read lines and polygons of an NHD file with their water type.

    Returns
    -------
    GeoDataFrame
        Columns fcode, water_type and geometry (EPSG:4326), in the order of burning.

    Raises
    ------
    InputError
        The file cannot be read, or a layer has no FCODE.
    """
    try:
        present = [name for name, _ in pyogrio.list_layers(path)]
    except pyogrio.errors.DataSourceError as error:
        raise InputError(f"{path} cannot be read as vector data ({error}).", "Give a GeoPackage of the NHD.") from error
    tables = []
    for layer in NHD_LAYERS:
        if layer not in present:
            continue
        table = gpd.read_file(path, layer=layer, force_2d=True).to_crs(CRS)
        column = next((name for name in table.columns if name.upper() == "FCODE"), None)
        if column is None:
            raise InputError(f"Layer {layer} of {path} has no column FCODE.", "Give the NHD with its feature codes.")
        water_type = table[column].map(TYPE_OF_FCODE).fillna(0).astype(int)
        tables.append(gpd.GeoDataFrame({"fcode": table[column], "water_type": water_type}, geometry=table.geometry))
    if not tables:
        raise InputError(f"{path} has none of the layers {', '.join(NHD_LAYERS)}.", "Give a GeoPackage of the NHD.")
    joined = gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=CRS)
    return joined[joined["water_type"] > 0].sort_values("water_type", kind="stable", ignore_index=True)


def burn_types(features: gpd.GeoDataFrame, grid: RasterGrid) -> npt.NDArray[np.uint8]:
    """Burn features onto a grid.

    Parameters
    ----------
    features : GeoDataFrame
        Columns water_type and geometry in EPSG:4326.
    grid : RasterGrid
        Grid of the result.

    Returns
    -------
    (y, x) uint8
        Water type, 0 where there is none. Lines are one pixel wide; the later type of `WATER_TYPES` wins.
    """
    shapes = features.geometry.to_numpy()
    types = features["water_type"].to_numpy()
    inside = shapely.intersects(shapes, shapely.box(*grid.bounds)) & ~shapely.is_empty(shapes)
    order = np.argsort(types[inside], kind="stable")
    pairs = [(shapes[inside][i], int(types[inside][i])) for i in order]
    if not pairs:
        return np.zeros(grid.shape, dtype=np.uint8)
    burned: npt.NDArray[np.uint8] = rasterize(
        pairs, out_shape=grid.shape, transform=grid.transform, fill=0, dtype="uint8", all_touched=False
    )
    return burned


def values_of_types(types: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the training value of each pixel: 0 land, between 0 and 1 not counted, from 1 water of that weight."""
    values: npt.NDArray[np.float32] = _VALUES[types]
    return values
