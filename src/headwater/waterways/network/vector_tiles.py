"""The network as vector tiles for web maps, in a PMTiles file."""

from __future__ import annotations

import json
import warnings
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
    # If this process is killed, the next writer recognizes the folder by its name and removes it.
    with (
        atomic_path(path) as temporary,
        TemporaryDirectory(dir=path.parent, prefix=f"{temporary.stem}.") as folder,
        warnings.catch_warnings(),
    ):
        # GDAL coarsens a tile beyond half a megabyte, and warns.
        warnings.filterwarnings("ignore", "At least one tile exceeded", RuntimeWarning)
        for zoom in TILE_ZOOMS:
            shown = streams[order >= min(min_order(zoom), order.max())]
            options: dict[str, object] = {"FORMAT": "DIRECTORY", "MINZOOM": zoom, "MAXZOOM": zoom}
            write_with_gdal(shown, Path(folder) / str(zoom), "MVT", options)
        last = json.loads((Path(folder) / str(TILE_ZOOMS[-1]) / "metadata.json").read_text())
        layers = [layer | {"minzoom": TILE_ZOOMS[0]} for layer in json.loads(last["json"])["vector_layers"]]
        tiles = [
            TileFile(int(file.parts[-3]), int(file.parts[-2]), int(file.stem), file)
            for file in Path(folder).glob("*/*/*/*.pbf")
        ]
        metadata = {
            "name": LAYER,
            "minzoom": str(TILE_ZOOMS[0]),
            "maxzoom": str(TILE_ZOOMS[-1]),
            "vector_layers": layers,
            **terms,
            # What web maps show beside their tiles.
            **({"attribution": " ".join(terms.values()).replace("\n", " ")} if terms else {}),
        }
        write_pmtiles(tiles, temporary, bounds=tuple(network.total_bounds.tolist()), metadata=metadata)


def min_order(zoom: int) -> int:
    """Return the Strahler order from which streams are shown at a zoom: 1 from 11 on, one more each zoom before."""
    return max(1, TILE_ZOOMS[-1] - zoom)


PMTILES = OutputFormat(".pmtiles", write_tiles)
