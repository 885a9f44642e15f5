"""The ten channels a network sees, made by one function for training, evaluation and prediction.

The recipe (order, signs, constants) is a value stored in every checkpoint, so a network cannot be served other inputs
than it was trained on (Pierson and Mehrabi 2024, arXiv 2412.00050, and the behaviour of its release).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.bands import CHANNELS, COMPOSITE_NODATA
from headwater.errors import InputError

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """How the ten channels are made from a composite and its elevation."""

    name: str
    """Profile this recipe belongs to, for people."""
    channels: tuple[str, ...] = CHANNELS
    """Names of the channels (headwater.bands.CHANNELS) in the network's order."""
    index_epsilon: float = 0.0
    """Added to the denominators of NDVI and NDWI, whose bands run from 0 to 1."""
    dy_sign: int = 1
    """1: dE/dy is positive where the terrain rises southward (down the rows); -1: northward."""
    max_missing_share: float = 0.5
    """A tile in which a larger share of pixels is missing is not predicted."""

    def __post_init__(self) -> None:
        if sorted(self.channels) != sorted(CHANNELS):
            raise InputError(
                f"The channel recipe {self.name!r} lists {', '.join(self.channels)}.",
                f"List each of {', '.join(CHANNELS)} once.",
            )
        if self.dy_sign not in (1, -1) or not 0 <= self.max_missing_share <= 1:
            raise InputError(
                f"The channel recipe {self.name!r} has a value out of range.",
                "Use dy_sign 1 or -1 and max_missing_share from 0 to 1.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON stores it."""
        return {**asdict(self), "channels": list(self.channels)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """Read a recipe from JSON; unknown and missing keys are refused with an InputError."""
        unknown = set(values) - {field.name for field in fields(Recipe)}
        if unknown or "name" not in values or "channels" not in values:
            raise InputError(
                f"The channel recipe has unknown keys ({', '.join(sorted(unknown)) or 'none'}) or no name or channels.",
                "Use the recipe that was written with the checkpoint.",
            )
        return Recipe(**{**values, "channels": tuple(values["channels"])})


PAPER = Recipe(name="paper")
"""As the paper's text has it."""
RELEASE = Recipe(
    name="release",
    channels=("N", "R", "G", "B", "NDWI", "NDVI", "elevation", "dE/dx", "dE/dy", "gradient"),
    index_epsilon=1e-9,
    dy_sign=-1,
)
"""As the published program trains."""
RECIPES = {recipe.name: recipe for recipe in (PAPER, RELEASE)}


def make_channels(
    composite: npt.NDArray[np.uint8], elevation: Float32Array, recipe: Recipe
) -> tuple[Float32Array, float]:
    """Return the network's input for one tile.

    Parameters
    ----------
    composite : (4, y, x) uint8
        N, R, G, B; 0 is nodata.
    elevation : (y, x) float32
        Metres on the same grid; NaN where unknown.
    recipe : Recipe
        Order, signs and constants.

    Returns
    -------
    channels : (10, y, x) float32
        Finite everywhere: a channel's missing pixels hold that channel's mean (0 if all are missing).
    missing_share : float
        Share of pixels at which at least one channel was missing, 0 to 1.
    """
    if composite.shape != (4, *elevation.shape):
        raise InputError(
            f"The composite has shape {composite.shape} and the elevation {elevation.shape}.",
            "Give four bands and an elevation on the same grid.",
        )
    out = np.empty((len(recipe.channels), *elevation.shape), dtype=np.float32)
    where = {name: out[position] for position, name in enumerate(recipe.channels)}
    missing_bands = composite == COMPOSITE_NODATA
    missing = dict(zip("NRGB", missing_bands, strict=True))

    nir, red, green, _ = (band.astype(np.float32) for band in composite)
    for name, band in zip("NRGB", composite, strict=True):
        np.take(_REFLECTANCE, band, out=where[name])
    _normalized_difference(nir, red, recipe.index_epsilon, out=where["NDVI"])
    _normalized_difference(green, nir, recipe.index_epsilon, out=where["NDWI"])
    missing["NDVI"] = missing["N"] | missing["R"]
    missing["NDWI"] = missing["N"] | missing["G"]

    _elevation_channels(elevation, recipe, where)
    elevation_known = bool(np.isfinite(elevation).all())
    missing_any = missing_bands.any(axis=0)
    for name in ("elevation", "dE/dx", "dE/dy", "gradient"):
        # Unknown heights spread to the differences of their neighbours, each channel has its own gaps.
        missing[name] = _NONE if elevation_known else ~np.isfinite(where[name])
        missing_any = missing_any | missing[name]
    for name, gaps in missing.items():
        _fill_with_mean(where[name], gaps)
    return out, float(missing_any.mean())


_REFLECTANCE = (np.arange(256) * 2 / 255 - 1).astype(np.float32)
_NONE = np.zeros((), dtype=bool)


def _normalized_difference(a: Float32Array, b: Float32Array, epsilon: float, *, out: Float32Array) -> None:
    """Write (a - b) / (a + b + epsilon) of bands on 0..1; a and b are given on 0..255, which the ratio does not see."""
    np.subtract(a, b, out=out)
    total = a + b
    total += np.float32(255 * epsilon)
    # Both bands missing: the pixel is filled later, any finite value will do.
    total[total == 0] = 1
    out /= total


def _elevation_channels(elevation: Float32Array, recipe: Recipe, where: Mapping[str, Float32Array]) -> None:
    """Write the shifted elevation, its differences per pixel and their length; NaN where a height is unknown."""
    height = np.where(np.isfinite(elevation), elevation, np.float32(np.nan))
    lowest = np.fmin.reduce(height, axis=None)
    np.subtract(height, lowest, out=where["elevation"])
    dx, dy = where["dE/dx"], where["dE/dy"]
    _central_difference(height.T, out=dx.T)
    _central_difference(height, out=dy)
    np.hypot(dx, dy, out=where["gradient"])
    if recipe.dy_sign < 0:
        np.negative(dy, out=dy)


def _central_difference(height: Float32Array, *, out: Float32Array) -> None:
    """Write half the difference of the next and the previous row, one-sided in the first and last."""
    if len(height) < 2:
        out[...] = 0
        return
    np.subtract(height[2:], height[:-2], out=out[1:-1])
    out[1:-1] *= np.float32(0.5)
    np.subtract(height[1], height[0], out=out[0])
    np.subtract(height[-1], height[-2], out=out[-1])


def _fill_with_mean(channel: Float32Array, gaps: npt.NDArray[np.bool_]) -> None:
    if not gaps.any():
        return
    known = channel[~gaps]
    # Summed in double precision: the mean must not depend on where in the tile the gaps lie.
    channel[gaps] = known.mean(dtype=np.float64) if known.size else 0.0
