"""The network as KML, for maps on phones and for Google Earth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from headwater.core.files import atomic_path
from headwater.waterways.network.columns import described_columns
from headwater.waterways.network.formats import OutputFormat, terms_in
from headwater.waterways.network.gdal_formats import LAYER, TITLE
from headwater.waterways.network.map_longitudes import cut_lines

if TYPE_CHECKING:
    import geopandas as gpd

_COLORS = {True: "ff9c5108", False: "ff0d55e6"}
"""Of the backbone and of new streams, as alpha, blue, green, red."""
_MAX_WIDTH = 12
_DIGITS = 6
"""Decimals of coordinates: 0.1 m."""
_LEFT_OUT = ("geometry", "source_stream_ids")


def write_kml(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write a KML with width by Strahler order, color by source, and attributes with their units on each line."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for text in _kml(cut_lines(network)):
            file.write(text)


def _kml(network: gpd.GeoDataFrame) -> Iterator[str]:
    known = described_columns(name for name in network.columns if name not in _LEFT_OUT)
    about = "\n".join([f"{TITLE}.", *terms_in(network).values()])
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">\n'
    yield f"<Document>\n<name>{LAYER}</name>\n<description>{escape(about)}</description>\n"
    orders = network["strahler_order"].clip(upper=_MAX_WIDTH)
    for source, color in _COLORS.items():
        for order in sorted(set(orders[network["from_tdx"] == source])):
            yield (
                f'<Style id="{_style(source, order)}"><LineStyle><color>{color}</color>'
                f"<width>{order}</width></LineStyle></Style>\n"
            )
    for line, order, *values in zip(network.geometry, orders, *(network[name].tolist() for name in known), strict=True):
        row = dict(zip(known, values, strict=True))
        data = "".join(
            f"<Data name={quoteattr(name)}><displayName>{escape(_label(name, column.unit))}</displayName>"
            f"<value>{escape(_text(row[name]))}</value></Data>"
            for name, column in known.items()
            if row[name] is not None and row[name] == row[name]
        )
        kind = "backbone" if row["from_tdx"] else "new"
        yield (
            f"<Placemark><name>{row['stream_id']}</name><styleUrl>#{_style(row['from_tdx'], order)}</styleUrl>"
            f"<Snippet>Strahler order {row['strahler_order']}, {kind}</Snippet>"
            f"<ExtendedData>{data}</ExtendedData>{_geometry(line)}</Placemark>\n"
        )
    yield "</Document>\n</kml>\n"


def _style(source: Any, order: Any) -> str:
    return f"{'backbone' if source else 'new'}-{order}"


def _label(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _text(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.10g}" if isinstance(value, float) else str(value)
    )


def _geometry(line: Any) -> str:
    if line.geom_type == "MultiLineString":
        return f"<MultiGeometry>{''.join(_geometry(part) for part in line.geoms)}</MultiGeometry>"
    points = " ".join(f"{x:.{_DIGITS}f},{y:.{_DIGITS}f}" for x, y, *_ in line.coords)
    # Along the ground, not straight through it.
    return f"<LineString><tessellate>1</tessellate><coordinates>{points}</coordinates></LineString>"


KML = OutputFormat(".kml", write_kml)
