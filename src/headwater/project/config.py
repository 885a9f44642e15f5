"""The configuration: the settings of all steps, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from headwater.core.errors import InputError
from headwater.core.settings import Settings, full_name, setting
from headwater.core.texts import BasinId, FileName
from headwater.fetch.settings import FetchSettings
from headwater.geo.basins import check_basin_id, tdx_header_numbers
from headwater.geo.settings import GridSettings
from headwater.imagery.settings import CompositeSettings, SearchSettings, SelectSettings
from headwater.predict.settings import PredictSettings
from headwater.stac.settings import CatalogSettings
from headwater.terrain.settings import ElevationSettings
from headwater.waterways.link_ids import region_header
from headwater.waterways.settings import BackboneSettings, NetworkSettings, VectorizeSettings

CellRaster = Literal["composite", "elevation", "probability"]


class BasinsSettings(Settings):
    """Which basins are mapped."""

    section: ClassVar[str] = "basins"

    polygons: FileName | Annotated[tuple[FileName, ...], Field(min_length=1)] = setting(
        doc="File, or list of files, with basin polygons and a column HYBAS_ID (HydroBASINS level 2, or your own);"
        " hydrobasins stands for those of the data folder.",
        is_file=True,
        reruns_from="plan",
    )
    ids: tuple[BasinId, ...] = setting(
        doc="HYBAS_ID of each basin to map.",
        is_file=True,
        reruns_from="the new basins",
        min_length=1,
    )

    @field_validator("ids", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """YAML reads an id without quotes as a number; a file name and the polygons' ids are text."""
        if not isinstance(value, tuple):
            return value
        return tuple(str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in value)


class Config(Settings):
    """What is mapped and how. Cores, memory and clusters belong to the profile, not here."""

    results: FileName = setting(
        "results",
        "Folder of the results; each basin gets a folder in it.",
        is_file=True,
        reruns_from="all, in the new folder",
    )
    paths_from: Literal["run", "config"] = setting(
        "run",
        "Where relative paths of this configuration begin: in the folder that the workflow runs in, or in the folder of"
        " the configuration file, where the workflow then runs too.",
        reruns=False,
        is_file=True,
    )
    keep: tuple[CellRaster, ...] = setting(
        ("composite", "elevation", "probability"),
        "Rasters of the cells that are kept; the others are removed after their last reader, and the report and the"
        " mosaic are made without them.",
        is_file=True,
        reruns_from="report, and the steps of a raster that is not there",
    )
    max_cells: int = setting(
        1000,
        "A basin of more cells needs `confirm`.",
        unit="cells",
        reruns=False,
        is_file=True,
        ge=1,
        le=10_000_000,
    )
    confirm: bool = setting(
        False,
        "Run although a basin has more cells than `max_cells`, or the disk seems too small;"
        " `snakemake --config confirm=true` for one run.",
        reruns=False,
        is_file=True,
    )
    basins: BasinsSettings = setting(doc="Which basins are mapped.")
    fetch: FetchSettings = setting(FetchSettings(), "What a run may download besides imagery.")
    grid: GridSettings = setting(GridSettings(), "The cells, the unit of work.")
    catalog: CatalogSettings = setting(doc="Where scenes and elevation tiles are found.")
    search: SearchSettings = setting(SearchSettings(), "Which scenes are pinned.")
    select: SelectSettings = setting(SelectSettings(), "Which of the pinned scenes a cell uses.")
    composite: CompositeSettings = setting(CompositeSettings(), "How scenes become one image.")
    elevation: ElevationSettings = setting(ElevationSettings(), "The elevation of a cell.")
    predict: PredictSettings = setting(PredictSettings(), "The network and how it is run.")
    backbone: BackboneSettings = setting(doc="The stream network that new waterways join.")
    vectorize: VectorizeSettings = setting(VectorizeSettings(), "How probability becomes lines.")
    network: NetworkSettings = setting(NetworkSettings(), "What is made of the network of a basin.")

    @field_validator("confirm", mode="before")
    @classmethod
    def _from_command_line(cls, value: Any) -> Any:
        """Snakemake passes `--config confirm=true` as text."""
        return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value

    @field_validator("fetch", mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        """`fetch: true`, also from the command line, is short for a section."""
        enabled = {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
        return {"enabled": enabled} if isinstance(enabled, bool) else value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for name, values in (("keep", self.keep), ("basins.ids", self.basins.ids)):
            if len(set(values)) != len(values):
                raise InputError(f"{name} names something twice (got {list(values)}).", "Name each once.")
        for basin in self.basins.ids:
            check_basin_id(basin)
        if not self.catalog.dem_collections:
            raise InputError(
                "catalog.dem_collections names no collection.", "Name at least one, such as cop-dem-glo-30."
            )
        if self.search.datetime is None and not self.is_published:
            raise InputError(
                "search.datetime is not given.",
                "Give the first and last day of the imagery, YYYY-MM-DD/YYYY-MM-DD; only predict.source published needs"
                " none.",
            )
        backbone = self.backbone
        if backbone.kind != "dem" and bool(backbone.streams) != bool(backbone.catchments):
            raise InputError(
                "Of backbone.streams and backbone.catchments one is given and the other is not.",
                "Give the patterns of both TDX-Hydro files, or of none to use those of the data folder.",
            )
        _check_regions(backbone, self.basins.ids)
        _check_headers(self.basins.ids)
        return self

    @property
    def is_published(self) -> bool:
        """Whether the probability comes from published rasters: no scenes, composites or networks are needed."""
        return self.predict.source == "published"

    @property
    def rasters(self) -> list[CellRaster]:
        """Rasters of the cells that are made and kept, sorted."""
        return sorted(name for name in self.keep if not (name == "composite" and self.is_published))

    @property
    def polygon_files(self) -> tuple[str, ...]:
        """Files of the basin polygons."""
        return (self.basins.polygons,) if isinstance(self.basins.polygons, str) else self.basins.polygons

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Checkpoints that the configuration names and uses; none means those that come with Headwater."""
        named = None if self.is_published else self.predict.checkpoint
        return (named,) if isinstance(named, str) else named or ()


def _check_headers(ids: Sequence[str]) -> None:
    """Refuse basins whose stream ids would be the same: those outside TDX-Hydro's regions have few numbers for them."""
    known: dict[int, str] = {}
    for basin in ids:
        header = region_header(basin)
        if header in known:
            raise InputError(
                f"The stream ids of {known[header]} and {basin} would be the same: both have the number {header}.",
                "Map them by configurations of their own, in results folders of their own, or give one another id.",
            )
        known[header] = basin


def _check_regions(backbone: BackboneSettings, basins: Iterable[str]) -> None:
    regions = backbone.regions
    if len(set(regions)) != len(regions):
        raise InputError(f"backbone.regions names something twice (got {list(regions)}).", "Name each once.")
    own = next((basin for basin in basins if basin in tdx_header_numbers()), None)
    if regions and own is not None and regions != (own,):
        raise InputError(
            f"backbone.regions is {', '.join(regions)}, but basin {own} is a region of TDX-Hydro itself.",
            "Leave backbone.regions out, or map the areas of other regions with a configuration of their own.",
        )
    for name, pattern in {"streams": backbone.streams, "catchments": backbone.catchments}.items():
        if len(regions) > 1 and pattern is not None and "{basin_id}" not in pattern:
            raise InputError(
                f"backbone.{name} is {pattern}, one file for {len(regions)} regions.",
                "Write {basin_id} where the names of the files have the region's HYBAS_ID.",
            )


def refuse_repeated_keys(paths: Iterable[Path]) -> None:
    """Refuse configuration files in which a key occurs twice: YAML would silently use the last one.

    Raises
    ------
    InputError
        A key is repeated.
    """
    for path in paths:
        # Snakemake has read the files before; what is wrong otherwise it has refused.
        with suppress(yaml.YAMLError, OSError), Path(path).open(encoding="utf-8") as file:
            node = yaml.compose(file, Loader=yaml.SafeLoader)
            for table, name in _tables(node):
                keys = [key.value for key, _ in table.value]
                twice = next((key for key in keys if keys.count(key) > 1), None)
                if twice is not None:
                    raise InputError(
                        f"{path} has {full_name(name, twice)} twice.", "Keep one, with all that it should contain."
                    )


def _tables(node: yaml.Node | None) -> Iterator[tuple[yaml.MappingNode, str]]:
    """Yield the table of a configuration and those of its sections, with their names."""
    if isinstance(node, yaml.MappingNode):
        yield node, ""
        for key, value in node.value:
            if isinstance(value, yaml.MappingNode):
                yield value, str(key.value)


def check_config(config: Mapping[str, Any]) -> Config:
    """Return the checked configuration.

    Parameters
    ----------
    config : mapping
        As read from the configuration files.

    Raises
    ------
    InputError
        A key is unknown or missing, a value is not allowed, or two values do not fit together.
    """
    return Config(**{str(key): value for key, value in config.items()})
