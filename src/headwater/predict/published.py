"""predict, from published rasters: the probability of one cell out of WaterNet's published maps instead of a network.

The maps are one file per square of the web's grid at zoom 6, named {x}_{y}.tif: EPSG:4326, one band uint8 of p * 255,
pixels of about 20 m (docs/how-to/published-rasters.md). Only the windows that a cell needs are read.

Each pixel of a cell takes the value of the published pixel that its center is in, as it is: nearest neighbor, and an
exact copy where the grids agree. Interpolation would lower the peak of a line one pixel wide, which the thresholds of
`vectorize` decide by; it moves a line by half a pixel, 10 m, at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from headwater import raster
from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.core.events import say, warn
from headwater.core.terms import PUBLISHED_RECIPE, Terms
from headwater.core.versions import STEP_VERSIONS
from headwater.fetch.sources import SOURCES, WATERNET
from headwater.geo.geodesy import METERS_PER_DEGREE
from headwater.geo.grid import Bounds, RasterGrid, prediction_grid
from headwater.geo.longitudes import FULL_CIRCLE
from headwater.geo.plan import read_plan
from headwater.predict.settings import PUBLISHED_RASTERS, check_published
from headwater.raster.opening import AssetCorrupt, AssetGone, check_window, grid_of, with_retry
from headwater.raster.sources import public_name
from headwater.stac.items import Asset, Signer
from headwater.stac.signing import make_signer
from headwater.stac.validation import is_web_address, public_address

ZOOM = 6
"""Zoom of the web's grid whose squares the files are named after."""
TERMS = Terms(license=(SOURCES[WATERNET].license,), citation=(SOURCES[WATERNET].citation,))
"""The same as for the weights: what the authors of the published rasters ask of whatever is made of them."""
PIXEL_RANGE_M = (10.0, 40.0)
"""Height of a published pixel, meters. Columns become narrower toward the poles, so its width has only a maximum."""
MAX_SIDE = 1.5
"""Sides of a file, in sides of its square: neighbors may overlap."""

_SQUARES = 2**ZOOM
_SIDE = FULL_CIRCLE / _SQUARES
_TIE = 1e-6
"""Pixels: a center on the border of two published pixels is in the one to the east or south, whatever the rounding."""
_SLIT_PX = 0.5
"""Half a pixel beyond its edge a file still counts: where two meet, each may be a fraction of a pixel short."""
_P_SCALES = (1.0, 1 / 255, 1 / 256)
_BoolArray = NDArray[np.bool_]


def predict_published(
    plan: Path,
    cell: str,
    out: Path,
    *,
    place: str = PUBLISHED_RASTERS,
    elevation: Path | None = None,
    hosts: Sequence[str] = (),
) -> None:
    """Write probability.tif of a cell from published rasters, as `headwater.predict.step.predict` writes it.

    A pixel belongs to the file of the square that its center is in; where that has no value, to the first other file of
    the cell that has one (they may overlap). Pixels that no file has a value for are masked: those of a file that is
    not there (HTTP 404), of a mask, and of a nodata value other than 0. A value of 0 is a probability of 0, also where
    the file calls it nodata.

    Parameters
    ----------
    plan : Path
        plan.json of the basin.
    cell : str
        Name of the cell.
    out : Path
        probability.tif to write.
    place : str
        http(s) address or folder of the files.
    elevation : Path, optional
        elevation.tif of the cell, which says where a file is missing whether there is land (not 0).
    hosts : sequence of str
        Hosts that the files may be redirected to.

    Raises
    ------
    WorkError
        A file cannot be read, or the cell has land and none of its files is there.
    InputError
        A file is no published raster, or not that of its square.
    """
    check_published(place)
    grid = prediction_grid(read_plan(plan).cell(cell))
    signer = make_signer("none", None, tuple(hosts))
    made = _Made(np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, bool))
    squares = list(squares_of(grid))
    missing = [square for square in squares if not _read_square(place, square, grid, made, signer)]
    if len(squares) > 1 and not made.valid.all():
        _fill_from_overlaps(place, [square for square in squares if square not in missing], grid, made, signer)
    if missing:
        _report_missing(place, missing, grid, made.valid, elevation, cell, whole=len(missing) == len(squares))
    if made.valid.any() and made.values.max() == 1:
        warn(f"the published rasters have no value over 1 of 255 in cell {cell}: they may hold classes, not p * 255.")
    tags = {
        "recipe": f"{PUBLISHED_RECIPE} {STEP_VERSIONS['published']}; nearest",
        "source": _public_place(place),
        "tiles": " ".join(square.name for square in squares if square not in missing),
        "missing_tiles": " ".join(square.name for square in missing),
        "unit": "probability of water * 255",
        **TERMS.tags(),
    }
    raster.write_cog(
        out,
        made.values[np.newaxis],
        transform=grid.transform,
        mask=made.valid,
        tags={name: text for name, text in tags.items() if text},
        bands=raster.PROBABILITY,
    )


@dataclass(frozen=True)
class Square:
    """One square of the web's grid, and the part of a cell whose pixel centers are in it."""

    x: int
    """From 180 degrees west, eastward."""
    y: int
    """From the northern edge of the web's map, 85.05 degrees, southward."""
    rows: slice
    columns: slice

    @property
    def name(self) -> str:
        """How its file is named, without suffix."""
        return f"{self.x}_{self.y}"

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees."""
        west = self.x * _SIDE - FULL_CIRCLE / 2
        return (west, _latitude(self.y + 1), west + _SIDE, _latitude(self.y))


def squares_of(grid: RasterGrid) -> Iterator[Square]:
    """Yield the squares that hold the centers of a grid's pixels, north to south, then west to east."""
    longitude = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    latitude = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    of_column = np.floor((longitude + FULL_CIRCLE / 2) / _SIDE).astype(int)
    of_row = np.floor((1 - np.arcsinh(np.tan(np.radians(latitude))) / math.pi) / 2 * _SQUARES).astype(int)
    for y, rows in _runs(of_row):
        for x, columns in _runs(of_column):
            yield Square(x % _SQUARES, y, rows, columns)


def _runs(numbers: NDArray[np.int_]) -> Iterator[tuple[int, slice]]:
    """Yield each run of equal numbers."""
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, end in pairwise(starts):
        yield int(numbers[start]), slice(start, end)


def _latitude(y: float) -> float:
    """Return the northern edge of a row of squares."""
    return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y / _SQUARES))))


@dataclass(frozen=True)
class _Made:
    """What is read so far of a cell."""

    values: NDArray[np.uint8]
    valid: _BoolArray


def _read_square(place: str, square: Square, grid: RasterGrid, made: _Made, signer: Signer) -> bool:
    """Read the part of a cell in a square from its own file; return whether the file is there."""
    if not 0 <= square.y < _SQUARES:
        return False  # beyond the web's map
    try:
        values, valid = _read(place, square, _part(grid, square.rows, square.columns), signer, beyond_px=_SLIT_PX)
    except AssetGone:
        return False
    made.values[square.rows, square.columns] = values
    made.valid[square.rows, square.columns] = valid
    return True


def _fill_from_overlaps(place: str, squares: Sequence[Square], grid: RasterGrid, made: _Made, signer: Signer) -> None:
    """Fill pixels without a value from the files of other squares, which may reach over their own edge."""
    for square in squares:
        lacking = ~made.valid
        lacking[square.rows, square.columns] = False
        if not lacking.any():
            continue
        rows, columns = _span(lacking.any(axis=1)), _span(lacking.any(axis=0))
        values, valid = _read(place, square, _part(grid, rows, columns), signer, beyond_px=0.0)
        take = valid & lacking[rows, columns]
        made.values[rows, columns][take] = values[take]
        made.valid[rows, columns][take] = True


def _span(wanted: Any) -> slice:
    """Return the slice from the first True of an (n,) array to the last."""
    found = np.flatnonzero(wanted)
    return slice(int(found[0]), int(found[-1]) + 1)


def _part(grid: RasterGrid, rows: slice, columns: slice) -> RasterGrid:
    return grid.crop(
        row=rows.start, column=columns.start, height=rows.stop - rows.start, width=columns.stop - columns.start
    )


def _read(
    place: str, square: Square, grid: RasterGrid, signer: Signer, *, beyond_px: float
) -> tuple[NDArray[np.uint8], _BoolArray]:
    """Return values and what is valid (y, x) of the file of a square at the centers of a grid's pixels."""
    name = f"{square.name}.tif"
    href = f"{place.rstrip('/')}/{name}" if is_web_address(place) else str(Path(place) / name)
    source = Asset(href=href, collection="published")
    remedy = "Check predict.published: WaterNet's published rasters of 20 m, {x}_{y}.tif of zoom 6, are expected there."
    try:
        return with_retry(
            source, signer, partial(_nearest, source=source, square=square, grid=grid, beyond_px=beyond_px)
        )
    except AssetGone:
        raise
    except AssetCorrupt as error:
        raise AssetCorrupt(error.cause, remedy) from None
    except NetworkError as error:
        raise NetworkError(error.cause, f"{remedy} Then run again.") from None


def _nearest(
    dataset: DatasetReader, *, source: Asset, square: Square, grid: RasterGrid, beyond_px: float
) -> tuple[NDArray[np.uint8], _BoolArray]:
    own = _checked_grid(dataset, source, square)
    down = (own.north - grid.north) / own.dy + (np.arange(grid.height) + 0.5) * (grid.dy / own.dy)
    right = (grid.west - own.west) / own.dx + (np.arange(grid.width) + 0.5) * (grid.dx / own.dx)
    rows, columns = _indices(down, own.height, beyond_px), _indices(right, own.width, beyond_px)
    values, valid = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, bool)
    inside = np.ix_(rows >= 0, columns >= 0)
    rows, columns = rows[rows >= 0], columns[columns >= 0]
    if not rows.size or not columns.size:
        return values, valid
    window = Window(columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    check_window(window.width, window.height, source)
    at = np.ix_(rows - rows[0], columns - columns[0])
    read = dataset.read(1, window=window)
    known = _known(dataset, read, window)[at]
    values[inside] = np.where(known, read[at], np.uint8(0))
    valid[inside] = known
    return values, valid


def _known(dataset: DatasetReader, values: NDArray[np.uint8], window: Window) -> _BoolArray:
    """Return which pixels of a window are values."""
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        return np.asarray(dataset.read_masks(1, window=window) > 0)
    if dataset.nodata in (None, 0):
        return np.ones(values.shape, bool)
    return np.asarray(values != dataset.nodata)


def _indices(positions: NDArray[np.floating[Any]], length: int, beyond_px: float) -> NDArray[np.int64]:
    """Return the row or column that each position, in pixels from the edge of a file, is in; -1 outside of it."""
    found: NDArray[np.int64] = np.clip(np.floor(positions + _TIE).astype(np.int64), 0, length - 1)
    found[(positions < -beyond_px) | (positions >= length + beyond_px)] = -1
    return found


def _checked_grid(dataset: DatasetReader, source: Asset, square: Square) -> RasterGrid:
    """Return the grid of a published file, with the longitudes of its square; refuse another kind of file."""
    name = public_name(source)
    own = grid_of(dataset, name)
    if dataset.count != 1 or dataset.dtypes[0] != "uint8":
        raise InputError(
            f"{name} has {dataset.count} band(s) of {dataset.dtypes[0]}; one of uint8, p * 255, is expected.",
            "Give WaterNet's published rasters as predict.published.",
        )
    if dataset.offsets[0] != 0 or not any(math.isclose(dataset.scales[0], scale) for scale in _P_SCALES):
        raise InputError(
            f"{name} scales its values by {dataset.scales[0]:g} and adds {dataset.offsets[0]:g}; p * 255 is expected.",
            "Write it again without a scale.",
        )
    west, south, east, north = square.bounds
    high_m = own.dy * METERS_PER_DEGREE
    wide_m = own.dx * METERS_PER_DEGREE * math.cos(math.radians((south + north) / 2))
    if not PIXEL_RANGE_M[0] <= high_m <= PIXEL_RANGE_M[1] or wide_m > PIXEL_RANGE_M[1]:
        raise InputError(
            f"The pixels of {name} are {high_m:.3g} m high and {wide_m:.3g} m wide; about 20 m are expected.",
            f"Give rasters with pixels of {PIXEL_RANGE_M[0]:g} to {PIXEL_RANGE_M[1]:g} m.",
        )
    middle = (own.west + own.width * own.dx / 2, own.north - own.height * own.dy / 2)
    own = own.shifted(-FULL_CIRCLE * round((middle[0] - (west + east) / 2) / FULL_CIRCLE))
    middle = (own.west + own.width * own.dx / 2, middle[1])
    too_large = own.width * own.dx > MAX_SIDE * (east - west) or own.height * own.dy > MAX_SIDE * (north - south)
    if too_large or not (west <= middle[0] <= east and south <= middle[1] <= north):
        shown = ", ".join(f"{edge:.3f}" for edge in own.bounds)
        raise InputError(
            f"{name} is not where its name says: it covers {shown}, and square {square.name} of zoom {ZOOM} is"
            f" {west:.3f}, {south:.3f}, {east:.3f}, {north:.3f} (west, south, east, north).",
            "Name each file {x}_{y}.tif after the square that it covers, y from the north.",
        )
    return own


def _report_missing(
    place: str,
    missing: Sequence[Square],
    grid: RasterGrid,
    valid: _BoolArray,
    elevation: Path | None,
    cell: str,
    *,
    whole: bool,
) -> None:
    """Report the files that are not there; fail if none is, and the cell has land."""
    from headwater.terrain.surface import area_km2

    names = ", ".join(f"{square.name}.tif" for square in missing)
    land = ~valid
    if elevation is not None:
        heights, known = raster.read_window(elevation, grid, resampling="nearest")
        land &= known & (heights != 0)
    area = area_km2(land, grid)
    if whole and land.any():
        raise WorkError(
            f"{_public_place(place)} has no published raster of cell {cell} ({names}), which has {area:.3g} km2 of"
            " land.",
            "Check predict.published, leave the cell out of the basin's polygon, or set predict.source to network.",
        )
    if land.any():
        warn(f"there is no published raster {names}: {area:.3g} km2 of land in cell {cell} have no probability.")
    else:
        say(f"there is no published raster {names}; cell {cell} has no land there.")


def _public_place(place: str) -> str:
    return public_address(place).rstrip("/") if is_web_address(place) else Path(place).name
