"""Types of found waterways by the nearest feature of the NHD (Pierson and Mehrabi 2024, arXiv 2412.00050, 4.6)."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from headwater.evaluate.nhd import WATER_TYPES
from headwater.geo.geodesy import GEOD

NEAR_DEGREES = 0.001
UNKNOWN = "unknown"
NAMES = (UNKNOWN, *(name for name, _ in WATER_TYPES.values()))
"""Names by the number of the type; 0 is a vertex with no feature near."""


def type_lengths(lines: gpd.GeoSeries, features: gpd.GeoDataFrame, *, within: float = NEAR_DEGREES) -> pd.DataFrame:
    """Return the length of each line by the type of the NHD feature nearest to it.

    Each vertex takes the type of the nearest feature (of several as near, the one that is burned last), and each edge
    gives half its length to the type of either end.

    Parameters
    ----------
    lines : GeoSeries
        Lines in EPSG:4326.
    features : GeoDataFrame
        Columns water_type and geometry (EPSG:4326), as `headwater.evaluate.nhd.read_nhd` returns them.
    within : float
        Vertices farther from all features than this are of unknown type, degrees.

    Returns
    -------
    DataFrame
        Index of the lines; a column for each of `NAMES`, meters; they add up to the geodesic length.
    """
    parts, line_of_part = shapely.get_parts(lines.to_numpy(), return_index=True)
    points, part = shapely.get_coordinates(parts, return_index=True)
    types = _nearest_type(points, features, within)
    same = np.flatnonzero(part[1:] == part[:-1])
    line = line_of_part[part]
    lengths = np.zeros((len(lines), len(NAMES)))
    if len(same):
        _, _, step = GEOD.inv(points[same, 0], points[same, 1], points[same + 1, 0], points[same + 1, 1])
        for end in (same, same + 1):
            np.add.at(lengths, (line[same], types[end]), np.asarray(step) / 2)
    return pd.DataFrame(lengths, index=lines.index, columns=list(NAMES))


def main_type(lengths: pd.DataFrame) -> pd.Series[str]:
    """Return the type that most of each line's length has; unknown for a line without length."""
    return lengths.idxmax(axis=1).astype(str)


def _nearest_type(points: NDArray[np.float64], features: gpd.GeoDataFrame, within: float) -> NDArray[np.int64]:
    """Return the water type of the feature nearest to each (x, y); 0 where none is near."""
    types = np.zeros(len(points), dtype=np.int64)
    if len(features) and len(points):
        tree = shapely.STRtree(features.geometry.to_numpy())
        point, feature = tree.query_nearest(shapely.points(points), max_distance=within, all_matches=True)
        np.maximum.at(types, point, features["water_type"].to_numpy(np.int64)[feature])
    return types
