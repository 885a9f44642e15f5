"""Labels from any lines and polygons: columns and kinds of national hydrographies become water types.

Where they are the NHD's own tables, `headwater.evaluate.nhd` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.evaluate.nhd import WATER_TYPES, is_known_code, water_types
from headwater.geo.features import TableKind, in_degrees, only, read_table, some
from headwater.geo.geodesy import METERS_PER_DEGREE
from headwater.geo.grid import CRS, Bounds

COLUMNS = ("fcode", "type", "width_m")
"""What a column may be taken for: a feature code of the NHD, a kind of one's own, a width in meters."""
NO_WATER = "none"
"""In place of a water type: features of that kind are left out."""
LINE_TYPE, POLYGON_TYPE = 20, 9
"""Water types of lines and polygons without a column that says more: stream, other; lake."""
MAX_WIDTH_M = 20_000.0
_TYPE_OF_NAME = {name: number for number, (name, _) in WATER_TYPES.items()} | {NO_WATER: 0}
_REMEDY = "Give lines as `lines` and polygons as `polygons`, in GeoPackage, GeoParquet, shapefile or another format."


@dataclass(frozen=True)
class LabelTables:
    """Tables of lines and polygons whose columns mean the same."""

    lines: tuple[str, ...] = ()
    """Files of lines."""
    polygons: tuple[str, ...] = ()
    """Files of polygons."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Their columns, by `COLUMNS`; without fcode and type all lines are `LINE_TYPE` and all polygons `POLYGON_TYPE`."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Name of the water type, or `NO_WATER`, by the values of the column `type`."""
    width_m: float = 0.0
    """Width of lines where no column has it, meters; lines are at least one pixel wide."""

    def __post_init__(self) -> None:
        if not self.lines and not self.polygons:
            raise InputError("Labels name neither lines nor polygons.", _REMEDY)
        unknown = sorted(set(self.columns) - set(COLUMNS))
        if unknown:
            raise InputError(
                f"labels.columns has {unknown[0]}, which is nothing that labels have.",
                f"The columns that can be named are {', '.join(COLUMNS)}.",
            )
        if {"fcode", "type"} <= set(self.columns):
            raise InputError("labels.columns names both fcode and type.", "Name the one that decides.")
        if bool(self.types) != ("type" in self.columns):
            raise InputError(
                "labels.types and labels.columns.type need each other.",
                "Name the column of the kinds in columns, and the water type of each of its values in types.",
            )
        for name in self.types.values():
            if name not in _TYPE_OF_NAME:
                close = get_close_matches(name, _TYPE_OF_NAME, n=1, cutoff=0.6)
                hint = f"Did you mean {close[0]}? " if close else ""
                raise InputError(
                    f"labels.types names {name!r}, which is not a water type.",
                    f"{hint}They are {', '.join(_TYPE_OF_NAME)}.",
                )
        if not 0 <= self.width_m <= MAX_WIDTH_M:
            raise InputError(f"labels.width_m is {self.width_m!r}.", f"Give meters from 0 to {MAX_WIDTH_M:g}.")


def read_labels(
    tables: Sequence[LabelTables], *, bounds: Bounds | None = None, tell: Callable[[str], None] = say
) -> gpd.GeoDataFrame:
    """Read lines and polygons with their water types.

    Features without geometry are left out. Lines wider than nothing are also there as the area that they cover.

    Parameters
    ----------
    tables : sequence of LabelTables
        The files, in any CRS.
    bounds : (west, south, east, north), optional
        Degrees: features outside need not be read.
    tell : callable
        Reports what is left out.

    Returns
    -------
    GeoDataFrame
        Columns water_type and geometry (EPSG:4326), in the order of burning.

    Raises
    ------
    InputError
        A file cannot be read, has no CRS, other shapes or no column of the name, a value of its column is not in
        `types`, or a width is not a number of meters.
    """
    parts = []
    for each in tables:
        seen: set[str] = set()
        parts += [_read(Path(path), "lines", each, bounds, seen, tell) for path in each.lines]
        parts += [_read(Path(path), "polygons", each, bounds, seen, tell) for path in each.polygons]
        idle = [value for value in each.types if value not in seen]
        if idle:
            tell(f"labels: no feature read has the value {some(idle)} of labels.types.")
    joined = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry", crs=CRS)
    return joined[joined["water_type"] > 0].sort_values("water_type", kind="stable", ignore_index=True)


def _read(
    path: Path,
    shapes: Literal["lines", "polygons"],
    labels: LabelTables,
    bounds: Bounds | None,
    seen: set[str],
    tell: Callable[[str], None],
) -> gpd.GeoDataFrame:
    kind = TableKind(f"labels of {shapes}", _REMEDY, shapes)
    table = read_table(path, kind, bounds=bounds)
    for name, column in labels.columns.items():
        # A width belongs to lines.
        if column not in table.columns and not (name == "width_m" and shapes == "polygons"):
            raise InputError(
                f"{path} has no column {column}, which labels.columns takes for {name}.",
                f"Its columns are {', '.join(map(str, table.columns.drop(table.geometry.name)))}.",
            )
    if table.crs is None:
        raise InputError(f"{path} has no coordinate reference system.", "Write its CRS into the file.")
    geometry = only(table.geometry.to_numpy(), kind, name=str(path))
    there = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
    if not there.all():
        tell(f"{path}: {(~there).sum()} of {len(table)} features have no geometry and are left out.")
    table = table[there]
    types = _types(table, shapes, labels, path, seen, tell)
    place = in_degrees(gpd.GeoDataFrame(geometry=shapely.force_2d(geometry[there]), crs=table.crs), path)
    found = place.geometry.to_numpy()
    if shapes == "lines":
        widths = _widths(table, labels, path)
        wide = widths > 0
        found = np.concatenate([found, areas_of_lines(found[wide], widths[wide])])
        types = np.concatenate([types, types[wide]])
    return gpd.GeoDataFrame({"water_type": types}, geometry=found, crs=CRS)


def _types(
    table: gpd.GeoDataFrame, shapes: str, labels: LabelTables, path: Path, seen: set[str], tell: Callable[[str], None]
) -> npt.NDArray[np.int64]:
    if "fcode" in labels.columns:
        codes = table[labels.columns["fcode"]]
        unknown = ~is_known_code(codes)
        if unknown.any():
            names = some(sorted(set(codes[unknown].astype(str))))
            tell(f"{path}: {unknown.sum()} features have codes unknown to the NHD ({names}); they are typed 'other'.")
        return water_types(codes)
    if "type" not in labels.columns:
        return np.full(len(table), LINE_TYPE if shapes == "lines" else POLYGON_TYPE, np.int64)
    values = [_text(value) for value in table[labels.columns["type"]]]
    seen.update(values)
    missing = sorted(set(values) - set(labels.types))
    if missing:
        raise InputError(
            f"Column {labels.columns['type']} of {path} has {some(missing)}, which labels.types does not list.",
            f"Give each a water type there, or {NO_WATER} to leave its features out.",
        )
    return np.array([_TYPE_OF_NAME[labels.types[value]] for value in values], np.int64)


def _text(value: Any) -> str:
    """Return a value as YAML has it for a key: 3.0 is 3, and what is missing is null."""
    if value is None or value is pd.NA or value != value:
        return "null"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _widths(table: gpd.GeoDataFrame, labels: LabelTables, path: Path) -> npt.NDArray[np.float64]:
    if "width_m" not in labels.columns:
        return np.full(len(table), labels.width_m)
    column = table[labels.columns["width_m"]]
    widths = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = (widths.isna() & column.notna()) | (widths < 0) | (widths > MAX_WIDTH_M)
    if wrong.any():
        raise InputError(
            f"{path} has the width {column[wrong].iloc[0]!r} in column {labels.columns['width_m']}.",
            f"Give meters from 0 to {MAX_WIDTH_M:g}, or nothing where the width is not known.",
        )
    return np.asarray(widths.fillna(labels.width_m), np.float64)


def areas_of_lines(lines: npt.NDArray[np.object_], widths_m: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
    """Return the areas that lines of a width cover.

    Parameters
    ----------
    lines : (n,) array of geometries
        Lines in EPSG:4326.
    widths_m : (n,) float
        Widths in meters.

    Returns
    -------
    (n,) array of polygons
        In EPSG:4326.
    """
    west, _, east, _ = shapely.bounds(lines).T if len(lines) else np.empty((4, 0))
    middle = (west + east) / 2
    # The sinusoidal projection about the middle of each line: true in area, and in shape near that middle.
    flat = _projected(lines, middle, forward=True)
    return _projected(shapely.buffer(flat, widths_m / 2, quad_segs=4), middle, forward=False)


def _projected(
    shapes: npt.NDArray[np.object_], middle: npt.NDArray[np.float64], *, forward: bool
) -> npt.NDArray[np.object_]:
    points, number = shapely.get_coordinates(shapes, return_index=True)
    x, y, center = points[:, 0], points[:, 1], middle[number] if len(points) else np.empty(0)
    per_degree = METERS_PER_DEGREE
    if forward:
        moved = np.column_stack([(x - center) * np.cos(np.radians(y)) * per_degree, y * per_degree])
    else:
        latitude = y / per_degree
        moved = np.column_stack([center + x / (np.cos(np.radians(latitude)) * per_degree), latitude])
    projected: npt.NDArray[np.object_] = shapely.set_coordinates(shapes.copy(), moved)
    return projected
