"""report: the summary table, maps and HTML page of a basin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import box

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.files import atomic_path, read_json, write_if_changed
from headwater.core.terms import PUBLISHED_RECIPE, Terms
from headwater.geo.area_polygons import area_km2
from headwater.geo.basins import basin_polygon
from headwater.geo.grid import RasterGrid
from headwater.geo.longitudes import SHIFTS, middle_longitudes, shift_longitudes, wraps_to
from headwater.geo.parquet import read_geoparquet
from headwater.geo.plan import Plan, read_plan
from headwater.models.shipped import demo_hashes
from headwater.report.figures import draw_image, draw_network, draw_relief, hillshade, probability_colors
from headwater.report.map_page import write_map
from headwater.report.tables import order_by_source, summary_table
from headwater.runs.costs import cost_table, last_attempts

MAP_PX = 1400
"""Longest side of the rasters in the maps, pixels: limits the memory for basins of any size."""

MAPS = {
    "network": "The network by Strahler order of the extended network{relief}.",
    "sources": "The network by source, the given backbone and the waterways found in imagery and elevation{relief}.",
    "composite": "Sentinel-2 composite, red, green and blue, stretched between this basin's darkest and brightest"
    " pixels; {clear} of the pixels have a clear view, the others are gray.",
    "elevation": "Elevation in meters, with relief shading; the sea, at exactly 0 m, is blue.",
    "probability": "Probability of water at 20 m; gray where there was no imagery.",
}


DEMO_NOTE = "The network weights were trained on demo planets only: not suitable for maps of the real world."


def report(
    plan: Path,
    network: Path,
    checks: Path,
    composite: Sequence[Path],
    elevation: Sequence[Path],
    probability: Sequence[Path],
    summary: Path,
    page: Path,
    logs: Path | None = None,
    *,
    map_page: Path | None = None,
    polygons: Sequence[Path] = (),
    lakes: Path | None = None,
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
    logs : Path, optional
        Folder of the logs of the basin's jobs, for the table of run time and memory.
    map_page : Path, optional
        map.html to write; the folder `map` with its data goes beside it.
    polygons : sequence of Path, optional
        Files with the basin's polygon, for the outline on the map page.
    lakes : Path, optional
        Lake polygons, for the map page.
    """
    the_plan = read_plan(plan)
    checked = read_json(checks)
    violations = _violations(checked)
    terms = Terms.of(checked["terms"] if isinstance(checked.get("terms"), dict) else {})
    waterways = read_geoparquet(network)
    table = summary_table(waterways)
    rasters = {"composite": composite, "elevation": elevation, "probability": probability}
    scenes, weights, published = _provenance(composite, probability)
    missing = sorted(name for name, paths in rasters.items() if not paths and not (published and name == "composite"))
    no_view = _draw_maps(page.parent, the_plan, waterways, rasters)
    for name in (name for name, paths in rasters.items() if not paths):
        (page.parent / f"{name}.png").unlink(missing_ok=True)  # from an earlier run that kept the raster

    demo_weights = not demo_hashes().isdisjoint(weights)
    if map_page is not None:
        notes = [*terms.warning, *([DEMO_NOTE] if demo_weights else [])]
        write_map(
            map_page, the_plan, waterways, rasters, polygons=polygons, lakes=lakes, terms=terms, notes=notes
        )  # fmt: skip

    with atomic_path(summary) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    rows = order_by_source(table)
    relief = ", over a hillshade" if elevation else ""
    shown = {name for name in MAPS if rasters.get(name, True)}
    captions = {
        name: caption.format(relief=relief, clear=f"{100 * (1 - no_view):.1f} %")
        for name, caption in MAPS.items()
        if name in shown
    }
    if published:
        captions["probability"] = "Probability of water at 20 m, from published rasters; gray where they have none."
    total, backbone, new = (float(rows[column].iloc[-1]) for column in ("all", "backbone", "new"))
    left_out, constant = _defects(composite)
    facts = {
        "basin_id": the_plan.basin_id,
        "segments": len(waterways),
        "total_km": total,
        "backbone_km": backbone,
        "new_km": new,
        "violations": sum(violations.values()),
        "area_km2": _area_km2(polygons, the_plan.basin_id),
        "table": [{"order": order, **row} for order, row in rows.to_dict("index").items()],
        "maps": [{"file": f"{name}.png", "caption": caption} for name, caption in captions.items()],
        "checks": sorted(violations.items()),
        "scenes": scenes,
        "no_view": no_view,
        "left_out": left_out,
        "constant": constant,
        "costs": cost_table(last_attempts(logs)) if logs is not None else [],
        "missing": missing,
        "weights": [each[:12] for each in weights],
        "demo_weights": demo_weights,
        "published": published,
        "terms": terms,
    }
    write_if_changed(page, render_page(facts).encode())


def render_page(facts: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    facts : mapping
        Values of the variables in `templates/page.html`; a missing one is an error.
    """
    template = (files("headwater.report") / "templates" / "page.html").read_text()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(**facts)


def _area_km2(polygons: Sequence[Path], basin_id: str) -> float:
    """Return the area of the basin's polygon, 0 if none is given."""
    if not polygons:
        return 0.0
    return area_km2(basin_polygon(polygons, basin_id))


def _draw_maps(folder: Path, plan: Plan, waterways: gpd.GeoDataFrame, rasters: Mapping[str, Sequence[Path]]) -> float:
    """Draw the maps of `MAPS` into a folder; return the fraction of the cells' pixels without a clear view."""
    grid = map_grid(plan)
    title = f"Basin {plan.basin_id}"
    relief = read_relief(rasters["elevation"], grid)
    shade = hillshade(relief, grid)
    lines = waterways.geometry.to_numpy()
    turns = wraps_to(middle_longitudes(lines), (grid.bounds[0] + grid.bounds[2]) / 2)
    drawn = waterways.set_geometry(shift_longitudes(lines, turns), crs=waterways.crs)
    draw_network(folder / "network.png", drawn, shade, grid, title=f"{title}: waterways", by="strahler_order")
    draw_network(folder / "sources.png", drawn, shade, grid, title=f"{title}: sources", by="source")
    if rasters["elevation"]:
        draw_relief(folder / "elevation.png", relief, shade, grid, title=f"{title}: elevation")
    if rasters["probability"]:
        _draw_probability(folder / "probability.png", rasters["probability"], grid, title)
    if not rasters["composite"]:
        return 0.0
    return _draw_composite(folder / "composite.png", rasters["composite"], grid, _inside_cells(plan, grid), title)


def _provenance(composite: Sequence[Path], probability: Sequence[Path]) -> tuple[list[str], list[str], str]:
    """Return the scenes, the SHA-256 hashes of the weights, and where published rasters came from ("" if none did)."""
    tags = [raster.raster_tags(path) for path in composite]
    scenes = sorted({scene for tag in tags for scene in tag.get("scenes", "").split()})
    if not probability:
        return scenes, [], ""
    made = raster.raster_tags(probability[0])
    if made.get("recipe", "").startswith(PUBLISHED_RECIPE):
        return scenes, [], made.get("source", "published rasters")
    return scenes, made.get("checkpoint_sha256", "unknown").split(", "), ""


def _defects(composite: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Return the scenes that were left out, and the cells and bands whose composite has one value throughout."""
    tags = {path.parent.name: raster.raster_tags(path) for path in composite}
    left_out = sorted({scene for tag in tags.values() for scene in tag.get("left_out", "").split()})
    constant = [f"{cell} ({tag['constant_bands']})" for cell, tag in sorted(tags.items()) if "constant_bands" in tag]
    return left_out, constant


def read_relief(elevation: Sequence[Path], grid: RasterGrid) -> NDArray[np.float32]:
    """Return meters, NaN where unknown."""
    if not elevation:
        return np.full(grid.shape, np.nan, np.float32)
    relief, known = raster.read_cells(elevation, grid)
    return np.where(known, relief, np.float32(np.nan))


def _inside_cells(plan: Plan, grid: RasterGrid) -> NDArray[np.bool_]:
    """Return where the map shows cells of the basin, which may not fill the map."""
    edges = [cell.bounds for cell in plan.cells]
    squares = [box(w + turn, s, e + turn, n) for w, s, e, n in edges for turn in SHIFTS]
    inside: NDArray[np.uint8] = rasterize(squares, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
    return inside > 0


def map_grid(plan: Plan) -> RasterGrid:
    """Return the grid that all maps of a basin have."""
    west, south, east, north = plan.basin_bounds
    if east - west > 180:
        # The bounds of a basin on both sides of 180 degrees would span the globe.
        west, south, east, north = plan.bounds_in_one_piece
    step = max(east - west, north - south) / MAP_PX
    width, height = max(1, round((east - west) / step)), max(1, round((north - south) / step))
    return RasterGrid(
        west=west, north=north, dx=(east - west) / width, dy=(north - south) / height, width=width, height=height
    )


def _draw_composite(
    path: Path, composite: Sequence[Path], grid: RasterGrid, inside: NDArray[np.bool_], title: str
) -> float:
    """Draw the composite in true color; return the fraction of the cells' pixels without a clear view."""
    bands = [raster.read_cells(composite, grid, band=band, resampling="average") for band in (2, 3, 4)]
    colors: NDArray[Any] = np.stack([values for values, _ in bands], axis=-1)
    clear = bands[0][1]
    low, high = np.percentile(colors[clear], (0.5, 99.8)) if clear.any() else (0.0, 255.0)
    colors = np.clip((colors.astype(np.float32) - low) / max(float(high - low), 8.0), 0, 1)
    colors[~clear] = 0.75
    draw_image(path, colors, grid, title=f"{title}: composite")
    return float(np.mean(~clear[inside])) if inside.any() else 0.0


def _draw_probability(path: Path, probability: Sequence[Path], grid: RasterGrid, title: str) -> None:
    values, valid = raster.read_cells(probability, grid, resampling="average")
    shown = np.ma.masked_array(values.astype(np.float32) / 255.0, mask=~valid)
    draw_image(
        path,
        shown,
        grid,
        title=f"{title}: probability of water",
        cmap=probability_colors(),
        vmin=0,
        vmax=1,
        label="probability",
    )


def _violations(checks: Any) -> dict[str, int]:
    """Return the number of violations of each check in waterways.checks.json."""
    try:
        return {check: int(result["faults"]) for check, result in checks["laws"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("The file is not the checks of a network.", "Give waterways.checks.json.") from error
