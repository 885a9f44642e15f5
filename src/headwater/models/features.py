"""The features a channel can show: one table, each with its sources, formula and parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from headwater.core.errors import InputError
from headwater.core.sentinel2 import COMPOSITE_NODATA
from headwater.terrain import relief

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Parameters = Mapping[str, float | None]

IMAGE_BANDS = ("N", "R", "G", "B")
"""Bands of the composite in its order."""
ELEVATION = "E"
"""Source of the channels of relief: the elevation in meters."""


@dataclass(frozen=True)
class Tile:
    """Input of the formulas."""

    bands: Mapping[str, npt.NDArray[np.uint8]]
    """(y, x) each, with the halo."""
    elevation: Float32Array | None
    """(y, x) meters with the halo; NaN where unknown."""
    elevation_known: bool
    """Whether the elevation is known everywhere."""
    index_epsilon: float
    """Added to the denominators of the indices."""
    dy_sign: int
    """Sign of dE/dy: 1 if it is positive southward."""
    pixel_m: float
    """Side of a pixel in meters."""
    core: tuple[slice, slice]
    """The tile without its halo."""
    shape: tuple[int, int]
    """Rows and columns of the core."""

    @property
    def height(self) -> Float32Array:
        """(y, x) meters with the halo."""
        assert self.elevation is not None
        return self.elevation

    @cached_property
    def slope_x(self) -> Float32Array:
        """Rise to the east of the core, in meters per pixel."""
        return relief.central_difference(self.height, axis=1)[self.core]

    @cached_property
    def slope_y(self) -> Float32Array:
        """Rise to the south of the core, in meters per pixel."""
        return relief.central_difference(self.height, axis=0)[self.core]

    def band(self, name: str) -> npt.NDArray[np.uint8]:
        """(y, x) uint8 of one band, of the core."""
        return self.bands[name][self.core]

    def nodata(self, names: Sequence[str]) -> BoolArray | None:
        """Where any of these bands has no data; None if all have data everywhere."""
        gaps = np.zeros(self.shape, dtype=bool)
        for name in names:
            gaps |= self.band(name) == COMPOSITE_NODATA
        return gaps if gaps.any() else None

    def unknown(self, values: Float32Array) -> BoolArray | None:
        """Where a channel made from the elevation is unknown; None if it is known everywhere."""
        return None if self.elevation_known else ~np.isfinite(values)


@dataclass(frozen=True)
class Feature:
    """One thing a channel can show."""

    sources: tuple[str, ...]
    """Bands of the composite, or `ELEVATION`."""
    formula: str
    """For people; v is a band's byte, E the elevation in meters. {epsilon} and {sign} are the recipe's."""
    unit: str
    """Unit of its values before scaling."""
    write: Callable[[Tile, Parameters, Float32Array], None]
    """Writes a tile's values; NaN where they are unknown."""
    parameters: Parameters = field(default_factory=dict)
    """Names and defaults of its parameters."""
    support_px: Callable[[Parameters], float] = lambda _: 0
    """How far from a pixel it looks, in pixels."""
    reads_entire_tile: Callable[[Parameters], bool] = lambda _: False
    """Whether it depends on the extremes of the tile."""


_REFLECTANCE = (np.arange(256) * 2 / 255 - 1).astype(np.float32)


def _write_band(name: str) -> Callable[[Tile, Parameters, Float32Array], None]:
    def write(tile: Tile, _: Parameters, out: Float32Array) -> None:
        np.take(_REFLECTANCE, tile.band(name), out=out)

    return write


def _write_normalized_difference(first: str, second: str) -> Callable[[Tile, Parameters, Float32Array], None]:
    def write(tile: Tile, _: Parameters, out: Float32Array) -> None:
        # The formula is for bands on 0..1; the ratio is the same for bands on 0..255.
        a, b = (tile.band(name).astype(np.float32) for name in (first, second))
        np.subtract(a, b, out=out)
        total = a + b
        total += np.float32(255 * tile.index_epsilon)
        # Where both bands are missing any finite value will do: the pixel is filled later.
        total[total == 0] = 1
        out /= total

    return write


def _write_shifted(tile: Tile, _: Parameters, out: Float32Array) -> None:
    height = tile.height[tile.core]
    np.subtract(height, np.fmin.reduce(height, axis=None), out=out)


def _write_slope_x(tile: Tile, _: Parameters, out: Float32Array) -> None:
    out[...] = tile.slope_x


def _write_slope_y(tile: Tile, _: Parameters, out: Float32Array) -> None:
    np.multiply(tile.slope_y, np.float32(tile.dy_sign), out=out)


def _write_gradient(tile: Tile, _: Parameters, out: Float32Array) -> None:
    np.hypot(tile.slope_x, tile.slope_y, out=out)


def _write_relative(tile: Tile, parameters: Parameters, out: Float32Array) -> None:
    out[...] = relief.relative_elevation(tile.height, radius_px=_integer(parameters, "radius_px"))[tile.core]


def _write_min_max(tile: Tile, parameters: Parameters, out: Float32Array) -> None:
    out[...] = relief.min_max_elevation(tile.height[tile.core], low_m=parameters["low_m"], high_m=parameters["high_m"])


def _write_position(tile: Tile, parameters: Parameters, out: Float32Array) -> None:
    out[...] = relief.topographic_position(
        tile.height,
        radius_px=_integer(parameters, "radius_px"),
        inner_px=_integer(parameters, "inner_px"),
        square=bool(parameters["square"]),
    )[tile.core]


def _write_geomorphons(tile: Tile, parameters: Parameters, out: Float32Array) -> None:
    landform = relief.geomorphons(
        tile.height,
        pixel_m=tile.pixel_m,
        search_px=_integer(parameters, "search_px"),
        skip_px=_integer(parameters, "skip_px"),
        flat_degrees=_number(parameters, "flat_degrees"),
    )[tile.core]
    out[...] = landform
    out[landform == 0] = np.nan


def _write_wetness(tile: Tile, parameters: Parameters, out: Float32Array) -> None:
    out[...] = relief.topographic_wetness(
        tile.height, pixel_m=tile.pixel_m, min_slope=_number(parameters, "min_slope")
    )[tile.core]


def _write_upslope_area(tile: Tile, parameters: Parameters, out: Float32Array) -> None:
    out[...] = relief.upslope_area(
        tile.height,
        pixel_m=tile.pixel_m,
        smoothing_px=_number(parameters, "smoothing_px"),
        max_km2=_number(parameters, "most_km2"),
    )[tile.core]


def _number(parameters: Parameters, name: str) -> float:
    value = parameters[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"The parameter {name} of a channel is {value!r}.", "Give it a number.")
    return value


def _integer(parameters: Parameters, name: str) -> int:
    value = _number(parameters, name)
    if value != int(value):
        raise InputError(f"The parameter {name} of a channel is {value!r}.", "Give it a whole number of pixels.")
    return int(value)


def _band(name: str) -> Feature:
    return Feature((name,), f"2 v({name}) / 255 - 1", "-1 to 1", _write_band(name))


MAX_RADIUS_PX = 512
"""Largest radius of a feature: a tile has as many pixels more on each side, or three times as many."""
PARAMETER_LIMITS: Mapping[str, tuple[float, float]] = {
    "radius_px": (1, MAX_RADIUS_PX),
    "inner_px": (0, MAX_RADIUS_PX),
    "search_px": (1, MAX_RADIUS_PX),
    "skip_px": (0, MAX_RADIUS_PX),
    "smoothing_px": (0, 64),
    "square": (0, 1),
    "flat_degrees": (0, 90),
    "min_slope": (1e-9, 100),
    "most_km2": (1e-6, 1e9),
    "low_m": (-1e6, 1e6),
    "high_m": (-1e6, 1e6),
}
"""Least and largest values of parameters."""
_WHOLE = ("radius_px", "inner_px", "search_px", "skip_px", "square")


def check_parameter(name: str, value: object, default: float | None) -> None:
    """Refuse a value that a parameter cannot have.

    Raises
    ------
    InputError
        It is not a number, not in the range of the parameter, or not whole where pixels are counted.
    """
    if value is None and default is None:
        return
    low, high = PARAMETER_LIMITS.get(name, (-1e9, 1e9))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN is not between anything.
    if not is_number or not low <= value <= high or (name in _WHOLE and value != int(value)):  # type: ignore[operator, call-overload]
        kind = "whole number" if name in _WHOLE else "number"
        raise InputError(
            f"The parameter {name} of a channel is {repr(value)[:40]}.", f"Give it a {kind} from {low:g} to {high:g}."
        )


FEATURES: Mapping[str, Feature] = {
    **{name: _band(name) for name in IMAGE_BANDS},
    "NDVI": Feature(
        ("N", "R"), "(N - R) / (N + R + {epsilon}) on v / 255", "-1 to 1", _write_normalized_difference("N", "R")
    ),
    "NDWI": Feature(
        ("G", "N"), "(G - N) / (G + N + {epsilon}) on v / 255", "-1 to 1", _write_normalized_difference("G", "N")
    ),
    "elevation": Feature(
        (ELEVATION,), "E - min(E) over the tile", "m", _write_shifted, reads_entire_tile=lambda _: True
    ),
    "dE/dx": Feature(
        (ELEVATION,), "(E[r, c + 1] - E[r, c - 1]) / 2", "m per pixel", _write_slope_x, support_px=lambda _: 1
    ),
    "dE/dy": Feature(
        (ELEVATION,), "{sign}(E[r + 1, c] - E[r - 1, c]) / 2", "m per pixel", _write_slope_y, support_px=lambda _: 1
    ),
    "gradient": Feature(
        (ELEVATION,), "sqrt((dE/dx)^2 + (dE/dy)^2)", "m per pixel", _write_gradient, support_px=lambda _: 1
    ),
    "relative_elevation": Feature(
        (ELEVATION,),
        "E - its running mean over squares of 2 radius_px + 1 pixels, taken three times over",
        "m",
        _write_relative,
        {"radius_px": 32},
        support_px=lambda p: relief.SMOOTHING_PASSES * _integer(p, "radius_px"),
    ),
    "min_max_elevation": Feature(
        (ELEVATION,),
        "(E - low_m) / (high_m - low_m), clipped to 0 to 1; by default between the tile's min(E) and max(E)",
        "0 to 1",
        _write_min_max,
        {"low_m": None, "high_m": None},
        reads_entire_tile=lambda p: p["low_m"] is None or p["high_m"] is None,
    ),
    "TPI": Feature(
        (ELEVATION,),
        "E - mean(E) over the disc (square: 1, the square) of radius_px without that nearer than inner_px",
        "m",
        _write_position,
        {"radius_px": 3, "inner_px": 0, "square": 0},
        support_px=lambda p: _integer(p, "radius_px"),
    ),
    "geomorphon": Feature(
        (ELEVATION,),
        "landform 1 to 10 by lines of sight in 8 directions from skip_px to search_px, flat below flat_degrees",
        "1 flat, 2 peak, 3 ridge, 4 shoulder, 5 spur, 6 slope, 7 hollow, 8 footslope, 9 valley, 10 pit",
        _write_geomorphons,
        {"search_px": 10, "skip_px": 0, "flat_degrees": 1.0},
        support_px=lambda p: _integer(p, "search_px"),
    ),
    "TWI": Feature(
        (ELEVATION,),
        "ln(a / tan b): D8 upstream area per pixel's width, slope of at least min_slope, depressions filled",
        "ln(m)",
        _write_wetness,
        {"min_slope": 1e-3},
        support_px=lambda _: math.inf,
    ),
    "upslope_area": Feature(
        (ELEVATION,),
        "log10 of the D8 upstream area, at most most_km2, on E smoothed by smoothing_px, depressions filled",
        "log10(km2)",
        _write_upslope_area,
        {"smoothing_px": 1.5, "most_km2": 1.0},
        support_px=lambda _: math.inf,
    ),
}
"""All features; a recipe that names any other is refused."""
