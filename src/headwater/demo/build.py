"""Build a demo planet: its truth and all data that real sources would have of it, as files in one folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
from affine import Affine
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.files import write_json
from headwater.demo import acquisitions, clouds, glo30, resampling, sentinel2_scenes, stac_items, vector_tables
from headwater.demo.drainage import Drainage, make_drainage
from headwater.demo.land_cover import LandCover, make_land_cover
from headwater.demo.landscape import Landscape, make_landscape
from headwater.demo.linear_features import LinearFeatures, make_linear_features
from headwater.demo.planet_grid import MgrsTile, PlanetGrid, planet_grid
from headwater.demo.planet_parameters import PRESETS, PlanetParameters, planet_parameters
from headwater.raster import write_cog

GENERATOR_VERSION = 1
"""Increases when the same seed gives another planet; older planets are then rebuilt."""
_MARK = "planet.json"


def build_planet(
    seed: int,
    out: Path,
    *,
    size_degrees: tuple[float, float] = (0.3, 0.2),
    cell_degrees: float = 0.1,
    dates: int = 5,
    jobs: int = 2,
    preset: str = "plain",
) -> None:
    """Build the planet of a seed in a folder, completely or not at all; do nothing if it exists already.

    Parameters
    ----------
    seed
        Which planet.
    out
        Folder to create.  A planet with other options is replaced.
    size_degrees
        (longitude, latitude) extent of the window.
    cell_degrees
        Side of the cells that divide the planet.
    dates
        Acquisitions of each MGRS tile, 2 or more.
    jobs
        Threads; the files do not depend on it.
    preset
        "plain" or "wide", see `headwater.demo.planet_parameters`.

    Raises
    ------
    InputError
        If the options are out of range or inconsistent, or `out` exists and is not a demo planet.
    """
    grid = planet_grid(seed, size_degrees=size_degrees, cell_degrees=cell_degrees)
    if dates < 2 or dates > 40:
        raise InputError(f"dates must be between 2 and 40 (got {dates}).", "Give another --dates.")
    if jobs < 1:
        raise InputError(f"jobs must be at least 1 (got {jobs}).", "Give another --jobs.")
    if preset not in PRESETS:
        raise InputError(f"There is no preset {preset!r} of planets.", f"Use one of {', '.join(PRESETS)}.")
    summary = planet_summary(grid, dates, preset)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _MARK).is_file())):
        raise InputError(f"{out} exists and is not a demo planet.", "Give another folder, or empty this one.")
    if (out / _MARK).is_file() and json.loads((out / _MARK).read_text()) == summary:
        return
    with _folder(out) as folder:
        _fill(folder, grid, dates, jobs, preset)
        write_json(folder / _MARK, summary)  # last, so a folder with the mark is complete


def planet_summary(grid: PlanetGrid, dates: int, preset: str) -> dict[str, Any]:
    """Return the content of planet.json; the preset is under \"variety\", as in planets of earlier versions."""
    basin = grid.basin_id
    return {
        "generator_version": GENERATOR_VERSION,
        **({} if preset == "plain" else {"variety": preset}),
        "seed": grid.seed,
        "basin_id": basin,
        "bounds": list(grid.bounds),
        "cell_degrees": grid.cell_degrees,
        "dates": dates,
        "mgrs_tiles": [tile.name for tile in grid.mgrs_tiles()],
        "period": ["2022-01-01", "2023-12-31"],
        "files": {
            "basins": "hydrobasins.gpkg",
            "streams": f"TDX_streamnet_{basin}_01.gpkg",
            "catchments": f"TDX_streamreach_basins_{basin}_01.gpkg",
            "labels": "nhd.gpkg",
            "truth": "truth.gpkg",
        },
    }


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `out` that replaces it when the block succeeds."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        temporary.mkdir()
        yield temporary
        if out.exists() and any(out.iterdir()):
            old = out.with_name(f".{out.name}.{os.getpid()}.old.part")
            out.rename(old)
            temporary.rename(out)
            shutil.rmtree(old)
        else:
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(out: Path) -> None:
    """Remove leftovers of killed builds of the same folder."""
    for left in out.parent.glob(f".{out.name}.*.part"):
        pid = left.name.removeprefix(f".{out.name}.").split(".")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _fill(folder: Path, grid: PlanetGrid, dates: int, jobs: int, preset: str) -> None:
    parameters = planet_parameters(grid.seed, preset)
    land = make_landscape(grid, parameters)
    drainage = make_drainage(grid, parameters, land)
    lines = make_linear_features(grid, parameters, land, drainage)
    land_cover = make_land_cover(grid, parameters, land, drainage, lines)
    for collection in stac_items.collections(grid.bounds):
        write_json(folder / "stac" / f"{collection['id']}.collection.json", collection)
    passes = acquisitions.acquisitions(grid, parameters, dates)
    peak = np.unravel_index(int(land.elevation.argmax()), land.elevation.shape)
    skies = [clouds.make_sky(grid, date, (int(peak[0]), int(peak[1])), thin=parameters.thin_cloud) for date in passes]
    tasks: list[Callable[[], None]] = [
        partial(_write_vectors, folder, grid, land, drainage, lines),
        partial(_write_elevation, folder, grid, parameters, land, land_cover),
    ]
    with ThreadPoolExecutor(jobs) as pool:
        running: list[Future[None]] = [pool.submit(task) for task in tasks]
        for side, tile in enumerate(grid.mgrs_tiles()):
            at = resampling.tile_positions(grid, tile)
            ground = sentinel2_scenes.over_tile(land_cover, at)
            running += [
                pool.submit(_write_scenes, folder, grid, parameters, tile, side, date, ground, sky, at)
                for date, sky in zip(passes, skies, strict=True)
            ]
            wait(running)  # one tile's land cover in memory at a time
            del ground
        for future in running:
            future.result()


def _write_scenes(
    folder: Path,
    grid: PlanetGrid,
    parameters: PlanetParameters,
    tile: MgrsTile,
    side: int,
    date: acquisitions.Acquisition,
    ground: sentinel2_scenes.TileLandCover,
    sky: clouds.Sky,
    at: resampling.GridPositions,
) -> None:
    """Write one acquisition of one tile in each of its processing baselines."""
    rng = np.random.default_rng([grid.seed, 9, date.number, side])
    shape = (tile.height, tile.width)
    seen = sentinel2_scenes.swath_mask(shape, date) if side == 1 else np.ones(shape, np.bool_)
    above = clouds.over_tile(sky, at)
    reflectance = sentinel2_scenes.add_sky_and_noise(
        sentinel2_scenes.surface_reflectance(ground, parameters, date, rng), above, parameters, rng
    )
    scl = clouds.classify(above, reflectance, seen, rng, snow=sentinel2_scenes.snow_fraction(ground, parameters, date))
    for baseline in date.baselines if side == 0 else date.baselines[:1]:
        item = stac_items.scene_item(tile, date, baseline, scl, swath=seen)
        numbers = sentinel2_scenes.digital_numbers(reflectance, seen, baseline)
        bands: dict[str, NDArray[Any]] = dict(zip(("B08", "B04", "B03", "B02"), numbers, strict=True))
        for key, data in {**bands, "SCL": scl}.items():
            a, _, c, _, e, f = item["assets"][key]["proj:transform"]
            write_cog(
                folder / item["assets"][key]["href"],
                data[None],
                transform=Affine(a, 0, c, 0, e, f),
                crs=f"EPSG:{tile.epsg}",
                nodata=0,
                overview_resampling="nearest" if key == "SCL" else "average",
            )
        write_json(folder / "stac" / stac_items.S2 / f"{item['id']}.json", item)


def _write_elevation(
    folder: Path, grid: PlanetGrid, parameters: PlanetParameters, land: Landscape, land_cover: LandCover
) -> None:
    for tile in glo30.degree_tiles(grid, parameters, land, land_cover):
        item = stac_items.elevation_item(tile)
        write_cog(folder / item["assets"]["data"]["href"], tile.elevation[None], transform=tile.transform)
        write_json(folder / "stac" / stac_items.GLO30 / f"{item['id']}.json", item)


def _write_vectors(folder: Path, grid: PlanetGrid, land: Landscape, drainage: Drainage, lines: LinearFeatures) -> None:
    links = vector_tables.backbone_links(drainage)
    basin = grid.basin_id
    numbers = vector_tables.catchment_numbers(land, links)
    _write_layer(folder / "hydrobasins.gpkg", "hydrobasins", vector_tables.basin_table(grid, land))
    _write_layer(
        folder / f"TDX_streamnet_{basin}_01.gpkg",
        f"TDX_streamnet_{basin}_01",
        vector_tables.streamnet_table(grid, land, drainage, links),
    )
    _write_layer(
        folder / f"TDX_streamreach_basins_{basin}_01.gpkg",
        f"TDX_streamreach_basins_{basin}_01",
        vector_tables.catchment_table(grid, numbers),
    )
    _write_layer(folder / "truth.gpkg", "truth", vector_tables.truth_table(grid, land, drainage))
    for layer, table in vector_tables.nhd_tables(grid, land, drainage, lines).items():
        _write_layer(folder / "nhd.gpkg", layer, table)


def _write_layer(path: Path, layer: str, table: gpd.GeoDataFrame) -> None:
    """Write or append one layer, with a fixed date in GeoPackage's table of contents."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2023-01-01T00:00:00.000Z"})
    try:
        pyogrio.write_dataframe(table, path, layer=layer, driver="GPKG", append=path.exists())
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
