"""Which lines meet lakes, such as those of HydroLAKES (Messager et al. 2016, doi:10.1038/ncomms13603)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.geo.grid import CRS, Bounds

_POLYGONS_AT_ONCE = 20_000


def meets_lake(lines: NDArray[Any], lakes: Path) -> NDArray[np.bool_]:
    """Return which lines meet a polygon of a file, its edge included.

    Parameters
    ----------
    lines : (n,) array of shapely LineString
        EPSG:4326.
    lakes : Path
        Polygons in any format GDAL reads, or GeoParquet, in any CRS. Those near the lines are read, part by part.

    Raises
    ------
    InputError
        The file is missing, cannot be read, has no CRS, or contains other shapes than polygons.
    """
    meets = np.zeros(len(lines), dtype=bool)
    if not Path(lakes).exists():
        raise InputError(f"{lakes} does not exist.", "Give a file of lake polygons.")
    if len(lines) == 0:
        return meets
    tree = shapely.STRtree(lines)
    try:
        for polygons in _polygons_near(Path(lakes), tuple(shapely.total_bounds(lines).tolist())):
            if not np.isin(shapely.get_type_id(polygons), [3, 6]).all():
                raise InputError(f"{lakes} contains other shapes than polygons.", "Give a file of lake polygons.")
            meets[tree.query(polygons, predicate="intersects")[1]] = True
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, OSError) as error:
        raise InputError(
            f"{lakes} cannot be read as polygons ({str(error).splitlines()[0]}).", "Give a file of lake polygons."
        ) from error
    return meets


def _polygons_near(path: Path, bounds: Bounds) -> Iterator[NDArray[Any]]:
    """Yield polygons in EPSG:4326; those without a shape are skipped."""
    if path.suffix.lower() in {".parquet", ".geoparquet"}:
        # Only a file with a bbox column can be read in part.
        covered = "bbox" in pq.read_schema(path).names
        parts = iter([gpd.read_parquet(path, bbox=bounds if covered else None).geometry])
    else:
        parts = _parts_from_gdal(path, bounds)
    for part in parts:
        if part.crs is None:
            raise InputError(f"{path} has no coordinate reference system.", "Write the CRS into the file.")
        shapes = part[~(part.isna() | part.is_empty)].to_crs(CRS)
        if len(shapes):
            yield np.asarray(shapes.to_numpy(), dtype=object)


def _parts_from_gdal(path: Path, bounds: Bounds) -> Iterator[gpd.GeoSeries]:
    crs = pyogrio.read_info(path)["crs"]
    if crs is None:
        raise InputError(f"{path} has no coordinate reference system.", "Write the CRS into the file.")
    near = pyproj.Transformer.from_crs(CRS, crs, always_xy=True).transform_bounds(*bounds, densify_pts=51)
    with pyogrio.open_arrow(path, columns=[], bbox=near, batch_size=_POLYGONS_AT_ONCE, use_pyarrow=True) as source:
        described, reader = source
        for batch in reader:
            shapes = batch.column(batch.schema.get_field_index(described["geometry_name"] or "wkb_geometry"))
            yield gpd.GeoSeries.from_wkb(shapes.to_numpy(zero_copy_only=False), crs=crs)
