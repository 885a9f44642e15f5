"""The style of the network for QGIS: width by Strahler order, color by source."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

SOURCES = (
    ("backbone", '"from_tdx"', "8,81,156,255"),
    ("new", 'NOT "from_tdx"', "230,85,13,255"),
)
"""Label, filter and color (red, green, blue, alpha) of the two kinds of lines; also told apart by the color-blind."""
_WIDTH = '0.1 + 0.14 * "strahler_order"'
"""Millimeters."""


def network_style() -> str:
    """Return the text of waterways.qml, which QGIS (3.x) applies to the files of that name."""
    rules = "".join(
        f'<rule key="{{headwater-{label}}}" symbol="{number}" label="{label}" filter={quoteattr(kept)}/>'
        for number, (label, kept, _) in enumerate(SOURCES)
    )
    symbols = "".join(_symbol(number, color) for number, (_, _, color) in enumerate(SOURCES))
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.0" styleCategories="Symbology">\n'
        '<renderer-v2 type="RuleRenderer" symbollevels="0" enableorderby="1" forceraster="0">\n'
        f'<rules key="{{headwater}}">{rules}</rules>\n'
        f"<symbols>{symbols}</symbols>\n"
        '<orderby><orderByClause asc="1" nullsFirst="1">"strahler_order"</orderByClause></orderby>\n'
        "</renderer-v2>\n"
        "<blendMode>0</blendMode>\n<layerGeometryType>1</layerGeometryType>\n</qgis>\n"
    )


def _symbol(number: int, color: str) -> str:
    plain = {
        "capstyle": "round",
        "joinstyle": "round",
        "line_color": color,
        "line_style": "solid",
        "line_width": "0.3",
        "line_width_unit": "MM",
    }
    options = "".join(f'<Option type="QString" name="{name}" value="{value}"/>' for name, value in plain.items())
    width = (
        '<Option type="Map"><Option type="QString" name="name" value=""/><Option type="Map" name="properties">'
        '<Option type="Map" name="outlineWidth"><Option type="bool" name="active" value="true"/>'
        f'<Option type="QString" name="expression" value={quoteattr(_WIDTH)}/>'
        '<Option type="int" name="type" value="3"/></Option></Option>'
        '<Option type="QString" name="type" value="collection"/></Option>'
    )
    return (
        f'<symbol type="line" name="{number}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleLine" enabled="1" locked="0" pass="0"><Option type="Map">{options}</Option>'
        f"<data_defined_properties>{width}</data_defined_properties></layer></symbol>\n"
    )
