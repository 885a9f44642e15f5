"""HydroBASINS polygons; their foreign columns are renamed here and nowhere else."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.core.texts import BASIN_ID, BASIN_ID_FORM, MAX_ID_LENGTH
from headwater.geo.features import TableKind, in_degrees, read_table
from headwater.geo.grid import CRS
from headwater.geo.longitudes import FULL_CIRCLE, HALF_CIRCLE, cut_to_map, is_on_globe
from headwater.geo.repair import REMEDY, TooTangled, refuse_tangles

# Most jobs import this module for a name or two and read no polygon: geopandas is imported where it is used.
if TYPE_CHECKING:
    import geopandas as gpd

HYDROBASINS_ID = "HYBAS_ID"
_AREA_ID = re.compile(r"area-[0-9a-f]{10}")
"""Id of an area that a user drew, whose edge is no divide; ten digits of a hash of its polygon."""
_LOGS = "logs"
"""Folder of the results that is not a basin's."""
MAX_EXACT_DOUBLE = 2**53
"""From here on doubles skip integers."""
_BASINS = TableKind(
    "basin polygons",
    "Set basins.polygons to a GeoPackage, Shapefile or GeoParquet of basins.",
    "polygons",
    ((HYDROBASINS_ID, "basin_id"),),
)


def check_basin_id(basin_id: str) -> None:
    """Refuse an id that cannot be the name of a basin's folder and a word of a command.

    Raises
    ------
    InputError
        It has other characters than letters, digits, - and _, begins with -, or is the name of the folder of logs.
    """
    if re.fullmatch(BASIN_ID, basin_id) is None or basin_id.endswith("\n") or len(basin_id) > MAX_ID_LENGTH:
        raise InputError(
            f"{basin_id[:MAX_ID_LENGTH]!r} is not the id of a basin.",
            f"Use {BASIN_ID_FORM}, of at most {MAX_ID_LENGTH} characters.",
        )
    if basin_id == _LOGS:
        raise InputError(f"A basin cannot be called {_LOGS}: its results would be among the logs.", "Use another id.")


def is_area(basin_id: str) -> bool:
    """Return whether an id is that of an area with any edge, such as a box or a country, instead of a basin.

    Rivers enter an area over its edge. A basin ends at its divides, whatever its id.
    """
    return _AREA_ID.fullmatch(basin_id) is not None


def read_basins(polygons: Sequence[Path]) -> gpd.GeoDataFrame:
    """Read basin polygons.

    Parameters
    ----------
    polygons : sequence of Path
        Files that GDAL can read, or GeoParquet, with a column HYBAS_ID (or basin_id).

    Returns
    -------
    GeoDataFrame
        Columns basin_id (str), geometry (polygons, EPSG:4326, as they are in the file).

    Raises
    ------
    InputError
        A file cannot be read, has no id column or no CRS, a row lacks its id or polygon, an id is not an integer or
        text, a shape is not a polygon or not on the globe, or an id occurs twice.
    """
    import geopandas as gpd

    tables = [_read_polygons(Path(path)) for path in polygons]
    if not tables:
        raise InputError("No file of basin polygons is given.", "Set basins.polygons in the configuration.")
    basins = gpd.GeoDataFrame(gpd.pd.concat(tables, ignore_index=True), crs=CRS)
    twice = basins["basin_id"][basins["basin_id"].duplicated()].tolist()
    if twice:
        raise InputError(
            f"Basin {twice[0]} occurs more than once in the basin polygons.", "Keep one polygon for each id."
        )
    return basins


def basin_polygon(polygons: Sequence[Path], basin_id: str) -> BaseGeometry:
    """Return the valid polygon of one basin, between -180 and 180 degrees.

    Longitudes from 0 to 360, and parts beyond 180, are brought to where a map from -180 to 180 shows them.

    Raises
    ------
    InputError
        The id is not valid, the basin is not in the files, its polygon is empty, or an edge goes halfway around the
        world.
    """
    check_basin_id(str(basin_id))
    basins = read_basins(polygons)
    rows = basins[basins["basin_id"] == str(basin_id)]
    if rows.empty:
        ids = sorted(basins["basin_id"])
        known = ", ".join(get_close_matches(str(basin_id), ids, n=5) or ids[:5])
        raise InputError(
            f"Basin {basin_id} is not in {', '.join(str(path) for path in polygons)}.",
            f"Use an id of the file, such as {known}.",
        )
    try:
        refuse_tangles(None if shapely.is_valid(rows.geometry.iloc[0]) else rows.geometry.iloc[0])
    except TooTangled as error:
        raise InputError(f"The polygon of basin {basin_id} cannot be repaired: {error}.", REMEDY) from None
    polygon: BaseGeometry = shapely.make_valid(rows.geometry.iloc[0])
    if polygon.is_empty or polygon.area == 0:
        raise InputError(f"The polygon of basin {basin_id} is empty.", "Give a polygon with an area.")
    refuse_long_edges(polygon, f"The polygon of basin {basin_id}")
    if polygon.geom_type in ("Polygon", "MultiPolygon") and polygon.bounds[0] >= -180 and polygon.bounds[2] <= 180:
        return polygon
    # A collection may hold multipolygons; lines are what repair made of spikes.
    parts = shapely.get_parts(shapely.get_parts(polygon))
    parts, _ = cut_to_map(parts[shapely.get_dimensions(parts) == 2], dimension=2)
    united: BaseGeometry = shapely.union_all(parts)
    return united


def refuse_long_edges(polygon: BaseGeometry, what: str) -> None:
    """Refuse a polygon that jumps from -180 to 180 degrees: it would cover the world between instead of its place.

    Parameters
    ----------
    polygon : shapely geometry
        Polygons in degrees.
    what : str
        What the message calls it.

    Raises
    ------
    InputError
        An edge goes halfway around the world.
    """
    if polygon.bounds[2] - polygon.bounds[0] <= HALF_CIRCLE:
        return
    for part in shapely.get_parts(shapely.get_parts(polygon)):
        points, ring = shapely.get_coordinates(shapely.get_rings(part), return_index=True)
        length = np.abs(np.diff(points[:, 0]))[ring[1:] == ring[:-1]]
        # A box around the globe has edges of the full circle.
        if ((length > HALF_CIRCLE) & (length < FULL_CIRCLE)).any():
            raise InputError(
                f"{what} has an edge {length.max():.0f} degrees long, as one does that crosses"
                " 180 degrees in one piece.",
                "Cut it there, for instance with `ogr2ogr -wrapdateline`, or write its longitudes from 0 to 360.",
            )


def file_for_basin(pattern: str, basin_id: str) -> Path:
    """Return the one file that matches a pattern for a basin.

    Parameters
    ----------
    pattern : str
        Path in which `{basin_id}` stands for the id; shell wildcards are allowed, unless a file has just that name.
    basin_id : str
        HYBAS_ID.

    Raises
    ------
    InputError
        No file, or more than one, matches.
    """
    name = pattern.replace("{basin_id}", basin_id)
    if Path(name).is_file():
        return Path(name)
    found = sorted(glob.glob(name))  # noqa: PTH207  a pattern may be absolute, which Path.glob refuses
    if len(found) != 1:
        count = "no file" if not found else f"{len(found)} files"
        raise InputError(
            f"{name} matches {count} for basin {basin_id}.", "Make the pattern match exactly one file per basin."
        )
    return Path(found[0])


def _read_polygons(path: Path) -> gpd.GeoDataFrame:
    import geopandas as gpd

    table = read_table(path, _BASINS)
    column = _id_column(path, table.columns)
    if table.crs is None:
        raise InputError(f"{path} has no coordinate reference system.", "Write its CRS into the file.")
    if table[column].isna().any() or table.geometry.isna().any():
        raise InputError(f"{path} has basins without an id or a polygon.", "Give each row both, or remove it.")
    ids = [_id_text(value, path, column) for value in table[column]]
    shapes = shapely.force_2d(in_degrees(table, path).geometry.to_numpy())
    for basin_id, shape, given in zip(ids, shapes, table.geometry, strict=True):
        _check_shape(shape, given, basin_id, path)
    return gpd.GeoDataFrame({"basin_id": ids}, geometry=shapes, crs=CRS)


def _id_column(path: Path, columns: Iterable[str]) -> str:
    """Return the column of basin ids; formats differ in upper and lower case."""
    found = [name for name in columns if str(name).upper() in (HYDROBASINS_ID, "BASIN_ID")]
    exact = [name for name in (HYDROBASINS_ID, "basin_id") if name in found] or found
    if not exact:
        raise InputError(f"{path} has no column {HYDROBASINS_ID}.", "Name the column of basin ids HYBAS_ID.")
    return exact[0]


def _id_text(value: Any, path: Path, column: str) -> str:
    """Return an id as text; the shapefiles of HydroBASINS store it as a double."""
    text = value.strip() if isinstance(value, str) else ""
    whole = isinstance(value, int | np.integer | Decimal) and not isinstance(value, bool) and value == int(value)
    exact = isinstance(value, float) and value.is_integer() and abs(value) < MAX_EXACT_DOUBLE
    if whole or exact:
        text = str(int(value))
    if not text:
        raise InputError(
            f"{path} has {value!r} in column {column}, which is not the id of a basin.", "Give integers or texts."
        )
    return text


def _check_shape(shape: BaseGeometry, given: BaseGeometry, basin_id: str, path: Path) -> None:
    """Refuse what is not a polygon on the globe; `given` has the coordinates of the file."""
    parts = shapely.get_parts(shape)
    if (shapely.get_dimensions(parts) < 2).any():
        raise InputError(
            f"The shape of basin {basin_id} in {path} is a {shape.geom_type}.", "Give each basin as polygons."
        )
    if shape.is_empty:
        return  # refused where it is used
    if not is_on_globe(shape.bounds):
        shown = ", ".join(f"{edge:g}" for edge in given.bounds)
        raise InputError(
            f"The polygon of basin {basin_id} in {path} is not on the globe: its bounds are {shown}.",
            "Write the right CRS into the file (GeoJSON is always in degrees, longitude first).",
        )


@cache
def tdx_header_numbers() -> dict[str, str]:
    """Return the first two digits of TDX-Hydro's global ids, by the HYBAS_ID of each of its 62 basins."""
    numbers: dict[str, str] = json.loads((files("headwater") / "data" / "tdx_header_numbers.json").read_text())
    return numbers
