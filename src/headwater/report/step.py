"""report: tables, maps and a page of a basin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import box

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.files import atomic_path, read_json, write_if_changed
from headwater.geo.grid import RasterGrid
from headwater.geo.longitudes import SHIFTS, middle_longitudes, shift_longitudes, wraps_to
from headwater.geo.plan import Plan, read_plan
from headwater.models.shipped import default_checkpoints
from headwater.report.figures import draw_image, draw_network, hillshade, probability_colours
from headwater.report.page import render_page
from headwater.report.tables import order_by_source, summary_table
from headwater.runs.benchmarks import cost_table, read_benchmarks

MAP_PX = 1400
"""Longest side of the rasters in the maps, pixels: bounds the memory for a basin of any size."""

MAPS = {
    "network": "The network over hillshade, by Strahler order on the extended network.",
    "sources": "The network by source: the backbone given, and the waterways found in imagery and elevation.",
    "composite": "Cloud-free Sentinel-2 composite, red, green and blue; grey where there was no clear view.",
    "elevation": "Elevation with hillshade.",
    "probability": "Probability of water at 20 m; grey where there was no imagery.",
}


def report(
    plan: Path,
    network: Path,
    checks: Path,
    composite: Sequence[Path],
    elevation: Sequence[Path],
    probability: Sequence[Path],
    summary: Path,
    page: Path,
    benchmarks: Path | None = None,
) -> None:
    """Write summary.csv, the maps and the page that shows them.

    Parameters
    ----------
    plan, network, checks : Path
        plan.json, waterways.parquet and waterways.checks.json of the basin.
    composite, elevation, probability : sequence of Path
        Rasters of its cells. The report does without a kind of which there are none.
    summary : Path
        CSV to write: km by order, source and lake.
    page : Path
        HTML to write; PNG files go beside it.
    benchmarks : Path, optional
        Folder of the benchmarks of the basin's jobs; the page tells what its rules cost.
    """
    the_plan = read_plan(plan)
    basin = the_plan.basin_id
    laws = _laws(read_json(checks))
    waterways = gpd.read_parquet(network)
    table = summary_table(waterways)
    west, _, east, _ = the_plan.basin_bounds
    # Of a basin on both sides of 180 degrees the map would go round the world.
    grid = _map_grid(the_plan.basin_bounds if east - west <= 180 else the_plan.bounds_in_one_piece)
    relief = _read_relief(elevation, grid)
    shade = hillshade(relief, grid)
    folder = page.parent

    title = f"Basin {basin}"
    lines = waterways.geometry.to_numpy()
    turns = wraps_to(middle_longitudes(lines), (grid.bounds[0] + grid.bounds[2]) / 2)
    drawn = waterways.set_geometry(shift_longitudes(lines, turns), crs=waterways.crs)
    draw_network(folder / "network.png", drawn, shade, grid, title=f"{title}: waterways", by="strahler_order")
    draw_network(folder / "sources.png", drawn, shade, grid, title=f"{title}: sources", by="source")
    inside = _inside(the_plan, grid)
    unseen = _draw_composite(folder / "composite.png", composite, grid, inside, title) if composite else 0.0
    if elevation:
        draw_image(folder / "elevation.png", relief, grid, title=f"{title}: elevation", cmap="terrain", label="metres")
    if probability:
        _draw_probability(folder / "probability.png", probability, grid, title)
    kinds = {"composite": composite, "elevation": elevation, "probability": probability}
    missing = {name for name, files in kinds.items() if not files}
    for name in missing:
        (folder / f"{name}.png").unlink(missing_ok=True)  # of a time when it was kept

    with atomic_path(summary) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    rows = order_by_source(table)
    total, backbone, new = (float(rows[column].iloc[-1]) for column in ("all", "backbone", "new"))
    tags = [raster.raster_tags(path) for path in composite]
    weights = raster.raster_tags(probability[0]).get("checkpoint_sha256", "unknown").split(", ") if probability else []
    demo_weights = {read_json(path.with_suffix(".json"))["sha256"] for path in default_checkpoints()}
    facts = {
        "basin_id": basin,
        "segments": len(waterways),
        "total_km": total,
        "backbone_km": backbone,
        "new_km": new,
        "faults": sum(laws.values()),
        "table": [{"order": order, **row} for order, row in rows.to_dict("index").items()],
        "maps": [{"file": f"{name}.png", "caption": caption} for name, caption in MAPS.items() if name not in missing],
        "checks": sorted(laws.items()),
        "scenes": sorted({scene for tag in tags for scene in tag.get("scenes", "").split()}),
        "unseen": unseen,
        "costs": cost_table(read_benchmarks(benchmarks)) if benchmarks is not None else [],
        "missing": sorted(missing),
        "weights": [each[:12] for each in weights],
        "demo_weights": not demo_weights.isdisjoint(weights),
    }
    write_if_changed(page, render_page(facts).encode())


def _read_relief(elevation: Sequence[Path], grid: RasterGrid) -> NDArray[np.float32]:
    """Return metres, NaN where they are not known."""
    if not elevation:
        return np.full(grid.shape, np.nan, np.float32)
    relief, known = raster.read_cells(elevation, grid)
    return np.where(known, relief, np.float32(np.nan))


def _inside(plan: Plan, grid: RasterGrid) -> NDArray[np.bool_]:
    """Return where the map shows cells of the basin: they need not fill their rectangle."""
    edges = [cell.bounds for cell in plan.cells]
    squares = [box(w + turn, s, e + turn, n) for w, s, e, n in edges for turn in SHIFTS]
    inside: NDArray[np.uint8] = rasterize(squares, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
    return inside > 0


def _map_grid(bounds: tuple[float, float, float, float]) -> RasterGrid:
    west, south, east, north = bounds
    step = max(east - west, north - south) / MAP_PX
    width, height = max(1, round((east - west) / step)), max(1, round((north - south) / step))
    return RasterGrid(
        west=west, north=north, dx=(east - west) / width, dy=(north - south) / height, width=width, height=height
    )


def _draw_composite(
    path: Path, composite: Sequence[Path], grid: RasterGrid, inside: NDArray[np.bool_], title: str
) -> float:
    """Draw the composite in true colours; return the share of the cells' pixels without a clear view."""
    bands = [raster.read_cells(composite, grid, band=band, resampling="average") for band in (2, 3, 4)]
    colours: NDArray[Any] = np.stack([values for values, _ in bands], axis=-1)
    seen = bands[0][1]
    colours[~seen] = 190
    draw_image(path, colours, grid, title=f"{title}: cloud-free composite")
    return float(np.mean(~seen[inside])) if inside.any() else 0.0


def _draw_probability(path: Path, probability: Sequence[Path], grid: RasterGrid, title: str) -> None:
    values, valid = raster.read_cells(probability, grid, resampling="average")
    shown = np.ma.masked_array(values.astype(np.float32) / 255.0, mask=~valid)
    draw_image(
        path,
        shown,
        grid,
        title=f"{title}: probability of water",
        cmap=probability_colours(),
        vmin=0,
        vmax=1,
        label="probability",
    )


def _laws(checks: Any) -> dict[str, int]:
    """Return the number of faults of each law of waterways.checks.json."""
    try:
        return {law: int(result["faults"]) for law, result in checks["laws"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("The checks are not those of a network.", "Give waterways.checks.json.") from error
