"""Output formats of the network, written next to its GeoParquet file.

A format is one `OutputFormat`: the suffix of its file and the function that writes it. Other packages register theirs
as entry points of the group "headwater.formats". This module and those of the built-in formats import no library of
tables until something is written: the workflow reads the suffixes while it is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.plugins import Registry

if TYPE_CHECKING:
    import geopandas as gpd


TERMS = "terms"
"""Key of a network's `attrs` with the metadata that every format should keep: text by key, see `terms_in`."""


@dataclass(frozen=True)
class OutputFormat:
    """A format that the network can be written in."""

    suffix: str
    """How the file's name ends, such as ".gpkg"."""
    write: Callable[[gpd.GeoDataFrame, Path], None]
    """Writes a network (columns of `headwater.waterways.network.columns`) to a path, completely or not at all."""


OUTPUT_FORMATS: Registry[OutputFormat] = Registry(
    "output format",
    group="headwater.formats",
    builtin={
        "gpkg": "headwater.waterways.network.gdal_formats:GEOPACKAGE",
        "fgb": "headwater.waterways.network.gdal_formats:FLATGEOBUF",
        "geojsonseq": "headwater.waterways.network.gdal_formats:GEOJSON_SEQUENCE",
        "kml": "headwater.waterways.network.phone_formats:KML",
        "pmtiles": "headwater.waterways.network.vector_tiles:PMTILES",
        "published": "headwater.waterways.network.geoparquet:PUBLISHED",
    },
)
"""What the network can be written in, besides GeoParquet."""


def terms_in(network: gpd.GeoDataFrame) -> dict[str, str]:
    """Return the terms of use of what a network was made of, as metadata: license, citation, warning."""
    return dict(network.attrs.get(TERMS, {}))


_NETWORK_STEM = "waterways"


class _Suffixes(Mapping[str, str]):
    """Suffix of each output format by its name; a format is imported when its suffix is read."""

    def __getitem__(self, name: str) -> str:
        if name not in OUTPUT_FORMATS.names():
            raise KeyError(name)
        return OUTPUT_FORMATS.load(name).suffix

    def __iter__(self) -> Iterator[str]:
        return iter(OUTPUT_FORMATS.names())

    def __len__(self) -> int:
        return len(OUTPUT_FORMATS.names())


FORMATS: Mapping[str, str] = _Suffixes()
"""How the file of each format ends."""


def format_path(path: Path, name: str) -> Path:
    """Return where a format's file is, next to the network's GeoParquet file."""
    return path.with_name(path.stem + OUTPUT_FORMATS.load(name).suffix)


def write_format(network: gpd.GeoDataFrame, path: Path, name: str) -> None:
    """Write the network in a format at its `format_path`, completely or not at all.

    Parameters
    ----------
    network : GeoDataFrame
        Columns of `headwater.waterways.network.columns`. Formats without lists get them as JSON text.
    path : Path
        The network's GeoParquet file.
    name : str
        Name in OUTPUT_FORMATS.

    Raises
    ------
    InputError
        There is no such format, or it cannot be imported.
    WorkError
        The network has no rows, and tiles are requested.
    """
    OUTPUT_FORMATS.load(name).write(network, format_path(Path(path), name))


def description_paths(path: Path) -> tuple[Path, Path]:
    """Return where the style and the schema of a network are: waterways.qml and schema.json of waterways.parquet.

    QGIS applies a style to files of the same name, whatever their format. Of a network under another name, the schema
    begins with that name.
    """
    schema = "schema.json" if path.stem == _NETWORK_STEM else f"{path.stem}.schema.json"
    return path.with_suffix(".qml"), path.with_name(schema)


def write_descriptions(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write the style and the schema of a network next to its GeoParquet file."""
    from headwater.core.files import write_if_changed, write_json
    from headwater.waterways.network.qgis_style import network_style
    from headwater.waterways.network.table_schema import table_schema

    style, schema = description_paths(Path(path))
    write_if_changed(style, network_style().encode())
    write_json(schema, table_schema(network.columns, terms_in(network)))
