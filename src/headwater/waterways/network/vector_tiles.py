"""The network as vector tiles for web maps, in a PMTiles file."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from headwater.core.errors import WorkError
from headwater.core.files import atomic_path
from headwater.waterways.network.formats import OutputFormat, terms_in
from headwater.waterways.network.gdal_formats import LAYER, write_with_gdal
from headwater.waterways.network.map_longitudes import cut_rows
from headwater.waterways.network.pmtiles import TileFile, write_pmtiles

if TYPE_CHECKING:
    import geopandas as gpd
    import numpy as np
    from numpy.typing import NDArray

    from headwater.geo.grid import Bounds

WORLD_M = 2 * math.pi * 6_378_137.0
"""Side of the square map of the web in EPSG:3857."""
TILE_EXTENT = 4096
"""Steps of the grid of a tile, of GDAL's driver MVT by default."""
TILE_ZOOMS = range(6, 13)
"""Zooms of the tiles: at 12 a vertex moves by 1.2 m at most; at 6 a basin spans some tiles."""


def write_tiles(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write vector tiles; streams of low order appear at high zooms only, see `min_order`.

    Raises
    ------
    WorkError
        The network has no rows.
    """
    if network.empty:
        raise WorkError("There are no streams to make tiles of.", "Leave pmtiles out of the formats of this basin.")
    terms = {name: text for name, text in terms_in(network).items() if text}
    network = cut_rows(network)
    streams = network.to_crs(3857)
    order = streams["strahler_order"].to_numpy()
    shown = {zoom: order >= min(min_order(zoom), order.max()) for zoom in TILE_ZOOMS}
    # What web maps show beside their tiles.
    attribution = {"attribution": " ".join(terms.values()).replace("\n", " ")} if terms else {}
    bounds = tuple(network.total_bounds.tolist())
    write_zooms(streams, shown, path, bounds=bounds, metadata={"name": LAYER, **terms, **attribution})


def write_zooms(
    streams: gpd.GeoDataFrame,
    shown: Mapping[int, NDArray[np.bool_]],
    path: Path,
    *,
    bounds: Bounds,
    metadata: Mapping[str, str],
    more: Mapping[str, object] | None = None,
) -> None:
    """Write tiles of lines, of each zoom those that it shows.

    Parameters
    ----------
    streams : GeoDataFrame
        Lines in EPSG:3857, from -180 to 180 degrees; each column becomes an attribute.
    shown : mapping of int to (n,) bool
        Which lines each zoom shows; zooms ascend without gaps, and the last one shows some.
    path : Path
        PMTiles file to write.
    bounds : (west, south, east, north)
        Degrees.
    metadata : mapping
        Texts for its readers.
    more : mapping, optional
        Further options of GDAL's driver MVT.
    """
    import shapely

    first, final = min(shown), max(shown)
    # If this process is killed, the next writer recognizes the folder by its name and removes it.
    with (
        atomic_path(path) as temporary,
        TemporaryDirectory(dir=path.parent, prefix=f"{temporary.stem}.") as folder,
        warnings.catch_warnings(),
    ):
        # GDAL coarsens a tile beyond half a megabyte, and warns.
        warnings.filterwarnings("ignore", "At least one tile exceeded", RuntimeWarning)
        for zoom, rows in shown.items():
            # Vertices nearer to a line than a step of the tile's grid are not seen.
            step_m = WORLD_M / 2**zoom / TILE_EXTENT
            drawn = streams[rows]
            drawn = drawn.set_geometry(shapely.simplify(drawn.geometry.to_numpy(), step_m, preserve_topology=False))
            options = {"FORMAT": "DIRECTORY", "MINZOOM": zoom, "MAXZOOM": zoom, **(more or {})}
            write_with_gdal(drawn, Path(folder) / str(zoom), "MVT", options)
        last = json.loads((Path(folder) / str(final) / "metadata.json").read_text())
        layers = [layer | {"minzoom": first} for layer in json.loads(last["json"])["vector_layers"]]
        tiles = [
            TileFile(int(file.parts[-3]), int(file.parts[-2]), int(file.stem), file)
            for file in Path(folder).glob("*/*/*/*.pbf")
        ]
        described = {"minzoom": str(first), "maxzoom": str(final), "vector_layers": layers, **metadata}
        write_pmtiles(tiles, temporary, bounds=bounds, metadata=described)


def min_order(zoom: int) -> int:
    """Return the Strahler order from which streams are shown at a zoom: 1 from 11 on, one more each zoom before."""
    return max(1, TILE_ZOOMS[-1] - zoom)


PMTILES = OutputFormat(".pmtiles", write_tiles)
