"""The channels a network sees, made by one function for training, evaluation and prediction.

A recipe lists its channels in the network's order; one table (`headwater.models.features.FEATURES`) defines the sources
and the formula of each. The recipe (order, parameters, scaling, signs, constants) is data and is stored in every
checkpoint, so a network always gets the inputs it was trained on (Pierson and Mehrabi 2024, arXiv 2412.00050, and the
behavior of its release). To add a recipe, register one in `RECIPES` or by an entry point of another package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.elevations import in_range, is_elevation
from headwater.core.errors import InputError
from headwater.core.plugins import Registry
from headwater.core.sentinel2 import CHANNELS
from headwater.models.features import (
    ELEVATION,
    FEATURES,
    IMAGE_BANDS,
    BoolArray,
    Feature,
    Parameters,
    Tile,
    check_parameter,
)

Float32Array = npt.NDArray[np.float32]

PIXEL_M = 10.0
"""Pixel size in meters that a recipe is for by default."""
PIXEL_M_RANGE = (0.01, 10_000.0)
"""Pixel sizes in meters that a recipe may be for."""
MAX_CHANNELS = 64
"""Most channels of a recipe."""
_MAX_NUMBER, _MAX_LEVELS, _MAX_NAME = 1e9, 65_535, 100
_KEYS_IN_JSON = {"max_missing_fraction": "max_missing_share", "feature": "quantity"}
"""Names in JSON, by field: files keep their first names, so the same recipe gives the same bytes; both are read."""


def is_number(value: object, low: float, high: float) -> bool:
    """Return whether a value is a number from `low` to `high`; true, false and NaN are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


@dataclass(frozen=True)
class Scaling:
    """What is done to a channel's values after its formula; by default nothing."""

    low: float | None = None
    """Lower values are set to this."""
    high: float | None = None
    """Higher values are set to this."""
    levels: int = 0
    """If above 0, low to high is stretched to integers from 0 to this (255: 8 bits)."""
    gain: float = 1.0
    """Factor on the clipped or stretched values."""
    offset: float = 0.0
    """Added last."""

    def __post_init__(self) -> None:
        given = [value for value in (self.low, self.high) if value is not None]
        numbers = all(is_number(value, -_MAX_NUMBER, _MAX_NUMBER) for value in (*given, self.gain, self.offset))
        if not numbers or type(self.levels) is not int or self.levels > _MAX_LEVELS:
            raise InputError(
                "A scaling of a channel has a value that is not a number, or too large.",
                f"Give numbers up to {_MAX_NUMBER:g}, and whole levels up to {_MAX_LEVELS}.",
            )
        if self.levels < 0 or (self.levels and (self.low is None or self.high is None)):
            raise InputError(f"A scaling of {self.levels} levels lacks its range.", "Give it low and high.")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"A scaling from {self.low} to {self.high} is empty.", "Give low below high.")

    def apply(self, values: Float32Array) -> None:
        """Scale values in place; NaN stays."""
        if self.low is not None or self.high is not None:
            np.clip(values, self.low, self.high, out=values)
        if self.levels and self.low is not None and self.high is not None:
            values -= np.float32(self.low)
            values *= np.float32(self.levels / (self.high - self.low))
            np.rint(values, out=values)
        if self.gain != 1:
            values *= np.float32(self.gain)
        if self.offset != 0:
            values += np.float32(self.offset)

    def describe(self) -> str:
        """Describe the scaling in words."""
        parts = []
        if self.low is not None or self.high is not None:
            low, high = ("..." if bound is None else f"{bound:g}" for bound in (self.low, self.high))
            parts.append(f"clipped to {low} to {high}")
        if self.levels:
            parts.append(f"stretched to whole numbers 0 to {self.levels}")
        if (self.gain, self.offset) != (1, 0):
            parts.append(f"times {self.gain:g} plus {self.offset:g}")
        return ", ".join(parts) or "none"


@dataclass(frozen=True)
class Channel:
    """One channel of a recipe: a feature with its parameters and scaling."""

    name: str
    """Name within the recipe."""
    feature: str = ""
    """Key of `headwater.models.features.FEATURES`; by default the name."""
    parameters: Parameters = field(default_factory=dict, hash=False)
    """Parameters of the feature; its defaults are filled in."""
    scaling: Scaling = Scaling()
    """Scaling of its values."""

    def __post_init__(self) -> None:
        feature = self.feature or self.name
        if feature not in FEATURES:
            raise InputError(f"There is no channel {feature!r}.", f"Use some of: {', '.join(FEATURES)}.")
        if not isinstance(self.parameters, Mapping):
            raise InputError(
                f"The parameters of the channel {self.name!r} are {repr(self.parameters)[:40]}.",
                "Give a table of them.",
            )
        defaults = FEATURES[feature].parameters
        unknown = sorted(set(self.parameters) - set(defaults))
        if unknown:
            raise InputError(
                f"The channel {self.name!r} has no parameter {', '.join(unknown)}.",
                f"Use some of: {', '.join(defaults) or 'none, it takes no parameters'}.",
            )
        object.__setattr__(self, "feature", feature)
        object.__setattr__(self, "parameters", {**defaults, **self.parameters})
        for name, value in self.parameters.items():
            check_parameter(name, value, defaults[name])

    @property
    def definition(self) -> Feature:
        """Its feature, a row of the table."""
        return FEATURES[self.feature]

    def to_json(self) -> str | dict[str, Any]:
        """Return the channel as JSON stores it: only its name if it has no parameters and no scaling."""
        if self.name == self.feature and not self.parameters and self.scaling == Scaling():
            return self.name
        scaling = {key: value for key, value in asdict(self.scaling).items() if value != getattr(Scaling(), key)}
        return {
            "name": self.name,
            _KEYS_IN_JSON["feature"]: self.feature,
            "parameters": dict(self.parameters),
            **({"scaling": scaling} if scaling else {}),
        }

    @staticmethod
    def from_json(value: str | Channel | Mapping[str, Any]) -> Channel:
        """Read a channel from JSON; refuse unknown keys with an InputError."""
        if isinstance(value, Channel):
            return value
        if isinstance(value, str):
            return Channel(value)
        if not isinstance(value, Mapping) or not all(map(_is_name, (value.get("name"), _feature_in(value)))):
            raise InputError(
                f"A channel of the recipe is {repr(value)[:40]}.", "Use the recipe written with the checkpoint."
            )
        try:
            return Channel(**{**_fields_of_json(value), "scaling": Scaling(**value.get("scaling", {}))})
        except (AttributeError, TypeError) as error:
            raise InputError(
                f"A channel of the recipe cannot be read ({error}).", "Use the recipe written with the checkpoint."
            ) from error


@dataclass(frozen=True)
class Recipe:
    """How a network's channels are made from a composite and its elevation."""

    name: str
    """Name of the recipe."""
    channels: tuple[Channel, ...] = CHANNELS  # type: ignore[assignment]
    """The channels in the network's order; a name stands for the channel with that name and defaults."""
    index_epsilon: float = 0.0
    """Added to the denominators of NDVI and NDWI, for bands from 0 to 1."""
    dy_sign: int = 1
    """1: dE/dy is positive where the terrain rises southward (down the rows); -1: northward."""
    max_missing_fraction: float = 0.5
    """A tile with a larger fraction of missing pixels is not predicted."""
    pixel_m: float = PIXEL_M
    """Pixel size in meters it is for; angles, slopes and areas use it, radii are in pixels."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(Channel.from_json(channel) for channel in self.channels))
        names = self.names
        if len(names) > MAX_CHANNELS:
            raise InputError(
                f"The channel recipe {self.name!r} lists {len(names)} channels.", f"List at most {MAX_CHANNELS}."
            )
        if not names or len(set(names)) != len(names):
            raise InputError(
                f"The channel recipe {self.name!r} lists {', '.join(names) or 'no channels'}.",
                "List each channel once, at least one.",
            )
        ranges = ((self.index_epsilon, 0, 1), (self.max_missing_fraction, 0, 1), (self.pixel_m, *PIXEL_M_RANGE))
        if not all(is_number(*each) for each in ranges) or self.dy_sign not in (1, -1) or self.dy_sign is True:
            raise InputError(
                f"The channel recipe {self.name!r} has a value out of range.",
                "Use dy_sign 1 or -1, max_missing_fraction and index_epsilon from 0 to 1, and pixel_m from"
                f" {PIXEL_M_RANGE[0]:g} to {PIXEL_M_RANGE[1]:g}.",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels in order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def sources(self) -> tuple[str, ...]:
        """Bands of the composite it reads, and `ELEVATION` if it reads that."""
        return tuple(dict.fromkeys(source for channel in self.channels for source in channel.definition.sources))

    @property
    def support_px(self) -> float:
        """How far from a pixel its channels look, in pixels; infinite if all terrain upstream counts."""
        return max(channel.definition.support_px(channel.parameters) for channel in self.channels)

    @property
    def reads_entire_tile(self) -> bool:
        """Whether a channel depends on the extremes of the tile, so that overlapping tiles differ and seams appear."""
        return any(channel.definition.reads_entire_tile(channel.parameters) for channel in self.channels)

    def describe(self) -> list[dict[str, Any]]:
        """Return name, source, formula, parameters and scaling of each channel, for people who read a checkpoint."""
        constants = {"epsilon": f"{self.index_epsilon:g}", "sign": "" if self.dy_sign > 0 else "-"}
        return [
            {
                "name": channel.name,
                "source": ["elevation" if source == ELEVATION else source for source in channel.definition.sources],
                "formula": channel.definition.formula.format(**constants),
                "parameters": dict(channel.parameters),
                "scaling": channel.scaling.describe(),
                "unit": channel.definition.unit,
            }
            for channel in self.channels
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON stores it."""
        names = [item.name for item in fields(self)]
        values: dict[str, Any] = {_KEYS_IN_JSON.get(name, name): getattr(self, name) for name in names}
        values["channels"] = [channel.to_json() for channel in self.channels]
        if self.pixel_m == PIXEL_M:
            # As written before recipes had a pixel size, so that the same recipe gives the same bytes.
            del values["pixel_m"]
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """Read a recipe from JSON; unknown and missing keys are refused with an InputError."""
        values = _fields_of_json(values) if isinstance(values, dict) else {}
        unknown = set(values) - {item.name for item in fields(Recipe)}
        listed = isinstance(values.get("channels"), list | tuple) and _is_name(values.get("name"))
        if unknown or not listed:
            raise InputError(
                f"The channel recipe has unknown keys ({', '.join(sorted(unknown)) or 'none'}) or no name or channels.",
                "Use the recipe that was written with the checkpoint.",
            )
        return Recipe(**{**values, "channels": tuple(values["channels"])})


def make_channels(
    composite: npt.NDArray[np.uint8] | None,
    elevation: Float32Array | None,
    recipe: Recipe,
    *,
    bands: Sequence[str] = IMAGE_BANDS,
    halo_px: tuple[int, int, int, int] = (0, 0, 0, 0),
    fill: bool = True,
) -> tuple[Float32Array, float]:
    """Return the network's input for one tile.

    Parameters
    ----------
    composite : (band, y, x) uint8, optional
        The image; 0 is nodata. None for recipes of relief alone.
    elevation : (y, x) float32, optional
        Meters on the same grid; NaN where unknown. None for recipes of imagery alone.
    recipe : Recipe
        Channels with their order, signs and constants.
    bands : sequence of str
        Names of the composite's bands, in its order.
    halo_px : (top, bottom, left, right)
        Pixels at each side that are read but not returned (`Recipe.support_px` is the useful width). With them the
        channels of a tile equal those of the complete raster, unless the recipe `reads_entire_tile`.
    fill : bool
        Whether missing pixels of a channel hold its mean (0 if all are missing), as networks need; else NaN.

    Returns
    -------
    channels : (channel, y, x) float32
        Finite everywhere if filled.
    missing_fraction : float
        Fraction of pixels at which at least one channel was missing, 0 to 1.

    Raises
    ------
    InputError
        A band or the elevation is missing, or the grids differ.
    """
    tile = _tile(composite, elevation, recipe, bands, halo_px)
    out = np.empty((len(recipe.channels), *tile.shape), dtype=np.float32)
    missing_any = np.zeros(tile.shape, dtype=bool)
    for channel, values in zip(recipe.channels, out, strict=True):
        definition = channel.definition
        definition.write(tile, channel.parameters, values)
        channel.scaling.apply(values)
        # Unknown heights spread to the differences of their neighbors, so each channel has its own gaps.
        gaps = tile.unknown(values) if ELEVATION in definition.sources else tile.nodata(definition.sources)
        if gaps is not None:
            missing_any |= gaps
            if fill:
                _fill_with_mean(values, gaps)
            else:
                values[gaps] = np.nan
    return out, float(missing_any.mean())


def _tile(
    composite: npt.NDArray[np.uint8] | None,
    elevation: Float32Array | None,
    recipe: Recipe,
    bands: Sequence[str],
    halo_px: tuple[int, int, int, int],
) -> Tile:
    """Combine the inputs, refusing those that do not fit."""
    have = dict(zip(bands, composite, strict=False)) if composite is not None else {}
    missing = [source for source in recipe.sources if source != ELEVATION and source not in have]
    if missing:
        raise InputError(
            f"The channel recipe {recipe.name!r} needs the band {missing[0]}, which is not there.",
            f"Give an image with {', '.join(source for source in recipe.sources if source != ELEVATION)}.",
        )
    if elevation is None and ELEVATION in recipe.sources:
        raise InputError(
            f"The channel recipe {recipe.name!r} needs the elevation, which is not there.", "Give it in meters."
        )
    shapes = [array.shape for array in (composite, elevation) if array is not None]
    if any(shape[-2:] != shapes[0][-2:] for shape in shapes) or (composite is not None and len(composite) != len(have)):
        raise InputError(
            f"The composite has shape {composite.shape if composite is not None else None} and the elevation "
            f"{elevation.shape if elevation is not None else None}.",
            f"Give {len(bands)} bands and an elevation on the same grid.",
        )
    rows, columns = shapes[0][-2:]
    top, bottom, left, right = halo_px
    core = (slice(top, rows - bottom), slice(left, columns - right))
    # NaN is in no range. What cannot be an elevation is as good as unknown.
    known = elevation is None or not elevation.size or in_range(elevation)
    if elevation is not None and not known:
        elevation = np.where(is_elevation(elevation), elevation, np.float32(np.nan))
    return Tile(
        bands=have,
        elevation=elevation,
        elevation_known=known,
        index_epsilon=recipe.index_epsilon,
        dy_sign=recipe.dy_sign,
        pixel_m=recipe.pixel_m,
        core=core,
        shape=(rows - top - bottom, columns - left - right),
    )


PAPER = Recipe(name="paper")
"""As in the text of the paper."""
RELEASE = Recipe(
    name="release",
    channels=("N", "R", "G", "B", "NDWI", "NDVI", "elevation", "dE/dx", "dE/dy", "gradient"),  # type: ignore[arg-type]
    index_epsilon=1e-9,
    dy_sign=-1,
)
"""As the published program trains."""
RELATIVE = Recipe(
    name="relative",
    channels=tuple(Channel("relative_elevation" if name == "elevation" else name) for name in CHANNELS),
)
"""The paper's, with the elevation above a local smooth surface instead of the tile's minimum, which makes seams."""
_OF_DRAINAGE = {"elevation": "relative_elevation", "gradient": "upslope_area"}
DRAINAGE = Recipe(name="drainage", channels=tuple(Channel(_OF_DRAINAGE.get(name, name)) for name in CHANNELS))
"""The same with the upslope area instead of the gradient, which follows from the two differences."""
IMAGERY = Recipe(name="imagery", channels=CHANNELS[:6])  # type: ignore[arg-type]
"""The channels of the image alone."""
RELIEF = Recipe(name="relief", channels=RELATIVE.channels[6:])
"""The channels of the elevation alone."""
_EIGHT_BITS = 255
ESRI_STREAMS = Recipe(
    name="esri_streams",
    channels=(
        Channel("TPI", parameters={"radius_px": 3}, scaling=Scaling(low=-5, high=5, levels=_EIGHT_BITS)),
        Channel("geomorphon", scaling=Scaling(low=1, high=10, levels=_EIGHT_BITS)),
        Channel("TWI", scaling=Scaling(low=0, high=25, levels=_EIGHT_BITS)),
    ),
    pixel_m=5.0,
)
"""Three channels of relief as bytes, for streams from a fine elevation model, in fixed ranges."""
_UNIT = Scaling(gain=0.5, offset=0.5)
EVANET = Recipe(
    name="evanet",
    channels=(*(Channel(band, scaling=_UNIT) for band in "RGB"), Channel("min_max_elevation")),
)
"""Image and elevation, both scaled to 0..1; the elevation is last."""
EVANET_RELEASE = Recipe(
    name="evanet_release", channels=(*(Channel(band) for band in "RGB"), Channel("min_max_elevation"))
)
"""The same with the image scaled to -1..1, as the published program of EvaNet trains."""
RECIPES: Registry[Recipe] = Registry(
    "channel recipe",
    group="headwater.recipes",
    builtin={
        "paper": "headwater.models.channels:PAPER",
        "release": "headwater.models.channels:RELEASE",
        "relative": "headwater.models.channels:RELATIVE",
        "drainage": "headwater.models.channels:DRAINAGE",
        "imagery": "headwater.models.channels:IMAGERY",
        "relief": "headwater.models.channels:RELIEF",
        "esri_streams": "headwater.models.channels:ESRI_STREAMS",
        "evanet": "headwater.models.channels:EVANET",
        "evanet_release": "headwater.models.channels:EVANET_RELEASE",
    },
)
"""Recipes by name."""


def _fields_of_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON with the names of fields for those of `_KEYS_IN_JSON`."""
    field_of = {key: name for name, key in _KEYS_IN_JSON.items()}
    return {field_of.get(key, key): value for key, value in values.items()}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_NAME and value.isprintable()


def _feature_in(channel: Mapping[str, Any]) -> Any:
    """Return the name of a channel's feature in JSON, empty where it is the channel's own."""
    return next((channel[key] for key in ("feature", _KEYS_IN_JSON["feature"]) if key in channel), "")


def _fill_with_mean(channel: Float32Array, gaps: BoolArray) -> None:
    known = channel[~gaps]
    # Summed in double precision: the mean must not depend on the position of the gaps in the tile.
    channel[gaps] = known.mean(dtype=np.float64) if known.size else 0.0
