"""Settings of backbone, vectorize and network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from headwater.core.errors import InputError
from headwater.core.settings import Settings, setting
from headwater.core.texts import BasinFileName, BasinId, FileName
from headwater.geo.basins import is_area

MAX_COST_BITS = 100_000
"""Largest cost that a limit may have: kernels count in integers of 32 bits, and keep a list for each step of cost."""


class BackboneSettings(Settings):
    """The stream network that new waterways join."""

    section: ClassVar[str] = "backbone"

    kind: Literal["tdx", "dem", "auto", "none"] = setting(
        doc="tdx reads TDX-Hydro files; dem derives reaches and catchments from the elevation; auto is tdx where the"
        " files are at hand or may be fetched, else dem; none makes a network of the found waterways alone, which flow"
        " along the elevation."
    )
    streams: BasinFileName | None = setting(
        None,
        "Pattern of the streamnet file of a basin, with {basin_id} for its id, for kind tdx.",
        is_file=True,
    )
    catchments: BasinFileName | None = setting(
        None, "Pattern of the catchments file of a basin, for kind tdx.", is_file=True
    )
    regions: tuple[BasinId, ...] = setting(
        (),
        "TDX-Hydro regions (HYBAS_ID) that an area is in, whose files are used, by {basin_id} in the patterns; none"
        " means the basin's own id.",
    )
    min_area_km2: float = setting(
        5.0,
        "Upstream area at which a reach begins, for kind dem; with kind none the area from which found water is led"
        " along the elevation where it is interrupted.",
        unit="km2",
        gt=0,
        le=10_000_000,
    )
    coasts: bool = setting(
        True,
        "Whether land that drains to no reach, such as coasts, has waterways too: networks of their own, which end"
        " where that land does. For kinds tdx and dem and the method headwater; the elevation of cells stays on disk"
        " for it, whatever `keep` says.",
    )
    coast_min_area_km2: float = setting(
        0.02,
        "Smallest piece of such land, which drains to one place, in which found water is kept.",
        unit="km2",
        gt=0,
        le=10_000,
    )

    def is_part_of_regions(self, basin_id: str) -> bool:
        """Return whether a basin is cut out of TDX-Hydro's regions, instead of being one of them."""
        return is_area(basin_id) or self.regions not in ((), (basin_id,))


class VectorizeSettings(Settings):
    """How probability becomes lines."""

    section: ClassVar[str] = "vectorize"

    threshold: float = setting(0.5, "Probability from which a pixel is water.", gt=0, le=1)
    floor: float = setting(
        0.1,
        "Probability that scales to 0: up to it a connection pays cost_below_floor for each pixel; below threshold.",
        ge=0,
        lt=1,
    )
    min_component_px: int = setting(
        4,
        "Ends of lines, and components of water to be joined, with fewer pixels are dropped.",
        unit="pixels of 20 m",
        old_names=("min_piece_px",),
        ge=1,
        le=10_000,
    )
    cost_below_floor: float = setting(
        4.0,
        "Cost of a pixel at or under the floor (method headwater); a pixel of scaled probability p costs -log2 p.",
        unit="bits",
        old_names=("bits_below_floor",),
        gt=0,
        le=1000,
    )
    max_cost_per_px: float = setting(
        16.0,
        "Largest cost of the connection of a component to its reach, for each pixel of the component's length (method"
        " headwater).",
        unit="bits",
        old_names=("worth_per_px",),
        gt=0,
        le=1000,
    )
    max_cost: float = setting(400.0, "Largest cost of any connection.", unit="bits", gt=0, le=MAX_COST_BITS)
    max_rise_m: float = setting(
        2.0,
        "How far the divide may be above a component that flows across it into another catchment's water, and what a"
        " stream without inflow joins above its head (method headwater); its deeper end is cut off.",
        unit="m",
        ge=0,
        le=10_000,
    )
    cost_limits: tuple[Annotated[float, Field(gt=0, le=MAX_COST_BITS)], ...] = setting(
        (8.0, 32.0, 400.0),
        "Largest costs of a path, tried one after the other (method published).",
        unit="bits",
        min_length=1,
    )
    water_polygons: bool = setting(
        False, "Whether water wider than three pixels is also written as polygons, water.parquet.", is_file=True
    )
    method: Literal["headwater", "published"] = setting(
        "headwater", "On windows of many catchments, or catchment by catchment as Pierson and Mehrabi (2024)."
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.floor >= self.threshold:
            raise InputError(
                f"vectorize.floor must be below vectorize.threshold, {self.threshold} (got {self.floor}).",
                "Lower the floor or raise the threshold.",
            )
        limits = list(self.cost_limits)
        if limits != sorted(limits):
            raise InputError(
                f"vectorize.cost_limits must rise (got {limits}).", "Sort them; the default is 8, 32, 400."
            )
        return self


class NetworkSettings(Settings):
    """What is made of the network of a basin."""

    section: ClassVar[str] = "network"

    lakes: FileName | None = setting(
        None,
        "File of lake polygons (HydroLAKES, or any with a CRS) for the column intersects_lake; hydrolakes stands for"
        " that of the data folder, null leaves the column false.",
        is_file=True,
    )
    formats: tuple[str, ...] = setting(
        (),
        "Formats written next to waterways.parquet: GeoPackage, FlatGeobuf, GeoJSON by lines, KML for phones, map"
        " tiles, or GeoParquet with the published columns.",
        is_file=True,
        choices=("gpkg", "fgb", "geojsonseq", "kml", "pmtiles", "published"),
        plugins="headwater.waterways.network.formats:OUTPUT_FORMATS",
    )
