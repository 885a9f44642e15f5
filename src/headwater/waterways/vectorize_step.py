"""vectorize: the probability of a cell becomes segments that flow to its reaches."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely import box

from headwater.core.errors import InputError
from headwater.core.events import progress, say
from headwater.core.files import atomic_path
from headwater.geo.basins import check_basin_id
from headwater.geo.features import TableKind, unreadable
from headwater.geo.grid import Bounds, Cell, RasterGrid
from headwater.geo.longitudes import middle_longitudes, shift_longitudes, wraps_to
from headwater.geo.parquet import read_geoparquet, write_geoparquet
from headwater.raster import raster_facts, raster_grid, read_overview, terms_of_rasters
from headwater.raster.elevation_values import check_elevation
from headwater.waterways.backbone.tdx import Backbone
from headwater.waterways.backbone.tdx_files import read_tdx
from headwater.waterways.blocks import BLOCK_PX, Rasters, part_vectors, parts_of
from headwater.waterways.lines.vectorize import RINGS, no_water
from headwater.waterways.network.lakes import check_lakes
from headwater.waterways.network_step import write_checked, write_water
from headwater.waterways.segments import segment_table
from headwater.waterways.settings import VectorizeSettings
from headwater.waterways.windows import with_rings

_BACKBONE = TableKind("a table of the backbone", "Give what `headwater backbone` writes.")


def vectorize_cell(
    probability: Sequence[Path],
    elevation: Sequence[Path],
    reaches: Path,
    catchments: Path,
    cell: str,
    out: Path,
    *,
    settings: VectorizeSettings | None = None,
    water: Path | None = None,
) -> None:
    """Write waterways.parquet of a cell: the segments of the catchments whose reach ends there.

    Parameters
    ----------
    probability, elevation : sequence of Path
        probability.tif and elevation.tif of the cell and of those its catchments reach into.
    reaches, catchments : Path
        The backbone's tables; only the cell's rows and those around them are read.
    cell : str
        Name of the cell.
    out : Path
        File to write. A cell without reaches gets a file without rows.
    settings : VectorizeSettings, optional
        Method and its numbers.
    water : Path, optional
        Where polygons of water wider than three pixels are written.

    Raises
    ------
    InputError
        A file is missing or is not what it should be, or the cell's own raster is not among them.
    """
    for path in (reaches, catchments):
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist.", "Run `headwater backbone` first.")
    with unreadable(reaches, _BACKBONE):
        own = read_geoparquet(reaches, filters=[("cell", "==", cell)])
    with unreadable(catchments, _BACKBONE):
        there = _around(catchments, cell)
    lattice = _lattice_of_cell(probability, cell) if (there["cell"] == cell).any() else RasterGrid(0, 0, 1, 1, 0, 0)
    # Rows are sorted by cell: only those of few cells are decoded.
    wanted = [("cell", "in", there["cell"].unique().tolist()), ("link_id", "in", there["link_id"].tolist())]
    neighbors = read_geoparquet(reaches, filters=wanted) if len(there) else own
    known = pd.concat([own, neighbors[~neighbors["link_id"].isin(own["link_id"])]], ignore_index=True)
    # Rivers that cross 180 degrees may be drawn beyond the cell; here all is moved next to its raster.
    lines = np.asarray(known.geometry.to_numpy(), dtype=object)
    turns = pd.Series(
        wraps_to(middle_longitudes(lines), lattice.west + lattice.width * lattice.dx / 2), index=known["link_id"]
    )
    known = gpd.GeoDataFrame(known, geometry=shift_longitudes(lines, np.asarray(turns, dtype=np.float64)), crs=own.crs)
    mine = (known["cell"] == cell).to_numpy(bool)
    rasters = Rasters(tuple(map(Path, sorted(probability))), tuple(map(Path, sorted(elevation))), lattice)
    found = [
        part_vectors(rasters, _with_water(settings, water), part)
        for part in parts_of(known, _wrapped_table(there, turns), lattice, own=mine)
    ]
    segments = _wrapped_table(_by_link(_joined([each.segments for each in found], segment_table([]))), -turns)
    polygons = _wrapped_table(_by_link(_joined([each.water for each in found], no_water())), -turns)
    terms = terms_of_rasters(probability)
    with atomic_path(out) as temporary:
        write_geoparquet(segments, temporary, terms=terms)
    if water is not None:
        write_water(polygons, water, terms)


def vectorize(
    probability: Path,
    elevation: Path,
    streams: Path,
    catchments: Path,
    out: Path,
    *,
    basin_id: str = "0",
    jobs: int = 1,
    checks: Path | None = None,
    settings: VectorizeSettings | None = None,
    water: Path | None = None,
    lakes: Path | None = None,
    formats: Sequence[str] = (),
) -> None:
    """Make a network of one probability raster and TDX-Hydro's tables in one go.

    Parameters
    ----------
    probability : Path
        EPSG:4326, 0..255 (uint8) or 0..1 (float); or the VRT of cells.
    elevation : Path
        Meters, any grid and CRS.
    streams, catchments : Path
        GeoPackage or GeoParquet with TDX-Hydro's columns.
    out : Path
        GeoParquet of the network.
    basin_id : str
        Region that the ids are made unique with.
    jobs : int
        Processes. The result is the same for any number.
    checks : Path, optional
        Where the counts of the checker go; next to `out` as <stem>.checks.json if not given.
    settings : VectorizeSettings, optional
        Method and its numbers.
    water : Path, optional
        Where polygons of water wider than three pixels are written.
    lakes, formats
        See `headwater.waterways.network_step.network`.

    Raises
    ------
    InputError, WorkError
        See `headwater.waterways.backbone.tdx_files.read_tdx` and `headwater.waterways.network_step.network`.
    """
    check_basin_id(basin_id)
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1 (got {jobs}).", "Give the number of processes.")
    if out.suffix.lower() not in (".parquet", ".geoparquet"):
        raise InputError(f"{out.name} does not end in .parquet.", "The network is written as GeoParquet; name it so.")
    if lakes is not None:
        check_lakes(lakes)
    lattice = raster_grid(Path(probability))
    backbone = read_tdx(streams, catchments)
    _check_together(Path(probability), Path(elevation), lattice, backbone.reaches)
    rasters = Rasters((Path(probability),), (Path(elevation),), lattice)
    segments, polygons = vectorize_backbone(rasters, backbone, _with_water(settings, water), jobs=jobs)
    out = Path(out)
    checks = checks or out.with_suffix(".checks.json")
    terms = terms_of_rasters([Path(probability)])
    write_checked(segments, backbone.reaches, out, checks, basin_id=basin_id, lakes=lakes, formats=formats, terms=terms)
    if water is not None:
        write_water(polygons, water, terms)


def vectorize_backbone(
    rasters: Rasters, backbone: Backbone, settings: VectorizeSettings, *, jobs: int = 1
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Return the segments of all reaches of a backbone, and the polygons of wide water.

    Parameters
    ----------
    rasters : Rasters
        Probability and elevation; arrays with one job only.
    backbone : Backbone
        Reaches and catchments.
    settings : VectorizeSettings
        Method and its numbers.
    jobs : int
        Processes. The result is the same for any number.

    Returns
    -------
    segments : GeoDataFrame
        SEGMENT_COLUMNS.
    water : GeoDataFrame
        WATER_COLUMNS; empty unless `settings.water_polygons`.
    """
    # Any blocks give the same network.
    block_px = BLOCK_PX if jobs == 1 else BLOCK_PX // 2
    parts = parts_of(backbone.reaches, backbone.catchments, rasters.lattice, block_px=block_px)
    work = partial(part_vectors, rasters, settings)
    if jobs == 1 or len(parts) < 2:
        found = [work(part) for part in progress(parts, description="vectorize")]
    else:
        # Fresh processes: a forked one would inherit broken threads of GDAL and numba.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(parts)), mp_context=context) as pool:
            found = list(progress(pool.map(work, parts), description="vectorize", total=len(parts)))
    segments = _joined([each.segments for each in found], segment_table([]))
    return segments, _joined([each.water for each in found], no_water())


def _with_water(settings: VectorizeSettings | None, water: Path | None) -> VectorizeSettings:
    return (settings or VectorizeSettings()).model_copy(update={"water_polygons": water is not None})


def _joined(tables: Sequence[gpd.GeoDataFrame], nothing: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    tables = [table for table in tables if len(table)]
    return gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=tables[0].crs) if tables else nothing


def _by_link(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return table.sort_values("link_id", kind="stable", ignore_index=True)


def _around(catchments: Path, cell: str) -> gpd.GeoDataFrame:
    """Read the catchments of a cell and the rings around them."""
    there = read_geoparquet(catchments, filters=[("cell", "==", cell)])
    for _ in range(RINGS):
        if len(there):
            near = read_geoparquet(catchments, bbox=tuple(there.total_bounds))
            there = near[with_rings(near, near["link_id"].isin(there["link_id"]).to_numpy(bool), 1)]
    return there.reset_index(drop=True)


def _wrapped_table(table: gpd.GeoDataFrame, turns: pd.Series[float]) -> gpd.GeoDataFrame:
    """Return rows of links shifted by their links' multiples of 360 degrees."""
    shapes = np.asarray(table.geometry.to_numpy(), dtype=object)
    return table.set_geometry(
        shift_longitudes(shapes, np.asarray(turns.reindex(table["link_id"]), dtype=np.float64)), crs=table.crs
    )


def _check_together(probability: Path, elevation: Path, lattice: RasterGrid, reaches: gpd.GeoDataFrame) -> None:
    """Refuse rasters that are not what they should be, and inputs that are not in one place."""
    facts = raster_facts(probability)
    sample = read_overview(probability, max_px=512)[0]
    is_fraction = facts["dtype"] == "uint8" or (np.issubdtype(sample.dtype, np.floating) and np.nanmax(sample) <= 1)
    if facts["count"] != 1 or not is_fraction:
        raise InputError(
            f"{probability} is not a probability: one band of 0 to 255 in 8 bits, or of 0 to 1, is needed.",
            "Give probability.tif or mosaic.vrt as --probability.",
        )
    check_elevation(elevation)
    check_one_place(lattice, raster_facts(elevation)["bounds"], reaches)


def check_one_place(lattice: RasterGrid, known_bounds: Bounds, reaches: gpd.GeoDataFrame) -> None:
    """Refuse a backbone, a probability and an elevation of different places; report how much has no elevation.

    Parameters
    ----------
    lattice : RasterGrid
        Grid of the probability.
    known_bounds : (west, south, east, north)
        Degrees, where there is elevation.
    reaches : GeoDataFrame
        Of the backbone.

    Raises
    ------
    InputError
        There is no reach, or the three share no place.
    """
    if reaches.empty:
        raise InputError("The streams contain no reach.", "Give the streams of the place.")
    raster, known = box(*lattice.bounds), box(*known_bounds)
    # A little wider: a single straight reach has no area.
    area = raster.intersection(box(*reaches.total_bounds).buffer(0.001))
    if area.area == 0 or not known.intersects(area):
        raise InputError(
            "Streams, probability and elevation are not in one place.",
            "Give files of the same place, each with its right coordinate reference system.",
        )
    missing = 1 - known.intersection(area).area / area.area
    if missing > 0.001:
        say(f"{missing:.0%} of the area has no elevation.", share=round(float(missing), 4))


def _lattice_of_cell(probability: Sequence[Path], cell: str) -> RasterGrid:
    """Return the grid of the cell's own raster, known by its name and corner."""
    for path in probability:
        grid = raster_grid(Path(path))
        degrees = round(grid.height * grid.dy, 9)
        try:
            bounds: Bounds = Cell.from_name(cell, degrees).bounds
        except (InputError, StopIteration, ZeroDivisionError):
            continue
        if math.isclose(bounds[0], grid.bounds[0], abs_tol=1e-9) and math.isclose(
            bounds[1], grid.bounds[1], abs_tol=1e-9
        ):
            return grid
    raise InputError(
        f"The probability of cell {cell} is not among the rasters given.", "Give the raster of the cell itself too."
    )
