"""HydroBASINS polygons; their foreign columns are renamed here and nowhere else."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import InputError
from headwater.geo.features import TableKind, only, read_table
from headwater.geo.grid import CRS

# Most jobs import this module for a name or two and read no polygon: geopandas is imported where it is used.
if TYPE_CHECKING:
    import geopandas as gpd

HYDROBASINS_ID = "HYBAS_ID"
_BASINS = TableKind(
    "basin polygons",
    "Set basins.polygons to a GeoPackage, Shapefile or GeoParquet of basins.",
    "polygons",
    ((HYDROBASINS_ID, "basin_id"),),
)


def read_basins(polygons: Sequence[Path]) -> gpd.GeoDataFrame:
    """Read basin polygons.

    Parameters
    ----------
    polygons : sequence of Path
        Files that GDAL can read, or GeoParquet, with a column HYBAS_ID (or basin_id).

    Returns
    -------
    GeoDataFrame
        Columns basin_id (str), geometry (polygons, EPSG:4326).

    Raises
    ------
    InputError
        A file cannot be read, has no id column or no CRS, a row lacks its id or polygon, or an id occurs twice.
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
    """Return the valid polygon of one basin.

    Raises
    ------
    InputError
        The basin is not in the files, or its polygon is empty.
    """
    basins = read_basins(polygons)
    rows = basins[basins["basin_id"] == str(basin_id)]
    if rows.empty:
        known = ", ".join(sorted(basins["basin_id"])[:5])
        raise InputError(
            f"Basin {basin_id} is not in {', '.join(str(path) for path in polygons)}.",
            f"Use an id of the file, such as {known}.",
        )
    polygon: BaseGeometry = shapely.make_valid(rows.geometry.iloc[0])
    if polygon.is_empty or polygon.area == 0:
        raise InputError(f"The polygon of basin {basin_id} is empty.", "Give a polygon with an area.")
    return polygon


def file_for_basin(pattern: str, basin_id: str) -> Path:
    """Return the one file that matches a pattern for a basin.

    Parameters
    ----------
    pattern : str
        Path in which `{basin_id}` stands for the id; shell wildcards are allowed.
    basin_id : str
        HYBAS_ID.

    Raises
    ------
    InputError
        No file, or more than one, matches.
    """
    name = pattern.replace("{basin_id}", basin_id)
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
    column = next((name for name in (HYDROBASINS_ID, "basin_id") if name in table.columns), None)
    if column is None:
        raise InputError(f"{path} has no column {HYDROBASINS_ID}.", "Name the column of basin ids HYBAS_ID.")
    if table.crs is None:
        raise InputError(f"{path} has no coordinate reference system.", "Write its CRS into the file.")
    if table[column].isna().any() or table.geometry.isna().any():
        raise InputError(f"{path} has basins without an id or a polygon.", "Give each row both, or remove it.")
    # The shapefiles of HydroBASINS store the id as a double.
    ids = [str(int(value)) if not isinstance(value, str) else value for value in table[column]]
    shapes = only(table.geometry.to_crs(CRS).to_numpy(), _BASINS, str(path), column=column, ids=np.array(ids))
    return gpd.GeoDataFrame({"basin_id": ids}, geometry=shapes, crs=CRS)


def tdx_header_numbers() -> dict[str, str]:
    """Return the first two digits of TDX-Hydro's global ids, by the HYBAS_ID of each of its 62 basins."""
    numbers: dict[str, str] = json.loads((files("headwater") / "data" / "tdx_header_numbers.json").read_text())
    return numbers
