"""The columns of TDX-Hydro (NGA 2022; TauDEM's `streamnet` table), and those of our tables of the backbone."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.geo.features import TableKind

TDX_STREAM_COLUMNS: Mapping[str, str] = {
    "LINKNO": "link_id",
    "DSLINKNO": "downstream_link_id",
    "strmOrder": "strahler_order",
    "DSContArea": "upstream_area_km2",
    "USLINKNO1": "upstream_outside",
    "USLINKNO2": "upstream_outside",
}
"""Columns of a streamnet, and those of ours that they become. The last three may be missing. DSContArea is in m2; the
upstream links are compared with the table, to find those that are outside the area."""
STREAM_COLUMNS = tuple(TDX_STREAM_COLUMNS)
REQUIRED_STREAM_COLUMNS = STREAM_COLUMNS[:3]
CATCHMENT_ID_COLUMNS = ("streamID", "LINKNO", "link_id")
"""Names of the column with the link's id in files of catchments: TDX-Hydro's own first."""

STREAMS = TableKind(
    "streams",
    "Give a TDX-Hydro streamnet (or TauDEM's): lines with LINKNO, DSLINKNO and strmOrder.",
    "lines",
    tuple((name,) for name in REQUIRED_STREAM_COLUMNS),
)
CATCHMENTS = TableKind(
    "catchments",
    "Give a TDX-Hydro streamreach_basins file: polygons with the link's id in streamID.",
    "polygons",
    (CATCHMENT_ID_COLUMNS,),
)

REACH_COLUMNS = (
    "link_id",
    "downstream_link_id",
    "strahler_order",
    "upstream_area_km2",
    "length_m",
    "has_catchment",
    "upstream_outside",
    "upstream_cut",
    "source",
    "cell",
    "geometry",
)
"""reaches.parquet. `upstream_outside`: the network starts there with the reach's order; `upstream_cut`: because
the edge of an area cuts what flows to it (false everywhere in a basin); `source`: one of the SOURCE_ constants."""
SOURCE_GIVEN = "given"
"""A reach of a backbone: it is in the network, whatever is found."""
SOURCE_FOUND = "found"
"""Without backbone: found water is on it or flows to its head, so it is in the network."""
SOURCE_ELEVATION = "elevation"
"""Without backbone: where found water would flow according to the elevation; in the network only downstream of some."""
SOURCE_COAST = "coast"
"""A link of length 0 where water leaves land that drains to no reach; it is not in the network, what flows to it is."""
CATCHMENT_COLUMNS = ("link_id", "cell", "geometry")
"""catchments.parquet."""
