"""Cells, their grids and the tiles of a prediction: pure geometry in EPSG:4326 (design.md, "Units of work").

All grids are north-up. Pixel counts are integers computed from the cell's indices, never from rounded degrees, so
that cells of one row of the world share one grid and every cell's pixel edges are on its degree lines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from affine import Affine
from shapely import box
from shapely.geometry.base import BaseGeometry
from shapely.prepared import prep

from headwater.core.errors import InputError
from headwater.geo.longitudes import FULL_CIRCLE, SHIFTS

CRS = "EPSG:4326"
ROWS_PER_DEGREE = 10_800
"""Rows of the 10 m grid in one degree of latitude: 1/3 arc second, 10.3 m."""
GLO30_ROWS_PER_DEGREE = 3_600
GLO30_COLUMNS = ((50, 3600), (60, 2400), (70, 1800), (80, 1200), (85, 720), (90, 360))
"""Columns of GLO-30 per degree of longitude below each absolute latitude (Copernicus DEM product handbook)."""
PREDICTION_FACTOR = 2
"""Pixels of the 10 m grid along one side of a pixel of the 20 m grid."""

Bounds = tuple[float, float, float, float]

_SLIVER = 1e-9
"""Degrees, a tenth of a millimeter: a polygon that enters a cell by less does so by the rounding of a vertex."""
# WGS84, for the ratio of the lengths of a degree along and across a meridian.
_ECCENTRICITY_SQUARED = 0.006_694_379_990_14
_NAME = re.compile(r"([NS])(\d{2}(?:\.\d+)?)([EW])(\d{3}(?:\.\d+)?)")


@dataclass(frozen=True)
class RasterGrid:
    """A north-up grid in EPSG:4326."""

    west: float
    """Longitude of the left edge, degrees."""
    north: float
    """Latitude of the upper edge, degrees."""
    dx: float
    """Pixel width, degrees (> 0)."""
    dy: float
    """Pixel height, degrees (> 0)."""
    width: int
    """Columns."""
    height: int
    """Rows."""

    @property
    def transform(self) -> Affine:
        """Affine map from (column, row) to (longitude, latitude)."""
        return Affine(self.dx, 0.0, self.west, 0.0, -self.dy, self.north)

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees."""
        return (
            self.west,
            self.north - self.height * self.dy,
            self.west + self.width * self.dx,
            self.north,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return (self.height, self.width)

    def window(self, bounds: Bounds) -> RasterGrid:
        """Return the smallest sub-grid that covers `bounds`, snapped outward to pixels and cut at the edges.

        Raises
        ------
        InputError
            The bounds are outside the grid.
        """
        west, south, east, north = bounds
        # A millionth of a pixel of slack, so that bounds computed from the grid itself come back unchanged.
        first_column = max(0, math.floor((west - self.west) / self.dx + 1e-6))
        first_row = max(0, math.floor((self.north - north) / self.dy + 1e-6))
        last_column = min(self.width, math.ceil((east - self.west) / self.dx - 1e-6))
        last_row = min(self.height, math.ceil((self.north - south) / self.dy - 1e-6))
        if last_column <= first_column or last_row <= first_row:
            raise InputError(
                f"The bounds {bounds} are outside the raster {self.bounds}.",
                "Give data that cover the requested place.",
            )
        return self.crop(
            row=first_row, column=first_column, height=last_row - first_row, width=last_column - first_column
        )

    def window_of(self, other: RasterGrid) -> tuple[RasterGrid, float] | None:
        """Return the sub-grid that another grid covers, and the shift of that grid: 0, 360 or -360 degrees.

        None if they share nothing.
        """
        for degrees in SHIFTS:
            try:
                return self.window(other.shifted(degrees).bounds), degrees
            except InputError:
                continue
        return None

    def crop(self, *, row: int, column: int, height: int, width: int) -> RasterGrid:
        """Return the sub-grid that starts at (row, column); negative starts grow the grid."""
        return RasterGrid(
            west=self.west + column * self.dx,
            north=self.north - row * self.dy,
            dx=self.dx,
            dy=self.dy,
            width=width,
            height=height,
        )

    def shifted(self, degrees: float) -> RasterGrid:
        """Return the same pixels with longitudes shifted by a multiple of 360 degrees: still the same place.

        A cell next to the antimeridian reaches beyond 180 with its margin; files there have longitudes under 180.
        """
        return RasterGrid(
            west=self.west + degrees,
            north=self.north,
            dx=self.dx,
            dy=self.dy,
            width=self.width,
            height=self.height,
        )

    def place_of(self, other: RasterGrid) -> tuple[int, int] | None:
        """Return the row and column of another grid's first pixel on this grid's lattice.

        Both may be negative or beyond the last pixel. None if the pixels of the two grids differ in size or do not
        coincide: a hundredth of a pixel is allowed for rounding, over the full extent of both grids.
        """
        row, column = (self.north - other.north) / self.dy, (other.west - self.west) / self.dx
        ends = (
            row + other.height * other.dy / self.dy - other.height,
            column + other.width * other.dx / self.dx - other.width,
        )
        place = (round(row), round(column))
        off = max(abs(row - place[0]), abs(column - place[1]), abs(ends[0] - place[0]), abs(ends[1] - place[1]))
        return place if off < 0.01 else None

    def coarsen(self, factor: int) -> RasterGrid:
        """Return the grid whose pixels are `factor` x `factor` of these (cut if it does not divide evenly)."""
        return RasterGrid(
            west=self.west,
            north=self.north,
            dx=self.dx * factor,
            dy=self.dy * factor,
            width=self.width // factor,
            height=self.height // factor,
        )


@dataclass(frozen=True)
class Cell:
    """One square of the world, the unit of work of the raster steps."""

    row: int
    """Cells from the equator to the southern edge, northward."""
    column: int
    """Cells from Greenwich to the western edge, eastward."""
    degrees: float
    """Length of a side, degrees."""

    @cached_property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees, each the double nearest to the exact value."""
        side = _exact(self.degrees)
        return (
            float(self.column * side),
            float(self.row * side),
            float((self.column + 1) * side),
            float((self.row + 1) * side),
        )

    @cached_property
    def name(self) -> str:
        """Name by the south-western corner, as GLO-30 names its tiles: N40W106; N08.1E011.9 below one degree."""
        west, south, _, _ = self.bounds
        digits = _digits(self.degrees)
        width = digits + 1 if digits else 0
        latitude = f"{abs(south):0{2 + width}.{digits}f}"
        longitude = f"{abs(west):0{3 + width}.{digits}f}"
        return f"{'S' if south < 0 else 'N'}{latitude}{'W' if west < 0 else 'E'}{longitude}"

    @staticmethod
    def from_name(name: str, degrees: float) -> Cell:
        """Return the cell of that name.

        Raises
        ------
        InputError
            The name is not a cell of this size.
        """
        match = _NAME.fullmatch(name)
        if match is not None:
            side = _exact(degrees)
            south = Fraction(match[2]) * (-1 if match[1] == "S" else 1)
            west = Fraction(match[4]) * (-1 if match[3] == "W" else 1)
            cell = Cell(row=math.floor(south / side), column=math.floor(west / side), degrees=degrees)
            if cell.name == name:
                return cell
        raise InputError(f"{name!r} is not the name of a cell of {degrees} degrees.", "Take a name from plan.json.")


def check_cell_degrees(degrees: float) -> None:
    """Refuse a cell size that does not divide a degree (or 180) into complete rows of every grid.

    Raises
    ------
    InputError
        The size is out of range or does not divide evenly.
    """
    side = _exact(degrees if math.isfinite(degrees) else 0)
    rows = side * GLO30_ROWS_PER_DEGREE
    columns_fit = all((side * columns).denominator == 1 for _, columns in GLO30_COLUMNS[:4])
    if not 0 < side <= 1 or rows.denominator != 1 or (1 / side).denominator != 1 or not columns_fit:
        raise InputError(
            f"grid.cell_degrees is {degrees}, which does not divide one degree into an integer number of pixels.",
            "Use 1, 0.5, 0.25, 0.2, 0.1 or 0.05.",
        )


def cells_intersecting(polygon: BaseGeometry, degrees: float) -> list[Cell]:
    """Return the cells whose interior intersects a polygon, north to south, then west to east.

    Parameters
    ----------
    polygon : shapely geometry
        Polygon or multipolygon in EPSG:4326.
    degrees : float
        Side of a cell.
    """
    check_cell_degrees(degrees)
    prepared = prep(polygon)
    found: set[tuple[int, int]] = set()
    side = _exact(degrees)
    # Part by part: a basin with islands on both sides of the antimeridian must not visit all cells of the world.
    for part in getattr(polygon, "geoms", [polygon]):
        west, south, east, north = (Fraction(value) for value in part.bounds)
        for row in range(math.floor(south / side), math.ceil(north / side)):
            for column in range(math.floor(west / side), math.ceil(east / side)):
                if (row, column) in found:
                    continue
                cell_west, cell_south, cell_east, cell_north = Cell(row, column, degrees).bounds
                inside = box(cell_west + _SLIVER, cell_south + _SLIVER, cell_east - _SLIVER, cell_north - _SLIVER)
                if prepared.intersects(inside):
                    found.add((row, column))
    return [Cell(row, column, degrees) for row, column in sorted(found, key=lambda rc: (-rc[0], rc[1]))]


def neighbors(cell: Cell, cells: Iterable[Cell]) -> list[Cell]:
    """Return the cell itself and those of `cells` that touch it, in the order of `cells`.

    Cells on both sides of the antimeridian are neighbors. For many cells of one basin see `neighborhoods`.
    """
    around = _columns_around(cell.degrees)

    def steps_east(other: Cell) -> int:
        return (other.column - cell.column + 1) % around - 1

    return [other for other in cells if abs(other.row - cell.row) <= 1 and steps_east(other) in (-1, 0, 1)]


def neighborhoods(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Return the `neighbors` of each cell by its name, in time linear in the number of cells."""
    if not cells:
        return {}
    around = _columns_around(cells[0].degrees)
    places = {(cell.row, cell.column % around): number for number, cell in enumerate(cells)}

    def numbers(cell: Cell) -> list[int]:
        near = {(cell.row + north, (cell.column + east) % around) for north in (-1, 0, 1) for east in (-1, 0, 1)}
        return sorted(places[place] for place in near if place in places)

    return {cell.name: [cells[number] for number in numbers(cell)] for cell in cells}


def columns_per_cell(cell: Cell) -> int:
    """Return the even number of 10 m columns that makes the pixel square in meters at the middle latitude."""
    middle = math.radians(float((cell.row + Fraction(1, 2)) * _exact(cell.degrees)))
    w = 1 - _ECCENTRICITY_SQUARED * math.sin(middle) ** 2
    # Radius of the parallel over the meridian's radius of curvature: a degree of longitude in degrees of latitude.
    ratio = math.cos(middle) * w / (1 - _ECCENTRICITY_SQUARED)
    return max(2, 2 * round(ROWS_PER_DEGREE * cell.degrees * ratio / 2))


def cell_grid(cell: Cell, *, margin_px: int = 0) -> RasterGrid:
    """Return the 10 m grid of a cell, extended by a margin on all sides.

    Parameters
    ----------
    cell : Cell
        The cell.
    margin_px : int
        Pixels beyond each edge.
    """
    rows = round(ROWS_PER_DEGREE * _exact(cell.degrees))
    columns = columns_per_cell(cell)
    west, _, _, north = cell.bounds
    core = RasterGrid(
        west=west,
        north=north,
        dx=cell.degrees / columns,
        dy=1 / ROWS_PER_DEGREE,
        width=columns,
        height=rows,
    )
    return core.crop(row=-margin_px, column=-margin_px, height=rows + 2 * margin_px, width=columns + 2 * margin_px)


def prediction_grid(cell: Cell) -> RasterGrid:
    """Return the 20 m grid of a cell, without margin."""
    return cell_grid(cell).coarsen(PREDICTION_FACTOR)


def elevation_grid(cell: Cell, *, margin_px: int) -> RasterGrid:
    """Return the grid of a cell at GLO-30 posting, reaching beyond the 10 m grid with its margin.

    GLO-30 has its pixel centers on the degree lines, so the origin is half a pixel outside them, and fewer
    columns per degree toward the poles.

    Parameters
    ----------
    cell : Cell
        The cell.
    margin_px : int
        Margin of the 10 m grid, pixels.
    """
    west, south, _, north = cell.bounds
    side = _exact(cell.degrees)
    # A cell is in one latitude band; its edge nearest to the equator decides, as for GLO-30's own tiles.
    latitude = min(abs(south), abs(north))
    per_degree = next((columns for limit, columns in GLO30_COLUMNS if latitude < limit), GLO30_COLUMNS[-1][1])
    fine = cell_grid(cell, margin_px=margin_px)
    dy = 1 / GLO30_ROWS_PER_DEGREE
    dx = 1 / per_degree
    # One posting more than the margin, so that interpolation has a neighbor everywhere.
    grow_rows = math.ceil(margin_px * fine.dy / dy) + 1
    grow_columns = math.ceil(margin_px * fine.dx / dx) + 1
    rows = round(side * GLO30_ROWS_PER_DEGREE) + 1 + 2 * grow_rows
    columns = round(side * per_degree) + 1 + 2 * grow_columns
    return RasterGrid(
        west=west - (grow_columns + 0.5) * dx,
        north=north + (grow_rows + 0.5) * dy,
        dx=dx,
        dy=dy,
        width=columns,
        height=rows,
    )


@dataclass(frozen=True)
class Tile:
    """A window of a raster, in pixels."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns to index an array with."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.column, self.column + self.width),
        )


def tiles(shape: tuple[int, int], *, tile_px: int, overlap_px: int) -> list[Tile]:
    """Cover a raster with square tiles that overlap at least `overlap_px`; the last ones clamp inward.

    Parameters
    ----------
    shape : (rows, columns)
        Size of the raster.
    tile_px : int
        Side of a tile. If the raster is smaller, one tile of the full size starts at 0 and the caller pads.
    overlap_px : int
        Minimum overlap of neighbors; smaller than `tile_px`.

    Returns
    -------
    list of Tile
        Row by row. Their union covers the raster; starts are even, so that a 20 m pixel is never cut.
    """
    if not 0 <= overlap_px < tile_px:
        raise InputError(
            f"The overlap of {overlap_px} px does not fit tiles of {tile_px} px.",
            "Choose an overlap from 0 to less than the tile.",
        )
    rows = _starts(shape[0], tile_px, overlap_px)
    columns = _starts(shape[1], tile_px, overlap_px)
    return [Tile(row, column, tile_px, tile_px) for row in rows for column in columns]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    # One pixel less, because rounding the starts to even pixels may shorten an overlap.
    count = 1 + math.ceil((length - tile) / max(1, tile - overlap - 1))
    # Spread evenly: every overlap is then as wide as the number of tiles allows.
    last = length - tile
    return sorted({last if i == count - 1 else (i * last // (count - 1)) // 2 * 2 for i in range(count)})


def _columns_around(degrees: float) -> int:
    """Return the number of cells around the world."""
    return round(int(FULL_CIRCLE) / _exact(degrees))


def _exact(degrees: float) -> Fraction:
    """Return the decimal fraction a user means by a float: 0.1 is one tenth."""
    return Fraction(repr(float(degrees)))


def _digits(degrees: float) -> int:
    """Return how many decimals the corners of cells of this size need."""
    denominator = _exact(degrees).denominator
    return next(digits for digits in range(7) if 10**digits % denominator == 0)
