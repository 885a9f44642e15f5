"""The columns of a basin's waterways.parquet, and those of the published data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Column:
    """A column of the network."""

    name: str
    dtype: str
    unit: str
    """Empty where it has none."""
    meaning: str

    @property
    def comment(self) -> str:
        """The meaning and the unit, in one line."""
        return f"{self.meaning} Unit: {self.unit}." if self.unit else self.meaning


COLUMNS = (
    Column(
        "stream_id",
        "int64",
        "",
        "Unique in the world: (TDX header * 10,000,000 + link) * 100,000 + number in the catchment.",
    ),
    Column("target_stream_id", "int64", "", "The segment it flows into; -1 at an outlet."),
    Column("source_stream_ids", "list of int64", "", "The segments that flow into it, ascending."),
    Column(
        "strahler_order",
        "int32",
        "",
        "Exact on the complete network; sources are 1, except where upstream is outside the area: there the TDX order.",
    ),
    Column("from_tdx", "bool", "", "Whether it is part of the backbone, of kind tdx or dem; false with kind none."),
    Column("tdx_stream_id", "int64", "", "Id of the backbone's reach (LINKNO in TDX-Hydro); -1 for new segments."),
    Column("tdx_strahler_order", "int32", "", "Strahler order of the backbone's reach; -1 for new segments."),
    Column("basin_id", "string", "", "HYBAS_ID, or the id of an area."),
    Column("intersects_lake", "bool", "", "Whether it meets a lake; false where no lakes are given."),
    Column("length_m", "float64", "m", "Geodesic length on WGS84."),
    Column("mean_probability", "float64", "", "Mean predicted probability along it; null where there is none."),
    Column(
        "divergence", "bool", "", "Whether it is the second arm around an island: it starts at a node, without inflow."
    ),
    Column(
        "upstream_area_km2",
        "float64",
        "km2",
        "Area that the reach drains at its downstream end; null for new segments off the reaches.",
    ),
    Column(
        "upstream_cut",
        "bool",
        "",
        "Whether it is the head of a reach that gets water over the edge of the area; false everywhere in a basin.",
    ),
    Column(
        "without_backbone",
        "bool",
        "",
        "Whether it is on land that drains to no reach, such as a coast: its network ends where that land does.",
    ),
    Column("topological_order", "int64", "", "From 0; every segment comes after all that flow into it."),
    Column("terminal_stream_id", "int64", "", "The outlet that its water leaves by."),
    Column("geometry", "LineString", "degrees", "EPSG:4326, drawn downstream."),
)
"""In the order of the file, which has a column `bbox` as well, as GeoParquet 1.1 uses it."""

BBOX = Column("bbox", "struct of float64", "degrees", "Box of the line: xmin, ymin, xmax, ymax.")
"""The column that only GeoParquet has."""

NETWORK_COLUMNS = tuple(column.name for column in COLUMNS)

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
"""The columns of the published data (Pierson and Mehrabi 2024); `stream_order` is our `strahler_order`."""


def described_columns(names: Iterable[str]) -> dict[str, Column]:
    """Return the descriptions of those columns that have one, also under their names in the published data."""
    known = {column.name: column for column in COLUMNS}
    known["stream_order"] = replace(known["strahler_order"], name="stream_order")
    known["bbox"] = BBOX
    return {name: known[name] for name in names if name in known}
