"""evaluate pixels: score probability rasters against water types, tile by tile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from headwater import raster
from headwater.core.errors import InputError
from headwater.evaluate.nhd import WATER_TYPES, count_features, read_nhd
from headwater.evaluate.pixel_counts import BoolArray, Core
from headwater.evaluate.score_tables import draw_bars, markdown_table, write_table
from headwater.evaluate.tiles import ALL, TileCounts, count_tile, score_table, sum_tiles, type_table
from headwater.evaluate.water_types import UNKNOWN_TYPE, TypeArray, burn_types, coarsen_types
from headwater.geo.features import read_polygons
from headwater.geo.grid import RasterGrid

TILE_PX = 416
"""832 px at 10 m: the paper's test images."""
HALO_PX = 16
"""Enough for windows, and for the skeletons of all but the widest water."""
_FINE = 2
"""Labels are burned at half the pixel of the prediction, as for training."""

_ReadTypes = Callable[[RasterGrid], TypeArray]


def evaluate_pixels(
    probability: Sequence[Path],
    out: Path,
    *,
    labels: Sequence[Path] = (),
    label_rasters: Sequence[Path] = (),
    regions: Sequence[str] = (),
    area: Path | None = None,
    threshold: float = 0.5,
    tile_px: int = TILE_PX,
) -> pd.DataFrame:
    """Write tables of scores: of all tiles and by subset, by region, and recall by water type.

    Parameters
    ----------
    probability : sequence of Path
        Rasters in EPSG:4326, of a cell's size: uint8 of p * 255, or float of 0 to 1.
    out : Path
        Folder to write scores, scores_by_region and recall_by_type into (CSV, Markdown, PNG).
    labels : sequence of Path
        NHD files, burned onto each raster's grid.
    label_rasters : sequence of Path
        Instead of `labels`: water types of each probability raster, on its grid or one twice as fine.
    regions : sequence of str
        Name of the region of each probability raster; default: its file's name, or its folder's for probability.tif.
    area : Path, optional
        Polygons that the labels cover: pixels whose centers are outside are not counted.
    threshold : float
        Probability from which on a pixel is water.
    tile_px : int
        Side of the tiles that form subsets, pixels of the prediction.

    Returns
    -------
    DataFrame
        The scores of all tiles and by subset; printed as well.
    """
    _check(probability, labels, label_rasters, regions, threshold, tile_px)
    names = list(regions) or [path.parent.name if path.stem == "probability" else path.stem for path in probability]
    mapped = None if area is None else read_polygons(area)
    subsets, by_region = sum_tiles(
        (name, counts)
        for k, (path, name) in enumerate(zip(probability, names, strict=True))
        if (read := _types_of(path, labels, label_rasters[k : k + 1], mapped)) is not None
        for counts in _tiles(path, read, mapped, threshold, tile_px)
    )
    if ALL not in subsets:
        raise InputError("No pixel has both a prediction and a label.", "Give labels of the place that was predicted.")
    total = subsets[ALL]
    scores = score_table(subsets, pixels=total.pixels)
    tables = {"scores": scores, "scores_by_region": score_table(by_region, pixels=total.pixels)}
    for name, table in tables.items():
        write_table(out, name, table)
        draw_bars(out / f"{name}.png", table[["F1", "F1*", "F1**", "clDice"]], title="Scores of pixels", label="score")
    types = type_table(total)
    write_table(out, "recall_by_type", types)
    draw_bars(
        out / "recall_by_type.png",
        types[["predicted_share"]],
        title="Fraction of each type predicted as water",
        label="fraction",
    )
    print(markdown_table(scores), end="")
    return scores


def _check(
    probability: Sequence[Path],
    labels: Sequence[Path],
    label_rasters: Sequence[Path],
    regions: Sequence[str],
    threshold: float,
    tile_px: int,
) -> None:
    if bool(labels) == bool(label_rasters):
        raise InputError(
            "Labels are given twice, or not at all.", "Give --labels (NHD files) or --label-raster, one of the two."
        )
    for option, values in {"--label-raster": label_rasters, "--region": regions}.items():
        if values and len(values) != len(probability):
            raise InputError(
                f"{option} has {len(values)} values for {len(probability)} probability raster(s).",
                "Give one for each, in the same order.",
            )
    if not 0 < threshold <= 1:
        raise InputError(
            f"--threshold must be above 0 and at most 1 (got {threshold}).", "Give a probability such as 0.5."
        )
    if tile_px < 1:
        raise InputError(f"--tile-px must be at least 1 (got {tile_px}).", "Give the side of a tile in pixels.")


def _types_of(
    probability: Path, labels: Sequence[Path], label_raster: Sequence[Path], mapped: list[BaseGeometry] | None
) -> _ReadTypes | None:
    """Return a function that reads the water types of a window of a raster's grid; None where none are mapped."""
    grid = raster.raster_grid(probability)
    if label_raster:
        return _from_raster(label_raster[0], grid)
    features = read_nhd(*labels, bounds=grid.bounds)
    if features.empty and mapped is None:
        # Dry land, or land that these labels do not cover: only an area distinguishes them.
        print(f"{probability}: skipped, it has no labeled feature", file=sys.stderr)
        return None
    found = ", ".join(f"{number} {name}" for name, number in count_features(features).items())
    print(f"{probability}: labels of {found}")
    return _from_features(features, grid)


def _from_features(features: gpd.GeoDataFrame, grid: RasterGrid) -> _ReadTypes:
    # Burned at once: a line that is cut at a window's edge takes other pixels there.
    types = coarsen_types(burn_types(features, _refined(grid)), _FINE)

    def read(window: RasterGrid) -> TypeArray:
        row, column = grid.place_of(window) or (0, 0)
        return types[row : row + window.height, column : column + window.width]

    return read


def _from_raster(path: Path, grid: RasterGrid) -> _ReadTypes:
    own = raster.raster_grid(path)
    factors = {1: grid, _FINE: _refined(grid)}
    factor = next((factor for factor, wanted in factors.items() if own.place_of(wanted) is not None), None)
    if factor is None:
        raise InputError(
            f"The pixels of {path} do not match those of the probability.",
            "Give labels on its grid, or on one with half its pixels.",
        )

    def read(window: RasterGrid) -> TypeArray:
        fine = window if factor == 1 else _refined(window)
        # Beyond the labels nobody has mapped anything; 0 is land, whatever the file says of missing pixels.
        types, _ = raster.read_window(path, fine, resampling="nearest", nodata=UNKNOWN_TYPE)
        if types.dtype != np.uint8 or ((types > max(WATER_TYPES)) & (types != UNKNOWN_TYPE)).any():
            raise InputError(
                f"{path} contains other values than water types.",
                "Give uint8 of 0 to 21, and 255 where nobody has mapped.",
            )
        return coarsen_types(types, factor)

    return read


def _refined(grid: RasterGrid) -> RasterGrid:
    return RasterGrid(
        west=grid.west,
        north=grid.north,
        dx=grid.dx / _FINE,
        dy=grid.dy / _FINE,
        width=grid.width * _FINE,
        height=grid.height * _FINE,
    )


def _tiles(
    path: Path, read_types: _ReadTypes, mapped: list[BaseGeometry] | None, threshold: float, tile_px: int
) -> Iterator[TileCounts]:
    grid = raster.raster_grid(path)
    for row in range(0, grid.height, tile_px):
        for column in range(0, grid.width, tile_px):
            rows, inner_rows = _with_halo(row, min(row + tile_px, grid.height), grid.height)
            columns, inner_columns = _with_halo(column, min(column + tile_px, grid.width), grid.width)
            window = grid.crop(
                row=rows.start, column=columns.start, height=rows.stop - rows.start, width=columns.stop - columns.start
            )
            core: Core = (inner_rows, inner_columns)
            predicted, valid = _predicted(path, window, threshold)
            if mapped is not None:
                valid &= geometry_mask(mapped, out_shape=window.shape, transform=window.transform, invert=True)
            yield count_tile(predicted, read_types(window), valid, core=core)


def _with_halo(start: int, stop: int, length: int) -> tuple[slice, slice]:
    """Return pixels of a tile with its halo, cut at the raster's edge, and the tile's place among them."""
    first, last = max(start - HALO_PX, 0), min(stop + HALO_PX, length)
    return slice(first, last), slice(start - first, stop - first)


def _predicted(path: Path, window: RasterGrid, threshold: float) -> tuple[BoolArray, BoolArray]:
    values, valid = raster.read_window(path, window, resampling="nearest")
    scale = 255.0 if values.dtype == np.uint8 else 1.0
    if values.dtype != np.uint8 and not (
        np.issubdtype(values.dtype, np.floating) and (~valid | ((values >= 0) & (values <= 1))).all()
    ):
        raise InputError(f"{path} is not a probability.", "Give uint8 of p * 255, or float of 0 to 1.")
    return valid & (values >= threshold * scale), valid
