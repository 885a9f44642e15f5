"""A network as files: GeoParquet, and what else is asked for beside it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray

from headwater.core.errors import WorkError
from headwater.core.files import atomic_path
from headwater.geo.longitudes import cut_to_map
from headwater.waterways.network.pmtiles import TileFile, write_pmtiles

ROWS_PER_GROUP = 50_000
"""Rows along the Hilbert curve that a reader of a box takes or leaves together."""
FORMATS = {"gpkg": ".gpkg", "fgb": ".fgb", "pmtiles": ".pmtiles", "published": ".published.parquet"}
"""How the file of each format that can be asked for ends; it lies beside the GeoParquet file."""
PUBLISHED_COLUMNS = (
    "stream_id",
    "target_stream_id",
    "source_stream_ids",
    "stream_order",
    "from_tdx",
    "tdx_stream_id",
    "geometry",
    "intersects_lake",
    "length_m",
)
"""The columns of the published data (Pierson and Mehrabi 2024)."""
TILE_ZOOMS = range(6, 13)
"""Zooms of the tiles: at 12 a vertex moves by 1.2 m at most; at 6 a basin spans some tiles."""
_LAYER = "waterways"
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


def format_path(path: Path, name: str) -> Path:
    """Return where a format of FORMATS lies beside the network's GeoParquet file."""
    return path.with_name(path.stem + FORMATS[name])


def write_format(network: gpd.GeoDataFrame, path: Path, name: str) -> None:
    """Write the network in a format of FORMATS at its `format_path`, whole or not at all.

    Parameters
    ----------
    network : GeoDataFrame
        NETWORK_COLUMNS of `headwater.waterways.network.build`. Formats without lists get them as JSON text.
    path : Path
        Where the network's GeoParquet file lies.
    name : str
        Key of FORMATS.

    Raises
    ------
    WorkError
        The network has no rows, and tiles are asked for.
    """
    _WRITERS[name](network, format_path(Path(path), name))


def published(network: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the network with PUBLISHED_COLUMNS."""
    return network.rename(columns={"strahler_order": "stream_order"})[list(PUBLISHED_COLUMNS)]


def _write_gpkg(network: gpd.GeoDataFrame, path: Path) -> None:
    # The one date in the file: when it was written. A fixed one gives the same bytes again.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    try:
        _write_with_gdal(network, path, "GPKG")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _write_fgb(network: gpd.GeoDataFrame, path: Path) -> None:
    _write_with_gdal(network, path, "FlatGeobuf")


def _write_pmtiles(network: gpd.GeoDataFrame, path: Path) -> None:
    if network.empty:
        raise WorkError("There are no streams to make tiles of.", "Leave pmtiles out of the formats of this basin.")
    network = _on_the_map(network)
    streams = network.to_crs(3857)
    order = streams["strahler_order"].to_numpy()
    # The folder's name is one that the next writer clears away if this one is killed.
    with (
        atomic_path(path) as temporary,
        TemporaryDirectory(dir=path.parent, prefix=f"{temporary.stem}.") as folder,
        warnings.catch_warnings(),
    ):
        # GDAL coarsens a tile beyond half a megabyte, and says so.
        warnings.filterwarnings("ignore", "At least one tile exceeded", RuntimeWarning)
        for zoom in TILE_ZOOMS:
            shown = streams[order >= min(least_order(zoom), order.max())]
            _to_gdal(shown, Path(folder) / str(zoom), "MVT", {"FORMAT": "DIRECTORY", "MINZOOM": zoom, "MAXZOOM": zoom})
        last = json.loads((Path(folder) / str(TILE_ZOOMS[-1]) / "metadata.json").read_text())
        layers = [layer | {"minzoom": TILE_ZOOMS[0]} for layer in json.loads(last["json"])["vector_layers"]]
        tiles = [
            TileFile(int(file.parts[-3]), int(file.parts[-2]), int(file.stem), file)
            for file in Path(folder).glob("*/*/*/*.pbf")
        ]
        told = {"name": _LAYER, "minzoom": str(TILE_ZOOMS[0]), "maxzoom": str(TILE_ZOOMS[-1]), "vector_layers": layers}
        write_pmtiles(tiles, temporary, bounds=tuple(network.total_bounds.tolist()), metadata=told)


def _on_the_map(network: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a network whose lines are cut at 180 degrees: tiles have nothing beyond."""
    beyond = np.abs(network.bounds[["minx", "maxx"]].to_numpy()).max(axis=1) > 180
    if not beyond.any():
        return network
    pieces, row = cut_to_map(network.geometry.to_numpy()[beyond])
    return gpd.GeoDataFrame(
        pd.concat([network[~beyond], network[beyond].iloc[row].set_geometry(pieces, crs=network.crs)]), crs=network.crs
    )


def least_order(zoom: int) -> int:
    """Return the Strahler order from which streams are shown at a zoom: 1 from 11 on, one more each zoom before."""
    return max(1, TILE_ZOOMS[-1] - zoom)


def _write_published(network: gpd.GeoDataFrame, path: Path) -> None:
    write_network(published(network), path)


_WRITERS: dict[str, Callable[[gpd.GeoDataFrame, Path], None]] = {
    "gpkg": _write_gpkg,
    "fgb": _write_fgb,
    "pmtiles": _write_pmtiles,
    "published": _write_published,
}


def _write_with_gdal(network: gpd.GeoDataFrame, path: Path, driver: str) -> None:
    with atomic_path(path) as temporary:
        _to_gdal(network, temporary, driver, {})


def _to_gdal(network: gpd.GeoDataFrame, path: Path, driver: str, options: dict[str, object]) -> None:
    plain = network.assign(source_stream_ids=_as_json(_arrow(network, "source_stream_ids")))
    pyogrio.write_dataframe(
        plain, path, driver=driver, layer=_LAYER, geometry_type="LineString", dataset_options=options
    )


def _as_json(lists: pa.Array) -> NDArray[np.object_]:
    """Return each list of whole numbers as "[1, 2]"."""
    inside = pc.binary_join(lists.cast(pa.list_(pa.string())), ", ")
    return np.asarray(pc.binary_join_element_wise("[", inside, "]", "").to_numpy(zero_copy_only=False))


def _arrow(network: gpd.GeoDataFrame, column: str) -> pa.Array:
    # Without pandas' own note on types: it cannot read lists back that are Arrow's.
    array = pa.array(network[column])
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    # A text column without rows tells no type.
    return whole.cast(pa.string()) if pa.types.is_null(whole.type) else whole
