"""The map page of a basin: map.html, and the folder `map` with all it needs, so that it works without a network."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from jinja2 import Environment, StrictUndefined

from headwater.core.errors import InputError
from headwater.core.files import atomic_path, write_if_changed
from headwater.core.terms import Terms
from headwater.geo.basins import basin_polygon
from headwater.geo.grid import Bounds
from headwater.geo.longitudes import middle_longitudes, shift_longitudes, wraps_to
from headwater.geo.plan import Plan
from headwater.report import map_network, map_rasters
from headwater.waterways.network.columns import COLUMNS
from headwater.waterways.network.lakes import lakes_near

EMBED_BYTES = 12 * 2**20
"""Data up to this size are written once more as a script, which browsers read from a disk too; larger ones need
`headwater view`."""
SCRIPTS = ("maplibre-gl.js", "maplibre-gl.css")
_OWN = ("map.js", "map.css", "pmtiles.js", "maplibre-gl-license.txt")
_MOST_LAKES = 2000

_Colors = Callable[[Sequence[Path], Bounds], tuple[map_rasters.Reader, "map_rasters.Legend | None"]]
LAYERS: tuple[tuple[str, str, str, _Colors], ...] = (
    ("elevation", "Elevation", "elevation", map_rasters.elevation_colors),
    ("hillshade", "Relief shading", "elevation", map_rasters.hillshade_colors),
    ("composite", "Satellite image", "composite", map_rasters.composite_colors),
    ("probability", "Probability of water", "probability", map_rasters.probability_colors),
    ("clear_views", "Clear views", "composite", map_rasters.clear_view_colors),
)
"""Name, title, raster of the cells, and colors of each background, in the order of the page."""


def write_map(
    page: Path,
    plan: Plan,
    network: gpd.GeoDataFrame,
    rasters: Mapping[str, Sequence[Path]],
    *,
    polygons: Sequence[Path] = (),
    lakes: Path | None = None,
    terms: Terms | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write the map page of a basin, and the folder `map` next to it.

    Parameters
    ----------
    page : Path
        map.html to write.
    plan : Plan
        The basin's plan.
    network : GeoDataFrame
        Its waterways; may have no rows.
    rasters : mapping of str to sequence of Path
        Rasters of its cells by name: composite, elevation, probability; the page has no layer for those it lacks.
    polygons : sequence of Path, optional
        Files with the basin's polygon, for its outline.
    lakes : Path, optional
        Lake polygons.
    terms : Terms, optional
        Terms of use, shown on the page.
    notes : sequence of str, optional
        Sentences shown on the page.

    Raises
    ------
    InputError
        The package `maplibre`, whose scripts the page uses, is not installed.
    """
    scripts = scripts_folder()
    data = page.parent / "map"
    with atomic_path(data) as folder:
        folder.mkdir()
        facts = _facts(plan, network, terms, notes)
        facts["layers"] = _write_rasters(folder, plan, rasters)
        facts["shapes"] = _shapes(plan, polygons, lakes)
        if len(network):
            facts["network"] = _write_network(folder, network, facts["bounds"])
        data_files = sorted(path.name for path in folder.iterdir())
        facts["embedded"] = sum((folder / name).stat().st_size for name in data_files) <= EMBED_BYTES
        if facts["embedded"]:
            _embed(folder, data_files)
        (folder / "basin.js").write_text(f"const BASIN = {json.dumps(facts, sort_keys=True, allow_nan=False)};\n")
        _copy_scripts(scripts, folder)
        if data.is_dir():
            shutil.rmtree(data)
    template = (files("headwater.report") / "templates" / "map.html").read_text()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    write_if_changed(page, environment.from_string(template).render(basin_id=plan.basin_id).encode())


def scripts_folder() -> Path:
    """Return the folder of the installed package `maplibre` that has MapLibre GL JS; the package is not imported."""
    spec = find_spec("maplibre")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / "srcjs"
        if all((folder / name).is_file() for name in SCRIPTS):
            return folder
    raise InputError(
        "The map page needs the scripts of the package `maplibre`, which is not installed or has none.",
        "Install it with `pip install 'maplibre>=0.3.6'`.",
    )


def _copy_scripts(scripts: Path, folder: Path) -> None:
    for name in SCRIPTS:
        text = (scripts / name).read_text()
        # A browser's tools would look for the map of the source, which the package does not have.
        (folder / name).write_text(text.replace("//# sourceMappingURL=maplibre-gl.js.map", "").rstrip() + "\n")
    for name in _OWN:
        (folder / name).write_text((files("headwater.report") / "templates" / name).read_text())
    with suppress(PackageNotFoundError):
        package = distribution("maplibre")
        if license_text := package.read_text("LICENSE.md") or package.read_text("licenses/LICENSE.md"):
            (folder / "maplibre-package-license.txt").write_text(license_text)


def _facts(plan: Plan, network: gpd.GeoDataFrame, terms: Terms | None, notes: Sequence[str]) -> dict[str, Any]:
    described = {
        column.name: {"unit": column.unit, "meaning": column.meaning} for column in COLUMNS if column.name in network
    }
    return {
        "basin_id": plan.basin_id,
        "bounds": list(plan.bounds_in_one_piece),
        "columns": described,
        "notes": list(notes),
        "terms": terms.tags() if terms else {},
    }


def _write_network(folder: Path, network: gpd.GeoDataFrame, bounds: Bounds) -> dict[str, Any]:
    network = map_network.sorted_network(network)
    zoom = map_network.first_zoom(bounds)
    map_network.write_network_tiles(network, folder / "network.pmtiles", first_zoom=zoom)
    names, starts = map_network.write_attributes(network, folder / "attributes.bin")
    lines = network.geometry.to_numpy()
    turns = wraps_to(middle_longitudes(lines), (bounds[0] + bounds[2]) / 2)
    in_one_piece = network.set_geometry(shift_longitudes(lines, turns), crs=network.crs)
    map_network.write_index(in_one_piece, folder / "index.bin")
    return {
        "rows": len(network),
        "first_zoom": min(zoom, map_network.LAST_ZOOM),
        "last_zoom": map_network.LAST_ZOOM,
        "names": names,
        "block_rows": map_network.BLOCK_ROWS,
        "block_starts": starts,
        "confidence": map_network.confidence_column(network),
        "highest_order": int(network["strahler_order"].max()),
    }


def _write_rasters(folder: Path, plan: Plan, rasters: Mapping[str, Sequence[Path]]) -> list[dict[str, Any]]:
    west, south, east, north = plan.bounds_in_one_piece
    edge = map_rasters.MAX_LATITUDE
    bounds = (west, max(south, -edge), east, min(north, edge))
    layers: list[dict[str, Any]] = []
    for name, title, source, colors in LAYERS:
        paths = rasters.get(source, ())
        if not paths or bounds[1] >= bounds[3]:
            continue
        read, legend = colors(paths, bounds)
        # Counts of views change little from pixel to pixel.
        pixel = map_rasters.pixel_degrees(paths) * (2 if name == "clear_views" else 1)
        block = map_rasters.tile_block(bounds, pixel)
        first = map_rasters.write_raster_tiles(folder / f"{name}.pmtiles", block, read, bounds=bounds, name=name)
        described = vars(legend) if legend else None
        layers.append({"name": name, "title": title, "first": first, "last": block.zoom, "legend": described})
    return layers


def _shapes(plan: Plan, polygons: Sequence[Path], lakes: Path | None) -> dict[str, Any]:
    """Return outline, cells and lakes as GeoJSON geometries, in one piece at 180 degrees."""
    bounds = plan.bounds_in_one_piece
    west, south, east, north = bounds
    middle, fine = (west + east) / 2, max(east - west, north - south) / 3000
    boxes = np.array([shapely.box(*cell.bounds) for cell in plan.cells], dtype=object)
    boxes = shift_longitudes(boxes, wraps_to(middle_longitudes(boxes), middle))
    shapes: dict[str, Any] = {"cells": shapely.multipolygons(boxes)}
    if polygons:
        parts = np.asarray(shapely.get_parts(basin_polygon(polygons, plan.basin_id)), dtype=object)
        parts = shift_longitudes(parts, wraps_to(middle_longitudes(parts), middle))
        shapes["outline"] = shapely.union_all(shapely.simplify(parts, fine))
    if lakes is not None:
        near = lakes_near(lakes, bounds)
        near = near[np.argsort(-shapely.area(near), kind="stable")[:_MOST_LAKES]]
        united = shapely.union_all(shapely.simplify(shapely.intersection(near, shapely.box(*bounds)), fine / 4))
        if not united.is_empty:
            shapes["lakes"] = united
    return {name: json.loads(str(shapely.to_geojson(shapely.set_precision(s, 1e-6)))) for name, s in shapes.items()}


def _embed(folder: Path, names: Sequence[str]) -> None:
    with (folder / "embedded.js").open("w") as file:
        file.write("const EMBEDDED = {\n")
        for name in names:
            file.write(f'"{name}": "{base64.b64encode((folder / name).read_bytes()).decode()}",\n')
        file.write("};\n")
