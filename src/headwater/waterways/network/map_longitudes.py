"""A network on a map from -180 to 180 degrees, for formats that have nothing beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import geopandas as gpd


def cut_rows(network: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a network whose lines are cut at 180 degrees; each part is a row, those of what was cut at the end."""
    import geopandas as gpd
    import numpy as np
    import pandas as pd

    from headwater.geo.longitudes import cut_to_map

    beyond = np.abs(network.bounds[["minx", "maxx"]].to_numpy()).max(axis=1) > 180
    if not beyond.any():
        return network
    parts, row = cut_to_map(network.geometry.to_numpy()[beyond])
    return gpd.GeoDataFrame(
        pd.concat([network[~beyond], network[beyond].iloc[row].set_geometry(parts, crs=network.crs)]), crs=network.crs
    )


def cut_lines(network: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a network whose lines are cut at 180 degrees, with the same rows: a line of several parts is one of them.

    A multi-part line is only what has parts on both sides.
    """
    import numpy as np
    import shapely

    from headwater.geo.longitudes import cut_to_map

    lines = network.geometry.to_numpy()
    beyond = np.flatnonzero(np.abs(network.bounds[["minx", "maxx"]].to_numpy()).max(axis=1) > 180)
    if not beyond.size:
        return network
    parts, row = cut_to_map(lines[beyond])
    lines = lines.copy()
    for number, index in enumerate(beyond):
        own = np.asarray(parts)[row == number]
        lines[index] = own[0] if len(own) == 1 else shapely.MultiLineString(list(own))
    changed = network.set_geometry(lines, crs=network.crs)
    changed.attrs = network.attrs
    return changed
