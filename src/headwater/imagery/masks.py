"""Cloud masks: where a scene shows the ground clearly; the registry of masks.

A mask is a `CloudMask` in one file. Other packages register theirs in the entry point group "headwater.masks". The SCL
classes that count as clear are in `headwater.core.sentinel2`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.core.plugins import Registry

# The command line imports this module for the names of masks: numpy and numba wait.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class CloudMask:
    """A way to find clear views."""

    reads_scl: bool
    """True: it takes SCL (y, x) uint8, 0 outside the swath; scenes without SCL count as clear. False: it takes
    harmonized N, R, G, B (band, y, x) uint16, 0 = nodata."""
    context_px: int
    """Pixels around a part that it needs to see."""
    classify: Callable[[NDArray[Any]], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    """Returns where the view is clear and where the swath is, (y, x) bool each."""


MASKS: Registry[CloudMask] = Registry(
    "cloud mask",
    group="headwater.masks",
    builtin={
        "scl": "headwater.imagery.scl_mask:MASK",
        "omnicloudmask": "headwater.imagery.omnicloud_mask:MASK",
    },
)
"""Cloud masks, imported when they are chosen; the first is the default."""


def clear_mask(pixels: NDArray[Any], *, mask: str | CloudMask = "scl", dilate_px: int) -> NDArray[np.bool_]:
    """Return which pixels show the ground.

    Parameters
    ----------
    pixels : array
        What the mask takes, see `CloudMask.reads_scl`.
    mask : str or CloudMask
        A cloud mask or its name.
    dilate_px : int
        Pixels by which clouds and shadows are widened (SCL misses their edges). The swath's edge is not widened.

    Returns
    -------
    (y, x) bool
        True where the view is clear.

    Raises
    ------
    InputError
        There is no such mask, its packages are not installed, or the width is out of range.
    """
    from headwater.imagery.cloud_widening import widen_clouds

    chosen = MASKS.load(mask) if isinstance(mask, str) else mask
    clear, inside = chosen.classify(pixels)
    return widen_clouds(clear, inside, radius_px=dilate_px)
