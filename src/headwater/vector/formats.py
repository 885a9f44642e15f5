"""A network as files: GeoParquet, and what else is asked for beside it."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from headwater.files import atomic_path

ROWS_PER_GROUP = 50_000
"""Rows along the Hilbert curve that a reader of a box takes or leaves together."""
_BOX = ("xmin", "ymin", "xmax", "ymax")


def write_network(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet 1.1 with a bbox column, whole or not at all, with the same bytes for the same table.

    Parameters
    ----------
    network : GeoDataFrame
        Lines with any columns; a list column may be Arrow's. No index is written.
    path : Path
        File to write.
    """
    lines = network.geometry.to_numpy()
    name, boxes = network.geometry.name, shapely.bounds(lines)
    columns = {
        column: pa.array(shapely.to_wkb(lines), pa.binary()) if column == name else _arrow(network, column)
        for column in network.columns
    }
    columns["bbox"] = pa.StructArray.from_arrays([pa.array(side) for side in boxes.T], names=list(_BOX))
    described = {
        "encoding": "WKB",
        "crs": network.crs.to_json_dict(),
        "geometry_types": ["LineString"] if len(network) else [],
        "covering": {"bbox": {side: ["bbox", side] for side in _BOX}},
    }
    if len(network):
        described["bbox"] = [*np.nanmin(boxes[:, :2], axis=0).tolist(), *np.nanmax(boxes[:, 2:], axis=0).tolist()]
    geo = {"version": "1.1.0", "primary_column": name, "columns": {name: described}}
    table = pa.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROWS_PER_GROUP)


def _arrow(network: gpd.GeoDataFrame, column: str) -> pa.Array:
    # Without pandas' own note on types: it cannot read lists back that are Arrow's.
    return pa.Array.from_pandas(network[column])
