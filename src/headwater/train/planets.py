"""Training planets: built, processed by the pipeline's own steps, labeled; only the arrays of their cells are kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.files import read_json, write_json
from headwater.core.settings import default_of
from headwater.core.versions import STEP_VERSIONS
from headwater.demo.build import GENERATOR_VERSION, build_planet
from headwater.demo.planet_parameters import PRESETS
from headwater.evaluate.nhd import read_nhd
from headwater.evaluate.water_types import UNKNOWN_TYPE, burn_types
from headwater.geo.grid import RasterGrid, check_cell_degrees
from headwater.geo.plan import read_plan, write_plan
from headwater.imagery.composite import composite
from headwater.imagery.search import search
from headwater.imagery.select import select
from headwater.imagery.settings import CompositeSettings, SearchSettings
from headwater.stac.intervals import parse_date_range
from headwater.stac.settings import CatalogSettings
from headwater.terrain.elevation import elevation
from headwater.train.chips import CellChips

MARGIN_PX = 64


@dataclass(frozen=True)
class PlanetSettings:
    """How planets are built and composited for training."""

    cell_degrees: float = 0.1
    """Side of a cell in degrees."""
    datetime: str = "2023-01-01/2023-12-31"
    """Date range of the images."""
    method: str = "mean"
    """Method of the composite."""
    dilate_px: int = default_of(CompositeSettings, "dilate_px")
    """Pixels by which clouds are widened before compositing."""
    jobs: int = 1
    """Processes that build a planet."""
    variety: str = "plain"
    """How much planets differ that do not say it themselves: plain as in the demo, or wide."""

    def __post_init__(self) -> None:
        """Refuse now what the steps would refuse after the first planet is built."""
        check_cell_degrees(self.cell_degrees)
        parse_date_range(self.datetime)
        self.composite()
        if self.variety not in PRESETS or self.jobs < 1:
            raise InputError(
                f"Planets of variety {self.variety!r} and jobs {self.jobs} cannot be made.",
                f"Use {', '.join(PRESETS)}, and jobs from 1.",
            )

    def composite(self) -> CompositeSettings:
        """Return the settings of the planets' composites."""
        how: dict[str, Any] = {"method": self.method, "dilate_px": self.dilate_px}
        return CompositeSettings(**how)


def read_planet(name: int | str, variety: str) -> tuple[str, int]:
    """Return variety and seed of a planet: 7 is one of the given variety, wide-7 says its own.

    Raises
    ------
    InputError
        The name is neither.
    """
    said, _, seed = str(name).rpartition("-")
    if isinstance(name, bool) or not seed.isdecimal() or (said or variety) not in PRESETS:
        raise InputError(
            f"There is no planet {name!r}.", f"Give a seed such as 7, or one with its variety: {PRESETS[-1]}-7."
        )
    return said or variety, int(seed)


def prepare_planet(seed: int, work: Path, settings: PlanetSettings) -> list[CellChips]:
    """Build a planet, make the composite, elevation and labels of its cells, and keep only these.

    A finished planet is used unchanged; one that is not finished, or was made with other settings, is made again.

    Parameters
    ----------
    seed : int
        Seed of the planet.
    work : Path
        Folder of all planets of the training.
    settings : PlanetSettings
        How the planet is built.

    Returns
    -------
    list of CellChips
        In the order of the plan.
    """
    folder = work / f"{settings.variety}-{seed}"
    finished = folder / "cells.json"
    made_with = made_with_settings(settings)
    if not finished.is_file() or read_json(finished)["made_with"] != made_with:
        scratch = work / f"{folder.name}.build"
        for old in (folder, scratch):
            shutil.rmtree(old, ignore_errors=True)
        build_planet(seed, scratch / "planet", jobs=settings.jobs, preset=settings.variety)
        names = _process(scratch, folder, settings)
        write_json(finished, {"cells": names, "made_with": made_with})
        shutil.rmtree(scratch)
    return [CellChips(folder / name) for name in read_json(finished)["cells"]]


def made_with_settings(settings: PlanetSettings) -> dict[str, Any]:
    """Return everything that defines the arrays of a planet, besides its variety and seed."""
    values = {**asdict(settings), "generator_version": GENERATOR_VERSION, "margin_px": MARGIN_PX}
    del values["jobs"]
    return {**values, "steps": {step: STEP_VERSIONS[step] for step in ("search", "select", "composite", "elevation")}}


def _process(scratch: Path, folder: Path, settings: PlanetSettings) -> list[str]:
    """Run the steps on a planet's own files and write each cell's arrays; return the names of the cells."""
    planet = scratch / "planet"
    facts = read_json(planet / "planet.json")
    plan_path, items = scratch / "plan.json", scratch / "items.parquet"
    write_plan(
        [planet / "hydrobasins.gpkg"],
        str(facts["basin_id"]),
        plan_path,
        cell_degrees=settings.cell_degrees,
        margin_px=MARGIN_PX,
    )
    search(
        plan_path, items, catalog=CatalogSettings(url=str(planet)), settings=SearchSettings(datetime=settings.datetime)
    )
    features = read_nhd(planet / "nhd.gpkg")
    names = [cell.name for cell in read_plan(plan_path).cells]
    for name in names:
        scenes, dem = scratch / name / "scenes.json", scratch / name / "dem.json"
        select(items, plan_path, name, scenes, dem, cache_dir=scratch / "cache")
        composite_path, elevation_path = scratch / name / "composite.tif", scratch / name / "elevation.tif"
        composite(scenes, plan_path, name, composite_path, settings=settings.composite(), readers=1)
        elevation(dem, plan_path, name, elevation_path)
        bands, _, grid, _ = raster.read_raster(composite_path)
        meters, known = raster.read_window(elevation_path, grid)
        types = burn_types(features, grid)
        types[~_inside(grid, facts["bounds"])] = UNKNOWN_TYPE
        heights = np.where(known, meters, np.float32(np.nan))
        CellChips.save(folder / name, composite=bands[:4], elevation=heights, types=types)
    return names


def _inside(grid: RasterGrid, bounds: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Mark pixels whose centers are within bounds: outside the planet water is not mapped."""
    west, south, east, north = bounds
    x = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    y = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    inside: npt.NDArray[np.bool_] = ((y > south) & (y < north))[:, None] & ((x > west) & (x < east))[None, :]
    return inside
