"""Tables of the National Hydrography Dataset (NHD, NHDPlus HR, NHDPlus V2): feature codes become 21 water types."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import shapely

from headwater.core.errors import InputError
from headwater.geo.features import TableKind, in_degrees, is_parquet, read_table, refuse_cut_shapefile, unreadable
from headwater.geo.grid import CRS, Bounds
from headwater.geo.table_names import refuse_misread_name

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
"""Name and training value of each type, in the order they are burned: the later wins.

Pierson and Mehrabi 2024 (arXiv 2412.00050). A value of 0 is land, between 0 and 1 is masked in training, from 1 on is
water.
"""

OTHER_TYPE = 21

_CODES: Mapping[int, Iterable[int]] = {
    1: [36100],
    2: [40300, *range(40307, 40310)],
    3: [46601],
    4: [46602],
    5: [46600],
    6: range(43600, 43627),
    7: [39001, 39002, 39005, 39006],
    8: [39003, 39004, *range(39009, 39013)],
    9: [39000],
    10: [45500],
    11: [46800],
    12: [48400],
    13: [33603],
    14: [33601],
    15: [33600, 33602],
    16: [55800],
    17: [46007],
    18: [46001, 46002, 46003],
    19: [46004, 46005, 46006],
    20: [46000],
    # Connectors, flumes, locks and drowned stream beds carry water from one feature to the next.
    21: [33400, 36200, 39800, 46100],
}
TYPE_OF_FCODE: Mapping[int, int] = {code: water_type for water_type, codes in _CODES.items() for code in codes}
"""Water type of each feature code of inland water. Source: USGS, NHD Data Dictionary, Feature Domains."""

NO_WATER_FTYPES: Mapping[int, str] = {
    307: "area to be submerged",
    312: "bay or inlet",
    318: "bridge",
    343: "dam or weir",
    364: "foreshore",
    367: "gaging station",
    369: "gate",
    373: "hazard zone",
    378: "ice mass",
    411: "nonearthen shore",
    420: "underground conduit",
    428: "pipeline",
    431: "rapids",
    434: "reef",
    441: "rock",
    445: "sea or ocean",
    450: "sink or rise",
    454: "special use zone",
    458: "spring or seep",
    483: "tunnel",
    485: "water intake or outflow",
    487: "waterfall",
    488: "well",
    493: "estuary",
    503: "sounding datum line",
    533: "special use zone limit",
    537: "area of complex channels",
    566: "coastline",
    568: "levee",
}
"""Feature types (the first three digits of a code) that stay unlabeled: no water that could be seen flowing inland,
or something on a stream that is labeled itself."""

_LAYERS = ("nhdflowline", "nhdflowlinenetwork", "nhdflowlinenonnetwork", "nhdwaterbody", "nhdarea")
"""Names of layers without underscores, in lower case: V2 splits its lines into two."""
_TABLES = frozenset({".parquet", ".shp", ".fgb", ".geojson"})
"""Formats with one layer per file, whatever its name."""
_REMEDY = "Give NHD lines or polygons as GeoPackage, FileGDB, GeoParquet or shapefile."


def read_nhd(*paths: Path, bounds: Bounds | None = None) -> gpd.GeoDataFrame:
    """Read lines and polygons of NHD files with their water type.

    Features without geometry are left out and counted on stderr, and so are codes that the NHD does not know.

    Parameters
    ----------
    *paths : Path
        GeoPackage, FileGDB or folder of shapefiles with the layers NHDFlowline, NHDWaterbody and NHDArea (as NHD,
        NHDPlus HR or NHDPlus V2 name them), or GeoParquet and shapefile of any name. The column FCODE may be in any
        case.
    bounds : tuple of float, optional
        West, south, east, north in degrees: features whose boxes are outside are not read.

    Returns
    -------
    GeoDataFrame
        Columns fcode, water_type and geometry (EPSG:4326), in the order of burning; empty where there is nothing.

    Raises
    ------
    InputError
        A file cannot be read, has no layer of the NHD, no FCODE or no CRS, or contains points.
    """
    tables = [_typed(table, name) for path in paths for name, table in _layers(Path(path), bounds)]
    joined = gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), geometry="geometry", crs=CRS)
    return joined[joined["water_type"] > 0].sort_values("water_type", kind="stable", ignore_index=True)


def water_types(fcode: Sequence[Any] | pd.Series[Any]) -> npt.NDArray[np.int64]:
    """Return the water type of each feature code: 0 stays unlabeled, 21 is what the NHD does not know."""
    codes = _codes(fcode)
    known = codes.map(TYPE_OF_FCODE)
    no_water = (codes // 100).isin(NO_WATER_FTYPES)
    types = known.fillna(OTHER_TYPE).mask(known.isna() & no_water, 0)
    return np.asarray(types, dtype=np.int64)


def is_known_code(fcode: Sequence[Any] | pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Return which feature codes are the NHD's."""
    codes = _codes(fcode)
    known: npt.NDArray[np.bool_] = (codes.isin(TYPE_OF_FCODE) | (codes // 100).isin(NO_WATER_FTYPES)).to_numpy(bool)
    return known


def count_features(features: gpd.GeoDataFrame) -> dict[str, int]:
    """Return the number of features of each type that occurs, by the type's name, in the order of burning."""
    counts = features["water_type"].value_counts()
    return {name: int(counts[number]) for number, (name, _) in WATER_TYPES.items() if number in counts.index}


def _codes(fcode: Sequence[Any] | pd.Series[Any]) -> pd.Series[int]:
    """Return codes as integers, however a file stores them; 0 for other values."""
    return pd.to_numeric(pd.Series(fcode), errors="coerce").fillna(0).astype("int64")


def _layers(path: Path, bounds: Bounds | None) -> list[tuple[str, gpd.GeoDataFrame]]:
    """Read every layer of the NHD that a file contains: its name for messages, FCODE and geometry in EPSG:4326."""
    if is_parquet(path):
        return [(str(path), _to_degrees(_read_parquet(path), bounds))]
    with warnings.catch_warnings():
        # The NHD measures along its lines; we do not.
        warnings.filterwarnings("ignore", message="Measured \\(M\\) geometry types are not supported")
        with unreadable(path, TableKind("vector data", _REMEDY)):
            return _read_layers(path, bounds)


def _read_layers(path: Path, bounds: Bounds | None) -> list[tuple[str, gpd.GeoDataFrame]]:
    refuse_misread_name(path)
    present = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
    if path.suffix.lower() not in _TABLES:
        present = [name for name in present if name.lower().replace("_", "") in _LAYERS]
    if not present:
        raise InputError(f"{path} has none of the layers NHDFlowline, NHDWaterbody and NHDArea.", _REMEDY)
    found = []
    for layer in present:
        name = f"Layer {layer} of {path}"
        refuse_cut_shapefile(str(path), layer)
        facts = pyogrio.read_info(path, layer=layer)
        column = _fcode_column(facts["fields"], name)
        _check_crs(facts["crs"], name)
        # As a GeoSeries, the reader transforms the box into the layer's CRS.
        box = None if bounds is None else gpd.GeoSeries([shapely.box(*bounds)], crs=CRS)
        table = gpd.read_file(path, layer=layer, columns=[column], bbox=box, force_2d=True)
        found.append((name, _to_degrees(table.rename(columns={column: "fcode"}), bounds)))
    return found


def _read_parquet(path: Path) -> gpd.GeoDataFrame:
    table = read_table(path, TableKind("GeoParquet", _REMEDY))
    column = _fcode_column(table.columns, str(path))
    _check_crs(table.crs, str(path))
    return gpd.GeoDataFrame(
        {"fcode": table[column].to_numpy()}, geometry=shapely.force_2d(table.geometry.to_numpy()), crs=table.crs
    )


def _fcode_column(columns: Iterable[str], name: str) -> str:
    column = next((column for column in columns if column.upper() == "FCODE"), None)
    if column is None:
        raise InputError(f"{name} has no column FCODE.", "Give the NHD with its feature codes.")
    return column


def _check_crs(crs: object, name: str) -> None:
    if crs is None:
        raise InputError(f"{name} has no coordinate reference system.", "Write its CRS into the file.")


def _to_degrees(table: gpd.GeoDataFrame, bounds: Bounds | None) -> gpd.GeoDataFrame:
    table = in_degrees(table, "the NHD tables")
    return table if bounds is None else table[box_meets(table.geometry.to_numpy(), bounds) | table.geometry.isna()]


def box_meets(shapes: npt.NDArray[np.object_], bounds: Bounds) -> npt.NDArray[np.bool_]:
    """Return which shapes have a box that meets `bounds` (west, south, east, north); empty and missing ones do not."""
    west, south, east, north = shapely.bounds(shapes).T
    return np.asarray(
        (west <= bounds[2]) & (east >= bounds[0]) & (south <= bounds[3]) & (north >= bounds[1]), dtype=np.bool_
    )


def _typed(table: gpd.GeoDataFrame, name: str) -> gpd.GeoDataFrame:
    """Give each feature its water type; skip those without geometry."""
    shapes = table.geometry.to_numpy()
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    if not there.all():
        _say(f"{name}: {(~there).sum()} of {len(table)} features have no geometry and are left out")
    table = table[there]
    # 0 and 4 are points; the rest are lines, polygons and collections of them.
    if np.isin(shapely.get_type_id(table.geometry.to_numpy()), (0, 4)).any():
        raise InputError(f"{name} contains points.", "Give lines and polygons: NHDFlowline, NHDWaterbody and NHDArea.")
    unknown = ~is_known_code(table["fcode"])
    if unknown.any():
        codes = ", ".join(str(code) for code in sorted(table["fcode"][unknown].astype(str).unique())[:5])
        _say(f"{name}: {unknown.sum()} features have codes unknown to the NHD ({codes}); they are typed 'other'")
    return gpd.GeoDataFrame(
        {"fcode": _codes(table["fcode"]).to_numpy(), "water_type": water_types(table["fcode"])},
        geometry=table.geometry.to_numpy(),
        crs=CRS,
    )


def _say(text: str) -> None:
    print(f"headwater: {text}.", file=sys.stderr, flush=True)
