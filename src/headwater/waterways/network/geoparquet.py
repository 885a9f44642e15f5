"""The network as GeoParquet: all its columns, or those of the published data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.files import atomic_path
from headwater.core.seals import seal_parquet
from headwater.geo.parquet import WRITE_OPTIONS
from headwater.waterways.network.columns import PUBLISHED_COLUMNS, described_columns
from headwater.waterways.network.formats import OutputFormat, terms_in

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

ROWS_PER_GROUP = 50_000
"""Rows along the Hilbert curve that a reader of a box reads or skips together."""
COLUMNS_KEY = "columns"
"""Key of the file's metadata with the description and unit of each column, as JSON."""
_BOX = ("xmin", "ymin", "xmax", "ymax")


def write_network(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet 1.1 with a bbox column, completely or not at all, with the same bytes for the same table.

    Parameters
    ----------
    network : GeoDataFrame
        Lines with any columns; a list column may be Arrow's. No index is written. Its terms of use become metadata.
    path : Path
        File to write.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    lines = network.geometry.to_numpy()
    name, boxes = network.geometry.name, shapely.bounds(lines)
    columns = {
        column: pa.array(shapely.to_wkb(lines), pa.binary()) if column == name else to_arrow(network, column)
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
    table = pa.table(columns, schema=_described_schema(columns, {"geo": json.dumps(geo), **terms_in(network)}))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, **WRITE_OPTIONS)
        seal_parquet(temporary)


def _described_schema(columns: Mapping[str, pa.Array], metadata: Mapping[str, str]) -> pa.Schema:
    """Return the schema with each column's description and unit: on its field, and all together for other readers.

    Programs that read Parquet without Arrow, such as DuckDB, see the metadata of the file alone.
    """
    import pyarrow as pa

    known = described_columns(columns)
    texts = {name: {"description": each.meaning, "unit": each.unit} for name, each in known.items()}
    fields = [pa.field(name, array.type, metadata=texts.get(name)) for name, array in columns.items()]
    return pa.schema(fields, metadata={**metadata, COLUMNS_KEY: json.dumps(texts)})


def published(network: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the network with PUBLISHED_COLUMNS."""
    return network.rename(columns={"strahler_order": "stream_order"})[list(PUBLISHED_COLUMNS)]


def write_published(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet with the columns of the published data (Pierson and Mehrabi 2024)."""
    write_network(published(network), path)


def to_arrow(network: gpd.GeoDataFrame, column: str) -> pa.Array:
    """Return a column as an Arrow array, without pandas' note on types: it cannot read back lists that are Arrow's."""
    import pyarrow as pa

    array = pa.array(network[column])
    combined = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    # A text column without rows has no type.
    return combined.cast(pa.string()) if pa.types.is_null(combined.type) else combined


PUBLISHED = OutputFormat(".published.parquet", write_published)
