"""The network as GeoPackage, FlatGeobuf and a sequence of GeoJSON, written by GDAL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.files import atomic_path
from headwater.waterways.network.columns import described_columns
from headwater.waterways.network.formats import OutputFormat, terms_in
from headwater.waterways.network.geoparquet import to_arrow
from headwater.waterways.network.qgis_style import network_style

if TYPE_CHECKING:
    import geopandas as gpd

LAYER = "waterways"
"""Name of the layer in files that have layers."""
TITLE = "Waterways: one directed network of streams"
_NO_DATE = "1970-01-01T00:00:00.000Z"
"""Instead of the date of writing: the same table gives the same bytes."""


def write_geopackage(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write a GeoPackage with descriptions of its columns and a style, with the same bytes for the same table."""
    import pyogrio

    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _NO_DATE})
    try:
        with atomic_path(path) as temporary:
            layer = {"DESCRIPTION": _description(network)}
            write_with_gdal(network, temporary, "GPKG", {}, layer_options=layer, layer_metadata=terms_in(network))
            _add_style(temporary)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def write_flatgeobuf(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write a FlatGeobuf with descriptions of its columns."""
    with atomic_path(path) as temporary:
        layer = {"TITLE": TITLE, "DESCRIPTION": _description(network)}
        write_with_gdal(network, temporary, "FlatGeobuf", {}, layer_options=layer)


def write_geojson_sequence(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write one GeoJSON feature a line; lines are cut at 180 degrees, as RFC 7946 asks."""
    from headwater.waterways.network.map_longitudes import cut_lines

    with atomic_path(path) as temporary:
        # No type of geometry: what is cut has several parts.
        write_with_gdal(
            cut_lines(network), temporary, "GeoJSONSeq", {}, lists=True, geometry_type="Unknown", layer_options=_DIGITS
        )


def write_with_gdal(
    network: gpd.GeoDataFrame,
    path: Path,
    driver: str,
    options: dict[str, object],
    *,
    lists: bool = False,
    geometry_type: str = "LineString",
    **described: Any,
) -> None:
    """Write a network with a driver of GDAL.

    Parameters
    ----------
    network : GeoDataFrame
        What to write.
    path : Path
        File to write.
    driver, options
        Driver of GDAL with its options of a dataset.
    lists : bool
        Whether lists of ids stay lists; they become JSON text otherwise.
    geometry_type : str
        Type of the layer.
    **described
        Further options of pyogrio.
    """
    import pyarrow as pa
    import pyogrio
    import shapely

    geometry, known = network.geometry.name, described_columns(network.columns)
    arrays, fields = [], []
    for name in network.columns:
        if name == geometry:
            array = pa.array(shapely.to_wkb(network.geometry.to_numpy()), pa.binary())
        else:
            array = to_arrow(network, name)
        if pa.types.is_list(array.type) and not lists:
            array = _as_json(array)
        # GDAL reads the description of a field here, and writes it where the format has a place for it.
        comment = {"GDAL:OGR:comment": known[name].comment} if name in known and name != geometry else None
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=comment))
    pyogrio.write_arrow(
        pa.table(arrays, schema=pa.schema(fields)),
        path,
        driver=driver,
        layer=LAYER,
        geometry_name=geometry,
        geometry_type=geometry_type,
        crs=network.crs.to_wkt() if network.crs.to_epsg() is None else f"EPSG:{network.crs.to_epsg()}",
        dataset_options=options,
        **{name: value for name, value in described.items() if value},
    )


def _description(network: gpd.GeoDataFrame) -> str:
    """Return what the network is and its terms of use, in lines."""
    return "\n".join([f"{TITLE}.", *(f"{name}: {text}" for name, text in terms_in(network).items())])


def _add_style(path: Path) -> None:
    """Add the table that QGIS looks for styles in, with the network's as default."""
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),"
            " f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30),"
            " styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),"
            " update_time DATETIME)"
        )
        (column,) = base.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", [LAYER])
        base.execute(
            "INSERT INTO layer_styles VALUES (1, '', '', ?, ?, ?, ?, '', 1, ?, '', '', ?)",
            [LAYER, column[0], LAYER, network_style(), "Width by Strahler order, color by source", _NO_DATE],
        )
        base.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', ?)",
            [_NO_DATE],
        )


def _as_json(lists: Any) -> Any:
    """Return each list of an Arrow array of integers as "[1, 2]"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inside = pc.binary_join(lists.cast(pa.list_(pa.string())), ", ")
    return pc.binary_join_element_wise("[", inside, "]", "")


_DIGITS = {"COORDINATE_PRECISION": "7"}
"""Of GeoJSON, as RFC 7946 advises: 1 cm."""
GEOPACKAGE = OutputFormat(".gpkg", write_geopackage)
FLATGEOBUF = OutputFormat(".fgb", write_flatgeobuf)
GEOJSON_SEQUENCE = OutputFormat(".geojsonl", write_geojson_sequence)
