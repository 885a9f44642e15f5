"""Augmentation: the eight symmetries of the square, and pixels dropped to the channel's mean.

Composite, elevation and label are turned before the channels are made, so that the differences of elevation point the
right way in every orientation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


def turn(array: npt.NDArray[Any], symmetry: int) -> npt.NDArray[Any]:
    """Return a view of an array (..., y, x) turned by quarter turns and mirrored.

    Parameters
    ----------
    array : (..., y, x)
        Any array whose last two axes are square in length.
    symmetry : int
        0 to 7: the low two bits are quarter turns, the third mirrors left and right; 0 leaves all in place.
    """
    if not 0 <= symmetry < 8:
        raise ValueError(f"a square has symmetries 0 to 7, not {symmetry}")
    turned = np.rot90(array, symmetry & 3, axes=(-2, -1))
    return turned[..., ::-1] if symmetry & 4 else turned


def drop_pixels(channels: Float32Array, share: float, rng: np.random.Generator) -> None:
    """Set a random share of pixels, in all channels alike, to each channel's mean, in place.

    Parameters
    ----------
    channels : (channel, y, x) float32
        Finished channels.
    share : float
        Expected share of pixels dropped, 0 to 1.
    rng : numpy Generator
        Source of randomness.
    """
    if share <= 0:
        return
    dropped = rng.random(channels.shape[1:], dtype=np.float32) < share
    for channel in channels:
        channel[dropped] = channel.mean(dtype=np.float64)
