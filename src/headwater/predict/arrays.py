"""A prediction from arrays that lie whole in memory, to arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.models.base import Network
from headwater.models.channels import Float32Array, Recipe
from headwater.predict.ensemble import Member
from headwater.predict.pipeline import BoolArray, Options, predict_arrays


def predict_probability(
    model: Network,
    recipe: Recipe,
    composite: npt.NDArray[np.uint8],
    elevation: Float32Array,
    **options: object,
) -> tuple[Float32Array, BoolArray]:
    """Run a network over overlapping tiles and blend them; see `headwater.predict.predict_bands`.

    Parameters
    ----------
    model : Network
        In evaluation mode.
    recipe : Recipe
        The channels it was trained with.
    composite : (4, y, x) uint8
        N, R, G, B at 10 m; 0 is nodata.
    elevation : (y, x) float32
        Metres on the same grid; NaN where unknown.
    **options
        Fields of `headwater.predict.Options`.

    Returns
    -------
    probability : (y / s, x / s) float32
        0 to 1, s being the model's scale (2); 0 where not valid.
    valid : (y / s, x / s) bool
        False where no predicted tile reaches, and where the composite has no data in any pixel of the s x s block.
    """
    return predict_arrays([Member(model, recipe)], composite, elevation, Options(**options))  # type: ignore[arg-type]


def quantise(probability: Float32Array) -> npt.NDArray[np.uint8]:
    """Return probabilities as uint8, p * 255 rounded to the nearest."""
    quantised: npt.NDArray[np.uint8] = np.rint(probability * np.float32(255)).astype(np.uint8)
    return quantised
