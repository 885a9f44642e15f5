"""evaluate: score a basin's network against true channels, next to what elevation alone gives at the same length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.files import write_json
from headwater.evaluate.line_matching import LineScores, dem_streams, length_off_backbone_m, line_scores
from headwater.geo.basins import basin_polygon
from headwater.geo.features import TableKind, read_lines, read_polygons, read_table
from headwater.geo.repair import repaired_all

MAX_PX = 100_000_000
"""Largest rectangle that the baseline flows over: seven cells of a degree, 10 GB of memory."""


def evaluate(
    network: Path,
    truth: Path,
    elevation: Sequence[Path],
    polygons: Sequence[Path],
    basin_id: str,
    *,
    buffer_m: float,
    area: Path | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Score the waterways found off the backbone, and the DEM-only baseline of the same length.

    Parameters
    ----------
    network : Path
        waterways.parquet of the basin.
    truth : Path
        Lines of the true channels, any CRS.
    elevation : sequence of Path
        elevation.tif of the cells: what the baseline's flow accumulation is made of.
    polygons : sequence of Path
        Files of basin polygons.
    basin_id : str
        HYBAS_ID; the baseline stays inside its polygon.
    buffer_m : float
        Distance within which a line counts as found, meters.
    area : Path, optional
        Polygons, such as the backbone's catchments: only lines inside are scored.
    out : Path, optional
        JSON to write.

    Returns
    -------
    dict
        Scores of "network" and "dem_only"; printed as well.
    """
    if buffer_m <= 0:
        raise InputError(f"--buffer-m must be above 0 (got {buffer_m}).", "Give a distance in meters.")
    waterways = _read_network(network)
    true_lines = read_lines(truth).geometry
    polygon = basin_polygon(polygons, basin_id)
    if area is not None:
        covered = shapely.union_all(repaired_all(np.asarray(read_polygons(area), dtype=object), "The polygon"))
        polygon = polygon & covered
        if polygon.is_empty:
            raise InputError(f"Basin {basin_id} does not meet {area}.", "Give polygons within the basin.")
        true_lines, waterways = true_lines.clip(covered), waterways.clip(covered, keep_geom_type=True)
        if true_lines.empty:
            raise InputError(f"There is no true channel in {area}.", "Give polygons of the place, or leave them out.")
    from_backbone = waterways["from_tdx"].to_numpy(bool)
    backbone, found = waterways.geometry[from_backbone], waterways.geometry[~from_backbone]
    length_m = length_off_backbone_m(found, backbone, distance_m=buffer_m)
    baseline = _baseline(elevation, polygon, length_m, backbone, buffer_m)
    scores = {
        "network": line_scores(found, true_lines, distance_m=buffer_m, backbone=backbone),
        "dem_only": line_scores(baseline, true_lines, distance_m=buffer_m, backbone=backbone),
    }
    result: dict[str, Any] = {name: _rounded(score) for name, score in scores.items()}
    result["buffer_m"] = buffer_m
    print(f"{'off the backbone':<17} {'precision':>9} {'recall':>7} {'F1':>7} {'km':>9}")
    for name, score in scores.items():
        print(
            f"{name:<17} {score.correctness:9.4f} {score.completeness:7.4f} {score.f1:7.4f} "
            f"{score.found_length_m / 1000:9.1f}"
        )
    if out is not None:
        write_json(out, result)
    return result


def _baseline(
    elevation: Sequence[Path],
    polygon: BaseGeometry,
    length_m: float,
    backbone: gpd.GeoSeries,
    buffer_m: float,
) -> gpd.GeoSeries:
    text = raster.mosaic_vrt(elevation)
    grid = raster.raster_grid(text).window(polygon.bounds)
    if grid.width * grid.height > MAX_PX:
        raise InputError(
            f"The baseline would need flow accumulation over {grid.width * grid.height / 1e6:.0f} million pixels; "
            f"{MAX_PX / 1e6:.0f} million is the maximum.",
            "Give --area with polygons of a part of the basin.",
        )
    heights, valid = raster.read_window(text, grid)
    inside = geometry_mask([polygon], out_shape=grid.shape, transform=grid.transform, invert=True)
    lines = dem_streams(
        heights.astype(np.float32), grid, inside & valid, length_m, backbone=backbone, distance_m=buffer_m
    )
    return lines.geometry


def _read_network(path: Path) -> gpd.GeoDataFrame:
    table = read_table(path, TableKind("a network", "Give waterways.parquet of a basin."))
    if "from_tdx" not in table.columns:
        raise InputError(f"{path} has no column from_tdx.", "Give waterways.parquet of a basin.")
    return table


def _rounded(score: LineScores) -> dict[str, float | None]:
    """Return the scores for a file; undefined ones, such as the correctness of nothing found, are None."""
    return {key: None if math.isnan(value) else round(float(value), 4) for key, value in asdict(score).items()}
